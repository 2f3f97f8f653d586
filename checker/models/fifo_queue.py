"""A queue: first in, first out.

Rules of this file:
- States are tuples of canonical texts, the oldest first. Actions: `checker.models.container`.
- A crashed dequeue that took effect took the oldest element, or found none: given the state there
  is no choice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from checker.models.container import UNWANTED, Container, listed
from checker.models.model import Action, Merge, State
from checker.models.start import texts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FifoQueue(Container):
    """A queue, first in first out.

    Operations: `enqueue` v; `dequeue`, answer v, or nil if it was empty
    Crashed: an enqueue may have happened; a dequeue may have taken the oldest element
    Failed: did not happen
    Starts: a list of elements, the oldest first, [] by default
    """

    PUT: ClassVar[str] = "enqueue"
    TAKE: ClassVar[str] = "dequeue"

    name: str = "fifo-queue"
    initial: State = ()

    @classmethod
    def starting(cls, initial: Any) -> FifoQueue:
        """Build it from a JSON list."""
        return cls(initial=texts_of("fifo-queue", initial, null=False))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return list(map(json.loads, listed(self.initial)))

    def step(self, state: State, action: Action) -> State | None:
        """Put in at the end, take out at the front."""
        queue = listed(state)
        if action[0] == self.PUT:
            return (*queue, action[1])
        if self.is_unknown(action):
            return queue[1:]
        if self.is_empty(action):
            return None if queue else state
        return queue[1:] if queue and queue[0] == action[1] else None

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Elements that no dequeue names are one, and nothing behind the first of them counts.

        Only an unknown dequeue can take out such an element. If there is none, the first of them
        stays in front for ever once it is there: what is behind it is never looked at.
        """
        wanted, unknown, _ = self.wanted(actions)

        def merge(state: State) -> State:
            queue = tuple(text if text in wanted else UNWANTED for text in listed(state))
            if unknown or UNWANTED not in queue:
                return queue
            return queue[: queue.index(UNWANTED) + 1]

        return merge

    def describe_state(self, state: State) -> str:
        """Return the queue as JSON, the oldest element first."""
        return f"[{','.join(listed(state))}]"

    def refusal(self, state: State, action: Action) -> str:
        """Return what is first instead."""
        queue = listed(state)
        if self.is_empty(action):
            return f"would need an empty queue, but {queue[0]} is first of {len(queue)}"
        there = f"{queue[0]} is" if queue else "the queue is empty"
        return f"would need {action[1]} to be first, but {there}"
