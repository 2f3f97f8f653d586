"""The generators of the register workload, and those that everything else is made of."""

from collections import Counter

import pytest

from checker.history import Event, EventType, History
from workloads.generator import (
    PENDING,
    Context,
    Generator,
    GeneratorError,
    Invocation,
    Limit,
    Nothing,
    PerThread,
    Phases,
    Stagger,
    TimeLimit,
    perfect,
    simulate,
    stagger,
    time_limit,
)
from workloads.randomness import Stream
from workloads.register import RegisterOperations, final, load
from workloads.workload import Setting

SECOND = 1_000_000_000


def invocations(history: History) -> list[Event]:
    return [event for event in history.events if event.type is EventType.INVOKE]


def times(history: History) -> list[int]:
    return [event.time for event in invocations(history) if event.time is not None]


class Registers:
    """Correct registers, for `perfect(perform=...)`."""

    def __init__(self) -> None:
        self.values: dict[str | None, object] = {}

    def __call__(self, invocation: Invocation) -> tuple[EventType, object]:
        key, value = invocation.key, invocation.value
        if invocation.f == "read":
            return EventType.OK, self.values.get(key)
        if invocation.f == "cas":
            if self.values.get(key) != value[0]:
                return EventType.FAIL, value
            self.values[key] = value[1]
        else:
            self.values[key] = value
        return EventType.OK, value


def _offered(*, seed: int, keys: int, rate_per_s: float, seconds: float) -> Generator:
    """What a run makes of the workload."""
    source = load(Setting(seed=seed, keys=keys, threads=5, nodes=5))
    return time_limit(seconds, stagger(rate_per_s, source, name=Stream(seed, "stagger")))


def run(generator: Generator, *, threads: int, latency_ns: int = 10) -> History:
    return simulate(generator, perfect(latency_ns, Registers()), threads=threads)


def reads(count: int) -> Generator:
    return Limit(count, RegisterOperations(Stream(1, "test"), ("k0",)))


def test_limit_ends_after_its_count_and_nothing_is_nothing() -> None:
    assert len(invocations(run(reads(7), threads=2))) == 7
    assert run(Nothing(), threads=1).events == ()


def test_time_limit_ends_at_its_time() -> None:
    source = Stagger(100.0, Stream(1, "s"), reads(10_000))
    at = times(run(TimeLimit(2 * SECOND, source), threads=4))
    assert max(at) < 2 * SECOND
    assert 150 <= len(at) <= 250


def test_a_rate_holds_while_threads_are_free() -> None:
    source = Stagger(200.0, Stream(7, "s"), reads(100_000))
    history = run(TimeLimit(30 * SECOND, source), threads=10, latency_ns=5_000_000)
    assert abs(len(invocations(history)) / 30 - 200) < 6


def test_a_stalled_system_is_not_flooded_afterwards() -> None:
    """Two threads that each block for three seconds: the backlog is bounded by one second."""
    source = Stagger(100.0, Stream(7, "s"), reads(100_000))
    history = run(TimeLimit(10 * SECOND, source), threads=2, latency_ns=3 * SECOND)
    assert len(invocations(history)) <= 10


def test_per_thread_scripts_keep_their_order_and_their_thread() -> None:
    scripts = {
        thread: tuple(Invocation(f="read", key=f"k{n}", thread=thread) for n in range(3))
        for thread in (0, 2)
    }
    invoked = invocations(run(PerThread(scripts), threads=3))
    for thread in (0, 2):
        mine = [one.key for one in invoked if one.process == thread]
        assert mine == ["k0", "k1", "k2"]
    assert len(invoked) == 6


def test_phases_wait_for_everybody() -> None:
    later = PerThread({2: (Invocation(f="write", key="k0", value=1, thread=2),)})
    history = run(Phases((reads(5), later)), threads=3, latency_ns=1000)
    invoked, at = invocations(history), times(history)
    assert invoked[-1].process == 2
    assert len(invoked) == 6
    assert at[-1] >= max(at[:-1]) + 1000


def test_asking_changes_nothing() -> None:
    generator = _offered(seed=3, keys=4, rate_per_s=10, seconds=1)
    context = Context(time_ns=0, free=(0, 1), threads=(0, 1))
    assert generator.next(context) == generator.next(context)


def test_the_same_seed_is_the_same_run_and_another_seed_is_not() -> None:
    def history(seed: int) -> History:
        return run(_offered(seed=seed, keys=4, rate_per_s=50, seconds=4), threads=3)

    assert history(5) == history(5)
    assert history(5) != history(6)


def test_register_writes_unique_values_and_swaps_from_what_was_seen() -> None:
    generator = _offered(seed=11, keys=3, rate_per_s=500, seconds=4)
    invoked = invocations(run(generator, threads=5))
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
    assert {one.process for one in invoked} == set(range(5))
    hopeful = [one for one in invoked if one.f == "cas" and one.value[0] is not None]
    assert len(hopeful) > 0.9 * kinds["cas"]


def test_register_waits_when_nobody_is_free() -> None:
    generator = RegisterOperations(Stream(1, "x"), ("k0",))
    assert generator.next(Context(time_ns=0, free=(), threads=(0,))) is PENDING


def test_the_final_phase_writes_every_key_and_reads_it_through_every_node() -> None:
    setting = Setting(seed=0, keys=4, threads=7, nodes=3)
    generator = final(setting)
    invoked = invocations(run(generator, threads=7))
    written, invoked = invoked[:4], invoked[4:]
    assert {(one.f, one.key) for one in written} == {("write", key) for key in setting.names()}
    assert {one.f for one in invoked} == {"read"}
    seen = {(int(one.process) % 3, one.key) for one in invoked}
    assert seen == {(node, key) for node in range(3) for key in setting.names()}
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


class Rogue:
    """A generator that answers whatever it is told to."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def next(self, context: Context) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def update(self, event: Event, context: Context) -> "Rogue":
        raise ZeroDivisionError("told")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (KeyError("lost"), "raised KeyError"),
        (7, r"answers with \(invocation, successor\), PENDING or None, not with 7"),
        ((Invocation(f="read", thread=0), None), "expected a pair of an Invocation and"),
        ((Invocation(f="read", thread=9), Nothing()), "for thread 9, but free are only"),
        ((Invocation(f="read", thread=0), Rogue(None)), "raised ZeroDivisionError: told"),
    ],
)
def test_a_generator_that_misbehaves_is_named_with_what_it_did(answer: object, says: str) -> None:
    with pytest.raises(GeneratorError, match=says):
        simulate(Rogue(answer))  # type: ignore[arg-type]
