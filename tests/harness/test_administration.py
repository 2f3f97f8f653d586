"""Operators' orders: what answers mean, whom to ask next, and nodes that go out and come back."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from harness.nemesis.administration import Member, Transfer, unable
from harness.nemesis.faults import Certainty
from harness.nemesis.plan import ADMINISTRATIVE, DAMAGING, Fault
from harness.nemesis.roster import Roster
from harness.spec import FAULTS
from harness.systems.administrated import Administrated, Ending, Members, Reply, newest
from harness.systems.operator import Operator, next_to_ask
from harness.systems.raft_admin import REFUSALS, members_of, reply_of, reply_of_failure
from harness.systems.raft_errors import ERRORS

NODES = ("n1", "n2", "n3", "n4", "n5")
REFUSED = Reply(ending=Ending.REFUSED, code="no-leader")
DOUBT = Reply(ending=Ending.UNKNOWN, code="timeout")


def members(
    *voters: str, index: int = 1, committed: bool = True, **more: tuple[str, ...]
) -> Members:
    return Members(
        voters=voters,
        outgoing=more.get("outgoing", ()),
        learners=more.get("learners", ()),
        index=index,
        committed=committed,
    )


# What answers mean.


def test_the_newest_committed_configuration_is_believed() -> None:
    old, new = members("n1", "n2", index=3), members("n1", index=7)
    unsure = members("n2", index=9, committed=False)
    assert newest([old, None, new, unsure]) is new
    assert newest([None, unsure]) is None


def test_a_voter_of_a_joint_configuration_does_not_count_as_one_yet() -> None:
    joint = members("n1", "n2", outgoing=("n1",), learners=("n3",))
    assert not joint.votes("n1")
    assert joint.includes("n3")
    assert not joint.includes("n4")


def test_a_refusal_takes_a_promise_and_a_known_code() -> None:
    def refusal(code: str, *, definite: object) -> Reply:
        error = {"code": code, "definite": definite, "message": "m", "leader": "n2"}
        return reply_of(503, json.dumps({"ok": False, "error": error}).encode())

    assert refusal("not-leader", definite=True) == Reply(
        ending=Ending.REFUSED, code="not-leader", leader="n2"
    )
    assert refusal("not-leader", definite=False).ending is Ending.UNKNOWN
    assert refusal("not-leader", definite=1).ending is Ending.UNKNOWN
    assert refusal("brand-new", definite=True).ending is Ending.UNKNOWN
    assert refusal("outcome-unknown", definite=True).ending is Ending.UNKNOWN
    done = {"ok": True, "value": "n2", "index": 7, "term": 2, "node": "n1"}
    assert reply_of(200, json.dumps(done).encode()) == Reply(ending=Ending.DONE, index=7)
    for body in (b"<html>", b"[]", b'{"ok": true}', b'{"ok": false}', b'{"error": {"code": 4}}'):
        assert reply_of(200, body).ending is Ending.UNKNOWN
    assert reply_of_failure("not-connected").ending is Ending.REFUSED
    assert reply_of_failure("timeout").ending is Ending.UNKNOWN


def test_what_operators_are_refused_with_is_definite_for_clients_too() -> None:
    assert {code for code in REFUSALS if not ERRORS[code]} == set()


def test_members_are_read_exactly_or_not_at_all() -> None:
    answer = {"voters": ["n1"], "outgoing": [], "learners": ["n2"], "index": 4, "committed": True}
    assert members_of(answer) == members("n1", learners=("n2",), index=4)
    for broken in ({"index": "4"}, {"committed": 1}, {"voters": None}):
        assert members_of({**answer, **broken}) is None
    del answer["learners"]
    assert members_of(answer) is None


@pytest.mark.parametrize(
    ("code", "leader", "expected"),
    [
        ("not-leader", "n4", "n4"),
        ("not-leader", None, "n3"),
        ("not-leader", "n9", "n2"),  # nobody of ours: the same one, which may know better soon
        ("no-leader", None, "n3"),
        ("not-connected", None, "n3"),
        ("change-in-progress", "n2", "n2"),
    ],
)
def test_whom_to_ask_after_a_refusal(code: str, leader: str | None, expected: str) -> None:
    reply = Reply(ending=Ending.REFUSED, code=code, leader=leader)
    assert next_to_ask(reply, "n2", NODES) == expected


def test_after_the_last_node_comes_the_first() -> None:
    assert next_to_ask(REFUSED, "n5", NODES) == "n1"


# A cluster that is one value, and hosts that write down what was done to them.


@dataclass
class FakeSystem:
    """Carries out what it is told at once, unless `answer` says otherwise."""

    now: Members = field(default_factory=lambda: members(*NODES))
    leader: str = "n1"
    answer: Callable[[str], Reply | None] = lambda asked: None
    asked: list[str] = field(default_factory=list)
    exits_without_data: frozenset[int] = frozenset({6})
    silent: bool = False
    promotes: bool = True

    def prepare_to_join(self, node: str, home: str) -> list[list[str]]:
        return [["init", node, home]]

    def members(self, node: str, timeout_s: float) -> Members | None:
        return None if self.silent else self.now

    def add_member(self, via: str, node: str, timeout_s: float) -> Reply:
        def add() -> None:
            if self.promotes:
                self._become(voters=(*self.now.voters, node))
            else:
                self._become(learners=(*self.now.learners, node))

        return self._obey(f"add {node}", via, add)

    def remove_member(self, via: str, node: str, timeout_s: float) -> Reply:
        def remove() -> None:
            voters = tuple(one for one in self.now.voters if one != node)
            learners = tuple(one for one in self.now.learners if one != node)
            self._become(voters=voters, learners=learners)

        return self._obey(f"remove {node}", via, remove)

    def transfer(self, via: str, to: str, timeout_s: float) -> Reply:
        def lead() -> None:
            self.leader = to

        return self._obey(f"transfer {to}", via, lead)

    def snapshot(self, via: str, timeout_s: float) -> Reply:
        return Reply(ending=Ending.DONE, index=self.now.index)

    def _become(self, **changes: tuple[str, ...]) -> None:
        self.now = replace(self.now, index=self.now.index + 2, **changes)  # type: ignore[arg-type]

    def _obey(self, what: str, via: str, act: Callable[[], None]) -> Reply:
        self.asked.append(f"{what} via {via}")
        said = self.answer(what)
        if said is not None and said.ending is Ending.REFUSED:
            return said
        if said is None and via != self.leader:
            return Reply(ending=Ending.REFUSED, code="not-leader", leader=self.leader)
        act()
        return said or Reply(ending=Ending.DONE, index=self.now.index)


@dataclass
class FakeHosts:
    nodes: tuple[str, ...] = NODES
    done: list[str] = field(default_factory=list)

    def start_anew(self, node: str) -> str:
        self.done.append(f"anew {node}")
        return "runs as 7"


class Stage:
    def __init__(self) -> None:
        self.system = FakeSystem()
        self.hosts = FakeHosts()
        self.stopped = threading.Event()
        self.operator = Operator(
            self.system, NODES, leader=lambda: self.system.leader, stopped=self.stopped
        )
        self.roster = Roster(self.hosts, self.operator)

    def soon(self, seconds: float = 5) -> float:
        return self.operator.deadline(seconds)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def fault(name: str, *targets: str, kind: str = "member") -> Fault:
    return Fault(id=1, kind=kind, name=name, start_ns=0, stop_ns=1, targets=targets, fallback=NODES)


def test_the_fake_has_the_capability(stage: Stage) -> None:
    assert isinstance(stage.system, Administrated)


def test_a_request_follows_the_leader(stage: Stage) -> None:
    stage.system.leader = "n4"
    operator = Operator(stage.system, NODES, leader=lambda: "n2", stopped=stage.stopped)
    assert operator.transfer("n3", operator.deadline(5)).ending is Ending.DONE
    assert stage.system.asked == ["transfer n3 via n2", "transfer n3 via n4"]


def test_doubt_is_not_asked_again_and_a_refusal_for_good_neither(stage: Stage) -> None:
    for said in (DOUBT, Reply(ending=Ending.REFUSED, code="unknown-member")):
        stage.system.asked.clear()
        stage.system.answer = lambda asked, said=said: said  # type: ignore[misc]
        assert stage.operator.transfer("n3", stage.soon()) == said
        assert len(stage.system.asked) == 1


def test_asking_ends_at_the_deadline_and_when_the_faults_end(stage: Stage) -> None:
    stage.system.answer = lambda asked: REFUSED
    assert stage.operator.remove("n3", stage.soon(0.3)) == REFUSED
    assert 2 <= len(stage.system.asked) <= 5
    stage.stopped.set()
    stage.system.asked.clear()
    assert stage.operator.remove("n3", stage.soon(3600)) == REFUSED
    assert len(stage.system.asked) == 1


def test_an_older_configuration_is_not_believed_later(stage: Stage) -> None:
    stage.system.now = members("n1", "n2", index=9)
    stage.operator.look()
    stage.system.now = members(*NODES, index=3)
    assert stage.operator.look() == members("n1", "n2", index=9)


def test_every_configuration_that_a_node_knows_may_be_in_force(stage: Stage) -> None:
    """Committed or not, and both halves of a joint one."""
    joint = Members(
        voters=("n1", "n2", "n3", "n4"),
        outgoing=("n1", "n2", "n3", "n5"),
        learners=(),
        index=2,
        committed=False,
    )
    everyone = stage.system.members
    stage.system.members = lambda node, s: joint if node == "n2" else everyone(node, s)  # type: ignore
    known = stage.operator.configurations()
    assert set(known) == {stage.system.now.voters, joint.voters, joint.outgoing}


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


def test_a_node_that_has_compacted_its_log_knows_the_members_all_the_same(stage: Stage) -> None:
    """After a restart from a snapshot it shows the snapshot's index for the configuration's."""
    everyone = stage.system.members
    later = replace(stage.system.now, index=2383)
    stage.system.members = lambda node, s: later if node == "n3" else everyone(node, s)  # type: ignore
    assert stage.roster.restore(stage.soon(0.5)) == ""
    under_way = replace(later, committed=False)
    stage.system.members = lambda node, s: under_way if node == "n3" else everyone(node, s)  # type: ignore
    assert "n3 knows nothing" in stage.roster.restore(stage.soon(0.3))


def test_faults_that_end_leave_the_rest_to_the_recovery(stage: Stage) -> None:
    member = Member(stage.operator, stage.roster)
    assert member.start(fault("remove-one", "n3"), ["n3"])["n3"].certainty is Certainty.INSTALLED
    stage.stopped.set()
    left = member.stop(fault("remove-one", "n3"), ["n3"])["n3"]
    assert "recovery" in left.detail
    assert left.lasting, "it is out still"
    assert stage.hosts.done == []
    stage.operator.free()
    assert stage.roster.restore(stage.soon()) == ""
    assert stage.hosts.done == ["anew n3"]


def test_the_member_fault_replaces_at_once_or_at_its_end(stage: Stage) -> None:
    member = Member(stage.operator, stage.roster)
    member.start(fault("replace-one", "n3"), ["n3"])
    assert stage.hosts.done == ["anew n3"]
    member.start(fault("remove-one", "n4"), ["n4"])
    assert stage.roster.out() == ["n4"]
    stage.system.now = replace(stage.system.now, voters=("n1", "n2", "n3"), index=90)
    reports = member.stop(fault("remove-one", "n4"), ["n4"])
    assert set(reports) == {"n4", "n5"}, "whoever is out comes back"
    assert not any(report.lasting for report in reports.values())
    assert stage.roster.out() == []


def test_a_transfer_is_what_the_old_leader_says_and_may_be_given_back(stage: Stage) -> None:
    transfer = Transfer(stage.operator)
    one = fault("there-and-back", "n4", kind="transfer")
    assert transfer.start(one, ["n4"])["n4"].certainty is Certainty.INSTALLED
    assert stage.system.leader == "n4"
    transfer.stop(one, ["n4"])
    assert stage.system.leader == "n1"
    other = fault("to-another", "n2", kind="transfer")
    transfer.start(other, ["n2"])
    transfer.stop(other, ["n2"])
    assert stage.system.leader == "n2"
    assert transfer.start(other, ["n2"])["n2"].certainty is Certainty.SKIPPED
    stage.system.answer = lambda asked: DOUBT
    assert transfer.start(one, ["n4"])["n4"].certainty is Certainty.INDETERMINATE


def test_a_system_that_takes_no_orders_is_skipped() -> None:
    kinds = unable("it takes no orders")
    assert set(kinds) == {*ADMINISTRATIVE, *DAMAGING} < set(FAULTS)
    for kind in kinds.values():
        assert kind.start(fault("any", "n1"), ["n1"])["n1"].certainty is Certainty.SKIPPED
