"""Sessions with our node: what makes an operation happen once, however often it is sent.

Rules of this file:
- A sequence names one operation for good; it is finished when nobody will send it again, and what
  comes before the first unfinished one is acknowledged (node/PROTOCOL.md, Sessions).
- All is thread-safe: the clients of a node share a session and have several sequences under way.
- A session that was lost is given up, never mended. Operations under way keep the one they began
  with, since in another session a repetition would be a new operation.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Session:
    """A session that the cluster knows by its number."""

    def __init__(self, identity: int) -> None:
        self._identity = identity
        self._lock = threading.Lock()
        self._next = 1
        # As many as threads that use it.
        self._under_way: set[int] = set()

    @contextmanager
    def sequence(self) -> Iterator[int]:
        """Give out a fresh sequence, which is finished at the end of the block."""
        with self._lock:
            sequence = self._next
            self._next += 1
            self._under_way.add(sequence)
        try:
            yield sequence
        finally:
            with self._lock:
                self._under_way.remove(sequence)

    def field(self, sequence: int) -> dict[str, int]:
        """Return what a request carries: the sequence, and what need not be remembered by now."""
        with self._lock:
            acknowledged = min(self._under_way, default=self._next) - 1
        return {"id": self._identity, "seq": sequence, "ack": acknowledged}


class SharedSession:
    """The place where clients find the session of their node: opened when first needed."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._lock = threading.Lock()  # guards `_session`, never held for long
        self._opening = threading.Lock()

    def current(self, opened: Callable[[float], int | None], until_s: float) -> Session | None:
        """Return the session, or one that is opened now; `None` if that fails.

        `opened(timeout_s)` asks for the number of a new session, once. One client asks and the
        others wait for it, until `until_s` on the monotonic clock.
        """
        if (session := self._session) is not None:
            return session
        if not self._opening.acquire(timeout=max(0, until_s - time.monotonic())):
            return None
        try:
            left_s = until_s - time.monotonic()
            if self._session is None and left_s > 0 and (identity := opened(left_s)) is not None:
                with self._lock:
                    self._session = Session(identity)
            return self._session
        finally:
            self._opening.release()

    def give_up(self, lost: Session) -> None:
        """Use this session no more; a newer one stays."""
        with self._lock:
            if self._session is lost:
                self._session = None
