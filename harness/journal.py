"""The history file of a run in progress: every event is on its way to the disk before it counts.

Rules of this file:
- `record` returns only after the operating system has the line: an invocation that was recorded
  survives the death of this process, and one that could not be recorded must not be sent.
- A line is whole or absent: what a full disk cut short is taken back, and from then on the journal
  refuses everything (`JournalError`), so that nothing can follow a torn line.
- One index for all: lines are numbered in the order of writing, under one lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

from checker.history import Event, EventType
from harness.errors import HarnessError


class JournalError(HarnessError):
    """The history could not be written; the run must end, and what is written stays readable."""


class Journal:
    """An append-only `history.jsonl`. Used by the scheduling thread and by the nemesis."""

    def __init__(self, path: Path) -> None:
        """Create the file. Raises `JournalError` if that is not possible."""
        self.path = path
        self._lock = threading.Lock()
        self._count = 0
        self._size = 0
        self._broken: str | None = None
        try:
            self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(f"{path}: cannot be created ({error.strerror})") from None

    def record(
        self,
        *,
        time_ns: int,
        process: int | str,
        type: EventType,  # noqa: A002  (the field's name in the format)
        f: str,
        value: Any = None,
        key: str | None = None,
        node: str | None = None,
        error: str | None = None,
    ) -> Event:
        """Write one event and return it. Raises `JournalError` if it could not be written."""
        with self._lock:
            if self._broken is not None:
                raise JournalError(self._broken)
            event = Event(
                index=self._count,
                time=time_ns,
                process=process,
                type=type,
                f=f,
                key=key,
                value=value,
                node=node,
                error=error,
            )
            self._write((event.to_json() + "\n").encode())
            self._count += 1
            return event

    def _write(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line)
            if written != len(line):
                # A short write to a regular file means a full disk; the second one says so.
                written += os.write(self._file, line[written:])
            if written != len(line):
                raise OSError(28, "No space left on device")
        except OSError as error:
            self._broken = (
                f"{self.path}: the history cannot be written ({error.strerror}); "
                "free some space or choose another --store"
            )
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise JournalError(self._broken) from None
        self._size += len(line)

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Make the file durable and close it; closing twice is no error."""
        with self._lock:
            if self._file < 0:
                return
            with contextlib.suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            self._broken = f"{self.path}: the journal is closed"
