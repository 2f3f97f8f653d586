"""How long a check may take and how much it may remember.

Rules of this file:
- The clock is an argument: the owner of a budget brings it, nothing here reads one.
- A budget never changes a verdict: spent, it turns "still looking" into `unknown`, with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

MEGABYTE = 1024 * 1024


class Spent(StrEnum):
    """Which part of a budget ran out."""

    TIME = "time"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A deadline on a monotonic clock (seconds), and the bytes a search may keep."""

    clock: Callable[[], float]
    deadline: float
    memory_bytes: float

    @classmethod
    def of(cls, *, seconds: float, memory_mb: float, clock: Callable[[], float]) -> Budget:
        """Return a budget that starts now."""
        return cls(clock=clock, deadline=clock() + seconds, memory_bytes=memory_mb * MEGABYTE)

    @classmethod
    def unlimited(cls) -> Budget:
        """Return a budget that never runs out, and whose clock stands still."""
        return cls(clock=lambda: 0.0, deadline=math.inf, memory_bytes=math.inf)

    def spent(self, kept_bytes: float) -> Spent | None:
        """Return what has run out for a search that keeps this many bytes."""
        if kept_bytes > self.memory_bytes:
            return Spent.MEMORY
        return Spent.TIME if self.clock() >= self.deadline else None

    def share(self, parts: int) -> Budget:
        """Return a budget with an equal share of the time that is left, for one of `parts`."""
        if math.isinf(self.deadline):
            return self
        now = self.clock()
        return replace(self, deadline=now + max(0.0, self.deadline - now) / max(1, parts))
