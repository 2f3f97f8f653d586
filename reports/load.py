"""A saved run's folder -> `Run`: what every report is made from.

Rules of this file:
- A folder may be incomplete: killed harness, missing samples, torn history. What is there is
  loaded; what is missing or unreadable becomes one sentence in `Run.problems`, never a traceback
  and never silence.
- A folder that holds no run at all is the caller's mistake: `NotARunError`, in one line.
- Files that come from hosts are untrusted: links are not followed, and every read is bounded.
- Only reads. Numbers are kept as the files have them: nanoseconds since the run's start.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd  # noqa: TC002  (dataclass fields are resolved by name)

from checker.history import History, HistoryError, Operation, read_jsonl

from .frames import faults_frame, metrics_frame, operations_frame

HISTORY: Final = "history.jsonl"
SPEC: Final = "spec.toml"
PLAN: Final = "plan.json"
STATUS: Final = "status.jsonl"
OUTCOME: Final = "outcome.json"
HARNESS_LOG: Final = "harness.log"
HOSTS: Final = "hosts"
CLOCK: Final = "clock.json"

# A log is read from its end; a node that logs a gigabyte must not take the report with it.
_LOG_BYTES_MAX: Final = 8 * 1024 * 1024
_LOG_FILES_MAX: Final = 200


class NotARunError(Exception):
    """The folder holds no run. The message says which folder and what was missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log file. `lines` has its end if it was too long: then `cut` is true.

    `monotonic_zero_ns` is the moment of the run at which the host's monotonic clock showed zero
    (before the run, so negative); `None` where that was not recorded.
    """

    host: str
    name: str
    lines: tuple[str, ...]
    cut: bool
    monotonic_zero_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run, as far as its folder tells.

    `outcome` is empty and `finished` false when there is no readable `outcome.json`. `metrics` is
    what every node said of itself through the run. The columns of the three frames are listed in
    `reports/columns.py`.
    """

    path: Path
    finished: bool
    outcome: Mapping[str, Any]
    spec: Mapping[str, Any]
    concurrency: int
    history: History
    operations: pd.DataFrame
    faults: pd.DataFrame
    metrics: pd.DataFrame
    logs: tuple[Log, ...]
    problems: tuple[str, ...]

    @property
    def duration_ns(self) -> int:
        """The last moment that anything is known of."""
        known = [event.time or 0 for event in self.history.events[-1:]]
        known += [int(self.metrics["time_ns"].max())] if len(self.metrics) else []
        known += [int(self.operations["start_ns"].max())] if len(self.operations) else []
        return max(known, default=0)

    @property
    def nodes(self) -> list[str]:
        """Every node that is named anywhere, in natural order."""
        named = {*self.metrics["node"].dropna(), *self.operations["node"].dropna()}
        return sorted(named, key=natural)


def load(run: Path | str) -> Run:
    """Load a run's folder. Raises `NotARunError` if it is none."""
    run = Path(run)
    if not run.is_dir():
        raise NotARunError(f"{run}: there is no such folder")
    if not any((run / name).is_file() for name in (HISTORY, SPEC, OUTCOME)):
        raise NotARunError(f"{run}: not a run's folder (it has no {HISTORY}, {SPEC} or {OUTCOME})")
    problems: list[str] = []
    outcome = _object(run / OUTCOME, problems, required=False)
    spec = _spec(run / SPEC, problems) or _mapping(outcome.get("spec"))
    history, operations = _history(run / HISTORY, problems)
    plan = _object(run / PLAN, problems, required=False)
    concurrency = spec.get("concurrency")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        concurrency = _guess_concurrency(operations)
    return Run(
        path=run,
        finished=bool(outcome),
        outcome=outcome,
        spec=spec,
        concurrency=concurrency,
        history=history,
        operations=operations_frame(operations),
        faults=faults_frame(
            outcome=objects(outcome.get("faults")),
            plan=objects(plan.get("faults")),
            events=list(history.nemesis_events),
        ),
        metrics=metrics_frame(_samples(run / STATUS, problems)),
        logs=_logs(run),
        problems=tuple(problems),
    )


def natural(name: object) -> list[tuple[int, int, str]]:
    """A sort key by which n2 comes before n10."""
    parts: list[tuple[int, int, str]] = []
    word = ""
    for letter in str(name):
        if word and letter.isdecimal() != word[0].isdecimal():
            parts.append(_natural_part(word))
            word = ""
        word += letter
    return [*parts, _natural_part(word)]


def _natural_part(word: str) -> tuple[int, int, str]:
    return (0, int(word), word) if word.isdecimal() else (1, 0, word)


def _history(path: Path, problems: list[str]) -> tuple[History, list[Operation]]:
    nothing = History((), source=str(path))
    if not path.is_file():
        problems.append(f"There is no {HISTORY}: no operation is known.")
        return nothing, []
    try:
        history = read_jsonl(path)
    except (HistoryError, OSError) as error:
        problems.append(f"{HISTORY} cannot be read, so no operation is shown: {error}")
        return nothing, []
    if history.torn_tail is not None:
        problems.append(f"The last line of {HISTORY} is torn: the writer was killed there.")
    if history.events and history.events[0].time is None:
        problems.append(f"{HISTORY} has no times: operations are drawn in order, 1 ms apart.")
    try:
        return history, history.operations()
    except HistoryError as error:
        problems.append(f"{HISTORY} does not pair up, so no operation is shown: {error}")
        return history, []


def _guess_concurrency(operations: list[Operation]) -> int:
    """Count the processes seen before the first one could retire."""
    first_end = min(
        (op.completion.index for op in operations if op.end is None and op.completion), default=None
    )
    seen = {
        op.invocation.process
        for op in operations
        if first_end is None or op.invocation.index < first_end
    }
    return max(1, len(seen))


def _object(path: Path, problems: list[str], *, required: bool) -> dict[str, Any]:
    if not path.is_file():
        if required:
            problems.append(f"There is no {path.name}.")
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path.name} is not an object.")
        return {}
    return value


def _spec(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        problems.append(f"{SPEC} cannot be read: {error}")
        return {}


def _samples(path: Path, problems: list[str]) -> list[Mapping[str, Any]]:
    if not path.is_file():
        return []
    samples: list[Mapping[str, Any]] = []
    unreadable = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                sample = json.loads(line)
            except ValueError:
                unreadable += 1
                continue
            if isinstance(sample, dict) and isinstance(sample.get("time"), int):
                samples.append(sample)
            else:
                unreadable += 1
    if unreadable:
        problems.append(f"{unreadable} lines of {STATUS} cannot be read and are left out.")
    return samples


def _logs(run: Path) -> tuple[Log, ...]:
    found = [("harness", run / HARNESS_LOG)]
    hosts = run / HOSTS
    if hosts.is_dir():
        for host in sorted(hosts.iterdir(), key=lambda folder: natural(folder.name)):
            if host.is_dir() and not host.is_symlink():
                found += [(host.name, path) for path in sorted(host.iterdir())]
    texts = [
        (host, path)
        for host, path in found
        if path.is_file() and not path.is_symlink() and path.suffix in (".log", ".txt", "")
    ]
    return tuple(_log(host, path) for host, path in texts[:_LOG_FILES_MAX])


def _log(host: str, path: Path) -> Log:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            cut = size > _LOG_BYTES_MAX
            file.seek(max(0, size - _LOG_BYTES_MAX))
            text = file.read(_LOG_BYTES_MAX).decode(errors="replace")
    except OSError as error:
        text, cut = f"(cannot be read: {error.strerror})", False
    lines = text.splitlines()[1 if cut else 0 :]
    zero_ns = _object(path.parent / CLOCK, [], required=False).get("run_ns_at_monotonic_zero")
    return Log(
        host=host,
        name=path.name,
        lines=tuple(lines),
        cut=cut,
        monotonic_zero_ns=zero_ns if isinstance(zero_ns, int) else None,
    )


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a JSON list; nothing of what is none."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
