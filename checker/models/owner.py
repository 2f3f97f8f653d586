"""Who does something to a lock, and the owners that lock models have in common.

Rules of this file:
- The owner of an operation is the ``"owner"`` of its value, if the value is an object that has
  one, else its process. A client whose operation crashed goes on under a new process number
  (`History.operations`), so a history in which clients outlive a crash must name its owners.
- Owners are canonical JSON texts: process 3 and the owner 3 are one owner.
- Pure.
"""

from __future__ import annotations

from checker.history import Operation
from checker.models.model import expect
from checker.values import canonical

FREE = "free"  # not JSON, so never an owner


def owner_of(operation: Operation) -> str:
    """Return the text of the operation's owner."""
    value = operation.input
    what = 'no value, or an object like {"owner":"client 1"}'
    expect(value is None or isinstance(value, dict), what, operation)
    return canonical((value or {}).get("owner", operation.invocation.process))


def expect_lock(operation: Operation) -> None:
    """Raise `ModelError` unless it is an acquire or a release."""
    expect(
        operation.f in ("acquire", "release"), "one of the functions acquire, release", operation
    )


def whose(state_owner: str) -> str:
    """Return who holds a lock, in words."""
    return "it is free" if state_owner == FREE else f"{state_owner} holds it"
