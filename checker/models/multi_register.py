"""Several registers and transactions that read and write some of them at once.

Rules of this file:
- A transaction's value is a list of ``["read", name, value]`` and ``["write", name, value]`` (or
  "r" and "w"), done in order: a read sees the writes before it in its own transaction.
- States are tuples of (name, canonical JSON text), sorted by name; a register without a value is
  left out. A transaction is one object with all others, so keys do not divide such a history.
- The reads of a crashed transaction say nothing; its writes may have happened, all or none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning, NilRead
from checker.models.model import Action, Merge, State, expect
from checker.models.start import given, refuse
from checker.values import NULL, canonical

_KINDS = {"read": "read", "r": "read", "write": "write", "w": "write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRegister:
    """Named registers, read and written by transactions.

    Operations: any `f`, [["read", name, nil], ["write", name, v], ...], answer the same with what was read
    Crashed: its writes may have happened, all or none; its reads say nothing
    Failed: did not happen
    Starts: an object of values by name, {} by default
    """

    name: str = "multi-register"
    initial: State = ()
    keyed: bool = False

    @classmethod
    def starting(cls, initial: Any) -> MultiRegister:
        """Build it from a JSON object."""
        value = given(initial, {})
        if not isinstance(value, dict):
            raise refuse("multi-register", value, 'an object like {"x":0}')
        return cls(initial=registers_from_json(value))

    def starts_as(self) -> Any:
        """Return the JSON value that it was built from."""
        return {json.loads(n): json.loads(v) for n, v in _registers(self.initial).items()}

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return the steps that say or do something, `None` if there are none."""
        ok = operation.type is EventType.OK
        steps = operation.output if ok else operation.input
        expect(isinstance(steps, list | tuple), "a list of [read|write, name, value]", operation)
        if operation.type is EventType.FAIL:
            return None
        action: list[tuple[str, str, str]] = []
        for step in steps:
            fits = isinstance(step, list | tuple) and len(step) == 3 and isinstance(step[0], str)
            expect(fits and step[0] in _KINDS, "steps like [read|write, name, value]", operation)
            kind, name, value = _KINDS[step[0]], canonical(step[1]), step[2]
            unsaid = not ok or (value is None and meaning.nil_read is NilRead.UNKNOWN)
            if kind == "write" or not unsaid:
                action.append((kind, name, canonical(value)))
        return tuple(action) or None

    def step(self, state: State, action: Action) -> State | None:
        """Do the steps in order; the first read of another value refuses them all."""
        registers = _registers(state)
        for kind, name, value in _steps(action):
            if kind == "write":
                registers[name] = value
            elif registers.get(name, NULL) != value:
                return None
        return tuple(sorted(registers.items()))

    def is_pure(self, action: Action) -> bool:
        """A transaction of reads alone changes nothing."""
        return all(kind == "read" for kind, _, _ in _steps(action))

    def needs(self, action: Action) -> State | None:
        """A transaction looks at some registers, so many states allow it."""
        return None

    def gives(self, action: Action) -> State | None:
        """A transaction leaves the other registers as they were."""
        return None

    def merged(self, actions: Iterable[Action]) -> Merge:
        """States are compared whole."""
        return lambda state: state

    def describe(self, action: Action) -> str:
        """Return the steps in words."""
        return ", ".join(f"{kind} {name} {value}" for kind, name, value in _steps(action))

    def describe_state(self, state: State) -> str:
        """Return the registers as ``name=value``."""
        return ", ".join(f"{name}={value}" for name, value in _registers(state).items()) or "empty"

    def refusal(self, state: State, action: Action) -> str:
        """Return which read does not fit."""
        registers = _registers(state)
        for kind, name, value in _steps(action):
            if kind == "write":
                registers[name] = value
            elif registers.get(name, NULL) != value:
                there = registers.get(name, NULL)
                return f"would need {name} to be {value}, but it is {there}"
        raise AssertionError("only asked about a transaction that is not allowed")


def registers_from_json(value: Any) -> State:
    """Return the state in which each name of a JSON object has its value."""
    return tuple(sorted((canonical(name), canonical(item)) for name, item in value.items()))


def _registers(state: State) -> dict[str, str]:
    assert isinstance(state, tuple)
    return dict(state)


def _steps(action: Action) -> Iterable[tuple[str, str, str]]:
    return action  # type: ignore[return-value]  # built by `MultiRegister.action`
