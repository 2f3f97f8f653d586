"""Carries out a plan: at its time, each fault is applied, later undone, and both are journalled.

Rules of this file:
- One thread conducts; what happens on several hosts at once happens in the crew's threads.
- Who leads and who is down is looked up when a fault begins. What was decided is in the history:
  the plan says "leader", the event says which node that was.
- Every fault that began is ended, in time or by `heal`, also when something goes wrong on the way.
- The nemesis never ends a run: what goes wrong is evidence, and the outcome is decided from it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from checker.history import NEMESIS, EventType
from harness.journal import Journal
from harness.nemesis.faults import Certainty, FaultKind, Report, Reports, overall
from harness.nemesis.plan import LEADER, Fault, Plan
from harness.progress import Progress

# The longest single wait, so that a stop is heard soon.
_TICK_S: Final = 0.1


@dataclass(slots=True)
class FaultRecord:
    """What became of one planned fault; an entry of `outcome.json`.

    `leader` is who led, as far as was known, when the fault began.
    """

    fault: Fault
    targets: tuple[str, ...] = ()
    leader: str | None = None
    start_ns: int | None = None
    stop_ns: int | None = None
    begun: Reports = field(default_factory=dict)
    ended: Reports = field(default_factory=dict)

    @property
    def struck_leader(self) -> bool:
        """Whether the fault was seen to work, and the leader was among its targets."""
        return self.leader in self.targets and self.certainty is Certainty.INSTALLED

    @property
    def certainty(self) -> Certainty:
        """What is known by now. Seen working at any time is installed; else the beginning counts:
        that something was undone does not show that it was ever done."""
        if Certainty.INSTALLED in (overall(self.begun), overall(self.ended)):
            return Certainty.INSTALLED
        return overall(self.begun)

    def to_json(self) -> dict[str, Any]:
        """Return the record as an entry of `outcome.json`."""
        return {
            "id": self.fault.id,
            "kind": self.fault.kind,
            "name": self.fault.name,
            "targets": list(self.targets),
            "leader": self.leader,
            "parameters": dict(self.fault.parameters),
            "start_ns": self.start_ns,
            "stop_ns": self.stop_ns,
            "evidence": self.certainty.value,
            "detail": {node: report.detail for node, report in self.begun.items()},
            "detail_stop": {node: report.detail for node, report in self.ended.items()},
        }


class Conductor:
    """Runs the nemesis of one run. `leader()` says who leads as far as is known now."""

    def __init__(
        self,
        *,
        plan: Plan,
        kinds: Mapping[str, FaultKind],
        journal: Journal,
        clock: Callable[[], int],
        leader: Callable[[], str | None],
        progress: Progress,
    ) -> None:
        self._kinds = kinds
        self._journal = journal
        self._clock = clock
        self._leader = leader
        self._progress = progress
        self._stopped = threading.Event()
        self.records = [FaultRecord(fault) for fault in plan.faults]
        self._in_force: list[FaultRecord] = []
        self._thread = threading.Thread(target=self._conduct, name="nemesis", daemon=True)
        self.error: str | None = None

    def start(self) -> None:
        """Begin; the plan's times count from the run's start."""
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        """End the conducting thread, then undo whatever is still in force."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._note_error(f"it did not stop within {timeout_s:g} s")
        for record in list(self._in_force):
            try:
                self._end(record)
            except Exception as error:  # noqa: BLE001  (the others must be undone all the same)
                self._note_error(f"{type(error).__name__}: {error}")

    def _conduct(self) -> None:
        actions = sorted(
            [(record.fault.start_ns, 1, record) for record in self.records]
            + [(record.fault.stop_ns, 0, record) for record in self.records],
            key=lambda action: (*action[:2], action[2].fault.id),
        )
        try:
            for at_ns, begins, record in actions:
                if not self._wait_until(at_ns):
                    return
                if begins:
                    self._begin(record)
                elif record in self._in_force:
                    self._end(record)
        except Exception as error:  # noqa: BLE001  (a thread's error must reach the outcome)
            self._note_error(f"{type(error).__name__}: {error}")

    def _note_error(self, what: str) -> None:
        if self.error is None:
            self.error = f"the nemesis failed: {what}"

    def _wait_until(self, at_ns: int) -> bool:
        """Wait for a time of the run; False when the run ended before it."""
        while (remaining_ns := at_ns - self._clock()) > 0:
            if self._stopped.wait(min(_TICK_S, remaining_ns / 1e9)):
                return False
        return not self._stopped.is_set()

    def _begin(self, record: FaultRecord) -> None:
        fault = record.fault
        record.leader = self._leader()
        record.targets = self._choose(fault, record.leader)
        record.start_ns = self._write(EventType.INVOKE, record, "start")
        self._in_force.append(record)
        where = ",".join(record.targets)
        self._progress.fault_began(fault.id, f"{fault.kind}:{fault.name}({where})")
        if record.targets:
            # Until it is known better: a command that fails half way may have acted.
            record.begun = {"*": Report(Certainty.INDETERMINATE, "was being applied")}
            record.begun = self._kinds[fault.kind].start(fault, record.targets)
        else:
            record.begun = {"*": Report(Certainty.SKIPPED, "no node was fit to be struck")}
        self._write(EventType.INFO, record, "start", record.begun)

    def _end(self, record: FaultRecord) -> None:
        fault = record.fault
        try:
            self._write(EventType.INVOKE, record, "stop")
        finally:
            # Whether or not it could be journalled: a full disk must not leave hosts struck.
            if record.targets:
                record.ended = self._kinds[fault.kind].stop(fault, record.targets)
            self._in_force.remove(record)
            self._progress.fault_ended(fault.id)
        record.stop_ns = self._write(EventType.INFO, record, "stop", record.ended)

    def _choose(self, fault: Fault, leader: str | None) -> tuple[str, ...]:
        """Turn symbolic targets into nodes, and pass over nodes that another fault holds down."""
        if fault.kind == "partition" and LEADER not in fault.targets:
            return fault.targets
        wanted = [leader if name == LEADER else name for name in fault.targets]
        taken: list[str] = []
        down = self._down()
        for name in [*wanted, *fault.fallback]:
            if len(taken) == len(fault.targets):
                break
            if name is not None and name not in taken and name not in down:
                taken.append(name)
        return tuple(taken)

    def _down(self) -> set[str]:
        """Return the nodes that a fault in force has killed or paused."""
        return {
            node
            for record in self._in_force
            if record.fault.kind in ("kill", "pause")
            for node in record.targets
        }

    def _write(
        self, kind: EventType, record: FaultRecord, phase: str, reports: Reports | None = None
    ) -> int:
        now_ns = self._clock()
        value: dict[str, Any] = {
            "fault": record.fault.id,
            "phase": phase,
            "name": record.fault.name,
            "targets": list(record.targets),
            "parameters": dict(record.fault.parameters),
        }
        if reports is not None:
            value["evidence"] = overall(reports).value if reports else Certainty.SKIPPED.value
            value["detail"] = {node: report.detail for node, report in reports.items()}
        self._journal.record(
            time_ns=now_ns, process=NEMESIS, type=kind, f=record.fault.kind, value=value
        )
        return now_ns


def evidence_by_name(records: Sequence[FaultRecord]) -> dict[tuple[str, str], list[str]]:
    """Return what is known of each planned (kind, name), one entry each time it was planned."""
    seen: dict[tuple[str, str], list[str]] = {}
    for record in records:
        name = (record.fault.kind, record.fault.name)
        seen.setdefault(name, []).append(record.certainty.value)
    return seen
