"""The threads of a node's disk, in virtual time.

Rules of this file:
- What is written and in which order is the node's own code (`Store`, and how `GroupCommit` carries
  out a queue). Only the waiting is ours: a group takes as long as the simulated fsync.
- A crash between two steps of a group is ordered at the directory below (`SimDirectory.crash_at`).
- Snapshots are made later than they were asked for, as on the node's second thread: the image must
  not change meanwhile.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from harness.sim.world import Callback
from node.core.messages import Malformed
from node.state_machine import StateMachine
from node.storage.group_commit import Done, GroupCommit, Task
from node.storage.snapshots import SnapshotMeta, SnapshotReader
from node.storage.store import Store
from node.storage.wal import Batch

_HANDED_BACK_NS = 30_000


class DiskWatch(Protocol):
    """Told what a disk is given and what it has kept."""

    def handed(self, batch: Batch) -> None:
        """The replica gave a batch to the disk."""
        ...

    def written(self, batch: Batch) -> None:
        """It is written, and may be lost."""
        ...

    def synced(self) -> None:
        """All that was written is durable."""
        ...

    def snapshot_placed(self, meta: SnapshotMeta) -> None:
        """A snapshot is durable."""
        ...


class WatchedLog:
    """A `Store` as the group commit sees it."""

    def __init__(self, store: Store, watch: DiskWatch) -> None:
        self._store = store
        self._watch = watch

    def append(self, batch: Batch) -> None:
        """Write a batch."""
        self._store.append(batch)
        self._watch.written(batch)

    def sync(self) -> None:
        """Make it durable."""
        self._store.sync()
        self._watch.synced()


class SimDisk(GroupCommit):
    """What `StoreDisk` is to the real node."""

    def __init__(
        self,
        *,
        store: Store,
        watch: DiskWatch,
        state_of: Callable[[bytes], StateMachine],
        later: Callable[[int, Callback], None],
        latency_ns: Callable[[], int],
        aside_ns: Callable[[], int],
    ) -> None:
        """No thread: `later` runs things in the process of the node.

        `latency_ns`: how long an fsync takes; `aside_ns`: a snapshot, until it can be put in place.
        """
        self._log = WatchedLog(store, watch)
        self._store = store
        self._watch = watch
        self._state_of = state_of
        self._later = later
        self._latency_ns = latency_ns
        self._aside_ns = aside_ns
        self._deliver = lambda callback: later(_HANDED_BACK_NS, callback)  # in order, all the same
        self._queue: list[tuple[Batch | Task, Done]] = []
        self._busy = False
        self._jobs: deque[Callback] = deque()
        self._job_runs = False
        self.stalled = False
        self.adopts = 0
        """Snapshots of somebody else that are being made durable."""

    def submit(self, batch: Batch, done: Done) -> None:
        """Make a batch durable, then have `done` called."""
        self._watch.handed(batch)
        self._enqueue(batch, done)

    def run(self, task: Task, done: Done) -> None:
        """Carry out a task in its turn."""
        self._enqueue(task, done)

    def close(self, timeout_s: float) -> bool:
        """There is no thread to wait for."""
        return True

    def stall(self, *, stalled: bool) -> None:
        """Let the disk not answer, or answer again."""
        self.stalled = stalled
        self._kick()

    def save(self, meta: SnapshotMeta, image: Callable[[], bytes], done: Done) -> None:
        """Make a snapshot durable, then have `done` called."""
        self._job(lambda: self._place(meta, image(), done))

    def adopt(
        self, meta: SnapshotMeta, image: bytes, done: Callable[[StateMachine | None], None]
    ) -> None:
        """Make a snapshot of somebody else a state and durable; `None` if it is none."""

        def end(state: StateMachine | None) -> None:
            self.adopts -= 1
            done(state)

        def job() -> None:
            try:
                state = self._state_of(image)
            except Malformed:
                self._later(0, lambda: end(None))
                self._job_done()
                return
            self._place(meta, image, lambda: end(state))

        self.adopts += 1
        self._job(job)

    def compact(self, index: int) -> None:
        """Let the files of entries up to `index` go."""
        self.run(lambda: self._store.compact(index), lambda: None)

    def snapshot(self) -> SnapshotReader | None:
        """The newest durable snapshot."""
        return self._store.snapshot

    # The thread that makes batches durable.

    def _enqueue(self, work: Batch | Task, done: Done) -> None:
        self._queue.append((work, done))
        self._kick()

    def _kick(self) -> None:
        if self._queue and not self._busy and not self.stalled:
            self._busy = True
            self._later(self._latency_ns(), self._work)

    def _work(self) -> None:
        queue, self._queue = self._queue, []
        self._carry_out(queue)
        self._busy = False
        self._kick()

    # The thread that makes snapshots.

    def _job(self, job: Callback) -> None:
        self._jobs.append(job)
        self._next_job()

    def _next_job(self) -> None:
        if self._jobs and not self._job_runs:
            self._job_runs = True
            job = self._jobs.popleft()
            self._later(self._aside_ns(), job)

    def _job_done(self) -> None:
        self._job_runs = False
        self._next_job()

    def _place(self, meta: SnapshotMeta, image: bytes, done: Done) -> None:
        whole = self._store.write_snapshot_aside(meta, image)

        def place() -> None:
            self._store.put_snapshot_in_place(whole)
            self._watch.snapshot_placed(whole)
            self._job_done()

        self.run(place, done)
