"""Systems whose nodes can be told to lose messages of one class: votes, appends or snapshots.

Rules of this file:
- A capability: a `System` that has it is also a `PeerFilter`. On the wire a message does not show
  what it is, so only the node itself can lose it, at the receiver.
- What a node was told to lose it loses for `for_ms` and no longer: a harness that died leaves
  nothing behind. Who wants more asks again in time.
- A node counts what it lost. That is the evidence, and there is no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from harness.systems.administrated import Reply

Counts: TypeAlias = Mapping[tuple[str, str], int]
"""How many messages a process has lost since its start, by class and sender."""


@runtime_checkable
class PeerFilter(Protocol):
    """A system that can lose messages between its nodes by their class.

    Each request goes to one node, once, and ends within `timeout_s`. All are thread-safe.
    """

    def drop_messages(
        self, node: str, classes: Sequence[str], *, for_ms: int, timeout_s: float
    ) -> Counts | None:
        """Have a node lose messages of these classes from now on, and of no others; no class ends
        it. `None` when it does not answer in time: then it may do so, for `for_ms`."""
        ...

    def compact(self, node: str, timeout_s: float) -> Reply:
        """Have a node take a snapshot and keep nothing of its log behind it, so that whoever is late
        needs that snapshot."""
        ...
