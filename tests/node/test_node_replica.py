"""The driver alone: who is answered what, when leaders change and messages are lost or repeated."""

from collections.abc import Callable, Mapping

import pytest
from servers import elect, server, take

from node import requests as requests_module
from node.core.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    Heartbeat,
    HeartbeatReply,
    Json,
    Malformed,
    encode,
)
from node.core.settings import MS, Role
from node.operations import Answer, Operation, Step
from node.replica import Replica
from node.state_machine import StateMachine
from node.storage.snapshots import SnapshotMeta, SnapshotReader
from node.storage.wal import Batch


class Fakes:
    """A disk that is done at once, a network that keeps what was sent, a clock set by hand."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Mapping[str, Json]]] = []
        self.connected = True
        self.now_ns = 0
        self.answers: list[Answer] = []
        self.held: list[Callable[[], None]] | None = None
        self.members: dict[str, tuple[str, str]] = {}
        self.saved: list[tuple[SnapshotMeta, bytes, Callable[[], None]]] = []
        self.adopted: list[tuple[SnapshotMeta, bytes, Callable[[StateMachine | None], None]]] = []
        self.compacted: list[int] = []
        self.reader: SnapshotReader | None = None

    def submit(self, batch: Batch, done: Callable[[], None]) -> None:
        if self.held is None:
            done()
        else:
            self.held.append(done)

    def send(self, target: str, document: Mapping[str, Json]) -> bool:
        if self.connected:
            self.sent.append((target, document))
        return self.connected

    def set_members(self, addresses: Mapping[str, tuple[str, str]]) -> None:
        self.members = dict(addresses)

    def save(
        self, meta: SnapshotMeta, image: Callable[[], bytes], done: Callable[[], None]
    ) -> None:
        self.saved.append((meta, image(), done))

    def adopt(
        self, meta: SnapshotMeta, image: bytes, done: Callable[[StateMachine | None], None]
    ) -> None:
        self.adopted.append((meta, image, done))

    def compact(self, index: int) -> None:
        self.compacted.append(index)

    def snapshot(self) -> SnapshotReader | None:
        return self.reader

    def forwards(self) -> list[Mapping[str, Json]]:
        return [document for _, document in self.sent if document["type"] == "forward"]

    def replies(self) -> list[Json]:
        return [
            document["answer"] for _, document in self.sent if document["type"] == "forward_reply"
        ]


WRITE = Operation("write", "k", "1")
READ = Operation("read", "k")


def replica_of(fakes: Fakes, *, leader: bool = False) -> Replica:
    core = server(term=1)
    if leader:
        elect(core)
        take(core)
    fakes.now_ns = core._now_ns
    made = Replica(
        core=core,
        state=StateMachine(),
        disk=fakes,
        network=fakes,
        clock_ns=lambda: fakes.now_ns,
        wake=lambda: None,
        request_timeout_ns=1000 * MS,
        incarnation=5,
        event=lambda text: None,
    )
    made.pump()
    return made


def hear_leader(replica: Replica, term: int = 1, leader: str = "b") -> None:
    replica.receive(leader, encode(Heartbeat(leader, "a", term, 0, 0)))
    replica.pump()


def acknowledge(replica: Replica, index: int) -> None:
    reply = AppendReply("b", "a", replica.core.term, True, index, 0, 0)
    replica.receive("b", encode(reply))
    replica.pump()


def confirm(replica: Replica) -> None:
    """A follower answers the newest heartbeat: this node still leads."""
    leadership = replica.core.leadership
    assert leadership is not None
    replica.receive(
        "b", encode(HeartbeatReply("b", "a", replica.core.term, leadership.rounds.number))
    )
    replica.pump()


def codes(fakes: Fakes) -> list[str]:
    return [answer.error for answer in fakes.answers]


def test_without_a_leader_nothing_is_begun() -> None:
    fakes = Fakes()
    replica = replica_of(fakes)
    replica.submit(WRITE, fakes.answers.append)
    replica.submit(READ, fakes.answers.append)
    assert codes(fakes) == ["no-leader", "no-leader"]
    assert fakes.sent == []


def test_a_write_is_answered_when_applied_and_not_before() -> None:
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    replica.submit(WRITE, fakes.answers.append)
    replica.pump()
    assert fakes.answers == []
    acknowledge(replica, 2)
    assert fakes.answers == [Answer("", "1", 2, 2, "a")]


def test_a_follower_forwards_once_and_passes_the_answer_on() -> None:
    fakes = Fakes()
    replica = replica_of(fakes)
    hear_leader(replica)
    replica.submit(WRITE, fakes.answers.append)
    (forward,) = fakes.forwards()
    reply: dict[str, Json] = {
        "type": "forward_reply",
        "incarnation": forward["incarnation"],
        "number": forward["number"],
        "answer": Answer("", "1", 7, 1, "b").to_list(),
    }
    replica.receive("c", reply)  # not the one who was asked
    replica.receive("b", {**reply, "incarnation": 4})  # meant for an earlier life
    assert fakes.answers == []
    replica.receive("b", reply)
    replica.receive("b", reply)
    assert fakes.answers == [Answer("", "1", 7, 1, "b")]


def test_an_unreachable_leader_is_a_definite_failure() -> None:
    fakes = Fakes()
    replica = replica_of(fakes)
    hear_leader(replica)
    fakes.connected = False
    replica.submit(WRITE, fakes.answers.append)
    assert codes(fakes) == ["no-leader"]


def test_what_was_forwarded_is_unknown_when_the_connection_breaks_and_never_sent_again() -> None:
    fakes = Fakes()
    replica = replica_of(fakes)
    hear_leader(replica)
    replica.submit(WRITE, fakes.answers.append)
    replica.peer_lost("c")
    assert fakes.answers == []
    replica.peer_lost("b")
    assert codes(fakes) == ["outcome-unknown"]
    hear_leader(replica, term=2, leader="c")
    fakes.now_ns += 5000 * MS
    replica.tick()
    assert len(fakes.forwards()) == 1


def test_a_repeated_forward_is_carried_out_once() -> None:
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    forward: dict[str, Json] = {
        "type": "forward",
        "incarnation": 1,
        "number": 1,
        "operation": WRITE.to_text(),
    }
    replica.receive("b", forward)
    replica.receive("b", forward)
    replica.receive("c", forward)  # another node's first
    replica.pump()
    assert replica.core.log.last_index == 3
    acknowledge(replica, 3)
    assert len(fakes.replies()) == 2


def test_a_forward_to_a_node_that_does_not_lead_is_refused() -> None:
    fakes = Fakes()
    replica = replica_of(fakes)
    replica.receive(
        "b",
        {"type": "forward", "incarnation": 1, "number": 1, "operation": WRITE.to_text()},
    )
    (reply,) = fakes.replies()
    assert isinstance(reply, list)
    assert reply[0] == "not-leader"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "forward"},
        {"type": "forward", "incarnation": 1, "number": 1, "operation": 5},
        {"type": "forward", "incarnation": 1, "number": 1, "operation": "[]"},
        {"type": "forward", "incarnation": 1, "number": 1, "operation": READ.to_text()},
        {"type": "forward", "incarnation": -1, "number": 1, "operation": WRITE.to_text()},
        {"type": "forward_reply", "incarnation": 1, "number": 1, "answer": ["nonsense"]},
        {"type": "heartbeat"},
    ],
)
def test_garbage_from_a_member_is_malformed_and_changes_nothing(
    document: dict[str, Json],
) -> None:
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    before = replica.status()
    with pytest.raises(Malformed):
        replica.receive("b", document)
    assert replica.status() == before


def depose(replica: Replica, *entries: Entry, commit: int) -> None:
    term = replica.core.term + 1
    request = AppendRequest("b", "a", term, 1, 2, commit, entries)
    replica.receive("b", encode(request))
    replica.pump()


def test_a_waiter_survives_its_leadership_and_its_entry_may_yet_commit() -> None:
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    replica.submit(WRITE, fakes.answers.append)
    replica.pump()
    depose(replica, Entry(2, 2, WRITE.to_text()), Entry(3, 3, ""), commit=1)
    assert replica.core.role is Role.FOLLOWER
    assert fakes.answers == []
    depose(replica, Entry(2, 2, WRITE.to_text()), Entry(3, 3, ""), commit=3)
    assert fakes.answers == [Answer("", "1", 2, 2, "a")]


def test_another_entry_committed_at_the_index_is_a_definite_failure() -> None:
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    replica.submit(WRITE, fakes.answers.append)
    replica.pump()
    depose(replica, Entry(2, 3, Operation("write", "k", "2").to_text()), commit=2)
    assert codes(fakes) == ["not-committed"]


def test_the_deadline_leaves_the_outcome_unknown_and_a_late_commit_changes_no_answer() -> None:
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    replica.submit(WRITE, fakes.answers.append)
    replica.pump()
    fakes.now_ns += 1000 * MS
    replica.tick()
    assert codes(fakes) == ["outcome-unknown"]
    acknowledge(replica, 2)
    assert codes(fakes) == ["outcome-unknown"]


# Nothing is decided by the copy of the data that a node happens to have.


def leader_with(fakes: Fakes, *operations: Operation) -> Replica:
    """A leader that has carried out these operations, and has forgotten the answers."""
    replica = replica_of(fakes, leader=True)
    for operation in operations:
        replica.submit(operation, fakes.answers.append)
    replica.pump()
    acknowledge(replica, 1 + len(operations))
    assert codes(fakes) == [""] * len(operations)
    fakes.answers.clear()
    return replica


def test_increments_in_flight_add_up() -> None:
    fakes = Fakes()
    increment = Operation("increment", "n", by=3)
    replica = leader_with(fakes, increment)
    for _ in range(2):
        replica.submit(increment, fakes.answers.append)
    replica.pump()
    acknowledge(replica, 4)
    assert [answer.value for answer in fakes.answers] == ["6", "9"]


@pytest.mark.parametrize(
    ("operation", "missing"),
    [
        (Operation("set_remove", "k", "1"), Operation("set_add", "k", "1")),
        (Operation("dequeue", "k"), Operation("enqueue", "k", "1")),
    ],
)
@pytest.mark.parametrize("leads", [True, False])
def test_what_changes_something_is_carried_out_by_the_log(
    operation: Operation, missing: Operation, *, leads: bool
) -> None:
    """Also where this node sees nothing to do: what is missing here may be under way."""
    fakes = Fakes()
    replica = replica_of(fakes, leader=leads)
    if leads:
        replica.submit(missing, lambda answer: None)
    else:
        hear_leader(replica)
    replica.submit(operation, fakes.answers.append)
    replica.pump()
    assert fakes.answers == []
    if leads:
        acknowledge(replica, 3)
        assert [(answer.error, answer.value) for answer in fakes.answers] in (
            [("", "true")],
            [("", "1")],
        )
    else:
        assert len(fakes.forwards()) == 1


READ_BOTH = Operation("txn", ops=(Step("read", "a"), Step("read", "b")))
WRITE_BOTH = Operation("txn", ops=(Step("write", "a", "1"), Step("write", "b", "1")))


def test_a_reading_transaction_sees_one_moment_after_a_majority_was_asked() -> None:
    fakes = Fakes()
    replica = leader_with(fakes)
    replica.submit(READ_BOTH, fakes.answers.append)
    replica.pump()
    assert fakes.answers == [], "nobody has said that this node still leads"
    replica.submit(WRITE_BOTH, fakes.answers.append)
    replica.pump()
    acknowledge(replica, 2)
    confirm(replica)
    assert [answer.value for answer in fakes.answers] == ["[null,null]", "[1,1]"]


def test_what_is_not_committed_is_shown_to_nobody() -> None:
    fakes = Fakes()
    replica = leader_with(fakes)
    replica.submit(WRITE_BOTH, fakes.answers.append)
    replica.submit(READ_BOTH, fakes.answers.append)
    replica.pump()
    confirm(replica)
    assert [answer.value for answer in fakes.answers] == ["[null,null]"]


def test_stopping_answers_everybody() -> None:
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    acknowledge(replica, 1)
    replica.submit(WRITE, fakes.answers.append)
    replica.submit(READ, fakes.answers.append)
    replica.pump()
    replica.stop()
    replica.submit(WRITE, fakes.answers.append)
    assert codes(fakes) == ["outcome-unknown", "shutting-down", "shutting-down"]


def test_too_many_operations_are_refused_until_some_are_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests_module, "IN_FLIGHT_MAX", 3)
    fakes = Fakes()
    replica = replica_of(fakes, leader=True)
    for _ in range(5):
        replica.submit(WRITE, fakes.answers.append)
    assert codes(fakes) == ["overloaded", "overloaded"]
    replica.pump()
    acknowledge(replica, 4)
    replica.submit(WRITE, fakes.answers.append)
    assert codes(fakes) == ["overloaded", "overloaded", "", "", ""]


def test_nothing_is_acknowledged_before_the_disk_is_done() -> None:
    fakes = Fakes()
    replica = replica_of(fakes)
    fakes.held = []
    replica.receive("b", encode(AppendRequest("b", "a", 1, 0, 0, 0, (Entry(1, 1, ""),))))
    replica.pump()
    assert fakes.sent == []
    for done in fakes.held:
        done()
    assert [document["type"] for _, document in fakes.sent] == ["append_reply"]
