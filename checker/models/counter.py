"""A counter: numbers are added to it, and it is read.

Rules of this file:
- States are Python integers. Actions: ``("add", n)`` and ``("read", n)``.
- `add` takes a whole number, which may be negative; `increment` and `decrement` take one that
  they add or subtract, 1 if none is given.
- An add is blind: whatever it answered says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.models.start import integer_of, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A whole number that others are added to.

    Operations: `add` n; `increment` n or nil (1); `decrement` n or nil (1); `read`, answer n
    Crashed: an add may have happened; a read says nothing
    Failed: did not happen
    Starts: a whole number, 0 by default
    """

    name: str = "counter"
    initial: State = 0
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> Counter:
        """Build it from a JSON number."""
        return cls(initial=integer_of("counter", initial, default=0))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return self.initial

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; a read of nil, where that means no value, is of 0."""
        known = ("add", "increment", "decrement", "read")
        expect(operation.f in known, f"one of the functions {', '.join(known)}", operation)
        if operation.f == "read":
            if operation.type is not EventType.OK:
                return None
            if operation.output is None:
                return None if meaning.nil_read is NilRead.UNKNOWN else ("read", 0)
            read = whole(operation.output)
            expect(read is not None, "an answer that is a whole number", operation)
            return ("read", read)
        asked = operation.input
        number = whole(1 if asked is None and operation.f != "add" else asked)
        expect(number is not None, "a whole number", operation)
        assert number is not None
        if operation.type is EventType.FAIL:
            return None
        return ("add", -number if operation.f == "decrement" else number)

    def step(self, state: State, action: Action) -> State | None:
        """Add, or compare with what was read."""
        number = _number(action[1])
        if action[0] == "read":
            return state if state == number else None
        return _number(state) + number

    def is_pure(self, action: Action) -> bool:
        """A read changes nothing, and nor does adding nothing."""
        return action[0] == "read" or action[1] == 0

    def needs(self, action: Action) -> State | None:
        """A read needs what it read."""
        return action[1] if action[0] == "read" else None

    def gives(self, action: Action) -> State | None:
        """A read leaves what it read; what an add leaves depends on what was there."""
        return self.needs(action)

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Numbers past all reads are one, if the adds lead away from the reads only.

        If no add is negative, a counter above the largest number that was read stays there, and
        no read is allowed any more; likewise below the smallest, if none is positive.
        """
        listed = set(actions)
        reads = [_number(action[1]) for action in listed if action[0] == "read"]
        adds = [_number(action[1]) for action in listed if action[0] == "add"]
        if not reads:
            return lambda state: 0
        low, high = min(reads), max(reads)
        rises, falls = min(adds, default=0) >= 0, max(adds, default=0) <= 0

        def merge(state: State) -> State:
            number = _number(state)
            if rises and number > high:
                return high + 1
            return low - 1 if falls and number < low else number

        return merge

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        return f"{action[0]} {action[1]}"

    def describe_state(self, state: State) -> str:
        """Return the number."""
        return str(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return why the read is not allowed."""
        return f"would need the counter to be {action[1]}, but it is {state}"


def _number(value: State) -> int:
    assert isinstance(value, int)
    return value
