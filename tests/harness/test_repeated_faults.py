"""Faults that are done again and again while they last, with agents that only keep count."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import HarnessError, HostError
from harness.nemesis import repeating
from harness.nemesis.after_vote import AfterVote
from harness.nemesis.faults import Certainty, Crew, Report, Unable
from harness.nemesis.partition import Partition
from harness.nemesis.plan import Fault
from harness.nemesis.process import Kill
from harness.nemesis.repeating import Repeating
from harness.remote.evidence import Dropped
from harness.systems.system import System

NODES = ("n1", "n2", "n3")
ADDRESSES = {"n1": "198.18.0.1", "n2": "198.18.0.2", "n3": "198.18.0.3"}
# Spelled as a person may in an inventory; agents answer in the usual spelling.
SIXES = {"n1": "FD00::0:1", "n2": "fd00::2", "n3": "fd00::3"}


class Agents:
    """Stands in for a crew: one log of what was asked of whom."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.fails = False
        self.refused = threading.Event()
        self.cuts: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        places = {node: (address, SIXES[node]) for node, address in ADDRESSES.items()}
        self.cluster = SimpleNamespace(
            nodes=NODES, all_addresses=places, start=self.start, agent=self.agent
        )

    def note(self, node: str, what: str) -> None:
        with self._lock:
            self.log.append((node, what))

    def start(self, node: str) -> str:
        if self.fails:
            self.refused.set()
            raise HostError(f"{node}: its agent is gone")
        self.note(node, "start")
        return "pid 7"

    def on(self, nodes: Sequence[str], act: Callable[[str, Any], Report]) -> dict[str, Report]:
        return {node: act(node, self.agent(node)) for node in nodes}

    def agent(self, node: str) -> Any:
        def kill() -> Any:
            self.note(node, "kill")
            return SimpleNamespace(gone=True, was_running=True, detail="gone")

        def cut(sources: Sequence[str]) -> Dropped:
            self.note(node, "cut")
            self.cuts[node] = list(sources)
            return Dropped(by_source=dict.fromkeys(sources, 0), lapses=0)

        def heal_network() -> Dropped:
            self.note(node, "heal")
            return Dropped(by_source={ADDRESSES["n1"]: 5, "fd00::1": 2}, lapses=1)

        return SimpleNamespace(kill=kill, cut=cut, heal_network=heal_network)


class Terms:
    """Stands in for a system of which only terms are asked; who says nothing is `None`."""

    def __init__(self, **terms: int | None) -> None:
        self.terms: dict[str, int | None] = dict(terms)
        self.asked: Counter[str] = Counter()

    def status(self, node: str, timeout_s: float) -> Any:
        del timeout_s
        term = self.terms.get(node)
        self.asked[node] += 1
        return None if term is None else SimpleNamespace(term=term)

    def wait_until_acted_on(self, *nodes: str) -> None:
        """Wait until each was asked twice more: what it showed now was acted on in between."""
        until = {node: self.asked[node] + 2 for node in nodes}
        deadline = time.monotonic() + 10
        while any(self.asked[node] < count for node, count in until.items()):
            assert time.monotonic() < deadline, self.asked
            time.sleep(0.002)


def crew(agents: Agents) -> Crew:
    return cast("Crew", agents)


def fault(kind: str, name: str, *targets: str, period_ms: int = 20) -> Fault:
    return Fault(
        id=4,
        kind=kind,
        name=name,
        start_ns=0,
        stop_ns=1,
        targets=targets,
        fallback=NODES,
        parameters={"period_ms": period_ms},
    )


def wait_for(agents: Agents, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(agents.log) < count and time.monotonic() < deadline:
        time.sleep(0.005)


def test_rolling_kills_restart_each_node_before_the_next_goes() -> None:
    agents = Agents()
    kill = Kill(crew(agents), cast("System", Terms()))
    rolling = fault("kill", "rolling", *NODES)
    assert kill.start(rolling, NODES)["n1"].certainty is Certainty.INSTALLED
    wait_for(agents, 7)
    ended = kill.stop(rolling, NODES)
    order = agents.log[:7]
    assert order == [
        ("n1", "kill"), ("n1", "start"), ("n2", "kill"), ("n2", "start"), ("n3", "kill"),
        ("n3", "start"), ("n1", "kill"),
    ]  # fmt: skip
    assert agents.log[-3:] == [(node, "start") for node in NODES], "all are started at the end"
    assert "kills" in ended["n1"].detail


def test_a_crash_loop_strikes_one_node_over_and_over() -> None:
    agents = Agents()
    kill = Kill(crew(agents), cast("System", Terms()))
    loop = fault("kill", "crash-loop", "n2")
    kill.start(loop, ("n2",))
    wait_for(agents, 5)
    kill.stop(loop, ("n2",))
    assert agents.log[:5] == [("n2", "kill"), ("n2", "start")] * 2 + [("n2", "kill")]
    before = len(agents.log)
    time.sleep(0.1)
    assert len(agents.log) == before, "nobody is struck when the fault is over"


def test_a_loop_that_cannot_go_on_says_why() -> None:
    agents = Agents()
    kill = Kill(crew(agents), cast("System", Terms()))
    loop = fault("kill", "crash-loop", "n2")
    kill.start(loop, ("n2",))
    agents.fails = True
    assert agents.refused.wait(10)
    agents.fails = False
    ended = kill.stop(loop, ("n2",))
    assert "ended early: n2: its agent is gone" in ended["n2"].detail


def test_a_voter_dies_when_its_term_grows_once_and_is_back_at_once() -> None:
    agents, system = Agents(), Terms(n1=3, n2=3, n3=3)
    kill = Kill(crew(agents), cast("System", system))
    after = fault("kill", "after-vote", *NODES)
    began = kill.start(after, NODES)
    assert {one.certainty for one in began.values()} == {Certainty.INDETERMINATE}
    system.wait_until_acted_on("n2", "n3")
    assert agents.log == [("n1", "kill")], "nobody has voted yet"
    system.terms["n2"] = 4
    wait_for(agents, 3)
    system.terms["n2"] = 5
    system.wait_until_acted_on("n3")
    assert agents.log == [("n1", "kill"), ("n2", "kill"), ("n2", "start")], "each dies once"
    ended = kill.stop(after, NODES)
    assert ended["n2"].certainty is Certainty.INSTALLED
    assert ended["n2"].detail.startswith(
        "killed when it showed term 4 (gone), started again after "
    )
    assert ended["n3"].certainty is Certainty.INDETERMINATE
    assert "showed no newer term" in ended["n3"].detail
    assert ended["n1"].certainty is Certainty.INDETERMINATE
    assert agents.log[3:] == [(node, "start") for node in NODES]
    asked = system.asked.copy()
    system.terms["n3"] = 9
    time.sleep(0.05)
    assert system.asked == asked, "nobody is watched when the fault is over"
    assert ("n3", "kill") not in agents.log


def test_a_node_that_said_nothing_before_is_not_taken_for_a_voter() -> None:
    agents, system = Agents(), Terms(n1=3, n2=None)
    kill = Kill(crew(agents), cast("System", system))
    after = fault("kill", "after-vote", "n1", "n2")
    kill.start(after, ("n1", "n2"))
    system.terms["n2"] = 7
    system.wait_until_acted_on("n2")
    assert ("n2", "kill") not in agents.log
    system.terms["n2"] = 8
    wait_for(agents, 3)
    assert kill.stop(after, ("n1", "n2"))["n2"].certainty is Certainty.INSTALLED


def test_a_voter_that_could_not_be_started_again_is_no_evidence() -> None:
    agents, system = Agents(), Terms(n1=3, n2=3)
    kill = Kill(crew(agents), cast("System", system))
    after = fault("kill", "after-vote", "n1", "n2")
    kill.start(after, ("n1", "n2"))
    agents.fails = True
    system.terms["n2"] = 4
    assert agents.refused.wait(10)
    agents.fails = False
    ended = kill.stop(after, ("n1", "n2"))["n2"]
    assert ended.certainty is Certainty.INDETERMINATE
    assert "and then: n2: its agent is gone" in ended.detail


def test_no_voter_is_struck_after_the_fault_though_another_one_cannot_be_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeating, "_STOP_TIMEOUT_S", 0.2)
    terms = Terms(n2=3, n3=3)
    struck: list[str] = []
    hangs, dying = threading.Event(), threading.Event()

    def kill(node: str) -> Any:
        struck.append(node)
        if node == "n2":
            dying.set()
            hangs.wait(10)

    watch = AfterVote(("n2", "n3"), status=terms.status, kill=kill, start=lambda node: node)
    watch.watch()
    terms.terms["n2"] = 4
    assert dying.wait(10)
    with pytest.raises(HarnessError, match="did not end"):
        watch.stop()
    terms.terms["n3"] = 4
    time.sleep(0.1)
    hangs.set()
    assert struck == ["n2"]


def test_a_partition_cuts_all_addresses_of_a_host_and_counts_them_as_one() -> None:
    agents = Agents()
    partition = Partition(crew(agents), Unable("it is not asked"))
    alone = fault("partition", "isolate-one", "n1")
    started = partition.start(alone, ("n1",))
    assert started["n2"].detail == "drops packets from n1"
    assert agents.cuts["n2"] == [ADDRESSES["n1"], SIXES["n1"]]
    ended = partition.stop(alone, ("n1",))
    assert ended["n2"].detail.startswith("dropped packets: 7 from n1 (")


def test_a_flapping_link_is_cut_and_healed_in_turn_and_every_cut_counts() -> None:
    agents = Agents()
    partition = Partition(crew(agents), Unable("it is not asked"))
    flapping = fault("partition", "flapping", "n1")
    partition.start(flapping, ("n1",))
    wait_for(agents, 12)
    ended = partition.stop(flapping, ("n1",))
    mine = [what for node, what in agents.log if node == "n2"]
    assert mine[:4] == ["cut", "heal", "cut", "heal"]
    assert mine[-1] == "heal"
    heals = mine.count("heal")
    assert ended["n2"].certainty is Certainty.INSTALLED
    assert f"dropped packets: {7 * heals} from n1 (with {heals} gaps)" in ended["n2"].detail


def test_stopping_before_the_first_turn_makes_none() -> None:
    turns: list[int] = []
    assert Repeating(lambda turn, _over: turns.append(turn), period_s=60).stop() == (0, None)
    assert turns == []
