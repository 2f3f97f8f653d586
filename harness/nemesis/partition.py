"""Partitions: links that are cut by dropping packets at the receiver.

Rules of this file:
- A partition is `installed` when packets were dropped, not when a rule was added: what it dropped
  is counted when it ends.
- Who drops whose packets follows from the plan alone (`grudge_of`), once the targets are known.
- A host is cut off at all its addresses: nothing gets past a partition over the other IP version.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random

from harness.hosts.host import version_of
from harness.nemesis import grudges
from harness.nemesis.faults import Certainty, Crew, FaultKind, Report, Reports
from harness.nemesis.grudges import Grudge
from harness.nemesis.plan import LOSSES, Fault
from harness.nemesis.repeating import Repeating
from harness.remote.agent_client import Agent
from harness.remote.evidence import Dropped, Skipped


def grudge_of(fault: Fault, nodes: Sequence[str], targets: Sequence[str]) -> Grudge:
    """Return who drops whose packets in this partition. Pure."""
    name, parameters = fault.name, fault.parameters
    if name == "halves":
        return grudges.halves(nodes, Random(parameters["shuffle"]))
    if name == "majorities-ring":
        return grudges.majorities_ring(nodes, Random(parameters["shuffle"]))
    if name == "bridge":
        return grudges.bridge(nodes, Random(parameters["shuffle"]))
    if name == "minority":
        return grudges.complete([targets, [node for node in nodes if node not in targets]])
    if name in ("one-way", "one-way-leader"):
        return grudges.one_way(nodes, targets[0], deaf=parameters["deaf"])
    return grudges.isolate(nodes, targets[0])


@dataclass(slots=True)
class _Cut:
    """A partition in force. `dropped` counts, by node and source, what earlier cuts of it dropped."""

    grudge: Grudge
    flapping: Repeating | None = None
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    lapses: Counter[str] = field(default_factory=Counter)

    @property
    def nodes(self) -> list[str]:
        return [node for node, sources in self.grudge.items() if sources]

    def count(self, node: str, dropped: Dropped) -> None:
        self.dropped.setdefault(node, Counter()).update(dropped.by_source)
        self.lapses[node] += dropped.lapses


@dataclass(slots=True)
class Partition:
    """Cuts links by dropping packets at the receiver.

    Where messages of one class are to be lost, and packets do not show their class, that is left to
    `losses`.
    """

    crew: Crew
    losses: FaultKind
    _cuts: dict[int, _Cut] = field(default_factory=dict)

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Make every node of the grudge deaf to those it drops; a flapping link comes and goes."""
        if fault.name in LOSSES:
            return self.losses.start(fault, targets)
        cut = _Cut(grudge_of(fault, self.crew.cluster.nodes, targets))
        self._cuts[fault.id] = cut
        reports = self._apply(cut)
        if fault.name == "flapping":
            # A turn heals what is cut, and cuts what is healed.
            def flap(turn: int, over: threading.Event) -> None:
                if turn % 2 and not over.is_set():
                    self._apply(cut)
                else:
                    self._heal(cut)

            cut.flapping = Repeating(flap, period_s=fault.parameters["period_ms"] / 1000)
        return reports

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Let everybody hear everybody, and count what was not heard meanwhile."""
        if fault.name in LOSSES:
            return self.losses.stop(fault, targets)
        cut = self._cuts.pop(fault.id, None)
        if cut is None:
            return {}
        turns, problem = cut.flapping.stop() if cut.flapping else (0, None)
        names = {
            _canonical(address): node
            for node, addresses in self.crew.cluster.all_addresses.items()
            for address in addresses
        }
        note = f", {turns} changes" if turns else ""
        note += f"; the flapping ended early: {problem}" if problem else ""
        return {node: _counted(node, cut, names, note, report)
                for node, report in self._heal(cut).items()}  # fmt: skip

    def _apply(self, cut: _Cut) -> dict[str, Report]:
        cluster = self.crew.cluster

        def deafen(node: str, agent: Agent) -> Report:
            sources = cut.grudge[node]
            done = agent.cut([at for source in sources for at in cluster.all_addresses[source]])
            if isinstance(done, Skipped):
                return Report(Certainty.SKIPPED, done.reason)
            names = ", ".join(sources)
            return Report(Certainty.INDETERMINATE, f"drops packets from {names}")

        return self.crew.on(cut.nodes, deafen)

    def _heal(self, cut: _Cut) -> dict[str, Report]:
        def heal(node: str, agent: Agent) -> Report:
            cut.count(node, agent.heal_network())
            return Report(Certainty.INDETERMINATE, "hears everybody")

        return self.crew.on(cut.nodes, heal)


def _canonical(address: str) -> str:
    """Return an address as agents write it."""
    return str(ip_address(address)) if version_of(address) else address


def _counted(node: str, cut: _Cut, names: Mapping[str, str], note: str, healed: Report) -> Report:
    """Say what a node dropped in all; where healing failed, that."""
    if node not in cut.dropped:
        return healed
    dropped, lapses = cut.dropped[node], cut.lapses[node]
    if not dropped.total():
        return Report(Certainty.INDETERMINATE, f"no packet came that could be dropped{note}")
    by_name: Counter[str] = Counter()
    for address, count in dropped.items():
        by_name[names.get(address, address)] += count
    counts = ", ".join(f"{count} from {name}" for name, count in by_name.items() if count)
    gaps = f" (with {lapses} gaps)" if lapses else ""
    return Report(Certainty.INSTALLED, f"dropped packets: {counts}{gaps}{note}")
