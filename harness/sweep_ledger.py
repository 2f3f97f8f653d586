"""A sweep's folder: what was planned, and what came of each run, written as it ends.

Rules of this file:
- The folder is `STORE/sweeps/NAME/TIME/`, and `latest` beside it points to the newest. The runs
  themselves lie in the store like all others; paths in the folder are relative to the store, so
  that the store can be moved.
- `planned.json` is written before the first run. `outcomes.jsonl` gets one line as a run ends,
  on disk before the next one begins: a sweep that is killed loses the run it was in, nothing else.
- One process works on a folder at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness import store
from harness.errors import HarnessError, UsageError
from harness.outcome import Outcome
from harness.sweep_plan import Planned

PLANNED: Final = "planned.json"
OUTCOMES: Final = "outcomes.jsonl"
SWEEPS: Final = "sweeps"

_LATEST: Final = "latest"
_ATTEMPTS_MAX: Final = 100


class Ledger:
    """An open sweep's folder."""

    def __init__(self, folder: Path) -> None:
        """Use `create` or `reopen`, and `held` around the work."""
        self.folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out while this one works. Raises `UsageError` if one is in."""
        try:
            opened = (self.folder / OUTCOMES).open("a+b")
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        with opened as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(
                    f"{self.folder}: another process is at work on this sweep; wait for it to end"
                ) from None
            _cut_torn_line(file.fileno())
            yield

    def add(self, record: Mapping[str, Any]) -> None:
        """Write down what came of a run; it is on disk when this returns. Raises `OSError`."""
        line = json.dumps(record) + "\n"
        with (self.folder / OUTCOMES).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def ended(self) -> dict[int, dict[str, Any]]:
        """Return what is known of the runs that have an outcome, by their number.

        An interrupted run has none: it is run again. Raises `UsageError` for a broken file.
        """
        path = self.folder / OUTCOMES
        known: dict[int, dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines[:-1], 1):
            try:
                record = json.loads(line)
                if record["outcome"] != Outcome.INTERRUPTED:
                    known[record["number"]] = record
            except (ValueError, TypeError, KeyError):
                raise UsageError(
                    f"{path}:{number}: not the outcome of a run; remove the line to run it again"
                ) from None
        return known


def create(parent: Path, name: str, runs: Sequence[Planned], *, seed: int) -> Ledger:
    """Make the folder of a new sweep with its plan in it. Raises `HarnessError`."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    home = parent / SWEEPS / name
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = _fresh(home, moment)
        plan = {"version": 1, "seed": seed, "runs": [run.to_json() for run in runs]}
        store.write_json(folder / PLANNED, plan)
        aside = home / f".{_LATEST}-{os.getpid()}"
        aside.unlink(missing_ok=True)
        aside.symlink_to(folder.name)
        aside.replace(home / _LATEST)
    except OSError as error:
        raise _unwritable(home, error) from None
    return Ledger(folder)


def newest(parent: Path, name: str) -> tuple[Ledger, dict[str, Any]]:
    """Return the newest sweep of this name and its plan. Raises `UsageError` if there is none."""
    folder = parent / SWEEPS / name / _LATEST
    path = folder.resolve() / PLANNED
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(plan["seed"], int) or not isinstance(plan["runs"], list):
            raise ValueError
    except FileNotFoundError:
        raise UsageError(
            f"{folder}: there is no sweep to resume; leave out --resume to begin one"
        ) from None
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(
            f"{path}: not the plan of a sweep; leave out --resume to begin a new one"
        ) from None
    return Ledger(path.parent), plan


def require_same(ledger: Ledger, plan: Mapping[str, Any], runs: Sequence[Planned]) -> None:
    """Refuse to go on with a sweep whose file asks for something else by now."""
    if plan["runs"] != json.loads(json.dumps([run.to_json() for run in runs])):
        raise UsageError(
            f"{ledger.folder}: the file was changed since this sweep was planned, so it cannot be "
            "resumed; leave out --resume to begin a new one"
        )


def _unwritable(folder: Path, error: OSError) -> HarnessError:
    return HarnessError(
        f"{error.filename or folder}: the store cannot be written ({error.strerror}); "
        "free some space or choose another --store"
    )


def _fresh(home: Path, name: str) -> Path:
    for attempt in range(_ATTEMPTS_MAX):
        folder = home / (name if attempt == 0 else f"{name}.{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise HarnessError(f"{home}: there are already {_ATTEMPTS_MAX} sweeps called {name}")


def _cut_torn_line(handle: int) -> None:
    """Remove what a killed process left of a line: its run has no outcome."""
    size = os.fstat(handle).st_size
    whole = os.pread(handle, size, 0).rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(handle, whole)
