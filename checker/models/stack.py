"""A stack: last in, first out.

Rules of this file:
- States are tuples of canonical texts, the top last. Actions: `checker.models.container`.
- A crashed pop that took effect took the top, or found none: given the state there is no choice.
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
class Stack(Container):
    """A stack, last in first out.

    Operations: `push` v; `pop`, answer v, or nil if it was empty
    Crashed: a push may have happened; a pop may have taken the top
    Failed: did not happen
    Starts: a list of elements, the top last, [] by default
    """

    PUT: ClassVar[str] = "push"
    TAKE: ClassVar[str] = "pop"

    name: str = "stack"
    initial: State = ()

    @classmethod
    def starting(cls, initial: Any) -> Stack:
        """Build it from a JSON list."""
        return cls(initial=texts_of("stack", initial, null=False))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return list(map(json.loads, listed(self.initial)))

    def step(self, state: State, action: Action) -> State | None:
        """Put in and take out at the end."""
        stack = listed(state)
        if action[0] == self.PUT:
            return (*stack, action[1])
        if self.is_unknown(action):
            return stack[:-1]
        if self.is_empty(action):
            return None if stack else state
        return stack[:-1] if stack and stack[-1] == action[1] else None

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Elements that no pop names are one, and nothing beneath the topmost of them counts.

        Only an unknown pop can take out such an element. If there is none, it stays for ever once
        it is there: what is beneath it is never looked at.
        """
        wanted, unknown, _ = self.wanted(actions)

        def merge(state: State) -> State:
            stack = tuple(text if text in wanted else UNWANTED for text in listed(state))
            if unknown or UNWANTED not in stack:
                return stack
            return stack[len(stack) - 1 - stack[::-1].index(UNWANTED) :]

        return merge

    def describe_state(self, state: State) -> str:
        """Return the stack as JSON, the top last."""
        return f"[{','.join(listed(state))}]"

    def refusal(self, state: State, action: Action) -> str:
        """Return what is on top instead."""
        stack = listed(state)
        if self.is_empty(action):
            return f"would need an empty stack, but {stack[-1]} is on top of {len(stack)}"
        there = f"{stack[-1]} is" if stack else "the stack is empty"
        return f"would need {action[1]} to be on top, but {there}"
