"""A semaphore: permits that are taken and given back.

Rules of this file:
- States are the numbers of permits left. Actions: ``("acquire", k)`` and ``("release", k)``.
- There are never more permits than at the start. Who gives them back is not part of the state: a
  release by somebody else is the caller's mistake.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Merge, State, expect
from checker.models.owner import expect_lock
from checker.models.start import integer_of, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Semaphore:
    """A number of permits that are taken and given back.

    Operations: `acquire` k or nil (1 permit); `release` k or nil (1 permit)
    Crashed: may have happened
    Failed: did not happen
    Starts: the number of permits, 1 by default; all are there
    """

    name: str = "semaphore"
    permits: int = 1
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> Semaphore:
        """Build it from the number of permits."""
        return cls(permits=integer_of("semaphore", initial, default=1, least=1))

    @property
    def initial(self) -> State:
        """All permits are there."""
        return self.permits

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return self.permits

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return the function and how many permits; a failed one did not happen."""
        expect_lock(operation)
        number = whole(1 if operation.input is None else operation.input)
        expect(number is not None and number >= 1, "no value, or a number of permits", operation)
        return None if operation.type is EventType.FAIL else (operation.f, number)

    def step(self, state: State, action: Action) -> State | None:
        """Take permits that are there, give back no more than were taken."""
        left, number = _number(state), _number(action[1])
        after = left - number if action[0] == "acquire" else left + number
        return after if 0 <= after <= self.permits else None

    def is_pure(self, action: Action) -> bool:
        """No action leaves the number of permits as it is."""
        return False

    def needs(self, action: Action) -> State | None:
        """Taking all permits needs all, giving back all needs none."""
        if action[1] != self.permits:
            return None
        return self.permits if action[0] == "acquire" else 0

    def gives(self, action: Action) -> State | None:
        """Taking all permits leaves none, giving back all leaves all."""
        if action[1] != self.permits:
            return None
        return 0 if action[0] == "acquire" else self.permits

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Every number of permits can be told from every other."""
        return lambda state: state

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        return f"{action[0]} of {action[1]} permit{'' if action[1] == 1 else 's'}"

    def describe_state(self, state: State) -> str:
        """Return how many permits are left of how many."""
        return f"{state} of {self.permits} permits left"

    def refusal(self, state: State, action: Action) -> str:
        """Return how many permits there are."""
        side = "left" if action[0] == "acquire" else "taken"
        there = _number(state) if action[0] == "acquire" else self.permits - _number(state)
        return f"would need {action[1]} permits {side}, but there are {there}"


def _number(value: State) -> int:
    assert isinstance(value, int)
    return value
