"""What a system promises to survive of what its disks may lose, as plain data.

Rules of this file:
- A system is judged by what it promises, and by nothing else: what a fault beyond that leads to is
  reported and is no violation.
- A loss is named by what is gone, not by what took it. What is durable is what was fsynced.
- A node that sees that its durable data are damaged, and ends instead of going on with them, has
  crashed for good: nothing that it said before is believed again by anybody, and another node comes
  in its place. A node that goes on without what it had promised is another matter.
- Pure: values, and what follows from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Loss(StrEnum):
    """What a disk may lose, from the harmless to the worst."""

    UNSYNCED = "unsynced"
    """What was written and not fsynced is gone."""
    TORN = "torn"
    """A part of a write that was not fsynced is there."""
    VISIBLE = "visible"
    """Something durable is damaged, and a checksum shows it."""
    HIDDEN = "hidden"
    """The newest of what was durable is gone, and what is left looks whole."""


class Share(StrEnum):
    """On how many nodes at a time."""

    ONE = "one"
    MINORITY = "minority"
    ALL = "all"


# After these the node must not go on as if nothing had been.
OF_DURABLE: Final = frozenset({Loss.VISIBLE, Loss.HIDDEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultModel:
    """What a system survives, and what has to be known of its files to try it.

    `survives` says on how many nodes at a time; what it does not name is not survived at all.
    `logs` and `states` are patterns (`pathlib` globs) below the system's folder: files that are
    appended to, of which the last by name is the one in use, and files that are replaced as a whole.
    `refuses_with` are the exit statuses of a node that found its data damaged.
    """

    survives: Mapping[Loss, Share] = field(default_factory=lambda: {Loss.UNSYNCED: Share.ALL})
    logs: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    refuses_with: frozenset[int] = frozenset()

    def nodes_that_may_suffer(self, loss: Loss, nodes: int) -> int:
        """Return on how many of so many nodes at a time a loss is survived."""
        share = self.survives.get(loss)
        if share is None:
            return 0
        return {Share.ONE: 1, Share.MINORITY: (nodes - 1) // 2, Share.ALL: nodes}[share]


# A process may end at any time, and so may its host: what was fsynced is there again.
CRASHES_ONLY: Final = FaultModel()
