"""What a generator is: the question (`Context`), the answers (`Step`) and the protocol.

Rules of this file:
- A generator is immutable. `next` returns an invocation *and the generator that follows*; `update`
  returns the generator that has learnt from an event. Nothing is changed in place, so a generator
  can be simulated, compared and replayed without a thread or a clock, and asking costs nothing:
  an answer that is not taken up has not happened.
- `next` answers with one of three things: an invocation and a successor, `PENDING` (nothing now;
  ask again when something has happened), or `None` (nothing ever again).
- Time is what the context says; randomness comes from named streams of the run's one seed.
- Among several invocations the one that is due first goes first; what is due at the same time is
  drawn for, so that nobody starves.

The shape is that of Jepsen's generators (`op` and `update` over a context).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from checker.history import NEMESIS, Event
from workloads.randomness import Stream, draw

Thread: TypeAlias = int | str
"""A client thread (0, 1, ...) or the nemesis' (`NEMESIS`)."""
Process: TypeAlias = int | str
"""Who invokes, in the history: a thread's first process has its number, later ones fresh ones."""
Name: TypeAlias = Stream | str
"""A stream of random numbers, or the name of one: it is then the run's, by the context's seed."""

_NO_PROCESSES: Final[Mapping[Thread, Process]] = {}

SLEEP: Final = ":sleep"
"""The `f` of an operation that keeps its thread busy for `value` nanoseconds; not in the history."""
LOG: Final = ":log"
"""The `f` of an operation that only says `value` in the log; not in the history."""
LOCAL: Final = (SLEEP, LOG)


class GeneratorError(ValueError):
    """A generator does what it must not. The message says which one, what, and what to do."""


class Context(NamedTuple):
    """What a generator may know when it is asked. (A tuple, because one is made for every ask.)

    `time_ns` is the time since the run's start, `free` the threads that wait for work (the one that
    has waited longest first), `threads` all of them (clients ascending, then the nemesis if there
    is one). `processes` says as which process a thread acts now. `concurrency` is the number of
    client threads of the whole run, also where `threads` was narrowed. `scope` is a prefix of the
    names of streams: copies of one generator draw from streams of their own.
    """

    time_ns: int
    free: tuple[Thread, ...]
    threads: tuple[Thread, ...]
    processes: Mapping[Thread, Process] = _NO_PROCESSES
    concurrency: int = 0
    seed: int = 0
    scope: str = ""

    def process_of(self, thread: Thread) -> Process:
        """Return the process as which a thread acts now."""
        return self.processes.get(thread, thread)

    def thread_of(self, process: Process) -> Thread:
        """Return the thread that a process belongs to; also one that is retired by now."""
        if isinstance(process, int) and self.concurrency:
            return process % self.concurrency
        return process

    def stream(self, name: Name) -> Stream:
        """Return a stream of the run's seed (or the given one), within this context's scope."""
        if isinstance(name, str):
            return Stream(self.seed, self.scope + name)
        return Stream(name.seed, self.scope + name.name) if self.scope else name

    def pick(self) -> Thread:
        """Return a free thread, drawn by the time of asking. There must be one."""
        free = self.free
        if len(free) == 1:
            return free[0]
        # The order of `free` keeps this fair even where time stands still.
        return free[draw(self.seed, self.scope + "thread", self.time_ns) * len(free) >> 64]

    def only(self, threads: tuple[Thread, ...], scope: str = "") -> Context:
        """Return this context as seen from some of its threads, with more scope."""
        time_ns, free, everybody, processes, concurrency, seed, outer = self
        if len(threads) != len(everybody):
            free = tuple([thread for thread in free if thread in threads])
        return Context(time_ns, free, threads, processes, concurrency, seed, outer + scope)

    def alone(self, thread: Thread, scope: str) -> Context:
        """Return this context as seen from one thread, with more scope."""
        time_ns, free, _, processes, concurrency, seed, outer = self
        one = (thread,)
        mine = one if thread in free else ()
        return Context(time_ns, mine, one, processes, concurrency, seed, outer + scope)

    def at(self, time_ns: int) -> Context:
        """Return this context at another time."""
        return Context(time_ns, *self[1:])

    def scoped(self, scope: str) -> Context:
        """Return this context with more scope."""
        return Context(*self[:6], self.scope + scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """An operation to be invoked on `thread`, not before `at_ns`.

    `forgone` is how many operations before this one a schedule has given up for good, because the
    system did not take them in time: they were offered all the same.
    """

    f: str
    value: Any = None
    key: str | None = None
    thread: Thread
    at_ns: int = 0
    forgone: int = 0


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

    def update(self, event: Event, context: Context) -> Generator:
        """Return this generator, having seen an event: an invocation that was made, or its end."""
        ...


def is_client(thread: Thread) -> bool:
    """Tell a client's thread from the nemesis'."""
    return thread != NEMESIS


def ask(generator: Generator, context: Context) -> Step:
    """Ask a generator and look at its answer; whoever runs generators asks in this way.

    Raises `GeneratorError` if the generator raises, or answers with what is no answer.
    """
    try:
        step = generator.next(context)
    except GeneratorError:
        raise
    except Exception as error:
        raise GeneratorError(
            f"a generator raised {type(error).__name__}: {error}; asked was {_brief(generator)} "
            f"at {context.time_ns} ns with threads {_brief(context.free)} free"
        ) from error
    if isinstance(step, tuple):
        wrong = _wrong(step, context)
        if wrong:
            raise GeneratorError(f"{wrong}; the generator is {_brief(generator)}")
    elif step is not None and step is not PENDING:
        raise GeneratorError(
            f"a generator answers with (invocation, successor), PENDING or None, not with "
            f"{step!r:.100}; it is {_brief(generator)}"
        )
    return step


def learn(generator: Generator, event: Event, context: Context) -> Generator:
    """Let a generator see an event. Raises `GeneratorError` if it raises anything."""
    try:
        return generator.update(event, context)
    except GeneratorError:
        raise
    except Exception as error:
        raise GeneratorError(
            f"a generator raised {type(error).__name__}: {error}; it is {_brief(generator)} "
            f"and was told of {event}"
        ) from error


def _wrong(step: tuple[Any, ...], context: Context) -> str:
    if len(step) != 2 or not isinstance(step[0], Invocation) or not hasattr(step[1], "next"):
        return f"expected a pair of an Invocation and a generator, got {step!r:.100}"
    thread = step[0].thread
    if thread not in context.free:
        return f"{step[0]} is for thread {thread!r}, but free are only {_brief(context.free)}"
    return ""


def _brief(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 300 else text[:297] + "..."


def soonest(
    steps: Sequence[Step], choose: Callable[[int], int], weights: Sequence[int] = ()
) -> int | None:
    """Return the position of the invocation that is due first, `None` if there is no invocation.

    Where several are due at the same time, `choose(bound)` decides, in proportion to the weights.
    """
    best: list[int] = []
    best_ns = 0
    for position, step in enumerate(steps):
        if not isinstance(step, tuple):
            continue
        at_ns = step[0].at_ns
        if not best or at_ns < best_ns:
            best, best_ns = [position], at_ns
        elif at_ns == best_ns:
            best.append(position)
    if len(best) < 2:
        return best[0] if best else None
    if not weights:
        return best[choose(len(best))]
    left = choose(max(1, sum(weights[position] for position in best)))
    for position in best:
        left -= weights[position]
        if left < 0:
            return position
    return best[-1]


def replaced(
    sources: tuple[Generator, ...], position: int, successor: Generator
) -> tuple[Generator, ...]:
    """Return the sources with one of them replaced."""
    return (*sources[:position], successor, *sources[position + 1 :])


def all_updated(
    sources: tuple[Generator, ...], event: Event, context: Context
) -> tuple[Generator, ...]:
    """Let all sources learn; the very same tuple if none of them changed."""
    updated = tuple([source.update(event, context) for source in sources])
    for old, new in zip(sources, updated, strict=True):
        if old is not new:
            return updated
    return sources
