"""What clients do when all faults are over: change every key once more, look at it through every node.

Rules of this file:
- Thread t speaks to node ``t % nodes``; the first thread of each node looks at all the keys, each
  beginning at another one, so that nodes are asked for the same key at different moments.
- A last change is tried a few times, each time with a value of its own: one that is lost, or refused
  because somebody else came to lead, says nothing about whether the key can be changed.
- Values of last changes are negative: no value of the load is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from checker.history import Event, EventType
from workloads.generator import (
    PENDING,
    Context,
    Generator,
    Invocation,
    PerThread,
    Step,
    clients,
    each_thread,
    phases,
)
from workloads.workload import Setting

_TRIES_MAX: Final = 5


class Change(NamedTuple):
    """One operation that changes an object."""

    f: str
    value: Any = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class LastChanges:
    """What one thread of `threads` does: changes every object of `count` whose turn is its own.

    `make(number, value)` returns the change of an object.
    """

    make: Callable[[int, int], Change]
    count: int
    threads: int
    turn: int = 0
    tries: int = 0

    def next(self, context: Context) -> Step:
        """Return the next change, or the same one once more, with another value."""
        if not context.free:
            return PENDING
        thread = context.free[0]
        number = int(thread) + self.turn * self.threads
        if number >= self.count:
            return None
        f, value, key = self.make(number, -1 - number * _TRIES_MAX - self.tries)
        return Invocation(f=f, key=key, value=value, thread=thread, at_ns=context.time_ns), self

    def update(self, event: Event, context: Context) -> Generator:
        """Go on to the next object when this one was changed, or tried often enough."""
        del context
        if event.type is EventType.INVOKE:
            return self
        tries = self.tries + 1
        if event.type is EventType.OK or tries == _TRIES_MAX:
            return replace(self, turn=self.turn + 1, tries=0)
        return replace(self, tries=tries)


def change_each(setting: Setting, count: int, make: Callable[[int, int], Change]) -> Generator:
    """Change the objects 0, 1, ... `count` - 1: ``make(number, value)``, on all threads at once."""
    return clients(each_thread(LastChanges(make, count, setting.threads)))


def everywhere(setting: Setting, f: str, keys: Sequence[str]) -> Generator:
    """Return one operation `f` on every key through every node."""
    scripts = {}
    for thread in range(setting.nodes):
        shift = thread % len(keys)
        order = (*keys[shift:], *keys[:shift])
        scripts[thread] = tuple(Invocation(f=f, key=key, thread=thread) for key in order)
    return PerThread(scripts)


def changed_and_seen(
    setting: Setting, keys: Sequence[str], change: Callable[[str, int], Change], look: str
) -> Generator:
    """Change every key once, ``change(key, value)``, then `look` at every key through every node."""
    changes = change_each(setting, len(keys), lambda number, value: change(keys[number], value))
    return phases(changes, everywhere(setting, look, keys))
