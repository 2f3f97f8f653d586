"""When things fall due: a deadline for each of some names.

Rules of this file:
- Time is given; nothing falls due by itself.
- The heap may hold deadlines that were moved or called off since. They are dropped when they come
  up, and all of them when they are more than the valid ones: memory follows what is there.
"""

import heapq
from collections.abc import Iterable
from typing import Generic, TypeVar

Name = TypeVar("Name", str, int)

SPARE = 64


class Deadlines(Generic[Name]):
    """Names and the time that each is due."""

    __slots__ = ("_heap", "by_name")

    def __init__(self, pairs: Iterable[tuple[Name, int]] = ()) -> None:
        self.by_name: dict[Name, int] = dict(pairs)
        self._heap: list[tuple[int, Name]] = []
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(due_ms, name) for name, due_ms in self.by_name.items()]
        heapq.heapify(self._heap)

    def set(self, name: Name, due_ms: int) -> None:
        """From now on `name` is due then."""
        if self.by_name.get(name) == due_ms:
            return  # it has its place in the heap
        self.by_name[name] = due_ms
        if len(self._heap) > 2 * len(self.by_name) + SPARE:
            self._rebuild()
        else:
            heapq.heappush(self._heap, (due_ms, name))

    def drop(self, name: Name) -> None:
        """It is no longer due at all."""
        self.by_name.pop(name, None)

    def earliest(self) -> int | None:
        """When the first one is due."""
        heap = self._heap
        while heap and self.by_name.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now_ms: int) -> list[tuple[int, Name]]:
        """Those whose time has come, and when that was; they are no longer kept here."""
        due: list[tuple[int, Name]] = []
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            due_ms, name = heapq.heappop(heap)
            if self.by_name.get(name) == due_ms:
                del self.by_name[name]
                due.append((due_ms, name))
        return due
