"""Partitions by class of message: votes, appends or snapshots are lost, everything else arrives.

Rules of this file:
- The nodes themselves lose the messages, where the system can be told that (`PeerFilter`). They do
  so for a lease that is renewed while the fault lasts; so one that was restarted loses on.
- A fault is `installed` when a node counted messages of its class that it lost.
- A node that runs and does not answer when the fault ends is asked again when its lease is over:
  what comes after the fault must not suffer from it. One that is stopped just then (`pause`) finds
  the requests in its sockets when it goes on, and may lose messages for one lease more.
- Votes and snapshots are not sent every day. The node chosen as the `one` of the plan misses
  something besides, so that an election is due, or that it falls behind a log that was compacted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.nemesis.faults import Certainty, Crew, FaultKind, Report, Reports, Unable
from harness.nemesis.plan import Fault
from harness.nemesis.repeating import Repeating
from harness.remote.agent_client import Agent
from harness.systems.administrated import Ending
from harness.systems.peer_filter import Counts, PeerFilter
from harness.systems.system import Status, System

LEASE_MS: Final = 3000
RENEW_S: Final = 0.5
# A turn of renewing asks three times at most: nodes that answer must not run out of lease meanwhile.
_TIMEOUT_S: Final = 0.7


def make_losses(crew: Crew, system: System) -> FaultKind:
    """Return what loses messages by class, if the system's nodes can."""
    if isinstance(system, PeerFilter):
        return MessageLoss(crew, system, system)
    return Unable(f"{system.name} cannot be told to lose messages of one class")


@dataclass(slots=True)
class Tally:
    """What one node lost during one fault, from the counts that it shows since its start. Pure."""

    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: Counts | None = None

    def note(self, counts: Counts) -> None:
        """Add what is new. The first counts are from before the fault; lower ones than before are of
        a process that was started since."""
        if self._seen is not None:
            for key, count in counts.items():
                before = self._seen.get(key, 0)
                self.lost[key] += count - before if count >= before else count
        self._seen = counts

    def report(self, classes: Sequence[str]) -> Report:
        """Say what was lost; messages of other classes are no evidence."""
        told = [f"{n} {name} from {source}" for (name, source), n in sorted(self.lost.items()) if n]
        if any(n and name in classes for (name, _), n in self.lost.items()):
            return Report(Certainty.INSTALLED, f"lost messages: {', '.join(told)}")
        what = f"no message came that could be lost ({', '.join(classes) or 'none is'})"
        return Report(Certainty.INDETERMINATE, f"{what}; lost: {', '.join(told)}" if told else what)


@dataclass(slots=True)
class _Loss:
    """One fault in force. `one` misses more than the others, until `over_for_one`."""

    classes: tuple[str, ...]
    misses: tuple[str, ...]
    one: str | None
    tallies: dict[str, Tally]
    compacted: set[str] = field(default_factory=set)
    over_for_one: bool = False
    until_s: dict[str, float] = field(default_factory=dict)
    renewing: Repeating | None = None

    def of(self, node: str) -> tuple[str, ...]:
        """The classes that a node is to lose now."""
        more = node == self.one and not self.over_for_one
        return (*self.classes, *self.misses) if more else self.classes


def the_one(parameters: Mapping[str, Any], order: Sequence[str], leader: str | None) -> str | None:
    """Return who misses more: the leader, if that is wanted and it is among them, or somebody else."""
    if "one" not in parameters:
        return None
    if parameters["one"] == "leader" and leader in order:
        return leader
    return next((node for node in order if node != leader), None)


@dataclass(slots=True)
class MessageLoss:
    """Has nodes lose messages of one class."""

    crew: Crew
    system: System
    filters: PeerFilter
    _losses: dict[int, _Loss] = field(default_factory=dict)

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Tell the nodes, and go on telling them."""
        order = [node for node in fault.fallback if node in targets]
        loss = _Loss(
            classes=tuple(fault.parameters["classes"]),
            misses=tuple(fault.parameters.get("misses", ())),
            one=the_one(fault.parameters, order, self._leader(targets)),
            tallies={node: Tally() for node in targets},
        )
        self._losses[fault.id] = loss
        reports = self._tell(loss, targets)

        def turn(number: int, over: threading.Event) -> None:
            del number
            if not over.is_set():
                self._leave_behind(loss, targets)
                self._tell(loss, targets)

        loss.renewing = Repeating(turn, period_s=RENEW_S)
        return reports

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Let every message arrive, and say which did not."""
        loss = self._losses.pop(fault.id, None) or _Loss((), (), None, {})
        problem = None if loss.renewing is None else loss.renewing.stop()[1]
        note = f"; renewing it ended early: {problem}" if problem else ""

        def end(node: str, agent: Agent) -> Report:
            counts = self._ask(node, (), for_ms=1)
            if counts is None and agent.process().running:  # with its process a lease ends too
                time.sleep(max(0.0, loss.until_s.get(node, 0.0) - time.monotonic()))
                counts = self._ask(node, (), for_ms=1)
            tally = loss.tallies.get(node, Tally())
            if counts is not None:
                tally.note(counts)
            report = tally.report(loss.classes)
            silence = "" if counts is not None else "; it says nothing any more"
            return Report(report.certainty, f"{report.detail}{silence}{note}")

        return self.crew.on(targets, end)

    def _tell(self, loss: _Loss, targets: Sequence[str]) -> Reports:
        def tell(node: str, agent: Agent) -> Report:
            del agent
            classes = loss.of(node)
            counts = self._ask(node, classes, for_ms=LEASE_MS)
            # Only now: also an answer that did not come may have been on its way until here.
            loss.until_s[node] = time.monotonic() + LEASE_MS / 1000
            if counts is None:
                return Report(Certainty.INDETERMINATE, "did not say that it loses anything")
            loss.tallies[node].note(counts)
            return Report(Certainty.INDETERMINATE, f"loses {', '.join(classes)}")

        return self.crew.on(targets, tell)

    def _leave_behind(self, loss: _Loss, targets: Sequence[str]) -> None:
        """Take from the leader's log what the one is missing. From then on a snapshot is needed."""
        if "snapshots" not in loss.classes or loss.one is None or loss.over_for_one:
            return

        def compact(node: str, agent: Agent) -> Report:
            del agent
            reply = self.filters.compact(node, _TIMEOUT_S)
            if reply.ending is Ending.DONE:
                loss.compacted.add(node)
            return Report(Certainty.INDETERMINATE, reply.detail)

        self.crew.on([node for node in targets if node != loss.one], compact)
        loss.over_for_one = self._leader(targets) in loss.compacted

    def _ask(self, node: str, classes: Sequence[str], *, for_ms: int) -> Counts | None:
        return self.filters.drop_messages(node, classes, for_ms=for_ms, timeout_s=_TIMEOUT_S)

    def _leader(self, nodes: Sequence[str]) -> str | None:
        """Return who says that it leads; of several the one of the newest term."""
        said: dict[str, Status] = {}

        def look(node: str, agent: Agent) -> Report:
            del agent
            status = self.system.status(node, _TIMEOUT_S)
            if status is not None and status.role == "leader":
                said[node] = status
            return Report(Certainty.INDETERMINATE, "looked at")

        self.crew.on(nodes, look)
        return max(said, key=lambda node: said[node].term, default=None)
