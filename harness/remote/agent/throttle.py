"""Slow writes to one device for the system's processes, by the blkio controller of cgroup v1.

Rules of this file:
- The group is made for the fault and goes with it; where its processes came from is noted first.
  Its name has the host's address: on a machine with several hosts everybody knows whose it is.
- How slow it is, is measured from inside the group, before and after: a limit that was written
  down is no evidence. The kernel's own journal thread is in no group of ours, and is not slowed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .files import json_text, read_json, write_atomically

WRITES_PER_S = 10
_CONTROLLER = Path("/sys/fs/cgroup/blkio")
_LIMIT = "blkio.throttle.write_iops_device"
_PROBE_TIMEOUT_S = 10
_EMPTY_TIMEOUT_S = 2.0
# Joins the group, then syncs a few blocks; prints the mean, in ms. No single one tells: the kernel
# lets some of them through at once and makes up for it with the next.
_PROBE = """
import os, sys, time
with open(sys.argv[2] + "/cgroup.procs", "w") as group:
    group.write(str(os.getpid()))
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
began = time.monotonic()
for _ in range(5):
    os.write(file, bytes(4096))
    os.fdatasync(file)
print((time.monotonic() - began) / 5 * 1000)
os.unlink(sys.argv[1])
"""


class ThrottleError(Exception):
    """Writes could not be slowed, or not be measured; the text says why."""


def why_writes_cannot_be_slowed() -> str:
    """Return why this host cannot do it; an empty string if it can."""
    if not os.access(_CONTROLLER / "cgroup.procs", os.W_OK):
        return f"there is no blkio controller of cgroup v1 at {_CONTROLLER}"
    return ""


class Throttle:
    """The limit on this host. Not thread-safe: the caller locks."""

    def __init__(self, folder: Path, *, name: str = "host") -> None:
        """`folder` holds the notes that outlive this agent; `name` tells hosts of a machine apart."""
        self._notes_path, self._name = folder / "throttle.json", name

    def limit(self, device: str, pids: Sequence[int], probe: Path) -> dict[str, Any]:
        """Slow these processes' writes to a device; `probe` is a file there to measure with."""
        group = _CONTROLLER / "splitbrain-{}-{}".format(self._name, device.replace(":", "-"))
        notes = {"group": str(group), "origin": str(_own_group()), "device": device}
        write_atomically(self._notes_path, json_text(notes))
        group.mkdir(exist_ok=True)
        before_ms = _measure(probe, group)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        (group / _LIMIT).write_text(f"{device} {WRITES_PER_S}", encoding="ascii")
        return {"before_ms": before_ms, "after_ms": _measure(probe, group)}

    def lift(self) -> None:
        """End the limit, and let the processes back to where they were. None is no error."""
        notes = read_json(self._notes_path)
        if notes is None:
            return
        group, origin = Path(notes["group"]), Path(notes["origin"])
        deadline_ns = time.monotonic_ns() + int(_EMPTY_TIMEOUT_S * 1e9)
        if group.exists():
            with contextlib.suppress(OSError):  # its device may be gone, and the limit with it
                (group / _LIMIT).write_text("{} 0".format(notes["device"]), encoding="ascii")
        while group.exists():
            for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
                with contextlib.suppress(ProcessLookupError):
                    (origin / "cgroup.procs").write_text(pid, encoding="ascii")
            try:
                group.rmdir()
            except OSError:
                if time.monotonic_ns() > deadline_ns:
                    raise
                time.sleep(0.02)
        self._notes_path.unlink()


def _own_group() -> Path:
    """Return the agent's own group: whatever it starts begins there."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if "blkio" in controllers.split(","):
            return _CONTROLLER / path.lstrip("/")
    return _CONTROLLER


def _measure(probe: Path, group: Path) -> float:
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _PROBE, str(probe), str(group)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ThrottleError(f"a few writes took more than {_PROBE_TIMEOUT_S} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise ThrottleError(f"writes could not be measured: {said[-1]}")
    return round(float(done.stdout), 3)
