"""The write-ahead log: hard state, cuts and entries in one ordered stream, in segments.

Rules of this file:
- One batch is one frame with one checksum: it is there as a whole or not at all, and the term that
  entries came in is never behind them.
- Nothing is acknowledged before `sync` returns. Frames carry how far that was known to be.
- A segment goes away only from the front, one at a time and durably, so that what a crash leaves
  has no gaps.
- May run on a thread of its own, but on one only. After an `OSError` it must not be used again.
"""

from node.core.messages import HardState
from node.storage.files import AppendFile, Directory
from node.storage.frames import BATCH, SEAL, encode_frame
from node.storage.recovery import Segment, recover
from node.storage.replay import Batch, Replay
from node.storage.segments import SEGMENT_BYTES, Head, Owner, create_segment, segment_name

__all__ = ["Batch", "Wal"]


class Wal:
    """An open write-ahead log."""

    def __init__(
        self, directory: Directory, owner: Owner, *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open and recover; raises `Corrupt`, `WrongOwner` or `OSError`."""
        self._directory = directory
        self._owner = owner
        self._segment_bytes = segment_bytes
        files = recover(directory, owner)
        self._file: AppendFile = files.file
        self._size = files.size
        self._checksum = files.checksum
        self._segments = files.segments
        self._hard_state: HardState = files.replay.hard_state
        self._shape = files.replay.shape()
        self.torn_bytes = files.torn_bytes
        self.replay: Replay | None = files.replay
        """What was read; whoever has taken it sets this to None."""
        self.durable_offset = self._size

    @property
    def last_index(self) -> int:
        """Index of the last entry written, or of the base."""
        return self._shape.last_index

    @property
    def segments(self) -> tuple[int, ...]:
        """The numbers of the segments there are."""
        return tuple(segment.number for segment in self._segments)

    @property
    def is_synced(self) -> bool:
        """Is everything that was appended durable?"""
        return self.durable_offset == self._size

    def append(self, batch: Batch) -> None:
        """Write one batch; it is durable after the next `sync`.

        Raises `Malformed`, and writes nothing, if the batch does not continue the log.
        """
        if self._size >= self._segment_bytes:
            self._roll()
        self._shape.follow(batch)
        self._hard_state = batch.hard_state or self._hard_state
        self._write(BATCH, batch.document())

    def sync(self) -> None:
        """Return when all that was appended is durable."""
        size = self._size
        self._file.sync()
        self.durable_offset = size

    def compact(self, index: int) -> int:
        """Remove the oldest segments while the log up to their end is up to `index`; how many went.

        Call it only when a durable snapshot covers `index`. The newest segment stays.
        """
        removed = 0
        while len(self._segments) > 1 and self._segments[1].base_index <= index:
            self._directory.remove(segment_name(self._segments[0].number))
            self._directory.sync()
            del self._segments[0]
            removed += 1
        return removed

    def close(self) -> None:
        """Give the file back. Syncs nothing."""
        self._file.close()

    def _write(self, kind: int, document: object) -> None:
        frame, self._checksum = encode_frame(
            kind, document, durable_offset=self.durable_offset, checksum=self._checksum
        )
        self._file.append(frame)
        self._size += len(frame)

    def _roll(self) -> None:
        """Go on in a new segment. The seal says that all before it is durable: so it must be."""
        self.sync()
        number = self._segments[-1].number + 1
        shape = self._shape
        head = Head(
            self._owner, number, self._checksum, self._hard_state, shape.last_index, shape.last_term
        )
        file, size, checksum = create_segment(self._directory, head)
        self._write(SEAL, {"next": number})
        self._file.sync()
        self._file.close()
        self._file, self._size, self._checksum = file, size, checksum
        self.durable_offset = size
        self._segments.append(Segment(number, shape.last_index))
