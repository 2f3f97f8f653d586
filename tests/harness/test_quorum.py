"""Who may be struck so that a majority of every configuration is left, against trying everything."""

from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nemesis import grudges
from harness.nemesis.plan import VARIANTS
from harness.nemesis.quorum import allowed, harmed_by, has_majority, left_out

NODES = ("n1", "n2", "n3", "n4", "n5", "n6", "n7")
names = st.sampled_from(NODES)
some = st.lists(names, unique=True)
configurations = st.lists(st.lists(names, unique=True, min_size=1), max_size=4)


def best_by_trying(
    configurations: Sequence[Sequence[str]], struck: Sequence[str], wanted: Sequence[str]
) -> tuple[str, ...]:
    """Of all choices that leave every configuration a majority, the one that has the first node,
    among those the one that has the second, and so on."""

    def leaves_majorities(choice: Sequence[str]) -> bool:
        gone = {*struck, *choice}
        return all(
            len([one for one in voters if one not in gone]) >= len(voters) // 2 + 1
            for voters in configurations
        )

    choices = [
        choice
        for size in range(len(wanted) + 1)
        for choice in combinations(wanted, size)
        if leaves_majorities(choice)
    ]
    return max(choices, key=lambda choice: [one in choice for one in wanted], default=())


@given(configurations, some, some)
def test_the_choice_is_the_best_there_is(
    configurations: list[list[str]], struck: list[str], wanted: list[str]
) -> None:
    assert allowed(configurations, struck, wanted) == best_by_trying(configurations, struck, wanted)


@given(st.lists(names, unique=True, min_size=1), st.lists(names, unique=True, min_size=1), some)
def test_both_halves_of_a_joint_configuration_keep_their_majority(
    old: list[str], new: list[str], wanted: list[str]
) -> None:
    taken = allowed([old, new], (), wanted)
    unharmed = set(NODES) - set(taken)
    # A quorum of the joint configuration among the unharmed (Ongaro 2014, section 4.3).
    assert len(unharmed & set(old)) * 2 > len(old)
    assert len(unharmed & set(new)) * 2 > len(new)


def test_of_five_two_may_go_and_of_a_change_from_three_to_four_only_who_both_can_spare() -> None:
    assert allowed([NODES[:5]], (), NODES) == ("n1", "n2", "n6", "n7")
    assert allowed([NODES[:5]], ("n4",), NODES[:5]) == ("n1", "n4")
    assert allowed([NODES[:3], NODES[:4]], (), ("n4", "n1")) == ("n4",)
    assert allowed([NODES[:3], NODES[:4]], (), ("n1", "n2", "n4")) == ("n1",)
    assert allowed([NODES[:3]], ("n1", "n2"), ("n5",)) == (), "there is no majority left to keep"
    assert allowed([], (), NODES) == NODES
    assert allowed([NODES[:5]], (), ("n1", "n2", "n1")) == ("n1", "n2"), "each once"
    assert not has_majority(("n1", "n2"), ("n1",))


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
@pytest.mark.parametrize("seed", range(4))
def test_of_a_partition_the_smaller_side_is_left_out(count: int, seed: int) -> None:
    nodes = NODES[:count]
    halves = grudges.halves(nodes, Random(seed))
    left = left_out(nodes, halves)
    assert len(left) == count // 2
    kept = [node for node in nodes if node not in left]
    assert all(other not in halves[node] for node in kept for other in kept)
    bridge = left_out(nodes, grudges.bridge(nodes, Random(seed)))
    assert len(bridge) == (count - 1) // 2, "the larger half and the one that hears everybody stay"


@pytest.mark.parametrize("count", [3, 4, 5])
def test_whoever_stays_of_any_partition_hears_each_other(count: int) -> None:
    """Against every set of nodes: exact for these, and never too large."""
    nodes = NODES[:count]
    for seed in range(5):
        for made in (
            grudges.halves(nodes, Random(seed)),
            grudges.bridge(nodes, Random(seed)),
            grudges.majorities_ring(nodes, Random(seed)),
            grudges.one_way(nodes, nodes[0], deaf=seed % 2 == 0),
        ):
            together = [
                group
                for size in range(count + 1)
                for group in combinations(nodes, size)
                if all(b not in made.get(a, ()) for a in group for b in group)
            ]
            stays = [node for node in nodes if node not in left_out(nodes, made)]
            assert tuple(stays) in together
            assert len(stays) == max(map(len, together))


def test_a_fault_harms_its_targets_but_for_those_that_harm_nobody() -> None:
    assert harmed_by("transfer", "to-another", ["n1"]) == ()
    assert harmed_by("snapshot", "on-all", NODES) == ()
    assert harmed_by("kill", "kill-minority", ["n1", "n2"]) == ("n1", "n2")
    isolated = grudges.isolate(NODES, "n2")
    assert harmed_by("partition", "isolate-one", ["n2"], isolated) == ("n2",)
    halves = grudges.halves(NODES, Random(1))
    assert len(harmed_by("partition", "halves", NODES, halves)) == 3


def test_who_does_not_hear_votes_is_harmed_and_by_lost_appends_and_snapshots_everybody() -> None:
    """A node that loses appends may lead, or come to: then nobody gets anything done."""
    assert harmed_by("partition", "no-votes", ["n1", "n2"], None, NODES) == ("n1", "n2")
    assert harmed_by("partition", "no-appends", ["n2"], None, NODES) == NODES
    assert harmed_by("partition", "no-snapshots", ["n2"], None, NODES) == NODES
    assert harmed_by("partition", "no-appends", [], None, NODES) == (), "it struck nobody"


def test_every_partition_of_all_nodes_is_known_as_such() -> None:
    """One that names all nodes and is not known would count as harming all of them."""
    assert {"halves", "majorities-ring", "bridge"} <= set(VARIANTS["partition"])
