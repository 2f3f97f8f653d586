"""Disk faults of the system: its power fails, its disk fails, is full, is slow.

Rules of this file:
- All of them happen on the volume that was made for the run, and nowhere else: without one each is
  skipped, with the reason.
- A power loss is seen by two canaries, written before it: one made durable, one not. The second
  has to be gone afterwards, and the first has to be there, or nothing was shown.
- The system may end by itself while its disk is full or fails, and for a moment after: that is
  noted with the end, and whether it is right to is for the harness to say.
- A failing disk is mounted anew before it works again, so a system that is still there has to go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Any

from .process import System, wait_until
from .throttle import Throttle, why_writes_cannot_be_slowed
from .volume import Volume, VolumeError

FULL_DISK, FAILING_DISK = "full disk", "failing disk"
_PROBE = ".probe"
_BLOCK_BYTES = 4096
_PROBE_BYTES = 64 << 10
_CANARY_BYTES = 8 << 10
# How long to look whether the system ends by itself when its disk fails.
_ENDS_S = 1.0
# A write that was refused just before there was room again still ends the system after it.
_GRACE_S = 1.0


class Disk:
    """The disk of the system on this host. Not thread-safe: the caller locks."""

    def __init__(self, volume: Volume, throttle: Throttle, system: System) -> None:
        self._volume, self._throttle, self._system = volume, throttle, system
        self.problem = "no volume was made for this run"
        self._canary = b""

    def make(self, root: Path) -> dict[str, Any]:
        """Put a volume on a folder for the system to live in, or say why there can be none."""
        try:
            self._volume.make(root)
        except VolumeError as error:
            self.problem = str(error)
            return {"skipped": self.problem}
        self.problem = ""
        return {}

    def write_canaries(self) -> dict[str, Any]:
        """Write a file that a power loss must leave, and one that it must take."""
        root = self._root()
        self._canary = os.urandom(_CANARY_BYTES)
        for path in _canaries(root):
            path.unlink(missing_ok=True)
        durable, fleeting = _canaries(root)
        with durable.open("xb") as file:
            file.write(self._canary)
            file.flush()
            os.fsync(file.fileno())
        _sync(root)
        fleeting.write_bytes(self._canary)
        return {}

    def cut_power(self) -> dict[str, Any]:
        """SIGKILL the system, lose what is not durable, and see what became of the canaries.

        The system stays down.
        """
        root = self._root()
        if not self._canary:
            raise VolumeError("no canaries were written, so nothing would be shown")
        ended = self._system.kill()
        if not ended["gone"]:
            raise VolumeError("the system does not end, so its volume cannot be unmounted")
        self._volume.cut_power()
        durable, fleeting = (_holds(path, self._canary) for path in _canaries(root))
        self._canary = b""
        for path in _canaries(root):
            path.unlink(missing_ok=True)
        return {**ended, "kept_durable": durable, "kept_fleeting": fleeting}

    def fill(self) -> dict[str, Any]:
        """Leave no room, and try to write."""
        root = self._root()
        self._system.excuse = FULL_DISK
        with _ballast(root).open("wb") as file:
            _take_all(file.fileno(), available_bytes(root))
        return {"available_bytes": available_bytes(root), "refused": _is_refused(root / _PROBE)}

    def fail(self) -> dict[str, Any]:
        """Let every write and fsync fail, and see what the system does about it.

        The probe was written before, so that it is the fsync that is refused.
        """
        root = self._root()
        self._system.excuse = FAILING_DISK
        was_running = self._system.leader() is not None
        with (root / _PROBE).open("wb", buffering=0) as probe:
            probe.write(bytes(_BLOCK_BYTES))
            self._volume.fail()
            refused = _is_refused_sync(probe.fileno())
        ended = was_running and wait_until(lambda: not self._system.members(), _ENDS_S)
        return {"was_running": was_running, "refused": refused, "ended": ended}

    def slow(self) -> dict[str, Any]:
        """Let every write of the system take its time."""
        root = self._root()
        problem = why_writes_cannot_be_slowed()
        if problem:
            return {"skipped": problem}
        device = self._volume.device()
        assert device is not None
        pids = [process.pid for process in self._system.members()]
        if not pids:
            raise VolumeError("the system is not running, so nothing that it writes can be slowed")
        return self._throttle.limit(device, pids, root / _PROBE)

    def undo(self) -> dict[str, Any]:
        """Give room and speed back. Nothing to undo is no error."""
        try:
            undo_disk(self._volume, self._throttle, self._system)
            if self._system.excuse == FULL_DISK:
                time.sleep(_GRACE_S)
        finally:
            if self._system.excuse in (FULL_DISK, FAILING_DISK):
                self._system.excuse = None
        return {}

    def _root(self) -> Path:
        root = self._volume.root
        if root is None or self._volume.device() is None:
            raise VolumeError("there is no volume")
        return root


def undo_disk(volume: Volume, throttle: Throttle, system: System) -> None:
    """Undo what any agent did to the disk; the volume itself stays, mounted."""
    throttle.lift()
    if volume.failed:
        system.kill()  # it cannot be unmounted under somebody, and nobody can work there
    volume.restore()
    root = volume.root
    if root is not None:
        (root / _PROBE).unlink(missing_ok=True)
    if root is not None and _ballast(root).exists():
        _ballast(root).unlink()
        _sync(root)  # the room is there when the journal says so


def available_bytes(root: Path) -> int:
    """Return the room that is left."""
    seen = os.statvfs(root)
    return seen.f_bavail * seen.f_frsize


def _ballast(root: Path) -> Path:
    return root / ".ballast"


def _canaries(root: Path) -> tuple[Path, Path]:
    return root / ".canary-durable", root / ".canary-fleeting"


def _take_all(descriptor: int, room: int) -> None:
    """Allocate what there is, in smaller and smaller steps; the system may write meanwhile."""
    offset, step = 0, max(room, _BLOCK_BYTES)
    while step >= _BLOCK_BYTES:
        try:
            os.posix_fallocate(descriptor, offset, step)
            offset += step
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            step //= 2


def _is_refused(path: Path) -> bool:
    """Say whether a write fails for want of room."""
    try:
        with path.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return False


def _is_refused_sync(descriptor: int) -> bool:
    """Say whether an fsync fails."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return True
    return False


def _holds(path: Path, content: bytes) -> bool:
    """Say whether a file survived with its content: a name alone is none."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
