"""Why a history is not linearizable: a handful of operations to look at.

Rules of this file:
- Start from the shortest failing prefix: the first return that no order can come past. Prefixes
  of a linearizable history are linearizable, so it can be bisected for.
- Then show every different state in which all that came before can end, and why the operation
  that returned there fits none of them.
- A counterexample is a help, not the verdict: where it would take long (`_steps_max`), or the
  budget ends, say less. The limit counts steps, so that it is the same on every machine.
- The object's shape is the contract in ARCHITECTURE.md ("A counterexample"). Pure.
"""

from __future__ import annotations

from typing import Any

from checker.budget import Budget
from checker.calls import Call, Calls, prefix, without_idle
from checker.history import Operation
from checker.models.model import Model, State
from checker.replay import replay
from checker.search import Configuration, search
from checker.verdict import Verdict

OPERATIONS_MAX = 20
STATES_MAX = 6
# Different orders may end in the same state: look at more orders than states are shown.
_ENDS_MAX = 200
_LAST_ORDERED = 3


def _steps_max(calls: Calls) -> int:
    """How long one search of an explanation may take: several straight ways through."""
    return 10_000 + 4 * len(calls)


def explain(
    calls: Calls,
    operations: list[Operation],
    model: Model,
    budget: Budget,
    *,
    key: str | None,
    reached: int | None,
) -> dict[str, Any]:
    """Build the counterexample of calls that have no linearization.

    `reached` is a return that some order came up to, so all shorter prefixes are valid.
    """
    position, minimal = _failing_return(calls, model, budget, reached=reached)
    stuck = next(call for call in calls if call.end == position)
    # All that returned before the stuck call did; what is still open may have happened.
    before = tuple(call for call in prefix(calls, position - 1) if call.index != stuck.index)
    ends = _ends(before, stuck, model, budget)
    ordered = sum(1 for call in before if not call.optional)
    picked = _picked(before, stuck, ends, model)
    states = [replay(end.path, before, model) for end in ends]
    return {
        "key": key,
        "summary": _summary(stuck, states, operations, model, minimal=minimal),
        "last_valid_operations": ordered,
        "final_states": [
            {
                "state": model.describe_state(state),
                "linearized": [_index(call, operations) for call in end.path[-_LAST_ORDERED:]],
                "pending": [
                    _index(call, operations)
                    for call in picked
                    if call.optional and call not in end.path
                ],
            }
            for end, state in zip(ends, states, strict=True)
        ],
        "operations": [
            _listed(call, operations[call.index], stuck, states, model) for call in picked
        ],
    }


def _failing_return(
    calls: Calls, model: Model, budget: Budget, *, reached: int | None
) -> tuple[int, bool]:
    """Return the position of the first return that no order comes past, and whether it is proved.

    Steps of doubling length from what was reached, then bisection: the return is mostly near.
    """
    returns = sorted(call.end for call in calls if call.end is not None)
    proved = True
    low = 0 if reached is None else returns.index(reached)  # every prefix before it is valid
    high = len(returns) - 1  # the whole is invalid
    stride = 1
    galloping = reached is not None
    while low < high:
        middle = min(low + stride - 1, high - 1) if galloping else (low + high) // 2
        part = prefix(calls, returns[middle])
        found = search(part, model, budget, steps_max=_steps_max(part))
        proved = proved and found.verdict is not Verdict.UNKNOWN
        if found.verdict is Verdict.INVALID:
            high, galloping = middle, False
        else:
            low, stride = middle + 1, stride * 2
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
    stuck: Call, states: list[State], operations: list[Operation], model: Model, *, minimal: bool
) -> str:
    operation = operations[stuck.index]
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


def _index(call: Call, operations: list[Operation]) -> int:
    return operations[call.index].invocation.index
