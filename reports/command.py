"""What `splitbrain report RUN` does.

Rules of this file:
- Everything a caller can do wrong ends in one line on standard error and exit code 2; a disk that
  refuses, in one line and 4. Anything else is a bug and keeps its traceback.
- The path that was written goes to standard output, alone, for scripts.
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import junit, markdown, page, parquet
from .load import NotARunError, load

OK = 0
USAGE = 2
FAILURE = 4


def run_report(run: Path) -> int:
    """Write every report of a run; return the exit code."""
    try:
        loaded = load(run)
        written = page.save(loaded)
        junit.save(loaded)
        markdown.save(loaded)
        parquet.save(loaded)
    except NotARunError as error:
        sys.stderr.write(f"splitbrain: {error}\n")
        return USAGE
    except OSError as error:
        what = error.filename or run
        sys.stderr.write(f"splitbrain: {what}: {error.strerror}\n")
        return FAILURE
    sys.stdout.write(f"{written}\n")
    return OK
