"""A lock that one client holds at a time and that cannot be taken twice (non-reentrant).

Rules of this file:
- States are ``"free"`` and ``"held"``; actions ``("acquire",)`` and ``("release",)``. Who holds it
  is not part of the state: a release by somebody else is the caller's mistake, not the lock's.
- A failed acquire or release did not happen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Merge, State, expect
from checker.models.start import given, refuse

FREE, HELD = "free", "held"
# A state that no action leads to and that allows none.
_NOWHERE = "nowhere"
_FROM_TO = {"acquire": (FREE, HELD), "release": (HELD, FREE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutex:
    """A lock that is not reentrant; who holds it is not looked at.

    Operations: `acquire`; `release`
    Crashed: may have happened
    Failed: did not happen
    Starts: "free", the default, or "held"
    """

    name: str = "mutex"
    initial: State = FREE
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> Mutex:
        """Build it from one of its two states."""
        value = given(initial, FREE)
        if value not in (FREE, HELD):
            raise refuse("mutex", value, f'"{FREE}" or "{HELD}"')
        return cls(initial=value)

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return self.initial

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

    def universe(self, actions: Collection[Action]) -> Sequence[State]:
        """Return both states, and one in which nothing is allowed.

        Actions look at both states, so none is elsewhere; the last one is there because the
        last one is taken to be elsewhere, and going to it at any time gains nobody anything.
        """
        return (FREE, HELD, _NOWHERE)

    def leads_elsewhere(self, action: Action, actions: Collection[Action]) -> bool:
        """No action leads out of the two states."""
        return False

    def describe(self, action: Action) -> str:
        """Return the function's name."""
        return str(action[0])

    def describe_state(self, state: State) -> str:
        """Return ``free`` or ``held``."""
        return str(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return why the action is not allowed."""
        return f"would need the lock to be {self.needs(action)}, but it is {state}"
