"""A lock that one client holds at a time and that cannot be taken twice (non-reentrant).

Rules of this file:
- States are ``"free"`` and ``"held"``; actions ``("acquire",)`` and ``("release",)``. Who holds it
  is not part of the state: a release by somebody else is the caller's mistake, not the lock's.
- A failed acquire or release did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Merge, State, expect

FREE, HELD = "free", "held"
_FROM_TO = {"acquire": (FREE, HELD), "release": (HELD, FREE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutex:
    """A non-reentrant lock."""

    name: str = "mutex"
    initial: State = FREE
    keyed: bool = True

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return the function's name; a failed one did not happen."""
        expect(operation.f in _FROM_TO, "one of the functions acquire, release", operation)
        return None if operation.type is EventType.FAIL else (operation.f,)

    def step(self, state: State, action: Action) -> State | None:
        """Acquire what is free, release what is held."""
        before, after = _FROM_TO[str(action[0])]
        return after if state == before else None

    def is_pure(self, action: Action) -> bool:
        """No action leaves a lock as it is."""
        return False

    def needs(self, action: Action) -> State | None:
        """Acquire needs a free lock, release a held one."""
        return _FROM_TO[str(action[0])][0]

    def gives(self, action: Action) -> State | None:
        """Acquire leaves a held lock, release a free one."""
        return _FROM_TO[str(action[0])][1]

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Both states can be told apart."""
        return lambda state: state

    def describe(self, action: Action) -> str:
        """Return the function's name."""
        return str(action[0])

    def describe_state(self, state: State) -> str:
        """Return ``free`` or ``held``."""
        return str(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return why the action is not allowed."""
        return f"would need the lock to be {self.needs(action)}, but it is {state}"
