"""What `splitbrain report RUN` and `splitbrain index` do.

Rules of this file:
- Everything a caller can do wrong ends in one line on standard error and exit code 2; a disk that
  refuses, in one line and 4. Anything else is a bug and keeps its traceback.
- The path that was written goes to standard output, alone, for scripts.
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import compare, index, junit, markdown, page, parquet
from .load import NotARunError, load
from .runs import NoStoreError

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


def run_index(store: Path, pair: tuple[Path, Path] | None) -> int:
    """Write the index of a store, or the comparison of two runs; return the exit code."""
    try:
        if pair is None:
            written = index.write_index(store)
        elif store.is_dir():
            written = compare.write_comparison(store, *pair)
        else:
            raise NoStoreError(f"{store}: there is no such folder to write into; name one: --store")
    except (NotARunError, NoStoreError) as error:
        sys.stderr.write(f"splitbrain: {error}\n")
        return USAGE
    except OSError as error:
        sys.stderr.write(f"splitbrain: {error.filename or store}: {error.strerror}\n")
        return FAILURE
    sys.stdout.write(f"{written}\n")
    return OK
