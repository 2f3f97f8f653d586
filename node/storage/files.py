"""The few things that a log needs of a file, so that a simulated disk can take the place of it.

Rules of this file: nothing is retried. After a failed write or fsync nobody knows what the disk
holds; whoever sees `OSError` from here must stop.
"""

import os
from pathlib import Path
from typing import Protocol


class AppendFile(Protocol):
    """A file that grows at its end, and can be cut."""

    def read(self) -> bytes:
        """All of it."""
        ...

    def append(self, data: bytes) -> None:
        """Write behind the end; durable only after `sync`."""
        ...

    def truncate(self, size: int) -> None:
        """Cut; durable only after `sync`."""
        ...

    def sync(self) -> None:
        """Return when everything written is durable."""
        ...


class RealFile:
    """An `AppendFile` of the operating system."""

    def __init__(self, path: Path) -> None:
        """Open or create. The name is durable when this returns: also when an earlier process
        created it and died before it could see to that."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        sync_directory(path.parent)

    def read(self) -> bytes:
        """All of it."""
        parts: list[bytes] = []
        offset = 0
        while part := os.pread(self._descriptor, 1 << 20, offset):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def append(self, data: bytes) -> None:
        """Write behind the end."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def truncate(self, size: int) -> None:
        """Cut."""
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """Data and the size that goes with it; not the times of the file."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
