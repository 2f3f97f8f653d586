"""Writes a store of many made-up runs, each with no more than an index reads.

Rules of this file:
- One function a thing; what is not named in the arguments is the same for all runs.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from run_folders import HOSTILE, spec_of, toml_of

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
_CODES = {"pass": 0, "violation": 1, "inconclusive": 3, "vacuous": 3, "harness-failure": 4}


def add_run(
    store: Path,
    *,
    hour: int,
    seed: int,
    outcome: str = "pass",
    version: str = "0.1.0",
    p99_ms: float | None = 20.0,
    recovery_s: float | None = 0.8,
    report: bool = True,
    **changes: Any,
) -> Path:
    """Add a run that began so many hours after the first; `changes` are of its spec."""
    moment = FIRST + timedelta(hours=hour)
    spec = {**spec_of(seed), **changes}
    name = Path(str(spec["workload"])).stem
    run = store / name / f"{moment:%Y%m%dT%H%M%S}-{seed}"
    run.mkdir(parents=True)
    document: dict[str, Any] = {
        "splitbrain": version,
        "name": name,
        "outcome": outcome,
        "exit_code": _CODES.get(outcome, 130),
        "reasons": [f"because of {outcome}"],
        "started_at": moment.isoformat().replace("+00:00", "Z"),
        "seed": seed,
        "spec": spec,
        "operations": {"invoke": 6000 + hour, "ok": 5500, "fail": 400, "info": 100},
        "rates": {"seconds": 30.0, "completed": {"ok": 3000 + 30 * hour, "fail": 1, "info": 1}},
        "latency_ms": None if p99_ms is None else {"p50": 2.5, "p99": p99_ms},
        "recovery": None
        if recovery_s is None
        else {"recovered": True, "seconds": recovery_s, "deadline_s": 20.0},
    }
    (run / "outcome.json").write_text(json.dumps(document))
    (run / "spec.toml").write_text(toml_of(spec))
    if report:
        (run / "report.html").write_text("<!doctype html><title>a report</title>")
    return run


def change_outcome(run: Path, **changes: Any) -> None:
    """Overwrite fields of a run's outcome."""
    path = run / "outcome.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def store_of_many(store: Path) -> Path:
    """Thirty good runs and bad ones, and four that are damaged or attack the page."""
    for hour in range(10):
        add_run(store, hour=hour, seed=hour, outcome="violation" if hour in (4, 7) else "pass")
    for hour in range(10, 20):
        version = "0.1.0" if hour < 14 else "0.2.0" if hour < 18 else "0.3.0"
        outcome = "violation" if version == "0.2.0" else "pass"
        add_run(store, hour=hour, seed=hour, workload="queue", version=version, outcome=outcome)
    for hour in range(20, 26):
        add_run(store, hour=hour, seed=hour, nemesis=[], outcome="vacuous", recovery_s=None)
    (add_run(store, hour=26, seed=26, report=False) / "outcome.json").unlink()
    (add_run(store, hour=27, seed=27, report=False) / "outcome.json").write_text('{"outcome": "pa')
    (add_run(store, hour=28, seed=28, report=False) / "outcome.json").write_text("[1, 2]")
    hostile = add_run(store, hour=29, seed=29, outcome="violation", system=HOSTILE)
    change_outcome(hostile, reasons=[HOSTILE], splitbrain=HOSTILE, seed=HOSTILE)
    (store / "register" / "latest").symlink_to(hostile.name)
    return store
