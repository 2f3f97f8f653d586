"""Makes a run happen, from a spec to an outcome: the pipeline of ARCHITECTURE.md, top to bottom.

Rules of this file:
- Each phase has a name, is timed, and can fail with one line that says where and what to do.
- Whatever happens (an error, Ctrl-C, SIGTERM), hosts are healed and let go, what was recorded is
  kept, and an outcome is written.
- What the harness or a host did wrong is never blamed on the system under test, and a violation
  that was recorded before something else went wrong is still a violation.
"""

from __future__ import annotations

import logging
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from harness import store
from harness.cluster import Cluster
from harness.conclude import conclude
from harness.errors import HarnessError, SplitbrainError, UsageError
from harness.experiment import Experiment, Findings
from harness.hosts.choose import check_hosts, hosts_for
from harness.outcome import Outcome
from harness.progress import Progress
from harness.spec import Spec
from harness.systems import make_system, raft
from workloads.randomness import Stream

log = logging.getLogger("harness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a run. `path` is its folder, `reasons` say why, the most important first."""

    outcome: Outcome
    exit_code: int
    path: Path
    reasons: tuple[str, ...]
    document: dict[str, Any] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether the outcome is `pass`."""
        return self.outcome is Outcome.PASS


def run(spec: Spec, *, progress: Progress | None = None) -> Result:
    """Run one test and return what came of it.

    Raises `UsageError` for a spec that cannot be run (unknown mutant, bad inventory) and
    `HarnessError` when not even the run's folder can be made; all else is in the result.
    """
    _preflight(spec)
    folder = store.create(spec)
    findings = Findings()
    with _log_to(folder / store.LOG), _interruptible(), progress or Progress() as shown:
        try:
            with ExitStack() as stack:
                _perform(spec, folder, findings, shown, stack)
        except KeyboardInterrupt:
            findings.interrupted = True
            log.warning("interrupted")
        except HarnessError as error:
            findings.failures.append(str(error))
            log.error("%s", error)
        except SplitbrainError:
            raise
        except Exception as error:  # (an internal error is the harness' failure)
            findings.failures.append(f"internal error: {type(error).__name__}: {error}")
            log.exception("internal error")
        document = conclude(spec, folder, findings, shown)
    return Result(
        outcome=Outcome(document["outcome"]),
        exit_code=document["exit_code"],
        path=folder,
        reasons=tuple(document["reasons"]),
        document=document,
    )


def _preflight(spec: Spec) -> None:
    """Refuse what cannot work before anything is made for it."""
    check_hosts(spec)
    known = raft.mutants() if spec.mutant else {}
    if spec.mutant and spec.mutant not in known:
        raise UsageError(f"mutant is {spec.mutant!r}, but must be one of: {', '.join(known)}")


def run_all(spec: Spec) -> Iterator[Result]:
    """Run a test `test_count` times, each with its own seed; the first has the spec's own."""
    seeds = Stream(spec.seed, "test-count")
    for number in range(spec.test_count):
        seed = spec.seed if number == 0 else seeds.bits(number) >> 32
        yield run(replace(spec, seed=seed, test_count=1))


def _perform(
    spec: Spec, folder: Path, findings: Findings, progress: Progress, stack: ExitStack
) -> None:
    """Everything that needs hosts. What is learnt goes into `findings` as it is learnt."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="splitbrain-")))
    with progress.phase("hosts up"):
        hosts = stack.enter_context(hosts_for(spec))
    system = make_system(spec, hosts, scratch)
    with progress.phase("deploy"):
        cluster = stack.enter_context(Cluster(hosts, system, clock_faults="clock" in spec.nemesis))
        cluster.install()
    experiment = Experiment(spec, cluster, folder, findings, progress)
    stack.callback(_collect, cluster, folder / store.HOSTS, experiment, findings, progress)
    stack.callback(experiment.close)
    with progress.phase("start"):
        cluster.start_all()
        experiment.await_ready()
    with progress.phase("load and faults"):
        experiment.load()
    with progress.phase("heal and recover"):
        experiment.recover()
    with progress.phase("final reads"):
        experiment.read_everything()


def _collect(
    cluster: Cluster, target: Path, experiment: Experiment, findings: Findings, progress: Progress
) -> None:
    with progress.phase("collect logs"):
        findings.crashes = cluster.unexplained_exits()
        for problem in cluster.collect(target, experiment.clock):
            log.warning("%s", problem)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a run the way Ctrl-C does. Only the main thread may change handlers."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        # Once is enough: cleaning up must not be interrupted by an impatient second signal.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        before = {
            number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)
        }
    except ValueError:
        yield  # not the main thread: whoever called us owns the signals
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _RunLog(logging.FileHandler):
    """A log that a full disk cuts short instead of spilling tracebacks over the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, RUF100
        """Let it go: what matters is in the history and in the outcome."""


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Keep the harness' own log beside the run."""
    handler = _RunLog(path, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s")
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
