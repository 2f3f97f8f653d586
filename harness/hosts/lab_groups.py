"""Control groups that agents on lab hosts left behind: hosts share the machine's kernel.

Rules of this file:
- An agent takes its group away itself. Only one that was killed together with its watchdog, and
  whose host went before another could look, leaves one.
- A group is known by its name, which has an address that only this lab has, of either IP version.
  It is removed only when it is empty: the kernel sees to that.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from harness.hosts import lab_network

_MOUNT = Path("/sys/fs/cgroup")


def remove(instance: int, *, mount: Path = _MOUNT) -> None:
    """Remove what the hosts of a lab left. Their processes are gone. Nothing there is no error."""
    for group in of(instance, mount=mount):
        with contextlib.suppress(OSError):  # somebody is in it, or it has gone by itself
            group.rmdir()


def of(instance: int, *, mount: Path = _MOUNT) -> list[Path]:
    """Return the groups that hosts of a lab have, or left."""
    network = lab_network.subnet(instance).partition("/")[0].removesuffix("0")
    network6 = lab_network.subnet6(instance).partition("/")[0].replace(":", "-")
    mine = f"splitbrain-{network}", f"splitbrain-{network6}"
    return [
        Path(folder, name)
        for folder, names, _ in os.walk(mount)
        for name in names
        if name.startswith(mine)
    ]
