"""A string per key: get, put (overwrite), append and delete.

Rules of this file:
- States are plain strings. A key that was never written holds the empty string, so a get that
  returned nil, where that means "no value", returned the empty string.
- Actions: ``("get", v)``, ``("put", v)``, ``("append", v)``, and ``("delete",)``, which leaves the
  empty string.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.models.start import given, refuse
from checker.values import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A string that is read, overwritten and appended to.

    Operations: `get`, answer s; `put` s; `append` s; `delete`
    Crashed: put, append and delete may have happened; a get says nothing
    Failed: did not happen
    Starts: a string, "" by default
    """

    name: str = "key-value"
    initial: State = ""
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> KeyValue:
        """Build it from a JSON string."""
        value = given(initial, "")
        if not isinstance(value, str):
            raise refuse("key-value", value, "a string")
        return cls(initial=value)

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return self.initial

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; gets without an answer and failures say nothing."""
        known = ("get", "put", "append", "delete")
        expect(operation.f in known, f"one of the functions {', '.join(known)}", operation)
        if operation.f == "get":
            if operation.type is not EventType.OK:
                return None
            value: Any = operation.output
            if value is None:
                return None if meaning.nil_read is NilRead.UNKNOWN else ("get", "")
            expect(isinstance(value, str), "an answer that is a string", operation)
            return ("get", value)
        if operation.f == "delete":
            return None if operation.type is EventType.FAIL else ("delete",)
        expect(isinstance(operation.input, str), "a string", operation)
        return None if operation.type is EventType.FAIL else (operation.f, operation.input)

    def step(self, state: State, action: Action) -> State | None:
        """Return the next string, `None` for a get of another one."""
        kind = action[0]
        if kind == "get":
            return state if state == action[1] else None
        return f"{state}{action[1]}" if kind == "append" else self.gives(action)

    def is_pure(self, action: Action) -> bool:
        """A get changes nothing, and nor does appending nothing."""
        return action[0] == "get" or action == ("append", "")

    def needs(self, action: Action) -> State | None:
        """A get needs what it got."""
        return action[1] if action[0] == "get" else None

    def gives(self, action: Action) -> State | None:
        """What append leaves depends on what was there; delete leaves the empty string."""
        if action[0] == "append":
            return None
        return "" if action[0] == "delete" else action[1]

    def merged(self, actions: Iterable[Action]) -> Merge:
        """All strings that begin no string that was got are one string.

        Nothing but put and delete lead away from such a string, and they lead to the same state from
        everywhere; no get is ever allowed in it. It is represented by a string longer than all
        that were got, so that appending to it gives such a string again.
        """
        got = sorted({str(action[1]) for action in actions if action[0] == "get"})
        hopeless = _hopeless(got)

        def merge(state: State) -> State:
            text = str(state)
            place = bisect_left(got, text)
            return state if place < len(got) and got[place].startswith(text) else hopeless

        return merge

    def universe(self, actions: Collection[Action]) -> Sequence[State]:
        """Return the strings that can still become one that was got, and a hopeless one.

        Take any other string. Appends make it a longer one that, by the definition of `_alive`,
        is none of these either, so no get is ever allowed; put and delete lead to the same state
        from everywhere. Elsewhere is the same: appending to it makes it longer still.
        """
        alive = _alive(frozenset(actions))
        return (*sorted(alive), _hopeless(alive))

    def leads_elsewhere(self, action: Action, actions: Collection[Action]) -> bool:
        """Whether no string that can still become one that was got is what the action leaves.

        Put, delete and get leave one string. An append of v may leave any string that ends with
        v, and no other.
        """
        alive = _alive(frozenset(actions))
        if action[0] == "append":
            return not any(text.endswith(str(action[1])) for text in alive)
        return self.gives(action) not in alive

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        if action[0] == "delete":
            return "delete"
        return f"{action[0]} {canonical(action[1])}"

    def describe_state(self, state: State) -> str:
        """Return the string as JSON."""
        return canonical(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return why the get is not allowed."""
        return f"would need the value {canonical(action[1])}, but it is {canonical(state)}"


@lru_cache(maxsize=8)
def _alive(actions: frozenset[Action]) -> frozenset[str]:
    """Return the strings that some of the appends, each any number of times, make one that was got.

    Backwards from what was got: a string is alive if it was got, or if one that is alive is it
    with an append at its end.
    """
    appended = {str(action[1]) for action in actions if action[0] == "append"} - {""}
    lengths = sorted({len(text) for text in appended})
    waiting = [str(action[1]) for action in actions if action[0] == "get"]
    alive: set[str] = set()
    while waiting:
        text = waiting.pop()
        if text in alive:
            continue
        alive.add(text)
        places = (len(text) - length for length in lengths if length <= len(text))
        waiting += [text[:place] for place in places if text[place:] in appended]
    return frozenset(alive)


def _hopeless(got: Iterable[str]) -> str:
    """Return a string that is longer than all of these."""
    return "\0" * (max(map(len, got), default=0) + 1)
