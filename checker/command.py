"""The body of ``splitbrain check``: files in, verdicts out, one exit code.

Rules of this file:
- The edge of the package: the clock, the process's memory and the two streams are used here and
  nowhere else in it.
- With `as_json` exactly one line of JSON a file goes to `out`, in order, and nothing else; what
  cannot be read goes to `err` in either case. A bad file does not stop the others.
- Exit codes, worst first: 1 invalid, 2 bad input or usage, 3 unknown, 0 valid.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from checker.budget import Budget
from checker.formats import load
from checker.history import HistoryError
from checker.linearizable import check
from checker.meaning import FailedCas, Meaning, NilRead, default_meaning
from checker.models import DEFAULT, MODELS, Model, ModelError, model_named
from checker.verdict import CheckResult, Verdict

EXIT_CODES = {Verdict.VALID: 0, Verdict.INVALID: 1, Verdict.UNKNOWN: 3}
BAD_INPUT = 2
_WORST_FIRST = (1, 130, 4, BAD_INPUT, 3, 0)


def run_check(
    paths: Sequence[Path | str],
    *,
    model: str | None = None,
    initial: Any = DEFAULT,
    failed_cas: str | None = None,
    nil_read: str | None = None,
    format: str = "auto",  # noqa: A002
    budget_s: float = 60.0,
    memory_mb: float = 2048.0,
    as_json: bool = False,
    labels: Sequence[str] | None = None,
    adjust: Callable[[CheckResult], CheckResult] = lambda result: result,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Check history files and print the verdicts; return the exit code.

    `initial` is a decoded JSON value. `failed_cas` and `nil_read` default to what they mean in
    each file's format. The budget is for each file. `labels` are what the files are called in the
    output (by default their paths); `adjust` may add to a result what is known from elsewhere.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        if model is None:
            raise ModelError(f"which model? Choose one with --model: {', '.join(MODELS)}")
        chosen = model_named(model, initial)
        overrides = _overrides(failed_cas, nil_read)
    except ValueError as error:
        print(f"splitbrain check: {error}", file=err)
        return BAD_INPUT
    codes = [0] if paths else [BAD_INPUT]
    for path, label in zip(paths, labels or [str(path) for path in paths], strict=True):
        try:
            result, note = _check_file(path, chosen, overrides, format, budget_s, memory_mb)
            result = adjust(result)
        except (HistoryError, OSError) as error:
            said = _printable(_what(error, path))
            print(f"splitbrain check: {said}", file=err)
            if as_json:
                print(json.dumps(_unreadable(said).to_json(label)), file=out, flush=True)
            codes.append(BAD_INPUT)
            continue
        if note:
            print(f"splitbrain check: {_printable(note)}", file=err)
        if as_json:
            print(json.dumps(result.to_json(label)), file=out, flush=True)
        else:
            print(_printable(as_text(label, result)), file=out, flush=True)
        codes.append(EXIT_CODES[result.verdict])
    return min(codes, key=_WORST_FIRST.index)


def _unreadable(reason: str) -> CheckResult:
    """One line a file, also for a file that could not be checked."""
    return CheckResult(
        verdict=Verdict.UNKNOWN,
        algorithm="none",
        operations=0,
        seconds=0.0,
        peak_mb=0.0,
        reason=reason,
    )


def _check_file(
    path: Path | str,
    model: Model,
    overrides: dict[str, Any],
    format: str,  # noqa: A002
    budget_s: float,
    memory_mb: float,
) -> tuple[CheckResult, str | None]:
    """Check one file; return the result and a note about a torn tail."""
    budget = Budget.of(seconds=budget_s, memory_mb=memory_mb, clock=time.monotonic)
    history = load(path, format)
    meaning: Meaning = replace(default_meaning(history.format), **overrides)
    result = check(history, model, meaning=meaning, budget=budget)
    # The high-water mark of the whole process, in kilobytes on Linux.
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    note = None
    if history.torn_tail is not None:
        note = f"{path}: dropped a torn last line: {history.torn_tail[:60]!r}"
    return replace(result, peak_mb=peak_mb), note


def _overrides(failed_cas: str | None, nil_read: str | None) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if failed_cas is not None:
        overrides["failed_cas"] = FailedCas(failed_cas)
    if nil_read is not None:
        overrides["nil_read"] = NilRead(nil_read)
    return overrides


def _what(error: HistoryError | OSError, path: Path | str) -> str:
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}"
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


def _printable(text: str) -> str:
    """Replace what no terminal can show, such as half of a surrogate pair from a JSON escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_text(path: str, result: CheckResult) -> str:
    """Return a verdict as people read it; an invalid one with its counterexample."""
    lines = [
        f"{path}: {result.verdict}" + (f" ({result.reason})" if result.reason else ""),
        f"  {result.operations} operations, {len(result.keys)} keys, {result.algorithm}, "
        f"{result.seconds:.2f} s, {result.peak_mb:.0f} MB",
    ]
    shown = result.counterexample
    if shown is not None:
        where = "" if shown["key"] is None else f"key {shown['key']}: "
        lines += ["", f"  {where}{shown['summary']}", ""]
        lines += [f"  {line}" for line in _table(shown["operations"])]
    return "\n".join(lines)


def _table(operations: list[dict[str, Any]]) -> list[str]:
    """Return the operations of a counterexample as aligned columns, reasons beneath."""
    rows = [("event", "start ms", "end ms", "process", "operation", "outcome")]
    rows += [
        (
            str(operation["index"]),
            _milliseconds(operation["start_ns"]),
            _milliseconds(operation["end_ns"]) if operation["type"] != "info" else "",
            str(operation["process"]),
            f"{operation['f']} {json.dumps(operation['value'], ensure_ascii=False)}"[:60],
            operation["type"],
        )
        for operation in operations
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for place, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        why_not = operations[place - 1]["why_not"] if place else None
        if why_not:
            lines.append(f"      ^ {why_not}")
    return lines


def _milliseconds(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1e6:.3f}"
