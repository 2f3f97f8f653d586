"""Many short random stories of a whole cluster of cores; and that the observer is not blind."""

import pytest
from core_observer import LogView, Observer, Violation
from core_world import World, run_seed

from node.core.membership import Configuration
from node.core.messages import Entry

SEEDS = 200


@pytest.mark.parametrize("block", range(0, SEEDS, 20))
def test_what_raft_promises_holds_at_every_step(block: int) -> None:
    """Elections, commits, members, transfers, leases, reads, snapshots, crashes: and calm in the end."""
    for seed in range(block, block + 20):
        assert run_seed(seed)["committed"] > 0


def test_the_stories_are_worth_telling() -> None:
    """Everything that may go wrong does, in some story: else the test above proves little."""
    total = sum((run_seed(seed) for seed in range(SEEDS, SEEDS + 20)), start=run_seed(0))
    wanted = (
        "changes", "compactions", "crashes", "cuts", "installs", "leaders", "leases", "reads", "stands", "transfers",
    )  # fmt: skip
    assert [kind for kind in wanted if total[kind] < 5] == []


def test_a_seed_tells_the_same_story_twice() -> None:
    stories = []
    for _ in range(2):
        world = World(7)
        world.finish()
        stories.append((world.count, world.now_ns, world.observer.committed))
    assert stories[0] == stories[1]


# The observer.


def test_the_observer_sees_two_leaders_and_two_votes() -> None:
    observer = Observer()
    for name in "ab":
        observer.starts(name)
    observer.leads("a", 2)
    observer.votes("c", 2, "a")
    with pytest.raises(Violation, match="a and b lead"):
        observer.leads("b", 2)
    with pytest.raises(Violation, match="votes for a and b"):
        observer.votes("c", 2, "b")


def test_the_observer_sees_logs_that_differ_below_an_equal_entry() -> None:
    observer = Observer()
    for name in "ab":
        observer.starts(name)
    observer.writes(observer.memory, "a", None, None, [Entry(1, 1, "x"), Entry(2, 2, "z")])
    with pytest.raises(Violation, match="another log up to entry 2"):
        observer.writes(observer.memory, "b", None, None, [Entry(1, 2, "y"), Entry(2, 2, "z")])


def test_the_observer_sees_a_commit_without_a_majority_of_each_half() -> None:
    observer = Observer()
    entries = [Entry(1, 1, "x")]
    for name in "abcde":
        observer.starts(name)
        observer.writes(observer.memory, name, None, None, entries)
    for name in "ab":
        observer.writes(observer.durable, name, None, None, entries)
    observer.leader_commits("a", Configuration(("a", "b", "c")), 1)
    with pytest.raises(Violation, match="durable on"):
        observer.leader_commits("a", Configuration(("a", "b", "c"), ("c", "d", "e")), 1)


def test_the_observer_sees_a_leader_that_lacks_what_was_committed() -> None:
    observer = Observer()
    for name in "ab":
        observer.starts(name)
    observer.writes(observer.memory, "a", None, None, [Entry(1, 1, "x")])
    observer.knows_committed("a", 1, 1, 1)
    with pytest.raises(Violation, match="without the committed entry 1"):
        observer.leads("b", 2)
    observer.memory["b"] = LogView({1: observer.committed[1]}, 1, 1)
    observer.leads("b", 3)
