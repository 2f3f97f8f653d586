"""A string per key: get, put (overwrite), append, delete and compare-and-set.

Rules of this file:
- States are plain strings. A key that was never written holds the empty string, so a get that
  returned nil, where that means "no value", returned the empty string.
- Actions: ``("get", v)``, ``("put", v)``, ``("append", v)``, ``("delete",)``, which leaves the empty
  string, ``("cas", from, to)``, and ``("refused", from)`` for a compare-and-set that ran and found
  something else.
- A string is *looked at* if a get answered it or a compare-and-set expected it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.models.start import given, refuse
from checker.values import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A string that is read, overwritten, appended to, and compared and set.

    Operations: `get`, answer s; `put` s; `append` s; `delete`; `cas` [from, to]
    Crashed: put, append, delete and cas may have happened; a get says nothing
    Failed: did not happen; or, of a cas, if `failed_cas` means "differs": the string was another one
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
        known = ("get", "put", "append", "delete", "cas")
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
        if operation.f == "cas":
            return _compared(operation, meaning)
        expect(isinstance(operation.input, str), "a string", operation)
        return None if operation.type is EventType.FAIL else (operation.f, operation.input)

    def step(self, state: State, action: Action) -> State | None:
        """Return the next string, `None` if the action does not fit the present one."""
        kind = action[0]
        if kind == "append":
            return f"{state}{action[1]}"
        if kind == "refused":
            return state if state != action[1] else None
        needed = self.needs(action)
        return self.gives(action) if needed is None or needed == state else None

    def is_pure(self, action: Action) -> bool:
        """Gets and refusals change nothing, nor does appending nothing or a cas to what is there."""
        if action[0] == "cas":
            return action[1] == action[2]
        return action[0] in ("get", "refused") or action == ("append", "")

    def excludes(self, action: Action) -> State | None:
        """A refusal is allowed everywhere but in the string that was expected."""
        return action[1] if action[0] == "refused" else None

    def needs(self, action: Action) -> State | None:
        """A get needs what it got, a cas what it compared with."""
        return action[1] if action[0] in ("get", "cas") else None

    def gives(self, action: Action) -> State | None:
        """Append and a refusal leave what depends on what was there; delete the empty string."""
        if action[0] in ("append", "refused"):
            return None
        return "" if action[0] == "delete" else action[-1]

    def merged(self, actions: Iterable[Action]) -> Merge:
        """All strings that begin no string that is looked at are one string.

        Nothing but put and delete lead away from such a string, and they lead to the same state from
        everywhere; no get and no cas is ever allowed in it, and every refusal is. It is
        represented by a string longer than all that are looked at, so that appending to it gives
        such a string again.
        """
        seen = sorted(_looked_at(actions))
        hopeless = _hopeless(seen)

        def merge(state: State) -> State:
            text = str(state)
            place = bisect_left(seen, text)
            return state if place < len(seen) and seen[place].startswith(text) else hopeless

        return merge

    def universe(self, actions: Collection[Action]) -> Sequence[State]:
        """Return the strings that can still become one that is looked at, and a hopeless one.

        Take any other string. Appends make it a longer one that, by the definition of `_alive`,
        is none of these either, so no get and no cas is ever allowed and every refusal is; put and
        delete lead to the same state from everywhere. Elsewhere is the same: appending to it makes
        it longer still.
        """
        alive = _alive(frozenset(actions))
        return (*sorted(alive), _hopeless(alive))

    def leads_elsewhere(self, action: Action, actions: Collection[Action]) -> bool:
        """Whether no string that can still become one that is looked at is what the action leaves.

        Put, delete, get and cas leave one string, wherever they are allowed. An append of v may
        leave any string that ends with v, and no other. A refusal leaves nearly any.
        """
        alive = _alive(frozenset(actions))
        if action[0] == "append":
            return not any(text.endswith(str(action[1])) for text in alive)
        return action[0] != "refused" and self.gives(action) not in alive

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        if action[0] == "delete":
            return "delete"
        if action[0] == "cas":
            return f"cas from {canonical(action[1])} to {canonical(action[2])}"
        if action[0] == "refused":
            return f"cas refused, expecting {canonical(action[1])}"
        return f"{action[0]} {canonical(action[1])}"

    def describe_state(self, state: State) -> str:
        """Return the string as JSON."""
        return canonical(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return why the action is not allowed."""
        if action[0] == "refused":
            return (
                f"was refused, so the value was not {canonical(action[1])}, but it is"
                f" {canonical(state)}"
            )
        return f"would need the value {canonical(action[1])}, but it is {canonical(state)}"


def _compared(operation: Operation, meaning: Meaning) -> Action | None:
    """Return what a compare-and-set did."""
    pair = operation.input
    is_pair = isinstance(pair, list | tuple) and len(pair) == 2
    expect(
        is_pair and all(isinstance(text, str) for text in pair), "[from, to], strings", operation
    )
    if operation.type is not EventType.FAIL:
        return ("cas", pair[0], pair[1])
    return ("refused", pair[0]) if meaning.failed_cas is FailedCas.DIFFERS else None


def _looked_at(actions: Iterable[Action]) -> set[str]:
    """Return the strings of which some action says that it is, or is not, this one."""
    return {str(action[1]) for action in actions if action[0] in ("get", "cas", "refused")}


@lru_cache(maxsize=8)
def _alive(actions: frozenset[Action]) -> frozenset[str]:
    """Return the strings that some of the appends, any number of times, make one that is looked at.

    Backwards from what is looked at: a string is alive if it is, or if one that is alive is it with
    an append at its end.
    """
    appended = {str(action[1]) for action in actions if action[0] == "append"} - {""}
    lengths = sorted({len(text) for text in appended})
    waiting = list(_looked_at(actions))
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
