"""What the interpreter needs of a client, and how an operation may end.

Rules of this file:
- A client performs one operation at a time, on one node, within its timeout, and says how it
  ended: `ok`, `fail` (certainly did not happen) or `info` (may have happened, or may yet).
- Anything a client raises is `info`: doubt is never resolved in the system's favour or against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from checker.history import EventType
from workloads.generator import Invocation


@dataclass(frozen=True, slots=True)
class Completion:
    """How an operation ended. `value` is what goes into the history, `error` an error code."""

    type: EventType
    value: Any = None
    error: str | None = None


class Client(Protocol):
    """A connection of one logical process to one node."""

    node: str

    def invoke(self, invocation: Invocation) -> Completion:
        """Perform the operation and say how it ended."""
        ...

    def close(self) -> None:
        """Let go of the connection; called once."""
        ...
