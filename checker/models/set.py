"""A set that elements are added to and removed from, and that is read whole.

Rules of this file:
- States are frozensets of canonical texts. Actions: ``("add", v)``, ``("remove", v)`` and
  ``("read", (v1, v2, ...))``, sorted.
- Adding what is there and removing what is not changes nothing and is always allowed.
- A read that lists an element twice is kept as it was, and no set can answer it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.models.start import texts_of
from checker.values import canonical

# Stands for elements that no read reports and no remove removes. Not JSON, so never an element.
_FOREIGN = "foreign"
HOPELESS = frozenset({_FOREIGN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A set of values, read whole.

    Operations: `add` v; `remove` v; `read`, answer [v, ...] in any order
    Crashed: add and remove may have happened; a read says nothing
    Failed: did not happen
    Starts: a list of elements, [] by default
    """

    name: str = "set"
    initial: State = frozenset()
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> Set:
        """Build it from a JSON list."""
        return cls(initial=frozenset(texts_of("set", initial)))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return list(map(json.loads, sorted(_elements(self.initial))))

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; reads without an answer and failures say nothing."""
        known = ("add", "remove", "read")
        expect(operation.f in known, f"one of the functions {', '.join(known)}", operation)
        if operation.f != "read":
            failed = operation.type is EventType.FAIL
            return None if failed else (operation.f, canonical(operation.input))
        if operation.type is not EventType.OK:
            return None
        listed = operation.output
        if listed is None and meaning.nil_read is NilRead.UNKNOWN:
            return None
        expect(listed is None or isinstance(listed, list | tuple), "an answer that is a list of elements", operation)  # fmt: skip
        return ("read", tuple(sorted(map(canonical, listed or ()))))

    def step(self, state: State, action: Action) -> State | None:
        """Add, remove, or compare with what was read."""
        kind, value = action
        if kind == "read":
            return state if state == self.needs(action) else None
        elements = _elements(state)
        return elements | {value} if kind == "add" else elements - {value}

    def is_pure(self, action: Action) -> bool:
        """A read changes nothing."""
        return action[0] == "read"

    def needs(self, action: Action) -> State | None:
        """A read needs what it read; one with doubles a tuple, which no state is."""
        if action[0] != "read":
            return None
        read = _texts(action)
        distinct = frozenset(read)
        return distinct if len(distinct) == len(read) else read

    def gives(self, action: Action) -> State | None:
        """A read leaves what it read, one with doubles is never allowed and leaves nothing; what add
        and remove leave depends on what was there."""
        needed = self.needs(action)
        return needed if isinstance(needed, frozenset) else None

    def merged(self, actions: Iterable[Action]) -> Merge:
        """All sets in which no read will ever be allowed again are one set.

        Such is a set with elements that no remove removes and that no single read has all of:
        whatever is added or removed, they stay. So that set is never left, and no read is allowed
        in it, from now on or later. For each element, the reads that report it are the bits of a
        number.
        """
        reports: dict[str, int] = {}
        removed: set[str] = set()
        reads = 0
        for action in actions:
            if action[0] == "remove":
                removed.add(str(action[1]))
            elif action[0] == "read":
                for element in _texts(action):
                    reports[element] = reports.get(element, 0) | 1 << reads
                reads += 1
        every = (1 << reads) - 1

        def merge(state: State) -> State:
            if not isinstance(state, frozenset):  # what an impossible read needs
                return state
            reporting = every
            for element in state:
                if element not in removed:
                    reporting &= reports.get(element, 0)
            return state if reporting else HOPELESS

        return merge

    def elements(self, action: Action) -> frozenset[str]:
        """Return what is added, removed or reported."""
        return frozenset(_texts(action)) if action[0] == "read" else frozenset({str(action[1])})

    def project(self, action: Action, elements: frozenset[str]) -> Action | None:
        """Return the action on these elements alone.

        Whether an element is in the set depends on the adds and removes of it alone, so the set
        that a sequence leads to, cut down to some elements, is the one that the projected
        sequence leads to, and each read reports its part of it.
        """
        if action[0] == "read":
            return ("read", tuple(text for text in _texts(action) if text in elements))
        return action if action[1] in elements else None

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        if action[0] == "read":
            return f"read {{{', '.join(_texts(action))}}}"
        return f"{action[0]} {action[1]}"

    def describe_state(self, state: State) -> str:
        """Return the elements in braces."""
        return f"{{{', '.join(sorted(_elements(state)))}}}"

    def refusal(self, state: State, action: Action) -> str:
        """Return what the read has and the set has not, and the reverse; or both, if short."""
        read = _texts(action)
        elements, reported = _elements(state), frozenset(read)
        twice = sorted({text for text in read if read.count(text) > 1}) if len(read) > len(reported) else []  # fmt: skip
        if twice:
            return f"would need a set with {', '.join(twice)} in it twice, but no set has that"
        extra = _some(elements - reported)
        missing = _some(reported - elements)
        said = [f"it has {extra}"] if extra else []
        said += [f"it lacks {missing}"] if missing else []
        return f"would need exactly the {len(read)} elements it read, but {' and '.join(said)}"


def _some(elements: frozenset[str]) -> str:
    """Return the first few of the elements."""
    listed = sorted(elements)
    more = f" and {len(listed) - 5} more" if listed[5:] else ""
    return ", ".join(listed[:5]) + more


def _elements(state: State) -> frozenset[str]:
    assert isinstance(state, frozenset)
    return state


def _texts(action: Action) -> tuple[str, ...]:
    read = action[1]
    assert isinstance(read, tuple)
    return read
