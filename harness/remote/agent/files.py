"""Small files that must be whole or absent, and what /proc says of a process.

Rules of this file:
- A process is known by PID and start time together: a PID alone may mean somebody else by now.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, NamedTuple


class ProcessStat(NamedTuple):
    """The part of /proc/PID/stat that we use."""

    pid: int
    state: str
    session: int
    start_ticks: int


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader sees the old text or the new one.

    Several threads may do so at the same time: the last one wins.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def json_text(value: Any) -> str:
    """Return a value as one line of JSON."""
    return json.dumps(value, separators=(",", ":")) + "\n"


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None if there is no such file or it makes no sense."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def boot_id() -> str:
    """Return what identifies this boot of the machine: PIDs mean nothing in another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def process_stat(pid: int) -> ProcessStat | None:
    """Return what /proc says of a process, or None if there is none."""
    return _parse_stat(Path("/proc", str(pid), "stat"), pid)


def all_processes() -> list[ProcessStat]:
    """Return every process of this PID namespace."""
    found = (process_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None]


def thread_states(pid: int) -> dict[int, str]:
    """Return the state letter of each thread of a process."""
    folder = Path("/proc", str(pid), "task")
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    stats = {int(name): _parse_stat(folder / name / "stat", int(name)) for name in names}
    return {thread: stat.state for thread, stat in stats.items() if stat is not None}


def _parse_stat(path: Path, pid: int) -> ProcessStat | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in brackets, may hold anything; what follows its last bracket is regular.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20:
        return None
    return ProcessStat(pid, fields[0], int(fields[3]), int(fields[19]))
