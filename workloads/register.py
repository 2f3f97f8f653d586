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

from .generator import PENDING, Context, Generator, Invocation, PerThread, Stagger, Step, TimeLimit
from .randomness import Stream

NAME = "register"
MODEL = "cas-register"
NEEDS = ("read", "write", "cas")

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


def keys(count: int) -> tuple[str, ...]:
    """Return the names of the keys: k0, k1, ..."""
    return tuple(f"k{number}" for number in range(count))


def operations(*, seed: int, key_count: int, rate_per_s: float, time_limit_ns: int) -> Generator:
    """Return the main phase of a run."""
    source = RegisterOperations(Stream(seed, "register"), keys(key_count))
    return TimeLimit(time_limit_ns, Stagger(rate_per_s, Stream(seed, "stagger"), source))


def final_reads(*, key_count: int, threads: tuple[int, ...], node_count: int) -> Generator:
    """Read every key once through every node.

    Thread t speaks to node ``t % node_count``: the first thread of each node reads all the keys,
    each beginning at another one.
    """
    names = keys(key_count)
    scripts = {}
    for thread in threads[:node_count]:
        shift = thread % len(names)
        order = names[shift:] + names[:shift]
        scripts[thread] = tuple(Invocation(f="read", key=key, thread=thread) for key in order)
    return PerThread(scripts)
