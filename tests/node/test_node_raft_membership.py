"""Members who come and go, by joint consensus; each test ends with its reference.

Raft = Ongaro & Ousterhout 2014 (extended version); dissertation = Ongaro 2014.
"""

from dataclasses import replace

import pytest
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

from node.core.membership import Configuration, NotAllowed
from node.core.messages import (
    CONFIGURATION,
    AppendReply,
    AppendRequest,
    Entry,
    HeartbeatReply,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
)
from node.core.progress import Flow
from node.core.raft import Raft
from node.core.settings import MS, Role, Settings

ABC = configuration_of("a", "b", "c")
REPLACING = configuration_of("a", "d", "e", outgoing="abc")
"""Two of three voters are being replaced: {b, c} and {d, e} must both be asked."""


def change(raft: Raft, to: Configuration) -> int:
    """Begin a change; the index of its entry."""
    at = raft.change(to)
    assert at is not None
    return at[0]


def change_to_joint() -> Raft:
    """The leader a with the joint configuration at index 2, in its log alone."""
    raft = lead(server())
    assert change(raft, REPLACING) == 2
    take(raft)
    return raft


def configurations(raft: Raft) -> list[int]:
    """Where the log has configurations."""
    entries = raft.log.since(raft.log.first_index)
    return [entry.index for entry in entries if entry.kind == CONFIGURATION]


def append_configuration(raft: Raft, index: int, term: int, to: Configuration) -> None:
    entry = Entry(index, term, to.to_text(), CONFIGURATION)
    prev_term = raft.log.term(index - 1) or 0
    raft.step(AppendRequest("b", raft.name, term, index - 1, prev_term, 0, (entry,)))


# What is in force.


def test_a_configuration_is_in_force_from_the_moment_it_is_in_a_log() -> None:
    leader = change_to_joint()
    assert leader.commit_index < leader.log.configuration_index
    assert leader.log.configuration == REPLACING
    assert leader.leadership is not None
    assert set(leader.leadership.followers) == {"b", "c", "d", "e"}
    follower = server(terms=(1,), term=1)
    append_configuration(follower, 2, 1, REPLACING)
    assert (follower.log.configuration, follower.commit_index) == (REPLACING, 0)
    # Reference: section 6 ("regardless of whether the entry is committed")


def test_cutting_the_log_takes_a_configuration_back() -> None:
    raft = server(terms=(1,), term=1)
    append_configuration(raft, 2, 1, REPLACING)
    raft.step(AppendRequest("c", "a", 2, 1, 1, 0, (Entry(2, 2, "x"),)))
    assert (raft.log.configuration, raft.log.configuration_index) == (ABC, 0)
    # Reference: dissertation section 4.1 ("a server must be prepared to fall back")


def test_cutting_the_log_takes_two_configurations_back_at_once() -> None:
    raft = server(terms=(1,), term=1)
    append_configuration(raft, 2, 1, REPLACING)
    append_configuration(raft, 3, 1, REPLACING.left())
    assert raft.log.configuration == configuration_of("a", "d", "e")
    raft.step(AppendRequest("c", "a", 2, 1, 1, 0, (Entry(2, 2, "x"), Entry(3, 2, "y"))))
    assert raft.log.configuration == ABC
    # Reference: dissertation section 4.1, 4.3


def test_a_cut_configuration_gives_no_power() -> None:
    """Alone with the phantom {a}, the server could elect itself."""
    raft = server(terms=(1,), term=1)
    append_configuration(raft, 2, 1, configuration_of("a"))
    raft.step(AppendRequest("c", "a", 2, 1, 1, 0, (Entry(2, 2, "x"),)))
    take(raft)
    advance(raft, 3000)
    take(raft)
    assert role_of(raft) is Role.PRE_CANDIDATE
    # Reference: dissertation section 4.1


# Both majorities.


@pytest.mark.parametrize(
    ("holders", "agreed"),
    [
        ("", False),
        ("bc", False),  # a majority of the old voters alone
        ("de", False),  # of the new ones alone
        ("b", False),
        ("bd", True),
        ("ce", True),
        ("bcde", True),
    ],
)
class TestBothMajorities:
    """The leader a belongs to both halves, {a, b, c} and {a, d, e}."""

    def test_for_commits(self, holders: str, agreed: bool) -> None:
        raft = change_to_joint()
        for holder in holders:
            acknowledge(raft, holder, 2)
        assert (raft.commit_index >= 2) is agreed
        # Reference: section 6 ("agreement requires separate majorities")

    def test_for_elections(self, holders: str, agreed: bool) -> None:
        for role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
            raft = server(configuration=REPLACING)
            advance(raft, 1000)
            take(raft)
            if role is Role.CANDIDATE:
                for other in "bcde":
                    raft.step(PreVoteReply(other, "a", 1, granted=True))
                take(raft)
            assert role_of(raft) is role
            answer = PreVoteReply if role is Role.PRE_CANDIDATE else VoteReply
            for holder in holders:
                raft.step(answer(holder, "a", 1, granted=True))
            assert (role_of(raft) is not role) is agreed
        # Reference: section 6

    def test_for_staying_leader(self, holders: str, agreed: bool) -> None:
        raft = change_to_joint()
        keep_alive(raft, 700, *holders)
        assert (role_of(raft) is Role.LEADER) is agreed
        # Reference: dissertation section 6.2, with section 4.3

    def test_for_reads(self, holders: str, agreed: bool) -> None:
        raft = change_to_joint()
        raft.read(1)
        take(raft)
        answer_heartbeats(raft, *holders)
        assert any(ready.reads_ready for ready in take(raft)[0]) is agreed
        # Reference: dissertation section 6.4, with section 4.3

    def test_for_leases(self, holders: str, agreed: bool) -> None:
        raft = lead(server(settings=Settings(500 * MS, 50 * MS, leases=True)))
        change(raft, REPLACING)
        take(raft)
        advance(raft, 410)  # whatever lease there was is over
        assert not raft.has_lease(raft._now_ns)
        answer_heartbeats(raft, *holders)
        assert raft.has_lease(raft._now_ns) is agreed
        # Reference: dissertation section 6.4.1, with section 4.3


# The way through.


def test_the_new_configuration_follows_the_joint_one_once_that_is_committed() -> None:
    raft = change_to_joint()
    acknowledge(raft, "b", 2)
    take(raft)
    assert configurations(raft) == [2]
    acknowledge(raft, "d", 2)
    assert configurations(raft) == [2, 3]
    assert raft.log.configuration == configuration_of("a", "d", "e")
    # Reference: section 6, figure 11


def test_a_leader_that_inherits_a_joint_configuration_commits_it_before_it_leaves_it() -> None:
    raft = server(term=1)
    append_configuration(raft, 1, 1, REPLACING)
    take(raft)
    elect(raft)
    take(raft)
    assert raft.log.last_index == 2  # its no-op, and nothing else
    acknowledge(raft, "d", 2)
    acknowledge(raft, "e", 2)  # the new voters alone do not make it
    assert configurations(raft) == [1]
    acknowledge(raft, "b", 2)
    assert configurations(raft) == [1, 3]
    # Reference: section 6, with section 5.4.2 (it commits by an entry of its own term)


def test_a_change_begins_only_after_an_entry_of_the_own_term_is_committed() -> None:
    raft = server()
    elect(raft)
    take(raft)
    assert raft.change(ABC.without("c")) is None
    commit_no_op(raft)
    assert raft.change(ABC.without("c")) is not None
    # Reference: Ongaro, "bug in single-server membership changes", raft-dev 2015


def test_one_change_at_a_time() -> None:
    raft = lead(server())
    change(raft, ABC.with_member("d", "d:1", "d:2"))
    assert raft.change(raft.log.configuration.with_member("e", "e:1", "e:2")) is None
    take(raft)
    acknowledge(raft, "b", 2)
    assert raft.commit_index == 2
    change(raft, raft.log.configuration.without("c"))
    assert raft.log.configuration.is_joint
    take(raft)
    acknowledge(raft, "b", 3)  # {a, b} is a majority of both halves; C_new follows at once
    assert configurations(raft) == [2, 3, 4]
    assert raft.change(raft.log.configuration.without("b")) is None
    take(raft)
    acknowledge(raft, "b", 4)
    assert raft.change(raft.log.configuration.without("b")) is not None
    # Reference: dissertation section 4.1


def test_only_a_leader_begins_a_change() -> None:
    assert server().change(ABC.without("c")) is None
    # Reference: section 6


def test_a_configuration_without_voters_cannot_be_asked_for() -> None:
    with pytest.raises(NotAllowed):
        configuration_of("a").without("a")
    with pytest.raises(NotAllowed):
        ABC.without("x")
    with pytest.raises(NotAllowed):
        ABC.with_member("b", "b:1", "b:2")
    # Reference: dissertation section 4.1


# Who leaves.


def test_a_removed_leader_steps_down_when_the_new_configuration_is_committed() -> None:
    raft = lead(server())
    change(raft, ABC.without("a"))
    take(raft)
    for other in "bc":
        acknowledge(raft, other, 2)
    take(raft)
    acknowledge(raft, "b", 3)
    assert (role_of(raft), raft.commit_index) == (Role.LEADER, 2)  # a itself is not counted
    acknowledge(raft, "c", 3)
    assert (role_of(raft), raft.commit_index) == (Role.FOLLOWER, 3)
    take(raft)
    advance(raft, 5000)
    assert role_of(raft) is Role.FOLLOWER
    # Reference: section 6; dissertation section 4.2.2


def test_a_removed_leader_does_not_count_itself_as_heard() -> None:
    raft = lead(server(members=("a", "b", "c", "d")))
    change(raft, raft.log.configuration.without("a"))
    take(raft)
    keep_alive(raft, 700, "b")  # {a, b} were half of the old ones, {b} is a third of the new
    assert role_of(raft) is Role.FOLLOWER
    # Reference: dissertation section 4.2.2


def test_who_is_removed_by_an_entry_that_may_not_be_committed_still_stands() -> None:
    """C_new is in its log alone: no other log is as complete, so nobody else can be elected."""
    raft = server(configuration=configuration_of("b", outgoing="ab"), terms=(1,), term=1)
    append_configuration(raft, 2, 1, configuration_of("b"))
    take(raft)
    advance(raft, 1500)
    assert role_of(raft) is Role.PRE_CANDIDATE
    take(raft)
    assert role_of(raft) is Role.PRE_CANDIDATE, "it does not count its own vote"
    raft.step(PreVoteReply("b", "a", 2, granted=True))
    take(raft)
    assert role_of(raft) is Role.CANDIDATE, "it does not count its own vote"
    raft.step(VoteReply("b", "a", 2, granted=True))
    take(raft)
    acknowledge(raft, "b", 3)
    assert (role_of(raft), raft.commit_index) == (Role.FOLLOWER, 3)
    # Reference: dissertation section 4.2.2


def test_a_member_that_is_gone_is_sent_nothing_and_its_answers_count_for_nothing() -> None:
    raft = lead(server())
    change(raft, ABC.without("c"))
    take(raft)
    acknowledge(raft, "b", 2)
    take(raft)
    raft.propose("x")
    assert {message.target for message in said(raft)} == {"b"}
    acknowledge(raft, "c", 4)
    raft.step(HeartbeatReply("c", "a", raft.term, 1))
    assert raft.commit_index == 2
    # Reference: section 6


# Who is not a voter.


def test_what_learners_hold_never_counts() -> None:
    raft = lead(server(configuration=configuration_of("a", "b", "c", learners="de")))
    raft.propose("x")
    take(raft)
    index = raft.log.last_index
    for learner in "de":
        acknowledge(raft, learner, index)
    assert raft.commit_index < index
    raft.read(1)
    take(raft)
    answer_heartbeats(raft, "d", "e")
    assert not any(ready.reads_ready for ready in take(raft)[0])
    keep_alive(raft, 700, "d", "e")
    assert role_of(raft) is Role.FOLLOWER
    # Reference: dissertation section 4.2.1


def test_the_votes_of_learners_and_strangers_count_for_nothing() -> None:
    raft = server(configuration=configuration_of("a", "b", "c", learners="d"))
    advance(raft, 1000)
    assert {message.target for message in said(raft)} == {"b", "c"}
    for other in "dx":
        raft.step(PreVoteReply(other, "a", 1, granted=True))
    assert role_of(raft) is Role.PRE_CANDIDATE
    # Reference: dissertation section 4.2.1


@pytest.mark.parametrize("name", ["d", "x"])
def test_who_does_not_vote_does_not_stand(name: str) -> None:
    raft = server(name=name, configuration=configuration_of("a", "b", "c", learners="d"))
    advance(raft, 5000)
    assert role_of(raft) is Role.FOLLOWER
    assert said(raft) == []
    # Reference: dissertation section 4.2.1


def test_requests_of_servers_outside_the_own_configuration_are_answered() -> None:
    """The configuration of who asks counts: the own one may be older than that."""
    raft = server(term=1)
    raft.step(PreVoteRequest("x", "a", 2, 0, 0))
    raft.step(VoteRequest("x", "a", 2, 0, 0))
    raft.step(AppendRequest("x", "a", 2, 0, 0, 0, (Entry(1, 2, "d"),)))
    pre_vote, vote, appended = said(raft)
    assert pre_vote == PreVoteReply("a", "x", 2, granted=True)
    assert vote == VoteReply("a", "x", 2, granted=True)
    assert appended == AppendReply("a", "x", 2, True, 1, 0, 0)
    # Reference: section 6; dissertation section 4.1 ("servers process incoming RPC requests
    # without consulting their current configurations")


def test_a_learner_votes_when_it_is_asked() -> None:
    """Who asks may know, from a longer log, that it is a voter now."""
    raft = server(name="d", configuration=configuration_of("a", "b", "c", learners="d"))
    raft.step(VoteRequest("a", "d", 1, 0, 0))
    assert said(raft) == [VoteReply("d", "a", 1, granted=True)]
    # Reference: dissertation section 4.1, 4.2.2


# Who comes.


def test_a_new_member_is_a_learner_first_and_gets_the_whole_log() -> None:
    leader = lead(server(terms=(1, 1, 1), term=1))
    change(leader, ABC.with_member("d", "d:1", "d:2"))
    assert leader.log.configuration.voters == ("a", "b", "c")
    newcomer = server(name="d", configuration=Configuration())
    for _ in range(4):
        for message in said(leader):
            if message.target == "d":
                newcomer.step(message)
        for answer in said(newcomer):
            leader.step(answer)
    assert newcomer.log.since(1) == leader.log.since(1)
    assert newcomer.log.configuration.learners == ("d",)
    # Reference: dissertation section 4.2.1


def test_a_learner_becomes_a_voter_only_when_it_has_caught_up() -> None:
    raft = lead(server())
    index = change(raft, ABC.with_member("d", "d:1", "d:2"))
    take(raft)
    acknowledge(raft, "b", index)
    keep_alive(raft, 2000, "b", "c", "d")
    assert configurations(raft) == [index], "it answers, but holds nothing"
    acknowledge(raft, "d", index)
    keep_alive(raft, 10, "b", "c", "d")
    assert configurations(raft) == [index], "its first round took too long"
    keep_alive(raft, 10, "b", "c", "d")
    assert raft.log.configuration == Configuration(
        ("a", "b", "c", "d"),
        ("a", "b", "c"),
        addresses={"d": ("d:1", "d:2")},
        additions=1,
        generations={"d": 1},
    )
    for other in "bcd":
        acknowledge(raft, other, raft.log.last_index)
    assert raft.log.configuration.voters == ("a", "b", "c", "d")
    assert not raft.log.configuration.is_joint
    # Reference: dissertation section 4.2.1, figure 4.5 (rounds)


def test_a_learner_that_cannot_be_reached_holds_nobody_up() -> None:
    raft = lead(server())
    index = change(raft, ABC.with_member("d", "d:1", "d:2"))
    take(raft)
    acknowledge(raft, "b", index)
    keep_alive(raft, 2000, "b", "c")
    assert role_of(raft) is Role.LEADER
    assert raft.leadership is not None
    assert raft.leadership.followers["d"].flow is Flow.PROBE
    change(raft, raft.log.configuration.without("d"))
    assert raft.log.configuration == replace(ABC, additions=1)
    # Reference: dissertation section 4.2.1 ("an unavailable server")


def test_a_single_server_grows_into_a_pair() -> None:
    raft = server(members=("a",))
    advance(raft, 1500)
    take(raft)
    assert raft.commit_index == 1
    index = change(raft, raft.log.configuration.with_member("b", "b:1", "b:2"))
    take(raft)
    acknowledge(raft, "b", index)
    keep_alive(raft, 60, "b")
    assert raft.log.configuration.outgoing == ("a",)
    take(raft)
    assert raft.commit_index == index, "now b is needed"
    acknowledge(raft, "b", index + 1)
    take(raft)
    assert raft.log.configuration == Configuration(
        ("a", "b"), addresses={"b": ("b:1", "b:2")}, additions=1, generations={"b": 1}
    )
    # Reference: section 6
