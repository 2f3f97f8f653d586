"""Damages a file of the system's data: half a write, a flipped bit, a file cut short.

Rules of this file:
- The system is killed first, and stays down: who starts it again sees what it makes of it.
- Which file, where and how much follows from one number of the plan.
- What is damaged is made durable and read back: evidence is what the file holds then.
- An end of the system that comes after damage to durable data is noted with that reason, until its
  data are made anew; whether it is right to end is for the harness to say.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .process import System

DAMAGED_DATA = "damaged data"
# Half a write: more than a sector, so that it may hold whole records, but not where they belong.
_TORN_BYTES_MAX = 2048


class DamageError(Exception):
    """The damage cannot be done; the text says why."""


class Damage:
    """Damages the data of the system on this host. Not thread-safe: the caller locks."""

    def __init__(self, system: System) -> None:
        self._system = system

    def do(
        self, how: str, root: Path, *, logs: Sequence[str], states: Sequence[str], draw: int
    ) -> dict[str, Any]:
        """Kill the system and damage one file; `logs` and `states` are patterns below `root`.

        Without a file to damage nothing is done, and the system goes on.
        """
        if how not in _WAYS:
            raise DamageError(f"no such damage: {how!r}")
        if not _candidates(how, root, logs, states):
            return {"skipped": f"there is no file for {how}"}
        ended = self._system.kill()
        if not ended["gone"]:
            raise DamageError("the system does not end, so its files are left alone")
        files = _candidates(how, root, logs, states)
        if not files:
            raise DamageError(f"the files for {how} went with the system")
        choice = random.Random(draw)
        path = choice.choice(files)
        before = path.read_bytes()
        reach = _written(before)
        if how == "bit-flip" and path in _newest(root, logs):
            reach = max(1, reach // 2)  # what is behind shows that this was durable
        after, offset = _WAYS[how](before, reach, choice)
        if how != "torn-write":
            self._system.excuse = DAMAGED_DATA
        _overwrite(path, after)
        found = path.read_bytes()
        return {
            "was_running": ended["was_running"],
            "file": str(path.relative_to(root)),
            "offset": offset,
            "size_before": len(before),
            "size_after": len(found),
            "differs": found != before and found == after,
            "found": found[offset : offset + 1].hex(),
            "was": before[offset : offset + 1].hex(),
        }

    def end(self) -> dict[str, Any]:
        """From here on no end of the system is due to damage: its data are gone."""
        if self._system.excuse == DAMAGED_DATA:
            self._system.excuse = None
        return {}


def _matching(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files that are not empty, by name."""
    found = {path for pattern in patterns for path in root.glob(pattern)}
    return sorted(path for path in found if path.is_file() and path.stat().st_size > 0)


def _newest(root: Path, logs: Sequence[str]) -> list[Path]:
    return _matching(root, logs)[-1:]


def _candidates(how: str, root: Path, logs: Sequence[str], states: Sequence[str]) -> list[Path]:
    """Return the files that this damage may strike.

    What is missing at the end of the log in use nobody can see who has nothing else, so that
    `truncate` leaves it alone, and `cut-log` does nothing else.
    """
    in_use = _newest(root, logs)
    if how in ("torn-write", "cut-log"):
        return in_use
    if how == "truncate":
        return [*_matching(root, logs)[:-1], *_matching(root, states)]
    return [*_matching(root, logs), *_matching(root, states)]


def _written(content: bytes) -> int:
    """Return where the content ends, but for zeros: some systems allocate their logs ahead."""
    return max(1, len(content.rstrip(b"\0")))


def _tear(content: bytes, end: int, choice: random.Random) -> tuple[bytes, int]:
    """Add the first part of one more write, as if the power had failed in the middle of it."""
    size = choice.randint(1, min(_TORN_BYTES_MAX, end))
    # A beginning that makes sense and an end that does not: sectors arrive in any order.
    sense = choice.randint(0, size)
    torn = content[:sense] + choice.randbytes(size - sense)
    if not torn.strip(b"\0"):
        torn = b"\xff" * size
    return content[:end] + torn + content[end + size :], end


def _flip(content: bytes, reach: int, choice: random.Random) -> tuple[bytes, int]:
    """Flip one bit."""
    offset = choice.randrange(reach)
    changed = bytearray(content)
    changed[offset] ^= 1 << choice.randrange(8)
    return bytes(changed), offset


def _truncate(content: bytes, end: int, choice: random.Random) -> tuple[bytes, int]:
    """Cut a file short, anywhere."""
    size = choice.randrange(end)
    return content[:size], size


def _cut_log(content: bytes, end: int, choice: random.Random) -> tuple[bytes, int]:
    """Take a quarter to three quarters of the log away, from its end."""
    size = choice.randint(end // 4, end * 3 // 4)
    return content[:size], size


_WAYS = {"torn-write": _tear, "bit-flip": _flip, "truncate": _truncate, "cut-log": _cut_log}


def _overwrite(path: Path, content: bytes) -> None:
    """Write in place: owner and mode stay, and no name changes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        rest, offset = memoryview(content), 0
        while offset < len(rest):
            offset += os.pwrite(descriptor, rest[offset:], offset)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
