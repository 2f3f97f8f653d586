"""Damage to a node's data: half a write, a flipped bit, a file cut short, the newest log gone.

Rules of this file:
- It is `installed` when the file, read back, holds something else than before.
- The node is started on it at once. After half a write it has to come back by itself. Where durable
  data are damaged it is right to refuse; then it has crashed for good. If it runs, it goes on
  without what it had promised, and the fault is beyond every promise (`harness.nemesis.beyond`).
- Either way a node whose durable data are damaged is condemned: nothing starts it any more, and it
  is removed and added again as a new one: at the end of the fault, of a later one of its kind, or in
  the recovery.
- Only voters lose durable data, and nobody while another one is condemned: one loss at a time, but
  for the variant that takes a majority at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.errors import HostError
from harness.nemesis.faults import Certainty, Crew, Report, Reports
from harness.nemesis.plan import Fault
from harness.nemesis.roster import Roster
from harness.remote.agent_client import Agent
from harness.remote.evidence import Damaged, Skipped
from harness.systems.fault_model import FaultModel
from harness.systems.operator import Operator

TORN_WRITE: Final = "torn-write"
# How long a node may take to come up or to refuse to, and how often to look.
_LOOK_S: Final = 5.0
_POLL_S: Final = 0.1
_STATUS_TIMEOUT_S: Final = 0.5
# How long to try to put a new node in its place, for each.
_REPLACE_S: Final = 8.0


def certainty_of_damage(seen: Damaged) -> Certainty:
    """Return whether the file is damaged. Pure."""
    return Certainty.INSTALLED if seen.differs else Certainty.INDETERMINATE


@dataclass(slots=True)
class Damage:
    """Strikes files of the system's data, and has the nodes replaced that lost durable ones."""

    crew: Crew
    operator: Operator
    roster: Roster
    clock: Callable[[], float] = time.monotonic
    # Two kinds of fault may begin at once: who may be struck is asked when the other one has struck.
    _striking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def _model(self) -> FaultModel:
        return self.crew.cluster.model

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Damage, start again, and look what comes of it."""
        with self._striking:
            # Half a write takes nothing that anybody relies on.
            unfit = {} if fault.name == TORN_WRITE else self.roster.unfit(targets)
            fit = [node for node in targets if node not in unfit]
            passed_over = {node: Report(Certainty.SKIPPED, why) for node, why in unfit.items()}
            return {
                **passed_over,
                **self.crew.on(fit, lambda node, agent: self._do(fault, node, agent)),
            }

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Make sure that the node runs, or have a new one take its place.

        Whoever an earlier fault left outside is tried again: without it fewer and fewer would vote.
        """
        del fault
        reports: dict[str, Report] = {}
        for node in targets:
            if self.roster.is_condemned(node):
                refused = self._has_refused(node)
                reports[node] = self._replace(
                    node, self.operator.deadline(_REPLACE_S), refused=refused
                )
            else:
                reports.update(self.crew.on([node], self._start))
        deadline = self.operator.deadline(_REPLACE_S)
        for node in self.roster.owed():
            if node not in targets:
                reports[node] = self._replace(node, deadline)
        return reports

    def _replace(self, node: str, deadline: float, *, refused: bool = False) -> Report:
        """Have a node replaced by a new one, if there is time. That it votes is no evidence that it
        was struck: that was seen at the start, or not."""
        if self.operator.late(deadline):
            detail, back = "is replaced in the recovery", False
        else:
            done = self.roster.replace(node, deadline)
            detail, back = done.detail, done.certainty is Certainty.INSTALLED
        return Report(Certainty.INDETERMINATE, detail, contained=refused, lasting=not back)

    def _do(self, fault: Fault, node: str, agent: Agent) -> Report:
        with self.crew.cluster.hold(node):
            seen = agent.damage(
                "cut-log" if fault.kind == "amnesia" else fault.name,
                self.crew.cluster.system_home(node),
                logs=self._model.logs,
                states=self._model.states,
                draw=fault.parameters["draw"],
            )
            if isinstance(seen, Skipped):
                return Report(Certainty.SKIPPED, seen.reason)
            durable = fault.name != TORN_WRITE
            if durable:
                self.roster.condemn(node)
            before = agent.process().exits_total
            self.crew.cluster.start(node)
            if durable:
                self.crew.cluster.condemn(node)
        said, refused = self._look(node, agent, before)
        detail = f"{seen.detail}; {said}"
        return Report(certainty_of_damage(seen), detail, contained=durable and refused)

    def _look(self, node: str, agent: Agent, exits_before: int) -> tuple[str, bool]:
        """Wait until the node answers or ends; return a phrase, and whether it refused to run."""
        deadline = self.clock() + _LOOK_S
        while True:
            process = agent.process()
            if not process.running and process.exits_total > exits_before:
                end = process.exits[-1]
                return f"started on it, {end.detail}", end.status in self._model.refuses_with
            if self.crew.cluster.system.status(node, _STATUS_TIMEOUT_S) is not None:
                return "started on it, it runs", False
            if self.clock() >= deadline:
                return f"started on it, it did not answer within {_LOOK_S:g} s", False
            time.sleep(_POLL_S)

    def _has_refused(self, node: str) -> bool:
        """Say whether a node that had not answered at first has refused meanwhile."""
        try:
            process = self.crew.cluster.agent(node).process()
        except HostError:
            return False
        end = process.exits[-1] if process.exits and not process.running else None
        return end is not None and end.status in self._model.refuses_with

    def _start(self, node: str, agent: Agent) -> Report:
        del agent
        detail = self.crew.cluster.start(node)
        return Report(Certainty.INDETERMINATE, detail)
