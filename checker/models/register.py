"""A register: read, write and, as `cas-register`, compare-and-set.

Rules of this file:
- States are canonical JSON texts (`checker.values`), so `null`, the usual initial value, is a state
  like any other.
- Actions: ``("read", v)``, ``("write", v)``, ``("cas", from, to)``, and ``("refused", from)`` for a
  compare-and-set that ran and found something else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.models.start import given
from checker.values import NULL, canonical

# Stands for every value that nobody looks at. Not JSON, so it is never a value of a history.
UNOBSERVED = "unobserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One value that is read, overwritten and, as `cas-register`, compared and set.

    Operations: `read`, answer v; `write` v; and for `cas-register`: `cas` [from, to]
    Crashed: write and cas may have happened; a read says nothing
    Failed: did not happen; or, of a cas, if `failed_cas` means "differs": the value was another one
    Starts: any value, null by default
    """

    name: str
    has_cas: bool
    initial: State = NULL
    keyed: bool = True

    @classmethod
    def plain(cls, initial: Any) -> Register:
        """Build one without cas from a JSON value."""
        return cls(name="register", has_cas=False, initial=canonical(given(initial, None)))

    @classmethod
    def with_cas(cls, initial: Any) -> Register:
        """Build one with cas from a JSON value."""
        return cls(name="cas-register", has_cas=True, initial=canonical(given(initial, None)))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return json.loads(str(self.initial))

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did; crashed and failed reads say nothing."""
        known = ("read", "write", "cas") if self.has_cas else ("read", "write")
        expect(operation.f in known, f"one of the functions {', '.join(known)}", operation)
        if operation.f == "read":
            if operation.type is not EventType.OK:
                return None
            if operation.output is None and meaning.nil_read is NilRead.UNKNOWN:
                return None
            return ("read", canonical(operation.output))
        if operation.f == "write":
            return (
                None if operation.type is EventType.FAIL else ("write", canonical(operation.input))
            )
        pair = operation.input
        expect(isinstance(pair, list | tuple) and len(pair) == 2, "[from, to]", operation)
        if operation.type is not EventType.FAIL:
            return ("cas", canonical(pair[0]), canonical(pair[1]))
        if meaning.failed_cas is FailedCas.DIFFERS:
            return ("refused", canonical(pair[0]))
        return None

    def step(self, state: State, action: Action) -> State | None:
        """Return the next value, `None` if the action does not fit the present one."""
        kind = action[0]
        if kind == "read":
            return state if state == action[1] else None
        if kind == "write":
            return action[1]
        if kind == "cas":
            return action[2] if state == action[1] else None
        return state if state != action[1] else None

    def is_pure(self, action: Action) -> bool:
        """Reads and refusals leave the value alone, and so does a cas from a value to itself."""
        return action[0] in ("read", "refused") or (action[0] == "cas" and action[1] == action[2])

    def excludes(self, action: Action) -> State | None:
        """A refusal is allowed everywhere but in the value that was expected."""
        return action[1] if action[0] == "refused" else None

    def needs(self, action: Action) -> State | None:
        """A read needs what it read, a cas what it compared with."""
        return action[1] if action[0] in ("read", "cas") else None

    def gives(self, action: Action) -> State | None:
        """A read leaves what it read; write and cas leave what they wrote."""
        return None if action[0] == "refused" else action[-1]

    def merged(self, actions: Iterable[Action]) -> Merge:
        """All values that no action compares with are one value."""
        observed = _observed(frozenset(actions))
        return lambda state: state if state in observed else UNOBSERVED

    def universe(self, actions: Collection[Action]) -> Sequence[State]:
        """Return the values that actions compare with, and one that stands for all others.

        In any other value no read and no cas is allowed, every refusal is, and a write leads to
        the same value from everywhere.
        """
        return (*sorted(_observed(frozenset(actions))), UNOBSERVED)

    def leads_elsewhere(self, action: Action, actions: Collection[Action]) -> bool:
        """Whether it always leaves one value, and that is one that no action compares with.

        It does not matter that a read or a cas is allowed in one value alone: this says where it
        leads if it is.
        """
        left = self.gives(action)
        return left is not None and left not in _observed(frozenset(actions))

    def describe(self, action: Action) -> str:
        """Return the action in words."""
        if action[0] == "cas":
            return f"cas from {action[1]} to {action[2]}"
        if action[0] == "refused":
            return f"cas refused, expecting {action[1]}"
        return f"{action[0]} {action[1]}"

    def describe_state(self, state: State) -> str:
        """Return the value as JSON."""
        return str(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return why the action is not allowed."""
        if action[0] == "refused":
            return f"was refused, so the value was not {action[1]}, but it is {state}"
        return f"would need the value {action[1]}, but it is {state}"


@lru_cache(maxsize=8)
def _observed(actions: frozenset[Action]) -> frozenset[str]:
    """Return the values that some action compares with."""
    return frozenset(str(action[1]) for action in actions if action[0] != "write")
