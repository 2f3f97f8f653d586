"""Whether a core has an order, asked of the compiled just-in-time search.

Rules of this file:
- The fast twin of `checker.exhaust.is_refuted`: the same question, the same answer, but `False`
  where either took too long. Optional calls are counted exactly; where the core has jumps, the state
  may become one of theirs at any time, any number of times.
- Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checker.core import Core, projected
from checker.kernels import layout
from checker.kernels.breadth_first import GAVE_UP
from checker.models.model import Coarse, Model, State
from checker.problem import Problem, finish, kind_of
from checker.race import BreadthFirst, OutOfMemory, Transitions
from checker.state_graph import StateGraph

_BYTES_MAX = 256 * 1024 * 1024
_NO_END = -1


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
    calls = projected(core, model)
    actions = list(dict.fromkeys(action for _, action in calls))
    kept = frozenset(actions)
    in_need = core.wildcard or core.since is not None
    universe: Sequence[State] = ()
    if in_need and isinstance(model, Coarse):
        universe = model.universe(kept)
    if core.since is not None and not universe:
        return None, [], []
    graph = StateGraph(model, actions)
    numbers = {action: number for number, action in enumerate(actions)}
    kinds = [kind_of(action, model, graph, cls) for cls, action in enumerate(actions)]
    starts = [graph.initial]
    if core.since is not None:
        starts = list(dict.fromkeys(graph.number(state) for state in universe))
    # First of all calls, optional: jumps to elsewhere and to other states.
    jumps = [*core.jumps, *(universe[-1:] if core.wildcard else ())]
    first_jumps = list(dict.fromkeys(graph.number(state) for state in jumps))
    extra = len(first_jumps)
    count = len(calls) + extra
    table = np.zeros((count, layout.CALL_COLUMNS), np.int32)
    start, end = np.zeros(count, np.int64), np.full(count, _NO_END, np.int64)
    for at, state in enumerate(first_jumps):
        table[at, : layout.GIVES + 1] = (layout.WRITE, -1, state)
        start[at] = at
    at = extra
    # The positions of a core may be any; `finish` needs them in order and without negative ends.
    later = extra - min(c.start for c, _ in calls)
    for core_call, action in sorted(calls, key=lambda pair: pair[0].start):
        kind, needs, gives, pure = kinds[numbers[action]]
        table[at, : layout.GIVES + 1] = (kind, needs, gives)
        table[at, layout.PURE] = pure
        start[at] = core_call.start + later
        end[at] = _NO_END if core_call.end is None else core_call.end + later
        at += 1
    required = np.array([0] * extra + [
        int(c.required) for c, _ in sorted(calls, key=lambda pair: pair[0].start)
    ], np.int32)  # fmt: skip
    problem = finish(table, start, end, np.arange(count, dtype=np.int32),
                     states=len(graph.states), initial=graph.initial,
                     classes=max(1, len(actions)), graph=graph, required=required)  # fmt: skip
    is_jump = [bool((members < extra).any()) for members in problem.optional_calls]
    return problem, starts, is_jump
