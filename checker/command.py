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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from checker.budget import MEGABYTE, Budget
from checker.certificate import of_valid
from checker.checkpoint import CheckpointError
from checker.columns import Columns
from checker.formats import load_columns
from checker.history import HistoryError
from checker.kernel_cache import are_compiled
from checker.linearizable import SMALL_CALLS, are_kernels_loaded, check
from checker.meaning import FailedCas, Meaning, NilRead, default_meaning
from checker.models import DEFAULT, MODELS, Model, ModelError, model_named
from checker.models.user_file import is_user_file, model_from_file
from checker.page import as_text
from checker.parts import Part
from checker.verdict import CheckResult, Verdict

EXIT_CODES = {Verdict.VALID: 0, Verdict.INVALID: 1, Verdict.UNKNOWN: 3}
BAD_INPUT = 2
_WORST_FIRST = (1, 130, 4, BAD_INPUT, 3, 0)

# A search gets this much even where the history takes all that was allowed.
_LEAST_MB = 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How ``splitbrain check`` is asked to check each file.

    `initial` is a decoded JSON value. `failed_cas` and `nil_read` default to what they mean in each
    file's format. The budget is for each file. `mapping` names the columns of a CSV or Parquet file.
    `certificate` is where the proof goes, `checkpoint` where a check that was not finished is kept
    and gone on from: both of one file only. `workers` look at different keys at once.
    """

    model: str | None = None
    initial: Any = DEFAULT
    failed_cas: str | None = None
    nil_read: str | None = None
    format: str = "auto"
    mapping: Mapping[str, str] | None = None
    budget_s: float = 60.0
    memory_mb: float = 2048.0
    workers: int = 1
    certificate: Path | None = None
    checkpoint: Path | None = None
    as_json: bool = False


def run_check(
    paths: Sequence[Path | str],
    request: Request,
    *,
    labels: Sequence[str] | None = None,
    adjust: Callable[[CheckResult], CheckResult] = lambda result: result,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Check history files and print the verdicts; return the exit code.

    `labels` are what the files are called in the output (by default their paths); `adjust` may add
    to a result what is known from elsewhere.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        model = _model(request)
        overrides = _overrides(request.failed_cas, request.nil_read)
        if len(paths) > 1 and (request.certificate or request.checkpoint):
            raise ModelError("a certificate or checkpoint is of one file; name one PATH")
    except (ValueError, OSError) as error:
        print(f"splitbrain check: {error}", file=err)
        return BAD_INPUT
    codes = [0] if paths else [BAD_INPUT]
    for path, label in zip(paths, labels or [str(path) for path in paths], strict=True):
        try:
            result, notes = _check_file(Path(path), model, overrides, request, err)
            result = adjust(result)
        except (HistoryError, CheckpointError, ModelError, OSError) as error:
            said = _printable(_what(error, path))
            print(f"splitbrain check: {said}", file=err)
            if request.as_json:
                print(json.dumps(_unreadable(said).to_json(label)), file=out, flush=True)
            codes.append(BAD_INPUT)
            continue
        for note in notes:
            print(f"splitbrain check: {_printable(note)}", file=err)
        if request.as_json:
            print(json.dumps(result.to_json(label)), file=out, flush=True)
        else:
            print(_printable(as_text(label, result)), file=out, flush=True)
        codes.append(EXIT_CODES[result.verdict])
    return min(codes, key=_WORST_FIRST.index)


def _model(request: Request) -> Model:
    """Return the model that was named, or one of the user's own: ``path/to/file.py:NAME``."""
    if request.model is None:
        raise ModelError(f"which model? Choose one with --model: {', '.join(MODELS)}")
    if is_user_file(request.model):
        return model_from_file(request.model, request.initial)
    return model_named(request.model, request.initial)


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
    path: Path, model: Model, overrides: dict[str, Any], request: Request, err: TextIO
) -> tuple[CheckResult, list[str]]:
    """Check one file; return the result and what else is to be said about it."""
    began = time.monotonic()
    columns = load_columns(path, request.format, mapping=request.mapping)
    meaning: Meaning = replace(default_meaning(columns.format), **overrides)
    notes = []
    if columns.torn_tail is not None:
        notes.append(f"{path}: dropped a torn last line: {columns.torn_tail[:60]!r}")
    _warn_of_compiling(columns, err)
    # What the history itself takes counts; the time is for the check, not for reading the file.
    left_mb = max(_LEAST_MB, request.memory_mb - _memory_mb())
    budget = Budget.of(seconds=request.budget_s, memory_mb=left_mb, clock=time.monotonic)
    saved = request.checkpoint
    result = check(
        columns,
        model,
        meaning=meaning,
        budget=budget,
        workers=request.workers,
        resume=_resume(saved, columns, model, meaning),
        pause=_pause(saved, columns, model, meaning, notes),
    )
    if request.certificate is not None:
        with _told_if_not_written(notes):
            notes.append(_write_certificate(request.certificate, result, model, meaning))
    if saved is not None and saved.exists() and result.verdict is Verdict.UNKNOWN:
        notes.append(f"{saved}: run the same command again to go on from here")
    # The high-water mark of the whole process, in kilobytes on Linux.
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return replace(result, peak_mb=peak_mb, seconds=time.monotonic() - began), notes


def _resume(
    path: Path | None, columns: Columns, model: Model, meaning: Meaning
) -> Callable[[list[Part]], None] | None:
    if path is None or not path.exists():
        return None
    from checker import checkpoint

    return lambda parts: checkpoint.resume(path, parts, columns, model, meaning)


def _pause(
    path: Path | None, columns: Columns, model: Model, meaning: Meaning, notes: list[str]
) -> Callable[[list[Part]], None] | None:
    if path is None:
        return None
    from checker import checkpoint

    def pause(parts: list[Part]) -> None:
        with _told_if_not_written(notes):
            checkpoint.save(path, parts, columns, model, meaning)

    return pause


@contextmanager
def _told_if_not_written(notes: list[str]) -> Iterator[None]:
    """A file that cannot be written is told; the verdict is there all the same."""
    try:
        yield
    except OSError as error:
        notes.append(f"{error.filename}: not written ({error.strerror or error})")


def _write_certificate(path: Path, result: CheckResult, model: Model, meaning: Meaning) -> str:
    """Write the proof of a verdict; return what to say about it."""
    proof = result.certificate
    if result.verdict is Verdict.VALID:
        proof = of_valid(model, meaning, result.keys)
    if proof is None:
        return f"{path}: not written, there is no proof of {result.verdict}"
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(proof) + "\n", encoding="utf-8")
    aside.replace(path)
    return f"{path}: written; verify it with: splitbrain verify HISTORY {path}"


def _warn_of_compiling(columns: Columns, err: TextIO) -> None:
    """Say so if this check will have to wait for a compiler."""
    if len(columns) <= SMALL_CALLS or are_kernels_loaded():
        return
    if not are_compiled():
        print("splitbrain check: compiling the kernels, once (about a minute) ...", file=err)


def _memory_mb() -> float:
    """Return what this process keeps in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MEGABYTE


def _overrides(failed_cas: str | None, nil_read: str | None) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if failed_cas is not None:
        overrides["failed_cas"] = FailedCas(failed_cas)
    if nil_read is not None:
        overrides["nil_read"] = NilRead(nil_read)
    return overrides


def _what(error: Exception, path: Path | str) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or path}: {error.strerror or error}"
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


def _printable(text: str) -> str:
    """Replace what no terminal can show, such as half of a surrogate pair from a JSON escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
