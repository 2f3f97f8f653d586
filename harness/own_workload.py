"""The workload of a run: one of the catalogue's, or the user's own, from a file of Python.

Rules of this file:
- `--workload PATH.py` loads the file and takes its `WORKLOAD`; `PATH.py:NAME` takes another name.
- The file is copied into the run's folder, and a run that is checked again is checked with the copy.
- The user's file is code and is run: only name files that you trust. What goes wrong in it is told
  with file and line.
"""

from __future__ import annotations

import importlib.util
import shutil
import traceback
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from workloads.catalogue import WORKLOADS, workload_named
from workloads.workload import Workload

COPY: Final = "workload.py"
_NAME: Final = "WORKLOAD"


def workload_of(name: str, *, kept: Path | None = None) -> Workload:
    """Return a workload by its name or its file; `kept` is a run's folder that may have a copy.

    Raises `UsageError` for what is none.
    """
    require_known(name)
    if not is_file(name):
        return workload_named(name)
    path, attribute = _split(name)
    if kept is not None and (kept / COPY).is_file():
        path = kept / COPY
    return _load(path, attribute)


def require_known(name: str) -> None:
    """Raise `UsageError` for what is neither a workload's name nor that of a file."""
    if name not in WORKLOADS and not is_file(name):
        raise UsageError(
            f"workload is {name!r}, but must be one of: {', '.join(WORKLOADS)}; "
            "or a file with a workload of your own, such as mine.py"
        )


def is_file(name: str) -> bool:
    """Tell a file's name from a workload's."""
    return name.partition(".py")[1] != ""


def keep(name: str, folder: Path) -> None:
    """Copy a workload's file into a run's folder. Raises `OSError`."""
    if is_file(name):
        shutil.copyfile(_split(name)[0], folder / COPY)


def _split(name: str) -> tuple[Path, str]:
    stem, _, tail = name.rpartition(".py")
    return Path(f"{stem}.py"), tail.removeprefix(":") or _NAME


def _load(path: Path, attribute: str) -> Workload:
    if not path.is_file():
        raise UsageError(f"workload is {path}, but there is no such file")
    spec = importlib.util.spec_from_file_location("splitbrain_workload", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{_place(path, error)}: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Workload):
        raise UsageError(
            f"{path}: expected a workload called {attribute} "
            f"({attribute} = Workload(...)), found {found!r:.80}"
        )
    return found


def _place(path: Path, error: Exception) -> str:
    """Return where in the user's file it went wrong."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__)
             if one.filename == str(path)]  # fmt: skip
    return f"{path}:{lines[-1]}" if lines else str(path)
