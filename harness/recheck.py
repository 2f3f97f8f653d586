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
import time
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from checker.budget import Budget
from checker.command import EXIT_CODES, Request, run_check
from checker.history import HistoryError, read_jsonl
from checker.models import DEFAULT
from checker.page import as_text
from checker.verdict import CheckResult, Verdict, merge
from harness import store
from harness.errors import HarnessError, SplitbrainError, UsageError
from harness.outcome import Outcome, worst
from harness.own_workload import workload_of
from harness.spec import Spec
from harness.spec import flag as flag_of
from workloads.checks import Linearizable
from workloads.workload import Workload


def check_paths(options: argparse.Namespace, *, out: TextIO) -> int:
    """Check every path and return the exit code."""
    if options.transactions:
        return _check_transactions(options, out=out)
    initial = _initial(options.initial)
    mapping = _mapping(options.columns)
    if len(options.paths) > 1 and (options.certificate or options.checkpoint):
        raise UsageError("--certificate and --checkpoint are for one PATH: name only one")
    given = {name: getattr(options, name) for name in ("budget_s", "memory_mb")}
    given = {name: value for name, value in given.items() if value is not None}
    codes = []
    for path in options.paths:
        try:
            # A spec checks the bounds; where there is no run, its standard values serve.
            spec = store.spec_of(path) if path.is_dir() else Spec()
            spec = replace(spec, **given)
            history = _history_of(path)
            model = options.model
            if path.is_dir() and model is None:
                workload = workload_of(spec.workload, kept=path)
                model = _plain_model(workload)
                if model is None:
                    codes.append(_check_run(path, history, spec, workload, options, out))
                    continue
            codes.append(
                run_check(
                    [history],
                    Request(
                        model=model,
                        initial=initial,
                        failed_cas=options.failed_cas,
                        nil_read=options.nil_read,
                        format=options.format,
                        mapping=mapping,
                        budget_s=spec.budget_s,
                        memory_mb=spec.memory_mb,
                        workers=options.workers,
                        certificate=options.certificate,
                        checkpoint=options.checkpoint,
                        as_json=options.json,
                    ),
                    labels=[str(path)],
                    adjust=partial(with_findings, path),
                    out=out,
                )
            )
        except SplitbrainError as error:
            sys.stderr.write(f"splitbrain check: {error}\n")
            codes.append(error.exit_code)
    return worst(codes)


def _plain_model(workload: Workload) -> str | None:
    """Return the model of a workload whose only check is the history's linearizability."""
    (first, *others) = workload.checks
    plain = isinstance(first, Linearizable) and first.prepare is None and not others
    return (
        first.of
        if plain and isinstance(first, Linearizable) and isinstance(first.of, str)
        else None
    )


def _check_run(
    run: Path,
    file: Path,
    spec: Spec,
    workload: Workload,
    options: argparse.Namespace,
    out: TextIO,
) -> int:
    """Check a run by its workload's own checks; return the exit code."""
    refused = [flag for flag in ("certificate", "checkpoint", "failed_cas", "nil_read", "columns",
                                 "initial") if getattr(options, flag) is not None]  # fmt: skip
    if refused:
        raise UsageError(
            f"{run}: the workload {workload.name!r} brings its own checks, so "
            f"{', '.join(map(flag_of, refused))} has no meaning here; name a --model to use it"
        )
    results: list[tuple[str, CheckResult]] = []
    try:
        history = read_jsonl(file)
        budget = Budget.of(seconds=spec.budget_s, memory_mb=spec.memory_mb, clock=time.monotonic)
        for number, check in enumerate(workload.checks):
            share = budget.share(len(workload.checks) - number)
            results.append((check.name, check.judge(history, share)))
    except Exception as error:
        if merge(one.verdict for _, one in results) is not Verdict.INVALID:
            if isinstance(error, (HistoryError, OSError)):
                raise UsageError(str(error)) from None
            raise HarnessError(f"{run}: a check failed: {type(error).__name__}: {error}") from error
        # What was found stands, whatever becomes of the checks after it.
        sys.stderr.write(f"splitbrain check: {run}: a later check failed: {error}\n")
    result = with_findings(run, _merged(results), [check.name for check in workload.checks])
    text = json.dumps(result.to_json(str(run))) if options.json else as_text(str(run), result)
    out.write(f"{text}\n")
    return EXIT_CODES[result.verdict]


def _merged(results: list[tuple[str, CheckResult]]) -> CheckResult:
    """Return one result for all checks: the first of the worst ones, with what all of them say."""
    verdict = merge(result.verdict for _, result in results)
    decisive = next(one for _, one in results if one.verdict is verdict)
    reasons = [f"{name}: {one.reason}" for name, one in results if one.reason]
    return replace(
        decisive,
        algorithm=", ".join(f"{name} ({one.algorithm})" for name, one in results),
        seconds=sum(one.seconds for _, one in results),
        reason="; ".join(reasons) or None,
    )


def _check_transactions(options: argparse.Namespace, *, out: TextIO) -> int:
    """Search every path for anomalies of transactions; return the exit code."""
    from checker.transactions.command import BAD_INPUT, run

    if options.model or options.certificate or options.checkpoint:
        raise UsageError("--transactions goes without --model, --certificate and --checkpoint")
    codes = []
    for path in options.paths:
        spec = replace(Spec(), **{
            name: value for name in ("budget_s", "memory_mb")
            if (value := getattr(options, name)) is not None
        })  # fmt: skip
        code, text = run(
            _history_of(path), options.transactions, options.isolation, options.json,
            format=options.format, budget_s=spec.budget_s, memory_mb=spec.memory_mb,
        )  # fmt: skip
        refused = code == BAD_INPUT and not options.json
        (sys.stderr if refused else out).write(f"{text}\n")
        codes.append(code)
    return worst(codes)


def verify_certificate(options: argparse.Namespace, *, out: TextIO) -> int:
    """Verify a certificate of a history or of a run's; return the exit code."""
    from checker.models.model import ModelError
    from checker.models.user_file import model_from_file
    from checker.verify_command import run_verify

    model = None
    if options.model is not None:
        try:
            model = model_from_file(options.model)
        except ModelError as error:
            raise UsageError(str(error)) from None
    return run_verify(
        _checked_history(options.history),
        options.certificate,
        model=model,
        format=options.format,
        as_json=options.json,
        out=out,
    )


def with_findings(
    run: Path, result: CheckResult, rechecked: Collection[str] = ("linearizable",)
) -> CheckResult:
    """Merge what the run itself found besides what was checked again; a bare file has nothing."""
    outcome = run / store.OUTCOME
    if not outcome.is_file():
        return result
    try:
        document = json.loads(outcome.read_text(encoding="utf-8"))
        checks: list[dict[str, Any]] = document["checks"]
        beyond = [str(sentence) for sentence in document.get("beyond_model", ())]
        others = [
            (Verdict(check["verdict"]), f"{check['name']}: {check['reason']} (found by the run)")
            for check in checks
            if check["name"] not in rechecked
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{outcome}: cannot be read ({type(error).__name__}: {error})") from None
    reasons = [text for verdict, text in others if verdict is not Verdict.VALID]
    if result.reason:
        reasons.insert(0, result.reason)
    verdict = merge([result.verdict, *(verdict for verdict, _ in others)])
    if verdict is Verdict.INVALID and beyond and document.get("outcome") != Outcome.VIOLATION:
        # As in the run's outcome: nobody knows whether it would have come without those faults.
        verdict, reasons = Verdict.UNKNOWN, [*beyond, *reasons]
    return replace(result, verdict=verdict, reason="; ".join(reasons) or None)


def _initial(text: str | None) -> Any:
    if text is None:
        return DEFAULT
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--initial {text!r} is not JSON ({error}); text needs quotes") from None


def _mapping(text: str | None) -> dict[str, str] | None:
    """Read ``ours=theirs,...``: which column of a table is which property of an operation."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    wrong = [name for name, equals, column in pairs if not (name and equals and column)]
    if wrong:
        raise UsageError(f"--columns {text!r}: expected OURS=THEIRS,..., such as f=operation")
    return {name: column for name, _, column in pairs}


def _checked_history(path: Path) -> Path:
    """Return the history that a certificate is about: of a run, what the model was compared with."""
    prepared = path / store.PREPARED
    return prepared if path.is_dir() and prepared.is_file() else _history_of(path)


def _history_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    history = path / store.HISTORY
    if not history.is_file():
        if (path / store.OUTCOME).is_file() and (path / store.PLAN).is_file():
            raise UsageError(
                f"{path}: there is no {store.HISTORY}: a sweep keeps only what is small of runs that "
                'passed, unless it says keep = "all"'
            )
        raise UsageError(f"{path}: the run ended before it had a history ({store.HISTORY})")
    return history
