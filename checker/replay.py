"""The proof of a `valid`: an order of the calls, played through the plain model.

Rules of this file:
- Shares nothing with any search: no merging, no leaving out. A mistake in a search can then cost
  an answer but cannot give a false `valid`.
- There is a second form without an object for each call (`replay_actions`), for histories so long
  that making these would take longer than the search. It asks the same plain model.
- Linear time.
- Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from checker.calls import Call, Calls
from checker.models.model import Action, Model, State


class ReplayError(AssertionError):
    """An order that is no linearization: a mistake in the search that made it."""


def replay(order: Sequence[Call], calls: Calls, model: Model) -> State:
    """Check that `order` is a linearization of `calls`; return the state it ends in.

    Raises `ReplayError` if a call is missing, doubled or unknown, if the order contradicts real
    time, or if the model does not allow a step.
    """
    known = {call.index: call for call in calls}
    placed: set[int] = set()
    latest_start = -1
    state = model.initial
    for call in order:
        if known.get(call.index) != call:
            raise ReplayError(f"operation {call.index} is not one of those to be ordered")
        if call.index in placed:
            raise ReplayError(f"operation {call.index} is ordered twice")
        placed.add(call.index)
        if call.end is not None and call.end < latest_start:
            raise ReplayError(f"operation {call.index} ended before one ordered before it began")
        latest_start = max(latest_start, call.start)
        after = model.step(state, call.action)
        if after is None:
            raise ReplayError(f"operation {call.index} {model.refusal(state, call.action)}")
        state = after
    missing = [call.index for call in calls if not call.optional and call.index not in placed]
    if missing:
        raise ReplayError(f"operations {missing[:5]} are not ordered")
    return state


def replay_actions(
    actions: Iterable[Action], starts: Sequence[int], ends: Sequence[int], model: Model
) -> State:
    """Check that actions, in this order, are legal and respect real time; return the last state.

    `starts` and `ends` are those of the calls in the same order; an end is negative where there is
    none. That nobody is missing or there twice is for the caller to check. Raises `ReplayError`.
    """
    latest_start = -1
    state = model.initial
    step = model.step
    for action, start, end in zip(actions, starts, ends, strict=True):
        if 0 <= end < latest_start:
            raise ReplayError(f"{model.describe(action)} ended before one ordered before it began")
        if start > latest_start:
            latest_start = start
        after = step(state, action)
        if after is None:
            raise ReplayError(f"{model.describe(action)} {model.refusal(state, action)}")
        state = after
    return state
