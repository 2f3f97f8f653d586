"""What a system promises to survive: what is drawn by `all`, what was beyond, and what that means."""

from dataclasses import replace

import pytest

from checker.verdict import Verdict
from harness.nemesis.beyond import LOSSES, beyond_model, inside, nodes_struck, stays_inside
from harness.nemesis.conductor import FaultRecord
from harness.nemesis.faults import Certainty, Report
from harness.nemesis.plan import VARIANTS, Fault, make_plan
from harness.outcome import CheckSummary, Evidence, Outcome, decide
from harness.systems import KINDS, possible_faults
from harness.systems.fault_model import CRASHES_ONLY, FaultModel, Loss, Share

NODES = ("n1", "n2", "n3", "n4", "n5")
RAFT = KINDS["raft"].model
NOTHING = FaultModel(survives={})


def record(
    kind: str,
    name: str,
    *nodes: str,
    certainty: Certainty = Certainty.INSTALLED,
    contained: bool = False,
) -> FaultRecord:
    fault = Fault(id=1, kind=kind, name=name, start_ns=0, stop_ns=1, targets=nodes, fallback=NODES)
    begun = {node: Report(certainty, "seen", contained=contained) for node in nodes}
    return FaultRecord(fault, targets=nodes, begun=begun)


def test_what_a_variant_takes_is_said_of_variants_that_there_are() -> None:
    assert set(LOSSES) <= {(kind, name) for kind, names in VARIANTS.items() for name in names}
    for kind in ("damage", "amnesia"):
        assert {(kind, name) for name in VARIANTS[kind]} <= set(LOSSES)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_as_many_are_struck_as_the_plan_strikes(count: int) -> None:
    nodes = tuple(f"n{number}" for number in range(count))
    made = make_plan(
        seed=3,
        kinds=tuple({kind for kind, _ in LOSSES}),
        nodes=nodes,
        time_limit_ns=100_000,
        interval_ns=5_000,
    )
    for fault in made.faults:
        if (fault.kind, fault.name) in LOSSES:
            assert len(fault.targets) == nodes_struck(fault.name, count)


def drawn_from(name: str, nodes: int) -> set[str]:
    return set(inside(KINDS[name].model, possible_faults(KINDS[name], nodes), nodes))


def test_all_draws_what_is_survived_and_nothing_beyond() -> None:
    assert "damage" in drawn_from("raft", 5)
    assert "amnesia" not in drawn_from("raft", 5)
    assert "damage" not in drawn_from("raft", 3)  # nobody could be replaced
    assert {"disk", "kill"} < drawn_from("etcd", 5)
    assert stays_inside(CRASHES_ONLY, "disk", 3)
    assert not stays_inside(CRASHES_ONLY, "damage", 5)
    assert not stays_inside(NOTHING, "disk", 3)
    assert stays_inside(NOTHING, "partition", 3)
    one = FaultModel(survives={Loss.UNSYNCED: Share.ONE})
    assert not stays_inside(one, "disk", 3)  # some power losses strike more


def test_shares_are_counted_in_nodes() -> None:
    model = FaultModel(survives={Loss.TORN: Share.MINORITY, Loss.VISIBLE: Share.ONE})
    assert [model.nodes_that_may_suffer(Loss.TORN, nodes) for nodes in (1, 3, 4, 5)] == [0, 1, 1, 2]
    assert model.nodes_that_may_suffer(Loss.VISIBLE, 5) == 1
    assert model.nodes_that_may_suffer(Loss.HIDDEN, 5) == 0


@pytest.mark.parametrize(
    ("one", "beyond"),
    [
        (record("partition", "halves", *NODES), False),
        (record("disk", "power-loss-all", *NODES), False),
        (record("damage", "torn-write", "n1"), False),
        (record("damage", "bit-flip", "n1", contained=True), False),
        (record("damage", "bit-flip", "n1"), True),
        (record("damage", "bit-flip", "n1", certainty=Certainty.INDETERMINATE), True),
        (record("damage", "bit-flip", "n1", certainty=Certainty.SKIPPED), False),
        (record("amnesia", "cut-one", "n1"), True),
        (record("amnesia", "cut-one", "n1", contained=True), False),  # it saw it all the same
        (record("amnesia", "cut-majority", "n1", "n2", "n3", contained=True), True),
    ],
)
def test_what_raft_survives_is_decided_by_what_was_seen(one: FaultRecord, beyond: bool) -> None:
    said = beyond_model(RAFT, [one], 5)
    assert bool(said) is beyond
    if beyond:
        assert f"{one.fault.kind}:{one.fault.name} on n1" in said[0]


def test_a_system_that_survives_nothing_is_beyond_what_it_survives_at_once() -> None:
    assert beyond_model(NOTHING, [record("disk", "power-loss-one", "n1")], 5)
    assert beyond_model(NOTHING, [record("kill", "kill-all", *NODES)], 5) == []


def test_a_fault_that_failed_half_way_may_have_happened() -> None:
    one = record("damage", "bit-flip", "n1")
    one.begun = {"*": Report(Certainty.INDETERMINATE, "was being applied")}
    assert beyond_model(RAFT, [one], 5)
    one.targets, one.begun = (), {"*": Report(Certainty.SKIPPED, "no node was fit to be struck")}
    assert beyond_model(RAFT, [one], 5) == []


def test_nobody_is_judged_on_a_disk_that_lost_what_was_fsynced() -> None:
    """Then the power loss broke off with an error: what was acknowledged may be gone."""
    one = record("disk", "power-loss-one", "n1")
    one.begun = {"*": Report(Certainty.INDETERMINATE, "was being applied")}
    [said] = beyond_model(RAFT, [one], 5)
    assert "disk:power-loss-one on n1: nobody knows what it took" in said


def test_a_node_that_refused_only_later_has_refused() -> None:
    one = record("damage", "bit-flip", "n1")
    one.ended = {"n1": Report(Certainty.INDETERMINATE, "votes", contained=True)}
    assert beyond_model(RAFT, [one], 5) == []


# What it means for the outcome.

WRONG = CheckSummary(name="linearizable", verdict=Verdict.INVALID, reason="read 3 after 5")
GOOD = Evidence(
    checks=[CheckSummary(name="linearizable", verdict=Verdict.VALID)],
    acknowledged=100,
    acknowledged_min=10,
    fault_kinds=("damage",),
    fault_evidence={("damage", "bit-flip"): ["installed"]},
    never_acknowledged=(),
    leader_faults=0,
    leader_changes=0,
)
BEYOND = ["beyond the fault model: amnesia:cut-one on n1"]


def test_what_is_wrong_after_a_fault_beyond_the_model_is_neither_violation_nor_pass() -> None:
    bad = replace(GOOD, checks=[WRONG])
    assert decide(bad)[0] is Outcome.VIOLATION
    outcome, reasons = decide(replace(bad, beyond_model=BEYOND))
    assert outcome is Outcome.INCONCLUSIVE
    assert reasons[0] == BEYOND[0]
    assert "linearizable: invalid (read 3 after 5)" in reasons[1]


def test_who_survives_more_than_promised_passes_and_it_is_said() -> None:
    outcome, reasons = decide(replace(GOOD, beyond_model=BEYOND))
    assert outcome is Outcome.PASS
    assert reasons == ["linearizable: valid", *BEYOND]


def test_a_failure_of_ours_comes_before_what_was_beyond() -> None:
    bad = replace(GOOD, checks=[WRONG], beyond_model=BEYOND)
    assert decide(replace(bad, failures=["a host is gone"]))[0] is Outcome.HARNESS_FAILURE
    assert decide(replace(bad, interrupted=True))[0] is Outcome.INTERRUPTED
