"""Segments: the files that the log is in, one after the other.

Rules of this file:
- Names are `wal-` and sixteen hexadecimal digits, counted from 1, without gaps.
- A segment begins with a head: whose log it is, where the chain of checksums of the segment before
  ended, the hard state, and the last (index, term) before its first batch. So all segments before
  it can go, once a snapshot covers what is in them.
- A segment that has a successor ends with a seal. The seal is written when the successor is
  durable by content and by name, and nothing is written to the successor before the seal is
  durable. Hence a segment without a seal is the newest, or its successor holds no more than a
  head; and a seal without a successor is damage.
"""

from dataclasses import dataclass
from itertools import pairwise

from node.core.messages import HardState, Json, Malformed, natural
from node.storage.errors import Corrupt
from node.storage.files import ASIDE, AppendFile, Directory
from node.storage.frames import HEAD, MAGIC, Frame, encode_frame

VERSION = 2
SEGMENT_BYTES = 16 << 20
FIRST = 1
_PREFIX = "wal-"
_DIGITS = 16

Owner = tuple[str, str, int]
"""Cluster, name, incarnation."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a segment says of itself. `base_term` is None where a cut made it unknown."""

    owner: Owner
    number: int
    chain: int
    hard_state: HardState
    base_index: int
    base_term: int | None


def segment_name(number: int) -> str:
    """The file of a segment."""
    return f"{_PREFIX}{number:0{_DIGITS}x}"


def is_segment(name: str) -> bool:
    """Does a file belong to the log?"""
    return name.startswith(_PREFIX) and not name.endswith(ASIDE)


def segment_numbers(directory: Directory) -> list[int]:
    """The segments there are; `Corrupt` if there is none, or one is missing between others."""
    numbers: list[int] = []
    for name in directory.names():
        if not is_segment(name):
            continue
        digits = name.removeprefix(_PREFIX)
        try:
            number = int(digits, 16)
        except ValueError:
            number = 0
        if number < FIRST or segment_name(number) != name:
            raise Corrupt(name, 0, "not the name of a segment of the log")
        numbers.append(number)
    numbers.sort()
    if not numbers:
        raise Corrupt(segment_name(FIRST), 0, "the log is missing")
    for before, number in pairwise(numbers):
        if number != before + 1:
            raise Corrupt(
                segment_name(before + 1), 0, f"missing, but {segment_name(number)} exists"
            )
    return numbers


def create_segment(directory: Directory, head: Head) -> tuple[AppendFile, int, int]:
    """Make a segment, durable by content and name: its file, size and chain."""
    document: Json = {
        "version": VERSION,
        "owner": list(head.owner),
        "segment": head.number,
        "chain": head.chain,
        "hard_state": encode_hard_state(head.hard_state),
        "base": [head.base_index, head.base_term],
    }
    frame, checksum = encode_frame(HEAD, document, durable_offset=0, checksum=0)
    file = directory.open_append(segment_name(head.number))
    file.append(frame)
    file.sync()
    directory.sync()
    return file, len(frame), checksum


def decode_head(frame: Frame, number: int) -> Head:
    """The head of a segment, if it is one and of this segment; `Corrupt` otherwise."""
    name = segment_name(number)
    if frame.kind != HEAD:
        raise Corrupt(name, 0, "the first frame is not a head")
    try:
        document = frame.document()
        if not isinstance(document, dict) or document["version"] != VERSION:
            raise Malformed(f"not of version {VERSION}")
        cluster, owner, incarnation = document["owner"]
        base_index, base_term = document["base"]
        head = Head(
            (cluster, owner, natural(incarnation)),
            natural(document["segment"]),
            natural(document["chain"]),
            decode_hard_state(document["hard_state"]),
            natural(base_index),
            None if base_term is None else natural(base_term),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt(name, 0, f"checksum right, content wrong: {error}") from None
    if head.number != number:
        raise Corrupt(name, 0, f"this is segment {head.number} under another's name")
    return head


def has_batches(image: bytes) -> bool:
    """Was more written to a segment than its head?"""
    return image.count(MAGIC) > 1


def encode_hard_state(hard_state: HardState) -> Json:
    """The form of a hard state on disk."""
    return [hard_state.term, hard_state.voted_for]


def decode_hard_state(value: Json) -> HardState:
    """A hard state from its form on disk."""
    if not isinstance(value, list) or len(value) != 2:
        raise Malformed("not a hard state")
    term, voted_for = natural(value[0]), value[1]
    if voted_for is not None and not isinstance(voted_for, str):
        raise Malformed("a vote for what is not a name")
    return HardState(term, voted_for)
