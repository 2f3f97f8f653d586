"""A lock that hands out a fencing token with every acquire, each larger than all before.

Rules of this file:
- States are (owner, token, whether the token is known), with ``"free"`` for nobody and then the
  last token handed out. Tokens are whole numbers.
- Actions: ``("acquire", owner, token)``; ``("acquire-unknown", owner)``, which crashed, so that
  nobody knows its token; ``("release", owner)``; ``("release-token", token)``.
- A token that nobody knows is more than the last one, so at least one more. The state keeps this
  least one: a smaller last token allows all that a larger one does. If a release names a token
  that is not less, that was it.
- Who the owner of an operation is: `checker.models.owner`. A release that names a token is meant
  for the acquire that got it, whoever sends it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Merge, State, expect
from checker.models.owner import FREE, expect_lock, owner_of, whose
from checker.models.start import integer_of, whole

Held = tuple[str, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class FencedMutex:
    """A lock with fencing tokens that grow; not reentrant.

    Operations: `acquire` nil or {"owner": o}, answer token or {"token": token}; `release` nil or {"owner": o} or {"token": token}; without an owner it is the process
    Crashed: may have happened; an acquire then got a token that nobody knows
    Failed: did not happen
    Starts: free; the last token that was handed out, 0 by default
    """

    name: str = "fenced-mutex"
    initial: State = (FREE, 0, True)
    keyed: bool = True

    @classmethod
    def starting(cls, initial: Any) -> FencedMutex:
        """Build it from the last token."""
        return cls(initial=(FREE, integer_of("fenced-mutex", initial, default=0), True))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return _held(self.initial)[1]

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; a failed one did not happen."""
        expect_lock(operation)
        owner = owner_of(operation)
        if operation.type is EventType.FAIL:
            return None
        if operation.f == "acquire":
            if operation.type is not EventType.OK:
                return ("acquire-unknown", owner)
            return ("acquire", owner, _token(operation.output, operation))
        if "token" in (operation.input or {}):
            return ("release-token", _token(operation.input, operation))
        return ("release", owner)

    def step(self, state: State, action: Action) -> State | None:
        """Acquire what is free with a larger token, release what is one's own."""
        owner, last, known = _held(state)
        kind, *what = action
        if kind == "acquire-unknown":
            return (what[0], last + 1, False) if owner == FREE else None
        if kind == "acquire":
            token = _whole(what[1])
            return (what[0], token, True) if owner == FREE and token > last else None
        if kind == "release":
            return (FREE, last, True) if owner == what[0] else None
        token = _whole(what[0])
        fits = token == last if known else token >= last
        return (FREE, token, True) if owner != FREE and fits else None

    def is_pure(self, action: Action) -> bool:
        """No action leaves a lock as it is."""
        return False

    def needs(self, action: Action) -> State | None:
        """Every action is allowed after several tokens."""
        return None

    def gives(self, action: Action) -> State | None:
        """What is left depends on the last token, or is not allowed in all states."""
        return None

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Locks that nobody will ever release are one: nothing is allowed any more.

        A token that is known is named by a release or not. One that is not known counts as named
        if any release names a token at all.
        """
        listed = set(actions)
        owners = {action[1] for action in listed if action[0] == "release"}
        tokens = {_whole(action[1]) for action in listed if action[0] == "release-token"}
        # Nobody is called so, and no release names this token.
        for_ever: Held = ("held for ever", min(tokens, default=0) - 1, True)

        def merge(state: State) -> State:
            owner, last, known = _held(state)
            named = last in tokens if known else bool(tokens)
            return state if owner == FREE or owner in owners or named else for_ever

        return merge

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        if action[0] == "release-token":
            return f"release of token {action[1]}"
        token = f" with token {action[2]}" if action[0] == "acquire" else ""
        return f"{str(action[0]).removesuffix('-unknown')} by {action[1]}{token}"

    def describe_state(self, state: State) -> str:
        """Return who holds it and the last token."""
        owner, last, known = _held(state)
        token = f"token {last}" if known else f"an unknown token, at least {last}"
        return f"free, last {token}" if owner == FREE else f"held by {owner} with {token}"

    def refusal(self, state: State, action: Action) -> str:
        """Return who holds it instead, or which token came before."""
        owner, last, _ = _held(state)
        if str(action[0]).startswith("acquire"):
            if owner != FREE:
                return f"would need the lock to be free, but {whose(owner)}"
            return f"would need a last token below {action[2]}, but it is {last}"
        how = "with token" if action[0] == "release-token" else "by"
        return (
            f"would need the lock to be held {how} {action[1]}, "
            f"but it is {self.describe_state(state)}"
        )


def _held(state: State) -> Held:
    return state  # type: ignore[return-value]  # only `step` and `starting` make states


def _whole(value: Hashable) -> int:
    assert isinstance(value, int)
    return value


def _token(value: Any, operation: Operation) -> int:
    """Return the fencing token of a value: the number itself, or an object's ``"token"``."""
    token = whole(value.get("token") if isinstance(value, dict) else value)
    expect(token is not None, 'a fencing token: a whole number, or {"token": number}', operation)
    assert token is not None
    return token
