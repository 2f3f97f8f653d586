"""Makes a run happen, from a spec to an outcome: the pipeline of ARCHITECTURE.md, top to bottom.

Rules of this file:
- Each phase has a name, is timed, and can fail with one line that says where and what to do.
- Whatever happens (an error, Ctrl-C, SIGTERM), hosts are healed and let go, what was recorded is
  kept, and an outcome is written. An interrupt is heard between two phases and during the check;
  within a phase it makes those who work or wait stop soon.
- What the harness or a host did wrong is never blamed on the system under test, and a violation
  that was recorded before something else went wrong is still a violation.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import store
from harness.cluster import Cluster
from harness.conclude import conclude
from harness.errors import SplitbrainError
from harness.experiment import Experiment, Findings
from harness.host_files import scan_logs
from harness.hosts.choose import check_hosts, hosts_for
from harness.interrupts import Interrupts
from harness.judge import judge
from harness.nemesis.beyond import inside
from harness.nemesis.plan import Plan
from harness.nemesis.swarm import drawn
from harness.outcome import Outcome
from harness.own_workload import workload_of
from harness.progress import Progress
from harness.redact import in_text
from harness.spec import ALL, Spec
from harness.systems import check_system, kind_of, make_system, possible_faults
from harness.systems.kind import SystemKind
from workloads.randomness import Stream
from workloads.workload import Workload

log = logging.getLogger("harness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a run. `path` is its folder, `reasons` say why, the most important first.

    One that was `interrupted` when nothing could change its outcome any more keeps its outcome.
    """

    outcome: Outcome
    exit_code: int
    path: Path
    reasons: tuple[str, ...]
    interrupted: bool = False
    document: dict[str, Any] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether the outcome is `pass`."""
        return self.outcome is Outcome.PASS


def run(spec: Spec, *, progress: Progress | None = None, plan: Plan | None = None) -> Result:
    """Run one test and return what came of it; with the faults of `plan`, if one is given.

    Raises `UsageError` for a spec that cannot be run (unknown mutant, bad inventory) and
    `HarnessError` when not even the run's folder can be made; all else is in the result.
    """
    if spec.nemesis == (ALL,):
        tested = kind_of(spec.system)
        survived = inside(tested.model, possible_faults(tested, spec.nodes), spec.nodes)
        spec = replace(spec, nemesis=drawn(spec.seed, survived))
    workload, kind = _preflight(spec)
    folder = store.create(spec)
    findings = Findings(model=kind.model)
    with (
        _log_to(folder / store.LOG),
        Interrupts(findings.interrupt) as interrupts,
        progress or Progress() as shown,
    ):
        # What goes wrong while cleaning up comes second, and never in place of the cause.
        with _recorded(findings), ExitStack() as stack:
            with _recorded(findings):
                _perform(spec, workload, kind, plan, folder, findings, shown, interrupts, stack)
            interrupts.defer()
        history, checks = judge(spec, workload, folder, findings, shown, interrupts)
        document = conclude(spec, workload, folder, history, checks, findings, shown)
    return Result(
        outcome=Outcome(document["outcome"]),
        exit_code=document["exit_code"],
        path=folder,
        reasons=tuple(document["reasons"]),
        interrupted=findings.interrupted,
        document=document,
    )


def run_all(spec: Spec, *, shown: bool | None = None) -> Iterator[Result]:
    """Run a test `test_count` times, each with its own seed; the first has the spec's own.

    An interrupted run is the last one. `shown` overrules whether runs are drawn on the terminal.
    """
    seeds = Stream(spec.seed, "test-count")
    for number in range(spec.test_count):
        seed = spec.seed if number == 0 else seeds.bits(number) >> 32
        result = run(replace(spec, seed=seed, test_count=1), progress=Progress(shown=shown))
        yield result
        if result.interrupted:
            return


@contextmanager
def _recorded(findings: Findings) -> Iterator[None]:
    """Let what goes wrong be part of the outcome instead of ending it."""
    try:
        yield
    except KeyboardInterrupt:
        findings.interrupted = True
        log.warning("interrupted")
    except SplitbrainError as error:
        findings.failures.append(str(error))
        log.error("%s", error)
    except Exception as error:
        findings.failures.append(f"internal error: {type(error).__name__}: {error}")
        log.exception("internal error")


def _preflight(spec: Spec) -> tuple[Workload, SystemKind]:
    """Refuse what cannot work before anything is made for it."""
    workload, kind = workload_of(spec.workload), kind_of(spec.system)
    check_hosts(spec)
    check_system(kind, spec, workload.data)
    return workload, kind


def _perform(
    spec: Spec,
    workload: Workload,
    kind: SystemKind,
    plan: Plan | None,
    folder: Path,
    findings: Findings,
    progress: Progress,
    interrupts: Interrupts,
    stack: ExitStack,
) -> None:
    """Everything that needs hosts. What is learnt goes into `findings` as it is learnt."""

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        with progress.phase(name):
            yield
        interrupts.heed()

    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="splitbrain-")))
    with phase("hosts up"):
        hosts = stack.enter_context(hosts_for(spec))
    system = make_system(kind, spec, hosts, scratch)
    with phase("deploy"):
        cluster = stack.enter_context(
            Cluster(
                hosts,
                system,
                clock_faults="clock" in spec.nemesis,
                disk_faults="disk" in spec.nemesis,
                resource_faults="resource" in spec.nemesis,
                model=kind.model,
            )
        )
        cluster.install()
    experiment = Experiment(spec, workload, cluster, folder, findings, progress, plan)
    stack.callback(_collect, cluster, folder / store.HOSTS, kind, experiment, findings, progress)
    stack.callback(experiment.close)
    interrupts.tell(experiment.stop)
    with phase("start"):
        cluster.start_all()
        experiment.await_ready()
    with phase("load and faults"):
        experiment.load()
    with phase("heal and recover"):
        experiment.recover()
    with phase("final reads"):
        experiment.read_everything()
    with phase("converge"):
        experiment.converge()


def _collect(
    cluster: Cluster,
    target: Path,
    kind: SystemKind,
    experiment: Experiment,
    findings: Findings,
    progress: Progress,
) -> None:
    with progress.phase("collect logs"):
        findings.crashes, misfortunes = cluster.unexplained_exits()
        findings.failures += misfortunes
        findings.unread_logs, problems = cluster.collect(target, experiment.clock)
        for problem in (*findings.unread_logs, *problems):
            log.warning("%s", problem)
        findings.log_scans = scan_logs(target, kind.log_patterns)


class _WithoutSecrets(logging.Formatter):
    """Writes a message and its traceback without what looks like a secret."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return in_text(super().format(record))


class _RunLog(logging.FileHandler):
    """A log that a full disk cuts short instead of spilling tracebacks over the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, RUF100
        """Let it go: what matters is in the history and in the outcome."""


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Keep the harness' own log beside the run."""
    handler = _RunLog(path, encoding="utf-8")
    formatter = _WithoutSecrets("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s")
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()
