"""Carries out a plan: at its time, each fault is applied, later undone, and both are journalled.

Rules of this file:
- One thread conducts each kind of fault, so that one that takes long (a node that is to be let in)
  does not hold up another that has to end. Who is struck is decided under one lock. What happens on
  several hosts at once happens in the crew's threads.
- Who leads and who is down is looked up when a fault begins. What was decided is in the history:
  the plan says "leader", the event says which node that was.
- Every fault that began is ended, in time or by `heal`, also when something goes wrong on the way.
- Where a quorum is to be kept, nobody is struck without whom some configuration has no majority.
- The nemesis never ends a run: what goes wrong is evidence, and the outcome is decided from it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from checker.history import NEMESIS, EventType
from harness.journal import Journal
from harness.nemesis.faults import Certainty, FaultKind, Report, Reports, overall
from harness.nemesis.partition import grudge_of
from harness.nemesis.plan import (
    ADMINISTRATIVE,
    DAMAGING,
    LEADER,
    LOSSES,
    OPTIONAL,
    TAKING,
    Fault,
    Plan,
)
from harness.nemesis.quorum import HARMLESS, allowed, harmed_by, harms_all
from harness.progress import Progress

# The longest single wait, so that a stop is heard soon.
_TICK_S: Final = 0.1


@dataclass(slots=True)
class FaultRecord:
    """What became of one planned fault; an entry of `outcome.json`.

    `leader` is who led, as far as was known, when the fault began, `harmed` whom it takes from the
    others. It was certainly in force from `begun_ns`, when it had been applied, until `ending_ns`,
    when its undoing began; it may have been from `start_ns` to `stop_ns`.
    """

    fault: Fault
    targets: tuple[str, ...] = ()
    harmed: tuple[str, ...] = ()
    leader: str | None = None
    start_ns: int | None = None
    begun_ns: int | None = None
    ending_ns: int | None = None
    stop_ns: int | None = None
    begun: Reports = field(default_factory=dict)
    ended: Reports = field(default_factory=dict)

    @property
    def struck_leader(self) -> bool:
        """Whether the fault was seen to work, and the leader was among its targets."""
        return self.leader in self.targets and self.certainty is Certainty.INSTALLED

    @property
    def was_crowded_out(self) -> bool:
        """Whether it began when other faults left it nobody to strike, or no time."""
        return not self.targets and "*" in self.begun

    @property
    def failed_half_way(self) -> bool:
        """Whether applying it broke off, so that nobody knows what was done to whom."""
        return bool(self.targets) and "*" in self.begun

    @property
    def certainty(self) -> Certainty:
        """What is known by now. Seen working at any time is installed; else the beginning counts:
        that something was undone does not show that it was ever done."""
        if Certainty.INSTALLED in (overall(self.begun), overall(self.ended)):
            return Certainty.INSTALLED
        return overall(self.begun)

    @property
    def struck(self) -> list[str]:
        """The nodes that the fault may have struck: all but those that it certainly did not."""
        if self.failed_half_way:
            return list(self.targets)
        return [
            node
            for node, report in self.begun.items()
            if self.targets and report.certainty is not Certainty.SKIPPED
        ]

    @property
    def contained(self) -> list[str]:
        """The nodes that were seen to refuse to run on what the fault had left them."""
        seen = [*self.begun.items(), *self.ended.items()]
        return list(dict.fromkeys(node for node, report in seen if report.contained))

    def to_json(self) -> dict[str, Any]:
        """Return the record as an entry of `outcome.json`."""
        return {
            "id": self.fault.id,
            "kind": self.fault.kind,
            "name": self.fault.name,
            "targets": list(self.targets),
            "harmed": list(self.harmed),
            "leader": self.leader,
            "parameters": dict(self.fault.parameters),
            "start_ns": self.start_ns,
            "stop_ns": self.stop_ns,
            "evidence": self.certainty.value,
            "detail": {node: report.detail for node, report in self.begun.items()},
            "detail_stop": {node: report.detail for node, report in self.ended.items()},
        }


@dataclass(frozen=True, slots=True)
class Quorum:
    """What is known of majorities at the moment, where they are to be kept.

    `configurations()` gives the voters of every configuration that may be in force; it may take a
    while. `silent()` names nodes that say nothing now, such as one that is still starting.
    """

    configurations: Callable[[], Sequence[Collection[str]]]
    silent: Callable[[], Collection[str]]


class Conductor:
    """Runs the nemesis of one run. `leader()` says who leads as far as is known now.

    With a `quorum`, only so much is struck that every configuration keeps an unharmed majority.
    `absent()` names nodes that no fault can strike at the moment. `stopped` is set when the faults
    are to end: kinds that wait for something wait no longer.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        nodes: Sequence[str],
        kinds: Mapping[str, FaultKind],
        journal: Journal,
        clock: Callable[[], int],
        leader: Callable[[], str | None],
        progress: Progress,
        absent: Callable[[], Collection[str]] = tuple,
        stopped: threading.Event | None = None,
        quorum: Quorum | None = None,
    ) -> None:
        self._nodes = tuple(nodes)
        self._quorum = quorum
        self._kinds = kinds
        self._journal = journal
        self._clock = clock
        self._leader = leader
        self._progress = progress
        self._absent = absent
        self._stopped = stopped or threading.Event()
        self._lock = threading.Lock()
        self.records = [FaultRecord(fault) for fault in plan.faults]
        self._in_force: list[FaultRecord] = []
        self._threads = [
            threading.Thread(
                target=self._conduct, args=(kind,), name=f"nemesis-{kind}", daemon=True
            )
            for kind in sorted({record.fault.kind for record in self.records})
        ]
        self.error: str | None = None

    def start(self) -> None:
        """Begin; the plan's times count from the run's start."""
        for thread in self._threads:
            thread.start()

    def finish(self, timeout_s: float) -> None:
        """End the conducting threads, then undo whatever is still in force."""
        self._stopped.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
                if thread.is_alive():
                    self._note_error(f"{thread.name} did not stop within {timeout_s:g} s")
        for record in list(self._in_force):
            try:
                self._end(record)
            except Exception as error:  # noqa: BLE001  (the others must be undone all the same)
                self._note_error(f"{type(error).__name__}: {error}")

    def _conduct(self, kind: str) -> None:
        mine = [record for record in self.records if record.fault.kind == kind]
        actions = sorted(
            [(record.fault.start_ns, 1, record) for record in mine]
            + [(record.fault.stop_ns, 0, record) for record in mine],
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
        with self._lock:
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
        # A fault whose time is over before it could begin: the one before it took too long.
        over = self._clock() >= fault.stop_ns
        leader = self._leader()
        configurations = self._configurations()
        with self._lock:
            record.leader = leader
            record.targets = () if over else self._choose(fault, leader, configurations)
            record.harmed = self._harmed(fault, record.targets)
            self._in_force.append(record)
        try:
            record.start_ns = self._write(EventType.INVOKE, record, "start")
        except BaseException:
            self._leave(record)
            raise
        where = ",".join(record.targets)
        self._progress.fault_began(fault.id, f"{fault.kind}:{fault.name}({where})")
        if record.targets:
            # Until it is known better: a command that fails half way may have acted.
            record.begun = {"*": Report(Certainty.INDETERMINATE, "was being applied")}
            record.begun = self._kinds[fault.kind].start(fault, record.targets)
        else:
            unfit = "no node was fit to be struck"
            unfit += "" if self._quorum is None else ", or too few would be left for a quorum"
            why = "the one before it was not over" if over else unfit
            record.begun = {"*": Report(Certainty.SKIPPED, why)}
        record.begun_ns = self._write(EventType.INFO, record, "start", record.begun)

    def _end(self, record: FaultRecord) -> None:
        fault = record.fault
        try:
            record.ending_ns = self._write(EventType.INVOKE, record, "stop")
        finally:
            # Whether or not it could be journalled: a full disk must not leave hosts struck.
            if record.targets:
                record.ended = self._kinds[fault.kind].stop(fault, record.targets)
            self._leave(record)
            self._progress.fault_ended(fault.id)
        record.stop_ns = self._write(EventType.INFO, record, "stop", record.ended)

    def _leave(self, record: FaultRecord) -> None:
        with self._lock:
            self._in_force.remove(record)

    def _choose(
        self, fault: Fault, leader: str | None, configurations: Sequence[Collection[str]]
    ) -> tuple[str, ...]:
        """Turn symbolic targets into nodes, and pass over nodes that another fault holds down, or
        without which there would be no quorum."""
        count, struck = len(fault.targets), self._struck()
        everybody = allowed(configurations, struck, self._nodes) == self._nodes
        if harms_all(fault.kind, fault.name) and not everybody:
            return ()
        if fault.kind == "partition" and LEADER not in fault.targets:
            harmed = self._harmed(fault, fault.targets)
            if harmed == fault.targets:  # it can do with others, or fewer
                return allowed(configurations, struck, [*harmed, *fault.fallback])[:count]
            return fault.targets if allowed(configurations, struck, harmed) == harmed else ()
        wanted = [leader if name == LEADER else name for name in fault.targets]
        fit: list[str] = []
        down = self._down()
        if fault.kind == "transfer" and leader is not None:
            down.add(leader)  # it is to go to somebody else
        for name in [*wanted, *fault.fallback]:
            if name is not None and name not in fit and name not in down:
                fit.append(name)
        if fault.kind in HARMLESS:
            return tuple(fit[:count])
        return allowed(configurations, struck, fit)[:count]

    def _configurations(self) -> Sequence[Collection[str]]:
        """Return those that are to keep a majority: none, if no quorum is to be kept."""
        return () if self._quorum is None else self._quorum.configurations()

    def _harmed(self, fault: Fault, targets: tuple[str, ...]) -> tuple[str, ...]:
        grudge = None
        if fault.kind == "partition" and targets and fault.name not in LOSSES:
            grudge = grudge_of(fault, self._nodes, targets)
        return harmed_by(fault.kind, fault.name, targets, grudge, self._nodes)

    def _struck(self) -> set[str]:
        """Return whoever is harmed by now, or says nothing; only where a quorum is to be kept."""
        if self._quorum is None:
            return set()
        harmed = {node for record in self._in_force for node in record.harmed}
        out = {
            node
            for record in self.records
            for node, until_ns in came_back(record, self.records).items()
            if until_ns is None
        }
        return {*harmed, *out, *self._absent(), *self._quorum.silent()}

    def _down(self) -> set[str]:
        """Return the nodes that a fault in force holds down or may bring down, or that are absent."""
        return {
            node
            for record in self._in_force
            if record.fault.kind in ("kill", "pause", "disk", *DAMAGING)
            or (record.fault.kind, record.fault.name) in TAKING
            for node in record.targets
        } | set(self._absent())

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


def came_back(record: FaultRecord, records: Sequence[FaultRecord]) -> dict[str, int | None]:
    """Return the nodes that were struck still when a fault had been undone, each with when a later
    fault of that kind, or of members, ended with the node back; `None` if none has."""
    later = sorted(
        (other.stop_ns, other.fault.id, other.ended)
        for other in records
        if other.fault.kind in (record.fault.kind, "member")
        and other.stop_ns is not None
        and other.stop_ns > (record.stop_ns or 0)
    )

    def back_ns(node: str) -> int | None:
        for stop_ns, _, ended in later:
            if node in ended and not ended[node].lasting:
                return stop_ns
        return None

    return {node: back_ns(node) for node, report in record.ended.items() if report.lasting}


def evidence_by_name(records: Sequence[FaultRecord]) -> dict[tuple[str, str], list[str]]:
    """Return what is known of each planned (kind, name), one entry each time it was planned.

    Where the system itself has to agree, the kind as a whole counts, under the name ``*``. A fault
    that found every node struck by others already was crowded out: nothing was wrong with it, and
    it says nothing about its kind. What the host had no means for counts only where it need not
    have.
    """
    seen: dict[tuple[str, str], list[str]] = {}
    for record in records:
        optional = (record.fault.kind, record.fault.name) in OPTIONAL
        if record.was_crowded_out or (optional and record.certainty is Certainty.SKIPPED):
            continue
        whole = record.fault.kind in ADMINISTRATIVE
        name = (record.fault.kind, "*" if whole else record.fault.name)
        seen.setdefault(name, []).append(record.certainty.value)
    return seen
