"""How much and in what order: limits, repetition, one after the other, phases.

Rules of this file:
- A limit counts invocations that were taken up, not asks.
- `Chain` goes on as soon as a part has no more invocations; `Phases` also waits for the answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from checker.history import Event, EventType

from .core import PENDING, Context, Generator, Process, Step


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
        return step[0], Limit(self.remaining - 1, step[1])

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else Limit(self.remaining, source)


@dataclass(frozen=True, slots=True)
class Repeat:
    """The first invocation of `source`, over and over; it learns but does not go on.

    `remaining` is `None` for ever.
    """

    source: Generator
    remaining: int | None = None

    def next(self, context: Context) -> Step:
        """Return the source's first invocation."""
        if self.remaining is not None and self.remaining <= 0:
            return None
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        if self.remaining is None:
            return step[0], self
        return step[0], Repeat(self.source, self.remaining - 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else Repeat(source, self.remaining)


@dataclass(frozen=True, slots=True)
class Cycle:
    """`source` to its end, then again as it was at first, `remaining` times (`None`: for ever)."""

    source: Generator
    original: Generator
    remaining: int | None = None

    def next(self, context: Context) -> Step:
        """Pass on the source's answer, and begin again at its end."""
        remaining = self.remaining
        if remaining is not None and remaining <= 0:
            return None
        step = self.source.next(context)
        if isinstance(step, tuple):
            return step[0], Cycle(step[1], self.original, remaining)
        if step is PENDING:
            return PENDING
        if remaining is not None:
            remaining -= 1
            if remaining == 0:
                return None
        # An original that is empty is not tried twice: it would be for ever.
        step = self.original.next(context)
        if not isinstance(step, tuple):
            return step
        return step[0], Cycle(step[1], self.original, remaining)

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn; the original does not."""
        source = self.source.update(event, context)
        return self if source is self.source else Cycle(source, self.original, self.remaining)


@dataclass(frozen=True, slots=True)
class Chain:
    """One generator after the other, without waiting for answers in between."""

    parts: tuple[Generator, ...]

    def next(self, context: Context) -> Step:
        """Pass on the answer of the first part that is not at its end."""
        for position, part in enumerate(self.parts):
            step = part.next(context)
            if isinstance(step, tuple):
                return step[0], Chain((step[1], *self.parts[position + 1 :]))
            if step is PENDING:
                return PENDING
        return None

    def update(self, event: Event, context: Context) -> Generator:
        """Let the current part learn."""
        if not self.parts:
            return self
        first = self.parts[0].update(event, context)
        return self if first is self.parts[0] else Chain((first, *self.parts[1:]))


@dataclass(frozen=True, slots=True)
class Synchronize:
    """Waits until every thread of the context is free, then becomes `source`."""

    source: Generator

    def next(self, context: Context) -> Step:
        """Pass on the source's answer, and step aside, once everybody is free."""
        if len(context.free) != len(context.threads):
            return PENDING
        return self.source.next(context)

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else Synchronize(source)


@dataclass(frozen=True, slots=True)
class Phases:
    """One generator after the other; each begins when every thread is free."""

    phases: tuple[Generator, ...]
    begun: bool = False

    def next(self, context: Context) -> Step:
        """Pass on the current phase's answer; move on when it is done and all threads are free."""
        everybody = len(context.free) == len(context.threads)
        for position, phase in enumerate(self.phases):
            if not everybody and not (self.begun and position == 0):
                return PENDING
            step = phase.next(context)
            if isinstance(step, tuple):
                return step[0], Phases((step[1], *self.phases[position + 1 :]), begun=True)
            if step is PENDING:
                return PENDING
        return None

    def update(self, event: Event, context: Context) -> Generator:
        """Let the current phase learn."""
        if not self.phases:
            return self
        first = self.phases[0].update(event, context)
        if first is self.phases[0]:
            return self
        return Phases((first, *self.phases[1:]), begun=self.begun)


@dataclass(frozen=True, slots=True)
class UntilOk:
    """Invocations of `source` until one of them was acknowledged."""

    source: Generator
    done: bool = False
    active: frozenset[Process] = frozenset()

    def next(self, context: Context) -> Step:
        """Pass on the source's answer while none is acknowledged."""
        if self.done:
            return None
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        active = self.active | {context.process_of(step[0].thread)}
        return step[0], UntilOk(step[1], active=active)

    def update(self, event: Event, context: Context) -> Generator:
        """Note how an operation of the source ended, and let the source learn."""
        source = self.source.update(event, context)
        done, active = self.done, self.active
        if event.type is not EventType.INVOKE and event.process in active:
            active -= {event.process}
            done = done or event.type is EventType.OK
        return UntilOk(source, done, active)


@dataclass(frozen=True, slots=True)
class ProcessLimit:
    """Invocations while at most `limit` client processes were there to take them.

    Every process that could have acted counts, so that the end does not come one thread after
    the other, with ever less concurrency.
    """

    limit: int
    source: Generator
    seen: frozenset[Process] = frozenset()

    def next(self, context: Context) -> Step:
        """Pass on the source's answer unless there have been too many processes."""
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        there = [context.process_of(thread) for thread in context.threads]
        seen = self.seen.union(process for process in there if isinstance(process, int))
        if len(seen) > self.limit:
            return None
        return step[0], ProcessLimit(self.limit, step[1], seen)

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else replace(self, source=source)


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Invocations of `source` while fewer than `limit` of the context's threads are busy."""

    limit: int
    source: Generator

    def next(self, context: Context) -> Step:
        """Pass on the source's answer if there is room."""
        if len(context.threads) - len(context.free) >= self.limit:
            return PENDING
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        return step[0], ConcurrencyLimit(self.limit, step[1])

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else ConcurrencyLimit(self.limit, source)
