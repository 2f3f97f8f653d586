"""The part of a run in which clients and nemesis are at work: ready, load, recover, final reads.

Rules of this file:
- One clock for everything in the history: nanoseconds since the load began.
- Faults end before recovery is demanded, and recovery is demanded of every node: that it votes, if
  members were changed, and then that a write and a read are served through it, each within a
  deadline; and that somebody leads. A system that does not recover has failed (`liveness`); the
  evidence is what each node said last. How long the harness itself stood still is measured too.
- Nothing here decides the outcome: it is collected in `Findings`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness import store
from harness.agreement import Agreement
from harness.cluster import Cluster
from harness.errors import HarnessError
from harness.interpreter import Interpreter
from harness.journal import Journal
from harness.log_scan import Scan
from harness.nemesis.administration import make_administrative, unable
from harness.nemesis.conductor import Conductor, FaultRecord, Quorum
from harness.nemesis.faults import Crew, FaultKind
from harness.nemesis.kinds import make_kinds
from harness.nemesis.plan import Plan, make_plan
from harness.nemesis.roster import Roster
from harness.nemesis.schedule import schedules_from
from harness.observer import Observer
from harness.progress import Progress
from harness.served_last import FINAL_S_MAX
from harness.service import Service
from harness.spec import FAULTS, KEEP, REMOVING, Spec
from harness.stalls import StallMeter, Stalls
from harness.systems.administrated import Administrated
from harness.systems.fault_model import CRASHES_ONLY, FaultModel
from harness.systems.operator import Operator
from harness.systems.system import Status
from workloads.generator import Generator, stagger, time_limit
from workloads.workload import Setting, Workload

log = logging.getLogger("harness")

# How long a fresh cluster may take to serve its first operation; longer if it has longer to recover.
_READY_TIMEOUT_S: Final = 20.0
# How long undoing faults may take on the whole; each command has its own, shorter bound.
_HEAL_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.05
_NS_PER_S: Final = 1_000_000_000


@dataclass(slots=True)
class Recovery:
    """Whether the system served again after the faults, and how soon."""

    recovered: bool
    seconds: float
    deadline_s: float
    detail: str
    stalls: Stalls = field(default_factory=Stalls)


@dataclass(slots=True)
class Convergence:
    """Whether all nodes came to show the same state when nothing was asked of them any more."""

    converged: bool
    seconds: float
    deadline_s: float
    detail: str
    stalls: Stalls = field(default_factory=Stalls)


@dataclass(slots=True)
class Findings:
    """What a run has learnt so far. Filled as it goes, so that an end at any time leaves it good.

    `final_ns` is when the final phase began.
    """

    nodes: tuple[str, ...] = ()
    model: FaultModel = CRASHES_ONLY
    final_ns: int | None = None
    records: list[FaultRecord] = field(default_factory=list)
    leader_changes: list[dict[str, Any]] = field(default_factory=list)
    recovery: Recovery | None = None
    convergence: Convergence | None = None
    agreement: Agreement | None = None
    rates: dict[str, Any] | None = None
    crashes: list[str] = field(default_factory=list)
    log_scans: list[Scan] = field(default_factory=list)
    unread_logs: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def interrupt(self) -> None:
        """Note that somebody wants this run to end."""
        self.interrupted = True


class Experiment:
    """Owns the journal, the clients, the nemesis and the observer of one run."""

    def __init__(
        self,
        spec: Spec,
        workload: Workload,
        cluster: Cluster,
        folder: Path,
        findings: Findings,
        progress: Progress,
        plan: Plan | None = None,
    ) -> None:
        self._spec = spec
        self._workload = workload
        self._setting = Setting(
            seed=spec.seed, keys=spec.keys, threads=spec.concurrency, nodes=len(cluster.nodes)
        )
        self._cluster = cluster
        self._findings = findings
        findings.nodes = cluster.nodes
        self._progress = progress
        self._began_ns = time.monotonic_ns()
        # A plain flag, looked at often: it is set by a signal, where no lock may be taken.
        self._stopping = False
        self._service = Service(
            cluster.system, cluster.nodes, workload.data, lambda: self._stopping
        )
        self._journal = Journal(folder / store.HISTORY)
        self._plan = plan or self._make_plan()
        try:
            store.write_json(folder / store.PLAN, self._plan.to_json())
        except OSError as error:
            raise HarnessError(f"{folder}: cannot be written ({error.strerror})") from None
        self._observer = Observer(
            system=cluster.system,
            nodes=cluster.nodes,
            path=folder / store.STATUS,
            clock=self.clock,
        )
        self._crew = Crew(cluster)
        self._faults_over = threading.Event()
        self._operator: Operator | None = None
        if isinstance(cluster.system, Administrated):
            self._operator = Operator(
                cluster.system,
                cluster.nodes,
                leader=self._observer.leader,
                stopped=self._faults_over,
            )
        self._roster: Roster | None = None
        self._conductor: Conductor | None = None
        self._interpreter: Interpreter | None = None

    def await_ready(self) -> None:
        """Wait until every node serves a read. Raises `HarnessError` if one never does."""
        timeout_s = max(_READY_TIMEOUT_S, self._spec.recovery_timeout)
        deadline = time.monotonic() + timeout_s
        waiting = self._service.everywhere(self._workload.probe, None, deadline)
        if waiting and not self._stopping:
            raise HarnessError(
                f"the system did not come up within {timeout_s:.0f} s: {waiting}; "
                "its logs are in the run's folder under hosts/"
            )

    def load(self) -> None:
        """Run clients and nemesis for the time limit. The run's clock starts here."""
        spec = self._spec
        # What came before was set-up: the history's time zero is the start of the load.
        self._began_ns = time.monotonic_ns()
        self._findings.started_at = datetime.now(UTC)
        self._observer.start()
        self._interpreter = Interpreter(
            journal=self._journal,
            open_client=self._open_client,
            concurrency=spec.concurrency,
            operation_timeout_ns=int(spec.operation_timeout * _NS_PER_S),
            clock=self.clock,
            observe=self._progress.see,
            seed=spec.seed,
        )
        if self._stopping:
            self._interpreter.stop()
        self._conductor = Conductor(
            plan=self._plan,
            nodes=self._cluster.nodes,
            kinds=self._make_kinds(),
            journal=self._journal,
            clock=self.clock,
            leader=self._observer.leader,
            progress=self._progress,
            absent=self._cluster.absent,
            stopped=self._faults_over,
            quorum=self._quorum(),
        )
        self._findings.records = self._conductor.records
        self._conductor.start()
        rates = self._interpreter.run(self._load())
        self._findings.rates = rates.to_json()

    def recover(self) -> None:
        """Undo every fault, vouch for the hosts, and only then demand service of every node.

        Raises `HarnessError` when a fault could not be undone: the system is not judged then.
        """
        self._heal()
        self._cluster.settle()
        began = time.monotonic()
        with StallMeter() as meter:
            # Members first: a node that is out serves nobody, and that is no fault of the system.
            out = self._restore_members(self._spec.recovery_timeout)
            problems, served = self._demand_service(time.monotonic() + self._spec.recovery_timeout)
        if self._stopping:
            return  # it was not given the time that it has
        problems = [problem for problem in (out, *problems) if problem]
        self._findings.recovery = Recovery(
            recovered=not problems,
            seconds=round(time.monotonic() - began, 3),
            deadline_s=self._spec.recovery_timeout,
            detail="; ".join(problems) or served,
            stalls=meter.stalls,
        )

    def read_everything(self) -> None:
        """Do what the workload does last, such as reading every key through every node."""
        assert self._interpreter is not None, "load comes first"
        self._findings.final_ns = self.clock()
        self._interpreter.run(time_limit(FINAL_S_MAX, self._workload.final(self._setting)))

    def converge(self) -> None:
        """Wait until all nodes show the same state at the same index, if the system shows it."""
        if not self._observer.agreement.has_states:
            return
        began = time.monotonic()
        deadline_s = self._spec.recovery_timeout
        with StallMeter() as meter:
            while True:
                said = {node: self._observer.look(node) for node in self._cluster.nodes}
                shown = {node: status for node, status in said.items() if status is not None}
                states = {(status.applied_index, status.state_hash) for status in shown.values()}
                converged = len(shown) == len(said) and len(states) == 1
                seconds = time.monotonic() - began
                if converged or seconds > deadline_s or self._stopping:
                    break
                time.sleep(_POLL_S)
        if self._stopping:
            return  # it was not given the time that it has
        self._findings.convergence = Convergence(
            converged=converged,
            seconds=round(seconds, 3),
            deadline_s=deadline_s,
            detail=", ".join(_state_of(node, status) for node, status in said.items()),
            stalls=meter.stalls,
        )

    def stop(self) -> None:
        """Ask whoever works or waits here to come to an end; a signal may do so at any moment."""
        self._stopping = True
        if self._interpreter is not None:
            self._interpreter.stop()

    def close(self) -> None:
        """End everything that this object started; safe at any time, also half way through."""
        with ExitStack() as steps:  # the last one pushed goes first, and none keeps another away
            steps.callback(self._take_in_what_was_seen)
            steps.callback(self._journal.close)
            steps.callback(self._crew.close)
            if self._operator is not None:
                steps.callback(self._operator.close)
            steps.callback(self._observer.close)
            steps.callback(self._heal)
            self.stop()
            if self._interpreter is not None:
                self._interpreter.close()

    def clock(self) -> int:
        """Return the time of the run: nanoseconds since the load began."""
        return time.monotonic_ns() - self._began_ns

    def _take_in_what_was_seen(self) -> None:
        self._findings.leader_changes = self._observer.leader_changes()
        self._findings.agreement = self._observer.agreement
        if self._observer.error is not None:
            self._findings.failures.append(self._observer.error)

    def _make_plan(self) -> Plan:
        spec = self._spec
        return make_plan(
            seed=spec.seed,
            kinds=spec.nemesis,
            nodes=self._cluster.nodes,
            time_limit_ns=int(spec.time_limit * _NS_PER_S),
            interval_ns=int(spec.nemesis_interval * _NS_PER_S),
            schedules=schedules_from(spec.nemesis_schedule, FAULTS),
            at_once=spec.nemesis_at_once,
        )

    def _load(self) -> Generator:
        source = self._workload.load(self._setting)
        return time_limit(self._spec.time_limit, stagger(self._spec.rate, source))

    def _open_client(self, thread: int) -> Any:
        """Open the client of a thread: one of its node, and every other one of a node's repeats."""
        nodes = self._cluster.nodes
        repeats = thread // len(nodes) % 2 == 0
        return self._cluster.system.client(
            nodes[thread % len(nodes)],
            self._workload.data,
            retries=self._spec.retries if repeats else 0,
        )

    def _make_kinds(self) -> Mapping[str, FaultKind]:
        kinds = make_kinds(self._crew, self._cluster.system)
        if self._operator is None:
            return {**kinds, **unable(f"{self._cluster.system.name} takes no orders of that kind")}
        self._roster = Roster(self._cluster, self._operator)
        return {**kinds, **make_administrative(self._crew, self._operator, self._roster)}

    def _restore_members(self, timeout_s: float) -> str:
        """Bring back whoever the nemesis removed; return who is not back in time, and why."""
        changed = not set(REMOVING).isdisjoint(self._spec.nemesis)
        if self._roster is None or self._operator is None or not changed:
            return ""
        self._operator.free()
        out = self._roster.restore(self._operator.deadline(timeout_s))
        return f"the members were not restored within {timeout_s:g} s: {out}" if out else ""

    def _heal(self) -> None:
        if self._conductor is not None:
            self._conductor.finish(_HEAL_TIMEOUT_S)
            if self._conductor.error is not None:
                self._findings.failures.append(self._conductor.error)
            self._conductor = None

    def _demand_service(self, deadline: float) -> tuple[list[str], str]:
        """Demand a write and a read through every node, and a leader; return the problems, and what
        to say if there are none."""
        look, change = self._workload.probe, self._workload.change
        problems = [self._service.everywhere(look, change, deadline)]
        asked = [look.f] if change is None else [change.f, look.f]
        served = f"every node served {' and '.join(dict.fromkeys(asked))}"
        if self._observer.leader_changes():
            leader, problem = self._service.await_leader(deadline)
            problems.append(problem)
            served += f", {leader} leads"
        return problems, served

    def _quorum(self) -> Quorum | None:
        """Return what the conductor has to know to keep a quorum, if it is to."""
        if self._spec.quorum != KEEP:
            return None
        nodes, operator = self._cluster.nodes, self._operator

        def configurations() -> list[tuple[str, ...]]:
            # All nodes too: whoever is out is brought back some time.
            changed = not set(REMOVING).isdisjoint(self._spec.nemesis)
            return [nodes, *(operator.configurations() if operator and changed else ())]

        return Quorum(configurations, self._observer.silent)


def _state_of(node: str, status: Status | None) -> str:
    if status is None:
        return f"{node} says nothing"
    return f"{node} is at {status.applied_index} ({(status.state_hash or 'no digest')[:12]})"
