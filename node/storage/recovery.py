"""Reads the log back, and leaves its files such that they can be written on.

Rules of this file:
- What is cut off or removed here was never acknowledged; where that is not certain, `Corrupt`.
- Every change is durable before the log is written to again. Damage in the newest segment past the
  durable position is a torn tail: it is cut off physically, since what is written behind it would
  never be found again.
- A process that was killed leaves in the page cache what is not on the disk: all that the log
  relies on from here on is synced again.
"""

from dataclasses import dataclass

from node.core.messages import Malformed
from node.storage.errors import Corrupt, WrongOwner
from node.storage.files import AppendFile, Directory
from node.storage.frames import BATCH, SEAL, Frame, durable_beyond, whole_frames
from node.storage.replay import Replay
from node.storage.segments import (
    Head,
    Owner,
    decode_head,
    has_batches,
    segment_name,
    segment_numbers,
)


@dataclass(slots=True)
class Segment:
    """One file of the log, and the last index before it."""

    number: int
    base_index: int


@dataclass(slots=True)
class LogFiles:
    """The log, and its newest segment, open at the end."""

    replay: Replay
    segments: list[Segment]
    file: AppendFile
    size: int
    checksum: int
    torn_bytes: int


def recover(directory: Directory, owner: Owner) -> LogFiles:
    """Read all segments; raises `Corrupt`, `WrongOwner` or `OSError`."""
    numbers = segment_numbers(directory)
    unfinished = _unfinished(directory, numbers)
    if unfinished is not None:
        numbers.pop()
    reader = _Reader(owner, numbers)
    for number in numbers:
        reader.segment(number, directory.read(segment_name(number)))
    assert reader.replay is not None
    if unfinished is not None:
        directory.remove(segment_name(unfinished))
    for number in numbers[-2:-1]:  # its seal may be in the page cache only
        sealed = directory.open_append(segment_name(number))
        sealed.sync()
        sealed.close()
    file = directory.open_append(segment_name(numbers[-1]))
    if reader.torn_bytes:
        file.truncate(reader.size)
    file.sync()
    directory.sync()
    return LogFiles(
        reader.replay, reader.segments, file, reader.size, reader.checksum, reader.torn_bytes
    )


def _unfinished(directory: Directory, numbers: list[int]) -> int | None:
    """The newest segment, if the one before it was not sealed yet when everything stopped."""
    if len(numbers) < 2 or has_batches(directory.read(segment_name(numbers[-1]))):
        return None
    last = None
    for last in whole_frames(directory.read(segment_name(numbers[-2]))):  # noqa: B007
        pass
    return None if last is not None and last.kind == SEAL else numbers[-1]


class _Reader:
    """Takes in one segment after the other."""

    def __init__(self, owner: Owner, numbers: list[int]) -> None:
        self._owner = owner
        self._newest = numbers[-1]
        self._chain: int | None = None
        self.replay: Replay | None = None
        self.segments: list[Segment] = []
        self.size = self.checksum = self.torn_bytes = 0

    def segment(self, number: int, image: bytes) -> None:
        """Read one segment, to its seal or, in the newest, to its last whole frame."""
        name = segment_name(number)
        frames = whole_frames(image)
        first = next(frames, None)
        if first is None:
            # A head is durable before anything relies on the segment.
            raise Corrupt(name, 0, "the head of the segment is damaged")
        replay = self._begin(decode_head(first, number), name)
        self.segments.append(Segment(number, replay.last_index))
        last, sealed = first, False
        for frame in frames:
            sealed = frame.kind == SEAL
            if sealed:
                self._chain, last = last.checksum, frame
                break
            _take(replay, frame, name)
            last = frame
        self.size, self.checksum = last.end, last.checksum
        self._judge_end(number, image, sealed=sealed)

    def _begin(self, head: Head, name: str) -> Replay:
        if head.owner != self._owner:
            raise WrongOwner(f"{name}: the log belongs to {head.owner}, not to {self._owner}")
        if self.replay is None:
            self.replay = Replay(head)
        elif head.chain != self._chain:
            raise Corrupt(name, 0, "does not continue the segment before it")
        return self.replay

    def _judge_end(self, number: int, image: bytes, *, sealed: bool) -> None:
        """Is what is behind the last whole frame nothing, a torn tail, or damage?"""
        name, end = segment_name(number), self.size
        if sealed:
            if end < len(image):
                raise Corrupt(name, end, "something behind the seal")
            if number == self._newest:
                raise Corrupt(segment_name(number + 1), 0, f"missing, but {name} is sealed")
            return
        if number != self._newest:
            raise Corrupt(name, end, f"no whole frame, but {segment_name(number + 1)} exists")
        durable = durable_beyond(image, end)
        if durable is not None:
            raise Corrupt(name, end, f"had been durable up to offset {durable}")
        self.torn_bytes = len(image) - end


def _take(replay: Replay, frame: Frame, name: str) -> None:
    try:
        if frame.kind != BATCH:
            raise Malformed(f"a frame of kind {frame.kind}")
        replay.batch(frame.document())
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt(name, frame.offset, f"checksum right, content wrong: {error}") from None
