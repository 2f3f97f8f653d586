"""Resource faults before any host: who is struck, what counts as seen, whose exits are excused."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cluster import Cluster
from harness.errors import HostError
from harness.hosts import lab_groups
from harness.hosts.host import HostAddress
from harness.nemesis.conductor import FaultRecord, evidence_by_name
from harness.nemesis.faults import Certainty, Crew, Report
from harness.nemesis.plan import LEADER, VARIANTS, Fault, make_plan
from harness.nemesis.resource import Resource, certainty_of
from harness.remote.evidence import (
    FEW_DESCRIPTORS,
    MEMORY_SQUEEZE,
    Exit,
    FewDescriptors,
    LittleCpu,
    LittleMemory,
    Skipped,
)
from harness.systems.raft import RaftSystem
from harness.systems.system import System

SECOND = 1_000_000_000
NODES = ("n1", "n2", "n3")


def planned(seed: int) -> dict[str, Fault]:
    made = make_plan(
        seed=seed,
        kinds=("resource",),
        nodes=NODES,
        time_limit_ns=40 * SECOND,
        interval_ns=5 * SECOND,
    )
    return {fault.name: fault for fault in made.faults}


@given(seed=st.integers(min_value=0, max_value=2**63))
def test_each_resource_fault_strikes_one_node_and_leaves_it_something(seed: int) -> None:
    faults = planned(seed)
    assert set(faults) == set(VARIANTS["resource"])
    for fault in faults.values():
        assert len(fault.targets) == 1
        assert fault.targets[0] in (*NODES, LEADER)
    assert 1 <= faults["cpu"].parameters["percent"] <= 10
    assert 256 <= faults["memory"].parameters["spare_kb"] <= 8192
    assert 50 <= faults["descriptors"].parameters["keep_percent"] <= 100


def test_over_some_seeds_every_fault_strikes_leaders_and_others() -> None:
    for name in VARIANTS["resource"]:
        struck = {planned(seed)[name].targets[0] == LEADER for seed in range(20)}
        assert struck == {True, False}


@pytest.mark.parametrize(
    ("seen", "believed"),
    [
        (LittleCpu(percent=5, times=1, waited_ms=0), True),
        (LittleCpu(percent=5, times=0, waited_ms=0), False),
        (LittleMemory(limit_bytes=9, used_bytes=9, hits=1, kills=0), True),
        (LittleMemory(limit_bytes=9, used_bytes=9, hits=0, kills=1), True),
        (LittleMemory(limit_bytes=9, used_bytes=9, hits=0, kills=0), False),
        (FewDescriptors(limit=6, opened=9, free=0), True),
        (FewDescriptors(limit=6, opened=5, free=1), False),
    ],
)
def test_what_the_kernel_counted_is_evidence_and_a_limit_alone_is_none(
    seen: LittleCpu | LittleMemory | FewDescriptors, believed: bool
) -> None:
    assert (certainty_of(seen) is Certainty.INSTALLED) is believed


def test_without_control_groups_cpu_and_memory_need_not_be_and_descriptors_must() -> None:
    reports = {"n1": Report(Certainty.SKIPPED, "no means")}
    records = [FaultRecord(fault, begun=reports) for fault in planned(1).values()]
    assert evidence_by_name(records) == {("resource", "descriptors"): ["skipped"]}


@dataclass
class FakeAgent:
    """Writes down what is asked of a host; its system misses nothing until it is looked at again."""

    log: list[str] = field(default_factory=list)
    skipped: str = ""
    fails: bool = False
    exits: tuple[Exit, ...] = ()

    def squeeze_cpu(self, percent: float) -> LittleCpu | Skipped:
        self.log.append(f"cpu {percent}")
        if self.skipped:
            return Skipped(self.skipped)
        return LittleCpu(percent=percent, times=0, waited_ms=0)

    def cpu_squeezed(self) -> LittleCpu | Skipped:
        if self.fails:
            raise HostError("no answer")
        if self.skipped:
            return Skipped(self.skipped)
        return LittleCpu(percent=5, times=3, waited_ms=80)

    def memory_squeezed(self) -> LittleMemory:
        return LittleMemory(limit_bytes=9, used_bytes=9, hits=1, kills=1)

    def undo_squeeze(self) -> None:
        self.log.append("undo")

    def end_damage(self) -> None:
        pass

    def stop(self, *, timeout_s: float) -> SimpleNamespace:
        self.log.append("stop")
        return SimpleNamespace(gone=True)

    def start(self, command: Any, *, log: str, clock: bool) -> SimpleNamespace:
        self.log.append("start")
        return SimpleNamespace(detail="runs as 8")

    def process(self) -> SimpleNamespace:
        return SimpleNamespace(exits=self.exits)


class FakeCrew:
    """Commands one fake agent, and starts what is down."""

    def __init__(self, agent: FakeAgent) -> None:
        self.agent, self.cluster = agent, self

    def hold(self, node: str) -> AbstractContextManager[None]:
        self.agent.log.append(f"hold {node}")
        return nullcontext()

    def start(self, node: str) -> str:
        self.agent.log.append(f"start {node}")
        return "runs as 7"

    def on(self, nodes: Any, act: Any) -> dict[str, Report]:
        return {node: act(node, self.agent) for node in nodes}


def cpu() -> Fault:
    return planned(1)["cpu"]


def test_an_effect_that_comes_later_is_seen_before_it_is_undone() -> None:
    crew = FakeCrew(FakeAgent())
    kind = Resource(cast("Crew", crew))
    record = FaultRecord(cpu())
    record.begun = kind.start(cpu(), ["n1"])
    seen = [record.certainty]
    record.ended = kind.stop(cpu(), ["n1"])
    assert [*seen, record.certainty] == [Certainty.INDETERMINATE, Certainty.INSTALLED]
    assert record.ended["n1"].detail.endswith("used up 3 times, it waited 80 ms; undone")
    percent = cpu().parameters["percent"]
    # Who is down is held down by another fault, and not started.
    assert crew.agent.log == ["hold n1", f"cpu {percent}", "undo"]


@pytest.mark.parametrize("name", ["memory", "descriptors"])
def test_who_may_have_ended_for_want_of_something_is_started_when_it_is_back(name: str) -> None:
    crew = FakeCrew(FakeAgent())
    ended = Resource(cast("Crew", crew)).stop(planned(1)[name], ["n1"])
    assert crew.agent.log == ["undo", "start n1"]
    assert ended["n1"].detail.endswith("undone: runs as 7")


def test_what_a_host_cannot_do_is_skipped_and_stays_so() -> None:
    kind = Resource(cast("Crew", FakeCrew(FakeAgent(skipped="no cpu controller"))))
    record = FaultRecord(cpu())
    record.begun, record.ended = kind.start(cpu(), ["n1"]), kind.stop(cpu(), ["n1"])
    assert record.certainty is Certainty.SKIPPED
    assert record.begun["n1"].detail == "no cpu controller"


def test_a_look_that_fails_does_not_keep_the_limit_in_place() -> None:
    crew = FakeCrew(FakeAgent(fails=True))
    with pytest.raises(HostError):
        Resource(cast("Crew", crew)).stop(cpu(), ["n1"])
    assert crew.agent.log == ["undo"]


@pytest.mark.parametrize(
    ("status", "signal", "asked_by", "blamed"),
    [
        (None, "SIGKILL", MEMORY_SQUEEZE, "nobody"),
        (None, "SIGSEGV", MEMORY_SQUEEZE, "system"),
        (4, None, MEMORY_SQUEEZE, "surroundings"),
        (4, None, FEW_DESCRIPTORS, "nobody"),
        (1, None, FEW_DESCRIPTORS, "nobody"),
        (None, "SIGSEGV", FEW_DESCRIPTORS, "system"),
        (None, "SIGKILL", FEW_DESCRIPTORS, "surroundings"),
        (None, "SIGKILL", None, "surroundings"),
    ],
)
def test_an_end_for_want_of_what_we_took_is_excused_and_nothing_else_is(
    status: int | None, signal: str | None, asked_by: str | None, blamed: str
) -> None:
    system = cast("System", SimpleNamespace(environmental_exits=frozenset({4})))
    cluster = Cluster([], system, resource_faults=True)
    one = Exit(pid=9, status=status, signal=signal, asked_by=asked_by, at_wall_ns=0)
    cluster._agents["n1"] = cast("Any", FakeAgent(exits=(one,)))
    crashes, misfortunes = cluster.unexplained_exits()
    said = "system" if crashes else "surroundings" if misfortunes else "nobody"
    assert said == blamed


def test_a_node_that_is_made_anew_has_everything_back_before_it_starts() -> None:
    system = RaftSystem(
        addresses={"n1": "127.0.0.1"}, archive=Path("node.pyz"), version="0", operation_timeout_s=1
    )
    here = HostAddress(
        name="n1", address="127.0.0.1", key_path=Path("k"), known_hosts_path=Path("h")
    )
    cluster, agent = Cluster([here], system, resource_faults=True), FakeAgent()
    cluster._agents["n1"] = cast("Any", agent)
    cluster._remotes["n1"] = cast("Any", SimpleNamespace(check=lambda command, timeout_s: ""))
    assert cluster.start_anew("n1") == "runs as 8"
    assert agent.log == ["stop", "undo", "start"]


def test_a_lab_removes_the_groups_of_its_own_hosts_only(tmp_path: Any) -> None:
    groups = ("cpu/splitbrain-198.18.7.1", "memory/box/splitbrain-198.18.7.12",
              "blkio/splitbrain-198.18.7.2-7-0", "cpu/splitbrain-fd5b-c612-bd3e-7--2")  # fmt: skip
    mine = [tmp_path / name for name in groups]
    others = [tmp_path / "cpu/splitbrain-198.18.70.1", tmp_path / "cpu/other"]
    others += [tmp_path / "cpu/splitbrain-fd5b-c612-bd3e-70--2"]
    for folder in (*mine, *others):
        folder.mkdir(parents=True)
    assert set(lab_groups.of(7, mount=tmp_path)) == set(mine)
    lab_groups.remove(7, mount=tmp_path)
    assert [folder for folder in (*mine, *others) if folder.exists()] == others
