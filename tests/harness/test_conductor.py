"""The conductor, with faults that only write down what was asked of them."""

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from checker.history import NEMESIS, EventType, read_jsonl
from harness.journal import Journal
from harness.nemesis.conductor import (
    Conductor,
    FaultRecord,
    Quorum,
    came_back,
    evidence_by_name,
)
from harness.nemesis.faults import Certainty, Report, Reports, overall
from harness.nemesis.plan import LEADER, Fault, Plan
from harness.progress import Progress

MS = 1_000_000
NODES = ("n1", "n2", "n3")


@dataclass
class Notebook:
    """A kind of fault that always works, and writes down what happened."""

    log: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)
    begun: Certainty = Certainty.INDETERMINATE
    ended: Certainty = Certainty.INSTALLED
    fails: bool = False
    takes_s: float = 0.0

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        self.log.append(("start", fault.id, tuple(targets)))
        time.sleep(self.takes_s)
        if self.fails:
            raise RuntimeError("the agent speaks in riddles")
        return {node: Report(self.begun, "began") for node in targets}

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        self.log.append(("stop", fault.id, tuple(targets)))
        return {node: Report(self.ended, "ended") for node in targets}


def fault(number: int, start_ms: int, stop_ms: int, *targets: str, kind: str = "kill") -> Fault:
    return Fault(
        id=number,
        kind=kind,
        name=f"{kind}-{number}",
        start_ns=start_ms * MS,
        stop_ns=stop_ms * MS,
        targets=targets,
        fallback=NODES,
    )


class Stage:
    """Everything a conductor needs, with a leader and nodes that a test can take away."""

    def __init__(self, tmp_path: Path) -> None:
        self.journal = Journal(tmp_path / "history.jsonl")
        self.kind = Notebook()
        self.slow = Notebook(takes_s=0.25)
        self.absent: set[str] = set()
        self.stopped = threading.Event()
        self.leader: str | None = "n2"
        self.quorum: Quorum | None = None
        self.progress = Progress(shown=False)

    def conduct(self, *faults: Fault, for_ms: int, finish: bool = True) -> Conductor:
        began_ns = time.monotonic_ns()
        self.stopped = threading.Event()  # the end of an earlier one is not that of this one
        conductor = Conductor(
            plan=Plan(seed=0, faults=faults),
            nodes=NODES,
            kinds={
                "kill": self.kind,
                "partition": self.kind,
                "disk": self.kind,
                "pause": self.kind,
                "resource": self.kind,
                "member": self.slow,
                "transfer": self.kind,
            },
            journal=self.journal,
            clock=lambda: time.monotonic_ns() - began_ns,
            leader=lambda: self.leader,
            progress=self.progress,
            absent=lambda: self.absent,
            stopped=self.stopped,
            quorum=self.quorum,
        )
        conductor.start()
        time.sleep(for_ms / 1000)
        if finish:
            conductor.finish(timeout_s=5)
        return conductor


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.journal.close()


def test_faults_begin_and_end_in_their_order_and_are_journalled(stage: Stage) -> None:
    conductor = stage.conduct(fault(0, 0, 60, "n1"), fault(1, 20, 40, "n3"), for_ms=300)
    assert [(what, number) for what, number, _ in stage.kind.log] == [
        ("start", 0),
        ("start", 1),
        ("stop", 1),
        ("stop", 0),
    ]
    events = read_jsonl(stage.journal.path).events
    assert len(events) == 8
    assert {event.process for event in events} == {NEMESIS}
    assert [event.type for event in events] == [EventType.INVOKE, EventType.INFO] * 4
    assert events[1].value["evidence"] == "indeterminate"
    assert events[-1].value["evidence"] == "installed"
    assert events[-1].value["detail"] == {"n1": "ended"}
    assert [record.certainty for record in conductor.records] == [Certainty.INSTALLED] * 2
    document = conductor.records[0].to_json()
    assert (document["detail"], document["detail_stop"]) == ({"n1": "began"}, {"n1": "ended"})
    assert 0 <= document["start_ns"] < document["stop_ns"]


def test_what_is_in_force_at_the_end_is_undone_and_what_never_began_is_not(stage: Stage) -> None:
    conductor = stage.conduct(fault(0, 0, 60_000, "n1"), fault(1, 50_000, 60_000, "n1"), for_ms=200)
    assert stage.kind.log == [("start", 0, ("n1",)), ("stop", 0, ("n1",))]
    assert stage.progress.faults == {}
    assert evidence_by_name(conductor.records) == {
        ("kill", "kill-0"): ["installed"],
        ("kill", "kill-1"): ["skipped"],
    }


def test_the_leader_is_looked_up_when_the_fault_begins(stage: Stage) -> None:
    conductor = stage.conduct(fault(0, 0, 20, LEADER), for_ms=200)
    assert conductor.records[0].targets == ("n2",)


def test_without_a_leader_the_fallback_is_taken(stage: Stage) -> None:
    stage.leader = None
    assert stage.conduct(fault(0, 0, 20, LEADER), for_ms=200).records[0].targets == ("n1",)


def test_a_node_that_is_down_already_is_passed_over(stage: Stage) -> None:
    conductor = stage.conduct(fault(0, 0, 100, LEADER), fault(1, 20, 60, LEADER), for_ms=300)
    assert [record.targets for record in conductor.records] == [("n2",), ("n1",)]
    assert [record.struck_leader for record in conductor.records] == [True, False]


def test_a_node_whose_disk_is_struck_is_passed_over(stage: Stage) -> None:
    struck = fault(0, 0, 100, LEADER, kind="disk")
    conductor = stage.conduct(struck, fault(1, 20, 60, LEADER), for_ms=300)
    assert [record.targets for record in conductor.records] == [("n2",), ("n1",)]


@pytest.mark.parametrize(
    ("name", "next_one"), [("memory", "n1"), ("descriptors", "n1"), ("cpu", "n2")]
)
def test_who_lacks_memory_or_descriptors_is_passed_over_and_who_lacks_cpu_time_is_not(
    stage: Stage, name: str, next_one: str
) -> None:
    struck = replace(fault(0, 0, 100, LEADER, kind="resource"), name=name)
    conductor = stage.conduct(struck, fault(1, 20, 60, LEADER), for_ms=300)
    assert [record.targets for record in conductor.records] == [("n2",), (next_one,)]


def test_a_kind_that_takes_long_does_not_hold_up_the_others(stage: Stage) -> None:
    slow, quick = fault(0, 0, 300, "n1", kind="member"), fault(1, 20, 60, "n3")
    conductor = stage.conduct(slow, quick, for_ms=600)
    assert [entry[0] for entry in stage.kind.log] == ["start", "stop"]
    by_id = {record.fault.id: record for record in conductor.records}
    assert (by_id[1].stop_ns or 0) < 200 * MS, "it waited for the other kind"


def test_a_fault_whose_time_is_over_before_it_can_begin_is_skipped(stage: Stage) -> None:
    late = fault(1, 60, 100, "n1", kind="member")
    conductor = stage.conduct(fault(0, 0, 50, "n1", kind="member"), late, for_ms=700)
    record = conductor.records[1]
    assert (record.targets, record.certainty) == ((), Certainty.SKIPPED)
    assert "not over" in str(record.to_json()["detail"])


def test_nodes_that_are_absent_are_passed_over(stage: Stage) -> None:
    stage.absent = {"n1", "n2"}
    assert stage.conduct(fault(0, 0, 20, LEADER), for_ms=200).records[0].targets == ("n3",)


def test_a_transfer_goes_to_somebody_else_than_the_leader(stage: Stage) -> None:
    record = stage.conduct(fault(0, 0, 20, "n2", kind="transfer"), for_ms=200).records[0]
    assert record.targets == ("n1",)


def test_whoever_waits_for_something_hears_of_the_end(stage: Stage) -> None:
    conductor = stage.conduct(fault(0, 0, 60_000, "n1"), for_ms=50, finish=False)
    assert not stage.stopped.is_set()
    conductor.finish(timeout_s=5)
    assert stage.stopped.is_set()


def test_of_a_kind_that_the_system_carries_out_one_that_worked_is_enough(stage: Stage) -> None:
    stage.slow = Notebook(begun=Certainty.SKIPPED, ended=Certainty.INDETERMINATE)
    faults = (fault(0, 0, 20, "n1", kind="member"), fault(1, 0, 20, "n1", kind="transfer"))
    conductor = stage.conduct(*faults, for_ms=200)
    assert evidence_by_name(conductor.records) == {
        ("member", "*"): ["skipped"],
        ("transfer", "*"): ["installed"],
    }


def test_a_fault_that_strikes_nobody_is_skipped_and_says_so(stage: Stage) -> None:
    everyone = fault(0, 0, 100, *NODES)
    conductor = stage.conduct(everyone, fault(1, 20, 60, "n1"), for_ms=300)
    record = conductor.records[1]
    assert (record.targets, record.certainty) == ((), Certainty.SKIPPED)
    assert [number for _, number, _ in stage.kind.log] == [0, 0]
    assert "no node was fit" in str(record.to_json()["detail"])
    assert evidence_by_name(conductor.records) == {("kill", "kill-0"): ["installed"]}


def keep(
    stage: Stage, *voters: Sequence[str], silent: Collection[str] = ()
) -> None:  # fmt: skip
    stage.quorum = Quorum(lambda: list(voters), lambda: silent)


def test_where_a_quorum_is_kept_only_a_minority_is_struck(stage: Stage) -> None:
    keep(stage, NODES)
    both = stage.conduct(
        fault(0, 0, 200, *NODES), fault(1, 40, 160, LEADER, kind="pause"), for_ms=400
    )
    first, second = both.records
    assert first.targets == first.harmed == ("n1",)
    assert (second.targets, second.certainty) == ((), Certainty.SKIPPED)
    assert "quorum" in str(second.to_json()["detail"])
    assert evidence_by_name(both.records) == {("kill", "kill-0"): ["installed"]}


def test_a_node_that_is_cut_off_already_costs_no_quorum(stage: Stage) -> None:
    keep(stage, NODES)
    cut = fault(0, 0, 200, "n3", kind="partition")
    records = stage.conduct(cut, fault(1, 40, 160, LEADER), for_ms=400).records
    assert [record.targets for record in records] == [("n3",), ("n3",)]


def test_a_partition_of_all_happens_only_if_a_majority_stays_together(stage: Stage) -> None:
    keep(stage, NODES)
    ring = replace(
        fault(0, 0, 60, *NODES, kind="partition"), name="bridge", parameters={"shuffle": 1}
    )
    record = stage.conduct(ring, for_ms=200).records[0]
    assert record.targets == NODES
    assert len(record.harmed) == 1
    keep(stage, NODES, silent=set(NODES) - set(record.harmed))
    assert stage.conduct(ring, for_ms=200).records[0].targets == ()


@pytest.mark.parametrize(
    ("name", "targets", "struck"),
    [
        ("no-votes", NODES, ("n1",)),
        ("no-appends", (LEADER,), ()),
        ("no-appends", ("n3",), ()),
        ("no-snapshots", NODES, ()),
    ],
)
def test_where_a_quorum_is_kept_a_minority_may_lose_votes_and_nobody_anything_else(
    stage: Stage, name: str, targets: tuple[str, ...], struck: tuple[str, ...]
) -> None:
    loss = replace(fault(0, 0, 150, *targets, kind="partition"), name=name)
    anybody = stage.conduct(loss, for_ms=300).records[0]
    assert anybody.targets == tuple("n2" if one == LEADER else one for one in targets)
    assert anybody.harmed == NODES, "without a quorum to be kept"
    keep(stage, NODES)
    kept = stage.conduct(loss, for_ms=300).records[0]
    assert (kept.targets, kept.harmed) == (struck, struck)
    assert kept.certainty is (Certainty.INSTALLED if struck else Certainty.SKIPPED)


def test_both_configurations_of_a_change_keep_their_majority(stage: Stage) -> None:
    """Of n1 to n3 any one can be spared, of n2 and n3, which are to stay, none."""
    keep(stage, NODES, ("n2", "n3"))
    assert stage.conduct(fault(0, 0, 20, LEADER), for_ms=200).records[0].targets == ("n1",)


def test_a_node_that_says_nothing_counts_as_struck(stage: Stage) -> None:
    keep(stage, NODES, silent=("n3",))
    assert stage.conduct(fault(0, 0, 20, LEADER), for_ms=200).records[0].targets == ("n3",)


def test_handing_leadership_over_needs_no_quorum_to_spare(stage: Stage) -> None:
    keep(stage, NODES, silent=("n1",))
    record = stage.conduct(fault(0, 0, 20, "n3", kind="transfer"), for_ms=200).records[0]
    assert (record.targets, record.harmed) == (("n3",), ())


def test_a_member_that_is_not_back_counts_as_struck_until_it_is() -> None:
    def ended(number: int, stop_ns: int, *, lasting: bool, kind: str = "member") -> FaultRecord:
        report = Report(Certainty.INDETERMINATE, "", lasting=lasting)
        record = FaultRecord(fault(number, 0, 0, "n1", kind=kind), targets=("n1",))
        record.stop_ns, record.ended = stop_ns, {"n1": report}
        return record

    out = ended(0, 10, lasting=True)
    records = [out, ended(1, 20, lasting=False, kind="kill"), ended(2, 30, lasting=True)]
    assert came_back(out, records) == {"n1": None}
    assert came_back(out, [*records, ended(3, 40, lasting=False)]) == {"n1": 40}
    assert came_back(records[1], records) == {}


def test_a_record_says_when_the_fault_was_certainly_in_force(stage: Stage) -> None:
    record = stage.conduct(fault(0, 0, 60, "n1", kind="member"), for_ms=500).records[0]
    times = [record.start_ns, record.begun_ns, record.ending_ns, record.stop_ns]
    assert None not in times
    assert times == sorted(times, key=lambda one: one or 0)
    assert (record.begun_ns or 0) - (record.start_ns or 0) >= 250 * MS, "it took as long to apply"
    assert record.to_json()["harmed"] == ["n1"]


def test_being_undone_shows_nothing_about_having_been_done(stage: Stage) -> None:
    stage.kind.begun, stage.kind.ended = Certainty.SKIPPED, Certainty.INDETERMINATE
    record = stage.conduct(fault(0, 0, 20, "n1"), for_ms=200).records[0]
    assert record.certainty is Certainty.SKIPPED


def test_a_journal_that_fails_does_not_keep_faults_from_being_undone(stage: Stage) -> None:
    faults = (fault(0, 0, 60_000, "n1"), fault(1, 10, 60_000, "n3"))
    conductor = stage.conduct(*faults, for_ms=150, finish=False)
    stage.journal.close()
    conductor.finish(timeout_s=5)
    assert [entry for entry in stage.kind.log if entry[0] == "stop"] == [
        ("stop", 0, ("n1",)),
        ("stop", 1, ("n3",)),
    ]
    assert conductor.error is not None
    assert "JournalError" in conductor.error


def test_a_nemesis_that_breaks_is_heard_of_and_its_fault_is_undone(stage: Stage) -> None:
    stage.kind.fails = True
    conductor = stage.conduct(fault(0, 0, 20, "n1"), for_ms=200)
    assert conductor.error is not None
    assert "riddles" in conductor.error
    assert stage.kind.log[-1] == ("stop", 0, ("n1",))


def test_nodes_agree_on_the_best_evidence() -> None:
    def reports(*kinds: Certainty) -> Reports:
        return {str(number): Report(kind, "") for number, kind in enumerate(kinds)}

    installed, skipped, doubt = Certainty.INSTALLED, Certainty.SKIPPED, Certainty.INDETERMINATE
    assert overall(reports(skipped, installed, doubt)) is installed
    assert overall(reports(skipped, doubt)) is doubt
    assert overall(reports(skipped)) is skipped
    assert overall({}) is skipped
