"""The roster: nodes go out and come back as new ones, once for each removal, and no voter is wiped."""

import pytest
from administered import DOUBT, NODES, REFUSED, Stage, members

from harness.nemesis.faults import Certainty
from harness.systems.administrated import Members


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_voter_is_removed_and_comes_back_as_a_new_node(stage: Stage) -> None:
    out = stage.roster.take_out("n3", stage.soon())
    assert out.certainty is Certainty.INSTALLED
    assert "configuration 3" in out.detail
    assert "before: configuration 1" in out.detail
    assert (stage.roster.out(), stage.hosts.done) == (["n3"], [])
    back = stage.roster.bring_back("n3", stage.soon())
    assert back.certainty is Certainty.INSTALLED
    assert (stage.roster.out(), stage.hosts.done) == ([], ["anew n3"])


def test_three_voters_stay(stage: Stage) -> None:
    stage.system.now = members("n1", "n2", "n3")
    report = stage.roster.take_out("n3", stage.soon())
    assert report.certainty is Certainty.SKIPPED
    assert "fewer than 3" in report.detail
    assert stage.system.asked == []


def test_a_removal_that_is_refused_is_skipped_and_one_in_doubt_is_looked_at(stage: Stage) -> None:
    stage.system.answer = lambda asked: REFUSED
    assert stage.roster.take_out("n3", stage.soon(0.3)).certainty is Certainty.SKIPPED
    stage.system.answer = lambda asked: DOUBT  # and yet it is carried out
    assert stage.roster.take_out("n3", stage.soon()).certainty is Certainty.INSTALLED


def test_a_removal_without_an_effect_in_time_is_indeterminate(stage: Stage) -> None:
    stage.system.answer = lambda asked: DOUBT
    stage.system._become = lambda **changes: None  # type: ignore[method-assign]
    assert stage.roster.take_out("n3", stage.soon(0.3)).certainty is Certainty.INDETERMINATE


def test_a_removal_in_doubt_counts_as_one_until_the_members_have_changed(stage: Stage) -> None:
    stage.system.now = members("n1", "n2", "n3", "n4")
    stage.system.answer = lambda asked: DOUBT
    become, stage.system._become = stage.system._become, lambda **changes: None  # type: ignore
    assert stage.roster.take_out("n3", stage.soon(0.2)).certainty is Certainty.INDETERMINATE
    report = stage.roster.take_out("n4", stage.soon(0.2))
    assert (report.certainty, "fewer than 3" in report.detail) == (Certainty.SKIPPED, True)
    stage.system.now = members("n1", "n2", "n3", "n4", index=9)
    stage.system._become = become  # type: ignore[method-assign]
    assert stage.roster.take_out("n4", stage.soon()).certainty is Certainty.INSTALLED


def test_nobody_is_touched_while_nobody_says_who_the_members_are(stage: Stage) -> None:
    stage.system.silent = True
    assert stage.roster.take_out("n3", stage.soon(0.2)).certainty is Certainty.SKIPPED
    assert stage.roster.bring_back("n3", stage.soon(0.2)).certainty is Certainty.INDETERMINATE
    assert "no node said" in stage.roster.restore(stage.soon(0.2))
    assert "no node said" in stage.roster.restore(stage.soon(0))
    assert (stage.system.asked, stage.hosts.done) == ([], [])


def test_data_goes_once_for_each_removal_however_often_it_is_tried(stage: Stage) -> None:
    """A second new life might meet nodes that have let the first one in already."""
    stage.roster.take_out("n3", stage.soon())
    stage.system.answer = lambda asked: REFUSED
    for _ in range(2):
        back = stage.roster.bring_back("n3", stage.soon(0.3))
        assert back.certainty is Certainty.INDETERMINATE
        assert "no-leader" in back.detail
    assert stage.hosts.done.count("anew n3") == 1
    stage.system.answer = lambda asked: None
    assert stage.roster.bring_back("n3", stage.soon()).certainty is Certainty.INSTALLED
    assert stage.hosts.done.count("anew n3") == 1
    stage.roster.take_out("n3", stage.soon())
    stage.roster.bring_back("n3", stage.soon())
    assert stage.hosts.done.count("anew n3") == 2


def test_a_new_life_that_voted_unseen_is_no_new_one_when_it_is_removed(stage: Stage) -> None:
    """Whoever waited for its vote had gone by then. A removed life is never let in again."""
    stage.roster.take_out("n3", stage.soon())
    stage.system.answer = lambda asked: REFUSED
    stage.roster.bring_back("n3", stage.soon(0.3))
    stage.system.answer = lambda asked: None
    stage.system.add_member("n1", "n3", 1)
    for number in (2, 3):
        assert stage.roster.take_out("n3", stage.soon()).certainty is Certainty.INSTALLED
        assert stage.roster.bring_back("n3", stage.soon()).certainty is Certainty.INSTALLED
        assert stage.hosts.done.count("anew n3") == number


def test_a_voter_is_never_wiped(stage: Stage) -> None:
    assert stage.roster.bring_back("n3", stage.soon()).certainty is Certainty.INSTALLED
    assert stage.hosts.done == []


def test_a_learner_is_waited_for_and_not_wiped(stage: Stage) -> None:
    stage.system.promotes = False
    stage.roster.take_out("n3", stage.soon())
    back = stage.roster.bring_back("n3", stage.soon(0.4))
    assert back.certainty is Certainty.INDETERMINATE
    assert "learners n3" in back.detail
    assert stage.roster.bring_back("n3", stage.soon(0.4)).certainty is Certainty.INDETERMINATE
    assert stage.hosts.done == ["anew n3"]
    assert [one for one in stage.system.asked if one.startswith("add")] == ["add n3 via n1"]


def test_restoring_brings_everybody_back_or_says_who_is_out_and_why(stage: Stage) -> None:
    stage.system.now = members("n1", "n2", "n3", index=20)
    assert stage.roster.restore(stage.soon()) == ""
    assert set(stage.system.now.voters) == set(NODES)
    stage.system.now = members("n1", "n2", "n3", index=40)
    stage.system.answer = lambda asked: REFUSED
    problem = stage.roster.restore(stage.soon(0.5))
    for word in ("n4 does not vote", "n5", "configuration 40", "no-leader"):
        assert word in problem


def test_everybody_has_to_know_the_members_before_they_count_as_restored(stage: Stage) -> None:
    """A change that is under way at one node may take somebody out a moment later."""
    newer = members("n1", "n2", "n4", "n5", index=3, committed=False)
    looks = iter([newer, newer, newer, None])
    everyone = stage.system.members

    def at(node: str, timeout_s: float) -> Members | None:
        under_way = next(looks, None) if node == "n2" else None
        return under_way or everyone(node, timeout_s)

    stage.system.members = at  # type: ignore[method-assign]
    assert stage.roster.restore(stage.soon()) == ""
    assert next(looks, "all used") == "all used"
    stage.system.members = lambda node, timeout_s: newer if node == "n2" else everyone("n1", 1)  # type: ignore
    assert "n2 knows nothing of configuration 1" in stage.roster.restore(stage.soon(0.3))


def test_a_condemned_node_is_removed_before_it_is_made_anew(stage: Stage) -> None:
    stage.roster.condemn("n3")
    assert stage.roster.out() == []  # it is a member still
    report = stage.roster.replace("n3", stage.soon())
    assert report.certainty is Certainty.INSTALLED
    assert stage.system.asked == ["remove n3 via n1", "add n3 via n1"]
    assert stage.hosts.done == ["anew n3"]
    assert not stage.roster.is_condemned("n3")
    stage.roster.replace("n3", stage.soon())
    assert stage.hosts.done == ["anew n3"]


def test_a_condemned_learner_has_to_go_as_well(stage: Stage) -> None:
    """It was a voter when it was struck, and its leader's configuration did not last."""
    stage.roster.condemn("n3")
    stage.system.now = members("n1", "n2", "n4", "n5", learners=("n3",), index=9)
    assert stage.roster.replace("n3", stage.soon()).certainty is Certainty.INSTALLED
    assert stage.system.asked == ["remove n3 via n1", "add n3 via n1"]
    assert stage.hosts.done == ["anew n3"]


def test_a_new_life_that_is_condemned_before_anybody_saw_it_vote_is_made_anew(stage: Stage) -> None:
    stage.roster.take_out("n3", stage.soon())
    stage.system.answer = lambda asked: REFUSED
    stage.roster.bring_back("n3", stage.soon(0.3))
    stage.system.answer = lambda asked: None
    stage.roster.condemn("n3")
    assert stage.roster.replace("n3", stage.soon()).certainty is Certainty.INSTALLED
    assert stage.hosts.done == ["anew n3", "anew n3"]


def test_a_condemned_node_that_cannot_be_removed_keeps_its_data(stage: Stage) -> None:
    stage.roster.condemn("n3")
    stage.system.answer = lambda asked: REFUSED
    assert stage.roster.replace("n3", stage.soon(0.3)).certainty is Certainty.SKIPPED
    assert stage.roster.is_condemned("n3")
    assert stage.hosts.done == []
    assert "n3" in stage.roster.restore(stage.soon(0.3))
    stage.system.answer = lambda asked: None
    assert stage.roster.restore(stage.soon()) == ""
    assert stage.hosts.done == ["anew n3"]


def test_a_node_is_owed_until_it_votes_whoever_brings_it_back(stage: Stage) -> None:
    stage.roster.condemn("n3")
    stage.system.promotes = False
    stage.roster.replace("n3", stage.soon(0.3))
    assert stage.roster.owed() == ["n3"]
    stage.system.now = members(*NODES, index=90)
    stage.roster.bring_back("n3", stage.soon())
    assert stage.roster.owed() == []


def test_whoever_makes_a_condemned_node_anew_it_is_not_replaced_again(stage: Stage) -> None:
    stage.roster.condemn("n3")
    stage.roster.take_out("n3", stage.soon())
    stage.roster.bring_back("n3", stage.soon())
    assert not stage.roster.is_condemned("n3")
    assert stage.roster.restore(stage.soon()) == ""
    assert stage.hosts.done == ["anew n3"]


def test_only_voters_may_lose_data_and_nobody_while_another_is_to_be_replaced(stage: Stage) -> None:
    stage.system.now = members("n1", "n2", "n3", "n4", index=9)
    assert stage.roster.unfit(["n1", "n5"]).keys() == {"n5"}
    stage.roster.condemn("n2")
    unfit = stage.roster.unfit(["n1"])
    assert "n2 is still to be replaced" in unfit["n1"]
    stage.system.silent = True
    stage.operator._known = None
    assert "no node said" in stage.roster.unfit(["n1"])["n1"]
