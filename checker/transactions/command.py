"""The body of ``splitbrain check FILE --workload ...``: a file in, a verdict out.

Rules of this file:
- The edge of the package: a file and the clock are used here (and in `reading`), nowhere else in it.
- Exit codes as in `checker.command`: 0 valid, 1 invalid, 2 bad input or usage, 3 unknown.
- With `as_json` the text is one line of JSON, also for what could not be read.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from checker.budget import Budget
from checker.history import HistoryError
from checker.transactions.check import check_transactions
from checker.transactions.draw import report
from checker.transactions.isolation import model_called
from checker.transactions.micro import WORKLOADS
from checker.transactions.reading import read_transactions
from checker.verdict import Verdict

EXIT_CODES = {Verdict.VALID: 0, Verdict.INVALID: 1, Verdict.UNKNOWN: 3}
BAD_INPUT = 2


def run(
    path: Path | str,
    workload: str,
    isolation: str,
    as_json: bool,  # noqa: FBT001
    *,
    format: str = "auto",  # noqa: A002
    budget_s: float = 60.0,
    memory_mb: float = 4096.0,
) -> tuple[int, str]:
    """Check a file of transactions; return the exit code and what to print."""
    try:
        isolation = model_called(isolation)
        if workload not in WORKLOADS:
            raise ValueError(
                f"no workload is called {workload!r}; there are {', '.join(WORKLOADS)}"
            )
        txns = read_transactions(path, workload, format)
        budget = Budget.of(seconds=budget_s, memory_mb=memory_mb, clock=time.monotonic)
        result = check_transactions(txns, workload, isolation, budget=budget)
    except (HistoryError, ValueError, OSError) as error:
        said = _printable(_what(error, path))
        if as_json:
            record = {"path": str(path), "verdict": Verdict.UNKNOWN.value, "reason": said}
            return BAD_INPUT, json.dumps(record)
        return BAD_INPUT, f"splitbrain check: {said}"
    text = json.dumps(result.to_json(str(path))) if as_json else report(result, str(path))
    return EXIT_CODES[result.verdict], _printable(text)


def _what(error: Exception, path: Path | str) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or path}: {error.strerror or error}"
    return str(error)


def _printable(text: str) -> str:
    """Replace what no terminal can show, such as half of a surrogate pair from a JSON escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
