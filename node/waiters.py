"""Who waits for what: the operations in flight at one node.

Rules of this file:
- Every operation gets exactly one answer: from its log entry, from its read, from the node it was
  forwarded to, or at its deadline.
- A write waits for the entry with its index AND its term. Another term applied at that index
  means that it never will commit; losing leadership means nothing (its entry may yet commit).
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from node.operations import Answer, Operation

Reply = Callable[[Answer], None]


@dataclass(slots=True, eq=False)
class Waiter:
    """One operation in flight."""

    operation: Operation
    reply: Reply
    deadline_ns: int
    number: int
    forwarded_to: str = ""
    by_lease: bool = False
    done: bool = False

    def answer(self, answer: Answer) -> None:
        """Answer once; what comes later is dropped."""
        if not self.done:
            self.done = True
            self.reply(answer)


@dataclass(slots=True)
class Waiters:
    """The operations in flight, by what they wait for."""

    open: deque[Waiter] = field(default_factory=deque)
    by_number: dict[int, Waiter] = field(default_factory=dict)
    _by_index: dict[int, list[tuple[int, Waiter]]] = field(default_factory=dict)
    _reads: list[tuple[int, int, int, Waiter]] = field(default_factory=list)
    _reads_seen: int = 0

    def entry(self, index: int, term: int, waiter: Waiter) -> None:
        """Wait for the entry of that index and term."""
        self._by_index.setdefault(index, []).append((term, waiter))

    def applied(self, index: int, term: int) -> tuple[list[Waiter], list[Waiter]]:
        """Who waited for this entry, and who for another one in its place."""
        right: list[Waiter] = []
        wrong: list[Waiter] = []
        for waiter_term, waiter in self._by_index.pop(index, ()):
            (right if waiter_term == term else wrong).append(waiter)
        return right, wrong

    def read(self, index: int, term: int, waiter: Waiter) -> None:
        """Wait until `index` has been applied."""
        self._reads_seen += 1
        heapq.heappush(self._reads, (index, self._reads_seen, term, waiter))

    def readable(self, applied_index: int) -> Iterator[tuple[int, int, Waiter]]:
        """The reads that may be answered now: read index, term, who."""
        while self._reads and self._reads[0][0] <= applied_index:
            index, _, term, waiter = heapq.heappop(self._reads)
            yield index, term, waiter

    def expired(self, now_ns: int) -> Iterator[Waiter]:
        """Those whose time is up. All have the same time, so the oldest comes first."""
        while self.open and (self.open[0].done or self.open[0].deadline_ns <= now_ns):
            waiter = self.open.popleft()
            if not waiter.done:
                yield waiter
