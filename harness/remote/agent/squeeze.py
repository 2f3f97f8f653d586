"""Resource faults of the system: little CPU time, little memory, no descriptor to spare.

Rules of this file:
- What counts is counted by the kernel, from the moment before the limit: how often the group was
  stopped, how often it was refused memory, which numbers below the limit are free.
- The system may end by itself, or be killed by the kernel, while it lacks memory or descriptors, and
  for a moment after: that is noted with the end. Little CPU time is no excuse.
- Undoing is idempotent, and lifts whatever any agent left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .descriptors import Descriptors, limit_of, open_numbers
from .group import Group
from .process import ProcessError, System

MEMORY_SQUEEZE = "memory squeeze"
FEW_DESCRIPTORS = "descriptor limit"
# How long to look for a first effect. Most come within a period or two of the scheduler.
_LOOK_S = 0.5
_POLL_S = 0.02
# What was refused just before still ends the system after it, and its end takes a moment to note.
_GRACE_S = 0.5


class Squeeze:
    """What the system lacks on this host. Not thread-safe: the caller locks."""

    def __init__(self, group: Group, notes: Path, system: System) -> None:
        self._group, self._system = group, system
        self._descriptors = Descriptors(notes)
        self._before: tuple[float, float] = (0, 0)
        self._limit_bytes = 0
        self._percent = 0.0

    def make(self, name: str) -> dict[str, Any]:
        """Make the group that the system is to live in; what cannot be had is skipped later."""
        self._group.make(name)
        return {"problems": {key: why for key, why in self._group.problems.items() if why}}

    def cpu(self, percent: float) -> dict[str, Any]:
        """Leave the system this much of one CPU."""
        if self._group.problems["cpu"]:
            return {"skipped": self._group.problems["cpu"]}
        self._require_running()
        self._percent, self._before = percent, self._group.cpu_stopped()
        self._group.limit_cpu(percent)
        _wait(lambda: self.cpu_seen()["times"] > 0)
        return self.cpu_seen()

    def cpu_seen(self) -> dict[str, Any]:
        """Return what the limit has done so far."""
        if self._group.problems["cpu"]:
            return {"skipped": self._group.problems["cpu"]}
        times, waited_ms = self._group.cpu_stopped()
        return {
            "percent": self._percent,
            "times": times - self._before[0],
            "waited_ms": round(waited_ms - self._before[1], 3),
        }

    def memory(self, spare_kb: float) -> dict[str, Any]:
        """Leave the system hardly more memory than it cannot do without."""
        if self._group.problems["memory"]:
            return {"skipped": self._group.problems["memory"]}
        self._require_running()
        self._before = self._group.memory_refused()
        self._system.excuse = MEMORY_SQUEEZE
        self._limit_bytes = self._group.limit_memory(int(spare_kb * 1024))
        _wait(lambda: self.memory_seen()["hits"] > 0)
        return self.memory_seen()

    def memory_seen(self) -> dict[str, Any]:
        """Return what the limit has done so far."""
        if self._group.problems["memory"]:
            return {"skipped": self._group.problems["memory"]}
        hits, kills = self._group.memory_refused()
        return {
            "limit_bytes": self._limit_bytes,
            "used_bytes": self._group.memory_used(),
            "hits": hits - int(self._before[0]),
            "kills": kills - int(self._before[1]),
        }

    def descriptors(self, keep_percent: float) -> dict[str, Any]:
        """Let the system open nothing new."""
        leader = self._require_running()
        self._system.excuse = FEW_DESCRIPTORS
        self._descriptors.limit(self._system.members(), keep_percent)
        limit, opened = limit_of(leader), set(open_numbers(leader))
        return {
            "limit": limit,
            "opened": len(opened),
            "free": sum(number not in opened for number in range(limit)),
        }

    def undo(self) -> dict[str, Any]:
        """Give everything back. Nothing to undo is no error."""
        try:
            undo_squeeze(self._group, self._descriptors)
            if self._system.excuse in (MEMORY_SQUEEZE, FEW_DESCRIPTORS):
                time.sleep(_GRACE_S)
        finally:
            if self._system.excuse in (MEMORY_SQUEEZE, FEW_DESCRIPTORS):
                self._system.excuse = None
        return {}

    def _require_running(self) -> int:
        leader = self._system.leader()
        if leader is None:
            raise ProcessError("the system is not running, so nothing can be taken from it")
        return leader.pid


def undo_squeeze(group: Group, descriptors: Descriptors) -> None:
    """Undo what any agent did; the group itself stays, for the system that lives in it."""
    try:
        group.lift()
    finally:
        descriptors.lift()


def _wait(condition: Callable[[], bool]) -> None:
    deadline_ns = time.monotonic_ns() + int(_LOOK_S * 1e9)
    while not condition() and time.monotonic_ns() < deadline_ns:
        time.sleep(_POLL_S)
