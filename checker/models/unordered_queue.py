"""A bag: what was put in comes out in any order.

Rules of this file:
- A crashed dequeue took out one element, and which one decides what may happen later. So a state
  is a frozenset of all bags that are possible (the powerset construction: Rabin & Scott, IBM J.
  Res. Dev. 3(2) (1959), section 5), each a sorted tuple of canonical texts. An action is allowed
  if it is in some of them, and leads to what it leads to in those.
- Without crashed dequeues there is one possible bag, always.
- Actions: `checker.models.container`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from checker.models.container import UNWANTED, Container
from checker.models.model import Action, Merge, State
from checker.models.start import texts_of

Bag = tuple[str, ...]
_EMPTY: frozenset[Bag] = frozenset({()})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnorderedQueue(Container):
    """A bag: a queue that keeps no order.

    Operations: `enqueue` v; `dequeue`, answer v, or nil if it was empty
    Crashed: an enqueue may have happened; a dequeue may have taken any element
    Failed: did not happen
    Starts: a list of elements, [] by default
    """

    PUT: ClassVar[str] = "enqueue"
    TAKE: ClassVar[str] = "dequeue"

    name: str = "unordered-queue"
    initial: State = _EMPTY

    @classmethod
    def starting(cls, initial: Any) -> UnorderedQueue:
        """Build it from a JSON list."""
        bag = tuple(sorted(texts_of("unordered-queue", initial, null=False)))
        return cls(initial=frozenset({bag}))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from: at the start one bag is possible."""
        (bag,) = _bags(self.initial)
        return list(map(json.loads, bag))

    def step(self, state: State, action: Action) -> State | None:
        """Do the action in every possible bag; `None` if none of them allows it."""
        after: set[Bag] = set()
        for bag in _bags(state):
            if action[0] == self.PUT:
                after.add(tuple(sorted((*bag, str(action[1])))))
            elif self.is_unknown(action):
                after.update({_without(bag, text) for text in bag} or {bag})
            elif self.is_empty(action):
                after |= {bag} & {()}
            elif action[1] in bag:
                after.add(_without(bag, str(action[1])))
        return frozenset(after) or None

    def needs(self, action: Action) -> State | None:
        """Finding nothing needs that nothing else is possible; the rest has many states.

        All possible bags are of one size, at first and after every action: a crashed dequeue
        takes one element out of each, or none out of each. So if one is empty, all are. That
        is also why finding nothing changes nothing (`is_pure`).
        """
        return _EMPTY if self.is_empty(action) else None

    def gives(self, action: Action) -> State | None:
        """Finding nothing leaves nothing; all else depends on what was there."""
        return self.needs(action)

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Elements that no dequeue names are one, and count only as far as anybody can tell.

        Without unknown dequeues they are never taken out: whether there are any is all that a
        dequeue of nothing sees, and if there is no such dequeue nobody sees them.
        """
        wanted, unknown, empty = self.wanted(actions)

        def one(bag: Bag) -> Bag:
            known = [text for text in bag if text in wanted]
            others = len(bag) - len(known)
            if not unknown:
                others = min(others, 1) if empty else 0
            return tuple(sorted([*known, *[UNWANTED] * others]))

        return lambda state: frozenset(map(one, _bags(state)))

    def describe_state(self, state: State) -> str:
        """Return the bag in JSON's brackets, or all that are possible."""
        return " or ".join(f"[{','.join(bag)}]" for bag in sorted(_bags(state)))

    def refusal(self, state: State, action: Action) -> str:
        """Return what the queue holds instead."""
        wanted = "an empty queue" if self.is_empty(action) else f"{action[1]} to be in the queue"
        return f"would need {wanted}, but it is {self.describe_state(state)}"


def _without(bag: Bag, text: str) -> Bag:
    """Return the bag without one copy of an element that is in it."""
    place = bag.index(text)
    return bag[:place] + bag[place + 1 :]


def _bags(state: State) -> frozenset[Bag]:
    assert isinstance(state, frozenset)
    return state
