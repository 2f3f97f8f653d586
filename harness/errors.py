"""What can go wrong outside the system under test, and the exit code each kind ends with.

Rules of this file:
- Every error that a user can cause says in one line what was wrong, where, and what to do.
- None of these is ever reported as the fault of the system under test.
"""

from __future__ import annotations


class SplitbrainError(Exception):
    """Base of all errors that end in a message and an exit code, not in a traceback."""

    exit_code = 4


class UsageError(SplitbrainError):
    """Bad arguments or bad input."""

    exit_code = 2


class HarnessError(SplitbrainError):
    """The harness, a host or the machine failed; the system under test is not to blame."""

    exit_code = 4


class HostError(HarnessError):
    """A host could not be reached, prepared or commanded. The message names the host."""
