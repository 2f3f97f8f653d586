"""The user's own workloads and systems: objects in files of Python, named on the command line.

Rules of this file:
- ``PATH.py`` names the object with the standard name in that file, ``PATH.py:NAME`` another one.
- The file is copied into the run's folder; who checks or repeats the run uses the copy.
- The file is code and is run: only name files that you trust. What goes wrong in it is told with
  file and line.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import traceback
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from harness.errors import UsageError

T = TypeVar("T")


def is_file(name: str) -> bool:
    """Tell a file's name from the name of something of ours."""
    return ".py" in name


def is_there(name: str) -> bool:
    """Tell whether a name is one of ours, or that of a file that exists."""
    return not is_file(name) or _split(name)[0].is_file()


def keep(name: str, copy: Path) -> None:
    """Copy the file that a name means, if it means one. Raises `OSError`."""
    if is_file(name):
        shutil.copyfile(_split(name)[0], copy)


def in_copy(name: str, copy: Path) -> str:
    """Return the name of the same object in a copy of its file, if there is a copy."""
    if not is_file(name) or not copy.is_file():
        return name
    return str(copy) + name.rpartition(".py")[2]


def load(name: str, kind: type[T], *, what: str, standard: str) -> T:
    """Return the object that a name means. Raises `UsageError` for what is none of this kind."""
    path, attribute = _split(name)
    attribute = attribute or standard
    if not path.is_file():
        raise UsageError(f"{what} is {path}, but there is no such file")
    # A name of its own in sys.modules: dataclasses and pickle look there.
    unique = f"splitbrain_{what}_{blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()}"
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[unique]
        raise UsageError(f"{_place(path, error)}: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, kind):
        raise UsageError(
            f"{path}: expected a {what} called {attribute} "
            f"({attribute} = {kind.__name__}(...)), found {found!r:.80}"
        )
    return found


def _split(name: str) -> tuple[Path, str]:
    stem, _, tail = name.rpartition(".py")
    return Path(f"{stem}.py"), tail.removeprefix(":")


def _place(path: Path, error: Exception) -> str:
    """Return where in the user's file it went wrong."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__)
             if one.filename == str(path)]  # fmt: skip
    return f"{path}:{lines[-1]}" if lines else str(path)
