"""Handing over the leadership, and leases; each test ends with its reference.

Raft = Ongaro & Ousterhout 2014 (extended version); dissertation = Ongaro 2014.
"""

from servers import (
    acknowledge,
    advance,
    answer_heartbeats,
    commit_no_op,
    configuration_of,
    elect,
    keep_alive,
    lead,
    role_of,
    said,
    server,
    take,
)

from node.core.messages import (
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    PreVoteRequest,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from node.core.raft import Raft
from node.core.settings import MS, Role, Settings

LEASES = Settings(election_timeout_ns=500 * MS, heartbeat_interval_ns=50 * MS, leases=True)
"""A lease lasts 0.8 of 500 ms."""


def offers(raft: Raft) -> list[str]:
    return [message.target for message in said(raft) if isinstance(message, TimeoutNow)]


def leased() -> Raft:
    """A leader whose lease began now."""
    raft = lead(server(settings=LEASES))
    advance(raft, 60)
    take(raft)
    answer_heartbeats(raft, "b", "c")
    assert raft.has_lease(raft._now_ns)
    return raft


# Handing over.


def test_a_transfer_stops_proposals_and_changes_but_not_commits() -> None:
    raft = lead(server())
    index = raft.propose("before")
    assert index == (2, 1)
    take(raft)
    assert raft.transfer("b")
    assert raft.propose("x") is None
    assert raft.change(raft.log.configuration.without("c")) is None
    acknowledge(raft, "c", 2)
    assert raft.commit_index == 2
    # Reference: dissertation section 3.10 ("the prior leader stops accepting new client requests")


def test_the_target_is_told_when_it_holds_the_whole_log_and_once() -> None:
    raft = lead(server())
    raft.propose("x")
    raft.propose("y")
    take(raft)
    assert raft.transfer("b")
    assert offers(raft) == []
    acknowledge(raft, "b", 2)
    acknowledge(raft, "c", 3)
    assert offers(raft) == []
    acknowledge(raft, "b", 3)
    assert offers(raft) == ["b"]
    acknowledge(raft, "b", 3)
    answer_heartbeats(raft, "b", "c")
    assert offers(raft) == []
    # Reference: dissertation section 3.10 (steps 2 and 3)


def test_a_target_that_is_up_to_date_is_told_at_once() -> None:
    raft = lead(server())
    assert raft.transfer("c")
    assert offers(raft) == ["c"]
    # Reference: dissertation section 3.10


def test_a_target_that_is_brought_up_to_date_by_a_snapshot_is_told_too() -> None:
    raft = lead(server(terms=(1, 1, 1), term=1))
    raft.compact(4)
    assert raft.leadership is not None
    raft.leadership.followers["b"].match_index = 0
    raft.leadership.followers["b"].needs_snapshot()
    assert raft.transfer("b")
    assert offers(raft) == []
    raft.step(SnapshotReply("b", "a", raft.term, 4, 0, success=True))
    assert offers(raft) == ["b"]
    # Reference: dissertation section 3.10, with section 5


def test_only_voters_who_are_somebody_else_can_take_over() -> None:
    raft = lead(server(configuration=configuration_of("a", "b", learners="d")))
    assert not any(raft.transfer(target) for target in ("a", "d", "x"))
    assert raft.transfer("b")
    assert not raft.transfer("b")
    assert not server().transfer("b")
    # Reference: dissertation section 3.10, with section 4.2.1


def test_a_transfer_ends_after_an_election_timeout() -> None:
    raft = lead(server())
    raft.transfer("b")
    keep_alive(raft, 490, "b", "c")
    assert raft.propose("x") is None
    keep_alive(raft, 20, "b", "c")
    assert raft.propose("x") is not None
    assert role_of(raft) is Role.LEADER
    assert raft.transfer("b")
    # Reference: dissertation section 3.10 ("if leadership transfer does not complete after about
    # an election timeout, the prior leader aborts")


def test_the_target_stands_at_once_without_a_pre_vote() -> None:
    raft = server(term=1)
    raft.step(Heartbeat("b", "a", 1, 0, 1))
    take(raft)
    raft.step(TimeoutNow("b", "a", 1))
    assert (role_of(raft), raft.term) == (Role.CANDIDATE, 2)
    assert said(raft) == [VoteRequest("a", other, 2, 0, 0, forced=True) for other in "bc"]
    raft.step(Heartbeat("b", "a", 1, 0, 2))  # the old leader does not know yet
    assert role_of(raft) is Role.CANDIDATE
    assert said(raft) == [HeartbeatReply("a", "b", 2, 0)]
    # Reference: dissertation section 3.10


def test_only_the_leader_of_this_term_can_ask_a_voter_to_stand() -> None:
    raft = server(term=2)
    raft.step(Heartbeat("b", "a", 2, 0, 1))
    take(raft)
    for source, term in (("c", 2), ("b", 1)):
        raft.step(TimeoutNow(source, "a", term))
    assert role_of(raft) is Role.FOLLOWER
    learner = server(name="d", configuration=configuration_of("a", "b", learners="d"), term=2)
    learner.step(Heartbeat("b", "d", 2, 0, 1))
    learner.step(TimeoutNow("b", "d", 2))
    assert role_of(learner) is Role.FOLLOWER
    # Reference: dissertation section 3.10


def test_a_whole_transfer_among_three() -> None:
    nodes = {name: server(name=name, settings=LEASES) for name in "abc"}
    lead_by_messages(nodes, "a")
    nodes["a"].transfer("b")
    deliver_all(nodes)
    assert {name: role_of(node) for name, node in nodes.items()} == {
        "a": Role.FOLLOWER, "b": Role.LEADER, "c": Role.FOLLOWER,
    }  # fmt: skip
    assert nodes["b"].propose("x") is not None
    # Reference: dissertation section 3.10


def lead_by_messages(nodes: dict[str, Raft], name: str) -> None:
    while role_of(nodes[name]) is not Role.LEADER:
        advance(nodes[name], 10)
        for other in nodes.values():
            other._now_ns = nodes[name]._now_ns
        deliver_all(nodes)


def deliver_all(nodes: dict[str, Raft]) -> None:
    while messages := [message for node in nodes.values() for message in said(node)]:
        for message in messages:
            nodes[message.target].step(message)


# Leases.


def test_leases_are_off_unless_asked_for() -> None:
    raft = lead(server())
    advance(raft, 60)
    take(raft)
    answer_heartbeats(raft, "b", "c")
    assert not raft.has_lease(raft._now_ns)
    assert not Settings().leases
    # Reference: dissertation section 6.4.1 (they rest on an assumption about clocks)


def test_a_lease_begins_when_the_heartbeats_left_not_when_they_were_answered() -> None:
    raft = lead(server(settings=LEASES))
    advance(raft, 60)
    take(raft)
    assert raft.leadership is not None
    number, sent_ns = raft.leadership.rounds._sent[-1]
    for _ in range(30):
        advance(raft, 10)
    raft.step(HeartbeatReply("b", "a", raft.term, number))
    assert raft.has_lease(sent_ns + 399 * MS)
    assert not raft.has_lease(sent_ns + 400 * MS)
    # Reference: dissertation section 6.4.1 ("after the START of the heartbeat round")


def test_a_lease_needs_a_majority() -> None:
    raft = lead(server(members="abcde", settings=LEASES))
    advance(raft, 60)
    take(raft)
    answer_heartbeats(raft, "b")
    assert not raft.has_lease(raft._now_ns)
    answer_heartbeats(raft, "b", "c")
    assert raft.has_lease(raft._now_ns)
    # Reference: dissertation section 6.4.1


def test_an_answer_to_an_earlier_round_prolongs_no_lease() -> None:
    raft = leased()
    assert raft.leadership is not None
    number = raft.leadership.rounds.number
    begun_ns = raft.leadership.rounds.lease_from_ns
    advance(raft, 200)
    take(raft)
    raft.step(HeartbeatReply("b", "a", raft.term, number))
    assert raft.leadership.rounds.number > number
    assert raft.leadership.rounds.lease_from_ns == begun_ns
    # Reference: dissertation section 6.4.1


def test_there_is_no_lease_before_an_entry_of_the_own_term_is_committed() -> None:
    raft = server(terms=(1,), term=1, settings=LEASES)
    elect(raft)
    take(raft)
    advance(raft, 60)
    take(raft)
    answer_heartbeats(raft, "b", "c")
    assert not raft.has_lease(raft._now_ns)
    commit_no_op(raft)
    assert raft.has_lease(raft._now_ns)
    # Reference: dissertation section 6.4 (step 1), section 6.4.1


def test_a_lease_ends_for_good_before_the_offer_leaves() -> None:
    raft = leased()
    raft.propose("x")
    take(raft)
    raft.transfer("b")
    assert raft.has_lease(raft._now_ns), "nobody has been told yet"
    acknowledge(raft, "b", 2)
    assert not raft.has_lease(raft._now_ns)
    assert offers(raft) == ["b"]
    keep_alive(raft, 2000, "b", "c")  # the offer may be late; so the lease never comes back
    assert role_of(raft) is Role.LEADER
    assert raft.propose("y") is not None
    assert not raft.has_lease(raft._now_ns)
    # Reference: dissertation section 6.4.1, with section 3.10


def test_a_lease_ends_with_the_leadership() -> None:
    raft = leased()
    raft.step(Heartbeat("b", "a", raft.term + 1, 0, 1))
    assert not raft.has_lease(raft._now_ns)
    # Reference: dissertation section 6.4.1


def test_who_has_heard_a_leader_votes_for_nobody_else_for_an_election_timeout() -> None:
    raft = server(term=1, settings=LEASES)
    advance(raft, 600)
    raft.step(Heartbeat("b", "a", 1, 0, 1))
    take(raft)
    advance(raft, 490)
    raft.step(VoteRequest("c", "a", 5, 9, 4))
    assert (raft.term, said(raft)) == (1, [])
    raft._now_ns += 10 * MS
    raft.step(VoteRequest("c", "a", 5, 9, 4))
    assert said(raft) == [VoteReply("a", "c", 5, granted=True)]
    # Reference: section 6 ("servers disregard RequestVote RPCs when they believe a current leader
    # exists"); dissertation section 6.4.1


def test_a_forced_election_asks_for_no_patience() -> None:
    raft = server(term=1, settings=LEASES)
    raft.step(Heartbeat("b", "a", 1, 0, 1))
    take(raft)
    raft.step(VoteRequest("c", "a", 2, 9, 1, forced=True))
    assert said(raft) == [VoteReply("a", "c", 2, granted=True)]
    # Reference: dissertation section 3.10, section 4.2.3


def test_a_leader_is_not_deposed_by_a_vote_while_it_may_hold_a_lease() -> None:
    raft = leased()
    raft.step(VoteRequest("c", "a", raft.term + 3, 9, raft.term))
    assert role_of(raft) is Role.LEADER
    # Reference: dissertation section 4.2.3


def test_a_server_that_just_started_keeps_the_promise_it_may_have_made() -> None:
    raft = server(term=1, settings=LEASES, now_ns=7_000 * MS)
    raft.step(VoteRequest("c", "a", 2, 9, 1))
    raft.step(PreVoteRequest("c", "a", 2, 9, 1))
    assert said(raft) == [PreVoteReply("a", "c", 1, granted=False)]
    assert raft.term == 1
    raft._now_ns += 500 * MS
    raft.step(PreVoteRequest("c", "a", 2, 9, 1))
    raft.step(VoteRequest("c", "a", 2, 9, 1))
    assert said(raft) == [
        PreVoteReply("a", "c", 2, granted=True),
        VoteReply("a", "c", 2, granted=True),
    ]
    # Reference: dissertation section 6.4.1 (what leases stand on must outlive a restart)


def test_without_leases_a_restarted_server_votes_at_once() -> None:
    raft = server(term=1, now_ns=7_000 * MS)
    raft.step(VoteRequest("c", "a", 2, 9, 1))
    assert said(raft) == [VoteReply("a", "c", 2, granted=True)]
    # Reference: section 5.2
