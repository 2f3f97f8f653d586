"""Damage as a kind of fault: who is struck, what is seen, who is replaced and when."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.nemesis import damage
from harness.nemesis.damage import Damage, certainty_of_damage
from harness.nemesis.faults import Certainty, Crew, Report, overall
from harness.nemesis.plan import DAMAGING, VARIANTS, Fault, make_plan
from harness.nemesis.roster import Roster
from harness.remote.evidence import DAMAGED_DATA, Damaged, Exit, Skipped
from harness.systems.fault_model import FaultModel
from harness.systems.operator import Operator

SECOND = 1_000_000_000
NODES = ("n1", "n2", "n3", "n4", "n5")
FLIPPED = Damaged(
    was_running=True,
    file="data/wal",
    offset=9,
    size_before=50,
    size_after=50,
    differs=True,
    was="41",
    found="40",
)


def fault(name: str, *targets: str, kind: str = "damage") -> Fault:
    return Fault(
        id=1,
        kind=kind,
        name=name,
        start_ns=0,
        stop_ns=1,
        targets=targets,
        fallback=NODES,
        parameters={"draw": 77},
    )


def end(status: int) -> Exit:
    return Exit(pid=9, status=status, signal=None, asked_by=DAMAGED_DATA, at_wall_ns=0)


@dataclass
class World:
    """Crew, cluster, agent, roster and operator of five nodes, and what was asked of them."""

    log: list[str] = field(default_factory=list)
    ends_with: int | None = None
    answers: bool = True
    skipped: str = ""
    unfit_nodes: dict[str, str] = field(default_factory=dict)
    condemned: set[str] = field(default_factory=set)
    exits: list[Exit] = field(default_factory=list)
    model: FaultModel = field(
        default_factory=lambda: FaultModel(logs=("wal",), refuses_with=frozenset({3}))
    )
    now_s: float = 0.0
    over: bool = False
    cannot_vote: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)

    def kind(self) -> Damage:
        return Damage(
            cast("Crew", self), cast("Operator", self), cast("Roster", self), clock=self.clock
        )

    def clock(self) -> float:
        self.now_s += 1
        return self.now_s

    # The crew, its cluster and the system.

    @property
    def cluster(self) -> "World":
        return self

    @property
    def system(self) -> "World":
        return self

    def on(self, nodes: Sequence[str], act: Callable[[str, Any], Report]) -> dict[str, Report]:
        return {node: act(node, self) for node in nodes}

    def agent(self, node: str) -> "World":
        return self

    def system_home(self, node: str) -> str:
        return f"/srv/{node}/system"

    def hold(self, node: str) -> AbstractContextManager[None]:
        return nullcontext()

    def start(self, node: str) -> str:
        self.log.append(f"start {node}")
        if self.ends_with is not None:
            self.exits.append(end(self.ends_with))
        return "runs as 9"

    def status(self, node: str, timeout_s: float) -> object | None:
        return object() if self.answers else None

    def condemn(self, node: str) -> None:  # of the roster and of the cluster
        self.log.append(f"condemn {node}")
        self.condemned.add(node)

    # The agent.

    def damage(self, how: str, root: str, *, draw: int, **files: object) -> Damaged | Skipped:
        self.log.append(f"{how} {draw}")
        return Skipped(self.skipped) if self.skipped else FLIPPED

    def process(self) -> SimpleNamespace:
        running = self.ends_with is None
        return SimpleNamespace(running=running, exits=self.exits, exits_total=len(self.exits))

    # The roster and the operator.

    def unfit(self, nodes: Sequence[str]) -> dict[str, str]:
        return self.unfit_nodes

    def is_condemned(self, node: str) -> bool:
        return node in self.condemned

    def replace(self, node: str, deadline: float) -> Report:
        self.log.append(f"replace {node}")
        self.outside.add(node)
        if node in self.cannot_vote:
            return Report(Certainty.INDETERMINATE, f"{node} does not vote")
        self.outside.discard(node)
        return Report(Certainty.INSTALLED, f"{node} votes")

    def owed(self) -> list[str]:
        return sorted(self.outside)

    def deadline(self, seconds: float) -> float:
        return seconds

    def late(self, deadline: float) -> bool:
        return self.over


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(damage, "_POLL_S", 0)
    return World()


def test_a_node_that_refuses_is_contained_and_replaced_at_the_end(world: World) -> None:
    world.ends_with = 3
    kind = world.kind()
    report = kind.start(fault("bit-flip", "n2"), ["n2"])["n2"]
    assert (report.certainty, report.contained) == (Certainty.INSTALLED, True)
    assert "reads 40 at offset 9, where it was 41" in report.detail
    assert "ended with status 3" in report.detail
    # The roster before the start: whoever brings it back meanwhile must know.
    assert world.log == ["bit-flip 77", "condemn n2", "start n2", "condemn n2"]
    world.log.clear()
    ended = kind.stop(fault("bit-flip", "n2"), ["n2"])["n2"]
    assert world.log == ["replace n2"]
    assert (ended.certainty, ended.detail) == (Certainty.INDETERMINATE, "n2 votes")
    world.log.clear()
    world.over = True
    ended = kind.stop(fault("bit-flip", "n2"), ["n2"])["n2"]
    assert (world.log, ended.contained) == ([], True)
    assert "recovery" in ended.detail


def test_whoever_is_left_outside_is_tried_again_at_the_end_of_every_later_fault(
    world: World,
) -> None:
    world.ends_with, world.cannot_vote = 3, {"n2"}
    kind = world.kind()
    kind.start(fault("bit-flip", "n2"), ["n2"])
    assert kind.stop(fault("bit-flip", "n2"), ["n2"])["n2"].lasting
    world.condemned.clear()  # it was made anew, and is no voter yet
    world.log.clear()
    world.ends_with = None
    ended = kind.stop(fault("torn-write", "n4"), ["n4"])
    assert world.log == ["start n4", "replace n2"]
    assert ended["n2"].lasting
    assert not ended["n4"].lasting
    world.cannot_vote.clear()
    ended = kind.stop(fault("torn-write", "n4"), ["n4"])
    assert (ended["n2"].detail, ended["n2"].lasting) == ("n2 votes", False)
    world.log.clear()
    kind.stop(fault("torn-write", "n4"), ["n4"])
    assert world.log == ["start n4"], "it is back, and left in peace"


@pytest.mark.parametrize("status", [None, 70])
def test_a_node_that_runs_on_or_ends_otherwise_is_not_contained(
    world: World, status: int | None
) -> None:
    world.ends_with = status
    report = world.kind().start(fault("cut-one", "n2", kind="amnesia"), ["n2"])["n2"]
    assert (report.certainty, report.contained) == (Certainty.INSTALLED, False)
    assert world.log[0] == "cut-log 77"
    assert world.condemned == {"n2"}


def test_a_node_that_is_slow_to_refuse_is_seen_at_the_end(world: World) -> None:
    world.answers = False
    report = world.kind().start(fault("bit-flip", "n2"), ["n2"])["n2"]
    assert "did not answer within 5 s" in report.detail
    assert not report.contained
    world.ends_with = 3
    world.exits.append(end(3))
    assert world.kind().stop(fault("bit-flip", "n2"), ["n2"])["n2"].contained


def test_after_half_a_write_a_node_has_to_come_back_by_itself(world: World) -> None:
    kind = world.kind()
    report = kind.start(fault("torn-write", "n2"), ["n2"])["n2"]
    assert (report.certainty, report.contained) == (Certainty.INSTALLED, False)
    assert "it runs" in report.detail
    kind.stop(fault("torn-write", "n2"), ["n2"])
    assert world.condemned == set()
    assert world.log == ["torn-write 77", "start n2", "start n2"]


def test_a_node_that_refuses_after_half_a_write_is_not_excused(world: World) -> None:
    world.ends_with = 3
    report = world.kind().start(fault("torn-write", "n2"), ["n2"])["n2"]
    assert not report.contained


def test_who_is_unfit_is_passed_over_and_who_has_no_such_file_goes_on(world: World) -> None:
    world.unfit_nodes = {"n2": "n2 is no voter"}
    reports = world.kind().start(fault("bit-flip", "n2"), ["n2"])
    assert reports == {"n2": Report(Certainty.SKIPPED, "n2 is no voter")}
    assert world.log == []
    world.kind().start(fault("torn-write", "n2"), ["n2"])  # which takes nothing from it
    assert world.log == ["torn-write 77", "start n2"]
    world.log.clear()
    world.unfit_nodes, world.skipped = {}, "there is no file"
    reports = world.kind().start(fault("bit-flip", "n2"), ["n2"])
    assert reports == {"n2": Report(Certainty.SKIPPED, "there is no file")}
    assert (world.log, world.condemned) == (["bit-flip 77"], set())


def test_a_file_that_reads_as_before_is_no_evidence() -> None:
    assert certainty_of_damage(FLIPPED) is Certainty.INSTALLED
    same = Damaged(
        was_running=True,
        file="f",
        offset=0,
        size_before=1,
        size_after=1,
        differs=False,
        was="00",
        found="00",
    )
    assert certainty_of_damage(same) is Certainty.INDETERMINATE


@pytest.mark.parametrize("seed", range(20))
def test_damage_strikes_one_node_or_a_majority_and_its_place_is_planned(seed: int) -> None:
    made = make_plan(
        seed=seed,
        kinds=DAMAGING,
        nodes=NODES,
        time_limit_ns=60 * SECOND,
        interval_ns=10 * SECOND,
    )
    assert {fault.name for fault in made.faults} == {
        name for kind in DAMAGING for name in VARIANTS[kind]
    }
    for one in made.faults:
        assert len(set(one.targets)) == (3 if one.name == "cut-majority" else 1)
        assert isinstance(one.parameters["draw"], int)
    assert len({one.parameters["draw"] for one in made.faults}) == len(made.faults)


def test_two_kinds_that_strike_at_once_do_not_take_two_nodes() -> None:
    """Damage and amnesia come from threads of their own: each looks whether it may, then strikes."""
    together = threading.Barrier(2)

    class Hasty(World):
        def unfit(self, nodes: Sequence[str]) -> dict[str, str]:
            found = dict.fromkeys(nodes, "another is to be replaced") if self.condemned else {}
            with suppress(threading.BrokenBarrierError):
                together.wait(0.3)  # if both may look before one has struck, both do
            return found

    both = Hasty()
    kind = both.kind()
    with ThreadPoolExecutor(2) as pool:
        begun = list(
            pool.map(
                lambda one: kind.start(one, one.targets),
                (fault("bit-flip", "n1"), fault("cut-one", "n2", kind="amnesia")),
            )
        )
    assert len(both.condemned) == 1
    assert sorted(overall(reports) for reports in begun) == [
        Certainty.INSTALLED,
        Certainty.SKIPPED,
    ]
