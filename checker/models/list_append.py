"""A list that values are appended to and that is read whole.

Rules of this file:
- States are tuples of canonical texts. Actions: ``("append", v)`` and ``("read", (v1, ...))``, in
  the list's order.
- A list that was never appended to is empty: so is the answer nil where it means "no value".
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.models.start import texts_of
from checker.values import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAppend:
    """A list that grows at its end, read whole.

    Operations: `append` v; `read`, answer [v, ...] in order
    Crashed: an append may have happened; a read says nothing
    Failed: did not happen
    Starts: a list of elements, [] by default
    """

    name: str = "list-append"
    initial: State = ()
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> ListAppend:
        """Build it from a JSON list."""
        return cls(initial=texts_of("list-append", initial))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return list(map(json.loads, _listed(self.initial)))

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; reads without an answer and failures say nothing."""
        known = ("append", "read")
        expect(operation.f in known, f"one of the functions {', '.join(known)}", operation)
        if operation.f == "append":
            failed = operation.type is EventType.FAIL
            return None if failed else ("append", canonical(operation.input))
        if operation.type is not EventType.OK:
            return None
        listed = operation.output
        if listed is None and meaning.nil_read is NilRead.UNKNOWN:
            return None
        expect(listed is None or isinstance(listed, list | tuple), "an answer that is a list", operation)  # fmt: skip
        return ("read", tuple(map(canonical, listed or ())))

    def step(self, state: State, action: Action) -> State | None:
        """Append, or compare with what was read."""
        if action[0] == "read":
            return state if state == action[1] else None
        return (*_listed(state), action[1])

    def is_pure(self, action: Action) -> bool:
        """A read changes nothing."""
        return action[0] == "read"

    def needs(self, action: Action) -> State | None:
        """A read needs what it read."""
        return action[1] if action[0] == "read" else None

    def gives(self, action: Action) -> State | None:
        """A read leaves what it read; what append leaves depends on what was there."""
        return self.needs(action)

    def merged(self, actions: Iterable[Action]) -> Merge:
        """All lists that begin no list that was read are one list.

        Nothing ever leads away from such a list and no read is ever allowed in it. It is
        represented by a list longer than all that were read, so that appending to it gives such a
        list again.
        """
        read = sorted({_listed(action[1]) for action in actions if action[0] == "read"})
        hopeless = ("hopeless",) * (max(map(len, read), default=0) + 1)

        def merge(state: State) -> State:
            listed = _listed(state)
            # The first that is not smaller: if any begins with this list, that one does.
            place = bisect_left(read, listed)
            begins = place < len(read) and read[place][: len(listed)] == listed
            return state if begins else hopeless

        return merge

    def elements(self, action: Action) -> frozenset[str]:
        """Return what is appended or reported."""
        if action[0] == "read":
            return frozenset(_listed(action[1]))
        return frozenset({str(action[1])})

    def project(self, action: Action, elements: frozenset[str]) -> Action | None:
        """Return the action on these elements alone, all copies of them.

        Striking the appends of other elements strikes exactly those elements from every list
        that follows and leaves the order of the rest.
        """
        if action[0] == "read":
            return ("read", tuple(text for text in _listed(action[1]) if text in elements))
        return action if action[1] in elements else None

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        if action[0] == "read":
            return f"read {self.describe_state(action[1])}"
        return f"append {action[1]}"

    def describe_state(self, state: State) -> str:
        """Return the list as JSON."""
        return f"[{','.join(_listed(state))}]"

    def refusal(self, state: State, action: Action) -> str:
        """Return where the read and the list part."""
        there, read = _listed(state), _listed(action[1])
        pairs = enumerate(zip(there, read, strict=False))
        place = next((n for n, (one, other) in pairs if one != other), None)
        if place is not None:
            return f"would need {read[place]} in place {place}, but there is {there[place]}"
        return f"would need a list of {len(read)} elements, but it has {len(there)}"


def _listed(state: State) -> tuple[str, ...]:
    assert isinstance(state, tuple)
    return state
