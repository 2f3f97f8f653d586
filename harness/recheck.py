"""`splitbrain check`: histories and runs' folders, on any machine, from the files alone.

Rules of this file:
- A run's folder says itself which model and which budget; a bare file needs `--model`.
- Paths are checked in order, a bad one does not stop the others, the exit code is the worst.
- This never touches a host and never writes into a run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from checker.command import run_check
from checker.models import DEFAULT
from harness import store
from harness.errors import UsageError
from harness.outcome import worst
from workloads import register


def check_paths(options: argparse.Namespace) -> int:
    """Check every path and return the exit code."""
    initial = _initial(options.initial)
    codes = []
    for path in options.paths:
        arguments: dict[str, Any] = {
            "model": options.model,
            "initial": initial,
            "failed_cas": options.failed_cas,
            "nil_read": options.nil_read,
            "format": options.format,
            "budget_s": options.budget_s,
            "memory_mb": options.memory_mb,
            "as_json": options.json,
        }
        try:
            history = _history_of(path, arguments)
        except UsageError as error:
            sys.stderr.write(f"splitbrain check: {error}\n")
            codes.append(error.exit_code)
            continue
        codes.append(run_check([history], **arguments))
    return worst(codes)


def _initial(text: str | None) -> Any:
    if text is None:
        return DEFAULT
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--initial {text!r} is not JSON ({error}); text needs quotes") from None


def _history_of(path: Path, arguments: dict[str, Any]) -> Path:
    """Return the history behind a path; of a run's folder, take the model from its spec."""
    if not path.is_dir():
        return path
    store.spec_of(path)
    history = path / store.HISTORY
    if not history.is_file():
        raise UsageError(f"{path}: the run ended before it had a history ({store.HISTORY})")
    if arguments["model"] is None:
        arguments["model"] = register.MODEL
    return history
