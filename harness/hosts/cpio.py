"""Writes cpio archives ("newc"), the form in which Linux takes its first files at boot.

Rules of this file:
- Pure: names and contents in, bytes out; the same files give the same archive.
- Everything belongs to root and is of the epoch. The folders that files are in come with them.
- Archives may simply be joined: the kernel unpacks one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MAGIC: Final = b"070701"
_FOLDER, _FILE = 0o040000, 0o100000
_END: Final = "TRAILER!!!"


def archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Return an archive of files: path without a leading slash -> (content, mode)."""
    folders = {path[:end] for path in files for end in range(len(path)) if path[end] == "/"}
    parts: list[bytes] = []
    for number, path in enumerate(sorted(folders), start=1):
        parts.append(_entry(path, b"", _FOLDER | 0o755, number))
    for number, (path, (content, mode)) in enumerate(sorted(files.items()), start=len(parts) + 1):
        parts.append(_entry(path, content, _FILE | mode, number))
    parts.append(_entry(_END, b"", 0, 0))
    return b"".join(parts)


def _entry(path: str, content: bytes, mode: int, number: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if mode & _FOLDER else 1
    # inode, mode, user, group, links, time, size, device (2), device of a special file (2), length
    # of the name, checksum (none in this form)
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = _MAGIC + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
