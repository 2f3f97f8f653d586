"""Registers: reads, writes and compare-and-sets on a few keys; each key must be linearizable.

Rules of this file:
- Every written value is unique in the run, so that a read tells which write it saw, and an answer
  that belongs to another key shows.
- A compare-and-set expects what was last seen of its key, so that most of them meet the value
  they hope for and the rest meet a concurrent change: both say something.
- Operations go to every node, leader or not: which one is the thread's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checker.history import Event, EventType

from .checks import Linearizable
from .final import Change, changed_and_seen
from .generator import PENDING, Context, Generator, Invocation, Step
from .randomness import Stream
from .workload import Probe, Setting, Workload

# Out of eight operations: half of them look, half of them change.
_MIX = ("read", "read", "read", "read", "write", "write", "cas", "cas")


@dataclass(frozen=True, slots=True)
class RegisterOperations:
    """An endless mix of operations over `keys`, on whichever thread is free.

    `seen` is the value last known of each key.
    """

    stream: Stream
    keys: tuple[str, ...]
    position: int = 0
    seen: Mapping[str, Any] = field(default_factory=dict)

    def next(self, context: Context) -> Step:
        """Return an operation for a random free thread."""
        if not context.free:
            return PENDING
        stream = context.stream(self.stream)
        draw = self.position * 3
        thread = stream.choice(draw, context.free)
        key = stream.choice(draw + 1, self.keys)
        f = stream.choice(draw + 2, _MIX)
        fresh = self.position + 1
        successor = RegisterOperations(self.stream, self.keys, fresh, self.seen)
        if f == "read":
            return Invocation(f=f, key=key, thread=thread, at_ns=context.time_ns), successor
        value = fresh if f == "write" else [self.seen.get(key), fresh]
        invocation = Invocation(f=f, key=key, value=value, thread=thread, at_ns=context.time_ns)
        return invocation, successor

    def update(self, event: Event, context: Context) -> Generator:
        """Remember the value that an acknowledged operation left in its key."""
        del context
        if event.type is not EventType.OK or event.key is None:
            return self
        value = event.value[1] if event.f == "cas" else event.value
        seen = {**self.seen, event.key: value}
        return RegisterOperations(self.stream, self.keys, self.position, seen)


def load(setting: Setting) -> Generator:
    """Return the mix of operations, over the run's keys."""
    return RegisterOperations(Stream(setting.seed, "register"), setting.names())


def final(setting: Setting) -> Generator:
    """Write every key once more, then read every key through every node."""
    return changed_and_seen(
        setting, setting.names(), lambda key, value: Change("write", value, key), "read"
    )


WORKLOAD = Workload(
    name="register",
    summary="reads, writes and compare-and-sets of single values",
    data="register",
    functions=("read", "write", "cas"),
    load=load,
    final=final,
    checks=(Linearizable("cas-register"),),
    probe=Probe(f="read", key="k0"),
    change=Probe(f="write", value=0, key="probe"),
)
