"""Where client threads put their answers and the scheduling thread waits for them.

Rules of this file:
- Anybody may put; one thread takes. A put never waits, and a wait ends in time, whatever happens.
- Not `queue.SimpleQueue`: its `get` with a timeout may wait for ever (CPython 3.11: an item that was
  taken without waiting leaves its lock open; a `get` passes it, finds nothing, and works out the
  time that is left, which is negative by then if the timeout was short: that means no timeout). A
  loop of `put`, `get_nowait`, `get(timeout=1e-6)` stands still after some hundred turns.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue of any length. The lock is open when somebody has put since the last wait."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._bell = threading.Lock()
        self._bell.acquire()

    def put(self, item: T) -> None:
        """Add an item and wake whoever waits."""
        self._items.append(item)
        with suppress(RuntimeError):  # it is open already: two have put at the same time
            self._bell.release()

    def empty(self) -> bool:
        """Whether nothing is there now."""
        return not self._items

    def take(self) -> T:
        """Return the oldest item. Raises `IndexError` if there is none."""
        return self._items.popleft()

    def wait(self, timeout_s: float) -> bool:
        """Wait until something is there, or for so long; return whether something is."""
        if not self._items:
            # It may be open for an item that was taken since: then this returns too soon, once.
            self._bell.acquire(timeout=max(0.0, timeout_s))
        return bool(self._items)
