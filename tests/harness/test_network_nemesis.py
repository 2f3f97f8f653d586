"""Network faults before any network: what counts as seen, in which order hosts are looked at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from checker.verdict import Verdict
from harness.errors import HostError
from harness.nemesis.conductor import FaultRecord, evidence_by_name
from harness.nemesis.faults import Certainty, Crew, Report
from harness.nemesis.network import Network
from harness.nemesis.plan import VARIANTS, Fault
from harness.nemesis.traffic import Look, what_was_seen
from harness.outcome import CheckSummary, Evidence, Outcome, decide
from harness.remote.evidence import Skipped
from harness.remote.traffic import Echo, Shaped

NODES = ("n1", "n2", "n3")
QUIET = Echo(
    sent=100,
    answered=100,
    duplicates=0,
    reordered=0,
    shortest_ms=0.1,
    median_ms=0.4,
    longest_ms=2.0,
    kbit_s=5000.0,
)
SILENT = Echo(
    sent=100,
    answered=0,
    duplicates=0,
    reordered=0,
    shortest_ms=None,
    median_ms=None,
    longest_ms=None,
    kbit_s=0.0,
)
SIZES = {"delay_ms": 40, "jitter_ms": 30, "percent": 20, "kbit_s": 300}


def shaped(**counts: int) -> Shaped:
    return Shaped(by="netem", why_not_netem="", counts={"struck": 90, **counts}, lapses=0)


def seen(name: str, during: Echo, *, before: Echo = QUIET, wrong: int = 0, **counts: int) -> str:
    look = Look(
        parameters=SIZES,
        before=before,
        during=during,
        counted=shaped(**counts),
        wrong_checksums=wrong,
    )
    return what_was_seen(name, look)


def test_every_variant_has_something_that_would_show_it() -> None:
    slow = replace(QUIET, shortest_ms=5.0, median_ms=45.0, longest_ms=90.0, kbit_s=280.0)
    strange = replace(slow, duplicates=9, reordered=9)
    for name in VARIANTS["network"]:
        assert seen(name, strange, wrong=3, lost=2), name
        assert seen(name, QUIET) == "", name  # that packets were struck by a rule shows nothing
        assert seen(name, strange, before=strange) == "", name  # it was so before


@pytest.mark.parametrize(
    ("name", "during", "believed"),
    [
        ("latency", replace(QUIET, median_ms=20.4), True),
        ("latency", replace(QUIET, median_ms=20.3), False),
        ("latency", SILENT, False),
        ("jitter", replace(QUIET, median_ms=40.0, longest_ms=70.0), True),
        ("jitter", replace(QUIET, median_ms=40.0, longest_ms=31.0), False),  # late, but evenly so
        ("jitter", replace(QUIET, median_ms=0.5, longest_ms=70.0), False),  # one was late
        ("duplication", replace(QUIET, duplicates=1), True),
        ("reordering", replace(QUIET, reordered=1), True),
        ("loss", replace(QUIET, answered=10), False),  # by whomever: a partition loses too
        ("corruption", replace(QUIET, answered=10), False),
        ("bandwidth", replace(QUIET, kbit_s=450.0), True),
        ("bandwidth", replace(QUIET, kbit_s=451.0), False),
        ("bandwidth", SILENT, False),
    ],
)
def test_echoes_show_an_effect_only_where_they_changed_as_they_should(
    name: str, during: Echo, believed: bool
) -> None:
    assert bool(seen(name, during)) is believed


def test_a_link_that_was_slow_before_shows_nothing() -> None:
    before = replace(QUIET, kbit_s=500.0)
    assert seen("bandwidth", replace(QUIET, kbit_s=290.0), before=before) == ""


def test_what_the_means_counted_is_enough_where_no_echo_came() -> None:
    assert seen("loss", SILENT, lost=7) == "7 of 90 packets were lost"
    assert seen("latency", SILENT, delayed=10, held_ms=400).startswith("10 packets were held back")
    assert "for 40 ms in the mean" in seen("jitter", SILENT, delayed=10, held_ms=400)
    assert seen("duplication", SILENT, duplicated=4) == "4 of 90 packets were sent twice"
    assert seen("reordering", SILENT, reordered=4) == "4 packets were overtaken"
    assert seen("bandwidth", SILENT, waited=4) == "packets had to wait 4 times, 0 were lost"
    assert seen("corruption", SILENT, corrupted=4) == ""  # the receivers have to find it out
    assert seen("corruption", SILENT, wrong=4).startswith("4 packets arrived at the others")


@dataclass
class FakeAgent:
    """A host on which the network is as told; writes down what is asked of it."""

    node: str
    log: list[str]
    skipped: str = ""
    gone: bool = False
    during: Echo = QUIET
    counts: Mapping[str, int] = field(default_factory=dict)
    struck: bool = False
    wrong: int = 5

    def _note(self, what: str) -> None:
        self.log.append(f"{what} {self.node}")
        if self.gone:
            raise HostError(f"host {self.node}: the agent is gone")

    def echo(self, peers: Sequence[str], *, count: int, size: int) -> Echo:
        assert f"address of {self.node}" not in peers
        assert count * size
        self._note("echo")
        return self.during if self.struck else QUIET

    def checksum_errors(self) -> int:
        self.wrong += 1  # a corrupted packet arrives every time that somebody looks
        return self.wrong

    def shape(self, peers: Sequence[str], effect: Mapping[str, Any]) -> Shaped | Skipped:
        assert len(peers) == len(NODES) - 1
        self._note(f"strike ({effect['name']} {effect['delay_ms']})")
        if self.skipped:
            return Skipped(self.skipped)
        self.struck = True
        return shaped()

    def shaping_evidence(self) -> Shaped:
        return shaped(**self.counts)

    def unshape(self) -> Shaped:
        self._note("undo")
        return shaped(**self.counts)


class FakeCrew:
    """Commands fake agents one after the other."""

    def __init__(self, nodes: Sequence[str] = NODES) -> None:
        self.log: list[str] = []
        self.nodes = tuple(nodes)
        self.addresses = {node: f"address of {node}" for node in nodes}
        self.agents = {node: FakeAgent(node, self.log) for node in nodes}

    @property
    def cluster(self) -> "FakeCrew":
        return self

    def on(
        self, nodes: Sequence[str], act: Callable[[str, FakeAgent], Report]
    ) -> dict[str, Report]:
        reports = {}
        for node in nodes:
            try:
                reports[node] = act(node, self.agents[node])
            except HostError as error:
                reports[node] = Report(Certainty.INDETERMINATE, str(error))
        return reports


def fault(name: str, targets: Sequence[str]) -> Fault:
    return Fault(
        id=1,
        kind="network",
        name=name,
        start_ns=0,
        stop_ns=9,
        targets=tuple(targets),
        fallback=NODES,
        parameters=SIZES,
    )


def test_all_are_looked_at_before_any_is_struck_and_again_after() -> None:
    crew = FakeCrew()
    for agent in crew.agents.values():
        agent.during = replace(QUIET, median_ms=50.0)
    crew.agents["n2"].skipped = "no means"
    kind = Network(cast("Crew", crew))
    one = fault("latency", NODES)
    began = kind.start(one, NODES)
    looks = [f"echo {node}" for node in NODES]
    strikes = [f"strike (latency 40) {node}" for node in NODES]
    assert crew.log == [*looks, *strikes, "echo n1", "echo n3"]
    assert began["n1"].certainty is began["n3"].certainty is Certainty.INSTALLED
    assert "by netem: a round trip took 0.4 ms before, and takes 50.0 ms" in began["n1"].detail
    assert began["n2"] == Report(Certainty.SKIPPED, "no means")
    crew.log.clear()
    ended = kind.stop(one, NODES)
    assert crew.log == ["undo n1", "undo n2", "undo n3"]  # what was seen needs no second look
    assert ended["n2"].certainty is Certainty.SKIPPED
    assert ended["n3"].detail.endswith("undone after 90 packets")


def test_what_was_not_seen_at_first_is_looked_for_once_more_before_it_is_undone() -> None:
    crew = FakeCrew()
    kind = Network(cast("Crew", crew))
    one = fault("duplication", ["n1"])
    began = kind.start(one, ["n1"])
    assert began["n1"].certainty is Certainty.INDETERMINATE
    assert began["n1"].detail == "duplication by netem: no effect was seen"
    crew.agents["n1"].during = replace(QUIET, duplicates=1)
    crew.log.clear()
    assert kind.stop(one, ["n1"])["n1"].certainty is Certainty.INSTALLED
    assert crew.log == ["echo n1", "undo n1"]


def test_wrong_checksums_count_at_the_others() -> None:
    crew = FakeCrew()
    kind = Network(cast("Crew", crew))
    began = kind.start(fault("corruption", ["n1"]), ["n1"])
    assert "2 packets arrived at the others with a wrong checksum" in began["n1"].detail
    alone = FakeCrew()
    alone.agents["n2"].wrong = alone.agents["n3"].wrong = 0
    alone.agents["n2"].checksum_errors = alone.agents["n3"].checksum_errors = lambda: 0  # type: ignore[method-assign]
    began = Network(cast("Crew", alone)).start(fault("corruption", ["n1"]), ["n1"])
    assert began["n1"].certainty is Certainty.INDETERMINATE


def test_a_host_that_is_gone_is_nobodys_evidence_and_does_not_keep_others_from_being_healed() -> (
    None
):
    crew = FakeCrew()
    crew.agents["n1"].gone = True
    kind = Network(cast("Crew", crew))
    one = fault("latency", ["n1", "n2"])
    began = kind.start(one, one.targets)
    assert began["n1"] == Report(Certainty.INDETERMINATE, "host n1: the agent is gone")
    kind.stop(one, one.targets)
    assert crew.log[-2:] == ["undo n1", "undo n2"]


def test_a_cluster_of_one_has_no_network() -> None:
    crew = FakeCrew(["n1"])
    kind = Network(cast("Crew", crew))
    one = fault("latency", ["n1"])
    assert kind.start(one, ["n1"])["n1"].certainty is Certainty.SKIPPED
    kind.stop(one, ["n1"])


def test_a_run_may_lack_some_variants_but_not_all_of_them() -> None:
    skipped = {"n1": Report(Certainty.SKIPPED, "no means")}
    slow = {"n1": Report(Certainty.INSTALLED, "slow")}
    lacking = FaultRecord(fault("latency", ["n1"]), targets=("n1",), begun=skipped)
    lossy = FaultRecord(fault("loss", ["n1"]), targets=("n1",), begun=slow)
    assert outcome_of([lacking, lossy]) is Outcome.PASS
    assert outcome_of([lacking]) is Outcome.VACUOUS


def outcome_of(records: Sequence[FaultRecord]) -> Outcome:
    evidence = Evidence(
        checks=[CheckSummary(name="linearizable", verdict=Verdict.VALID)],
        acknowledged=9,
        acknowledged_min=1,
        fault_kinds=["network"],
        fault_evidence=evidence_by_name(records),
        never_acknowledged=[],
        leader_faults=0,
        leader_changes=0,
    )
    return decide(evidence)[0]
