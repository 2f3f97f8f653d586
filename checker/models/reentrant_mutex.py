"""A lock that its owner may take again, and must release as often.

Rules of this file:
- States are pairs (owner, how often), ``("free", 0)`` if nobody holds it. Actions:
  ``("acquire", owner)`` and ``("release", owner)``. Who the owner of an operation is:
  `checker.models.owner`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Merge, State
from checker.models.owner import FREE, expect_lock, owner_of, whose
from checker.models.start import given, refuse, whole
from checker.values import canonical

_NOBODY = (FREE, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReentrantMutex:
    """A lock that its owner may take several times and releases as often.

    Operations: `acquire` nil or {"owner": o}; `release` nil or {"owner": o}; without an owner it is the process
    Crashed: may have happened
    Failed: did not happen
    Starts: "free", the default, or {"owner": o, "count": n}
    """

    name: str = "reentrant-mutex"
    initial: State = _NOBODY
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> ReentrantMutex:
        """Build it from ``"free"`` or an object with an owner and a count."""
        start = given(initial, FREE)
        if start == FREE:
            return cls()
        count = whole(start.get("count", 1)) if isinstance(start, dict) else None
        if count is None or count < 1 or not {"owner"} <= set(start) <= {"owner", "count"}:
            raise refuse("reentrant-mutex", start, '"free" or {"owner": who, "count": 1}')
        return cls(initial=(canonical(start["owner"]), count))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        owner, count = _held(self.initial)
        return FREE if owner == FREE else {"owner": json.loads(owner), "count": count}

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return the function and the owner; a failed one did not happen."""
        expect_lock(operation)
        owner = owner_of(operation)
        return None if operation.type is EventType.FAIL else (operation.f, owner)

    def step(self, state: State, action: Action) -> State | None:
        """Take what is free or one's own once more, release what is one's own once."""
        (owner, count), who = _held(state), str(action[1])
        if action[0] == "acquire":
            return (who, count + 1) if owner in (FREE, who) else None
        if owner != who:
            return None
        return (who, count - 1) if count > 1 else _NOBODY

    def is_pure(self, action: Action) -> bool:
        """No action leaves the count as it is."""
        return False

    def needs(self, action: Action) -> State | None:
        """Every action is allowed at several counts."""
        return None

    def gives(self, action: Action) -> State | None:
        """What is left depends on the count."""
        return None

    def merged(self, actions: Iterable[Action]) -> Merge:
        """How often an owner holds it who releases nothing is all the same."""
        releasing = {action[1] for action in actions if action[0] == "release"}

        def merge(state: State) -> State:
            owner, _ = _held(state)
            return state if owner == FREE or owner in releasing else (owner, 1)

        return merge

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        return f"{action[0]} by {action[1]}"

    def describe_state(self, state: State) -> str:
        """Return who holds it and how often."""
        owner, count = _held(state)
        return FREE if owner == FREE else f"held by {owner}, {count} times"

    def refusal(self, state: State, action: Action) -> str:
        """Return who holds it instead."""
        wanted = "free or " if action[0] == "acquire" else ""
        there = whose(_held(state)[0])
        return f"would need the lock to be {wanted}held by {action[1]}, but {there}"


def _held(state: State) -> tuple[str, int]:
    return state  # type: ignore[return-value]  # only `step` and `starting` make states
