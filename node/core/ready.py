"""What the core asks of its driver.

Rules of this file: the order in which a driver does things is written here and nowhere else.
"""

from dataclasses import dataclass

from node.core.membership import Configuration
from node.core.messages import Entry, HardState, Message, SnapshotChunk
from node.core.reads import ReadGrant


@dataclass(frozen=True, slots=True)
class Install:
    """A snapshot that came from the leader takes the place of the state."""

    index: int
    term: int
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class ChunkWanted:
    """A follower needs the bytes of the newest snapshot from `offset` on.

    It began with the snapshot at `index`; 0: it has none of it yet.
    """

    member: str
    index: int
    offset: int


@dataclass(frozen=True, slots=True)
class Ready:
    """What the driver has to do now, in this order.

    1. If there is something to `install`: save that snapshot, and replace the state by it.
    2. Hand hard state, base, cut and entries to the disk, as one batch numbered `seq`. A `base`
       says that the log on disk begins anew behind that (index, term).
    3. Send `messages`; read and send the chunks of the snapshot that are wanted (`Raft.chunk`).
    4. Give `chunks` to the receiver of snapshots, and say what became of them
       (`Raft.chunk_received`, `Raft.install`).
    5. Apply up to `commit_to`, then answer reads.
    6. When the batch and all before it are durable: call `persisted(seq)`, send
       `messages_after_persist`.
    """

    seq: int
    install: Install | None
    hard_state: HardState | None
    base: tuple[int, int] | None
    truncate_from: int | None
    entries: tuple[Entry, ...]
    messages: tuple[Message, ...]
    messages_after_persist: tuple[Message, ...]
    chunks_wanted: tuple[ChunkWanted, ...]
    chunks: tuple[SnapshotChunk, ...]
    commit_to: int
    reads_ready: tuple[ReadGrant, ...]
    reads_aborted: tuple[int, ...]

    @property
    def changes_disk(self) -> bool:
        """Is there anything to write?"""
        return (
            bool(self.entries)
            or self.hard_state is not None
            or self.truncate_from is not None
            or self.base is not None
        )
