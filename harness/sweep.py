"""A sweep: the runs of a matrix, one after the other, whatever becomes of them.

Rules of this file:
- Nothing stops a sweep but its end, an interruption and a store that cannot be written. A run that
  could not be set up is a harness failure, is written down as one, and is not tried again.
- A run is not begun when it cannot end within the budget. What was not run is said, and the sweep
  is no pass then.
- Its exit code is the worst of its runs'. Failures are kept whole; of passes, unless asked
  otherwise, what tells of them is kept and what is large is removed.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from harness import run as one_run
from harness import store
from harness.errors import SplitbrainError
from harness.outcome import EXIT_CODES, Outcome, worst
from harness.progress import Progress
from harness.seed import fresh_seed
from harness.spec import read_toml
from harness.sweep_ledger import Ledger, create, newest, require_same
from harness.sweep_plan import Planned, SweepPlan, expected_s, plan_of

SWEEP: Final = "sweep.json"
JUNIT: Final = "junit.xml"
SUMMARY: Final = "summary.md"
# The outcome of a run that was not begun. It is no pass.
NOT_RUN: Final = "not-run"
NOT_RUN_CODE: Final = 3

# What is removed from a pass: all that is large. A certificate proves nothing without its history.
_LARGE: Final = (
    store.HISTORY,
    store.PREPARED,
    store.CERTIFICATE,
    store.STATUS,
    "operations.parquet",
    "faults.parquet",
    "metrics.parquet",
    store.HOSTS,
)

Record = dict[str, Any]


def _ignore(_: object, __: int) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told of a sweep as it goes on: before a run, and of each run's record. The number is
    how many runs there are. `shown` overrules whether a run is drawn on the terminal."""

    begins: Callable[[Planned, int], None] = _ignore
    ended: Callable[[Record, int], None] = _ignore
    shown: bool | None = None


@dataclass(slots=True, kw_only=True)
class _Sweep:
    """A sweep that is going on. `deadline_s` is on `clock`; `records` are by the run's number."""

    plan: SweepPlan
    ledger: Ledger
    home: Path
    watch: Watch
    clock: Callable[[], float]
    deadline_s: float
    records: dict[int, Record]
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What came of a sweep. `document` is its `sweep.json`."""

    exit_code: int
    folder: Path
    document: dict[str, Any]


def sweep(
    file: Path,
    *,
    store_folder: str | None = None,
    budget_s: float | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Swept:
    """Run what a file asks for, or the rest of it, and write what came of it.

    `store_folder` and `budget_s` overrule the file's. Raises `UsageError` for a file that makes no
    sense and `HarnessError` when not even the plan can be written; all else is in the result.
    """
    began_s, began_at = clock(), datetime.now(UTC)
    values = read_toml(file)

    def planned(seed: int) -> SweepPlan:
        return plan_of(values, file=str(file), store=store_folder, seed=seed)

    seed = fresh_seed()
    plan = planned(seed)
    home = Path(plan.runs[0].spec.store)
    if resume:
        ledger, written = newest(home, file.stem)
        plan = planned(written["seed"])
        require_same(ledger, written, plan.runs)
    else:
        ledger = create(home, file.stem, plan.runs, seed=seed)
    limit_s = plan.budget_s if budget_s is None else budget_s
    with ledger.held():
        going = _Sweep(
            plan=plan,
            ledger=ledger,
            home=home,
            watch=watch or Watch(),
            clock=clock,
            deadline_s=math.inf if limit_s is None else began_s + limit_s,
            records=ledger.ended() if resume else {},
        )
        try:
            _run_all(going)
        except KeyboardInterrupt:
            going.interrupted = True
        return _finish(going, file, began_at, limit_s)


def _run_all(going: _Sweep) -> None:
    for planned in going.plan.runs:
        if planned.number in going.records:
            continue
        left_s = going.deadline_s - going.clock()
        if expected_s(planned.spec, _beyond_s(going)) > left_s:
            # A later run may be a shorter one.
            continue
        going.watch.begins(planned, len(going.plan.runs))
        record = _run(going, planned)
        going.records[planned.number] = record
        try:
            going.ledger.add(record)
        except OSError as error:
            going.failures.append(
                f"{going.ledger.folder}: an outcome could not be written ({error.strerror}), so "
                "the sweep was stopped; free some space and go on with --resume"
            )
            return
        finally:
            going.watch.ended(record, len(going.plan.runs))
        if record["outcome"] == Outcome.INTERRUPTED:
            going.interrupted = True
        if going.interrupted:  # also one that came when it could change that run's outcome no more
            return


def _run(going: _Sweep, planned: Planned) -> Record:
    """Run one and return what came of it, whatever that was."""
    began_s = going.clock()
    reasons: Sequence[str]
    try:
        result = one_run.run(planned.spec, progress=Progress(shown=going.watch.shown))
    except SplitbrainError as error:
        outcome, reasons, folder = Outcome.HARNESS_FAILURE, [str(error)], None
    except Exception as error:  # noqa: BLE001  (one run must not end the others)
        traceback.print_exc()
        told = f"internal error: {type(error).__name__}: {error}; please report it"
        outcome, reasons, folder = Outcome.HARNESS_FAILURE, [told], None
    else:
        outcome, reasons, folder = result.outcome, result.reasons, result.path
        going.interrupted |= result.interrupted
        if result.passed and going.plan.keep == "failures":
            _thin(result.path)
    return {
        **_asked(planned),
        "outcome": outcome.value,
        "exit_code": EXIT_CODES[outcome],
        "reasons": [_encodable(reason) for reason in reasons],
        "seconds": round(going.clock() - began_s, 3),
        "path": None if folder is None else os.path.relpath(folder, going.home),
    }


def _asked(planned: Planned) -> Record:
    spec = planned.spec
    return {
        "number": planned.number,
        "title": planned.title,
        "name": spec.name,
        "varied": dict(planned.varied),
        "seed": spec.seed,
        "time_limit": spec.time_limit,
        "repeat": spec.repeat_line(),
    }


def _beyond_s(going: _Sweep) -> list[float]:
    """Return what the runs so far took beyond their load. One that had none shows nothing."""
    ran = [one for one in going.records.values() if one["seconds"] >= one["time_limit"]]
    return [one["seconds"] - one["time_limit"] for one in ran]


def _thin(folder: Path) -> None:
    """Remove what is large from a run that nobody has to look into."""
    for name in _LARGE:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _finish(going: _Sweep, file: Path, began_at: datetime, limit_s: float | None) -> Swept:
    """Say what was not run, put everything together, and write it."""
    records = []
    for planned in going.plan.runs:
        record = going.records.get(planned.number)
        if record is None:
            record = _not_run(going, planned, limit_s)
            going.watch.ended(record, len(going.plan.runs))
        records.append(record)
    document = {
        "splitbrain": metadata.version("splitbrain"),
        "name": file.stem,
        "started_at": _iso(began_at),
        "ended_at": _iso(datetime.now(UTC)),
        "budget_s": limit_s,
        "keep": going.plan.keep,
        "exit_code": _exit_code(going, records),
        "totals": _totals(records),
        "failures": going.failures,
        "runs": records,
    }
    problem = _write(going.ledger.folder, document)
    if problem is not None:
        going.failures.append(problem)
        document["exit_code"] = _exit_code(going, records)
        with contextlib.suppress(OSError):
            store.write_json(going.ledger.folder / SWEEP, document)
    return Swept(
        exit_code=_exit_code(going, records), folder=going.ledger.folder, document=document
    )


def _not_run(going: _Sweep, planned: Planned, limit_s: float | None) -> Record:
    needed_s = expected_s(planned.spec, _beyond_s(going))
    if going.interrupted:
        reason = "the sweep was interrupted before this run"
    elif going.failures:
        reason = "the sweep was stopped before this run"
    else:
        reason = (
            f"it may take {needed_s:.0f} s, and less than that was left of the budget of "
            f"{limit_s or 0:g} s; go on with --resume"
        )
    return {
        **_asked(planned),
        "outcome": NOT_RUN,
        "exit_code": NOT_RUN_CODE,
        "reasons": [reason],
        "seconds": 0.0,
        "path": None,
    }


def _exit_code(going: _Sweep, records: Sequence[Record]) -> int:
    codes = [record["exit_code"] for record in records]
    codes += [EXIT_CODES[Outcome.HARNESS_FAILURE]] if going.failures else []
    codes += [EXIT_CODES[Outcome.INTERRUPTED]] if going.interrupted else []
    return worst(codes)


def _totals(records: Sequence[Record]) -> dict[str, int]:
    names = [*(outcome.value for outcome in Outcome), NOT_RUN]
    counted = [record["outcome"] for record in records]
    return {name: counted.count(name) for name in names if name in counted}


def _write(folder: Path, document: Mapping[str, Any]) -> str | None:
    """Write the sweep's documents; return what could not be written, and why."""
    from reports import junit, markdown

    try:
        store.write_json(folder / SWEEP, document)
        store.write_text(folder / JUNIT, junit.render_sweep(document).decode("utf-8"))
        store.write_text(folder / SUMMARY, markdown.render_sweep(document))
    except OSError as error:
        return (
            f"{folder}: the sweep's summary could not be written ({error.strerror}); "
            "free some space and go on with --resume"
        )
    return None


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
