"""The driver's other duties: snapshots taken, sent and installed; leases; time; operators' wishes."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from driven import LEASES, Driven
from servers import elect

from node.core.messages import (
    NOOP,
    AppendReply,
    AppendRequest,
    Entry,
    Heartbeat,
    SnapshotChunk,
    encode,
)
from node.core.settings import MS, Role
from node.operations import Operation, Session
from node.replica import APPLIED_A_TURN_MAX
from node.requests import LogTime
from node.state_machine import StateMachine
from node.storage.snapshots import SnapshotMeta, described

# Snapshots.


def test_a_snapshot_is_taken_when_due_and_the_log_cut_once_it_is_durable() -> None:
    driven = Driven(entries=5)
    for number in range(12):
        driven.write("k", str(number))
    [(meta, image, done), *later] = driven.fakes.saved
    assert not later, "one at a time"
    assert (meta.index, meta.term) == (5, 2)
    assert StateMachine.from_image(image).applied_index == 5
    assert driven.replica.core.log.first_index == 1
    assert driven.fakes.compacted == []
    done()
    assert driven.fakes.compacted == [5]
    assert driven.replica.core.log.first_index == 1  # five more are kept for who is a little late
    driven.write("k", "12")
    assert [meta.index for meta, _, _ in driven.fakes.saved] == [5, 13]
    driven.fakes.saved[1][2]()
    assert driven.replica.core.log.first_index == 9
    assert driven.replica.status().snapshot_index == 13


def test_no_snapshot_is_taken_behind_one_that_is_durable() -> None:
    """It came from a leader of a term that was over when it was durable, so the core refused it."""
    driven = Driven(entries=5)
    ahead, image, _ = image_of(40)
    driven.fakes.reader = Reader(ahead, image)  # type: ignore[assignment]
    for number in range(20):
        driven.write("k", str(number))
    assert driven.fakes.saved == []
    for number in range(30):
        driven.write("k", str(number))
    assert [meta.index >= 40 for meta, _, _ in driven.fakes.saved] == [True]


def test_no_snapshot_is_taken_where_none_is_wanted() -> None:
    driven = Driven(entries=0)
    for number in range(30):
        driven.write("k", str(number))
    assert driven.fakes.saved == []


class Reader:
    """A snapshot on disk."""

    def __init__(self, meta: SnapshotMeta, image: bytes) -> None:
        self.meta = described(meta, image)
        self.content = image
        self.closed = False

    def read(self, offset: int, length: int) -> bytes:
        assert not self.closed
        return self.content[offset : offset + length]

    def close(self) -> None:
        self.closed = True


def compacted() -> tuple[Driven, Reader]:
    """A leader whose log no longer reaches back to what follower c has: nothing."""
    driven = Driven(entries=3)
    for number in range(9):
        driven.write(f"key{number}", json.dumps("v" * 20))
    meta, image, done = driven.fakes.saved[0]
    reader = Reader(meta, image)
    driven.fakes.reader = reader  # type: ignore[assignment]
    done()
    while driven.replica.core.log.first_index == 1:
        driven.write("more", "1")
        meta, image, done = driven.fakes.saved[-1]
        reader = Reader(meta, image)
        driven.fakes.reader = reader  # type: ignore[assignment]
        done()
    return driven, reader


def test_a_follower_that_is_too_far_behind_gets_the_snapshot_in_pieces_and_then_the_log() -> None:
    driven, reader = compacted()
    core = driven.replica.core
    driven.fakes.sent.clear()
    driven.beat("c")
    received = b""
    while len(received) < reader.meta.size:
        [chunk] = driven.sent("snapshot_chunk", "c")
        assert (chunk["index"], chunk["offset"]) == (reader.meta.index, len(received))
        assert chunk["checksum"] == reader.meta.checksum
        received += base64.b64decode(str(chunk["data"]))
        driven.fakes.sent.clear()
        last = len(received) == reader.meta.size
        reply = {
            "type": "snapshot_reply", "term": core.term, "index": reader.meta.index,
            "offset": 0 if last else len(received), "success": last,
        }  # fmt: skip
        driven.replica.receive("c", reply)
        driven.pump()
    assert received == reader.content
    appended = driven.sent("append_request", "c")
    assert appended[0]["prev_index"] == reader.meta.index
    driven.pass_time(20)
    assert not reader.closed, "it is everybody's: another follower may be reading it"


def test_a_snapshot_that_is_being_sent_stays_though_newer_ones_come() -> None:
    driven, reader = compacted()
    core = driven.replica.core
    driven.beat("c")
    for number in range(8):
        driven.write("k", str(number))
    meta, image, done = driven.fakes.saved[-1]
    assert meta.index > reader.meta.index
    driven.fakes.reader = Reader(meta, image)  # type: ignore[assignment]
    done()
    driven.fakes.sent.clear()
    reply = {
        "type": "snapshot_reply", "term": core.term, "index": reader.meta.index,
        "offset": 64, "success": False,
    }  # fmt: skip
    driven.replica.receive("c", reply)
    driven.pump()
    [chunk] = driven.sent("snapshot_chunk", "c")
    assert (chunk["index"], chunk["offset"]) == (reader.meta.index, 64)
    # And what follows it is still there.
    assert core.log.first_index <= reader.meta.index + 1


def image_of(index: int) -> tuple[SnapshotMeta, bytes, StateMachine]:
    """The snapshot of a leader that is ahead."""
    driven = Driven()
    while driven.replica.state.applied_index < index:
        driven.write("ahead", str(index))
    state = driven.replica.state
    image = state.image()()
    configuration = driven.replica.core.log.configuration.to_text()
    return described(SnapshotMeta(index, 2, configuration), image), image, state


def chunks(meta: SnapshotMeta, image: bytes, size: int = 50) -> list[SnapshotChunk]:
    return [
        SnapshotChunk(
            "b", "a", 2, meta.index, meta.term, meta.configuration, meta.size, meta.checksum,
            offset, base64.b64encode(image[offset : offset + size]).decode(),
        )
        for offset in range(0, len(image), size)
    ]  # fmt: skip


def test_a_snapshot_that_arrives_is_made_durable_before_it_counts() -> None:
    meta, image, state = image_of(6)
    driven = Driven(leader=False)
    for chunk in chunks(meta, image):
        driven.replica.receive("b", encode(chunk))
        driven.pump()
    replies = driven.sent("snapshot_reply", "b")
    assert [reply["success"] for reply in replies] == [False] * len(replies)
    assert len(replies) == len(chunks(meta, image)) - 1
    [(adopted, received, done)] = driven.fakes.adopted
    assert (adopted, received) == (meta, image)
    assert driven.replica.state.applied_index == 0
    driven.fakes.held = []
    done(StateMachine.from_image(image))
    driven.pump()
    assert driven.replica.status().applied_index == 6
    assert driven.replica.state.state_hash() == state.state_hash()
    assert driven.sent("snapshot_reply", "b")[-1]["success"] is False, "not before its own disk"
    for finish in driven.fakes.held:
        finish()
    assert driven.sent("snapshot_reply", "b")[-1]["success"] is True


def test_a_damaged_snapshot_is_asked_for_again_from_its_beginning() -> None:
    meta, image, _ = image_of(6)
    driven = Driven(leader=False)
    broken = bytearray(image)
    broken[len(broken) // 2] ^= 1
    for chunk in chunks(meta, bytes(broken)):
        driven.replica.receive("b", encode(chunk))
        driven.pump()
    assert driven.fakes.adopted == []
    assert driven.sent("snapshot_reply", "b")[-1]["offset"] == 0
    for chunk in chunks(meta, image):
        driven.replica.receive("b", encode(chunk))
        driven.pump()
    assert len(driven.fakes.adopted) == 1


def test_a_snapshot_of_no_state_changes_nothing() -> None:
    meta, image, _ = image_of(6)
    driven = Driven(leader=False)
    for chunk in chunks(meta, image):
        driven.replica.receive("b", encode(chunk))
        driven.pump()
    driven.fakes.adopted[0][2](None)
    driven.pump()
    assert driven.replica.status().applied_index == 0
    assert driven.replica.core.commit_index == 0


def test_an_older_snapshot_does_not_follow_a_newer_one_that_came_in_the_term_before() -> None:
    """Two leaders, one after the other, send what they have: the second one's may be older."""
    newer, newer_image, state = image_of(6)
    older, older_image, _ = image_of(4)
    driven = Driven(leader=False)
    for chunk in chunks(newer, newer_image):
        driven.replica.receive("b", encode(chunk))
        driven.pump()
    [(_, _, done)] = driven.fakes.adopted
    later = [replace(chunk, source="x", term=3) for chunk in chunks(older, older_image)]
    driven.replica.receive("x", encode(later[0]))  # while the first one is made durable
    driven.pump()
    done(StateMachine.from_image(newer_image))
    driven.pump()
    for chunk in later:
        driven.replica.receive("x", encode(chunk))
        driven.pump()
    assert len(driven.fakes.adopted) == 1, "the disk would refuse the older one"
    assert driven.replica.status().applied_index == 6
    assert driven.replica.state.state_hash() == state.state_hash()
    assert driven.sent("snapshot_reply", "x")[-1]["success"] is True


def test_a_snapshot_that_the_core_does_not_take_now_is_offered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meta, image, _ = image_of(6)
    driven = Driven(leader=False)
    for chunk in chunks(meta, image):
        driven.replica.receive("b", encode(chunk))
        driven.pump()
    [(_, _, done)] = driven.fakes.adopted
    install, answers = driven.replica.core.install, [False, True]
    monkeypatch.setattr(
        driven.replica.core, "install", lambda chunk: answers.pop(0) and install(chunk)
    )
    done(StateMachine.from_image(image))
    assert driven.replica.status().applied_index == 0
    older, older_image, _ = image_of(4)
    for chunk in chunks(older, older_image):
        driven.replica.receive("b", encode(chunk))
        driven.pump()
    assert len(driven.fakes.adopted) == 1
    assert driven.replica.status().applied_index == 6


# Time.


def test_the_time_of_the_log_goes_on_from_the_newest_stamp() -> None:
    time = LogTime(1000, 50 * MS)
    assert time.now_ms(70 * MS) == 1020
    time.seen(1010, 70 * MS)  # older than what is known: it does not fall
    assert time.now_ms(70 * MS) == 1020
    time.seen(2000, 80 * MS)
    assert time.now_ms(81 * MS) == 2001


def test_what_is_due_expires_by_one_entry_of_the_leader() -> None:
    driven = Driven()
    driven.call(Operation("write", "k", "1", ttl_ms=100))
    driven.acknowledge()
    before = driven.replica.core.log.last_index
    driven.beat()
    driven.pass_time(90)
    assert driven.replica.core.log.last_index == before
    driven.pass_time(50)
    assert driven.replica.core.log.last_index == before + 1, "once, though it is not committed yet"
    driven.acknowledge()
    driven.call(Operation("read", "k", mode="stale"))
    assert driven.last_answer() == ("", "null")


def test_a_tick_that_was_lost_with_its_leadership_is_proposed_anew() -> None:
    driven = Driven()
    driven.call(Operation("write", "k", "1", ttl_ms=100))
    driven.acknowledge()
    driven.beat()
    lost = driven.replica.core.log.last_index + 1
    for _ in range(5):
        driven.call(Operation("write", "other", "1"))
    driven.pass_time(140)
    core = driven.replica.core
    # Another leader, whose log is shorter, cuts the tick off; then this node leads again.
    entry = Entry(lost, core.term + 1, "", NOOP)
    prev = (lost - 1, core.term)
    request = AppendRequest("b", "a", core.term + 1, *prev, lost - 1, (entry,))
    driven.replica.receive("b", encode(request))
    driven.pump()
    elect(core)
    driven.fakes.now_ns = core._now_ns
    driven.pump()
    driven.acknowledge()
    before = core.log.last_index
    driven.beat()
    driven.pass_time(200)
    assert core.log.last_index == before + 1


def test_so_many_entries_are_applied_in_a_turn_and_no_more() -> None:
    driven = Driven()
    for _ in range(APPLIED_A_TURN_MAX // 500):
        for number in range(700):
            driven.replica.submit(Operation("write", "k", str(number)), lambda answer: None)
    driven.pump()
    core = driven.replica.core
    reply = AppendReply("b", "a", core.term, True, core.log.last_index, 0, 0)
    driven.replica.receive("b", encode(reply))
    driven.pump()
    assert core.commit_index == core.log.last_index
    assert driven.replica.state.applied_index == 1 + APPLIED_A_TURN_MAX
    driven.pump()
    assert driven.replica.state.applied_index == core.commit_index


# Reads.


def test_a_stale_read_is_answered_at_once_also_without_a_leader() -> None:
    driven = Driven(leader=False)
    driven.call(Operation("read", "k", mode="stale"))
    assert driven.last_answer() == ("", "null")


def test_a_lease_answers_at_once_while_it_lasts_and_not_after() -> None:
    driven = Driven(settings=LEASES)
    driven.write("k", "1")
    driven.pass_time(50)
    driven.beat()
    driven.call(Operation("read", "k", mode="lease"))
    assert driven.last_answer() == ("", "1")
    count = len(driven.fakes.answers)
    driven.fakes.now_ns += 450 * MS  # stopped for longer than the lease, shorter than the timeout
    driven.call(Operation("read", "k", mode="lease"))
    assert len(driven.fakes.answers) == count, "it asks a majority now"
    driven.pass_time(10)
    driven.beat()
    assert driven.last_answer() == ("", "1")


def test_a_lease_that_runs_out_while_a_read_waits_is_none() -> None:
    driven = Driven(settings=LEASES)
    driven.pass_time(50)
    driven.beat()
    for number in range(APPLIED_A_TURN_MAX + 100):
        driven.replica.submit(Operation("write", "k", str(number)), lambda answer: None)
    driven.pump()
    core = driven.replica.core
    reply = AppendReply("b", "a", core.term, True, core.log.last_index, 0, 0)
    driven.replica.receive("b", encode(reply))
    driven.pump()
    assert driven.replica.state.applied_index < core.commit_index
    count = len(driven.fakes.answers)
    driven.replica.submit(Operation("read", "k", mode="lease"), driven.fakes.answers.append)
    driven.fakes.now_ns += 450 * MS
    driven.pump()
    assert len(driven.fakes.answers) == count
    driven.pump()
    driven.beat()
    driven.pump()
    assert driven.last_answer()[1] == str(APPLIED_A_TURN_MAX + 99)


# Operators.


def test_adding_a_member_is_answered_when_committed_and_the_network_knows_it_at_once() -> None:
    driven = Driven()
    driven.ask("add_member", name="d", peer="h:1", client="h:2")
    assert driven.fakes.answers == []
    assert driven.fakes.members["d"] == ("h:1", "h:2")
    assert driven.replica.status().learners == ("d",)
    driven.acknowledge()
    assert driven.last_answer() == ("", "null")


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (("remove_member", {"name": "x"}), "unknown-member"),
        (("add_member", {"name": "b", "peer": "h:1", "client": "h:2"}), "unknown-member"),
        (("transfer", {"to": "x"}), "unknown-member"),
        (("transfer", {"to": "a"}), "unknown-member"),
    ],
)
def test_what_cannot_be_is_refused(ask: tuple[str, dict[str, str]], code: str) -> None:
    driven = Driven()
    driven.ask(ask[0], **ask[1])
    assert driven.last_answer()[0] == code


def test_one_change_at_a_time() -> None:
    driven = Driven()
    driven.ask("remove_member", name="c")
    driven.ask("remove_member", name="b")
    assert driven.last_answer()[0] == "change-in-progress"


def test_only_the_leader_changes_members() -> None:
    driven = Driven(leader=False)
    driven.replica.receive("b", encode(Heartbeat("b", "a", 1, 0, 0)))
    for op in ("add_member", "remove_member", "transfer"):
        driven.ask(op, name="d", peer="h:1", client="h:2", to="c")
        assert driven.last_answer()[0] == "not-leader"


def test_handing_over_refuses_writes_meanwhile_and_says_how_it_ended() -> None:
    driven = Driven()
    driven.ask("transfer", to="b")
    assert driven.sent("timeout_now", "b"), "b holds the whole log"
    driven.call(Operation("write", "k", "1"))
    assert driven.last_answer()[0] == "transferring"
    core = driven.replica.core
    driven.replica.receive("b", encode(Heartbeat("b", "a", core.term + 1, 0, 1)))
    driven.pump()
    assert driven.last_answer() == ("", '"b"')
    assert core.role is Role.FOLLOWER


def test_a_hand_over_that_somebody_else_wins_is_answered_at_once() -> None:
    driven = Driven()
    driven.ask("transfer", to="b")
    core = driven.replica.core
    driven.replica.receive("c", encode(Heartbeat("c", "a", core.term + 1, 0, 1)))
    driven.pump()
    assert driven.last_answer()[0] == "not-leader"


def test_a_hand_over_that_does_not_come_about_ends_and_writes_go_on() -> None:
    driven = Driven()
    driven.ask("transfer", to="b")
    for _ in range(6):
        driven.pass_time(100)
        driven.beat()
    assert driven.last_answer()[0] == "transferring"
    driven.write("k", "1")
    assert driven.last_answer() == ("", "1")


def test_a_snapshot_on_demand_is_answered_when_durable() -> None:
    driven = Driven()
    driven.write("k", "1")
    count = len(driven.fakes.answers)
    driven.ask("snapshot")
    assert len(driven.fakes.answers) == count
    driven.fakes.saved[0][2]()
    assert driven.last_answer() == ("", "2")


def test_a_repeated_sequence_of_a_session_is_answered_alike_and_done_once() -> None:
    driven = Driven()
    driven.call(Operation("open_session"))
    driven.acknowledge()
    session = int(driven.last_answer()[1])
    again: Callable[[], Operation] = lambda: Operation(  # noqa: E731
        "append", "k", "7", session=Session(session, 1, 0)
    )
    for _ in range(2):
        driven.call(again())
        driven.acknowledge()
        assert driven.last_answer() == ("", "1")
    driven.call(Operation("read", "k", mode="stale"))
    assert driven.last_answer() == ("", "[7]")
