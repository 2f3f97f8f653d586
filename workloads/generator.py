"""Generators: what the clients do next. Everything that workloads need of them, by name.

Rules of this file:
- One function for each way to make a generator of others; the classes behind them are in
  `workloads.generators`, the rules of the game in its `core.py`.
- Durations are in seconds, as people write them.
- `name` names the stream of the run's random numbers that a generator draws from. Two of a kind in
  one workload want two names, or they make the same choices.

An example: four threads read, the others write and swap, 200 operations a second for a minute, and
when all that is answered every thread reads once more:

    phases(
        time_limit(60, stagger(200, reserve((4, repeat(op("read"))), default=mix(writes, swaps)))),
        each_thread(op("read")),
    )
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from checker.history import NEMESIS, Event
from workloads.generators.changes import Filtered, IgnoreUpdates, Mapped, OnUpdate, Trace
from workloads.generators.choice import AnyOf, FlipFlop, Mix, ShortestOf
from workloads.generators.core import (
    LOCAL,
    LOG,
    PENDING,
    SLEEP,
    Context,
    Generator,
    GeneratorError,
    Invocation,
    Name,
    Process,
    Step,
    Thread,
    ask,
    is_client,
    learn,
)
from workloads.generators.keys import ConcurrentKeys, Keys, SequentialKeys
from workloads.generators.leaves import Calls, Made, Nothing, Once, PerThread
from workloads.generators.roster import Roster
from workloads.generators.sequence import (
    Chain,
    ConcurrencyLimit,
    Cycle,
    Limit,
    Phases,
    ProcessLimit,
    Repeat,
    Synchronize,
    UntilOk,
)
from workloads.generators.simulate import (
    Reply,
    SimulatedClient,
    crashing,
    imperfect,
    perfect,
    simulate,
)
from workloads.generators.threads import EachProcess, EachThread, OnThreads, Reserve
from workloads.generators.timing import CATCH_UP_NS, CycleTimes, Delay, Stagger, TimeLimit

__all__ = [
    "CATCH_UP_NS", "LOCAL", "LOG", "NEMESIS", "PENDING", "SLEEP", "AnyOf", "Calls", "Chain",
    "ConcurrencyLimit", "ConcurrentKeys", "Context", "Cycle", "CycleTimes", "Delay",
    "EachProcess", "EachThread", "Filtered", "FlipFlop", "Generator", "GeneratorError",
    "IgnoreUpdates", "Invocation", "Keys", "Limit", "Made", "Mapped", "Mix", "Name", "Nothing",
    "OnThreads", "OnUpdate", "Once", "PerThread", "Phases", "Process", "ProcessLimit", "Repeat",
    "Reply", "Reserve", "Roster", "SequentialKeys", "ShortestOf", "SimulatedClient", "Stagger",
    "Step", "Synchronize", "Thread", "TimeLimit", "Trace", "UntilOk", "any_of", "ask", "calls",
    "chain", "clients", "concurrency_limit", "concurrent_keys", "crashing", "cycle",
    "cycle_times", "delay", "each_process", "each_thread", "f_map", "filter_ops", "flip_flop",
    "ignore_updates", "imperfect", "is_client", "learn", "limit", "map_in_context", "map_ops",
    "mix", "nemesis", "on_threads", "on_update", "once", "op", "ops", "perfect", "phases",
    "process_limit", "repeat", "reserve", "say", "sequential_keys", "shortest_of", "simulate",
    "sleep", "stagger", "synchronize", "then", "time_limit", "trace", "until_ok",
]  # fmt: skip

_NS_PER_S: Final = 1_000_000_000


def op(f: str, value: Any = None, key: str | None = None) -> Generator:
    """One operation, on any free thread."""
    return Once(f, value, key)


def ops(*described: tuple[Any, ...]) -> Generator:
    """One operation after the other, each given as `op`'s arguments."""
    return Chain(tuple(Once(*arguments) for arguments in described))


def calls(function: Made) -> Generator:
    """Whatever `function(context, n)` makes for n = 0, 1, ...: a generator, `PENDING` or `None`."""
    return Calls(function)


def sleep(seconds: float) -> Generator:
    """Keep one thread busy with nothing. It is no operation of the history."""
    return Once(SLEEP, _ns(seconds))


def say(text: str) -> Generator:
    """Write a line to the log, once."""
    return Once(LOG, text)


def limit(count: int, source: Generator) -> Generator:
    """At most `count` operations of the source."""
    return Limit(count, source)


def once(source: Generator) -> Generator:
    """The source's first operation."""
    return Limit(1, source)


def repeat(source: Generator, times: int | None = None) -> Generator:
    """The source's first operation, for ever or so many times."""
    return Repeat(source, times)


def cycle(source: Generator, times: int | None = None) -> Generator:
    """The source from beginning to end, for ever or so many times."""
    return Cycle(source, source, times)


def chain(*parts: Generator) -> Generator:
    """One after the other, without waiting for answers in between."""
    return Chain(parts)


def phases(*parts: Generator) -> Generator:
    """One after the other; each begins when every thread is free."""
    return Phases(parts)


def then(first: Generator, second: Generator) -> Generator:
    """The first, and when all of it is answered the second."""
    return Chain((first, Synchronize(second)))


def synchronize(source: Generator) -> Generator:
    """Wait until every thread is free, then go on with the source."""
    return Synchronize(source)


def until_ok(source: Generator) -> Generator:
    """Operations of the source until one of them is acknowledged."""
    return UntilOk(source)


def process_limit(count: int, source: Generator) -> Generator:
    """Operations of the source by at most `count` processes: a bound on those left in doubt."""
    return ProcessLimit(count, source)


def concurrency_limit(count: int, source: Generator) -> Generator:
    """Operations of the source while fewer than `count` threads are busy."""
    return ConcurrencyLimit(count, source)


def time_limit(seconds: float, source: Generator) -> Generator:
    """Operations of the source for some time, counted from the first."""
    return TimeLimit(_ns(seconds), source)


def stagger(rate_per_s: float, source: Generator, *, name: Name = "stagger") -> Generator:
    """Offer so many operations a second on average, at random times, over all threads together."""
    if not rate_per_s > 0:
        raise GeneratorError(f"a rate must be above 0 operations a second, not {rate_per_s}")
    return Stagger(rate_per_s, name, source)


def delay(seconds: float, source: Generator) -> Generator:
    """Offer an operation every so many seconds, over all threads together."""
    return Delay(_ns(seconds), source)


def cycle_times(*windows: tuple[float, Generator]) -> Generator:
    """Give each (seconds, source) its window of time, in turn, for ever."""
    spans = tuple(_ns(seconds) for seconds, _ in windows)
    if not spans or min(spans) < 1:
        raise GeneratorError(f"every window must last longer than 0 s, not {windows!r:.100}")
    return CycleTimes(spans, tuple(source for _, source in windows))


def any_of(*sources: Generator, name: Name = "any") -> Generator:
    """Whichever source's operation is due first; ends with the last of them."""
    return AnyOf(sources, name)


def shortest_of(*sources: Generator, name: Name = "shortest") -> Generator:
    """Whichever source's operation is due first; ends with the first of them to end."""
    return ShortestOf(sources, name)


def mix(*sources: Generator, weights: Sequence[int] = (), name: Name = "mix") -> Generator:
    """Draw a source before each operation; all are equally likely unless weights are given."""
    weights = tuple(weights) or (1,) * len(sources)
    if len(weights) != len(sources) or min(weights, default=1) < 1:
        raise GeneratorError(
            f"a mix needs one weight of at least 1 for each of {len(sources)} sources, not {weights}"
        )
    return Mix(sources, weights, name)


def flip_flop(*sources: Generator) -> Generator:
    """One operation of each source in turn; ends when one whose turn it is has ended."""
    return FlipFlop(sources) if sources else Nothing()


def on_threads(wanted: Callable[[Thread], bool], source: Generator) -> Generator:
    """The source, on those threads for which `wanted` is true."""
    return OnThreads(wanted, source)


def clients(source: Generator, nemesis_source: Generator | None = None) -> Generator:
    """The source on the clients' threads, and another on the nemesis' if given."""
    split = OnThreads(is_client, source)
    return split if nemesis_source is None else AnyOf((split, nemesis(nemesis_source)), "clients")


def nemesis(source: Generator) -> Generator:
    """The source on the nemesis' thread. In a run that has none it is nothing."""
    return OnThreads(_is_nemesis, source)


def _is_nemesis(thread: Thread) -> bool:
    return thread == NEMESIS


def reserve(
    *ranges: tuple[int, Generator], default: Generator, name: Name = "reserve"
) -> Generator:
    """`reserve((5, writes), (10, swaps), default=reads)`: each range of threads has its source."""
    counts = tuple(count for count, _ in ranges)
    if min(counts, default=1) < 1:
        raise GeneratorError(f"every range needs at least one thread, not {counts}")
    return Reserve(counts, (*(source for _, source in ranges), default), name)


def each_thread(source: Generator) -> Generator:
    """A copy of the source for every thread."""
    return EachThread(source)


def each_process(source: Generator) -> Generator:
    """A copy of the source for every process, also for those that replace retired ones."""
    return EachProcess(source)


def map_ops(function: Callable[[Invocation], Invocation], source: Generator) -> Generator:
    """The source's operations, changed by a function."""
    return Mapped(lambda invocation, _context: function(invocation), source)


def map_in_context(
    function: Callable[[Invocation, Context], Invocation], source: Generator
) -> Generator:
    """The source's operations, changed by a function of them and the context."""
    return Mapped(function, source)


def f_map(names: Mapping[str, str], source: Generator) -> Generator:
    """The source's operations with another `f`, where the mapping has one."""
    return map_ops(lambda one: replace(one, f=names.get(one.f, one.f)), source)


def filter_ops(wanted: Callable[[Invocation], bool], source: Generator) -> Generator:
    """Those of the source's operations that are wanted."""
    return Filtered(wanted, source)


def on_update(
    handler: Callable[[OnUpdate, Event, Context], Generator], source: Generator
) -> Generator:
    """The source; `handler(this, event, context)` says what an event makes of it."""
    return OnUpdate(handler, source)


def ignore_updates(source: Generator) -> Generator:
    """The source, which learns nothing."""
    return IgnoreUpdates(source)


def trace(label: str, watch: Callable[[str, object, object], None], source: Generator) -> Generator:
    """The source; `watch(label, question, answer)` is told of every ask and event."""
    return Trace(label, watch, source)


def sequential_keys(keys: Keys, make: Callable[[str], Generator]) -> Generator:
    """One key after the other on all threads, each with the generator that `make(key)` gives."""
    return SequentialKeys(keys, make)


def concurrent_keys(
    size: int, keys: Keys, make: Callable[[str], Generator], *, name: Name = "keys"
) -> Generator:
    """Groups of `size` threads, each on a key of its own; a group that is done takes the next key."""
    if size < 1:
        raise GeneratorError(f"a group needs at least one thread, not {size}")
    return ConcurrentKeys(size, keys, make, stream=name)


def _ns(seconds: float) -> int:
    if not 0 <= seconds < 1e9:
        raise GeneratorError(f"a duration must be from 0 to 1e9 seconds, not {seconds}")
    return int(seconds * _NS_PER_S)
