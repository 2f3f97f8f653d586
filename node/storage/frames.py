"""Frames: how one record is told from none, from half of one, and from one in the wrong place.

Rules of this file:
- A frame: magic, kind, payload length, durable offset, checksum of the payload, checksum of the
  header; then the payload, JSON in ASCII. The payload's checksum continues that of the frame
  before, so a frame is only valid where it was written.
- `durable offset` is how far the file was known to be fsynced when the frame was written. Damage
  at or behind the highest such offset in the file is a torn tail: nothing in it was ever
  acknowledged. Damage below it is corruption of what was. That a frame behind the damage is valid
  proves nothing by itself, since sectors can reach the disk in any order.
- The magic holds a byte that no ASCII payload can, so a frame is found again behind damage.
- Pure: bytes in, values out.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple
from zlib import crc32

from node.core.messages import Json

MAGIC = b"\xf5SBw"
HEAD, BATCH, SEAL = 1, 2, 3
_HEADER = struct.Struct(">4sBxxxIQI")  # magic, kind, length, durable offset, payload checksum
_WHOLE_HEADER = struct.Struct(">4sBxxxIQII")  # and the checksum of what is before it
_CHECKSUM = struct.Struct(">I")
HEADER_BYTES = _WHOLE_HEADER.size
_dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().raw_decode


class Frame(NamedTuple):
    """One record of a file. `checksum` is where the chain stands behind it."""

    offset: int
    end: int
    kind: int
    checksum: int
    payload: bytes

    def document(self) -> Any:
        """The payload; raises `ValueError` if it is not one JSON document."""
        text = self.payload.decode("ascii")
        document, end = _decode(text)
        if end != len(text):
            raise ValueError("something behind the JSON")
        return document


def encode_frame(
    kind: int, document: Json, *, durable_offset: int, checksum: int
) -> tuple[bytes, int]:
    """The bytes of a frame, and where the chain stands behind it."""
    payload = _dumps(document).encode("ascii")
    checksum = crc32(payload, checksum)
    header = _HEADER.pack(MAGIC, kind, len(payload), durable_offset, checksum)
    return b"".join((header, _CHECKSUM.pack(crc32(header)), payload)), checksum


def whole_frames(image: bytes) -> Iterator[Frame]:
    """The frames from the beginning of a file up to the first damage, or its end."""
    offset, checksum = 0, 0
    while (header := _header_at(image, offset)) is not None:
        kind, length, _, expected = header
        start = offset + HEADER_BYTES
        end = start + length
        payload = image[start:end]
        checksum = crc32(payload, checksum)
        if len(payload) != length or checksum != expected:
            return
        yield Frame(offset, end, kind, checksum, payload)
        offset = end


def durable_beyond(image: bytes, offset: int) -> int | None:
    """How far the file had been fsynced, if some frame behind `offset` says: further than that."""
    at = image.find(MAGIC, offset)
    while at >= 0:
        header = _header_at(image, at)
        if header is not None and offset < header[2] <= at:
            return header[2]
        at = image.find(MAGIC, at + 1)
    return None


def _header_at(image: bytes, offset: int) -> tuple[int, int, int, int] | None:
    """Kind, payload length, durable offset and payload checksum, if a sound header is there."""
    raw = image[offset : offset + HEADER_BYTES]
    if len(raw) < HEADER_BYTES:
        return None
    magic, kind, length, durable_offset, checksum, own_checksum = _WHOLE_HEADER.unpack(raw)
    if magic != MAGIC or crc32(raw[: _HEADER.size]) != own_checksum:
        return None
    return kind, length, durable_offset, checksum
