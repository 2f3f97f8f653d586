"""Snapshots: an image of the state machine in one file, and the way it takes between nodes.

Rules of this file:
- A snapshot is written aside, fsynced, renamed, and the directory fsynced; only then older ones go,
  and only after that may the log behind it go.
- An image is known by (index, term, checksum, size). Chunks of another image are never mixed in,
  and nothing is handed out before the checksum of the whole is right.
- A damaged snapshot is not used. An older one is, while there is one: then the log that reaches back
  to it is still there too.
"""

import json
import struct
from dataclasses import dataclass, replace
from zlib import crc32

from node.core.messages import Json, Malformed, natural
from node.storage.errors import Corrupt
from node.storage.files import ASIDE, Directory, ReadFile

VERSION = 1
_PREFIX = "snapshot-"
_MAGIC = b"\xf5SBs"
_HEADER = struct.Struct(">4sII")  # magic, length of the description, its checksum
_DESCRIPTION_BYTES_MAX = 16 << 20
_PIECE_BYTES = 1 << 20

SnapshotKey = tuple[int, int, int, int]
"""Index, term, checksum, size."""


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """What an image is of: all entries up to (index, term), under that configuration.

    `size` and `checksum` (CRC-32) are those of the image; who saves one may leave them out.
    """

    index: int
    term: int
    configuration: str
    size: int = 0
    checksum: int = 0

    @property
    def key(self) -> SnapshotKey:
        """What tells one image from another."""
        return self.index, self.term, self.checksum, self.size


class Damaged(Exception):
    """The chunks do not make up the image that was announced."""


class SnapshotReader:
    """An open snapshot; it stays readable when a newer one has taken its place."""

    def __init__(self, meta: SnapshotMeta, file: ReadFile, start: int) -> None:
        self.meta = meta
        self._file = file
        self._start = start

    def read(self, offset: int, length: int) -> bytes:
        """A part of the image; less than asked for only at its end. Any thread may call it."""
        if offset < 0 or length < 0:
            raise ValueError(f"no such part of an image: {length} bytes at {offset}")
        return self._file.read_at(
            self._start + offset, min(length, max(0, self.meta.size - offset))
        )

    def image(self) -> bytes:
        """All of it."""
        return self.read(0, self.meta.size)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


def snapshot_name(index: int) -> str:
    """The file of a snapshot."""
    return f"{_PREFIX}{index:016x}"


def is_snapshot(name: str) -> bool:
    """Is a file a snapshot?"""
    return name.startswith(_PREFIX) and not name.endswith(ASIDE)


def described(meta: SnapshotMeta, image: bytes) -> SnapshotMeta:
    """The same with size and checksum of the image."""
    return replace(meta, size=len(image), checksum=crc32(image))


def save(directory: Directory, meta: SnapshotMeta, image: bytes) -> SnapshotMeta:
    """Make a snapshot durable, then remove older ones."""
    meta = write_aside(directory, meta, image)
    put_in_place(directory, meta)
    return meta


def write_aside(directory: Directory, meta: SnapshotMeta, image: bytes) -> SnapshotMeta:
    """The first half of `save`, the long one: nothing relies on the file yet."""
    meta = described(meta, image)
    document: Json = {
        "version": VERSION,
        "index": meta.index,
        "term": meta.term,
        "size": meta.size,
        "checksum": meta.checksum,
        "configuration": meta.configuration,
    }
    description = json.dumps(document, separators=(",", ":")).encode("ascii")
    header = _HEADER.pack(_MAGIC, len(description), crc32(description))
    directory.write_aside(snapshot_name(meta.index), header + description, image)
    return meta


def put_in_place(directory: Directory, meta: SnapshotMeta) -> None:
    """The second half of `save`: it is a snapshot from here on."""
    name = snapshot_name(meta.index)
    directory.put_in_place(name)
    older = [other for other in directory.names() if is_snapshot(other) and other < name]
    for other in older:
        directory.remove(other)
    if older:
        directory.sync()


def reopened(directory: Directory, meta: SnapshotMeta) -> SnapshotReader:
    """A reader of a snapshot that was written just now: not verified again."""
    file = directory.open_read(snapshot_name(meta.index))
    return SnapshotReader(meta, file, file.size() - meta.size)


def latest(directory: Directory) -> tuple[SnapshotMeta, SnapshotReader] | None:
    """The newest snapshot that is whole; `Corrupt`, of the newest, if there are but none is."""
    first_error: Corrupt | None = None
    for name in sorted(filter(is_snapshot, directory.names()), reverse=True):
        try:
            reader = _open(directory, name)
        except Corrupt as error:
            first_error = first_error or error
        else:
            return reader.meta, reader
    if first_error is not None:
        raise first_error
    return None


def _open(directory: Directory, name: str) -> SnapshotReader:
    file = directory.open_read(name)
    try:
        return _verified(file, name)
    except Corrupt:
        file.close()
        raise


def _verified(file: ReadFile, name: str) -> SnapshotReader:
    header = file.read_at(0, _HEADER.size)
    if len(header) < _HEADER.size:
        raise Corrupt(name, 0, "too short for a snapshot")
    magic, length, checksum = _HEADER.unpack(header)
    if magic != _MAGIC or length > _DESCRIPTION_BYTES_MAX:
        raise Corrupt(name, 0, "not a snapshot")
    description = file.read_at(_HEADER.size, length)
    if len(description) != length or crc32(description) != checksum:
        raise Corrupt(name, 0, "the checksum of the description is wrong")
    meta = _meta(description, name)
    start = _HEADER.size + length
    if file.size() != start + meta.size:
        raise Corrupt(name, start, f"the image ends at offset {file.size()}")
    found = 0
    for offset in range(start, start + meta.size, _PIECE_BYTES):
        found = crc32(file.read_at(offset, _PIECE_BYTES), found)
    if found != meta.checksum:
        raise Corrupt(name, start, "the checksum of the image is wrong")
    return SnapshotReader(meta, file, start)


def _meta(description: bytes, name: str) -> SnapshotMeta:
    try:
        document = json.loads(description)
        if document["version"] != VERSION or not isinstance(document["configuration"], str):
            raise Malformed(f"not a snapshot of version {VERSION}")
        numbers = [natural(document[key]) for key in ("index", "term", "size", "checksum")]
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt(name, 0, f"checksum right, content wrong: {error}") from None
    index, term, size, checksum = numbers
    if snapshot_name(index) != name:
        raise Corrupt(name, 0, f"this is the snapshot of index {index} under another's name")
    return SnapshotMeta(index, term, document["configuration"], size, checksum)


class SnapshotReceiver:
    """Puts an image together from chunks. One at a time: a new one displaces an old one."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._meta: SnapshotMeta | None = None
        self._image = bytearray()

    @property
    def meta(self) -> SnapshotMeta | None:
        """The snapshot that is arriving."""
        return self._meta

    def begin(self, meta: SnapshotMeta) -> int:
        """Expect a snapshot; the offset wanted: not 0 if its beginning is here already.

        Raises `Damaged` if it is larger than any that will be taken.
        """
        if meta.size > self._size_max:
            raise Damaged(f"an image of {meta.size} bytes; at most {self._size_max} are taken")
        if self._meta != meta:
            self._meta = meta
            self._image = bytearray()
        return len(self._image)

    def feed(self, key: SnapshotKey, offset: int, data: bytes) -> int | None:
        """Take a chunk; the offset wanted next, whether it was taken or not.

        None, and nothing taken, if it is not of the snapshot that is expected.
        """
        if self._meta is None or self._meta.key != key:
            return None
        wanted = len(self._image)
        if offset == wanted and wanted + len(data) <= self._meta.size:
            self._image += data
        return len(self._image)

    def is_complete(self) -> bool:
        """Has every byte arrived?"""
        return self._meta is not None and len(self._image) == self._meta.size

    def complete(self) -> tuple[SnapshotMeta, bytes]:
        """The snapshot, verified, once; `Damaged`, and all must be sent again, if it is not right."""
        meta, image = self._meta, bytes(self._image)
        self.abandon()
        if meta is None or len(image) != meta.size:
            raise Damaged(f"{len(image)} bytes have arrived, not all")
        if crc32(image) != meta.checksum:
            raise Damaged(f"the checksum of the image of index {meta.index} is wrong")
        return meta, image

    def abandon(self) -> None:
        """Forget what has arrived."""
        self._meta = None
        self._image = bytearray()
