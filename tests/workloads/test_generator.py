"""Generators, run against simulated clients: no threads, no clock."""

import heapq
from collections import Counter
from typing import Any

from checker.history import Event, EventType
from workloads.generator import (
    PENDING,
    Context,
    Generator,
    Invocation,
    Limit,
    Nothing,
    PerThread,
    Phases,
    Stagger,
    TimeLimit,
)
from workloads.randomness import Stream
from workloads.register import RegisterOperations, final_reads, keys, operations

SECOND = 1_000_000_000


def simulate(
    generator: Generator, *, threads: int, latency_ns: int = 10, steps_max: int = 100_000
) -> list[Invocation]:
    """Run a generator against perfect registers, each operation taking `latency_ns`."""
    store: dict[str | None, object] = {}
    free = list(range(threads))
    busy: list[tuple[int, int, Event]] = []
    now_ns = 0
    invoked: list[Invocation] = []
    for index in range(steps_max):
        context = Context(time_ns=now_ns, free=tuple(free), threads=tuple(range(threads)))
        step = generator.next(context)
        if step is None:
            return invoked
        if isinstance(step, tuple) and step[0].at_ns <= now_ns:
            invocation, generator = step
            assert invocation.thread in free, "only free threads may be used"
            free.remove(invocation.thread)
            invoked.append(Invocation(**{**_fields(invocation), "at_ns": now_ns}))
            kind, value = perform(store, invocation)
            event = Event(
                index=index,
                process=invocation.thread,
                type=kind,
                f=invocation.f,
                key=invocation.key,
                value=value,
            )
            heapq.heappush(busy, (now_ns + latency_ns, invocation.thread, event))
            continue
        wake_ns = step[0].at_ns if isinstance(step, tuple) else None
        if busy and (wake_ns is None or busy[0][0] <= wake_ns):
            now_ns, thread, event = heapq.heappop(busy)
            free = sorted([*free, thread])
            generator = generator.update(event)
        else:
            assert wake_ns is not None, "pending with nothing under way would wait for ever"
            now_ns = wake_ns
    raise AssertionError("the generator did not end")


def perform(store: dict[str | None, object], invocation: Invocation) -> tuple[EventType, object]:
    key, value = invocation.key, invocation.value
    if invocation.f == "read":
        return EventType.OK, store.get(key)
    if invocation.f == "cas":
        if store.get(key) != value[0]:
            return EventType.FAIL, value
        store[key] = value[1]
    else:
        store[key] = value
    return EventType.OK, value


def _fields(invocation: Invocation) -> dict[str, Any]:
    return {name: getattr(invocation, name) for name in Invocation.__slots__}


def reads(count: int) -> Generator:
    return Limit(count, RegisterOperations(Stream(1, "test"), ("k0",)))


def test_limit_ends_after_its_count_and_nothing_is_nothing() -> None:
    assert len(simulate(reads(7), threads=2)) == 7
    assert simulate(Nothing(), threads=1) == []


def test_time_limit_ends_at_its_time() -> None:
    source = Stagger(100.0, Stream(1, "s"), reads(10_000))
    times = [one.at_ns for one in simulate(TimeLimit(2 * SECOND, source), threads=4)]
    assert times
    assert max(times) < 2 * SECOND
    assert 150 <= len(times) <= 250


def test_a_rate_holds_while_threads_are_free() -> None:
    source = Stagger(200.0, Stream(7, "s"), reads(100_000))
    invoked = simulate(TimeLimit(30 * SECOND, source), threads=10, latency_ns=5_000_000)
    assert abs(len(invoked) / 30 - 200) < 6


def test_a_stalled_system_is_not_flooded_afterwards() -> None:
    """Two threads that each block for three seconds: the backlog is bounded by one second."""
    source = Stagger(100.0, Stream(7, "s"), reads(100_000))
    invoked = simulate(TimeLimit(10 * SECOND, source), threads=2, latency_ns=3 * SECOND)
    assert len(invoked) <= 10


def test_per_thread_scripts_keep_their_order_and_their_thread() -> None:
    scripts = {
        thread: tuple(Invocation(f="read", key=f"k{n}", thread=thread) for n in range(3))
        for thread in (0, 2)
    }
    invoked = simulate(PerThread(scripts), threads=3)
    for thread in (0, 2):
        mine = [one.key for one in invoked if one.thread == thread]
        assert mine == ["k0", "k1", "k2"]
    assert len(invoked) == 6


def test_phases_wait_for_everybody() -> None:
    later = PerThread({2: (Invocation(f="write", key="k0", value=1, thread=2),)})
    invoked = simulate(Phases((reads(5), later)), threads=3, latency_ns=1000)
    assert invoked[-1].thread == 2
    assert len(invoked) == 6
    assert invoked[-1].at_ns >= max(one.at_ns for one in invoked[:-1]) + 1000


def test_asking_changes_nothing() -> None:
    generator = operations(seed=3, key_count=4, rate_per_s=10, time_limit_ns=SECOND)
    context = Context(time_ns=0, free=(0, 1), threads=(0, 1))
    assert generator.next(context) == generator.next(context)


def test_the_same_seed_is_the_same_run_and_another_seed_is_not() -> None:
    def run(seed: int) -> list[Invocation]:
        return simulate(
            operations(seed=seed, key_count=4, rate_per_s=50, time_limit_ns=4 * SECOND), threads=3
        )

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_register_writes_unique_values_and_swaps_from_what_was_seen() -> None:
    generator = operations(seed=11, key_count=3, rate_per_s=500, time_limit_ns=4 * SECOND)
    invoked = simulate(generator, threads=5)
    fresh: Counter[int] = Counter()
    for one in invoked:
        if one.f == "write":
            fresh[one.value] += 1
        elif one.f == "cas":
            fresh[one.value[1]] += 1
    assert set(fresh.values()) == {1}
    kinds = Counter(one.f for one in invoked)
    assert kinds["read"] > kinds["write"] > 100
    assert kinds["cas"] > 100
    assert {one.thread for one in invoked} == set(range(5))
    hopeful = [one for one in invoked if one.f == "cas" and one.value[0] is not None]
    assert len(hopeful) > 0.9 * kinds["cas"]


def test_register_waits_when_nobody_is_free() -> None:
    generator = RegisterOperations(Stream(1, "x"), keys(1))
    assert generator.next(Context(time_ns=0, free=(), threads=(0,))) is PENDING


def test_final_reads_cover_every_key_through_every_node() -> None:
    generator = final_reads(key_count=4, threads=tuple(range(7)), node_count=3)
    invoked = simulate(generator, threads=7)
    seen = {(one.thread % 3, one.key) for one in invoked}
    assert seen == {(node, key) for node in range(3) for key in keys(4)}
    assert len(invoked) == 12


def test_streams_are_told_apart_by_name_and_position() -> None:
    draws = {Stream(1, name).bits(n) for name in ("a", "b") for n in range(100)}
    assert len(draws) == 200
    stream = Stream(1, "a")
    assert all(0 <= stream.below(n, 7) < 7 for n in range(200))
    assert {stream.below(n, 7) for n in range(200)} == set(range(7))
    assert 0.4 < sum(stream.uniform(n) for n in range(500)) / 500 < 0.6
    # The same number on every machine: this is part of what makes a seed repeat a run.
    assert Stream(42, "stagger").bits(0) == 0xC45437D9D2DBB2C7
