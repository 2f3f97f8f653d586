"""All that a node keeps: a snapshot, and the log behind it.

Rules of this file:
- The state of a node is its newest snapshot followed by the entries behind it. A snapshot is durable
  before the log that it replaces goes.
- A crash between an installed snapshot and the base that follows it in the log is healed here, by
  the rule that the installation would have applied: entries behind the snapshot stay if the log
  has its (index, term), otherwise the whole log goes (Raft section 7, figure 13, steps 6 and 7).
- Runs on the thread of the group commit, except where it says otherwise.
"""

from dataclasses import dataclass, field

from node.core.messages import Entry, HardState
from node.storage import snapshots
from node.storage.errors import Corrupt
from node.storage.files import Directory
from node.storage.identity import Identity
from node.storage.replay import Batch, Replay
from node.storage.segments import SEGMENT_BYTES, segment_name
from node.storage.snapshots import SnapshotMeta, SnapshotReader
from node.storage.wal import Wal


@dataclass(slots=True)
class Recovered:
    """What a node finds when it starts: the log begins after (base_index, base_term)."""

    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    base_index: int = 0
    base_term: int = 0
    snapshot: SnapshotMeta | None = None
    image: bytes | None = None
    torn_bytes: int = 0


class Store:
    """The open storage of a node."""

    def __init__(
        self, directory: Directory, wal: Wal, recovered: Recovered, reader: SnapshotReader | None
    ) -> None:
        """Use `opened`."""
        self._directory = directory
        self._wal = wal
        self._reader = reader
        self.recovered = recovered
        """Give it up with `release_recovered` when it has been read: it can be large."""

    @classmethod
    def opened(
        cls, directory: Directory, identity: Identity, segment_bytes: int = SEGMENT_BYTES
    ) -> "Store":
        """Open and recover; raises `Corrupt`, `WrongOwner` or `OSError`."""
        directory.remove_asides()
        found = snapshots.latest(directory)
        meta, reader = found if found is not None else (None, None)
        wal = Wal(directory, identity.owner, segment_bytes=segment_bytes)
        replay, wal.replay = wal.replay, None
        assert replay is not None
        recovered = Recovered(replay.hard_state, torn_bytes=wal.torn_bytes)
        if meta is None or reader is None:
            if replay.base_index > 0:
                raise Corrupt(
                    segment_name(wal.segments[0]),
                    0,
                    f"the log begins behind index {replay.base_index}, and there is no snapshot",
                )
            recovered.entries = replay.entries
        else:
            _join(wal, replay, meta, recovered)
            recovered.snapshot = meta
            recovered.image = reader.image()
        return cls(directory, wal, recovered, reader)

    def release_recovered(self) -> None:
        """Forget what was recovered."""
        self.recovered = Recovered()

    @property
    def snapshot(self) -> SnapshotReader | None:
        """The newest snapshot, to be read on any thread; it stays readable after the next one."""
        return self._reader

    @property
    def segments(self) -> tuple[int, ...]:
        """The numbers of the segments of the log."""
        return self._wal.segments

    def append(self, batch: Batch) -> None:
        """Write a batch; durable after `sync`. `Malformed` if it does not continue the log."""
        self._wal.append(batch)

    def sync(self) -> None:
        """Return when all that was appended is durable."""
        self._wal.sync()

    def save_snapshot(self, meta: SnapshotMeta, image: bytes) -> SnapshotMeta:
        """Make a snapshot durable, in the place of older ones; size and checksum are filled in."""
        self._refuse_older(meta)
        meta = self.write_snapshot_aside(meta, image)
        self.put_snapshot_in_place(meta)
        return meta

    def write_snapshot_aside(self, meta: SnapshotMeta, image: bytes) -> SnapshotMeta:
        """The first, long half of `save_snapshot`. Any thread may do it, one at a time."""
        return snapshots.write_aside(self._directory, meta, image)

    def put_snapshot_in_place(self, meta: SnapshotMeta) -> None:
        """The second, quick half of `save_snapshot`. What was appended before is durable then too."""
        self._refuse_older(meta)
        if not self._wal.is_synced:
            self._wal.sync()
        snapshots.put_in_place(self._directory, meta)
        self._reader = snapshots.reopened(self._directory, meta)

    def compact(self, index: int) -> int:
        """Remove segments of the log that a snapshot has made superfluous; how many went.

        Those all of whose entries are up to `index`; the newest stays.
        """
        covered = self._reader.meta.index if self._reader is not None else 0
        if index > covered:
            raise ValueError(f"cannot compact up to {index}: the snapshot ends at {covered}")
        return self._wal.compact(index)

    def close(self) -> None:
        """Give the files back. Syncs nothing."""
        self._wal.close()

    def _refuse_older(self, meta: SnapshotMeta) -> None:
        if self._reader is not None and meta.index < self._reader.meta.index:
            raise ValueError(
                f"a snapshot of index {meta.index} behind that of {self._reader.meta.index}"
            )


def _join(wal: Wal, replay: Replay, meta: SnapshotMeta, recovered: Recovered) -> None:
    """Put the log behind the snapshot."""
    recovered.base_index, recovered.base_term = meta.index, meta.term
    covered = meta.index - replay.base_index
    if covered < 0:
        raise Corrupt(
            segment_name(wal.segments[0]),
            0,
            f"the log begins behind index {replay.base_index}, the snapshot ends at {meta.index}",
        )
    if covered == 0:
        agrees = replay.base_term in (None, meta.term)
    else:
        agrees = covered <= len(replay.entries) and replay.entries[covered - 1].term == meta.term
    if agrees:
        del replay.entries[:covered]
        recovered.entries = replay.entries
        return
    # The next entry follows the snapshot, not what the log ends with. Durable with the next sync;
    # until then every start does it again.
    wal.append(Batch(base=(meta.index, meta.term)))
