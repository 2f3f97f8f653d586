"""Looks for cycles in a dependency graph: which kinds there are, and the shortest of each.

Rules of this file:
- A kind of cycle is a table (`_TABLES`): an automaton over the kinds of edges, which accepts the
  walks of that name. The variants add edges of process or real time, at least one of which must
  be used: the automaton twice, before and after such an edge.
- Components come first (linear time). Only inside a component that can hold such a cycle is walked,
  smallest components first, from every node that can begin one, breadth first, never
  deeper than the best so far. A cycle that needs an rw edge is walked from that edge on.
- A shortest closed walk may pass a node twice; it is cut into its simple cycles, each of which gets
  the name that its own edges give it.
- What an anomaly already found in a component implies (`isolation.IMPLIES`) is not looked for there.
- The work is bounded by a number of steps for each kind. Where the bound was hit, a cycle may not be
  the shortest (`is_shortest`), and one that exists may be missing (`Cycles.cut_short`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from checker.transactions.anomaly import CYCLES, KINDS, VARIANTS, cycle_name
from checker.transactions.found import EXAMPLES_MAX
from checker.transactions.graph import PROCESS, REALTIME, RW, WR, WW, Graph
from checker.transactions.isolation import implied
from checker.transactions.micro import Flags, Ints, Longs
from checker.transactions.walks import walk

_ = -1
# Rows are states, columns the kinds of edges of data: ww, wr, rw. State 0 begins.
_TABLES: dict[str, tuple[list[list[int]], list[int]]] = {
    "G0": ([[0, _, _]], [0]),
    "G1c": ([[0, 1, _], [1, 1, _]], [1]),
    # The rw edge first, then no other.
    "G-single": ([[_, _, 1], [1, 1, _]], [1]),
    # rw first; 1 and 3 just after an rw edge (one, several), 2 and 4 after another edge.
    "G-nonadjacent": ([[_, _, 1], [2, 2, _], [2, 2, 3], [4, 4, _], [4, 4, 3]], [4]),
    # Two rw edges first, then anything.
    "G2-item": ([[_, _, 1], [_, _, 2], [2, 2, 2]], [2]),
}
_DATA = {"G0": {WW}, "G1c": {WW, WR}}
_ORDER = {"-process": PROCESS, "-realtime": REALTIME}
DEFAULT_STEPS = 40_000_000
_STEPS_A_LOOK = 2000  # what it costs to look into a component at all, in steps of a walk


@dataclass(frozen=True, slots=True)
class Cycle:
    """A simple cycle: its rows, and the kind of the edge from each to the next."""

    name: str
    rows: tuple[int, ...]
    kinds: tuple[str, ...]
    is_shortest: bool


@dataclass(slots=True)
class Cycles:
    """The cycles that were found, by name; `steps` is the work done.

    `cut_short` are the names for which not everything was looked at.
    """

    found: dict[str, list[Cycle]] = field(default_factory=dict)
    components: int = 0
    cut_short: set[str] = field(default_factory=set)
    steps: int = 0

    def add(self, cycle: Cycle) -> None:
        """Keep a cycle unless it is known or there are enough."""
        kept = self.found.setdefault(cycle.name, [])
        if len(kept) < EXAMPLES_MAX and all(set(c.rows) != set(cycle.rows) for c in kept):
            kept.append(cycle)


def cycles_of(
    graph: Graph,
    *,
    steps_max: int = DEFAULT_STEPS,
    is_over: Callable[[], bool] = lambda: False,
) -> Cycles:
    """Return cycles of every kind that the graph has. `is_over` is asked between walks."""
    cycles = Cycles()
    cycles.steps += len(graph.targets) + len(graph)
    component = graph.components(range(5))[: len(graph)]
    inside = np.flatnonzero(component != -1)
    if not len(inside):
        return cycles
    cycles.components = len(np.unique(component[inside]))
    search = _Search(graph.restricted(inside), cycles, steps_max, is_over)
    for variant in VARIANTS:
        for base in CYCLES:
            search.look_for(base, variant)
    return cycles


def automaton(base: str, variant: str) -> tuple[Longs, Longs]:
    """Return the table of a kind of cycle, five columns, and which states it accepts in.

    An edge of order leads where a ww edge does. Before the first of them states are those of the
    base, after it those behind.
    """
    rows, accepted = _TABLES[base]
    count = len(rows)
    order = _ORDER.get(variant)
    table = np.full((count if order is None else 2 * count, 5), -1, dtype=np.int64)
    table[:count, :3] = rows
    accepts = np.zeros(len(table), dtype=np.int64)
    if order is None:
        accepts[accepted] = 1
        return table, accepts
    behind = np.array(rows)
    table[count:, :3] = np.where(behind == -1, -1, behind + count)
    for state, (after, _wr, _rw) in enumerate(rows):
        if after != -1:
            table[[state, state + count], order] = after + count
    accepts[[state + count for state in accepted]] = 1
    return table, accepts


class _Search:
    def __init__(
        self, graph: Graph, cycles: Cycles, steps_max: int, is_over: Callable[[], bool]
    ) -> None:
        self.graph = graph
        self.cycles = cycles
        self.steps_max = steps_max
        self.is_over = is_over
        # Names that need not be looked for any more, by the node they were found at.
        self.known: dict[int, frozenset[str]] = {}

    def look_for(self, base: str, variant: str) -> None:
        """Look for one kind of cycle in all components that can hold it."""
        name = base + variant
        steps_left = self.steps_max
        table, accepts = automaton(base, variant)
        for nodes, starts in self._places(base, variant):
            if len(self.cycles.found.get(name, ())) >= EXAMPLES_MAX:
                return
            if any(name in self.known.get(node, ()) for node in nodes.tolist()):
                continue
            if steps_left <= 0 or self.is_over():
                self.cycles.cut_short.add(name)
                return
            used = self._look_in(nodes, starts, table, accepts, steps_left, base, variant)
            steps_left -= used
            self.cycles.steps += used

    def _places(self, base: str, variant: str) -> Iterator[tuple[Longs, Longs]]:
        """Yield components, small ones first: their nodes, and those from which to walk."""
        graph = self.graph
        data = _DATA.get(base, {WW, WR, RW})
        kinds = data | ({_ORDER[variant]} if variant else set())
        source = np.repeat(np.arange(len(graph)), np.diff(graph.offsets))
        rw = graph.kinds == RW
        if base in ("G-single", "G-nonadjacent"):
            before, after, hubs = graph.snapshot_components(kinds)
            own = self._with_rw(source[rw], graph.targets[rw], before, after, hubs)
        else:
            found = graph.components(kinds)
            before = after = found[: len(graph)]
            own = before != -1
            if base == "G2-item":
                hubs = found[len(graph) :]
                own &= self._with_rw(source[rw], graph.targets[rw], before, after, hubs)
        starts = np.flatnonzero(own)
        if not len(starts):
            return
        number = before[starts]
        order = np.argsort(number, kind="stable")
        groups = np.split(starts[order], np.flatnonzero(np.diff(number[order])) + 1)
        # The members of those components only, each once.
        wanted = np.zeros(int(max(before.max(), after.max())) + 1, dtype=np.bool_)
        wanted[number] = True
        nodes = np.concatenate(
            [np.flatnonzero((side != -1) & wanted[side]) for side in (before, after)]
        )
        of = np.concatenate([side[(side != -1) & wanted[side]] for side in (before, after)])
        order = np.lexsort((nodes, of))
        members = np.split(nodes[order], np.flatnonzero(np.diff(of[order])) + 1)
        pairs = [(np.unique(each), group) for each, group in zip(members, groups, strict=True)]
        yield from sorted(pairs, key=lambda pair: (len(pair[0]), int(pair[0][0])))

    def _with_rw(self, source: Longs, target: Ints, before: Ints, after: Ints, hubs: Ints) -> Flags:
        """Return which nodes have an rw edge that stays in their component."""
        own = np.zeros(len(self.graph), dtype=np.bool_)
        to = np.concatenate((after, hubs))[target]
        own[source[(before[source] == to) & (to != -1)]] = True
        return own

    def _look_in(self, nodes: Longs, starts: Longs, table: Longs, accepts: Longs, steps_left: int,
                 base: str, variant: str) -> int:  # fmt: skip
        """Walk from every start inside one component; keep the best. Returns the steps taken."""
        part = self.graph.restricted(nodes)
        rank = np.zeros(len(part), dtype=np.int32)
        if base == "G-single":
            rank = _ranks(part, variant)
        states = len(table)
        room = len(part) * states
        came_from = np.full(room, -1, dtype=np.int64)
        came_by = np.zeros(room, dtype=np.int64)
        queue = np.empty(room + 2, dtype=np.int64)
        shortest = walk("shortest_walk", (len(part.targets) + room) * len(starts))
        limit = len(part) * states + 2
        best: Longs | None = None
        used = len(part.targets) + room + _STEPS_A_LOOK
        is_whole = True
        for start in np.searchsorted(nodes, starts).tolist():
            if used > steps_left or self.is_over():
                is_whole = False
                break
            path, steps = shortest(
                part.offsets, part.targets, part.kinds, part.hub_offsets, part.hub_targets,
                part.suffix, part.turn, part.by_process, part.process_end, rank, table, accepts,
                start, limit, max(1, steps_left - used), came_from, came_by, queue,
            )  # fmt: skip
            used += int(steps)
            if len(path):
                best, limit = path, len(path) // 2
        if not is_whole:
            self.cycles.cut_short.add(base + variant)
        if best is not None:
            self._keep(best, states, part, is_whole, base + variant)
        return used

    def _keep(self, path: Longs, states: int, part: Graph, is_whole: bool, sought: str) -> None:  # noqa: FBT001
        """Cut a closed walk (last edge first) into simple cycles and keep those."""
        steps = [(int(at) // states, int(by)) for at, by in zip(path[::2], path[1::2], strict=True)]
        open_steps: list[tuple[int, int]] = []
        places: dict[int, int] = {}
        simple: list[list[tuple[int, int]]] = []
        for node, kind in reversed(steps):
            if node in places:
                begin = places[node]
                simple.append(open_steps[begin:])
                for gone, _kind in open_steps[begin:]:
                    del places[gone]
                del open_steps[begin:]
            places[node] = len(open_steps)
            open_steps.append((node, kind))
        simple.append(open_steps)
        for cycle in simple:
            kinds = [KINDS[kind] for _node, kind in cycle]
            name = cycle_name(kinds)
            rows = tuple(int(part.rows[node]) for node, _kind in cycle)
            self.cycles.add(Cycle(name, rows, tuple(kinds), is_whole and name == sought))
            everything = implied([name])
            for node in np.searchsorted(self.graph.rows, rows).tolist():
                self.known[node] = self.known.get(node, frozenset()) | everything


def _ranks(part: Graph, variant: str) -> Ints:
    """Return numbers that fall along all edges but rw: who has a lower one than the start of an rw
    edge cannot be on the way back to it."""
    kinds = {WW, WR} | ({_ORDER[variant]} if variant else set())
    return part.ranks(kinds)
