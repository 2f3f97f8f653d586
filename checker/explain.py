"""Why a history is not linearizable: a handful of operations to look at.

Rules of this file:
- Start from the shortest failing prefix: the first return that no order can come past. Prefixes
  of a linearizable history are linearizable, so it can be bisected for.
- Then show every different state in which all that came before can end, and why the operation
  that returned there fits none of them.
- Where the history is long, only the core is told (`checker.exhaust`), with the calls that
  last brought about the state that was wanted.
- A counterexample is a help, not the verdict: where it would take long (`_steps_max`), or the
  budget ends, say less. The limit counts steps, so that it is the same on every machine.
- The object's shape is the contract in ARCHITECTURE.md ("A counterexample"). Pure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from checker.budget import Budget
from checker.calls import Call, Calls, prefix, without_idle
from checker.columns import Columns
from checker.core import Core
from checker.exhaust import endings, stuck_call
from checker.history import Operation
from checker.models.model import Model, State
from checker.parts import Found, Part
from checker.replay import replay
from checker.search import Configuration, search
from checker.verdict import Verdict

# Objects of so many operations are told from their shortest failing prefix, others from a core.
WHOLE_MAX = 600
CONTEXT_MAX = 5000
OPERATIONS_MAX = 20
STATES_MAX = 6
# Different orders may end in the same state: look at more orders than states are shown.
_ENDS_MAX = 200
_LAST_ORDERED = 3


def _steps_max(calls: Calls) -> int:
    """How long one search of an explanation may take: several straight ways through."""
    return 10_000 + 4 * len(calls)


def explain(
    part: Part, found: Found, core: Core | None, columns: Columns, model: Model, budget: Budget
) -> dict[str, Any]:
    """Build the counterexample of an object that has no linearization.

    `core` is a part of it that has none, if one was found.
    """
    if len(part) <= WHOLE_MAX:
        return _of_prefix(part, columns, model, budget)
    if core is not None:
        return _of_core(part, core, columns, model)
    return _of_return(part, found, columns, model)


def _of_return(part: Part, found: Found, columns: Columns, model: Model) -> dict[str, Any]:
    """Tell only which return every order fails at: no smaller story was found in time."""
    row = int(part.rows[-1]) if found.until is None else found.until
    near = np.array([row], np.int64)
    (stuck,) = part.calls_at(near) or part.calls[-1:]
    ordered = int(((columns.end[part.rows] >= 0) & (columns.end[part.rows] < stuck.start)).sum())
    return _told(part, columns, model, stuck, [stuck], [], [], ordered=ordered, minimal=False)


def _of_prefix(part: Part, columns: Columns, model: Model, budget: Budget) -> dict[str, Any]:
    """Tell the shortest prefix that has no order."""
    calls = part.calls
    position, minimal = _failing_return(calls, model, budget)
    stuck = next(call for call in calls if call.end == position)
    # All that returned before the stuck call did; what is still open may have happened.
    before = tuple(call for call in prefix(calls, position - 1) if call.index != stuck.index)
    ends = _ends(before, stuck, model, budget)
    picked = _picked(before, stuck, ends, model)
    states = [replay(end.path, before, model) for end in ends]
    return _told(part, columns, model, stuck, picked, states, [end.path for end in ends],
                 ordered=sum(1 for call in before if not call.optional), minimal=minimal)  # fmt: skip


def _of_core(part: Part, core: Core, columns: Columns, model: Model) -> dict[str, Any]:
    """Tell a core, and who last gave what its last call needed."""
    stuck = stuck_call(core)
    ends = endings(core, model)
    chosen = {c.call.index: c.call for c in core.calls[:OPERATIONS_MAX]} | {stuck.index: stuck}
    needed = model.needs(stuck.action)
    if needed is not None and stuck.end is not None:
        near = part.calls_at(part.rows_before(stuck.end)[-CONTEXT_MAX:])
        givers = [call for call in near if model.gives(call.action) == needed
                  and not model.is_pure(call.action)]  # fmt: skip
        for call in givers[-_LAST_ORDERED:]:
            if len(chosen) < OPERATIONS_MAX:
                chosen.setdefault(call.index, call)
    picked = sorted(chosen.values(), key=lambda call: call.start)
    assert stuck.end is not None
    ordered = int(((columns.end[part.rows] >= 0) & (columns.end[part.rows] < stuck.end)).sum())
    return _told(part, columns, model, stuck, picked, [state for state, _ in ends],
                 [path for _, path in ends], ordered=ordered, minimal=True)  # fmt: skip


def _told(
    part: Part,
    columns: Columns,
    model: Model,
    stuck: Call,
    picked: list[Call],
    states: list[State],
    paths: list[tuple[Call, ...]],
    *,
    ordered: int,
    minimal: bool,
) -> dict[str, Any]:
    """Return the counterexample's object (ARCHITECTURE.md)."""
    index = columns.index
    return {
        "key": part.key,
        "summary": _summary(stuck, states, columns.operation(stuck.index), model, minimal=minimal),
        "last_valid_operations": ordered,
        "final_states": [
            {
                "state": model.describe_state(state),
                "why_not": next(iter(_refusals(stuck, [state], model)), None),
                "linearized": [int(index[call.index]) for call in path[-_LAST_ORDERED:]],
                "pending": [
                    int(index[call.index]) for call in picked if call.optional and call not in path
                ],
            }
            for state, path in zip(states, paths, strict=True)
        ],
        "operations": [
            _listed(call, columns.operation(call.index), stuck, states, model) for call in picked
        ],
    }


def _failing_return(calls: Calls, model: Model, budget: Budget) -> tuple[int, bool]:
    """Return the position of the first return that no order comes past, and whether it is proved."""
    returns = sorted(call.end for call in calls if call.end is not None)
    proved = True
    low, high = 0, len(returns) - 1  # the whole is invalid
    while low < high:
        middle = (low + high) // 2
        part = prefix(calls, returns[middle])
        found = search(part, model, budget, steps_max=_steps_max(part))
        proved = proved and found.verdict is not Verdict.UNKNOWN
        if found.verdict is Verdict.INVALID:
            high = middle
        else:
            low = middle + 1
    return returns[high], proved


def _ends(before: Calls, stuck: Call, model: Model, budget: Budget) -> list[Configuration]:
    """Return orders of all that returned before, each ending in another state."""
    found = search(
        before,
        model,
        budget,
        witness=stuck.action,
        ends_wanted=_ENDS_MAX,
        steps_max=_steps_max(before),
    )
    by_state: dict[State, Configuration] = {}
    for end in found.ends:
        state = replay(end.path, before, model)  # the real one: a search merges states
        known = by_state.get(state)
        if known is None or len(end.path) < len(known.path):
            by_state[state] = end
    return list(by_state.values())[:STATES_MAX]


def _picked(before: Calls, stuck: Call, ends: list[Configuration], model: Model) -> list[Call]:
    """Choose what to look at: the stuck call, its neighbours and where its state came from."""
    ranked: list[Call] = [stuck]
    for end in ends:
        ranked += end.path[-1:]
    needed = model.needs(stuck.action)
    if needed is not None:  # the last calls that brought the wanted state about
        ranked += [call for call in before if model.gives(call.action) == needed
                   and not model.is_pure(call.action)][-_LAST_ORDERED:]  # fmt: skip
    for end in ends[:1]:
        ranked += end.path[-_LAST_ORDERED:]
    # What overlaps it, and those crashed long before that could still make a difference.
    relevant = without_idle(before, model, witness=stuck.action)
    late = [call for call in relevant if call.optional]
    ranked += [call for call in before if call.end is not None and call.end > stuck.start]
    ranked += late[::-1]
    chosen = {call.index: call for call in reversed(ranked[:OPERATIONS_MAX])}
    return sorted(chosen.values(), key=lambda call: call.start)


def _summary(
    stuck: Call, states: list[State], operation: Operation, model: Model, *, minimal: bool
) -> str:
    who = f"process {operation.invocation.process}'s {model.describe(stuck.action)}"
    where = f"(event {operation.invocation.index})"
    if not minimal:
        return f"No order of the operations up to {who} {where} explains them all."
    if not _refusals(stuck, states, model):
        return f"No order explains {who} {where} together with what returned before it."
    reasons = list(dict.fromkeys(_refusals(stuck, states, model)))
    more = (
        f" (other orders end in {len(reasons) - 1} more states, no better)" if reasons[1:] else ""
    )
    return (
        f"All operations that returned before {who} {where} can be ordered, but after no order "
        f"of them can it take effect: it {reasons[0]}{more}."
    )


def _refusals(call: Call, states: list[State], model: Model) -> list[str]:
    return [
        model.refusal(state, call.action)
        for state in states
        if model.step(state, call.action) is None
    ]


def _listed(
    call: Call, operation: Operation, stuck: Call, states: list[State], model: Model
) -> dict[str, Any]:
    """Describe one operation; `why_not` only for those that no order holds."""
    read = operation.output if operation.output is not None else operation.input
    why_not = None
    if call.index == stuck.index:
        reasons = list(dict.fromkeys(_refusals(call, states, model)))
        why_not = "; ".join(reasons) or "no order of the operations before it leaves room for it"
    completion = operation.completion
    return {
        "index": operation.invocation.index,
        "process": operation.invocation.process,
        "f": operation.f,
        "key": operation.key,
        "value": read,
        "type": operation.type.value,
        "start_ns": operation.invocation.time,
        "end_ns": None if completion is None else completion.time,
        "node": operation.invocation.node,
        "why_not": why_not,
    }
