"""Generators: pure objects that say what the clients do next.

Rules of this file:
- A generator is immutable. `next` returns an invocation *and the generator that follows*; `update`
  returns the generator that has learnt from an event. Nothing is changed in place, so a generator
  can be simulated, compared and replayed without a thread or a clock.
- `next` answers with one of three things: an invocation and a successor, `PENDING` (nothing now;
  ask again when something has happened), or `None` (nothing ever again).
- Time is what the context says; randomness comes from named streams (`randomness.py`).

The shape is that of Jepsen's generators (`op` and `update` over a context).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias

from checker.history import Event

from .randomness import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a generator may know when it is asked.

    `time_ns` is the time since the run's start, `free` the client threads that wait for work (in
    ascending order), `threads` all of them.
    """

    time_ns: int
    free: tuple[int, ...]
    threads: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """An operation to be invoked on `thread`, not before `at_ns`."""

    f: str
    value: Any = None
    key: str | None = None
    thread: int
    at_ns: int = 0


class _Pending(Enum):
    PENDING = "pending"


PENDING: Final = _Pending.PENDING
"""The answer "nothing now, ask again when something has happened"."""

Step: TypeAlias = "tuple[Invocation, Generator] | _Pending | None"


class Generator(Protocol):
    """Says what comes next. Implementations are frozen dataclasses."""

    def next(self, context: Context) -> Step:
        """Return the next invocation and the generator after it, `PENDING` or `None`."""
        ...

    def update(self, event: Event) -> Generator:
        """Return this generator, having seen a client's event."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """Generates nothing."""

    def next(self, context: Context) -> Step:
        """Return `None`."""
        del context
        return None

    def update(self, event: Event) -> Generator:
        """Learn nothing."""
        del event
        return self


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `remaining` invocations of `source`."""

    remaining: int
    source: Generator

    def next(self, context: Context) -> Step:
        """Pass on the source's answer while some remain."""
        if self.remaining <= 0:
            return None
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        invocation, successor = step
        return invocation, Limit(self.remaining - 1, successor)

    def update(self, event: Event) -> Generator:
        """Let the source learn."""
        return replace(self, source=self.source.update(event))


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Invocations of `source` for `limit_ns`, counted from its first one."""

    limit_ns: int
    source: Generator
    deadline_ns: int | None = None

    def next(self, context: Context) -> Step:
        """Pass on the source's answer while its time is before the deadline."""
        deadline_ns = self.deadline_ns
        if deadline_ns is None:
            deadline_ns = context.time_ns + self.limit_ns
        if context.time_ns >= deadline_ns:
            return None
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        invocation, successor = step
        if invocation.at_ns >= deadline_ns:
            return None
        return invocation, TimeLimit(self.limit_ns, successor, deadline_ns)

    def update(self, event: Event) -> Generator:
        """Let the source learn."""
        return replace(self, source=self.source.update(event))


# How far a staggered generator may run behind its schedule and still catch up, in nanoseconds.
# Without a bound, a stall of the system would be followed by a flood.
_CATCH_UP_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stagger:
    """Spreads `source` out to `rate_per_s` on average.

    The gaps are uniform in [0, 2/rate). The schedule does not slip when an invocation is late: a
    rate of 200/s offers 200/s as long as there are free threads.
    """

    rate_per_s: float
    stream: Stream
    source: Generator
    position: int = 0
    next_at_ns: int = 0

    def next(self, context: Context) -> Step:
        """Put the source's next invocation at its place in the schedule."""
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        invocation, successor = step
        at_ns = max(self.next_at_ns, context.time_ns - _CATCH_UP_NS)
        gap_ns = int(self.stream.uniform(self.position) * 2e9 / self.rate_per_s)
        following = replace(
            self, source=successor, position=self.position + 1, next_at_ns=at_ns + gap_ns
        )
        return replace(invocation, at_ns=max(invocation.at_ns, at_ns)), following

    def update(self, event: Event) -> Generator:
        """Let the source learn."""
        return replace(self, source=self.source.update(event))


@dataclass(frozen=True, slots=True)
class PerThread:
    """A script for each thread: its invocations in order, each thread at its own pace."""

    scripts: Mapping[int, tuple[Invocation, ...]]

    def next(self, context: Context) -> Step:
        """Return the next line of the first free thread that has one."""
        for thread in context.free:
            script = self.scripts.get(thread, ())
            if script:
                rest = {**self.scripts, thread: script[1:]}
                return replace(script[0], thread=thread), PerThread(rest)
        return PENDING if any(self.scripts.values()) else None

    def update(self, event: Event) -> Generator:
        """Learn nothing."""
        del event
        return self


@dataclass(frozen=True, slots=True)
class Phases:
    """One generator after the other; each begins when every thread is free again."""

    phases: tuple[Generator, ...]

    def next(self, context: Context) -> Step:
        """Pass on the current phase's answer; move on when it is done and all threads are free."""
        phases = self.phases
        while phases:
            step = phases[0].next(context)
            if isinstance(step, tuple):
                invocation, successor = step
                return invocation, Phases((successor, *phases[1:]))
            if step is PENDING:
                return PENDING
            if len(phases) > 1 and context.free != context.threads:
                return PENDING
            phases = phases[1:]
        return None

    def update(self, event: Event) -> Generator:
        """Let the current phase learn."""
        if not self.phases:
            return self
        return Phases((self.phases[0].update(event), *self.phases[1:]))
