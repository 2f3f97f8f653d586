"""`splitbrain check`: histories and runs' folders, on any machine, from the files alone.

Rules of this file:
- A run's folder says itself which model and which budget; a bare file needs `--model`.
- A run may have been a violation for other reasons than its history (it did not recover, it
  crashed). Those cannot be checked again, so what the run found counts on.
- Paths are checked in order, a bad one does not stop the others, the exit code is the worst.
- This never touches a host and never writes into a run.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from checker.command import run_check
from checker.models import DEFAULT
from checker.verdict import CheckResult, Verdict, merge
from harness import store
from harness.errors import UsageError
from harness.outcome import worst
from harness.spec import Spec
from workloads import register


def check_paths(options: argparse.Namespace, *, out: TextIO) -> int:
    """Check every path and return the exit code."""
    initial = _initial(options.initial)
    given = {name: getattr(options, name) for name in ("budget_s", "memory_mb")}
    given = {name: value for name, value in given.items() if value is not None}
    codes = []
    for path in options.paths:
        try:
            # A spec checks the bounds; where there is no run, its standard values serve.
            spec = store.spec_of(path) if path.is_dir() else Spec()
            spec = replace(spec, **given)
            history = _history_of(path)
            codes.append(
                run_check(
                    [history],
                    labels=[str(path)],
                    model=options.model or (register.MODEL if path.is_dir() else None),
                    initial=initial,
                    failed_cas=options.failed_cas,
                    nil_read=options.nil_read,
                    format=options.format,
                    budget_s=spec.budget_s,
                    memory_mb=spec.memory_mb,
                    as_json=options.json,
                    adjust=partial(with_findings, path),
                    out=out,
                )
            )
        except UsageError as error:
            sys.stderr.write(f"splitbrain check: {error}\n")
            codes.append(error.exit_code)
    return worst(codes)


def with_findings(run: Path, result: CheckResult) -> CheckResult:
    """Merge what the run itself found besides its history; a bare file has nothing."""
    outcome = run / store.OUTCOME
    if not outcome.is_file():
        return result
    try:
        checks: list[dict[str, Any]] = json.loads(outcome.read_text(encoding="utf-8"))["checks"]
        others = [
            (Verdict(check["verdict"]), f"{check['name']}: {check['reason']} (found by the run)")
            for check in checks
            if check["name"] != "linearizable"
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{outcome}: cannot be read ({type(error).__name__}: {error})") from None
    reasons = [text for verdict, text in others if verdict is not Verdict.VALID]
    if result.reason:
        reasons.insert(0, result.reason)
    verdict = merge([result.verdict, *(verdict for verdict, _ in others)])
    return replace(result, verdict=verdict, reason="; ".join(reasons) or None)


def _initial(text: str | None) -> Any:
    if text is None:
        return DEFAULT
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--initial {text!r} is not JSON ({error}); text needs quotes") from None


def _history_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    history = path / store.HISTORY
    if not history.is_file():
        raise UsageError(f"{path}: the run ended before it had a history ({store.HISTORY})")
    return history
