"""Where runs are kept: one folder a run, and `latest` beside them.

Rules of this file:
- A run's folder is made first and says from the start what was asked for; what follows is written
  as it happens, so that a run that dies is still readable.
- Whole files are written aside and renamed: a reader sees the old one or the new one.
- Nothing in the store is ever overwritten by another run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import own_code, own_workload
from harness.errors import HarnessError, UsageError
from harness.spec import Spec, from_values, read_toml

HISTORY = "history.jsonl"
# What the model was compared with, where that is not the history itself.
PREPARED = "history-checked.jsonl"
SPEC = "spec.toml"
# The system, where it is the user's own.
SYSTEM = "system.py"
PLAN = "plan.json"
STATUS = "status.jsonl"
OUTCOME = "outcome.json"
CERTIFICATE = "certificate.json"
LOG = "harness.log"
HOSTS = "hosts"
DATA = "data"
CLOCK = "clock.json"

_ATTEMPTS_MAX = 100


def create(spec: Spec, *, now: datetime | None = None) -> Path:
    """Make the folder of a new run, with its `spec.toml`, and point `latest` to it.

    Raises `HarnessError` when the store cannot be written, naming it and the reason.
    """
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S")
    parent = Path(spec.store) / spec.name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        run = _fresh(parent, f"{moment}-{spec.seed}")
        (run / HOSTS).mkdir()
        write_text(run / SPEC, spec.to_toml())
        own_code.keep(spec.workload, run / own_workload.COPY)
        own_code.keep(spec.system, run / SYSTEM)
        _point(parent / "latest", run)
    except OSError as error:
        raise HarnessError(
            f"{error.filename or parent}: the store cannot be written ({error.strerror}); "
            "free some space or choose another --store"
        ) from None
    return run


def _fresh(parent: Path, name: str) -> Path:
    for attempt in range(_ATTEMPTS_MAX):
        run = parent / (name if attempt == 0 else f"{name}.{attempt}")
        with contextlib.suppress(FileExistsError):
            run.mkdir()
            return run
    raise HarnessError(f"{parent}: there are already {_ATTEMPTS_MAX} runs called {name}")


def _point(link: Path, run: Path) -> None:
    aside = link.with_name(f".latest-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()
    aside.symlink_to(run.name)
    aside.replace(link)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all. Raises `OSError`."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(aside).unlink()
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all. Raises `OSError`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def drop_data(run: Path) -> None:
    """Remove the hosts' data from a run that nobody has to look into. Logs stay."""
    for data in (run / HOSTS).glob(f"*/{DATA}"):
        shutil.rmtree(data, ignore_errors=True)


def spec_of(run: Path) -> Spec:
    """Read back what a run was asked to do. Raises `UsageError` if this is no run's folder."""
    if not run.is_dir():
        raise UsageError(f"{run}: there is no such folder")
    if not (run / SPEC).is_file():
        raise UsageError(f"{run}: not a run's folder (it has no {SPEC})")
    return from_values(read_toml(run / SPEC))
