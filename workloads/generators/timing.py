"""When: rates, fixed gaps, time limits, rotating windows.

Rules of this file:
- A schedule does not slip: a rate is what is offered, whatever the system makes of it. What is late
  is due at once and the deficit is made up, but never more than `CATCH_UP_NS` of it: the rest is
  given up and counted (`Invocation.forgone`).
- A schedule begins with its first invocation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from checker.history import Event

from .core import PENDING, Context, Generator, GeneratorError, Invocation, Name, Step, all_updated
from .core import replaced as _replaced

CATCH_UP_NS: Final = 1_000_000_000
"""How far a schedule may run behind and still catch up. Without a bound, a stall of the system
would be followed by a flood."""

# How many windows ahead `CycleTimes` looks for one in which something happens.
_WINDOWS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Invocations of `source` for `limit_ns`, counted from its first one."""

    limit_ns: int
    source: Generator
    deadline_ns: int | None = None

    def next(self, context: Context) -> Step:
        """Pass on the source's answer while its time is before the deadline."""
        deadline_ns = self.deadline_ns
        if deadline_ns is not None and context.time_ns >= deadline_ns:
            return None
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        at_ns = max(step[0].at_ns, context.time_ns)
        if deadline_ns is None:
            deadline_ns = at_ns + self.limit_ns
        if at_ns >= deadline_ns:
            return None
        return step[0], TimeLimit(self.limit_ns, step[1], deadline_ns)

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else replace(self, source=source)


def _slot(
    invocation: Invocation, due_ns: int | None, context: Context, gap_ns: float
) -> Invocation:
    """Return the invocation at its place in a schedule, `due_ns`; the first one is due when asked.

    `gap_ns` is the mean gap, by which the operations that are given up are counted.
    """
    if due_ns is None:
        due_ns = context.time_ns
    at_ns, forgone = due_ns, invocation.forgone
    earliest_ns = context.time_ns - CATCH_UP_NS
    if at_ns < earliest_ns:
        forgone += int((earliest_ns - at_ns) / gap_ns)
        at_ns = earliest_ns
    if invocation.at_ns > context.time_ns:
        # The source itself wants it later: nothing was there to be sent, so nothing is owed.
        at_ns = max(at_ns, invocation.at_ns)
    return Invocation(
        f=invocation.f,
        value=invocation.value,
        key=invocation.key,
        thread=invocation.thread,
        at_ns=at_ns,
        forgone=forgone,
    )


@dataclass(frozen=True, slots=True)
class Stagger:
    """Spreads `source` out to `rate_per_s` on average, over all threads together.

    The gaps are uniform in [0, 2/rate). The schedule does not slip when an invocation is late: a
    rate of 200/s offers 200/s as long as there are free threads.
    """

    rate_per_s: float
    stream: Name
    source: Generator
    position: int = 0
    next_at_ns: int | None = None

    def next(self, context: Context) -> Step:
        """Put the source's next invocation at its place in the schedule."""
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        invocation = _slot(step[0], self.next_at_ns, context, 1e9 / self.rate_per_s)
        draw = context.stream(self.stream).uniform(self.position)
        next_at_ns = invocation.at_ns + int(draw * 2e9 / self.rate_per_s)
        following = Stagger(self.rate_per_s, self.stream, step[1], self.position + 1, next_at_ns)
        return invocation, following

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else replace(self, source=source)


@dataclass(frozen=True, slots=True)
class Delay:
    """Spaces `source` out to one invocation every `gap_ns`, over all threads together."""

    gap_ns: int
    source: Generator
    next_at_ns: int | None = None

    def next(self, context: Context) -> Step:
        """Put the source's next invocation at its place in the schedule."""
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        invocation = _slot(step[0], self.next_at_ns, context, max(1, self.gap_ns))
        return invocation, Delay(self.gap_ns, step[1], invocation.at_ns + self.gap_ns)

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else Delay(self.gap_ns, source, self.next_at_ns)


@dataclass(frozen=True, slots=True)
class CycleTimes:
    """Each source has its window of time, in turn, for ever; it goes on where it was interrupted.

    Ends as soon as a source whose turn it is has ended.
    """

    windows_ns: tuple[int, ...]
    sources: tuple[Generator, ...]
    began_ns: int | None = None

    def next(self, context: Context) -> Step:
        """Return the next invocation that falls into the window of its source."""
        now_ns = context.time_ns
        began_ns = now_ns if self.began_ns is None else self.began_ns
        opens_ns, turn = began_ns + (now_ns - began_ns) // self._period() * self._period(), 0
        while opens_ns + self.windows_ns[turn] <= now_ns:
            opens_ns += self.windows_ns[turn]
            turn += 1
        for _ in range(_WINDOWS_MAX):
            closes_ns = opens_ns + self.windows_ns[turn]
            # A later window is asked as if it were open already.
            then_ns = max(now_ns, opens_ns)
            step = self.sources[turn].next(context.at(then_ns))
            if not isinstance(step, tuple):
                return step
            invocation, successor = step
            if max(invocation.at_ns, then_ns) < closes_ns:
                if invocation.at_ns < opens_ns:
                    invocation = replace(invocation, at_ns=opens_ns)
                sources = _replaced(self.sources, turn, successor)
                return invocation, CycleTimes(self.windows_ns, sources, began_ns)
            opens_ns, turn = closes_ns, (turn + 1) % len(self.sources)
        return PENDING

    def update(self, event: Event, context: Context) -> Generator:
        """Let all sources learn."""
        sources = all_updated(self.sources, event, context)
        return self if sources is self.sources else replace(self, sources=sources)

    def _period(self) -> int:
        if min(self.windows_ns) < 1:
            raise GeneratorError(f"every window must last at least 1 ns, not {self.windows_ns}")
        return sum(self.windows_ns)
