"""The core of a contradiction: a few calls, each with at least the freedom it had, and no order.

Rules of this file:
- A core is a relaxation of a history: what has no order here has none there. Which relaxations
  there are, and why they are sound, is said in docs/certificates.md and held by `checker.verify`,
  which shares no code with this file.
- `is_refuted` asks the compiled just-in-time search. Optional calls are counted exactly, and
  *elsewhere* (`Coarse`) may come at any time, any number of times.
- Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from checker.calls import Call
from checker.kernels import layout
from checker.kernels.breadth_first import GAVE_UP
from checker.models.model import Action, Coarse, Elementwise, Model, State
from checker.problem import Problem, finish, kind_of
from checker.race import BreadthFirst, OutOfMemory, Transitions
from checker.state_graph import StateGraph

_BYTES_MAX = 256 * 1024 * 1024
_NO_END = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreCall:
    """One call of a core: `call` with the freedom it is given here.

    It takes effect in [start, end] (`None`: at any time after `start`); if not `required`, maybe
    never.
    """

    call: Call
    end: int | None
    required: bool

    @property
    def start(self) -> int:
        """The position from which it may take effect."""
        return self.call.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Calls without an order. `since`: the past before that position is forgotten, and the state
    then is any. `elements`: of each action only what it does to these (`Elementwise`)."""

    calls: tuple[CoreCall, ...]
    since: int | None = None
    elements: frozenset[str] | None = None

    def __len__(self) -> int:
        return len(self.calls)


def core_of(
    calls: Iterable[Call], *, until: int, since: int | None = None,
    elements: frozenset[str] | None = None,
) -> Core:  # fmt: skip
    """Return the calls up to the return at `until`; what is open then, or at `since`, is optional."""
    kept = [
        CoreCall(
            call=call,
            end=call.end,
            required=call.end is not None
            and call.end <= until
            and (since is None or call.start >= since),
        )
        for call in calls
        if call.start <= until and (since is None or call.end is None or call.end >= since)
    ]
    return Core(calls=tuple(kept), since=since, elements=elements)


def settled(core: Core, model: Model) -> Core:
    """Leave out what can be left out: who only observes and need not, who comes too late, and who
    leads where nobody looks."""
    calls = list(core.calls)
    while True:
        last = max((c.end for c in calls if c.required and c.end is not None), default=-1)
        kept = [
            c for c in calls
            if c.required or (c.start <= last and not model.is_pure(c.call.action))
        ]  # fmt: skip
        if isinstance(model, Coarse):
            actions = frozenset(c.call.action for c in kept)
            leads = {a for a in actions if model.leads_elsewhere(a, actions)}
            kept = [c for c in kept if c.required or c.call.action not in leads]
        if len(kept) == len(calls):
            return replace(core, calls=tuple(kept))
        calls = kept


def is_refuted(core: Core, model: Model, *, steps_max: int) -> bool:
    """Whether the core certainly has no order; `False` also where that took too long."""
    if not any(call.required for call in core.calls):
        return False
    problem, starts, jumps = _problem(core, model)
    if problem is None:
        return False
    tracked = [k for k in range(len(problem.optional_calls)) if not jumps[k]]
    search = BreadthFirst(
        problem, Transitions(problem), tracked=tracked, keep_log=False, starts=starts
    )
    try:
        code = search.advance(steps_max, _BYTES_MAX)
    except OutOfMemory:
        return False
    assert code != GAVE_UP
    return code == layout.INVALID


def _problem(core: Core, model: Model) -> tuple[Problem | None, list[int], list[bool]]:
    """Return the arrays of a core, the states it may start from, and which optional classes are
    jumps to elsewhere."""
    calls = _projected(core, model)
    actions = list(dict.fromkeys(action for _, action in calls))
    kept = frozenset(actions)
    universe: Sequence[State] = model.universe(kept) if isinstance(model, Coarse) else ()
    if core.since is not None and not universe:
        return None, [], []
    graph = StateGraph(model, actions)
    numbers = {action: number for number, action in enumerate(actions)}
    kinds = [kind_of(action, model, graph, cls) for cls, action in enumerate(actions)]
    starts = [graph.initial]
    if core.since is not None:
        starts = list(dict.fromkeys(graph.number(state) for state in universe))
    count = len(calls) + bool(universe)
    table = np.zeros((count, layout.CALL_COLUMNS), np.int32)
    start, end = np.zeros(count, np.int64), np.full(count, _NO_END, np.int64)
    at = 0
    first = min(c.start for c, _ in calls)
    if universe:  # first of all calls, optional: a jump to elsewhere
        elsewhere = graph.number(universe[-1])
        table[0, : layout.GIVES + 1] = (layout.WRITE, -1, elsewhere)
        start[0] = first - 1
        at = 1
    # The positions of a core may be any; `finish` needs them in order and without negative ends.
    for core_call, action in sorted(calls, key=lambda pair: pair[0].start):
        kind, needs, gives, pure = kinds[numbers[action]]
        table[at, : layout.GIVES + 1] = (kind, needs, gives)
        table[at, layout.PURE] = pure
        start[at] = core_call.start
        end[at] = _NO_END if core_call.end is None else core_call.end
        at += 1
    required = np.array([0] * bool(universe) + [
        int(c.required) for c, _ in sorted(calls, key=lambda pair: pair[0].start)
    ], np.int32)  # fmt: skip
    start, end = start - first + 1, np.where(end >= 0, end - first + 1, end)
    problem = finish(table, start, end, np.arange(count, dtype=np.int32),
                     states=len(graph.states), initial=graph.initial,
                     classes=max(1, len(actions)), graph=graph, required=required)  # fmt: skip
    jumps = [bool(universe) and 0 in members.tolist() for members in problem.optional_calls]
    return problem, starts, jumps


def _projected(core: Core, model: Model) -> list[tuple[CoreCall, Action]]:
    if core.elements is None:
        return [(c, c.call.action) for c in core.calls]
    assert isinstance(model, Elementwise)
    projected = [(c, model.project(c.call.action, core.elements)) for c in core.calls]
    return [(c, action) for c, action in projected if action is not None]
