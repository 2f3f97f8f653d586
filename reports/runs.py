"""A store -> one line about each run in it: what the index, the trends and the comparison need.

Rules of this file:
- Of a run only `outcome.json` and `spec.toml` are read, so that thousands take seconds. Both are
  untrusted: every read is bounded, every field may be missing or of another type.
- A run that did not finish, or whose outcome cannot be read, is listed as that. It is never left
  out and never a traceback.
- Links are not followed: `latest` is no second run.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from .load import HISTORY, HOSTS, OUTCOME, SPEC
from .summary import VERDICTS, system
from .words import clean, shown

UNFINISHED: Final = "unfinished"
UNREADABLE: Final = "unreadable"
# A store may be one of many in a folder of artefacts, but not endlessly deep.
DEPTH_MAX: Final = 5
FOLDERS_MAX: Final = 100_000
_FILE_BYTES_MAX: Final = 64 * 1024 * 1024
# A clock that says otherwise says nothing; dates beyond cannot be carried to another zone.
_YEARS: Final = (1970, 9000)
# What may differ between two runs of the same test.
_OF_ONE_RUN: Final = ("seed", "store", "test_count", "lab")


class NoStoreError(Exception):
    """The store cannot be listed. The message says which folder and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run, in what can be told of it in a line.

    `path` is relative to the store. `outcome` is one of `summary.VERDICTS`, or `unreadable`.
    `test` is the same for two runs of the same test at the same version; it is empty where the
    spec is not known. Numbers that are not known are `None`.
    """

    path: str
    outcome: str
    note: str
    workload: str
    system: str
    version: str
    nemesis: str
    hosts: str
    seed: str
    started_s: float | None
    operations: int | None
    ok_per_s: float | None
    p50_ms: float | None
    p99_ms: float | None
    recovery_s: float | None
    has_report: bool
    test: str

    @property
    def when(self) -> str:
        """When it began, as people read it, in UTC."""
        if self.started_s is None:
            return "unknown"
        return datetime.fromtimestamp(self.started_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def read_store(store: Path) -> list[RunSummary]:
    """Summarise every run of a store, the newest first. Raises `NoStoreError`."""
    runs = [summarise(store, run) for run in find(store)]
    return sorted(runs, key=lambda run: (run.started_s or -math.inf, run.path), reverse=True)


def find(store: Path) -> list[Path]:
    """Find the folders of runs in a store. Raises `NoStoreError`."""
    if not store.is_dir():
        raise NoStoreError(
            f"{store}: there is no such folder; name the store that runs are kept in with --store"
        )
    found: list[Path] = []
    pending = [(store, 0)]
    visited = 0
    while pending and visited < FOLDERS_MAX:
        folder, depth = pending.pop()
        visited += 1
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            if folder == store:
                raise NoStoreError(f"{store}: cannot be read ({error.strerror})") from None
            continue
        files = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        if depth and files & {OUTCOME, SPEC, HISTORY}:
            found.append(folder)
        elif depth < DEPTH_MAX:
            below = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
            pending += [
                (folder / entry.name, depth + 1)
                for entry in below
                if entry.name != HOSTS and not entry.name.startswith(".")
            ]
    return found


def summarise(store: Path, run: Path) -> RunSummary:
    """Summarise a run, as far as its files can be read."""
    outcome, trouble = _outcome(run / OUTCOME)
    spec = _mapping(outcome.get("spec")) or _spec(run / SPEC)
    named = str(outcome.get("outcome"))
    kind = UNFINISHED if not outcome and not trouble else named if named in VERDICTS else UNREADABLE
    rates, latency_ms = _mapping(outcome.get("rates")), _mapping(outcome.get("latency_ms"))
    version = outcome.get("version") or spec.get("version") or outcome.get("splitbrain")
    return RunSummary(
        path=run.relative_to(store).as_posix(),
        outcome=kind,
        note=clean(trouble or _note(kind, named, outcome), limit=200),
        workload=_text(spec.get("workload")),
        system=system(spec),
        version=_text(version),
        nemesis=_nemesis(spec),
        hosts=_text(spec.get("hosts")),
        seed=_text(outcome.get("seed", spec.get("seed"))),
        started_s=_started_s(outcome.get("started_at"), run.name),
        operations=_count(_mapping(outcome.get("operations")).get("invoke")),
        ok_per_s=_ok_per_s(rates),
        p50_ms=_number(latency_ms.get("p50")),
        p99_ms=_number(latency_ms.get("p99")),
        recovery_s=_recovery_s(outcome.get("recovery")),
        has_report=(run / "report.html").is_file(),
        test=_test(spec, version) if spec else "",
    )


def _note(kind: str, named: str, outcome: Mapping[str, Any]) -> str:
    """Why it ended so; a pass needs no words."""
    if kind == UNFINISHED:
        return "no outcome: the harness was killed, or is still at work"
    if kind == UNREADABLE:
        return f"{OUTCOME} names an outcome that is not known: {named}"
    reasons = outcome.get("reasons")
    return str(reasons[0]) if kind != "pass" and isinstance(reasons, list) and reasons else ""


def _outcome(path: Path) -> tuple[dict[str, Any], str]:
    """Read an outcome; an empty one with the reason where it cannot be read."""
    text, trouble = _read(path)
    if text is None:
        return {}, trouble
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, f"{path.name} cannot be read: {error}"
    if not isinstance(value, dict) or not value:
        return {}, f"{path.name} is not an object with an outcome"
    return value, ""


def _spec(path: Path) -> dict[str, Any]:
    text, _ = _read(path)
    try:
        return tomllib.loads((text or b"").decode())
    except (ValueError, RecursionError):
        return {}


def _read(path: Path) -> tuple[bytes | None, str]:
    """Read a file; of one that is not there nothing is known, and that is no trouble."""
    if not path.is_file() or path.is_symlink():
        return None, ""
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            return None, f"{path.name} is larger than {_FILE_BYTES_MAX} bytes"
        return path.read_bytes(), ""
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror}"


def _test(spec: Mapping[str, Any], version: object) -> str:
    """What two runs have in common that only their luck could tell apart."""
    kept = {str(name): value for name, value in spec.items() if name not in _OF_ONE_RUN}
    try:
        return json.dumps([kept, version], sort_keys=True, default=str)
    except (ValueError, RecursionError):
        return ""


def _nemesis(spec: Mapping[str, Any]) -> str:
    faults = spec.get("nemesis")
    if isinstance(faults, list):
        return clean(", ".join(map(_text, faults)), limit=120) or "none"
    return _text(faults)


def _started_s(told: object, folder: str) -> float | None:
    """When it began: as the outcome has it, else as the folder is called."""
    for text, read in (
        (told, datetime.fromisoformat),
        (folder[:15], lambda stamp: datetime.strptime(stamp, "%Y%m%dT%H%M%S")),
    ):
        try:
            moment = read(str(text))
            zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            if _YEARS[0] <= zoned.year <= _YEARS[1]:
                return zoned.timestamp()
        except (ValueError, OverflowError):
            continue
    return None


def _ok_per_s(rates: Mapping[str, Any]) -> float | None:
    seconds = _number(rates.get("seconds"))
    acknowledged = _number(_mapping(rates.get("completed")).get("ok"))
    return acknowledged / seconds if seconds and acknowledged is not None else None


def _recovery_s(recovery: object) -> float | None:
    told = _mapping(recovery)
    return _number(told.get("seconds")) if told.get("recovered") is True else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    if value is None:
        return ""
    return clean(value, limit=80) if isinstance(value, str) else shown(value, limit=80)


def _count(value: object) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if known and isinstance(value, int) else None


def _number(value: object) -> float | None:
    """A number that can be shown and drawn: finite, not negative, within reason."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 2**63 else None
