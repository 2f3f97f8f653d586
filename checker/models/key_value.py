"""A string per key: get, put (overwrite) and append.

Rules of this file:
- States are plain strings. A key that was never written holds the empty string, so a get that
  returned nil, where that means "no value", returned the empty string.
- Actions: ``("get", v)``, ``("put", v)``, ``("append", v)``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.values import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A string that is read, overwritten and appended to."""

    name: str = "key-value"
    initial: State = ""
    keyed: bool = True

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; gets without an answer and failures say nothing."""
        known = ("get", "put", "append")
        expect(operation.f in known, f"one of the functions {', '.join(known)}", operation)
        if operation.f == "get":
            if operation.type is not EventType.OK:
                return None
            value: Any = operation.output
            if value is None:
                return None if meaning.nil_read is NilRead.UNKNOWN else ("get", "")
            expect(isinstance(value, str), "an answer that is a string", operation)
            return ("get", value)
        expect(isinstance(operation.input, str), "a string", operation)
        return None if operation.type is EventType.FAIL else (operation.f, operation.input)

    def step(self, state: State, action: Action) -> State | None:
        """Return the next string, `None` for a get of another one."""
        kind, value = action
        if kind == "get":
            return state if state == value else None
        return value if kind == "put" else f"{state}{value}"

    def is_pure(self, action: Action) -> bool:
        """A get changes nothing, and nor does appending nothing."""
        return action[0] == "get" or action == ("append", "")

    def needs(self, action: Action) -> State | None:
        """A get needs what it got."""
        return action[1] if action[0] == "get" else None

    def gives(self, action: Action) -> State | None:
        """What append leaves depends on what was there."""
        return None if action[0] == "append" else action[1]

    def merged(self, actions: Iterable[Action]) -> Merge:
        """All strings that begin no string that was got are one string.

        Nothing but a put leads away from such a string, and a put leads to the same state from
        everywhere; no get is ever allowed in it. It is represented by a string longer than all
        that were got, so that appending to it gives such a string again.
        """
        got = sorted({str(action[1]) for action in actions if action[0] == "get"})
        hopeless = "\0" * (max(map(len, got), default=0) + 1)

        def merge(state: State) -> State:
            text = str(state)
            place = bisect_left(got, text)
            return state if place < len(got) and got[place].startswith(text) else hopeless

        return merge

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        return f"{action[0]} {canonical(action[1])}"

    def describe_state(self, state: State) -> str:
        """Return the string as JSON."""
        return canonical(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return why the get is not allowed."""
        return f"would need the value {canonical(action[1])}, but it is {canonical(state)}"
