"""A lock that only its owner may release, and that the owner cannot take twice.

Rules of this file:
- States are ``"free"`` or the owner's text. Actions: ``("acquire", owner)`` and
  ``("release", owner)``. Who the owner of an operation is: `checker.models.owner`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Merge, State
from checker.models.owner import FREE, expect_lock, owner_of, whose
from checker.models.start import given, refuse
from checker.values import canonical

# An owner who will never release it. Not JSON, so nobody's name.
FOR_EVER = "held for ever"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerMutex:
    """A lock that only its owner may release; not reentrant.

    Operations: `acquire` nil or {"owner": o}; `release` nil or {"owner": o}; without an owner it is the process
    Crashed: may have happened
    Failed: did not happen
    Starts: "free", the default, or {"owner": o}
    """

    name: str = "owner-mutex"
    initial: State = FREE
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> OwnerMutex:
        """Build it from ``"free"`` or an object with an owner."""
        start = given(initial, FREE)
        if start == FREE:
            return cls()
        if not isinstance(start, dict) or set(start) != {"owner"}:
            raise refuse("owner-mutex", start, '"free" or {"owner": who}')
        return cls(initial=canonical(start["owner"]))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return FREE if self.initial == FREE else {"owner": json.loads(str(self.initial))}

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return the function and the owner; a failed one did not happen."""
        expect_lock(operation)
        owner = owner_of(operation)
        return None if operation.type is EventType.FAIL else (operation.f, owner)

    def step(self, state: State, action: Action) -> State | None:
        """Acquire what is free, release what is one's own."""
        return self.gives(action) if state == self.needs(action) else None

    def is_pure(self, action: Action) -> bool:
        """No action leaves a lock as it is."""
        return False

    def needs(self, action: Action) -> State | None:
        """Acquire needs a free lock, release one's own."""
        return FREE if action[0] == "acquire" else action[1]

    def gives(self, action: Action) -> State | None:
        """Acquire leaves one's own lock, release a free one."""
        return action[1] if action[0] == "acquire" else FREE

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Owners who release nothing are one: after them nothing is allowed."""
        releasing = _releasing(actions)
        return lambda state: state if state == FREE or state in releasing else FOR_EVER

    def universe(self, actions: Collection[Action]) -> Sequence[State]:
        """Return a free lock, one of each owner who releases, and one that is held for ever.

        To these actions every other owner is one who holds it for ever: no action is allowed.
        """
        return (FREE, *sorted(_releasing(actions)), FOR_EVER)

    def leads_elsewhere(self, action: Action, actions: Collection[Action]) -> bool:
        """Whether it is the acquire of an owner who releases nothing: it leads to his lock only."""
        return action[0] == "acquire" and action[1] not in _releasing(actions)

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        return f"{action[0]} by {action[1]}"

    def describe_state(self, state: State) -> str:
        """Return who holds it."""
        return FREE if state == FREE else f"held by {state}"

    def refusal(self, state: State, action: Action) -> str:
        """Return who holds it instead."""
        wanted = "free" if action[0] == "acquire" else f"held by {action[1]}"
        return f"would need the lock to be {wanted}, but {whose(str(state))}"


def _releasing(actions: Iterable[Action]) -> set[str]:
    return {str(action[1]) for action in actions if action[0] == "release"}
