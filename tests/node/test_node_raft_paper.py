"""One server against the sentences of the Raft paper; each test ends with its reference.

Raft = Ongaro & Ousterhout 2014 (extended version); dissertation = Ongaro 2014.
"""

import pytest
from servers import acknowledge, advance, elect, role_of, said, server, take

from node.core.messages import (
    NOOP,
    AppendReply,
    AppendRequest,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
)
from node.core.raft import Raft
from node.core.settings import MS, Role


def append(raft: Raft, term: int, prev: tuple[int, int], *terms: int, commit: int = 0) -> None:
    entries = tuple(Entry(prev[0] + i, t, f"new{i}") for i, t in enumerate(terms, 1))
    raft.step(AppendRequest("b", raft.name, term, *prev, commit, entries))


def terms_of(raft: Raft) -> list[int | None]:
    return [raft.log.term(index) for index in range(1, raft.log.last_index + 1)]


# Elections.


def test_a_server_starts_as_follower_and_stays_while_it_hears_the_leader() -> None:
    raft = server(term=1)
    assert role_of(raft) is Role.FOLLOWER
    for _ in range(40):
        advance(raft, 50)
        raft.step(Heartbeat("b", "a", 1, 0, 0))
    assert role_of(raft) is Role.FOLLOWER
    assert raft.leader == "b"
    # Reference: section 5.2


def test_silence_for_an_election_timeout_starts_a_pre_vote_without_a_new_term() -> None:
    raft = server(term=3)
    take(raft)
    advance(raft, 490)
    assert role_of(raft) is Role.FOLLOWER
    advance(raft, 520)
    assert role_of(raft) is Role.PRE_CANDIDATE
    assert raft.term == 3
    assert said(raft) == [PreVoteRequest("a", other, 4, 0, 0) for other in ("b", "c")]
    # Reference: section 5.2; dissertation section 9.6


def test_a_candidate_increments_its_term_votes_for_itself_and_asks_all_others() -> None:
    raft = server(terms=(1, 2), term=2)
    advance(raft, 1000)
    take(raft)
    raft.step(PreVoteReply("b", "a", 3, granted=True))
    assert role_of(raft) is Role.CANDIDATE
    ready = raft.ready()
    assert ready is not None
    assert ready.hard_state == HardState(3, "a")
    # Nothing speaks for the new term before it is durable.
    assert ready.messages == ()
    assert ready.messages_after_persist == tuple(
        VoteRequest("a", other, 3, 2, 2) for other in ("b", "c")
    )
    # Reference: section 5.2, figure 2 (rules for candidates; persistent state)


def test_the_own_vote_counts_only_when_durable() -> None:
    raft = server()
    advance(raft, 1000)
    take(raft)
    raft.step(PreVoteReply("b", "a", 1, granted=True))
    ready = raft.ready()
    assert ready is not None
    raft.step(VoteReply("b", "a", 1, granted=True))
    assert role_of(raft) is Role.CANDIDATE
    raft.persisted(ready.seq)
    assert role_of(raft) is Role.LEADER
    # Reference: figure 2 (persistent state on all servers)


@pytest.mark.parametrize(
    ("size", "votes", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {"b": True}, Role.LEADER),
        (3, {"b": False}, Role.CANDIDATE),
        (3, {"b": False, "c": False}, Role.FOLLOWER),
        (5, {"b": True}, Role.CANDIDATE),
        (5, {"b": True, "c": True}, Role.LEADER),
        (5, {"b": False, "c": False, "d": False}, Role.FOLLOWER),
    ],
)
def test_a_majority_of_votes_wins(size: int, votes: dict[str, bool], role: Role) -> None:
    raft = server(members="abcde"[:size])
    advance(raft, 1000)
    take(raft)
    for other in "abcde"[1:size]:
        raft.step(PreVoteReply(other, "a", 1, granted=True))
    take(raft)
    for voter, granted in votes.items():
        raft.step(VoteReply(voter, "a", 1, granted=granted))
        raft.step(VoteReply(voter, "a", 1, granted=granted))  # a repeated one counts once
    assert raft.role is role
    # Reference: section 5.2


def test_a_vote_of_an_earlier_candidacy_counts_for_nothing() -> None:
    raft = server(members="abc")
    advance(raft, 1000)
    take(raft)
    raft.step(PreVoteReply("b", "a", 1, granted=True))
    take(raft)
    assert (role_of(raft), raft.term) == (Role.CANDIDATE, 1)
    advance(raft, 1100)
    take(raft)
    raft.step(PreVoteReply("b", "a", 2, granted=True))
    take(raft)
    assert (role_of(raft), raft.term) == (Role.CANDIDATE, 2)
    raft.step(VoteReply("b", "a", 1, granted=True))  # it was under way all the time
    assert role_of(raft) is Role.CANDIDATE
    raft.step(VoteReply("b", "a", 2, granted=True))
    assert role_of(raft) is Role.LEADER
    # Reference: section 5.2 ("for the same term")


def test_each_server_votes_for_one_candidate_a_term_first_come_first_served() -> None:
    raft = server(term=1)
    raft.step(VoteRequest("b", "a", 2, 0, 0))
    raft.step(VoteRequest("c", "a", 2, 0, 0))
    raft.step(VoteRequest("b", "a", 2, 0, 0))  # its answer may have been lost
    replies = [message for message in said(raft) if isinstance(message, VoteReply)]
    assert [(reply.target, reply.granted) for reply in replies] == [
        ("b", True),
        ("c", False),
        ("b", True),
    ]
    # Reference: section 5.2


def test_a_vote_is_durable_before_it_is_given() -> None:
    raft = server()
    raft.step(VoteRequest("b", "a", 1, 0, 0))
    ready = raft.ready()
    assert ready is not None
    assert ready.hard_state == HardState(1, "b")
    assert ready.messages == ()
    assert ready.messages_after_persist == (VoteReply("a", "b", 1, granted=True),)
    # Reference: figure 2 (persistent state on all servers)


@pytest.mark.parametrize(
    ("own", "last_index", "last_term", "granted"),
    [
        ((1, 1), 2, 1, True),
        ((1, 1), 1, 2, True),
        ((1, 1), 1, 1, False),
        ((1, 2), 5, 1, False),
        ((1, 2), 1, 2, False),
        ((), 0, 0, True),
    ],
)
def test_a_voter_refuses_a_candidate_whose_log_is_less_up_to_date(
    own: tuple[int, ...], last_index: int, last_term: int, granted: bool
) -> None:
    raft = server(terms=own, term=2)
    raft.step(VoteRequest("b", "a", 3, last_index, last_term))
    assert said(raft)[-1] == VoteReply("a", "b", 3, granted=granted)
    # Reference: section 5.4.1


def test_a_vote_survives_a_restart() -> None:
    raft = server(term=2, voted_for="b")
    raft.step(VoteRequest("c", "a", 2, 0, 0))
    assert said(raft) == [VoteReply("a", "c", 2, granted=False)]
    # Reference: figure 2 (persistent state on all servers)


def test_a_pre_vote_changes_no_state_and_is_refused_while_a_leader_is_heard() -> None:
    raft = server(term=1)
    raft.step(Heartbeat("b", "a", 1, 0, 0))
    take(raft)
    raft.step(PreVoteRequest("c", "a", 2, 9, 1))
    assert said(raft) == [PreVoteReply("a", "c", 1, granted=False)]
    raft.step(PreVoteRequest("b", "a", 2, 9, 1))  # the leader itself lost its leadership
    assert said(raft) == [PreVoteReply("a", "b", 2, granted=True)]
    due_ns = raft._election_due_ns
    advance(raft, 490)
    raft._now_ns += 10 * MS
    raft.step(PreVoteRequest("c", "a", 2, 9, 1))
    assert said(raft) == [PreVoteReply("a", "c", 2, granted=True)]
    assert (raft.term, raft.voted_for, raft._election_due_ns) == (1, None, due_ns)
    # Reference: dissertation section 9.6


def test_a_refused_pre_vote_brings_a_newer_term() -> None:
    raft = server(term=1)
    advance(raft, 1000)
    raft.step(PreVoteReply("b", "a", 7, granted=False))
    assert (raft.role, raft.term) == (Role.FOLLOWER, 7)
    # Reference: section 5.1


def test_timeouts_are_drawn_anew_from_one_to_two_times_the_base() -> None:
    raft = server()
    seen = set()
    for _ in range(200):
        raft._reset_election_timer()
        timeout_ns = raft._election_due_ns - raft._now_ns
        assert 500 * MS <= timeout_ns < 1000 * MS
        seen.add(timeout_ns)
    assert len(seen) > 100
    # Reference: section 5.2


def test_a_stopped_process_listens_before_it_campaigns() -> None:
    raft = server(term=1)
    raft.tick(60_000 * MS)
    assert role_of(raft) is Role.FOLLOWER
    advance(raft, 1000)
    assert role_of(raft) is Role.PRE_CANDIDATE
    # Reference: section 5.2 (an election follows silence, and a stopped process heard nothing)


# Terms.


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.PRE_CANDIDATE, Role.LEADER])
def test_a_newer_term_makes_any_server_a_follower(role: Role) -> None:
    raft = server(term=1)
    if role is Role.LEADER:
        elect(raft)
    elif role is Role.PRE_CANDIDATE:
        advance(raft, 1000)
    append(raft, 9, (0, 0))
    assert (raft.role, raft.term, raft.leader) == (Role.FOLLOWER, 9, "b")
    # Reference: section 5.1


def test_an_outdated_leader_is_refused_and_told_the_term() -> None:
    raft = server(term=5, terms=(1,))
    append(raft, 4, (1, 1), 4)
    assert terms_of(raft) == [1]
    (reply,) = said(raft)
    assert isinstance(reply, AppendReply)
    assert (reply.success, reply.term) == (False, 5)
    raft.step(Heartbeat("b", "a", 4, 1, 3))
    assert said(raft) == [HeartbeatReply("a", "b", 5, 0)]
    assert raft.leader is None
    # Reference: section 5.1; dissertation section 9.6


# Log replication.


@pytest.mark.parametrize(
    ("own", "prev", "new", "success", "result"),
    [
        ((), (0, 0), (1,), True, [1]),
        ((1,), (1, 1), (1, 2), True, [1, 1, 2]),
        ((1,), (2, 1), (2,), False, [1]),  # a gap
        ((1, 1), (2, 2), (2,), False, [1, 1]),  # another term before it
        ((1, 1, 1), (1, 1), (2,), True, [1, 2]),  # a conflict cuts what follows
        ((1, 1, 2), (0, 0), (1,), True, [1, 1, 2]),  # a late message cuts nothing
        ((1, 1, 2), (1, 1), (), True, [1, 1, 2]),
        ((1, 1), (0, 0), (1, 2, 2), True, [1, 2, 2]),
    ],
)
def test_the_consistency_check_and_what_is_cut(
    own: tuple[int, ...],
    prev: tuple[int, int],
    new: tuple[int, ...],
    success: bool,
    result: list[int],
) -> None:
    raft = server(terms=own, term=2)
    append(raft, 2, prev, *new)
    assert terms_of(raft) == result
    (reply,) = said(raft)
    assert isinstance(reply, AppendReply)
    assert reply.success is success
    assert reply.index == (prev[0] + len(new) if success else prev[0])
    # Reference: section 5.3, figure 2 (AppendEntries RPC); figure 7


def test_entries_are_durable_before_they_are_acknowledged() -> None:
    raft = server(term=1)
    append(raft, 1, (0, 0), 1, 1)
    ready = raft.ready()
    assert ready is not None
    assert [entry.index for entry in ready.entries] == [1, 2]
    assert not any(isinstance(message, AppendReply) for message in ready.messages)
    assert any(isinstance(message, AppendReply) for message in ready.messages_after_persist)
    # Reference: figure 2 (persistent state on all servers)


def test_a_follower_commits_no_further_than_the_message_vouches_for() -> None:
    raft = server(terms=(1, 1, 1), term=2)
    append(raft, 2, (1, 1), commit=3)
    assert raft.commit_index == 1
    # Reference: figure 2 (AppendEntries RPC, step 5: index of last NEW entry)


def test_a_heartbeat_never_commits_what_the_follower_may_hold_differently() -> None:
    raft = server(terms=(1, 1), term=1)
    elect(raft)
    take(raft)
    acknowledge(raft, "b", 3)
    advance(raft, 60)
    beats = {m.target: m.commit for m in said(raft) if isinstance(m, Heartbeat)}
    assert beats == {"b": 3, "c": 0}
    # Reference: figure 2 (a heartbeat carries no consistency check here)


def test_a_leader_appends_a_no_op_and_sends_it_at_once() -> None:
    raft = server(terms=(1,), term=1)
    elect(raft)
    appends = [message for message in said(raft) if isinstance(message, AppendRequest)]
    assert appends == [
        AppendRequest("a", other, 2, 1, 1, 0, (Entry(2, 2, "", NOOP),)) for other in ("b", "c")
    ]
    # Reference: sections 5.4.2 and 8


def test_the_leader_counts_itself_only_after_its_own_disk() -> None:
    raft = server()
    elect(raft)
    ready = raft.ready()
    assert ready is not None
    acknowledge(raft, "b", 1)
    assert raft.commit_index == 0
    raft.persisted(ready.seq)
    assert raft.commit_index == 1
    # Reference: section 5.3 (stored on a majority); dissertation section 10.2.1


def test_a_majority_without_the_leader_commits_too() -> None:
    raft = server()
    elect(raft)
    assert raft.ready() is not None  # never durable
    acknowledge(raft, "b", 1)
    acknowledge(raft, "c", 1)
    assert raft.commit_index == 1
    # Reference: dissertation section 10.2.1


def test_entries_of_former_terms_are_not_committed_by_counting() -> None:
    raft = server(members="abcde", terms=(1, 2), term=3)
    elect(raft)
    take(raft)
    for follower in ("b", "c"):
        acknowledge(raft, follower, 2)
    assert raft.commit_index == 0
    for follower in ("b", "c"):
        acknowledge(raft, follower, 3)
    assert raft.commit_index == 3
    # Reference: section 5.4.2, figure 8


def test_a_leader_brings_a_follower_to_its_own_log() -> None:
    """Figure 7: every follower of the figure, by messages alone."""
    leader_terms = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
    followers = [
        (1, 1, 1, 4, 4, 5, 5, 6, 6),
        (1, 1, 1, 4),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        (1, 1, 1, 4, 4, 4, 4),
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    ]
    for terms in followers:
        leader = server(terms=leader_terms, term=7)
        elect(leader)
        follower = server(name="b", terms=terms, term=7)
        rounds = 0
        for _ in range(20):
            messages = [message for message in said(leader) if message.target == "b"]
            for message in messages:
                follower.step(message)
            replies = said(follower)
            for reply in replies:
                leader.step(reply)
            rounds += bool(replies)
        assert terms_of(follower) == terms_of(leader)
        assert rounds <= 6, "whole terms are skipped at once"
    # Reference: section 5.3, figure 7


def test_late_and_forged_answers_do_not_move_what_is_known() -> None:
    raft = server()
    elect(raft)
    for _ in range(5):
        raft.propose("x")
    take(raft)
    acknowledge(raft, "b", 6)
    take(raft)
    assert raft.commit_index == 6
    acknowledge(raft, "b", 2)
    raft.step(AppendReply("b", "a", raft.term, False, 3, 1, 1))
    acknowledge(raft, "c", 99)
    assert raft.leadership is not None
    assert raft.leadership.followers["b"].match_index == 6
    assert raft.leadership.followers["c"].match_index == 0
    # Reference: figure 2 (matchIndex increases monotonically)


def test_a_late_completion_does_not_vouch_for_a_successor_at_the_same_index() -> None:
    raft = server(term=1)
    append(raft, 1, (0, 0), 1, 1)
    first = raft.ready()
    append(raft, 2, (1, 1), 2)
    second = raft.ready()
    assert first is not None
    assert second is not None
    assert second.truncate_from == 2
    raft.persisted(first.seq)
    assert raft._ledger.durable_index == 1
    raft.persisted(second.seq)
    assert raft._ledger.durable_index == 2
    # Reference: figure 2 (persistent state): the A-B-A race of asynchronous writes


def test_two_leaders_in_a_term_are_not_believed() -> None:
    raft = server()
    elect(raft)
    append(raft, raft.term, (0, 0), raft.term)
    assert role_of(raft) is Role.LEADER
    assert raft.violations == 1
    # Reference: section 5.2 (Election Safety)


def test_what_is_committed_is_never_cut() -> None:
    raft = server(terms=(1, 1), term=1)
    append(raft, 1, (2, 1), commit=2)
    take(raft)
    append(raft, 2, (0, 0), 2)
    assert terms_of(raft) == [1, 1]
    assert raft.violations == 1
    # Reference: section 5.4.3 (State Machine Safety)
