"""Who: some threads only, ranges of threads, a copy for every thread or process.

Rules of this file:
- A source sees only the threads it may use, free or busy: to it they are all there are. So what
  waits for everybody (`Synchronize`) waits for those.
- An event goes only to the source whose thread it is about.
- Copies draw from streams of their own: the context's scope names the thread or the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from checker.history import Event

from .choice import drawer
from .core import (
    PENDING,
    Context,
    Generator,
    GeneratorError,
    Name,
    Process,
    Step,
    Thread,
    is_client,
    replaced,
    soonest,
)


@dataclass(frozen=True, slots=True)
class OnThreads:
    """`source`, on those threads for which `wanted` is true."""

    wanted: Callable[[Thread], bool]
    source: Generator

    def next(self, context: Context) -> Step:
        """Ask the source, which sees its threads alone."""
        threads = tuple([thread for thread in context.threads if self.wanted(thread)])
        if not threads:
            return None  # threads do not come and go: there will never be one
        step = self.source.next(context.only(threads))
        if not isinstance(step, tuple):
            return step
        return step[0], OnThreads(self.wanted, step[1])

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn what its own threads do."""
        if not self.wanted(context.thread_of(event.process)):
            return self
        threads = tuple([thread for thread in context.threads if self.wanted(thread)])
        source = self.source.update(event, context.only(threads))
        return self if source is self.source else OnThreads(self.wanted, source)


@lru_cache(maxsize=256)
def _ranges(threads: tuple[Thread, ...], counts: tuple[int, ...]) -> tuple[tuple[Thread, ...], ...]:
    """Split threads into ranges of the given lengths and the rest."""
    ranges, start = [], 0
    for count in counts:
        ranges.append(threads[start : start + count])
        start += count
    return (*ranges, threads[start:])


@dataclass(frozen=True, slots=True)
class Reserve:
    """The first threads belong to the first source, the next to the second, the rest to the last.

    So operations that block leave threads for the others. Ranges are counted over the threads of
    the context, so a reserve within a reserve divides what it got.
    """

    counts: tuple[int, ...]
    sources: tuple[Generator, ...]
    stream: Name = "reserve"
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return the invocation that is due first, larger ranges being likelier in a draw."""
        ranges = self._split(context)
        steps = [
            source.next(context.only(threads)) if threads else None
            for source, threads in zip(self.sources, ranges, strict=True)
        ]
        draw = drawer(context, self.stream, self.position)
        chosen = soonest(steps, draw, [len(threads) for threads in ranges])
        if chosen is None:
            return PENDING if PENDING in steps else None
        step = steps[chosen]
        assert isinstance(step, tuple)
        sources = replaced(self.sources, chosen, step[1])
        return step[0], Reserve(self.counts, sources, self.stream, self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn to whose range the thread belongs."""
        thread = context.thread_of(event.process)
        for place, threads in enumerate(self._split(context)):
            if thread in threads:
                old = self.sources[place]
                new = old.update(event, context.only(threads))
                if new is old:
                    return self
                return replace(self, sources=replaced(self.sources, place, new))
        return self

    def _split(self, context: Context) -> tuple[tuple[Thread, ...], ...]:
        clients = sum(1 for thread in context.threads if is_client(thread))
        if sum(self.counts) > clients:
            raise GeneratorError(
                f"reserve wants {sum(self.counts)} threads, but there are {clients} here; "
                "raise the concurrency or reserve fewer"
            )
        return _ranges(context.threads, self.counts)


@dataclass(frozen=True, slots=True)
class EachThread:
    """A copy of `fresh` for every thread, at its own pace. Ends when every copy has."""

    fresh: Generator
    copies: Mapping[Thread, Generator] = field(default_factory=dict)

    def next(self, context: Context) -> Step:
        """Return what is due of the thread that has waited longest, else what is due first."""
        best: tuple[int, Thread, Step] | None = None
        waiting = len(context.free) != len(context.threads)
        for thread in context.free:
            copy = self.copies.get(thread, self.fresh)
            step = copy.next(context.alone(thread, f"thread {thread}/"))
            if step is PENDING:
                waiting = True
            elif isinstance(step, tuple):
                at_ns = step[0].at_ns
                if best is None or at_ns < best[0]:
                    best = at_ns, thread, step
                    if at_ns <= context.time_ns:
                        break
        if best is None:
            return PENDING if waiting else None
        _, thread, step = best
        assert isinstance(step, tuple)
        return step[0], EachThread(self.fresh, {**self.copies, thread: step[1]})

    def update(self, event: Event, context: Context) -> Generator:
        """Let the thread's copy learn."""
        thread = context.thread_of(event.process)
        old = self.copies.get(thread, self.fresh)
        new = old.update(event, context.alone(thread, f"thread {thread}/"))
        return self if new is old else EachThread(self.fresh, {**self.copies, thread: new})


@dataclass(frozen=True, slots=True)
class EachProcess:
    """A copy of `fresh` for every process: a thread whose process was retired begins anew."""

    fresh: Generator
    copies: Mapping[Thread, tuple[Process, Generator]] = field(default_factory=dict)

    def next(self, context: Context) -> Step:
        """Return what is due of the process that has waited longest, else what is due first."""
        best: tuple[int, Thread, Step] | None = None
        waiting = len(context.free) != len(context.threads)
        for thread in context.free:
            process = context.process_of(thread)
            step = self._copy(thread, process).next(context.alone(thread, f"process {process}/"))
            if step is PENDING:
                waiting = True
            elif isinstance(step, tuple):
                at_ns = step[0].at_ns
                if best is None or at_ns < best[0]:
                    best = at_ns, thread, step
                    if at_ns <= context.time_ns:
                        break
        if best is None:
            return PENDING if waiting else None
        _, thread, step = best
        assert isinstance(step, tuple)
        return step[0], self._with(thread, context.process_of(thread), step[1])

    def update(self, event: Event, context: Context) -> Generator:
        """Let the process' copy learn."""
        thread = context.thread_of(event.process)
        old = self._copy(thread, event.process)
        new = old.update(event, context.alone(thread, f"process {event.process}/"))
        return self if new is old else self._with(thread, event.process, new)

    def _copy(self, thread: Thread, process: Process) -> Generator:
        owner, copy = self.copies.get(thread, (process, self.fresh))
        return copy if owner == process else self.fresh

    def _with(self, thread: Thread, process: Process, copy: Generator) -> EachProcess:
        return EachProcess(self.fresh, {**self.copies, thread: (process, copy)})
