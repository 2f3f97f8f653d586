"""What queues, bags and stacks have in common: elements go in, and come out one at a time.

Rules of this file:
- Four actions, named by the subclass's two functions (here a queue's): ``("enqueue", v)``;
  ``("dequeue", v)`` took v out; ``("dequeue-empty",)`` found nothing; ``("dequeue-unknown",)``
  crashed, and took out nobody knows what, or found nothing.
- Only crashed operations have the last one, so it may always be left out.
- nil is the answer of an empty container, in every meaning, so it cannot be an element.
- An element may be in it several times. A failed operation did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, State, expect
from checker.values import canonical

# Stands for every element that nobody asks for by name. Not JSON, so never an element.
UNWANTED = "unwanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Elements that are put in and taken out; which one comes out is the subclass's affair."""

    PUT: ClassVar[str]
    TAKE: ClassVar[str]

    name: str
    initial: State
    keyed: bool = True

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; failures say nothing."""
        known = (self.PUT, self.TAKE)
        expect(operation.f in known, f"one of the functions {', '.join(known)}", operation)
        if operation.f == self.PUT:
            expect(operation.input is not None, "an element that is not nil", operation)
        if operation.type is EventType.FAIL:
            return None
        if operation.f == self.PUT:
            return (self.PUT, canonical(operation.input))
        if operation.type is not EventType.OK:
            return (f"{self.TAKE}-unknown",)
        if operation.output is None:
            return (f"{self.TAKE}-empty",)
        return (self.TAKE, canonical(operation.output))

    def is_pure(self, action: Action) -> bool:
        """Finding nothing changes nothing."""
        return self.is_empty(action)

    def needs(self, action: Action) -> State | None:
        """Finding nothing needs an empty container; taking an element out has many states."""
        return () if self.is_empty(action) else None

    def gives(self, action: Action) -> State | None:
        """Finding nothing leaves nothing; all else depends on what was there."""
        return () if self.is_empty(action) else None

    def elements(self, action: Action) -> frozenset[str]:
        """Return the element put in or taken out."""
        return frozenset(map(str, action[1:]))

    def project(self, action: Action, elements: frozenset[str]) -> Action | None:
        """Return the action on these elements alone, all copies of them.

        What is in the container, cut down to some elements, is in it in the same order. Putting
        in and taking out others does not touch that part. What is first or last of all is first
        or last of the part it belongs to, and where nothing is at all there is nothing of the
        part. An unknown removal stays: it took out one of these elements, which it then may do
        in the projection too, or one of the others, or none, and then it is left out, as a
        crashed operation may be.
        """
        return action if len(action) == 1 or action[1] in elements else None

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        if self.is_empty(action):
            return f"{self.TAKE} of nothing"
        if self.is_unknown(action):
            return f"{self.TAKE} of something unknown"
        return f"{action[0]} {action[1]}"

    def is_empty(self, action: Action) -> bool:
        """Whether the action found the container empty."""
        return action[0] == f"{self.TAKE}-empty"

    def is_unknown(self, action: Action) -> bool:
        """Whether the action took out nobody knows what."""
        return action[0] == f"{self.TAKE}-unknown"

    def wanted(self, actions: Iterable[Action]) -> tuple[frozenset[str], bool, bool]:
        """Return the elements taken out by name, and whether any action is unknown or empty."""
        listed = set(actions)
        return (
            frozenset(str(action[1]) for action in listed if action[0] == self.TAKE),
            any(map(self.is_unknown, listed)),
            any(map(self.is_empty, listed)),
        )


def listed(state: State) -> tuple[str, ...]:
    """Return a state as the tuple it is."""
    assert isinstance(state, tuple)
    return state
