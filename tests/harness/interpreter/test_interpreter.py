"""The interpreter, with clients that behave, fail, crash and hang."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import MemoryClient, Rig, load

from checker.history import EventType
from harness.client import Completion
from harness.journal import JournalError
from workloads.generator import Invocation, Phases
from workloads.randomness import Stream
from workloads.register import RegisterOperations, final
from workloads.workload import Setting


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.journal.close()


def test_a_well_behaved_system_gives_a_complete_history(rig: Rig) -> None:
    interpreter = rig.build()
    interpreter.run(Phases((load(200), final(Setting(seed=0, keys=2, threads=3, nodes=3)))))
    interpreter.close()
    history = rig.history()
    operations = history.operations()
    assert len(operations) == 200 + 2 + 6  # of each key a change, then a look by every node
    assert all(operation.completion is not None for operation in operations)
    assert {operation.invocation.node for operation in operations} == {"n1", "n2", "n3"}
    assert {operation.invocation.process for operation in operations} == {0, 1, 2, 3}
    assert [event.index for event in rig.seen] == sorted(event.index for event in history.events)


def test_nothing_is_sent_before_it_is_journalled(rig: Rig) -> None:
    unjournalled: list[Invocation] = []

    class Suspicious(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            lines = rig.journal.path.read_text().splitlines()
            opened = [line for line in lines if '"invoke"' in line and f'"{invocation.f}"' in line]
            if not any(f'"key":"{invocation.key}"' in line for line in opened):
                unjournalled.append(invocation)
            return super().invoke(invocation)

    rig.make = Suspicious
    interpreter = rig.build()
    interpreter.run(load(50))
    interpreter.close()
    assert unjournalled == []
    assert len(rig.register.invoked) == 50


def test_doubt_retires_the_process_and_its_client(rig: Rig) -> None:
    class Doubtful(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            if invocation.f == "write":
                raise OSError("the line went dead")
            return super().invoke(invocation)

    rig.make = Doubtful
    interpreter = rig.build()
    interpreter.run(load(60))
    interpreter.close()
    operations = rig.history().operations()
    crashed = [operation for operation in operations if operation.type is EventType.INFO]
    assert crashed
    assert all(operation.f == "write" for operation in crashed)
    assert "OSError: the line went dead" in str(crashed[0].completion)
    processes = {int(operation.invocation.process) for operation in operations}
    assert len(processes) >= len(crashed)
    assert {process % rig.concurrency for process in processes} == set(range(rig.concurrency))
    deadline = time.monotonic() + 5
    while sum(client.closed for client in rig.clients) < len(crashed):
        assert time.monotonic() < deadline, "the clients of retired processes stay open"
        time.sleep(0.01)


def test_a_client_that_hangs_is_given_up_and_its_late_answer_is_not_heard(tmp_path: Path) -> None:
    """The late answer comes while the thread's next operation is under way: it must not be taken
    for that one's."""
    rig = Rig(tmp_path, concurrency=1, timeout_s=0.1)
    release, answered = threading.Event(), threading.Event()

    class Hanging(MemoryClient):
        def invoke(self, invocation: Invocation) -> Completion:
            if self is rig.clients[0]:
                release.wait(30)
                answered.set()
                return Completion(EventType.OK, "late")
            release.set()
            assert answered.wait(30)
            time.sleep(0.05)  # the answer is on its way to the queue: give it that time
            return super().invoke(invocation)

    rig.make = Hanging
    interpreter = rig.build()
    interpreter.run(load(3))
    interpreter.close()
    first, second, third = rig.history().operations()
    assert first.type is EventType.INFO
    assert first.completion is not None
    assert first.completion.error == "no-answer-by-deadline"
    assert {second.type, third.type} <= {EventType.OK, EventType.FAIL}
    assert "late" not in (second.output, third.output)
    assert (first.invocation.process, second.invocation.process) == (0, 1)


def test_a_journal_that_fails_ends_the_run_and_nothing_more_is_sent(rig: Rig) -> None:
    interpreter = rig.build()
    interpreter.run(load(5))
    sent = len(rig.register.invoked)
    rig.journal.close()
    with pytest.raises(JournalError):
        interpreter.run(load(5))
    interpreter.close()
    assert len(rig.register.invoked) == sent


def test_stop_ends_an_endless_run_with_every_answer_in(rig: Rig) -> None:
    interpreter = rig.build()
    threading.Timer(0.2, interpreter.stop).start()
    interpreter.run(RegisterOperations(Stream(1, "endless"), ("k0", "k1")))
    interpreter.close()
    operations = rig.history().operations()
    assert operations
    assert all(operation.completion is not None for operation in operations)
