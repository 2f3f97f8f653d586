"""How many files and connections the system's processes may have open.

Rules of this file:
- The limit is put on the processes that run now (prlimit); one that is started later has its own.
- What the limit was is noted before it is changed, and is given back to that very process only.
- A limit is on numbers, not on a count: it is put where no number below it is free, so that
  the next file or connection is refused. What is open stays open.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Sequence
from pathlib import Path

from .files import ProcessStat, json_text, process_stat, read_json, write_atomically

# Standard input, output and error are always there.
_LEAST = 3


class Descriptors:
    """The limit on this host. Not thread-safe: the caller locks."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the notes that outlive this agent."""
        self._notes_path = folder / "descriptors.json"

    def limit(self, processes: Sequence[ProcessStat], keep_percent: float) -> None:
        """Allow each process this share of what it has open, and nothing new."""
        limits = {one.pid: resource.prlimit(one.pid, resource.RLIMIT_NOFILE) for one in processes}
        notes = [[one.pid, one.start_ticks, limits[one.pid][0]] for one in processes]
        if not self._notes_path.exists():  # else those are the true ones
            write_atomically(self._notes_path, json_text({"processes": notes}))
        for pid, (_, hard) in limits.items():
            few = fewest(open_numbers(pid), keep_percent)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, hard))

    def lift(self) -> None:
        """Give every process what it had. None is no error."""
        notes = read_json(self._notes_path)
        if notes is None:
            return
        for pid, start_ticks, soft in notes["processes"]:
            now = process_stat(pid)
            if now is not None and now.start_ticks == start_ticks:
                with contextlib.suppress(ProcessLookupError):
                    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        self._notes_path.unlink()


def fewest(opened: Sequence[int], keep_percent: float) -> int:
    """Return a limit below which every number is taken, of about this share of all."""
    taken = set(opened)
    lowest_free = next(number for number in range(len(taken) + 1) if number not in taken)
    return max(min(_LEAST, lowest_free), min(lowest_free, int(len(taken) * keep_percent / 100)))


def open_numbers(pid: int) -> list[int]:
    """Return the numbers of the files that a process has open."""
    return [int(name) for name in os.listdir(f"/proc/{pid}/fd")]


def limit_of(pid: int) -> int:
    """Return what the kernel says that a process may have, in /proc."""
    for line in Path("/proc", str(pid), "limits").read_text(encoding="ascii").splitlines():
        if line.startswith("Max open files"):
            return int(line.split()[3])
    raise OSError(f"/proc/{pid}/limits does not speak of open files")
