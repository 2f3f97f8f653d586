"""Session guarantees: lists that are appended to and read, for systems that promise no more.

Rules of this file:
- A session is a process: when an operation of it ends in doubt, its successor is a new one.
- Few keys at a time, so that a session comes back to a key while it is in use; they are left for
  new ones (`workloads.rotation`), so that lists stay short.
- Every value is unique in the run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from checker.history import Event, EventType

from .checks import Finds
from .checks.guarantees import (
    monotonic_reads,
    monotonic_writes,
    read_your_writes,
    writes_follow_reads,
)
from .final import Change, change_each
from .generator import PENDING, Context, Generator, Invocation, Step, phases
from .randomness import Stream
from .rotation import Rotation, key_name
from .scan import Look, scan_everywhere
from .workload import Probe, Setting, Workload

_KEYS_MAX: Final = 3
_APPENDS_MAX: Final = 24  # to one key


@dataclass(frozen=True, slots=True)
class SessionOperations:
    """An endless row of appends and reads, on whichever thread is free."""

    stream: Stream
    keys: Rotation
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return an operation for a random free thread."""
        if not context.free:
            return PENDING
        stream, draw = context.stream(self.stream), self.position * 3
        f = stream.choice(draw, ("append", "read"))
        invocation = Invocation(
            f=f,
            key=stream.choice(draw + 1, self.keys.active),
            value=self.position + 1 if f == "append" else None,
            thread=stream.choice(draw + 2, context.free),
            at_ns=context.time_ns,
        )
        return invocation, replace(self, position=self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Count the appends that happened or may have."""
        del context
        if event.f != "append" or event.type in (EventType.INVOKE, EventType.FAIL):
            return self
        assert event.key is not None, event
        return replace(self, keys=self.keys.wrote(event.key))


def load(setting: Setting) -> Generator:
    """Return the mix of appends and reads."""
    keys = Rotation.of(min(_KEYS_MAX, setting.keys), _APPENDS_MAX)
    return SessionOperations(Stream(setting.seed, "sessions"), keys)


def final(setting: Setting) -> Generator:
    """Append to the first keys once more, then read every key that was ever taken up, through every
    node."""
    first = change_each(
        setting,
        min(_KEYS_MAX, setting.keys),
        lambda number, value: Change("append", value, key_name(number)),
    )
    reads = scan_everywhere(setting, lambda number: Look("read", key=key_name(number)), bool)
    return phases(first, reads)


WORKLOAD = Workload(
    name="sessions",
    summary="lists are appended to and read; each client must see its own past",
    data="list",
    functions=("append", "read"),
    load=load,
    final=final,
    checks=(
        Finds("read-your-writes", read_your_writes),
        Finds("monotonic-reads", monotonic_reads),
        Finds("monotonic-writes", monotonic_writes),
        Finds("writes-follow-reads", writes_follow_reads),
    ),
    probe=Probe(f="read", key="probe"),
    change=Probe(f="append", value=0, key="probe"),
)
