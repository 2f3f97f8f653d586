"""Transactions of a few reads and writes over several keys, which two workloads have in common.

Rules of this file:
- Every written value is unique in the run, so that a read tells which transaction it saw.
- Keys are left for new ones (`workloads.rotation`): lists stay short, and orders of versions too.
- The order of a register's versions shows only where a transaction reads what it then writes, so
  registers are also read and written in one go ("rw").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from checker.history import Event, EventType

from .final import Change, change_each
from .generator import PENDING, Context, Generator, Invocation, Step, phases
from .randomness import Stream
from .rotation import Rotation, key_name
from .scan import Look, scan_everywhere
from .workload import Setting

_STEPS_MAX: Final = 4
_WRITES_MAX: Final = 32  # to one key

# A step of a transaction: [function, key, value].
Micro = list[Any]


def reads_of(keys: Sequence[str]) -> list[Micro]:
    """Return the steps that read some keys."""
    return [["r", key, None] for key in keys]


def saw_something(steps: Sequence[Sequence[Any]]) -> bool:
    """Whether any read of an answered transaction found a value."""
    return any(f == "r" and value is not None for f, _, value in steps)


@dataclass(frozen=True, slots=True)
class TransactionOperations:
    """An endless row of transactions, on whichever thread is free.

    `mix` is what a step may be: "r", a write's function, or "rw" for a read and a write ("w").
    """

    stream: Stream
    mix: tuple[str, ...]
    keys: Rotation
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return a transaction for a random free thread."""
        if not context.free:
            return PENDING
        stream = context.stream(self.stream)
        draw = self.position * (2 + 2 * _STEPS_MAX)
        thread = stream.choice(draw, context.free)
        size = 1 + stream.below(draw + 1, _STEPS_MAX)
        steps: list[Micro] = []
        for turn in range(size):
            key = stream.choice(draw + 2 + 2 * turn, self.keys.active)
            f = stream.choice(draw + 3 + 2 * turn, self.mix)
            if f in ("r", "rw"):
                steps.append(["r", key, None])
            if f != "r":
                fresh = self.position * _STEPS_MAX + turn + 1
                steps.append(["w" if f == "rw" else f, key, fresh])
        invocation = Invocation(
            f="txn", value=steps[:_STEPS_MAX], thread=thread, at_ns=context.time_ns
        )
        return invocation, replace(self, position=self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Count the writes that happened or may have."""
        del context
        if event.type in (EventType.INVOKE, EventType.FAIL):
            return self
        keys = self.keys
        for f, key, _ in event.value:
            if f != "r":
                keys = keys.wrote(key)
        return self if keys is self.keys else replace(self, keys=keys)


def transactions(setting: Setting, name: str, mix: tuple[str, ...]) -> Generator:
    """Return the endless row, over so many keys at a time as the run has."""
    keys = Rotation.of(setting.keys, _WRITES_MAX)
    return TransactionOperations(Stream(setting.seed, name), mix, keys)


def change_and_read_all(setting: Setting, f: str) -> Generator:
    """Read the first keys and change them by `f` once more, then read every key that was ever taken
    up, through every node."""

    def change(number: int, value: int) -> Change:
        key = key_name(number)
        return Change("txn", [["r", key, None], [f, key, value]])

    return phases(change_each(setting, setting.keys, change), read_all(setting))


def read_all(setting: Setting) -> Generator:
    """Read every key that was ever taken up, through every node."""

    def look(number: int) -> Look:
        first = number * setting.keys
        return Look("txn", reads_of([key_name(first + one) for one in range(setting.keys)]))

    return scan_everywhere(setting, look, saw_something)
