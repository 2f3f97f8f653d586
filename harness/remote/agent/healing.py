"""Undoes whatever any agent did to this host, from what it left in files and in the kernel.

Rules of this file:
- Safe on a host where nothing was ever done, and safe to do twice.
- One step that fails does not keep the others from being tried; what failed is returned.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .clock import clean_shared_memory, clock_text
from .descriptors import Descriptors
from .disk import undo_disk
from .files import boot_id, write_atomically
from .group import Group
from .kernel_clock import KernelClock
from .machine_clock import set_right
from .network import heal_network
from .process import System
from .shaping import undo_shaping
from .squeeze import undo_squeeze
from .throttle import Throttle
from .volume import Volume


def notes_folder(home: Path) -> Path:
    """Return the folder of the agent's own notes."""
    return home / "agent"


def clock_path(home: Path) -> Path:
    """Return the file that moves the system's clock."""
    return home / "clock"


def machine_clock_note(home: Path) -> Path:
    """Return the file that says what time it truly is, while the machine's own clock is wrong."""
    return notes_folder(home) / "machine-clock"


def heal_host(home: Path, *, leave_running: bool = False) -> dict[str, Any]:
    """Heal network, clock, processes, disk and resources; unless told not to, stop the system and take
    away the volume and the group that it lived in."""
    system = System(notes_folder(home))
    volume, throttle = Volume(home, notes_folder(home)), Throttle(notes_folder(home))
    group, descriptors = Group(notes_folder(home)), Descriptors(notes_folder(home))

    def end_system() -> None:
        evidence = system.kill()
        if not evidence["gone"]:
            raise OSError("process {} does not end".format(evidence["pid"]))
        pid = system.noted_pid()
        if pid is not None:
            clean_shared_memory(pid)
        system.forget()

    steps: list[tuple[str, Callable[[], object]]] = [
        ("network", heal_network if may_have_cut() else lambda: None),
        ("traffic", lambda: undo_shaping(notes_folder(home))),
        ("clock", lambda: reset_clock(home)),
        ("resume", system.resume),
        ("throttle", throttle.lift),
        ("squeeze", lambda: undo_squeeze(group, descriptors)),
    ]
    if leave_running:
        steps.append(("disk", lambda: undo_disk(volume, throttle, system)))
    else:
        steps += [("system", end_system), ("volume", volume.remove), ("group", group.remove)]
    problems: dict[str, str] = {}
    for name, step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001  (whatever it is, the next step must be tried)
            problems[name] = f"{type(error).__name__}: {error}"
    return {"healed": not problems, "problems": problems}


def may_have_cut() -> bool:
    """Whether an agent could ever have cut anything here: without root or nft, none could."""
    return os.geteuid() == 0 and shutil.which("nft") is not None


def reset_clock(home: Path) -> None:
    """Let the system see the true time, if its clock was ever ours to move."""
    if clock_path(home).exists():
        write_atomically(clock_path(home), clock_text(0))
    set_right(machine_clock_note(home), KernelClock(), boot=boot_id())
