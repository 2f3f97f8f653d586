"""Majorities and changes of members, against trying everything out.

Joint consensus is safe because whoever can decide before a change and whoever can decide after it
have a member in common (Raft section 6; dissertation section 4.3): here that is tried for all sets.
"""

from collections.abc import Iterator
from functools import cache
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from node.core import quorum
from node.core.membership import (
    MEMBERS_MAX,
    Configuration,
    NotAllowed,
    configuration_from_text,
)
from node.core.quorum import Outcome

NAMES = "abcde"
groups = st.sets(st.sampled_from(NAMES), min_size=1).map(sorted)
halves = st.lists(groups, min_size=1, max_size=2)


def subsets(names: str | tuple[str, ...]) -> Iterator[frozenset[str]]:
    sizes = range(len(names) + 1)
    return map(frozenset, chain.from_iterable(combinations(names, size) for size in sizes))


def decides(group: frozenset[str] | set[str], voters: list[list[str]]) -> bool:
    """By the definition: more than half of each half."""
    return all(2 * len(group & set(half)) > len(half) for half in voters)


@given(halves, st.dictionaries(st.sampled_from(NAMES + "x"), st.integers(1, 9)))
def test_committed_agrees_with_trying_every_value(
    voters: list[list[str]], values: dict[str, int]
) -> None:
    def reached(index: int) -> bool:
        return decides({name for name in NAMES if values.get(name, 0) >= index}, voters)

    assert quorum.committed(voters, values) == max(i for i in range(10) if i == 0 or reached(i))


@given(halves, st.dictionaries(st.sampled_from(NAMES + "x"), st.booleans()))
def test_tally_agrees_with_trying_every_way_to_go_on(
    voters: list[list[str]], votes: dict[str, bool]
) -> None:
    everybody = sorted({name for half in voters for name in half})
    granted = {name for name in everybody if votes.get(name) is True}
    undecided = tuple(name for name in everybody if name not in votes)
    can_still_win = any(decides(granted | more, voters) for more in subsets(undecided))
    expected = (
        Outcome.WON
        if decides(granted, voters)
        else Outcome.PENDING
        if can_still_win
        else Outcome.LOST
    )
    assert quorum.tally(voters, votes) is expected


def test_two_majorities_of_one_group_always_meet() -> None:
    for size in range(1, 8):
        sets = list(combinations(range(size), quorum.majority(size)))
        assert all(set(a) & set(b) for a in sets for b in sets)
        assert 2 * (quorum.majority(size) - 1) <= size


@cache
def _quorums(halves: quorum.Halves, members: tuple[str, ...]) -> list[frozenset[str]]:
    return [
        group
        for group in subsets(members)
        if quorum.committed(halves, dict.fromkeys(group, 1)) == 1
    ]


def quorums(configuration: Configuration) -> list[frozenset[str]]:
    """All sets of members that can decide, by asking the code under test."""
    return _quorums(configuration.halves, configuration.members)


def meet(before: Configuration, after: Configuration) -> bool:
    return all(a & b for a in quorums(before) for b in quorums(after))


class MembershipMachine(RuleBasedStateMachine):
    """Configurations as they may follow each other in a log."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Configuration(("a", "b", "c"))
        self.before = self.now

    def _follow(self, to: Configuration) -> None:
        self.before, self.now = self.now, to

    @rule(name=st.sampled_from(NAMES))
    def add(self, name: str) -> None:
        if self.now.is_joint:
            return
        if self.now.is_voter(name):
            with pytest.raises(NotAllowed):
                self.now.with_member(name, "p:1", "c:1")
        else:
            self._follow(self.now.with_member(name, "p:1", "c:1"))
            assert name in self.now.promotable

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        if self.now.is_joint:
            return
        if name not in self.now.members or self.now.voters == (name,):
            with pytest.raises(NotAllowed):
                self.now.without(name)
        else:
            self._follow(self.now.without(name))

    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        if not self.now.is_joint and self.now.promotable:
            self._follow(self.now.promoting(data.draw(st.sampled_from(self.now.promotable))))

    @rule(voters=groups)
    def replace_all(self, voters: list[str]) -> None:
        """What no client can ask for yet, and what joint consensus allows."""
        if not self.now.is_joint:
            learners = tuple(name for name in self.now.learners if name not in voters)
            self._follow(Configuration(tuple(voters), self.now.voters, learners))

    @rule()
    def leave(self) -> None:
        if self.now.is_joint:
            self._follow(self.now.left())

    @invariant()
    def who_decides_before_meets_who_decides_after(self) -> None:
        assert meet(self.before, self.now)

    @invariant()
    def it_is_a_configuration(self) -> None:
        now = self.now
        assert now.voters
        assert set(now.promotable) <= set(now.learners)
        assert not set(now.learners) & {*now.voters, *now.outgoing}
        assert set(now.addresses) <= set(now.members)
        assert configuration_from_text(now.to_text()) == now
        for names in (now.voters, now.outgoing, now.learners, now.promotable):
            assert list(names) == sorted(set(names))

    @invariant()
    def learners_decide_nothing(self) -> None:
        assert not any(group <= set(self.now.learners) for group in quorums(self.now))


def test_configurations_that_follow_each_other_have_no_two_separate_majorities() -> None:
    run_state_machine_as_test(MembershipMachine, settings=settings(stateful_step_count=20))


def test_every_joint_configuration_meets_both_of_its_sides() -> None:
    """All pairs of sets of voters out of four names."""
    voters = [tuple(sorted(group)) for group in subsets("abcd") if group]
    for old in voters:
        for new in voters:
            joint = Configuration(new, old)
            assert meet(Configuration(old), joint)
            assert meet(joint, Configuration(new))
            assert meet(joint, joint)


def test_without_the_joint_step_two_majorities_can_miss_each_other() -> None:
    """The reason for all this (Raft figure 10)."""
    assert not meet(Configuration(("a", "b", "c")), Configuration(("a", "b", "c", "d", "e")))


def test_one_voter_more_or_less_is_safe_only_from_committed_ground() -> None:
    """Each step meets its neighbour; two steps from the same ground do not meet each other, so a change
    waits for an entry of the leader's own term (Ongaro, raft-dev 2015)."""
    ground = Configuration(("a", "b", "c", "d"))
    one = Configuration(("a", "b", "c", "d", "e"))
    other = Configuration(("a", "b", "c"))
    assert meet(ground, one)
    assert meet(ground, other)
    assert not meet(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        '{"voters":["a"],"outgoing":[],"learners":["a"],"promotable":[],"addresses":{}}',
        '{"voters":["a"],"outgoing":[],"learners":[],"promotable":["b"],"addresses":{}}',
        '{"voters":[],"outgoing":["a"],"learners":[],"promotable":[],"addresses":{}}',
        '{"voters":[""],"outgoing":[],"learners":[],"promotable":[],"addresses":{}}',
        '{"voters":[1],"outgoing":[],"learners":[],"promotable":[],"addresses":{}}',
        '{"voters":"ab","outgoing":[],"learners":[],"promotable":[],"addresses":{}}',
        '{"voters":["a"],"outgoing":[],"learners":[],"promotable":[],"addresses":{"a":"ab"}}',
        '{"voters":["a"],"outgoing":[],"learners":[],"promotable":[],"addresses":{"a":["x"]}}',
        '{"voters":["a"],"outgoing":[],"learners":[],"promotable":[],"addresses":{"a":[1,2]}}',
        '{"voters":["a"],"outgoing":[],"learners":[],"promotable":[],"addresses":[]}',
    ],
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        configuration_from_text(text)


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists).map(str) | st.text())
def test_any_text_is_a_configuration_or_refused(text: str) -> None:
    with pytest.raises(ValueError):
        configuration_from_text(text)


def test_a_cluster_does_not_grow_without_bound() -> None:
    full = Configuration(("a",))
    for number in range(MEMBERS_MAX - 1):
        full = full.with_member(f"n{number}", "p:1", "c:1")
    with pytest.raises(NotAllowed, match="at most"):
        full.with_member("one-more", "p:1", "c:1")
    with pytest.raises(NotAllowed, match="characters"):
        Configuration(("a",)).with_member("n" * 65, "p:1", "c:1")
