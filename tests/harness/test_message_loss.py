"""Messages lost by class, with nodes that only write down what they are told."""

import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nemesis import message_loss
from harness.nemesis.conductor import FaultRecord, evidence_by_name
from harness.nemesis.faults import Certainty, Crew, Report, overall
from harness.nemesis.message_loss import MessageLoss, Tally, make_losses, the_one
from harness.nemesis.partition import Partition
from harness.nemesis.plan import LOSSES, OPTIONAL, VARIANTS, Fault, make_plan
from harness.systems.administrated import Ending, Reply
from harness.systems.etcd import EtcdSystem
from harness.systems.peer_filter import Counts, PeerFilter
from harness.systems.raft import RaftSystem
from harness.systems.raft_admin import counts_of

NODES = ("n1", "n2", "n3")


class Nodes:
    """Three nodes that lose what they are told, and a crew that asks one after the other."""

    name = "fake"

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[str, ...], int]] = []
        self.compacted: list[str] = []
        self.lost: dict[str, dict[tuple[str, str], int]] = {node: {} for node in NODES}
        self.silent: set[str] = set()
        self.dead: set[str] = set()
        self.leader = "n2"
        self.refuses = False
        self._lock = threading.Lock()

    def drop_messages(
        self, node: str, classes: Sequence[str], *, for_ms: int, timeout_s: float
    ) -> Counts | None:
        with self._lock:
            self.told.append((node, tuple(classes), for_ms))
            return None if node in self.silent else dict(self.lost[node])

    def compact(self, node: str, timeout_s: float) -> Reply:
        self.compacted.append(node)
        return Reply(ending=Ending.REFUSED if self.refuses else Ending.DONE)

    def status(self, node: str, timeout_s: float) -> Any:
        if node in self.silent:
            return None
        return SimpleNamespace(role="leader" if node == self.leader else "follower", term=1)

    def on(self, nodes: Sequence[str], act: Callable[[str, Any], Report]) -> dict[str, Report]:
        return {node: act(node, self.agent(node)) for node in nodes}

    def agent(self, node: str) -> Any:
        return SimpleNamespace(process=lambda: SimpleNamespace(running=node not in self.dead))

    def of(self, node: str) -> list[tuple[str, ...]]:
        """What one node was told, without repetitions."""
        said = [classes for name, classes, _ in self.told if name == node]
        return [one for number, one in enumerate(said) if not number or one != said[number - 1]]

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, self.told
            time.sleep(0.005)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    monkeypatch.setattr(message_loss, "RENEW_S", 0.02)
    monkeypatch.setattr(message_loss, "LEASE_MS", 300)
    return Nodes()


def loss_of(nodes: Nodes) -> MessageLoss:
    made = make_losses(cast("Crew", nodes), cast("Any", nodes))
    assert isinstance(made, MessageLoss)
    return made


def fault(name: str, *targets: str, **parameters: Any) -> Fault:
    return Fault(
        id=3,
        kind="partition",
        name=name,
        start_ns=0,
        stop_ns=1,
        targets=targets,
        fallback=("n3", "n2", "n1"),
        parameters=parameters,
    )


VOTES = fault("no-votes", *NODES, classes=["votes"])
SNAPSHOTS = fault("no-snapshots", *NODES, classes=["snapshots"], one="other", misses=["appends"])


def test_a_loss_is_installed_when_messages_of_its_class_were_lost(nodes: Nodes) -> None:
    losing = loss_of(nodes)
    nodes.lost["n1"] = {("votes", "n2"): 40}  # of an earlier fault
    begun = losing.start(VOTES, NODES)
    assert overall(begun) is Certainty.INDETERMINATE, "being told is no evidence"
    assert begun["n1"].detail == "loses votes"
    nodes.lost["n1"][("votes", "n2")] = 43
    nodes.lost["n2"] = {("appends", "n1"): 9}
    ended = losing.stop(VOTES, NODES)
    assert ended["n1"] == Report(Certainty.INSTALLED, "lost messages: 3 votes from n2")
    assert ended["n2"].certainty is Certainty.INDETERMINATE, "appends are no evidence"
    assert ended["n3"].certainty is Certainty.INDETERMINATE, "none came"


def test_the_lease_is_renewed_while_the_fault_lasts_and_everything_ends_with_it(
    nodes: Nodes,
) -> None:
    losing = loss_of(nodes)
    losing.start(VOTES, ("n1", "n2"))
    nodes.wait(lambda: len(nodes.told) > 8)
    losing.stop(VOTES, ("n1", "n2"))
    assert {for_ms for _, classes, for_ms in nodes.told if classes} == {300}
    assert [said[:2] for said in nodes.told[-2:]] == [("n1", ()), ("n2", ())]
    count = len(nodes.told)
    losing.stop(VOTES, ("n1", "n2"))
    assert [said[:2] for said in nodes.told[count:]] == [("n1", ()), ("n2", ())], "undone again"
    assert nodes.of("n1") == [("votes",), ()]


def test_a_node_that_is_silent_at_the_end_is_asked_again_when_its_lease_is_over(
    nodes: Nodes,
) -> None:
    losing = loss_of(nodes)
    losing.start(VOTES, ("n1", "n2"))
    nodes.silent = {"n2"}
    began = time.monotonic()
    ended = losing.stop(VOTES, ("n1", "n2"))
    assert 0.1 < time.monotonic() - began < 5
    assert [said[0] for said in nodes.told[-2:]] == ["n2", "n2"]
    assert "says nothing any more" in ended["n2"].detail
    assert "says nothing" not in ended["n1"].detail


def test_a_node_that_is_dead_at_the_end_loses_nothing_and_is_not_waited_for(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_loss, "LEASE_MS", 60_000)
    losing = loss_of(nodes)
    losing.start(VOTES, ("n1", "n2"))
    nodes.silent = nodes.dead = {"n2"}
    ended = losing.stop(VOTES, ("n1", "n2"))
    assert [said[0] for said in nodes.told[-2:]] == ["n1", "n2"], "it was asked once"
    assert "says nothing any more" in ended["n2"].detail


@given(
    st.lists(
        st.tuples(st.booleans(), st.dictionaries(st.sampled_from("ab"), st.integers(0, 5))),
        max_size=8,
    )
)
def test_what_was_lost_is_never_overstated_whenever_a_node_restarts(
    steps: list[tuple[bool, dict[str, int]]],
) -> None:
    """Each step: does the process restart first, and what does it lose then before it is asked?"""
    tally, shown, truth = Tally(), {("votes", "a"): 7}, 0
    tally.note(dict(shown))
    restarts = 0
    for restarted, losses in steps:
        if restarted:
            shown, restarts = {}, restarts + 1
        for source, count in losses.items():
            key = ("votes", source)
            shown[key] = shown.get(key, 0) + count
            truth += count
        tally.note(dict(shown))
    assert tally.lost.total() <= truth
    if not restarts:
        assert tally.lost.total() == truth


def test_who_is_to_miss_more_is_the_leader_or_certainly_not() -> None:
    assert the_one({"one": "leader"}, ["n3", "n2"], "n2") == "n2"
    assert the_one({"one": "leader"}, ["n3", "n2"], "n1") == "n3", "it is not among them"
    assert the_one({"one": "other"}, ["n3", "n2"], "n3") == "n2"
    assert the_one({"one": "other"}, ["n3"], "n3") is None
    assert the_one({}, ["n3", "n2"], "n2") is None


def test_without_votes_one_node_misses_heartbeats_until_the_end(nodes: Nodes) -> None:
    losing = loss_of(nodes)
    due = fault("no-votes", *NODES, classes=["votes"], one="leader", misses=["heartbeats"])
    losing.start(due, NODES)
    nodes.wait(lambda: len(nodes.told) > 12)
    losing.stop(due, NODES)
    assert nodes.of("n2") == [("votes", "heartbeats"), ()]
    assert nodes.of("n1") == nodes.of("n3") == [("votes",), ()]
    assert nodes.compacted == []


def test_without_snapshots_one_node_misses_entries_until_the_leader_has_no_log_of_them(
    nodes: Nodes,
) -> None:
    losing, nodes.refuses = loss_of(nodes), True
    losing.start(SNAPSHOTS, NODES)
    nodes.wait(lambda: nodes.compacted.count("n2") > 2)
    assert nodes.of("n3") == [("snapshots", "appends")], "the leader has not compacted yet"
    nodes.refuses = False
    nodes.wait(lambda: len(nodes.of("n3")) > 1)
    count = len(nodes.compacted)
    losing.stop(SNAPSHOTS, NODES)
    assert nodes.of("n3") == [("snapshots", "appends"), ("snapshots",), ()]
    assert nodes.of("n1") == [("snapshots",), ()]
    assert set(nodes.compacted) == {"n1", "n2"}
    assert len(nodes.compacted) == count, "once is enough"


def test_a_partition_leaves_these_to_the_nodes_and_no_packet_is_dropped(nodes: Nodes) -> None:
    partition = Partition(cast("Crew", nodes), loss_of(nodes))
    partition.start(VOTES, NODES)
    nodes.lost["n3"] = {("votes", "n1"): 1}
    assert overall(partition.stop(VOTES, NODES)) is Certainty.INSTALLED


def test_our_nodes_can_lose_messages_and_etcd_skips_it_without_making_a_run_vacuous() -> None:
    assert issubclass(RaftSystem, PeerFilter)
    assert not issubclass(EtcdSystem, PeerFilter)
    etcd = SimpleNamespace(name="etcd")
    unable = make_losses(cast("Crew", Nodes()), cast("Any", etcd))
    record = FaultRecord(VOTES, targets=NODES)
    record.begun, record.ended = unable.start(VOTES, NODES), unable.stop(VOTES, NODES)
    assert record.certainty is Certainty.SKIPPED
    assert "etcd cannot be told to lose messages" in record.begun["n1"].detail
    assert evidence_by_name([record]) == {}


def test_answers_are_counts_or_nothing() -> None:
    whole = b'{"ok":true,"value":{"votes":{"n2":3},"appends":{}},"index":1,"term":1,"node":"n1"}'
    assert counts_of(200, whole) == {("votes", "n2"): 3}
    assert counts_of(200, b'{"value":{}}') == {}
    for status, body in ((400, whole), (200, b"{"), (200, b"[]"), (200, b'{"value":{"votes":3}}')):
        assert counts_of(status, body) is None


@given(st.integers(min_value=0, max_value=2**63))
def test_every_loss_is_planned_with_what_makes_it_matter(seed: int) -> None:
    assert set(LOSSES) <= set(VARIANTS["partition"])
    assert {("partition", name) for name in LOSSES} <= set(OPTIONAL)
    names = tuple(f"n{number}" for number in range(1, 6))
    made = make_plan(
        seed=seed, kinds=("partition",), nodes=names, time_limit_ns=14 * 10**9, interval_ns=10**9
    )
    losses = {one.name: one for one in made.faults if one.name in LOSSES}
    assert set(losses) == set(LOSSES)
    assert sorted(losses["no-votes"].targets) == sorted(losses["no-snapshots"].targets)
    assert len(losses["no-votes"].targets) == 5
    assert losses["no-votes"].parameters["one"] in ("leader", "other")
    assert losses["no-snapshots"].parameters["one"] == "other"
    few = losses["no-appends"].targets
    assert few == ("leader",) or len(few) in (2, 3)
