"""A register: read, write and, as `cas-register`, compare-and-set.

Rules of this file:
- States are canonical JSON texts (`checker.values`), so `null`, the usual initial value, is a state
  like any other.
- Actions: ``("read", v)``, ``("write", v)``, ``("cas", from, to)``, and ``("refused", from)`` for a
  compare-and-set that ran and found something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from checker.history import EventType, Operation
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.values import NULL, canonical

# Stands for every value that nobody looks at. Not JSON, so it is never a value of a history.
UNOBSERVED = "unobserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One value that is read, overwritten and, if `has_cas`, compared and set."""

    name: str
    has_cas: bool
    initial: State = NULL
    keyed: bool = True

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

    def needs(self, action: Action) -> State | None:
        """A read needs what it read, a cas what it compared with."""
        return action[1] if action[0] in ("read", "cas") else None

    def gives(self, action: Action) -> State | None:
        """A read leaves what it read; write and cas leave what they wrote."""
        return None if action[0] == "refused" else action[-1]

    def merged(self, actions: Iterable[Action]) -> Merge:
        """All values that no action compares with are one value."""
        observed = {action[1] for action in actions if action[0] != "write"}
        return lambda state: state if state in observed else UNOBSERVED

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
