"""What the interpreter promises, under clients that are slow, wrong, refuse, hang, and many."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import MemoryClient, Rig, load

from checker.history import NEMESIS, Event, EventType
from harness.client import Completion
from harness.errors import HarnessError
from harness.journal import JournalError
from workloads.generator import (
    PENDING,
    Context,
    Generator,
    Invocation,
    Step,
    calls,
    chain,
    clients,
    each_thread,
    limit,
    on_threads,
    op,
    ops,
    phases,
    repeat,
    say,
    sleep,
    stagger,
    time_limit,
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.journal.close()


def numbered(count: int) -> Generator:
    """Writes of 0, 1, 2, ..., so that every line of the history can be told from the others."""
    return limit(count, calls(lambda _context, number: op("write", number, "k")))


def test_every_single_invocation_is_in_the_file_when_its_client_gets_it(tmp_path: Path) -> None:
    """With many threads a turn has many invocations, written at once: all before the first."""
    rig = Rig(tmp_path, concurrency=40)
    missing: list[object] = []

    class Suspicious(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            written = rig.journal.path.read_text()
            if f'"type":"invoke","f":"write","key":"k","value":{invocation.value},' not in written:
                missing.append(invocation.value)
            return super().invoke(invocation)

    rig.make = Suspicious
    interpreter = rig.build()
    interpreter.run(numbered(400))
    interpreter.close()
    assert missing == []
    operations = rig.history().operations()
    assert sorted(one.input for one in operations) == list(range(400))
    assert {int(one.invocation.process) for one in operations} == set(range(40)), "all take part"


def test_what_could_not_be_written_is_not_sent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = rig.build()
    interpreter.run(numbered(10))
    written: list[int] = []

    def full(_block: bytes) -> None:
        written.append(len(rig.register.invoked))
        raise JournalError("the disk is full")

    monkeypatch.setattr(rig.journal, "_write", full)
    with pytest.raises(JournalError):
        interpreter.run(numbered(10))
    interpreter.close()
    time.sleep(0.05)
    assert len(rig.register.invoked) == 10
    assert written == [10]


def test_a_completion_is_stamped_when_it_comes_and_not_when_it_is_taken_in(rig: Rig) -> None:
    """The scheduling thread is held up for half a second after it has sent the request."""

    class Slow(list[Event]):
        def append(self, event: Event) -> None:
            time.sleep(0.5)

    rig.seen = Slow()
    interpreter = rig.build()
    interpreter.run(op("read", None, "k"))
    interpreter.close()
    started, ended = rig.history().events
    assert ended.time is not None
    assert started.time is not None
    assert ended.time - started.time < 400_000_000


def test_a_generator_that_thinks_for_long_does_not_hold_back_what_it_said_before(
    tmp_path: Path,
) -> None:
    """Each ask takes 20 ms: forty of them before the first is sent would be most of a second."""
    rig = Rig(tmp_path, concurrency=40)

    def slow(_context: Context, number: int) -> Generator:
        time.sleep(0.02)
        return op("write", number, "k")

    interpreter = rig.build()
    interpreter.run(limit(40, calls(slow)))
    interpreter.close()
    first = rig.history().operations()[0]
    assert first.completion is not None
    assert first.completion.time is not None
    assert first.invocation.time is not None
    assert first.completion.time - first.invocation.time < 500_000_000


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "returned None"),
        (Completion(EventType.INVOKE, 1), "returned Completion"),
        (Completion(EventType.OK, {1, 2}), "the value is not JSON"),
        (Completion(EventType.OK, float), "the value is not JSON"),
    ],
)
def test_what_is_no_answer_leaves_the_operation_in_doubt(rig: Rig, answer: Any, says: str) -> None:
    class Wrong(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            return answer  # type: ignore[no-any-return]

    rig.make = Wrong
    interpreter = rig.build()
    rates = interpreter.run(numbered(3))
    interpreter.close()
    operations = rig.history().operations()
    assert [one.type for one in operations] == [EventType.INFO] * 3
    assert all(says in str(one.completion) for one in operations)
    assert rates.completed == {"ok": 0, "fail": 0, "info": 3}


def test_a_client_that_cannot_be_opened_fails_its_operations_until_it_can(tmp_path: Path) -> None:
    rig = Rig(tmp_path, concurrency=1)

    class FirstDies(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            if self is rig.clients[0]:
                rig.refused = 3
                raise OSError("gone")
            return super().invoke(invocation)

    rig.make = FirstDies
    interpreter = rig.build()
    interpreter.run(numbered(5))
    interpreter.close()
    operations = rig.history().operations()
    assert [one.type.value for one in operations] == ["info", "fail", "fail", "ok", "ok"]
    assert operations[1].completion is not None
    assert operations[1].completion.error == "no-client: OSError: nobody listens"
    assert [one.invocation.process for one in operations] == [0, 1, 1, 1, 1]


def test_clients_that_all_hang_end_the_run_within_its_bounds(tmp_path: Path) -> None:
    rig = Rig(tmp_path, concurrency=3, timeout_s=0.1)
    release = threading.Event()

    class Hanging(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            release.wait(60)
            return super().invoke(invocation)

    rig.make = Hanging
    interpreter = rig.build()
    began = time.monotonic()
    interpreter.run(numbered(6))
    took = time.monotonic() - began
    interpreter.close()
    release.set()
    operations = rig.history().operations()
    assert [one.type for one in operations] == [EventType.INFO] * 6
    assert len({one.invocation.process for one in operations}) == 6
    assert took < 15, "two rounds of 0.1 s and a grace of 2 s each"


def test_slow_clients_do_not_hold_up_the_others(rig: Rig) -> None:
    class Slow(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            if invocation.f == "slow":
                time.sleep(1.2)
            return super().invoke(invocation)

    rig.make = Slow
    interpreter = rig.build()
    slow = on_threads(lambda thread: thread == 0, op("slow", 0, "k"))
    quick = on_threads(lambda thread: thread != 0, numbered(100))
    interpreter.run(chain(slow, quick))
    interpreter.close()
    events = rig.history().events
    assert next(event.f for event in events if event.type is EventType.OK) == "write"
    assert events[-1].f == "slow", "a hundred operations of others took less"


def test_a_rate_is_offered_and_achieved_in_real_time(rig: Rig) -> None:
    interpreter = rig.build()
    rates = interpreter.run(time_limit(2, stagger(200, repeat(op("read", None, "k")))))
    interpreter.close()
    assert rates.offered_per_s == pytest.approx(200, rel=0.15)
    assert rates.achieved_per_s == pytest.approx(rates.offered_per_s, rel=0.2)
    assert rates.completed["ok"] == rates.sent == len(rig.history().operations())


def test_a_system_that_is_too_slow_shows_in_what_was_achieved(tmp_path: Path) -> None:
    """Two threads, 20 ms an operation: at most 100/s of the 400/s that are asked for."""
    rig = Rig(tmp_path, concurrency=2)

    class Slow(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            time.sleep(0.02)
            return super().invoke(invocation)

    rig.make = Slow
    interpreter = rig.build()
    rates = interpreter.run(time_limit(2.5, stagger(400, repeat(op("read", None, "k")))))
    interpreter.close()
    assert rates.achieved_per_s <= 105
    assert rates.offered_per_s == pytest.approx(400, rel=0.25)
    assert rates.forgone > 0, "more than a second behind, the rest is given up"


def test_a_nemesis_of_the_generators_own_acts_on_its_own_thread(rig: Rig) -> None:
    class Cutter:
        node = "unused"

        def invoke(self, invocation: Invocation) -> Completion:
            return Completion(EventType.OK, {"cut": invocation.value})

        def close(self) -> None:
            pass

    rig.nemesis = Cutter()
    interpreter = rig.build()
    faults = ops(("cut", "n1"), ("heal", "n1"))
    interpreter.run(clients(numbered(20), faults))
    interpreter.close()
    history = rig.history()
    mine = list(history.nemesis_events)
    assert [(event.f, event.type.value) for event in mine] == [
        *(("cut", "invoke"), ("cut", "info"), ("heal", "invoke"), ("heal", "info")),
    ]
    assert mine[1].value == {"cut": "n1"}
    assert {event.process for event in mine} == {NEMESIS}
    assert len(history.operations()) == 20


def test_sleeping_and_speaking_are_not_in_the_history(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    interpreter = rig.build()
    with caplog.at_level(logging.INFO, logger="harness"):
        interpreter.run(
            on_threads(lambda thread: thread == 0, chain(op("a"), sleep(0.3), say("on"), op("b")))
        )
    interpreter.close()
    history = rig.history()
    assert [event.f for event in history.events] == ["a", "a", "b", "b"]
    first, second = history.operations()
    assert first.invocation.time is not None
    assert second.invocation.time is not None
    assert second.invocation.time - first.invocation.time >= 300_000_000
    assert "on" in caplog.messages


def test_stop_does_not_wait_for_those_that_sleep(rig: Rig) -> None:
    interpreter = rig.build()
    threading.Timer(0.1, interpreter.stop).start()
    began = time.monotonic()
    interpreter.run(each_thread(chain(op("read", None, "k"), sleep(600), op("never"))))
    interpreter.close()
    assert time.monotonic() - began < 30
    assert {event.f for event in rig.history().events} == {"read"}


def test_a_generator_that_misbehaves_is_the_harness_failure_it_is(rig: Rig) -> None:
    class Busy:
        def next(self, context: Context) -> Step:
            return Invocation(f="read", thread=99), self

        def update(self, event: object, context: Context) -> "Busy":
            return self

    interpreter = rig.build()
    with pytest.raises(HarnessError, match=r"generator is at fault: .* for thread 99"):
        interpreter.run(Busy())
    interpreter.close()
    assert rig.register.invoked == []


def test_a_generator_that_waits_for_time_alone_is_asked_again(rig: Rig) -> None:
    class AtLast:
        def next(self, context: Context) -> Step:
            return op("late").next(context) if context.time_ns > 300_000_000 else PENDING

        def update(self, event: object, context: Context) -> "AtLast":
            return self

    interpreter = rig.build()
    interpreter.run(limit(1, AtLast()))
    interpreter.close()
    assert [event.f for event in rig.history().events] == ["late", "late"]


def test_generators_run_one_after_the_other_on_one_journal(rig: Rig) -> None:
    """Processes that were retired in the first stay so in the second."""
    interpreter = rig.build()
    interpreter.run(load(50))
    interpreter.run(phases(each_thread(op("read", None, "k0"))))
    interpreter.close()
    operations = rig.history().operations()
    assert len(operations) == 54
    assert [one.f for one in operations[-4:]] == ["read"] * 4
