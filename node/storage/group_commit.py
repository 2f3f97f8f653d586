"""One thread that makes batches durable, as many with one fsync as have gathered.

Rules of this file:
- Order is kept: batches are written and reported in the order they were submitted.
- While one fsync runs, what arrives waits for the next: the slower the disk, the larger the group.
- When the disk refuses, `fatal` is called on this thread and must not return: an fsync that failed
  once cannot be repeated, and nobody may be told of success (PostgreSQL's "fsyncgate", 2018).
"""

import threading
from collections.abc import Callable
from typing import NoReturn

from node.storage.wal import Batch, Wal


class GroupCommit:
    """The disk of a replica. `deliver` carries completions back to the replica's thread."""

    def __init__(
        self,
        wal: Wal,
        *,
        deliver: Callable[[Callable[[], None]], object],
        fatal: Callable[[BaseException], NoReturn],
    ) -> None:
        self._wal = wal
        self._deliver = deliver
        self._fatal = fatal
        self._queue: list[tuple[Batch, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch, done: Callable[[], None]) -> None:
        """Make a batch durable, then have `done` called."""
        with self._changed:
            self._queue.append((batch, done))
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Finish what was submitted. False if the disk did not in time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                group, self._queue = self._queue, []
            if not group:
                return
            try:
                self._commit([batch for batch, _ in group if not batch.is_empty()])
            except BaseException as error:  # noqa: BLE001  (a thread must not end unheard)
                self._fatal(error)
            self._deliver(lambda group=group: _report(group))  # type: ignore[misc]

    def _commit(self, batches: list[Batch]) -> None:
        if batches:
            for batch in batches:
                self._wal.append(batch)
            self._wal.sync()


def _report(group: list[tuple[Batch, Callable[[], None]]]) -> None:
    for _, done in group:
        done()
