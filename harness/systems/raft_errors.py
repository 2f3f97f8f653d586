"""What the errors of our node's clients mean: a table. Pure.

Rules of this file:
- One table (`ERRORS`) and one function (`outcome_of`) decide what is certain. A code that the table
  does not know is doubt, and doubt is `info`.
- The node's codes are those of node/PROTOCOL.md, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from checker.history import EventType

# Error code -> certainly had no effect. The last five are seen by the client itself.
ERRORS: Final[Mapping[str, bool]] = {
    "bad-request": True,
    "not-authorised": True,
    "not-found": True,
    "unknown-member": True,
    "wrong-type": True,
    "out-of-range": True,
    "empty": True,
    "held": True,
    "not-held": True,
    "session-full": True,
    "session-stale": False,
    "session-expired": False,
    "change-in-progress": True,
    "precondition-failed": True,
    "too-large": True,
    "no-leader": True,
    "not-leader": True,
    "transferring": True,
    "overloaded": True,
    "shutting-down": True,
    "not-committed": True,
    "outcome-unknown": False,
    "no-session": True,
    "not-connected": True,
    "connection-lost": False,
    "timeout": False,
    "garbled-answer": False,
}

# What another try may mend: there was no service, or nobody knows what became of the operation.
REPEATED: Final = frozenset(
    {
        "connection-lost",
        "garbled-answer",
        "no-leader",
        "not-committed",
        "not-connected",
        "not-leader",
        "outcome-unknown",
        "overloaded",
        "shutting-down",
        "timeout",
        "transferring",
    }
)

# A session that answers so is of no use any more.
SESSION_LOST: Final = frozenset({"session-expired", "session-full", "session-stale"})


def outcome_of(code: str) -> EventType:
    """Say whether an operation that ended with this error certainly did not happen."""
    return EventType.FAIL if ERRORS.get(code, False) else EventType.INFO
