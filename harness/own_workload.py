"""The workload of a run: one of the catalogue's, or the user's own (`harness.own_code`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness import own_code
from harness.errors import UsageError
from workloads.catalogue import WORKLOADS, workload_named
from workloads.workload import Workload

COPY: Final = "workload.py"


def workload_of(name: str, *, kept: Path | None = None) -> Workload:
    """Return a workload by its name or its file; `kept` is a run's folder that may have a copy.

    Raises `UsageError` for what is none.
    """
    require_known(name)
    if not own_code.is_file(name):
        return workload_named(name)
    if kept is not None:
        name = own_code.in_copy(name, kept / COPY)
    return own_code.load(name, Workload, what="workload", standard="WORKLOAD")


def require_known(name: str) -> None:
    """Raise `UsageError` for what is neither a workload's name nor that of a file."""
    if name not in WORKLOADS and not own_code.is_file(name):
        raise UsageError(
            f"workload is {name!r}, but must be one of: {', '.join(WORKLOADS)}; "
            "or a file with a workload of your own, such as mine.py"
        )
