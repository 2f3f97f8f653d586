"""GitHub's step summary: what is appended to the file that it names is shown on the job's page.

Rules of this file:
- Elsewhere (no such variable) nothing happens. What goes wrong is a warning: a page that lacks a
  summary must not change a test's exit code.
- GitHub refuses a step's whole summary when it is too large: what does not fit is left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "GITHUB_STEP_SUMMARY"
_BYTES_MAX: Final = 1 << 20


def append(source: Path, *, environment: Mapping[str, str] = os.environ) -> str | None:
    """Append a summary, if a step summary is asked for; return a warning if that failed."""
    name = environment.get(VARIABLE)
    if not name:
        return None
    target = Path(name)
    if not target.parent.is_dir():
        return f"{VARIABLE} is {name}, but there is no folder {target.parent}; nothing was added"
    try:
        added = source.read_bytes() + b"\n"
        with target.open("ab") as file:
            if file.tell() + len(added) > _BYTES_MAX:
                return f"{VARIABLE}: {target} is full ({_BYTES_MAX} bytes); {source} was left out"
            file.write(added)
    except OSError as error:
        return f"{VARIABLE}: {error.filename or target}: {error.strerror}; nothing was added"
    return None
