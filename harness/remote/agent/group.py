"""The control group that the system lives in during a run: what CPU time and memory it may have.

Rules of this file:
- It is made before the system starts, which joins it before its first instruction: memory counts
  where it was first used, so a group that is joined later knows nothing of it.
- Version 1 (a folder for each controller, below the agent's own, whose limits go on to hold) or 2
  (one folder, at the top, as only there a group may have processes beside its children).
- The name is the host's address: hosts that share a kernel do not meet, and what an agent left
  there is found again. What was made is in the notes; undoing twice is no error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Any

from .files import json_text, read_json, write_atomically

CONTROLLERS = ("cpu", "memory")
PERIOD_US = 100_000
_MOUNT = Path("/sys/fs/cgroup")
_EMPTY_TIMEOUT_S = 2.0
# What says "no limit", by controller and version: file, text.
_NO_LIMIT = {
    ("cpu", 1): ("cpu.cfs_quota_us", "-1"),
    ("cpu", 2): ("cpu.max", "max"),
    ("memory", 1): ("memory.limit_in_bytes", "-1"),
    ("memory", 2): ("memory.max", "max"),
}
_PAGE_BYTES = 4096
_TRIES = 8


class GroupError(Exception):
    """A limit that could not be set; the text says why."""


class Group:
    """The system's group on this host. Not thread-safe: the caller locks."""

    def __init__(self, folder: Path, *, mount: Path = _MOUNT) -> None:
        """`folder` holds the notes that outlive this agent."""
        self._notes_path, self._mount = folder / "group.json", mount
        self.problems = dict.fromkeys(CONTROLLERS, "no group was made for this run")

    def make(self, name: str) -> None:
        """Make the group; `problems` says afterwards which controller cannot be had, and why."""
        made: dict[str, dict[str, Any]] = {}
        for controller in CONTROLLERS:
            try:
                version, parent = self._find(controller)
                folder = parent / f"splitbrain-{name}"
                # Noted first: what is made and then forgotten is never taken away.
                made[controller] = {"version": version, "folder": str(folder)}
                write_atomically(self._notes_path, json_text(made))
                folder.mkdir(exist_ok=True)
                _free(controller, version, folder)
                self.problems[controller] = ""
            except (OSError, GroupError) as error:
                made.pop(controller, None)
                self.problems[controller] = f"there is no {controller} controller to use: {error}"
        write_atomically(self._notes_path, json_text(made))

    def join(self, pid: int) -> None:
        """Put a process that is about to become the system into the group, if there is one."""
        for folder in {folder for _, folder in self._made().values()}:
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def limit_cpu(self, percent: float) -> None:
        """Allow this much of one CPU, in each tenth of a second."""
        version, folder = self._of("cpu")
        quota = int(percent * PERIOD_US / 100)
        if version == 2:
            _write(folder / "cpu.max", f"{quota} {PERIOD_US}")
            return
        _write(folder / "cpu.cfs_period_us", str(PERIOD_US))
        _write(folder / "cpu.cfs_quota_us", str(quota))

    def cpu_stopped(self) -> tuple[int, float]:
        """Return how often the group had used up its time, and for how many ms it waited in all."""
        version, folder = self._of("cpu")
        stat = _table(folder / "cpu.stat")
        if version == 2:
            return stat["nr_throttled"], stat["throttled_usec"] / 1e3
        return stat["nr_throttled"], stat["throttled_time"] / 1e6

    def limit_memory(self, spare_bytes: int) -> int:
        """Allow what cannot be given back, and so much more; never more than is used now.

        Returns the limit. What can be given back is the cache of files; where the kernel does not
        get it back at once, as of pages that wait to be written, twice as much is left, and so on.
        """
        version, folder = self._of("memory")
        file = folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")
        for doubled in range(_TRIES):
            used, cache = self._memory_used(version, folder)
            limit = min(used, used - cache + (spare_bytes << doubled)) // _PAGE_BYTES * _PAGE_BYTES
            try:
                _write(file, str(limit))
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
            else:
                return limit
        raise GroupError(f"the kernel gets nothing back of the {used} bytes that are used")

    def memory_used(self) -> int:
        """Return how many bytes the group has now."""
        return self._memory_used(*self._of("memory"))[0]

    def memory_refused(self) -> tuple[int, int]:
        """Return how often the limit was hit, and how many processes the kernel killed for it."""
        version, folder = self._of("memory")
        if version == 2:
            events = _table(folder / "memory.events")
            return events["max"], events["oom_kill"]
        hits = int((folder / "memory.failcnt").read_text(encoding="ascii"))
        return hits, _table(folder / "memory.oom_control").get("oom_kill", 0)

    def lift(self) -> None:
        """End all limits; the group stays. None is no error."""
        for controller, (version, folder) in self._made().items():
            if folder.exists():
                _free(controller, version, folder)

    def remove(self) -> None:
        """Take the group away; whoever is still in it goes to where it came from."""
        for _, folder in self._made().values():
            deadline_ns = time.monotonic_ns() + int(_EMPTY_TIMEOUT_S * 1e9)
            while folder.exists():
                for pid in (folder / "cgroup.procs").read_text(encoding="ascii").split():
                    with contextlib.suppress(ProcessLookupError):
                        _write(folder.parent / "cgroup.procs", pid)
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic_ns() > deadline_ns:
                        raise
                    time.sleep(0.02)
        with contextlib.suppress(FileNotFoundError):
            self._notes_path.unlink()

    def _find(self, controller: str) -> tuple[int, Path]:
        """Return the version in which there is a controller here, and where to make the group."""
        first = self._mount / controller
        if (first / "cgroup.procs").exists():
            own = first / _own_group(controller)
            parent = own if own.exists() else first
            _require_writable(parent)
            return 1, parent
        for top in (self._mount, self._mount / "unified"):
            offered = top / "cgroup.controllers"
            if offered.exists() and controller in offered.read_text(encoding="ascii").split():
                _require_writable(top)
                given = top / "cgroup.subtree_control"
                if controller not in given.read_text(encoding="ascii").split():
                    _write(given, f"+{controller}")
                return 2, top
        raise GroupError(f"neither cgroup v1 nor v2 has it below {self._mount}")

    def _made(self) -> dict[str, tuple[int, Path]]:
        notes = read_json(self._notes_path) or {}
        return {
            controller: (int(one["version"]), Path(one["folder"]))
            for controller, one in notes.items()
        }

    def _of(self, controller: str) -> tuple[int, Path]:
        made = self._made()
        if controller not in made:
            raise GroupError(self.problems[controller] or "the group is gone")
        return made[controller]

    @staticmethod
    def _memory_used(version: int, folder: Path) -> tuple[int, int]:
        stat = _table(folder / "memory.stat")
        if version == 2:
            return int((folder / "memory.current").read_text(encoding="ascii")), stat["file"]
        used = int((folder / "memory.usage_in_bytes").read_text(encoding="ascii"))
        return used, stat["total_cache"]


def _free(controller: str, version: int, folder: Path) -> None:
    name, text = _NO_LIMIT[controller, version]
    _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    """Write to a file of the kernel's, which has to be there: one that is not is never made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


def _table(path: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def _require_writable(parent: Path) -> None:
    if not os.access(parent / "cgroup.procs", os.W_OK):
        raise GroupError(f"{parent} cannot be written (root is needed)")


def _own_group(controller: str) -> str:
    """Return the agent's own group of a controller of version 1, without the leading slash."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.lstrip("/")
    return ""
