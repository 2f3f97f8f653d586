"""Operators' orders: what answers mean, whom to ask next, and the faults that are such orders."""

import json
from dataclasses import replace

import pytest
from administered import DOUBT, NODES, REFUSED, Stage, members

from harness.nemesis.administration import Member, Transfer, unable
from harness.nemesis.faults import Certainty
from harness.nemesis.plan import ADMINISTRATIVE, DAMAGING, Fault
from harness.spec import FAULTS
from harness.systems.administrated import Administrated, Ending, Members, Reply, newest
from harness.systems.operator import Operator, next_to_ask
from harness.systems.raft_admin import REFUSALS, members_of, reply_of, reply_of_failure
from harness.systems.raft_errors import ERRORS

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
