"""Snapshots that take the place of a log; each test ends with its reference.

Raft = Ongaro & Ousterhout 2014 (extended version); dissertation = Ongaro 2014.
"""

import pytest
from servers import (
    acknowledge,
    advance,
    answer_heartbeats,
    configuration_of,
    lead,
    role_of,
    said,
    server,
    take,
)

from node.core.ledger import Ledger
from node.core.log import RaftLog
from node.core.membership import Configuration
from node.core.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    Heartbeat,
    PreVoteReply,
    SnapshotChunk,
    SnapshotReply,
    VoteReply,
    VoteRequest,
)
from node.core.progress import CHUNK_DOUBTS_MAX, Flow, Progress
from node.core.raft import Raft
from node.core.ready import ChunkWanted, Install
from node.core.settings import Role

MEMBERS = configuration_of("a", "b", "x")


def chunk(
    index: int, snapshot_term: int = 1, term: int = 2, offset: int = 0, source: str = "b"
) -> SnapshotChunk:
    text = MEMBERS.to_text()
    return SnapshotChunk(source, "a", term, index, snapshot_term, text, 9, 0, offset, "AAAA")


def arrives_whole(raft: Raft, message: SnapshotChunk) -> bool:
    """The last chunk comes, and the driver has put all of them together."""
    raft.step(message)
    take(raft)
    return raft.install(message)


def terms_of(raft: Raft) -> dict[int, int | None]:
    return {
        index: raft.log.term(index) for index in range(raft.log.base_index, raft.log.last_index + 1)
    }


# The follower.


def test_chunks_go_to_the_driver_and_are_answered_with_the_next_offset() -> None:
    raft = server(term=2)
    raft.step(chunk(5))
    (ready,) = take(raft)[0]
    assert ready.chunks == (chunk(5),)
    raft.chunk_received(chunk(5), 3)
    assert said(raft) == [SnapshotReply("a", "b", 2, 5, 3, success=False)]
    assert raft.commit_index == 0
    # Reference: section 7, figure 13 (InstallSnapshot RPC, steps 2 to 4)


def test_a_chunk_is_word_from_the_leader() -> None:
    raft = server(term=1)
    advance(raft, 1000)
    assert role_of(raft) is Role.PRE_CANDIDATE
    raft.step(chunk(5))
    assert (role_of(raft), raft.term, raft.leader) == (Role.FOLLOWER, 2, "b")
    assert raft._election_due_ns >= raft._now_ns + raft._settings.election_timeout_ns
    # Reference: section 7; section 5.2


def test_a_chunk_of_an_old_term_is_refused_with_the_new_one() -> None:
    raft = server(term=4)
    raft.step(chunk(5))
    assert said(raft) == [SnapshotReply("a", "b", 4, 5, 0, success=False)]
    # Reference: figure 13 (step 1: reply immediately if term < currentTerm)


@pytest.mark.parametrize("index", [1, 2])
def test_a_snapshot_that_is_not_newer_than_what_is_committed_changes_nothing(index: int) -> None:
    raft = server(terms=(1, 1, 1), term=2)
    raft.step(Heartbeat("b", "a", 2, 2, 1))
    take(raft)
    assert raft.commit_index == 2
    raft.step(chunk(index))
    readies, messages = take(raft)
    assert all(ready.chunks == () for ready in readies)
    assert messages == [SnapshotReply("a", "b", 2, index, 0, success=True)]
    assert not raft.install(chunk(index))
    assert terms_of(raft) == {0: 0, 1: 1, 2: 1, 3: 1}
    # Reference: section 7 ("a retransmission or mistake")


def test_a_snapshot_of_a_term_that_is_over_counts_but_is_not_answered() -> None:
    """It holds what is committed. It is on disk already, and the next one may be an older one."""
    raft = server(term=2)
    raft.step(chunk(5))
    take(raft)
    raft.step(Heartbeat("c", "a", 3, 0, 1))
    take(raft)
    assert raft.install(chunk(5))
    assert raft.commit_index == 5
    readies, messages = take(raft)
    assert readies[0].install == Install(5, 1, MEMBERS)
    assert messages == []
    # Reference: section 5.1; section 7; section 5.4.3 (committed is committed in later terms)


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.LEADER])
def test_who_stands_or_leads_by_now_installs_no_snapshot(role: Role) -> None:
    raft = server(term=2)
    raft.step(chunk(5))
    take(raft)
    advance(raft, 1000)
    raft.step(PreVoteReply("b", "a", 3, granted=True))
    take(raft)
    if role is Role.LEADER:
        raft.step(VoteReply("b", "a", 3, granted=True))
        take(raft)
    assert role_of(raft) is role
    assert not raft.install(chunk(5))
    assert raft.commit_index == 0


def test_entries_behind_a_snapshot_that_fits_are_kept() -> None:
    """They may have been acknowledged: a majority may stand on this copy."""
    raft = server(terms=(1, 1, 1, 1), term=2)
    assert arrives_whole(raft, chunk(3))
    (ready,) = take(raft)[0]
    assert (ready.install, ready.base, ready.truncate_from) == (Install(3, 1, MEMBERS), None, None)
    assert terms_of(raft) == {3: 1, 4: 1}
    assert (raft.commit_index, raft._ledger.durable_index) == (3, 4)
    # Reference: section 7 ("entries following the snapshot are still valid and must be retained")


@pytest.mark.parametrize("own", [(), (1,), (1, 1, 1, 1), (1, 1, 2)])
def test_otherwise_the_whole_log_goes(own: tuple[int, ...]) -> None:
    raft = server(terms=own, term=3)
    assert arrives_whole(raft, chunk(3, snapshot_term=3, term=3))
    (ready,) = take(raft)[0]
    assert (ready.install, ready.base) == (Install(3, 3, MEMBERS), (3, 3))
    assert terms_of(raft) == {3: 3}
    assert raft.log.is_up_to_date(3, 3)
    assert not raft.log.is_up_to_date(9, 2)
    # Reference: section 7, figure 13 (step 7: discard the entire log)


def test_entries_the_disk_was_not_given_leave_no_gap_behind_a_snapshot() -> None:
    """The snapshot fits entries that are in memory alone: on disk the log begins anew behind it."""
    raft = server(terms=(1,), term=2)
    new = tuple(Entry(index, 2, "x") for index in range(2, 6))
    raft.step(AppendRequest("b", "a", 2, 1, 1, 0, new))
    assert raft.install(chunk(4, snapshot_term=2))
    ready = raft.ready()
    assert ready is not None
    assert (ready.base, ready.entries) == ((4, 2), new[3:])
    raft.persisted(ready.seq)
    assert raft._ledger.durable_index == 5
    # Reference: section 7; figure 2 (persistent state)


def test_a_batch_that_was_on_its_way_vouches_for_nothing_behind_a_new_log() -> None:
    raft = server(term=2)
    raft.step(AppendRequest("b", "a", 2, 0, 0, 0, tuple(Entry(i, 1, "x") for i in (1, 2, 3, 4))))
    first = raft.ready()
    assert first is not None
    assert raft.install(chunk(3, snapshot_term=2))
    raft.step(AppendRequest("b", "a", 2, 3, 2, 3, (Entry(4, 2, "y"),)))
    second = raft.ready()
    assert second is not None
    raft.persisted(first.seq)
    assert raft._ledger.durable_index == 0
    raft.persisted(second.seq)
    assert raft._ledger.durable_index == 4
    # Reference: figure 2 (persistent state): the A-B-A race of asynchronous writes


def test_the_configuration_of_a_snapshot_comes_into_force() -> None:
    raft = server(terms=(1,), term=2)
    assert arrives_whole(raft, chunk(5))
    assert (raft.log.configuration, raft.log.configuration_index) == (MEMBERS, 5)
    raft.step(AppendRequest("b", "a", 2, 5, 1, 5, (Entry(6, 2, "x"),)))
    raft.step(AppendRequest("c", "a", 3, 5, 1, 5, (Entry(6, 3, "y"),)))
    assert raft.log.configuration == MEMBERS, "also after a cut"
    # Reference: section 7 ("the latest configuration in the log as of last included index")


def test_success_is_said_when_the_snapshot_is_durable() -> None:
    raft = server(term=2)
    assert arrives_whole(raft, chunk(5))
    ready = raft.ready()
    assert ready is not None
    assert ready.messages == ()
    assert ready.messages_after_persist == (SnapshotReply("a", "b", 2, 5, 0, success=True),)
    assert ready.commit_to == 5
    # Reference: section 7; figure 2 (persistent state)


def test_nobody_stands_whose_snapshot_is_not_durable() -> None:
    raft = server(term=2)
    assert arrives_whole(raft, chunk(5))
    advance(raft, 2000)
    assert role_of(raft) is Role.FOLLOWER, "the driver has not even been told"
    ready = raft.ready()
    assert ready is not None
    advance(raft, 2000)
    assert role_of(raft) is Role.FOLLOWER
    raft.persisted(ready.seq)
    advance(raft, 2000)
    assert role_of(raft) is Role.PRE_CANDIDATE
    # Reference: section 7; figure 2 (persistent state)


def test_a_snapshot_ends_a_candidacy_that_has_not_begun() -> None:
    raft = server(term=2)
    raft.step(chunk(5))
    take(raft)
    advance(raft, 1000)
    assert role_of(raft) is Role.PRE_CANDIDATE
    assert raft.install(chunk(5))
    raft.step(PreVoteReply("b", "a", 3, granted=True))
    assert role_of(raft) is Role.FOLLOWER
    # Reference: section 7; dissertation section 9.6


def test_what_lies_below_a_snapshot_is_a_match() -> None:
    raft = server(term=2)
    assert arrives_whole(raft, chunk(5))
    take(raft)
    old = tuple(Entry(index, 1, "x") for index in range(3, 8))
    raft.step(AppendRequest("b", "a", 2, 2, 1, 5, old))
    assert said(raft) == [AppendReply("a", "b", 2, True, 7, 0, 0)]
    assert terms_of(raft) == {5: 1, 6: 1, 7: 1}
    raft.step(AppendRequest("b", "a", 2, 2, 1, 5, old[:1]))
    assert said(raft) == [AppendReply("a", "b", 2, True, 3, 0, 0)]
    assert raft.violations == 0
    # Reference: section 5.3, with section 7 (what is committed agrees with every leader)


def test_a_leader_that_contradicts_a_snapshot_is_not_believed() -> None:
    raft = server(term=2)
    assert arrives_whole(raft, chunk(5, snapshot_term=2))
    take(raft)
    raft.step(AppendRequest("b", "a", 2, 4, 1, 5, (Entry(5, 1, "x"), Entry(6, 1, "x"))))
    assert (raft.violations, terms_of(raft)) == (1, {5: 2})
    # Reference: section 5.4.3 (State Machine Safety)


def test_a_server_starts_behind_its_snapshot() -> None:
    log = RaftLog([Entry(6, 3, "x")], 5, 2, MEMBERS)
    raft = Raft(
        name="a",
        settings=server()._settings,
        random=server()._random,
        hard_state=server(term=3)._ledger.durable_hard_state,
        log=log,
        now_ns=0,
    )
    assert (raft.commit_index, raft._ledger.durable_index) == (5, 6)
    raft.step(VoteRequest("b", "a", 4, 5, 3))
    assert raft.voted_for is None, "the term below the log comes from the snapshot"
    # Reference: section 7; section 5.4.1


# The leader.


def behind_a_snapshot(**numbers: int) -> Raft:
    """A leader whose log begins behind 3, where b is known to hold nothing."""
    raft = lead(server(terms=(1, 1, 1), term=1))
    take(raft)
    assert raft.compact(3) == 3
    assert raft.leadership is not None
    raft.leadership.followers["b"] = Progress(next_index=5, now_ns=raft._now_ns, inflight_max=4)
    raft.step(AppendReply("b", "a", raft.term, False, 4, 0, 0))
    return raft


def wanted(raft: Raft) -> list[ChunkWanted]:
    return [one for ready in take(raft)[0] for one in ready.chunks_wanted]


def flow_of(raft: Raft, name: str) -> Flow:
    assert raft.leadership is not None
    return raft.leadership.followers[name].flow


def send_chunk(raft: Raft, index: int, offset: int) -> None:
    text = MEMBERS.to_text()
    raft.chunk(SnapshotChunk("a", "b", raft.term, index, 1, text, 9, 0, offset, "AAAA"))
    take(raft)


def test_a_follower_that_needs_what_is_gone_gets_a_snapshot() -> None:
    raft = behind_a_snapshot()
    assert wanted(raft) == []  # first it is asked for what lies at the base
    raft.step(AppendReply("b", "a", raft.term, False, 3, 0, 0))
    assert wanted(raft) == [ChunkWanted("b", 0, 0)]
    assert flow_of(raft, "b") is Flow.SNAPSHOT
    assert wanted(raft) == [], "one chunk at a time"
    # Reference: section 7


def test_chunks_follow_each_other_and_then_the_log_goes_on() -> None:
    raft = behind_a_snapshot()
    take(raft)
    raft.step(AppendReply("b", "a", raft.term, False, 3, 0, 0))
    take(raft)
    for offset in (0, 3, 6):
        send_chunk(raft, 3, offset)
        if offset < 6:
            raft.step(SnapshotReply("b", "a", raft.term, 3, offset + 3, success=False))
            assert wanted(raft) == [ChunkWanted("b", 3, offset + 3)]
    raft.step(SnapshotReply("b", "a", raft.term, 3, 0, success=True))
    assert flow_of(raft, "b") is Flow.REPLICATE
    sent = [message for message in said(raft) if isinstance(message, AppendRequest)]
    assert [(m.target, m.prev_index, m.prev_term, len(m.entries)) for m in sent] == [("b", 3, 1, 1)]
    # Reference: section 7, figure 12


def test_a_receiver_that_has_a_part_already_is_sent_the_rest() -> None:
    raft = behind_a_snapshot()
    take(raft)
    raft.step(AppendReply("b", "a", raft.term, False, 3, 0, 0))
    take(raft)
    send_chunk(raft, 3, 0)
    raft.step(SnapshotReply("b", "a", raft.term, 3, 6, success=False))
    assert wanted(raft) == [ChunkWanted("b", 3, 6)]
    # Reference: section 7 (chunks have offsets)


def test_a_chunk_that_got_lost_is_sent_again() -> None:
    raft = behind_a_snapshot()
    take(raft)
    raft.step(AppendReply("b", "a", raft.term, False, 3, 0, 0))
    take(raft)
    send_chunk(raft, 3, 0)
    raft.step(SnapshotReply("b", "a", raft.term, 3, 3, success=False))
    take(raft)
    send_chunk(raft, 3, 3)
    for _ in range(CHUNK_DOUBTS_MAX - 1):
        answer_heartbeats(raft, "b")
        assert wanted(raft) == [], "it may be on its way"
    answer_heartbeats(raft, "b")
    assert wanted(raft) == [ChunkWanted("b", 3, 3)]
    # Reference: section 5.5 (RPCs are retried), with section 7


def test_a_second_answer_to_one_chunk_does_not_double_the_stream() -> None:
    raft = behind_a_snapshot()
    take(raft)
    raft.step(AppendReply("b", "a", raft.term, False, 3, 0, 0))
    take(raft)
    send_chunk(raft, 3, 0)
    for again in (False, True):
        raft.step(SnapshotReply("b", "a", raft.term, 3, 3, success=False))
        assert wanted(raft) == ([] if again else [ChunkWanted("b", 3, 3)])
        if not again:
            send_chunk(raft, 3, 3)
    # Reference: section 7 (one chunk after the other)


def test_a_newer_snapshot_begins_at_its_beginning() -> None:
    raft = behind_a_snapshot()
    take(raft)
    raft.step(AppendReply("b", "a", raft.term, False, 3, 0, 0))
    take(raft)
    send_chunk(raft, 3, 0)
    raft.step(SnapshotReply("b", "a", raft.term, 3, 3, success=False))
    take(raft)
    send_chunk(raft, 4, 0)  # the driver has a newer one by now
    raft.step(SnapshotReply("b", "a", raft.term, 3, 6, success=False))  # an answer to the old one
    assert wanted(raft) == []
    raft.step(SnapshotReply("b", "a", raft.term, 4, 3, success=False))
    assert wanted(raft) == [ChunkWanted("b", 4, 3)]
    # Reference: section 7


def test_an_answer_of_a_follower_that_holds_more_than_anybody_can_is_not_believed() -> None:
    raft = behind_a_snapshot()
    take(raft)
    raft.step(SnapshotReply("b", "a", raft.term, 99, 0, success=True))
    assert raft.leadership is not None
    assert raft.leadership.followers["b"].match_index == 0
    # Reference: section 7 (a snapshot holds what is committed)


# Compaction.


def test_the_log_is_forgotten_as_far_as_it_is_committed_and_durable() -> None:
    raft = lead(server())
    for _ in range(4):
        raft.propose("x")
    ready = raft.ready()
    assert ready is not None  # not durable here yet
    acknowledge(raft, "b", 5)
    acknowledge(raft, "c", 4)
    assert (raft.commit_index, raft._ledger.durable_index) == (4, 1)
    assert raft.compact(4) == 1
    raft.persisted(ready.seq)
    assert raft.compact(9) == 5
    assert (raft.log.first_index, raft.log.last_index, raft.log.term(5)) == (6, 5, 1)
    assert raft.compact(2) == 5
    # Reference: section 7 ("each server takes snapshots independently, covering just the committed
    # entries in its log")


def test_a_configuration_outlives_the_entry_that_brought_it() -> None:
    raft = lead(server())
    raft.change(raft.log.configuration.with_member("d", "d:1", "d:2"))
    raft.propose("x")
    take(raft)
    acknowledge(raft, "b", 3)
    with_d = raft.log.configuration
    assert raft.log.configuration_at(1) == configuration_of("a", "b", "c")
    assert raft.compact(2) == 2
    assert (raft.log.configuration, raft.log.configuration_at(2)) == (with_d, with_d)
    assert raft.compact(3) == 3
    assert raft.log.configuration_at(3) == with_d
    # Reference: section 7


def test_a_log_that_was_compacted_goes_on_as_before() -> None:
    raft = lead(server())
    raft.propose("x")
    take(raft)
    acknowledge(raft, "b", 2)
    assert raft.compact(2) == 2
    raft.propose("y")
    take(raft)
    acknowledge(raft, "b", 3)
    assert raft.commit_index == 3
    assert raft.has_lease(raft._now_ns) is False
    raft.read(1)
    take(raft)
    answer_heartbeats(raft, "b")
    assert [g.index for ready in take(raft)[0] for g in ready.reads_ready] == [3]
    # Reference: section 7


def test_the_disk_is_given_everything_whatever_is_compacted_meanwhile() -> None:
    ledger, log = Ledger(server()._ledger.durable_hard_state, 0), RaftLog()
    log.append([Entry(index, 1, "x") for index in (1, 2, 3)])
    handed = ledger.hand_out(log, ledger.durable_hard_state, 0)
    assert len(handed.entries) == 3
    ledger.persisted(1)
    log.append([Entry(4, 1, "x")])
    log.compact(3)
    assert ledger.hand_out(log, ledger.durable_hard_state, 0).entries == log.since(4)
    assert log.configuration == Configuration()
    # Reference: figure 2 (persistent state)
