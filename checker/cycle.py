"""Why a core has no order, as a graph: what must come before what, and the shortest circle in it.

Rules of this file:
- For people: nodes are operations, edges say why one must come before the other. A circle of such
  edges cannot be ordered. The proof is the core (`checker.verify`); this is its picture.
- Where each value that is needed has one possible giver (Gibbons & Korach, SIAM J. Comput. 26(4)
  (1997), section 3.2; Adya's dependency edges, PhD thesis, MIT 1999, chapter 3):
  rt: one returned before the other was invoked;  wr: the giver comes before who saw its value;
  rw: who saw a value comes before a change that comes after its giver;
  ww: a change that comes before who saw a value comes before the giver of that value.
  The last two are drawn from what is known already, until nothing new follows.
- Only what follows is drawn, so not every core has a circle (then the reason is a search). Who gave a
  value is known only where every change of state says which state it leads to (`Model.gives`), and
  where no call that led to that state was left out; elsewhere only rt is drawn. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import networkx as nx

from checker.calls import Call
from checker.core import Core
from checker.models.model import Model, State

Edge = tuple[int, int, str]
_CALLS_MAX = 60
# The state before the first call, or whatever a forgotten past led to, as a giver.
START = -1


def graph_of(core: Core, model: Model) -> nx.DiGraph[int]:
    """Return the graph of what must come before what: nodes are calls' indexes, edges have a
    `reason`; `START` is what was before them."""
    calls = {c.call.index: c.call for c in core.calls}
    required = {c.call.index for c in core.calls if c.required}
    drawn: nx.DiGraph[int] = nx.DiGraph()
    drawn.add_nodes_from(calls)
    if len(calls) > _CALLS_MAX:
        return drawn
    for core_call in core.calls:
        for other in core.calls:
            if core_call.end is not None and core_call.end < other.start:
                drawn.add_edge(core_call.call.index, other.call.index, reason="rt")
    givers = _givers(core, model)
    drawn.add_node(START)
    for core_call in core.calls:
        if core.since is None or core_call.required:
            drawn.add_edge(START, core_call.call.index, reason="rt")
    _saturate(drawn, calls, required, givers, model)
    return drawn


def cycle_of(core: Core, model: Model) -> tuple[Edge, ...]:
    """Return the shortest circle of the graph as edges, empty if there is none."""
    drawn = graph_of(core, model)
    best: list[int] = []
    for component in nx.strongly_connected_components(drawn):
        if len(component) < 2:
            continue
        part = drawn.subgraph(component)
        for before, after in part.edges:
            path = nx.shortest_path(part, after, before)
            if not best or len(path) < len(best):
                best = path
    if not best:
        return ()
    return tuple(
        (before, after, str(drawn.edges[before, after]["reason"]))
        for before, after in pairwise([*best, best[0]])
    )


def _givers(core: Core, model: Model) -> dict[int, list[int]]:
    """Return, for each required call that needs a state, the calls that can have given it."""
    by_state: dict[State, list[Call]] = {}
    for core_call in core.calls:
        if model.is_pure(core_call.call.action):
            continue
        given = model.gives(core_call.call.action)
        if given is None:
            return {}
        by_state.setdefault(given, []).append(core_call.call)
    found: dict[int, list[int]] = {}
    for core_call in core.calls:
        needed = model.needs(core_call.call.action)
        if needed is None or not core_call.required or needed in core.jumps:
            continue
        givers = [call.index for call in by_state.get(needed, ()) if call != core_call.call]
        if core.since is not None or needed == model.initial:
            givers.append(START)
        if givers:
            found[core_call.call.index] = givers
    return found


def _saturate(
    drawn: nx.DiGraph[int],
    calls: dict[int, Call],
    required: set[int],
    givers: dict[int, list[int]],
    model: Model,
) -> None:
    """Add what follows, until nothing new does. A giver that is needed took effect; so did what is
    required. Other calls may never have: nothing is said of them."""
    only = {seer: found[0] for seer, found in givers.items() if len(found) == 1}
    happened = required | set(only.values()) - {START}
    changes = [
        index
        for index, call in calls.items()
        if index in happened and not model.is_pure(call.action)
    ]
    for seer, giver in only.items():
        drawn.add_edge(giver, seer, reason="wr")
    while True:
        closure = nx.transitive_closure(drawn)
        fresh: list[Edge] = []
        for seer, found in givers.items():
            for change in changes:
                if change == seer or change in found:
                    continue
                # Whoever gave it comes before the change.
                if all(closure.has_edge(giver, change) for giver in found):
                    fresh.append((seer, change, "rw"))
                if seer in only and closure.has_edge(change, seer):
                    fresh.append((change, only[seer], "ww"))
        fresh = [edge for edge in fresh if not closure.has_edge(*edge[:2])]
        if not fresh or any(closure.has_edge(node, node) for node in closure):
            return
        for before, after, reason in fresh:
            if not drawn.has_edge(before, after):
                drawn.add_edge(before, after, reason=reason)


def in_words(edges: Iterable[Edge], said: Any) -> list[str]:
    """Return one sentence an edge; `said(index)` names an operation."""
    reasons = {
        "rt": "{0} returned before {1} was invoked",
        "wr": "{1} saw what {0} gave",
        "rw": "{0} saw a value that {1} changed, so it came before",
        "ww": "{0} came before the value that {1} gave was seen, so before {1}",
    }
    return [reasons.get(why, f"{{0}} must come before {{1}} ({why})").format(said(a), said(b))
            for a, b, why in edges]  # fmt: skip
