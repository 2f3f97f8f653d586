"""The write-ahead log: hard state, cuts and entries in one ordered stream.

Rules of this file:
- One batch is one frame with one checksum: it is there as a whole or not at all.
- A frame: magic, kind, payload length, durable offset, checksum of the payload, checksum of the
  header; then the payload, JSON in ASCII. The payload's checksum continues that of the frame
  before, so a frame is only valid where it was written.
- `durable offset` is how far the file was known to be fsynced when the frame was written. Damage
  at or behind the highest such offset in the file is a torn tail: nothing in it was ever
  acknowledged; it is cut off, physically, before anything is appended. Damage below it is
  corruption of what was acknowledged: the node must not start. That a frame behind the damage is
  valid proves nothing by itself, since sectors can reach the disk in any order.
- The magic holds a byte that no ASCII payload can, so a frame is found again behind damage.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import crc32

from node.core.messages import Entry, HardState, Json, Malformed, decode_entries, natural
from node.storage.files import AppendFile

MAGIC = b"\xf5SBw"
VERSION = 1
META, BATCH = 1, 2
_HEADER = struct.Struct(">4sBxxxIQI")  # magic, kind, length, durable offset, payload checksum
_CHECKSUM = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _CHECKSUM.size


class Corrupt(Exception):
    """Acknowledged data is damaged."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"damaged at offset {offset}: {reason}")
        self.offset = offset


class WrongOwner(Exception):
    """The log belongs to another node or another cluster."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one Ready wants durable."""

    hard_state: HardState | None = None
    truncate_from: int | None = None
    entries: tuple[Entry, ...] = ()

    def is_empty(self) -> bool:
        """Is there nothing to write?"""
        return self.hard_state is None and self.truncate_from is None and not self.entries


@dataclass(slots=True)
class Recovered:
    """What a log held when it was opened."""

    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    torn_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Frame:
    offset: int
    kind: int
    durable_offset: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + HEADER_BYTES + len(self.payload)


class Wal:
    """An open write-ahead log. `append` and `sync` may run on a thread of their own."""

    def __init__(self, file: AppendFile, *, name: str, members: tuple[str, ...]) -> None:
        """Open, recover, and cut a torn tail; raises `Corrupt`, `WrongOwner` or `OSError`."""
        self._file = file
        self._checksum = 0
        self._size = 0
        self.durable_offset = 0
        self.recovered = Recovered()
        owner: Json = {"version": VERSION, "name": name, "members": sorted(members)}
        image = file.read()
        frames = list(self._valid_prefix(image))
        if not frames and len(image) > HEADER_BYTES + len(_encoded(owner)):
            # The first frame is synced before any other is written.
            raise Corrupt(0, "the first frame had been durable")
        self._refuse_corruption(image)
        if self._size < len(image):
            self.recovered.torn_bytes = len(image) - self._size
            file.truncate(self._size)
            file.sync()
        if not frames:
            self._write(META, owner)
        else:
            self._replay(frames, owner)
        # What was read may still be in the page cache only: nothing is durable that was not synced.
        self.sync()

    def append(self, batch: Batch) -> None:
        """Write one batch; it is durable after the next `sync`."""
        document: dict[str, Json] = {}
        if batch.hard_state is not None:
            document["hard_state"] = [batch.hard_state.term, batch.hard_state.voted_for]
        if batch.truncate_from is not None:
            document["truncate_from"] = batch.truncate_from
        if batch.entries:
            document["entries"] = [[e.index, e.term, e.data] for e in batch.entries]
        self._write(BATCH, document)

    def sync(self) -> None:
        """Return when all that was appended is durable."""
        size = self._size
        self._file.sync()
        self.durable_offset = size

    def _write(self, kind: int, document: Json) -> None:
        payload = _encoded(document)
        self._checksum = crc32(payload, self._checksum)
        header = _HEADER.pack(MAGIC, kind, len(payload), self.durable_offset, self._checksum)
        self._file.append(b"".join((header, _CHECKSUM.pack(crc32(header)), payload)))
        self._size += HEADER_BYTES + len(payload)

    def _valid_prefix(self, image: bytes) -> Iterator[_Frame]:
        """The frames before the first damage; afterwards `_size` is where they end."""
        while (frame := _frame_at(image, self._size, self._checksum)) is not None:
            self._checksum = crc32(frame.payload, self._checksum)
            self._size = frame.end
            yield frame

    def _refuse_corruption(self, image: bytes) -> None:
        """Damage is only a torn tail if no frame says that it had been fsynced."""
        at = image.find(MAGIC, self._size)
        while at >= 0:
            header = _header_at(image, at)
            if header is not None and self._size < header[2] <= at:
                raise Corrupt(self._size, f"had been durable up to offset {header[2]}")
            at = image.find(MAGIC, at + 1)

    def _replay(self, frames: list[_Frame], owner: Json) -> None:
        first = frames[0]
        if first.kind != META:
            raise Corrupt(first.offset, "the first frame does not name the owner")
        found = json.loads(first.payload)
        if found != owner:
            raise WrongOwner(f"the log belongs to {found}, not to {owner}")
        for frame in frames[1:]:
            try:
                self._replay_batch(json.loads(frame.payload))
            except (Malformed, ValueError, TypeError, KeyError) as error:
                raise Corrupt(frame.offset, f"checksum right, content wrong: {error}") from None

    def _replay_batch(self, document: dict[str, Json]) -> None:
        recovered = self.recovered
        if "hard_state" in document:
            recovered.hard_state = _hard_state(document["hard_state"], recovered.hard_state)
        if "truncate_from" in document:
            del recovered.entries[natural(document["truncate_from"]) - 1 :]
        for entry in decode_entries(document.get("entries", [])):
            if entry.index != len(recovered.entries) + 1:
                raise Malformed(f"entry {entry.index} behind {len(recovered.entries)}")
            recovered.entries.append(entry)


def _hard_state(value: Json, before: HardState) -> HardState:
    if not isinstance(value, list) or len(value) != 2:
        raise Malformed("not a hard state")
    term, voted_for = natural(value[0]), value[1]
    if voted_for is not None and not isinstance(voted_for, str):
        raise Malformed("a vote for what is not a name")
    if term < before.term:
        raise Malformed("the term falls")
    return HardState(term, voted_for)


def _header_at(image: bytes, offset: int) -> tuple[int, int, int, int] | None:
    """Kind, payload length, durable offset and payload checksum, if a sound header is there."""
    raw = image[offset : offset + HEADER_BYTES]
    if len(raw) < HEADER_BYTES or not raw.startswith(MAGIC):
        return None
    if crc32(raw[: _HEADER.size]) != _CHECKSUM.unpack_from(raw, _HEADER.size)[0]:
        return None
    _, kind, length, durable_offset, checksum = _HEADER.unpack_from(raw)
    return kind, length, durable_offset, checksum


def _frame_at(image: bytes, offset: int, checksum_before: int) -> _Frame | None:
    """The frame at an offset, if it is whole and continues the chain."""
    header = _header_at(image, offset)
    if header is None:
        return None
    kind, length, durable_offset, checksum = header
    start = offset + HEADER_BYTES
    payload = image[start : start + length]
    if len(payload) < length or crc32(payload, checksum_before) != checksum:
        return None
    return _Frame(offset, kind, durable_offset, payload)


def _encoded(document: Json) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")
