"""The disk of a replica: batches on one thread, the long work of snapshots on another.

Rules of this file:
- A snapshot is made and written aside while the log goes on; only putting it in its place takes a
  turn of the thread that makes batches durable.
- One snapshot at a time; they take effect in the order in which they were begun.
- When the disk refuses, `fatal` is called and must not return.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NoReturn

from node.core.messages import Malformed
from node.state_machine import StateMachine
from node.storage.group_commit import GroupCommit
from node.storage.snapshots import SnapshotMeta, SnapshotReader
from node.storage.store import Store
from node.storage.wal import Batch

Job = Callable[[], None]


class StoreDisk:
    """A `Store` behind its threads. `deliver` carries completions to the replica's thread."""

    def __init__(
        self,
        store: Store,
        *,
        deliver: Callable[[Callable[[], None]], object],
        fatal: Callable[[BaseException], NoReturn],
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._fatal = fatal
        self._commit = GroupCommit(store, deliver=deliver, fatal=fatal)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch, done: Callable[[], None]) -> None:
        """Make a batch durable, then have `done` called."""
        self._commit.submit(batch, done)

    def save(
        self, meta: SnapshotMeta, image: Callable[[], bytes], done: Callable[[], None]
    ) -> None:
        """Make a snapshot durable, then have `done` called."""
        self._jobs.put(lambda: self._put(meta, image(), done))

    def adopt(
        self, meta: SnapshotMeta, image: bytes, done: Callable[[StateMachine | None], None]
    ) -> None:
        """Make a snapshot of somebody else a state and durable; `None` if it is none."""

        def job() -> None:
            try:
                state = StateMachine.from_image(image)
            except Malformed:
                self._deliver(lambda: done(None))
                return
            self._put(meta, image, lambda: done(state))

        self._jobs.put(job)

    def compact(self, index: int) -> None:
        """Let the files of entries up to `index` go."""
        self._commit.run(lambda: self._store.compact(index), lambda: None)

    def snapshot(self) -> SnapshotReader | None:
        """The newest durable snapshot, for all who ask; nobody closes it."""
        return self._store.snapshot

    def close(self, timeout_s: float) -> bool:
        """Finish what was submitted. False if the disk did not in time."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return self._commit.close(timeout_s)

    def _put(self, meta: SnapshotMeta, image: bytes, done: Callable[[], None]) -> None:
        whole = self._store.write_snapshot_aside(meta, image)
        placed = threading.Event()

        def place() -> None:
            try:
                self._store.put_snapshot_in_place(whole)
            finally:
                placed.set()

        self._commit.run(place, done)
        placed.wait()  # the next one is written aside only then

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001  (a thread must not end unheard)
                self._fatal(error)
