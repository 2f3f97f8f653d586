"""Snapshots: when one is taken, and how one gets to a follower that is too far behind.

Rules of this file:
- The log is cut only behind a snapshot that is durable, and some entries before it are kept for
  followers that are a little late.
- A snapshot that is being sent is sent to its end, though newer ones come: its reader stays open,
  and the entries behind it stay in the log.
- What arrives is checked as a whole, made a state, and made durable, before the core hears of it.
  From then on no older one is taken: the core is offered it until it has it, or has more.
- Nothing here waits; the disk calls back.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Protocol

from node.core.messages import SnapshotChunk
from node.core.progress import Flow
from node.core.raft import Raft
from node.core.ready import ChunkWanted
from node.state_machine import StateMachine
from node.storage.snapshots import Damaged, SnapshotMeta, SnapshotReader, SnapshotReceiver

CHUNK_BYTES = 128 * 1024
IMAGE_BYTES_MAX = 4 << 30


class SnapshotDisk(Protocol):
    """Keeps snapshots; what takes long happens elsewhere, and `done` is called later."""

    def save(
        self, meta: SnapshotMeta, image: Callable[[], bytes], done: Callable[[], None]
    ) -> None:
        """Make a snapshot durable; size and checksum of `meta` are found out from the image."""
        ...

    def adopt(
        self, meta: SnapshotMeta, image: bytes, done: Callable[[StateMachine | None], None]
    ) -> None:
        """Make a snapshot of somebody else a state and durable; `None` if it is none."""
        ...

    def compact(self, index: int) -> None:
        """Entries up to `index` are in a durable snapshot: their files may go."""
        ...

    def snapshot(self) -> SnapshotReader | None:
        """The newest durable snapshot."""
        ...


class Snapshots:
    """The snapshots of one replica."""

    def __init__(
        self,
        *,
        core: Raft,
        disk: SnapshotDisk,
        entries_max: int,
        state: Callable[[], StateMachine],
        install: Callable[[SnapshotChunk, StateMachine], bool],
        event: Callable[[str], None],
        chunk_bytes: int = CHUNK_BYTES,
        image_bytes_max: int = IMAGE_BYTES_MAX,
    ) -> None:
        """One is taken every `entries_max` entries; 0: never."""
        self.index = core.log.base_index
        self.taken = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self._core = core
        self._disk = disk
        self._entries_max = entries_max
        self._state = state
        self._install = install
        self._event = event
        self._chunk_bytes = chunk_bytes
        self._saving = False
        self._adopting = False
        self._adopted: tuple[SnapshotChunk, StateMachine] | None = None  # durable, not installed
        self._readers: dict[str, SnapshotReader] = {}
        self._receiver = SnapshotReceiver(image_bytes_max)

    # Taking.

    def consider(self) -> None:
        """Take one if it is time; offer the one that the core has not taken yet."""
        self._let_go()
        self._offer()
        due = self._state().applied_index - self.index >= self._entries_max > 0
        if due and not self._saving and not self._adopting:
            self.take(lambda index: None)

    def take(self, done: Callable[[int], None], *, keeps: bool = True) -> bool:
        """Take a snapshot of the state now. False if one is being taken, or nothing is applied.

        Without `keeps` the log keeps nothing for late followers.
        """
        state = self._state()
        index = state.applied_index
        if self._saving or self._adopting or index < self._core.log.base_index or index == 0:
            return False
        newest = self._disk.snapshot()
        if newest is not None and newest.meta.index > index:
            return False  # one that was adopted, and that the core did not take
        self._saving = True
        configuration = self._core.log.configuration_at(index).to_text()
        meta = SnapshotMeta(index, state.applied_term, configuration, 0, 0)

        def saved() -> None:
            self._saving = False
            self.taken += 1
            self.index = max(self.index, index)
            self._cut(index, self._entries_max if keeps else 0)
            done(index)

        self._disk.save(meta, state.image(), saved)
        return True

    def _cut(self, index: int, kept: int) -> None:
        """Shorten the log, but for what late followers may ask for."""
        pinned = [reader.meta.index for reader in self._readers.values()]
        self._core.compact(min([index - kept, *pinned]))
        self._disk.compact(index)
        self._event(f"snapshot at {index}, log from {self._core.log.first_index}")

    # Sending.

    def send(self, wanted: ChunkWanted) -> None:
        """Send the next part of the snapshot that a follower began with, or of the newest."""
        reader = self._readers.get(wanted.member)
        offset = wanted.offset
        if reader is None or reader.meta.index != wanted.index:
            reader, offset = self._disk.snapshot(), 0
            if reader is None:
                return
            self._readers[wanted.member] = reader
        meta = reader.meta
        data = reader.read(offset, self._chunk_bytes)
        self.sent_bytes += len(data)
        core = self._core
        core.chunk(
            SnapshotChunk(
                core.name, wanted.member, core.term, meta.index, meta.term, meta.configuration,
                meta.size, meta.checksum, offset, base64.b64encode(data).decode("ascii"),
            )
        )  # fmt: skip

    def _let_go(self) -> None:
        """Forget what nobody is sent any more. A reader is shared; its file closes with the last."""
        leadership = self._core.leadership
        for member in list(self._readers):
            follower = leadership and leadership.followers.get(member)
            if not follower or follower.flow is not Flow.SNAPSHOT:
                del self._readers[member]

    # Receiving.

    def receive(self, chunk: SnapshotChunk) -> None:
        """Keep a part of a snapshot; with the last one it is installed."""
        self._offer()
        if self._adopting or self._saving or self._adopted is not None:
            return  # the leader sends it again
        meta = SnapshotMeta(
            chunk.index, chunk.snapshot_term, chunk.configuration, chunk.size, chunk.checksum
        )
        try:
            data = base64.b64decode(chunk.data, validate=True)
            self._receiver.begin(meta)
            wanted = self._receiver.feed(meta.key, chunk.offset, data)
            self.received_bytes += len(data)
            if not self._receiver.is_complete():
                self._core.chunk_received(chunk, wanted or 0)
                return
            meta, image = self._receiver.complete()
        except (Damaged, binascii.Error) as error:
            self._receiver.abandon()
            self._event(f"snapshot at {chunk.index} arrived damaged: {error}")
            self._core.chunk_received(chunk, 0)
            return
        self._adopting = True

        def adopted(state: StateMachine | None) -> None:
            self._adopting = False
            if state is None or state.applied_index != chunk.index:
                self._event(f"snapshot at {chunk.index} is none of this store")
                return
            self._adopted = chunk, state
            self._offer()

        self._disk.adopt(meta, image, adopted)

    def _offer(self) -> None:
        """Give the core the snapshot that is durable here; forget it when it is of no use any more."""
        if self._adopted is not None:
            chunk, state = self._adopted
            if self._install(chunk, state) or chunk.index <= self._core.commit_index:
                self._adopted = None

    def installed(self, index: int) -> None:
        """The core took the snapshot at `index`."""
        self.index = max(self.index, index)
        self._event(f"installed snapshot at {index}")
