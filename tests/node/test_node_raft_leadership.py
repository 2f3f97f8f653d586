"""How a leadership ends, and the reads it serves; each test ends with its reference.

Raft = Ongaro & Ousterhout 2014 (extended version); dissertation = Ongaro 2014.
"""

from servers import acknowledge, advance, commit_no_op, elect, role_of, said, server, take

from node.core.messages import (
    Heartbeat,
    HeartbeatReply,
    ReadIndexReply,
    ReadIndexRequest,
)
from node.core.settings import MS, Role

# Leadership ends.


def test_a_leader_that_hears_no_majority_steps_down_and_falls_silent() -> None:
    raft = server(members="abcde")
    elect(raft)
    take(raft)
    for _ in range(15):
        advance(raft, 50)
        raft.step(HeartbeatReply("b", "a", raft.term, 0))
    assert role_of(raft) is Role.FOLLOWER
    assert raft.leader is None
    take(raft)
    raft._now_ns += MS
    assert not any(isinstance(message, Heartbeat) for message in said(raft))
    # Reference: dissertation section 6.2


def test_a_leader_whose_disk_stalls_steps_down() -> None:
    raft = server()
    elect(raft)
    take(raft)
    raft.propose("x")
    assert raft.ready() is not None  # never durable
    for _ in range(25):
        advance(raft, 50)
        for other in ("b", "c"):
            raft.step(HeartbeatReply(other, "a", raft.term, 0))
    assert role_of(raft) is Role.FOLLOWER
    # Reference: dissertation section 6.2, applied to the leader's own disk


# Reads.


def test_a_read_waits_for_a_majority_to_answer_its_round() -> None:
    raft = server()
    elect(raft)
    commit_no_op(raft)
    assert raft.read(7)
    readies, messages = take(raft)
    beats = [message for message in messages if isinstance(message, Heartbeat)]
    assert len(beats) == 2
    assert not any(ready.reads_ready for ready in readies)
    number = beats[0].round
    raft.step(HeartbeatReply("b", "a", raft.term, number - 1))
    assert not any(ready.reads_ready for ready in take(raft)[0])
    raft.step(HeartbeatReply("b", "a", raft.term, number))
    (grant,) = [grant for ready in take(raft)[0] for grant in ready.reads_ready]
    assert (grant.context, grant.index) == (7, 1)
    # Reference: section 8; dissertation section 6.4


def test_an_answer_to_an_earlier_round_confirms_no_later_read() -> None:
    raft = server()
    elect(raft)
    commit_no_op(raft)
    raft.read(1)
    take(raft)
    assert raft.leadership is not None
    first = raft.leadership.rounds.number
    raft.read(2)
    take(raft)
    raft.step(HeartbeatReply("b", "a", raft.term, first))
    grants = [grant.context for ready in take(raft)[0] for grant in ready.reads_ready]
    assert grants == [1]
    # Reference: dissertation section 6.4 (a new round of heartbeats for each read index)


def test_a_new_leader_serves_no_read_before_its_no_op_commits() -> None:
    raft = server(terms=(1,), term=1)
    elect(raft)
    assert raft.read(1)
    take(raft)
    raft.step(HeartbeatReply("b", "a", raft.term, 0))
    assert raft.leadership is not None
    assert raft.leadership.rounds.number == 0
    acknowledge(raft, "b", 2)
    take(raft)
    raft.step(HeartbeatReply("b", "a", raft.term, 1))
    (grant,) = [grant for ready in take(raft)[0] for grant in ready.reads_ready]
    assert grant.index == 2
    # Reference: section 8


def test_reads_end_with_the_leadership() -> None:
    raft = server()
    elect(raft)
    commit_no_op(raft)
    raft.read(1)
    take(raft)
    raft.step(Heartbeat("b", "a", raft.term + 1, 0, 0))
    assert [ready.reads_aborted for ready in take(raft)[0] if ready.reads_aborted] == [(1,)]
    # Reference: section 8


def test_a_follower_asks_the_leader_in_batches_that_nobody_joins_late() -> None:
    raft = server(term=1)
    assert not raft.read(0)  # no leader is known
    raft.step(Heartbeat("b", "a", 1, 0, 0))
    take(raft)
    raft.read(1)
    raft.read(2)
    (first,) = said(raft)
    raft.read(3)
    (second,) = said(raft)
    assert isinstance(first, ReadIndexRequest)
    assert isinstance(second, ReadIndexRequest)
    assert first.request != second.request
    raft.step(ReadIndexReply("b", "a", 1, first.request, granted=True, index=5))
    (ready,) = take(raft)[0]
    assert [grant.context for grant in ready.reads_ready] == [1, 2]
    raft.step(ReadIndexReply("b", "a", 1, second.request, granted=False, index=0))
    (ready,) = take(raft)[0]
    assert ready.reads_aborted == (3,)
    # Reference: dissertation section 6.4


def test_a_leader_confirms_a_followers_read_with_a_round_of_its_own() -> None:
    raft = server()
    elect(raft)
    commit_no_op(raft)
    raft.step(ReadIndexRequest("b", "a", raft.term, 9))
    beats = [message for message in said(raft) if isinstance(message, Heartbeat)]
    raft.step(HeartbeatReply("c", "a", raft.term, beats[0].round))
    assert said(raft) == [ReadIndexReply("a", "b", raft.term, 9, granted=True, index=1)]
    # Reference: dissertation section 6.4


def test_a_restarted_follower_takes_no_answer_to_a_question_from_before() -> None:
    """The term is the same and the leader too: only the number tells the two questions apart."""
    asked = []
    for started_ns in (1_000_000, 2_000_000):
        raft = server(term=1, now_ns=started_ns)
        raft.step(Heartbeat("b", "a", 1, 0, 0))
        take(raft)
        raft.read(1)
        (request,) = said(raft)
        assert isinstance(request, ReadIndexRequest)
        asked.append(request.request)
    assert asked[1] > asked[0]
    raft.step(ReadIndexReply("b", "a", 1, asked[0], granted=True, index=1))
    assert take(raft)[0] == []


def test_a_follower_asks_again_under_a_new_number_when_no_answer_comes() -> None:
    raft = server(term=1)
    raft.step(Heartbeat("b", "a", 1, 0, 0))
    take(raft)
    raft.read(1)
    (first,) = said(raft)
    advance(raft, 190)
    assert said(raft) == []
    advance(raft, 10)
    (second,) = said(raft)
    assert isinstance(first, ReadIndexRequest)
    assert isinstance(second, ReadIndexRequest)
    raft.step(ReadIndexReply("b", "a", 1, first.request, granted=True, index=5))
    assert take(raft)[0] == []
    raft.step(ReadIndexReply("b", "a", 1, second.request, granted=True, index=6))
    (ready,) = take(raft)[0]
    assert [(grant.context, grant.index) for grant in ready.reads_ready] == [(1, 6)]
    # Reference: dissertation section 6.4
