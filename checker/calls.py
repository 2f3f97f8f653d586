"""What a search looks at: the calls on one object, and what may be left out of them.

Rules of this file:
- A call with an `end` is obligatory: it took effect between `start` and `end`. One without is
  optional: it takes effect at any time after `start`, or never.
- Everything left out or merged here changes no verdict; each rule carries its argument, and
  tests compare the rules with a search that has none of them.
- Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One action and when it may have taken effect. `index` is its operation's place in a list."""

    index: int
    action: Action
    start: int
    end: int | None

    @property
    def optional(self) -> bool:
        """Whether it may never have taken effect."""
        return self.end is None


Calls = tuple[Call, ...]


def calls_of(operations: Iterable[tuple[int, Operation]], model: Model, meaning: Meaning) -> Calls:
    """Return the calls, in order of invocation, of numbered operations on one object."""
    calls: list[Call] = []
    for index, operation in operations:
        action = model.action(operation, meaning)
        if action is not None:
            end = None if operation.type is EventType.INFO else operation.end
            calls.append(Call(index=index, action=action, start=operation.start, end=end))
    return tuple(calls)


def prefix(calls: Calls, position: int) -> Calls:
    """Return the history up to and with the event at `position`; what is open there is optional.

    A prefix of a linearizable history is linearizable: cut its linearization after the last call
    that had returned. So once a prefix fails, all longer ones do.
    """
    return tuple(
        replace(call, end=None) if call.end is not None and call.end > position else call
        for call in calls
        if call.start <= position
    )


def without_idle(calls: Calls, model: Model, *, witness: Action | None = None) -> Calls:
    """Return the calls without those optional ones that can help nobody.

    1. An optional pure call may be struck from any linearization: it changes no state.
    2. So may one that leads to a state b in which nobody has any interest. A call has an interest
       in b if it is allowed in b and what it does depends on the state (it is not a blind write),
       and it is not itself struck. Between the struck call and the next change of state,
       a linearization then holds blind writes at most, which are as good in any other state.
    `witness` is one more action whose interests count.
    """
    optional = [call for call in calls if call.optional and not model.is_pure(call.action)]
    interested = {call.action for call in calls if not call.optional} | {witness} - {None}
    watchers = {a for a in interested if a is not None and not _is_blind(model, a)}
    kept: set[Action] = set()
    waiting = {call.action for call in optional}
    while True:
        useful = {action for action in waiting if _is_useful(model, action, watchers)}
        if not useful:
            break
        waiting -= useful
        kept |= useful
        # A kept call that looks at the state makes the states it is allowed in interesting.
        watchers |= {action for action in useful if not _is_blind(model, action)}
    return tuple(call for call in calls if not call.optional or call.action in kept)


def _is_blind(model: Model, action: Action) -> bool:
    """Whether the action is allowed everywhere and always leads to the same state."""
    return model.needs(action) is None and model.gives(action) is not None


def _is_useful(model: Model, action: Action, watchers: set[Action]) -> bool:
    after = model.gives(action)
    if after is None:  # it varies: assume that somebody cares
        return True
    return any(model.step(after, watcher) is not None for watcher in watchers)
