"""What operators may ask of a system: members in and out, another leader, a snapshot now.

Rules of this file:
- A capability: a `System` that has it is also an `Administrated`. Nothing here waits or retries;
  that is the operator's part (`harness/systems/operator.py`).
- An answer is `done`, `refused` (certainly without effect) or `unknown`. Doubt is `unknown`: who
  asked looks at the members instead of believing anything.
- Who belongs to the cluster is what a *committed* configuration says, and of several the newest:
  a node that lags behind, or leads a minority, may show an older one, but never a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Who belongs to the cluster as one node knows it.

    `outgoing` are the voters of the configuration before, while a change of voters is under way.
    `index` is the place of the configuration in the log, or a later one, `committed` whether the
    node knows that it is there to stay.
    """

    voters: tuple[str, ...]
    outgoing: tuple[str, ...]
    learners: tuple[str, ...]
    index: int
    committed: bool

    def includes(self, node: str) -> bool:
        """Whether a node has any part in it."""
        return node in self.voters or node in self.outgoing or node in self.learners

    def same_as(self, other: Members | None) -> bool:
        """Whether another node knows the same members. Where they came in the log may differ: a node
        that has compacted that place knows only that it was before the end of its snapshot."""
        return other is not None and replace(other, index=self.index) == self

    def votes(self, node: str) -> bool:
        """Whether a node is a voter for good: no change of voters is under way."""
        return node in self.voters and not self.outgoing

    @property
    def detail(self) -> str:
        """One phrase for people."""
        parts = [f"voters {', '.join(self.voters) or 'none'}"]
        if self.outgoing:
            parts.append(f"leaving {', '.join(self.outgoing)}")
        if self.learners:
            parts.append(f"learners {', '.join(self.learners)}")
        return f"configuration {self.index}: {'; '.join(parts)}"


def newest(seen: Iterable[Members | None]) -> Members | None:
    """Return the committed configuration with the highest index, if there is any."""
    committed = [members for members in seen if members is not None and members.committed]
    return max(committed, key=lambda members: members.index, default=None)


class Ending(StrEnum):
    """How a request ended."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer to an operator. `leader` is a hint whom to ask instead; `index` the entry's."""

    ending: Ending
    code: str = ""
    leader: str | None = None
    index: int = 0

    @property
    def detail(self) -> str:
        """One word or two for people."""
        return self.code or f"{self.ending} at index {self.index}"


@runtime_checkable
class Administrated(Protocol):
    """A system whose members, leader and snapshots an operator may command.

    Each request goes to the node `via`, once, and ends within `timeout_s`. All are thread-safe.
    """

    @property
    def exits_without_data(self) -> frozenset[int]:
        """Exit statuses of a node that finds no data where its data should be."""
        ...

    def prepare_to_join(self, node: str, home: str) -> Sequence[Sequence[str]]:
        """Return the commands that make a node anew, one that waits to be let in. What the data
        folders held is gone by then."""
        ...

    def members(self, node: str, timeout_s: float) -> Members | None:
        """Return the members as `node` knows them; `None` when it does not answer in time."""
        ...

    def add_member(self, via: str, node: str, timeout_s: float) -> Reply:
        """Ask that a node be let in; it votes when it has caught up."""
        ...

    def remove_member(self, via: str, node: str, timeout_s: float) -> Reply:
        """Ask that a node be removed."""
        ...

    def transfer(self, via: str, to: str, timeout_s: float) -> Reply:
        """Ask the leader to let `to` lead."""
        ...

    def snapshot(self, via: str, timeout_s: float) -> Reply:
        """Ask a node to take a snapshot of its state now; `index` is that of the snapshot."""
        ...
