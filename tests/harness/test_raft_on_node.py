"""The clients against a real node: every function of every kind of data, as `workloads.data` says.

Rules of this file: one node for all tests, on a loopback address of its own; keys are not shared.
"""

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from checker.history import EventType
from harness.client import Completion
from harness.systems.administrated import Ending as Done
from harness.systems.raft import RaftSystem, build_archive
from harness.systems.raft_client import RaftClient
from harness.systems.raft_http import Ending, Wire, failed
from workloads.data import DATA
from workloads.generator import Invocation

WAIT_S = 20.0
OK, FAIL, INFO = EventType.OK, EventType.FAIL, EventType.INFO


def until(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"no {what} within {WAIT_S} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaftSystem]:
    """A cluster of one, started as the harness starts it, at an address that nobody else has."""
    home = tmp_path_factory.mktemp("node")
    chance = random.Random(os.urandom(8))
    address = ".".join(["127", *(str(chance.randrange(2, 250)) for _ in range(3))])
    build_archive(home / "node.pyz", mutant="")
    made = RaftSystem(
        addresses={"n1": address},
        archive=home / "node.pyz",
        version="1",
        operation_timeout_s=5.0,
    )
    for command in made.prepare("n1", str(home)):
        subprocess.run(command, check=True, timeout=WAIT_S)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(made.command("n1", str(home)), stderr=log)
    try:
        until(lambda: _leads(made), "leader")
        yield made
    finally:
        process.kill()
        process.wait()


def _leads(system: RaftSystem) -> bool:
    status = system.status("n1", 1.0)
    return status is not None and status.role == "leader"


def client(system: RaftSystem, data: str, retries: int = 0) -> RaftClient:
    made = system.client("n1", data, retries=retries)
    assert isinstance(made, RaftClient)
    return made


def ask(asking: RaftClient, f: str, value: Any = None, key: str | None = None) -> Completion:
    return asking.invoke(Invocation(f=f, value=value, key=key, thread=0))


# kind -> (function, value, the type of the completion, its value and error), one after the other.
Line = tuple[str, Any, EventType, Any, str | None]
PLAYS: Mapping[str, list[Line]] = {
    "register": [
        ("read", None, OK, None, None),
        ("write", 3, OK, 3, None),
        ("cas", [3, 4], OK, [3, 4], None),
        ("cas", [3, 5], FAIL, [3, 5], "precondition-failed"),
        ("read", None, OK, 4, None),
    ],
    "key-value": [
        ("get", None, OK, None, None),
        ("append", "17.", OK, "17.", None),
        ("append", "", OK, "", None),
        ("append", "8.", OK, "8.", None),
        ("get", None, OK, "17.8.", None),
        ("cas", ["17.", "9."], FAIL, ["17.", "9."], "precondition-failed"),
        ("cas", ["17.8.", "9."], OK, ["17.8.", "9."], None),
        ("get", None, OK, "9.", None),
        ("put", "é😀", OK, "é😀", None),
        ("append", "\n", OK, "\n", None),
        ("get", None, OK, "é😀\n", None),
        ("delete", None, OK, None, None),
        ("delete", None, OK, None, None),
        ("get", None, OK, None, None),
        ("cas", ["", "5."], OK, ["", "5."], None),
        ("put", "", OK, "", None),
        ("get", None, OK, None, None),
        ("append", "x" * 128, OK, "x" * 128, None),
        ("append", "y" * 129, FAIL, "y" * 129, "bad-request"),
        ("get", None, OK, "x" * 128, None),
        ("put", "z" * 1000, OK, "z" * 1000, None),
        ("append", "1.", OK, "1.", None),
        ("cas", ["z" * 1000 + "1.", "2."], OK, ["z" * 1000 + "1.", "2."], None),
        ("get", None, OK, "2.", None),
    ],
    "list": [
        ("read", None, OK, None, None),
        ("append", 1, OK, 1, None),
        ("append", 2, OK, 2, None),
        ("read", None, OK, [1, 2], None),
    ],
    "set": [
        ("read", None, OK, [], None),
        ("add", 1, OK, 1, None),
        ("add", 1, OK, 1, None),
        ("add", 2, OK, 2, None),
        ("remove", 1, OK, 1, None),
        ("remove", 1, OK, 1, None),
        ("read", None, OK, [2], None),
    ],
    "counter": [
        ("read", None, OK, None, None),
        ("add", 5, OK, 5, None),
        ("add", -7, OK, -7, None),
        ("read", None, OK, -2, None),
        ("add", -(2**63) + 1, FAIL, -(2**63) + 1, "out-of-range"),
    ],
    "queue": [
        ("length", None, OK, 0, None),
        ("dequeue", None, OK, None, None),
        ("enqueue", 1, OK, 1, None),
        ("enqueue", 2, OK, 2, None),
        ("length", None, OK, 2, None),
        ("dequeue", None, OK, 1, None),
        ("dequeue", None, OK, 2, None),
        ("dequeue", None, OK, None, None),
    ],
    "transactions": [
        ("txn", [["r", "tx", None], ["r", "ty", None]], OK, [["r", "tx", None], ["r", "ty", None]],
         None),
        ("txn", [["compare", "tx", None], ["w", "tx", 1], ["append", "ty", 2], ["r", "tx", None]],
         OK, [["compare", "tx", None], ["w", "tx", 1], ["append", "ty", 2], ["r", "tx", 1]], None),
        ("txn", [["w", "tx", 9], ["compare", "ty", [3]]], FAIL,
         [["w", "tx", 9], ["compare", "ty", [3]]], "precondition-failed"),
        ("txn", [["r", "tx", None], ["r", "ty", None]], OK, [["r", "tx", 1], ["r", "ty", [2]]], None),
        ("txn", [["w", "tx", None], ["w", "ty", None]], OK, [["w", "tx", None], ["w", "ty", None]],
         None),
    ],
}  # fmt: skip


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("kind", PLAYS)
def test_every_function_answers_as_the_data_says(
    system: RaftSystem, kind: str, retries: int
) -> None:
    asking = client(system, kind, retries)
    for f, value, *expected in PLAYS[kind]:
        assert ask(asking, f, value, f"{kind}-{retries}") == Completion(*expected), (f, value)
    asking.close()


@pytest.mark.parametrize("retries", [0, 2])
def test_a_lock_is_released_by_its_owner_only_and_its_token_grows(
    system: RaftSystem, retries: int
) -> None:
    asking, key = client(system, "lock", retries), f"lock-{retries}"
    one, two = {"owner": "t1"}, {"owner": "t2"}
    assert ask(asking, "holder", None, key) == Completion(OK, None)
    held = ask(asking, "acquire", one, key)
    assert held.type is OK
    assert held.value == {"owner": "t1", "token": held.value["token"]}
    assert ask(asking, "holder", None, key) == Completion(OK, held.value)
    assert ask(asking, "acquire", two, key) == Completion(FAIL, two, "held")
    assert ask(asking, "acquire", one, key) == Completion(FAIL, one, "held")
    assert ask(asking, "release", two, key) == Completion(FAIL, two, "not-held")
    assert ask(asking, "release", one, key) == Completion(OK, one)
    assert ask(asking, "release", one, key) == Completion(FAIL, one, "not-held")
    leased = ask(asking, "acquire", {"owner": "t2", "ttl_ms": 50}, key)
    assert leased.type is OK
    assert leased.value["owner"] == "t2"
    assert leased.value["token"] > held.value["token"]
    until(lambda: ask(asking, "holder", None, key) == Completion(OK, None), "end of the lease")
    asking.close()


@pytest.mark.parametrize("retries", [0, 2])
def test_a_string_with_a_time_to_live_goes_away(system: RaftSystem, retries: int) -> None:
    asking, key = client(system, "key-value", retries), f"ttl-{retries}"
    mortal = {"value": "7.", "ttl_ms": 50}
    assert ask(asking, "put", mortal, key) == Completion(OK, mortal)
    until(lambda: ask(asking, "get", None, key) == Completion(OK, None), "end of the key")
    lasting = {"value": "8.", "ttl_ms": 10**9}
    assert ask(asking, "put", lasting, key) == Completion(OK, lasting)
    assert ask(asking, "get", None, key) == Completion(OK, "8.")
    asking.close()


def test_ids_are_never_given_twice(system: RaftSystem) -> None:
    plain, repeating = client(system, "ids"), client(system, "ids", 2)
    given = [
        ask(asking, "generate", None, key)
        for asking in (plain, repeating)
        for key in ("a", "b", None)
    ]
    plain.close()
    repeating.close()
    assert {one.type for one in given} == {OK}
    assert len({one.value for one in given}) == 6


def test_nothing_that_the_data_names_is_left_out() -> None:
    played = {(kind, f) for kind, lines in PLAYS.items() for f, *_ in lines}
    played |= {("lock", f) for f in ("acquire", "release", "holder")} | {("ids", "generate")}
    assert played == {(kind, f) for kind, functions in DATA.items() for f in functions}


def test_a_sequence_that_is_sent_twice_happens_once(system: RaftSystem) -> None:
    wire, url = Wire(), system._url("n1")
    opened = wire.ask(url, {"op": "open_session"}, 5).value
    session = {"id": opened, "seq": 1, "ack": 0}
    append = {"op": "append", "key": "by-hand", "value": 1, "session": session}
    assert [wire.ask(url, append, 5) for _ in range(2)] == [Ending(1), Ending(1)]
    assert wire.ask(url, {"op": "read", "key": "by-hand"}, 5) == Ending([1])
    later = {**append, "session": {**session, "seq": 2, "ack": 1}}
    assert wire.ask(url, later, 5) == Ending(2)
    assert wire.ask(url, append, 5) == Ending(None, "session-stale", certain=False)
    assert wire.ask(url, {"op": "read", "key": "by-hand"}, 5) == Ending([1, 1])
    wire.close()


class Forgetful(Wire):
    """Carries everything to the node, and loses the first answer to each change."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[int] = set()

    def ask(self, url: str, body: Mapping[str, Any], timeout_s: float) -> Ending:
        ending = super().ask(url, body, timeout_s)
        sequence = body.get("session", {}).get("seq")
        if sequence is None or sequence in self.lost:
            return ending
        self.lost.add(sequence)
        return failed("timeout")


def test_what_is_repeated_after_a_lost_answer_happens_once(system: RaftSystem) -> None:
    system = replace(system)  # with sessions of its own
    asking = client(system, "queue", 2)
    asking._wire.close()
    asking._wire = forgetful = Forgetful()
    for value in (1, 2):
        assert ask(asking, "enqueue", value, "lost") == Completion(OK, value)
    assert ask(asking, "length", None, "lost") == Completion(OK, 2)
    taken = [ask(asking, "dequeue", None, "lost").value for _ in range(3)]
    assert taken == [1, 2, None]
    assert len(forgetful.lost) == 5
    asking.close()
    swapping = client(system, "register", 2)
    swapping._wire.close()
    swapping._wire = Forgetful()
    assert ask(swapping, "cas", [None, 1], "lost-cas") == Completion(OK, [None, 1])
    # The first result again; but a refusal after a doubt stays a doubt.
    assert ask(swapping, "cas", [None, 2], "lost-cas") == Completion(
        INFO, [None, 2], "precondition-failed"
    )
    swapping.close()


def test_a_session_that_is_gone_is_replaced(system: RaftSystem) -> None:
    system = replace(system)
    asking = client(system, "list", 2)
    assert ask(asking, "append", 1, "gone").type is OK
    assert asking._sessions is not None
    session = asking._sessions.current(lambda _: None, 0)
    assert session is not None
    wire = Wire()
    closing = {"op": "close_session", "id": session.field(9)["id"]}
    assert wire.ask(system._url("n1"), closing, 5) == Ending(True)
    wire.close()
    assert ask(asking, "append", 2, "gone") == Completion(INFO, 2, "session-expired")
    assert ask(asking, "append", 3, "gone") == Completion(OK, 3)
    assert ask(asking, "read", None, "gone") == Completion(OK, [1, 3])
    asking.close()


@pytest.mark.parametrize("reads", ["lease", "stale"])
def test_other_kinds_of_reads_are_understood(system: RaftSystem, reads: str) -> None:
    system = replace(system, reads=reads)
    for kind, f in (
        ("register", "read"),
        ("key-value", "get"),
        ("set", "read"),
        ("queue", "length"),
        ("lock", "holder"),
    ):
        asking = client(system, kind, 2)
        assert ask(asking, f, None, "nothing").type is OK, (kind, f)
        asking.close()
    asking = client(system, "transactions", 2)
    for steps in ([["r", "nothing", None]], [["r", "nothing", None], ["w", "some", 1]]):
        assert ask(asking, "txn", steps).type is OK
    asking.close()


def test_a_node_of_the_harness_loses_messages_when_told_and_compacts_its_log(
    system: RaftSystem,
) -> None:
    asking = client(system, "register")
    assert ask(asking, "write", 1, "compacted").type is OK
    assert system.drop_messages("n1", ["votes"], for_ms=50, timeout_s=5.0) == {}
    assert system.drop_messages("n1", ["gossip"], for_ms=50, timeout_s=5.0) is None
    reply = system.compact("n1", 5.0)
    assert reply.ending is Done.DONE, reply
    status = system.status("n1", 5.0)
    assert status is not None
    assert status.raw["first_index"] == reply.index + 1
    assert status.raw["snapshot_index"] == reply.index
