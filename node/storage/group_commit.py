"""One thread that makes batches durable, as many with one fsync as have gathered.

Rules of this file:
- Order is kept: batches and tasks are carried out and reported in the order they were submitted,
  and what was submitted before a task is durable when it begins.
- While one fsync runs, what arrives waits for the next: the slower the disk, the larger the group.
  The queue is bounded by what a replica has in flight.
- When the disk refuses, `fatal` is called on this thread and must not return: an fsync that failed
  once cannot be repeated, and nobody may be told of success (PostgreSQL's "fsyncgate", 2018).
"""

import threading
from collections.abc import Callable
from typing import NoReturn, Protocol

from node.storage.wal import Batch

Done = Callable[[], None]
Task = Callable[[], object]


class Log(Protocol):
    """What is written to: a `Store`."""

    def append(self, batch: Batch) -> None:
        """Write a batch."""
        ...

    def sync(self) -> None:
        """Return when all that was appended is durable."""
        ...


class GroupCommit:
    """The disk of a replica. `deliver` carries completions back to the replica's thread."""

    def __init__(
        self,
        log: Log,
        *,
        deliver: Callable[[Callable[[], None]], object],
        fatal: Callable[[BaseException], NoReturn],
    ) -> None:
        self._log = log
        self._deliver = deliver
        self._fatal = fatal
        self._queue: list[tuple[Batch | Task, Done]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch, done: Done) -> None:
        """Make a batch durable, then have `done` called."""
        self._put(batch, done)

    def run(self, task: Task, done: Done) -> None:
        """Carry out a task (save a snapshot, compact) in its turn, then have `done` called."""
        self._put(task, done)

    def close(self, timeout_s: float) -> bool:
        """Finish what was submitted. False if the disk did not in time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, work: Batch | Task, done: Done) -> None:
        with self._changed:
            self._queue.append((work, done))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                queue, self._queue = self._queue, []
            if not queue:
                return
            try:
                self._carry_out(queue)
            except BaseException as error:  # noqa: BLE001  (a thread must not end unheard)
                self._fatal(error)

    def _carry_out(self, queue: list[tuple[Batch | Task, Done]]) -> None:
        """Batches are reported together up to each task, so that they do not wait for it."""
        group: list[Done] = []
        written = False
        for work, done in queue:
            if isinstance(work, Batch):
                if not work.is_empty():
                    self._log.append(work)
                    written = True
            else:
                self._report(group, written=written)
                group, written = [], False
                work()
            group.append(done)
        self._report(group, written=written)

    def _report(self, group: list[Done], *, written: bool) -> None:
        if written:
            self._log.sync()
        if group:
            self._deliver(lambda: _call(group))


def _call(group: list[Done]) -> None:
    for done in group:
        done()
