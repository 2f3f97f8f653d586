"""Virtual time: one heap of events, named streams of chance, and the trace of what happened.

Rules of this file:
- An event is (time, number, callback): equal times are in the order of their numbers, so nothing
  depends on what a heap does with equals.
- Each consumer of chance has a stream of its own, by name: a new one does not shift the others.
- The trace is text, and its digest covers all of it: two runs of one seed agree in every byte.
"""

import heapq
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from random import Random

MS = 1_000_000
"""Nanoseconds in a millisecond."""
LAST_LINES = 50
_BUFFERED = 500

Callback = Callable[[], object]


class Trace:
    """What happened, one line each; the last ones are kept, all of them are digested."""

    def __init__(self, sink: Callable[[str], object] | None = None) -> None:
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.lines = 0
        self._sink = sink
        self._buffer: list[str] = []
        self._digest = blake2b(digest_size=16)

    def add(self, line: str) -> None:
        """One more line."""
        buffer = self._buffer
        buffer.append(line)
        if self._sink is not None:
            self._sink(line)
        if len(buffer) >= _BUFFERED:
            self._flush()

    def digest(self) -> str:
        """Of all lines until now."""
        self._flush()
        return self._digest.hexdigest()

    def tail(self) -> list[str]:
        """The last lines."""
        self._flush()
        return list(self.last)

    def _flush(self) -> None:
        if self._buffer:
            self.lines += len(self._buffer)
            self.last.extend(self._buffer[-LAST_LINES:])
            self._digest.update(("\n".join(self._buffer) + "\n").encode())
            self._buffer.clear()


class World:
    """Time, chance and the trace of one simulation."""

    def __init__(self, seed: int, sink: Callable[[str], object] | None = None) -> None:
        self.seed = seed
        self.now_ns = 0
        self.events = 0
        self.trace = Trace(sink)
        self._heap: list[tuple[int, int, Callback]] = []
        self._number = 0

    def stream(self, name: str) -> Random:
        """The stream of chance of that name."""
        return Random(f"{self.seed}:{name}")

    def after(self, delay_ns: int, callback: Callback) -> None:
        """Let something happen in so many nanoseconds."""
        self._number += 1
        heapq.heappush(self._heap, (self.now_ns + delay_ns, self._number, callback))

    def note(self, text: str) -> None:
        """Write a line into the trace, in microseconds of virtual time."""
        self.trace.add(f"{self.now_ns // 1000} {text}")

    def run(self, duration_ns: int, until: Callable[[], bool] | None = None) -> None:
        """Let time pass; `until`, asked at every event, may end it early."""
        heap, pop = self._heap, heapq.heappop
        end_ns = self.now_ns + duration_ns
        events = 0
        while heap and heap[0][0] <= end_ns:
            self.now_ns, _, callback = pop(heap)
            events += 1
            callback()
            if until is not None and until():
                self.events += events
                return
        self.events += events
        self.now_ns = end_ns
