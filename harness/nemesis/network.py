"""Network faults: what some nodes send to all others is late, lost, doubled, corrupted or slow.

Rules of this file:
- Only packets between nodes of the cluster are struck, on their way out: clients and the agents'
  own channels are not.
- A fault is `installed` when its effect was seen (`traffic.what_was_seen`), at its beginning or by
  its end. By what means it was done is part of the report.
- All nodes are looked at before any is struck: else one node's fault would be another's "before".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.nemesis.faults import Certainty, Crew, Report, Reports
from harness.nemesis.plan import Fault
from harness.nemesis.traffic import Look, what_was_seen
from harness.remote.agent_client import Agent
from harness.remote.evidence import Skipped
from harness.remote.traffic import Echo, Shaped

# Enough that something of which one in ten is struck is next to certainly seen; large enough to
# fill a slow link, and small enough to be through it in time.
_ECHOES: Final = 50
_ECHO_BYTES: Final = 1200
_PEERS_MAX: Final = 4


@dataclass(slots=True)
class _InForce:
    """What was seen of a fault so far, by node."""

    before: dict[str, Echo] = field(default_factory=dict)
    during: dict[str, Echo] = field(default_factory=dict)
    counted: dict[str, Shaped] = field(default_factory=dict)
    wrong_before: dict[str, int] = field(default_factory=dict)
    wrong_now: dict[str, int] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def wrong_checksums(self, sender: str) -> int:
        """How many arrived at the others since it began, where that is known."""
        return sum(
            count - self.wrong_before[node]
            for node, count in self.wrong_now.items()
            if node != sender and node in self.wrong_before
        )


@dataclass(slots=True)
class Network:
    """Strikes what the targets send to all other nodes."""

    crew: Crew
    _in_force: dict[int, _InForce] = field(default_factory=dict)

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Look, strike, look again."""
        if len(self.crew.cluster.nodes) < 2:
            return {node: Report(Certainty.SKIPPED, "there is no other node") for node in targets}
        state = self._in_force[fault.id] = _InForce()
        self._look(targets, state.before)
        self._count_wrong(state.wrong_before)
        reports = self._strike(fault, targets, state)
        able = [node for node in targets if node in state.counted]
        self._look(able, state.during)
        self._count_wrong(state.wrong_now)

        def judge(node: str, agent: Agent) -> Report:
            state.counted[node] = agent.shaping_evidence()
            return self._report(fault, node, state)

        return {**reports, **self.crew.on(able, judge)}

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Look once more where nothing was seen yet; then let packets pass."""
        state = self._in_force.pop(fault.id, _InForce())
        doubtful = [node for node in targets if node in state.counted and node not in state.seen]
        self._look(doubtful, state.during)
        if fault.name == "corruption":
            self._count_wrong(state.wrong_now)

        def undo(node: str, agent: Agent) -> Report:
            state.counted[node] = agent.unshape()
            if node in state.skipped:
                return Report(Certainty.SKIPPED, "nothing was to be undone")
            report = self._report(fault, node, state)
            struck = state.counted[node].count("struck")
            return Report(report.certainty, f"{report.detail}; undone after {struck} packets")

        return self.crew.on(targets, undo)

    def _look(self, nodes: Sequence[str], looks: dict[str, Echo]) -> None:
        def look(node: str, agent: Agent) -> Report:
            peers = self._others(node)[:_PEERS_MAX]
            looks[node] = agent.echo(peers, count=_ECHOES, size=_ECHO_BYTES)
            return Report(Certainty.INDETERMINATE, "looked")

        self.crew.on(nodes, look)

    def _count_wrong(self, counts: dict[str, int]) -> None:
        def count(node: str, agent: Agent) -> Report:
            counts[node] = agent.checksum_errors()
            return Report(Certainty.INDETERMINATE, "counted")

        self.crew.on(self.crew.cluster.nodes, count)

    def _strike(self, fault: Fault, targets: Sequence[str], state: _InForce) -> dict[str, Report]:
        effect = {"name": fault.name, **fault.parameters}

        def strike(node: str, agent: Agent) -> Report:
            done = agent.shape(self._others(node), effect)
            if isinstance(done, Skipped):
                state.skipped.add(node)
                return Report(Certainty.SKIPPED, done.reason)
            state.counted[node] = done
            return Report(Certainty.INDETERMINATE, done.means)

        return self.crew.on(targets, strike)

    def _others(self, node: str) -> list[str]:
        return [address for other, address in self.crew.cluster.addresses.items() if other != node]

    def _report(self, fault: Fault, node: str, state: _InForce) -> Report:
        counted = state.counted[node]
        gaps = f", with {counted.lapses} gaps" if counted.lapses else ""
        how = f"{fault.name} {counted.means}{gaps}"
        if node not in state.before or node not in state.during:
            return Report(Certainty.INDETERMINATE, f"{how}: it could not be looked at")
        sentence = what_was_seen(
            fault.name,
            Look(
                parameters=fault.parameters,
                before=state.before[node],
                during=state.during[node],
                counted=counted,
                wrong_checksums=state.wrong_checksums(node),
            ),
        )
        if not sentence:
            return Report(Certainty.INDETERMINATE, f"{how}: no effect was seen")
        state.seen.add(node)
        return Report(Certainty.INSTALLED, f"{how}: {sentence}")
