"""Laws that hold for generators of every shape: drawn by hypothesis, run in virtual time."""

import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.history import NEMESIS, Event, EventType, History
from workloads.generator import (
    Generator,
    Invocation,
    Reply,
    SimulatedClient,
    any_of,
    calls,
    chain,
    clients,
    concurrency_limit,
    concurrent_keys,
    crashing,
    cycle,
    delay,
    each_process,
    each_thread,
    flip_flop,
    imperfect,
    limit,
    map_ops,
    mix,
    on_threads,
    op,
    perfect,
    phases,
    process_limit,
    repeat,
    reserve,
    sequential_keys,
    shortest_of,
    simulate,
    stagger,
    synchronize,
    then,
    time_limit,
    until_ok,
)

SECOND = 1_000_000_000
THREADS = 4

LEAVES = st.sampled_from("abcdef").map(op)


def _wider(inner: st.SearchStrategy[Generator]) -> st.SearchStrategy[Generator]:
    several = st.lists(inner, min_size=1, max_size=3)
    few = st.integers(0, 4)
    return st.one_of(
        st.builds(limit, few, inner),
        st.builds(repeat, inner, few),
        st.builds(cycle, inner, few),
        several.map(lambda some: chain(*some)),
        several.map(lambda some: phases(*some)),
        several.map(lambda some: any_of(*some)),
        several.map(lambda some: shortest_of(*some)),
        several.map(lambda some: mix(*some)),
        several.map(lambda some: flip_flop(*some)),
        st.builds(then, inner, inner),
        inner.map(synchronize),
        inner.map(until_ok),
        inner.map(each_thread),
        st.builds(lambda source: limit(9, each_process(source)), inner),
        st.builds(lambda a, b: reserve((1, a), default=b), inner, inner),
        st.builds(lambda source: on_threads(_even, source), inner),
        st.builds(lambda source: process_limit(9, source), inner),
        st.builds(lambda source: concurrency_limit(2, source), inner),
        st.builds(lambda source: stagger(50, source), inner),
        st.builds(lambda source: delay(0.01, source), inner),
        st.builds(lambda source: time_limit(0.05, source), inner),
        st.builds(lambda source: sequential_keys(("x", "y"), lambda _key: source), inner),
    )


def _even(thread: int | str) -> bool:
    return thread in (0, 2)


GENERATORS = st.recursive(LEAVES, _wider, max_leaves=8)
CLIENTS = st.sampled_from(["perfect", "slow", "imperfect", "crashing"])


def client(name: str) -> SimulatedClient:
    """A simulated client by name; a new one for each run."""
    return {
        "perfect": perfect(),
        "slow": perfect(20_000_000),
        "imperfect": imperfect(5_000_000),
        "crashing": crashing(1000),
    }[name]


def invoked(history: History) -> list[Event]:
    return [event for event in history.events if event.type is EventType.INVOKE]


def run(generator: Generator, name: str = "perfect", **options: int) -> History:
    return simulate(generator, client(name), **{"threads": THREADS, **options})  # type: ignore[arg-type]


@given(GENERATORS, CLIENTS, st.integers(0, 2**63))
def test_every_generator_gives_a_proper_history_that_its_seed_repeats(
    generator: Generator, name: str, seed: int
) -> None:
    """Only free threads act, processes retire, every operation ends, and it is all repeatable."""
    history = run(generator, name, seed=seed)
    operations = history.operations()  # raises where processes misbehave
    assert all(operation.completion is not None for operation in operations)
    moments = [event.time or 0 for event in history.events]
    assert moments == sorted(moments)
    assert run(generator, name, seed=seed) == history


@given(GENERATORS, CLIENTS)
def test_asking_and_telling_change_nothing(generator: Generator, name: str) -> None:
    before = repr(generator)
    run(generator, name)
    assert repr(generator) == before


@given(GENERATORS, CLIENTS, st.integers(0, 12))
def test_a_limit_is_never_exceeded_and_is_reached_if_there_is_enough(
    generator: Generator, name: str, count: int
) -> None:
    assert len(invoked(run(limit(count, generator), name))) <= count
    assert len(invoked(run(limit(count, repeat(op("a"))), name))) == count
    endless = run(limit(count, any_of(generator, repeat(op("a")))), name)
    assert len(invoked(endless)) == count


@given(GENERATORS, CLIENTS, st.sampled_from([0.001, 0.03, 0.2]))
def test_a_time_limit_lets_nothing_through_afterwards(
    generator: Generator, name: str, seconds: float
) -> None:
    history = run(time_limit(seconds, any_of(generator, delay(0.004, repeat(op("z"))))), name)
    at = [event.time or 0 for event in invoked(history)]
    assert max(at) < min(at) + int(seconds * SECOND)


@given(st.lists(GENERATORS, min_size=1, max_size=4), CLIENTS)
def test_phases_never_overlap(parts: list[Generator], name: str) -> None:
    """Every operation of a phase has ended before one of the next begins."""
    history = run(phases(*(_tagged(part, number) for number, part in enumerate(parts))), name)
    phase, under_way = 0, 0
    for event in history.events:
        if event.type is not EventType.INVOKE:
            under_way -= 1
            continue
        number = int(event.f[0])
        assert number >= phase
        assert number == phase or under_way == 0
        phase, under_way = number, under_way + 1


def _tagged(part: Generator, number: int) -> Generator:
    return map_ops(lambda one: replace(one, f=f"{number}{one.f}"), part)


@given(LEAVES.map(lambda leaf: limit(3, repeat(leaf))) | GENERATORS, CLIENTS)
def test_each_thread_gives_every_thread_the_same_to_do(source: Generator, name: str) -> None:
    """What a copy does on its own thread is what it does where there is no other thread."""
    rows: dict[int, list[str]] = defaultdict(list)
    for event in invoked(run(each_thread(source), name)):
        rows[int(event.process) % THREADS].append(event.f)
    alone = run(each_thread(source), name, threads=1)
    assert rows[0] == [event.f for event in invoked(alone)]
    assert len({bool(row) for row in rows.values()}) <= 1


@given(st.integers(1, 3), GENERATORS, GENERATORS, CLIENTS)
def test_reserve_keeps_ranges_apart(
    count: int, first: Generator, rest: Generator, name: str
) -> None:
    history = run(reserve((count, _tagged(first, 0)), default=_tagged(rest, 1)), name)
    for event in invoked(history):
        assert (int(event.process) % THREADS < count) == (event.f[0] == "0")


FAULTS = st.builds(
    lambda count, wrap: wrap(limit(count, flip_flop(repeat(op("cut")), repeat(op("heal"))))),
    st.integers(0, 9),
    st.sampled_from([phases, each_thread, synchronize]),
)


@given(GENERATORS, FAULTS, CLIENTS)
def test_clients_and_nemesis_never_take_each_others_thread(
    mine: Generator, faults: Generator, name: str
) -> None:
    split = clients(_tagged(mine, 0), _tagged(faults, 1))
    for event in invoked(simulate(split, client(name), threads=THREADS, nemesis=True)):
        assert (event.process == NEMESIS) == (event.f[0] == "1")


@given(st.integers(1, 9), st.integers(0, 12), CLIENTS)
def test_every_key_gets_all_of_its_operations(keys: int, count: int, name: str) -> None:
    names = tuple(f"k{number}" for number in range(keys))
    for generator in (
        concurrent_keys(2, names, lambda _key: limit(count, repeat(op("r")))),
        sequential_keys(names, lambda _key: limit(count, repeat(op("r")))),
    ):
        got = Counter(event.key for event in invoked(run(generator, name)))
        assert got == (dict.fromkeys(names, count) if count else {})


@settings(max_examples=10)
@given(st.integers(0, 2**63), st.sampled_from([1.0, 20.0, 200.0, 5000.0]))
def test_a_rate_is_kept_whatever_the_latency(seed: int, rate: float) -> None:
    """Open loop: operations take up to a good part of a second, and the schedule does not slip."""
    seconds = 2000 / rate
    source = time_limit(seconds, stagger(rate, calls(lambda _c, n: op("w", n))))
    gap_ns = int(SECOND / rate)

    def jittery(invocation: Invocation, number: int) -> Reply:
        return Reply(EventType.OK, invocation.value, gap_ns * (number * 7 % 19))

    history = simulate(source, jittery, threads=40, seed=seed)
    # The gaps are uniform: their sum over n has a deviation of 1/sqrt(3n), here 1.3 %.
    assert len(invoked(history)) == pytest.approx(rate * seconds, rel=0.08)


def test_what_a_stall_left_undone_is_made_up_for() -> None:
    """Half a second without any answer, well within a second: not one operation is lost."""
    source = stagger(100, repeat(op("w")))

    def stalled(invocation: Invocation, number: int) -> Reply:
        latency_ns = SECOND // 2 if number == 10 else 1000
        return Reply(EventType.OK, invocation.value, latency_ns)

    history = simulate(time_limit(20, source), stalled, threads=2)
    calm = simulate(time_limit(20, source), perfect(1000), threads=2)
    assert abs(len(invoked(history)) - len(invoked(calm))) <= 1


def test_an_unrelated_consumer_shifts_nobodys_draws() -> None:
    """The clients' half of a run is the same with and without a nemesis that draws at random."""
    source = mix(repeat(op("r")), calls(lambda _c, n: op("w", n)), repeat(op("c")))
    load = time_limit(10, stagger(50, source))
    noise = stagger(7, mix(repeat(op("cut")), repeat(op("heal")), name="faults"), name="faults at")
    alone = simulate(clients(load), nemesis=True, seed=9)
    beside = simulate(clients(load, time_limit(10, noise)), nemesis=True, seed=9)
    assert len([event for event in beside.events if event.process == NEMESIS]) > 50

    def of_clients(history: History) -> list[tuple[object, ...]]:
        return [
            (event.time, event.process, event.type, event.f, event.value)
            for event in history.client_events
        ]

    assert of_clients(alone) == of_clients(beside)
    assert of_clients(alone) != of_clients(simulate(clients(load), nemesis=True, seed=10))


def test_histories_are_the_same_under_every_hash_seed() -> None:
    code = (
        "from workloads.generator import *\n"
        "g = each_thread(limit(9, mix(repeat(op('a')), repeat(op('b')))))\n"
        "h = simulate(process_limit(20, g), imperfect(), threads=5, seed=3)\n"
        "print([event.to_json() for event in h.events])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(printed) == 1
