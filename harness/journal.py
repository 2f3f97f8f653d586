"""The history file of a run in progress: every event is on its way to the disk before it counts.

Rules of this file:
- `record` returns, and a `batch` ends, only after the operating system has the lines: an invocation
  that was recorded survives the death of this process, and one that could not be recorded must
  not be sent.
- A line is whole or absent: what a full disk cut short is taken back, and from then on the journal
  refuses everything (`JournalError`), so that nothing can follow a torn line. A batch is taken
  back as a whole.
- One index for all: lines are numbered in the order of writing, under one lock, which a batch holds
  from its beginning to its end; so whoever has one open must not wait for anything.
- `line_of` is `Event.to_json`, only faster; a test holds them together.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from checker.history import Event, EventType
from harness.errors import HarnessError


class JournalError(HarnessError):
    """The history could not be written; the run must end, and what is written stays readable."""


_encode = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=1 << 16)
def _text(text: str) -> str:
    return json.dumps(text)


def _value(value: Any) -> str:
    if value is None:
        return "null"
    kind = type(value)
    if kind is int:
        return str(value)
    return _text(value) if kind is str else _encode(value)


def line_of(event: Event) -> str:
    """Return an event's line, without the newline."""
    time = "" if event.time is None else f'"time":{event.time},'
    key = "" if event.key is None else f'"key":{_value(event.key)},'
    node = "" if event.node is None else f',"node":{_value(event.node)}'
    error = "" if event.error is None else f',"error":{_value(event.error)}'
    return (
        f'{{"index":{event.index},{time}"process":{_value(event.process)},'
        f'"type":"{event.type.value}","f":{_value(event.f)},{key}'
        f'"value":{_value(event.value)}{node}{error}}}'
    )


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

    def batch(self) -> Batch:
        """Return a context manager for several events that are written at once, at its end.

        Entering and leaving it raise `JournalError` if the history cannot be written.
        """
        return Batch(self)

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
        with self.batch() as batch:
            return batch.add(time_ns, process, type, f, value, key, node, error)

    def begin(self) -> int:
        """For `Batch`: take the lock and return the next event's index."""
        self._lock.acquire()
        if self._broken is not None:
            self._lock.release()
            raise JournalError(self._broken)
        return self._count

    def end(self, lines: list[str]) -> None:
        """For `Batch`: write lines and let go of the lock."""
        try:
            if lines:
                lines.append("")
                self._write("\n".join(lines).encode())
                self._count += len(lines) - 1
        finally:
            self._lock.release()

    def _write(self, block: bytes) -> None:
        try:
            written = os.write(self._file, block)
            if written != len(block):
                # A short write to a regular file means a full disk; the second one says so.
                written += os.write(self._file, block[written:])
            if written != len(block):
                raise OSError(28, "No space left on device")
        except OSError as error:
            self._broken = (
                f"{self.path}: the history cannot be written ({error.strerror}); "
                "free some space or choose another --store"
            )
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise JournalError(self._broken) from None
        self._size += len(block)

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


class Batch:
    """Events that are written together when the `with` block ends, however it ends."""

    __slots__ = ("_journal", "_lines", "_next", "events")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lines: list[str] = []
        self._next = 0
        self.events: list[Event] = []

    def __enter__(self) -> Batch:
        self._next = self._journal.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._journal.end(self._lines)

    def add(
        self,
        time_ns: int,
        process: int | str,
        kind: EventType,
        f: str,
        value: Any,
        key: str | None,
        node: str | None,
        error: str | None = None,
    ) -> Event:
        """Add an event to what will be written, and return it: it has its index already."""
        event = Event(
            index=self._next,
            process=process,
            type=kind,
            f=f,
            value=value,
            key=key,
            time=time_ns,
            node=node,
            error=error,
        )
        self._lines.append(line_of(event))
        self._next += 1
        self.events.append(event)
        return event
