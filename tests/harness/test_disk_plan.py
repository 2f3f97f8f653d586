"""Disk faults before any disk: who is struck, what counts as seen, and whose exits are excused."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cluster import Cluster
from harness.errors import HarnessError
from harness.nemesis.conductor import FaultRecord, evidence_by_name
from harness.nemesis.disk import (
    Disk,
    certainty_of_failing_disk,
    certainty_of_full_disk,
    certainty_of_power_loss,
    certainty_of_slow_disk,
)
from harness.nemesis.faults import Certainty, Crew, Report
from harness.nemesis.plan import LEADER, VARIANTS, Fault, make_plan
from harness.remote.evidence import (
    DAMAGED_DATA,
    FAILING_DISK,
    FULL_DISK,
    Exit,
    FailingDisk,
    FullDisk,
    PowerLoss,
    Skipped,
    SlowDisk,
)
from harness.systems.fault_model import FaultModel
from harness.systems.system import System

SECOND = 1_000_000_000


def planned(seed: int, nodes: Sequence[str]) -> tuple[Fault, ...]:
    made = make_plan(
        seed=seed,
        kinds=("disk",),
        nodes=nodes,
        time_limit_ns=40 * SECOND,
        interval_ns=5 * SECOND,
    )
    return made.faults


@given(seed=st.integers(min_value=0, max_value=2**63), count=st.integers(min_value=1, max_value=9))
def test_each_disk_fault_strikes_as_many_as_its_name_says(seed: int, count: int) -> None:
    nodes = tuple(f"n{number}" for number in range(count))
    faults = planned(seed, nodes)
    assert faults[0].targets == (LEADER,)
    assert {fault.name for fault in faults[:7]} == set(VARIANTS["disk"])
    for fault in faults:
        if fault.name == "power-loss-all":
            assert fault.targets == nodes
        elif fault.name == "power-loss-minority":
            assert len(set(fault.targets)) == len(fault.targets) == max(1, (count - 1) // 2)
        else:
            assert len(fault.targets) == 1


@pytest.mark.parametrize(
    ("was_running", "kept_durable", "kept_fleeting", "believed"),
    [
        (True, True, False, True),
        (True, True, True, False),  # nothing was lost
        (True, False, False, False),
        (False, True, False, False),  # nobody was there to lose anything
    ],
)
def test_a_power_loss_has_to_lose_one_canary_and_keep_the_other(
    was_running: bool, kept_durable: bool, kept_fleeting: bool, believed: bool
) -> None:
    seen = PowerLoss(
        was_running=was_running, kept_durable=kept_durable, kept_fleeting=kept_fleeting
    )
    assert (certainty_of_power_loss(seen) is Certainty.INSTALLED) is believed


@pytest.mark.parametrize(
    ("available_bytes", "refused", "believed"),
    [(0, True, True), (0, False, False), (9, True, False)],
)
def test_a_full_disk_has_no_room_and_refuses(
    available_bytes: int, refused: bool, believed: bool
) -> None:
    seen = FullDisk(available_bytes=available_bytes, refused=refused)
    assert (certainty_of_full_disk(seen) is Certainty.INSTALLED) is believed


@pytest.mark.parametrize(
    ("before_ms", "after_ms", "believed"),
    [(0.5, 50, True), (0.5, 10, False), (30, 50, False), (15, 50, True), (24, 50, True)],
)
def test_a_slow_disk_is_slow_and_slower_than_before(
    before_ms: float, after_ms: float, believed: bool
) -> None:
    seen = SlowDisk(before_ms=before_ms, after_ms=after_ms)
    assert (certainty_of_slow_disk(seen) is Certainty.INSTALLED) is believed


@pytest.mark.parametrize(
    ("was_running", "refused", "ended", "believed"),
    [
        (True, True, True, True),
        (True, True, False, True),  # a system that hears nothing of it was struck all the same
        (True, False, True, False),
        (False, True, False, False),
    ],
)
def test_a_failing_disk_refuses_a_running_system_its_fsyncs(
    was_running: bool, refused: bool, ended: bool, believed: bool
) -> None:
    seen = FailingDisk(was_running=was_running, refused=refused, ended=ended)
    assert (certainty_of_failing_disk(seen) is Certainty.INSTALLED) is believed
    assert "EIO" in seen.detail or not refused


def test_what_a_host_has_no_means_for_counts_only_where_it_need_not_have() -> None:
    reports = {"n1": Report(Certainty.SKIPPED, "no means")}
    by_name = {fault.name: fault for fault in planned(1, ("n1", "n2", "n3"))}
    records = [FaultRecord(by_name[name], begun=reports) for name in ("slow", "full")]
    assert evidence_by_name(records) == {("disk", "full"): ["skipped"]}
    seen = FaultRecord(by_name["slow"], begun={"n1": Report(Certainty.INSTALLED, "slow")})
    assert evidence_by_name([seen]) == {("disk", "slow"): ["installed"]}


@dataclass
class FakeAgent:
    """Writes down what is asked of one host."""

    node: str
    log: list[str]
    skipped: str = ""
    kept_durable: bool = True
    exits: tuple[Exit, ...] = ()

    def write_canaries(self) -> Skipped | None:
        self.log.append(f"canaries {self.node}")
        return Skipped(self.skipped) if self.skipped else None

    def cut_power(self) -> PowerLoss:
        self.log.append(f"cut {self.node}")
        return PowerLoss(was_running=True, kept_durable=self.kept_durable, kept_fleeting=False)

    def undo_disk(self) -> None:
        self.log.append(f"undo {self.node}")

    def process(self) -> SimpleNamespace:
        return SimpleNamespace(exits=self.exits)


@dataclass
class FakeCrew:
    """Commands fake agents one after the other, and starts what is down."""

    agents: dict[str, FakeAgent] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def add(self, node: str, **how: Any) -> None:
        self.agents[node] = FakeAgent(node, self.log, **how)

    @property
    def cluster(self) -> "FakeCrew":
        return self

    def hold(self, node: str) -> AbstractContextManager[None]:
        self.held.append(node)
        return nullcontext()

    def start(self, node: str) -> str:
        self.log.append(f"start {node}")
        return "runs"

    def on(
        self, nodes: Sequence[str], act: Callable[[str, FakeAgent], Report]
    ) -> dict[str, Report]:
        return {node: act(node, self.agents[node]) for node in nodes}


def power_loss() -> Fault:
    return next(fault for fault in planned(1, ("n1", "n2", "n3")) if fault.name == "power-loss-all")


def test_canaries_are_everywhere_before_anybody_is_struck_and_who_is_unable_is_not_struck() -> None:
    crew = FakeCrew()
    crew.add("n1")
    crew.add("n2", skipped="no loop devices")
    crew.add("n3")
    kind = Disk(cast("Crew", crew))
    reports = kind.start(power_loss(), ("n1", "n2", "n3"))
    assert crew.log == ["canaries n1", "canaries n2", "canaries n3", "cut n1", "cut n3"]
    assert [reports[node].certainty.value for node in ("n1", "n2", "n3")] == [
        "installed",
        "skipped",
        "installed",
    ]
    assert reports["n2"].detail == "no loop devices"
    crew.log.clear()
    ended = kind.stop(power_loss(), ("n1",))
    assert crew.log == ["undo n1", "start n1"]
    assert ended["n1"].certainty is Certainty.INDETERMINATE


def test_a_disk_that_loses_what_was_fsynced_is_the_harness_failure_and_no_evidence() -> None:
    crew = FakeCrew()
    crew.add("n1", kept_durable=False)
    with pytest.raises(HarnessError, match=r"n1: its volume lost what had been fsynced"):
        Disk(cast("Crew", crew)).start(power_loss(), ("n1",))


@pytest.mark.parametrize(
    ("status", "signal", "asked_by", "blamed"),
    [
        (4, None, FULL_DISK, "nobody"),
        (4, None, FAILING_DISK, "nobody"),
        (3, None, FAILING_DISK, "nobody"),
        (None, "SIGSEGV", FAILING_DISK, "system"),
        (3, None, DAMAGED_DATA, "nobody"),
        (3, None, None, "system"),
        (70, None, DAMAGED_DATA, "system"),
        (4, None, None, "surroundings"),
        (1, None, FULL_DISK, "system"),
        (None, "SIGSEGV", FULL_DISK, "system"),
        (None, "SIGKILL", FULL_DISK, "surroundings"),
        (None, "SIGKILL", "kill", "nobody"),
    ],
)
def test_giving_up_on_a_struck_disk_is_excused_and_nothing_else_is(
    status: int | None, signal: str | None, asked_by: str | None, blamed: str
) -> None:
    system = cast("System", SimpleNamespace(environmental_exits=frozenset({4})))
    model = FaultModel(refuses_with=frozenset({3}))
    cluster = Cluster([], system, disk_faults=True, model=model)
    one = Exit(pid=9, status=status, signal=signal, asked_by=asked_by, at_wall_ns=0)
    cluster._agents["n1"] = cast("Any", FakeAgent("n1", [], exits=(one,)))
    crashes, misfortunes = cluster.unexplained_exits()
    said = "system" if crashes else "surroundings" if misfortunes else "nobody"
    assert said == blamed
