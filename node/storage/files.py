"""The few things that storage needs of a directory, so that a simulated disk can take its place.

Rules of this file:
- Nothing is retried. After a failed write or fsync nobody knows what the disk holds; whoever sees
  `OSError` from here must stop.
- Data and names are durable separately: `AppendFile.sync` is for what is in a file,
  `Directory.sync` for which names there are. A file written and fsynced whose name was not can be
  gone after a power loss (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
- The few sequences that combine them are written once, in `Directory`, over what is abstract here,
  so that the simulated disk runs the same ones.
"""

import os
import weakref
from pathlib import Path
from typing import Protocol

ASIDE = ".tmp"
_READ_BYTES = 1 << 20


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
        """Return when everything written is durable. Says nothing of the file's name."""
        ...

    def close(self) -> None:
        """Give the file back."""
        ...


class ReadFile(Protocol):
    """A file as it was when it was opened, also after its name has gone to another."""

    def size(self) -> int:
        """Bytes in it."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """That many bytes; fewer only at the end. Any thread may call it."""
        ...

    def close(self) -> None:
        """Give the file back."""
        ...


class Directory(Protocol):
    """A flat directory of one node."""

    def names(self) -> list[str]:
        """The files in it, sorted."""
        ...

    def open_append(self, name: str) -> AppendFile:
        """Open a file, or make it; its name is durable only after `sync`."""
        ...

    def open_read(self, name: str) -> ReadFile:
        """Open a file that exists."""
        ...

    def read(self, name: str) -> bytes:
        """All of a file."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, at once and in the place of whoever had it."""
        ...

    def remove(self, name: str) -> None:
        """Take a name away."""
        ...

    def sync(self) -> None:
        """Return when the names are durable."""
        ...

    def write_aside(self, name: str, *parts: bytes) -> None:
        """Make a content durable under another name, beside the file it will be."""
        aside = self.open_append(name + ASIDE)
        aside.truncate(0)
        for part in parts:
            aside.append(part)
        aside.sync()
        aside.close()

    def put_in_place(self, name: str) -> None:
        """Let what was written aside become the file, durably: the old content or the new."""
        self.rename(name + ASIDE, name)
        self.sync()

    def write_whole(self, name: str, *parts: bytes) -> None:
        """Make a file have this content, durably, or leave it as it was."""
        self.write_aside(name, *parts)
        self.put_in_place(name)

    def remove_asides(self) -> None:
        """Take away what a crash left aside: nobody ever relied on it."""
        left = [name for name in self.names() if name.endswith(ASIDE)]
        for name in left:
            self.remove(name)


class RealFile:
    """An `AppendFile` of the operating system."""

    def __init__(self, path: Path) -> None:
        """Open or create."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._close = weakref.finalize(self, os.close, self._descriptor)

    def read(self) -> bytes:
        """All of it."""
        return _read_at(self._descriptor, 0, os.fstat(self._descriptor).st_size)

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
        self._close()


class RealReadFile:
    """A `ReadFile` of the operating system; the descriptor goes back when nobody uses it."""

    def __init__(self, path: Path) -> None:
        """Open."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._descriptor)

    def size(self) -> int:
        """Bytes in it."""
        return os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """That many bytes; fewer only at the end."""
        return _read_at(self._descriptor, offset, length)

    def close(self) -> None:
        """Give the descriptor back."""
        self._close()


class RealDirectory(Directory):
    """A `Directory` of the operating system, which exists."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """The files in it, sorted."""
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file())

    def open_append(self, name: str) -> RealFile:
        """Open a file, or make it."""
        return RealFile(self.path / name)

    def open_read(self, name: str) -> RealReadFile:
        """Open a file that exists."""
        return RealReadFile(self.path / name)

    def read(self, name: str) -> bytes:
        """All of a file."""
        return (self.path / name).read_bytes()

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        os.replace(self.path / old, self.path / new)

    def remove(self, name: str) -> None:
        """Take a name away."""
        os.unlink(self.path / name)

    def sync(self) -> None:
        """Return when the names are durable."""
        sync_directory(self.path)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(descriptor, min(length, _READ_BYTES), offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)
