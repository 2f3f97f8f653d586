"""Counters: bounds that every read must keep.

Rules of this file:
- Refutes only: a read outside its bounds is impossible, one within them proves nothing.
- A read must lie between what certainly was added before it and what may have been; so must the
  difference of two reads, of which one returned before the other was invoked, with what was
  added between them.
- O(n log n), and for each read the adds that began since the read it is compared with returned.
- Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from checker.calls import Call, Calls
from checker.containers.outcome import Contradiction, Decision, edge, refuted


def decide_counter(calls: Calls, initial: int) -> Decision | None:
    """Refute a counter that begins as `initial`, or say nothing."""
    adds = [call for call in calls if call.action[0] == "add" and _number(call)]
    reads = [call for call in calls if call.action[0] == "read" and not call.optional]
    reads.sort(key=lambda read: read.start)
    bounds = _Bounds(adds)
    returned = sorted(reads, key=lambda read: read.end or 0)
    place = 0
    latest: Call | None = None  # of the reads that returned so far the one invoked last
    for read in reads:
        while place < len(returned) and (returned[place].end or 0) < read.start:
            if latest is None or returned[place].start > latest.start:
                latest = returned[place]
            place += 1
        wrong = _outside(_number(read) - initial, bounds.before(read))
        if wrong is None and latest is not None:
            wrong = _outside(_number(read) - _number(latest), bounds.between(latest, read))
        elif wrong is not None:
            latest = None
        if wrong is not None:
            edges = edge(latest or read, read, wrong)
            observers = (read,) if latest is None else (latest, read)
            found = Contradiction(elements=frozenset(), observers=observers, edges=edges)
            # There are no elements: the proof has all adds that began in time.
            return refuted(calls, found, starts_empty=False)
    return None


def _outside(rise: int, bounds: tuple[int, int]) -> str | None:
    least, most = bounds
    if least <= rise <= most:
        return None
    return f"it rose by {rise}, but no less than {least} and no more than {most} was added"


class _Bounds:
    """What may have been added between two reads."""

    def __init__(self, adds: Sequence[Call]) -> None:
        self._by_start = sorted(adds, key=lambda add: add.start)
        self._starts = [add.start for add in self._by_start]
        self._by_end = sorted(
            (add for add in adds if add.end is not None), key=lambda add: add.end or 0
        )
        self._ends = [add.end or 0 for add in self._by_end]
        # Sums of the first n: of the positive and of the negative adds.
        self._started = _sums(self._by_start)
        self._ended = _sums(self._by_end)

    def before(self, read: Call) -> tuple[int, int]:
        """Return the least and the most that can be added before a read."""
        assert read.end is not None
        started, ended = bisect_left(self._starts, read.end), bisect_left(self._ends, read.start)
        return (
            self._started[1][started] + self._ended[0][ended],
            self._started[0][started] + self._ended[1][ended],
        )

    def between(self, first: Call, second: Call) -> tuple[int, int]:
        """Return the least and the most that can be added between two reads, one after the other.

        May be: what began before `second` returned and did not return before `first` began.
        Certainly: what began after `first` returned and returned before `second` began.
        """
        assert first.end is not None
        assert second.end is not None
        started, ended = bisect_left(self._starts, second.end), bisect_left(self._ends, first.start)
        least = self._started[1][started] - self._ended[1][ended]
        most = self._started[0][started] - self._ended[0][ended]
        begin = bisect_right(self._starts, first.end)
        for add in self._by_start[begin : bisect_left(self._starts, second.start)]:
            if add.end is not None and add.end < second.start:
                least += max(_number(add), 0)
                most += min(_number(add), 0)
        return least, most


def _sums(adds: Sequence[Call]) -> tuple[list[int], list[int]]:
    numbers = [_number(add) for add in adds]
    return (
        list(accumulate((max(number, 0) for number in numbers), initial=0)),
        list(accumulate((min(number, 0) for number in numbers), initial=0)),
    )


def _number(call: Call) -> int:
    number = call.action[1]
    assert isinstance(number, int)
    return number
