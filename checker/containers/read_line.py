"""Lining up the reads of a set.

Rules of this file:
- A `Member` is in the set from a point of [in_from, in_by] to one of [out_from, out_by]. A `Read`
  sees exactly the members that are in at its own point.
- Only points of reads are sought. A line of the reads gets the earliest points it can have, since
  whatever else asks for is a latest point (3.); so a line is all that must be searched for.
- Bounded: past the bound it gives up and says so.
- Pure.

What a line must keep, for a member v and the reads that see it (if any):
1. They stand together: v comes once and goes once.
2. Their points are from in_from to out_by.
3. A read before them has a point up to in_by (v comes after it), one after them a point from
   out_from on. Each is tightened by 2: v is in by the time its first reader must be done, and
   is not out before its last one can begin.
4. If nobody sees v, no read has a point between in_by and out_from.
These suffice: put v in after the last read before its readers, at in_by or as late as the
first reader lets it; take it out as soon as can be. What is done with different members commutes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from checker.calls import Call

# After how many reads put in line, again and again, to give up.
_NODES_LEAST = 2000
_NODES_PER_READ = 8


@dataclass(frozen=True, slots=True)
class Member:
    """When one value may come in and go out."""

    value: str
    in_from: int
    in_by: int
    out_from: int
    out_by: int


@dataclass(frozen=True, slots=True)
class Read:
    """One obligatory read, and what it saw."""

    call: Call
    elements: frozenset[str]


@dataclass(frozen=True, slots=True)
class Line:
    """The reads, each with its point; `None`: there is no such line, or it was `given_up`."""

    reads: list[tuple[int, Read]] | None
    given_up: bool = False


@dataclass(slots=True)
class _Level:
    """How far the line is: the point and the elements of its last read, and what may follow."""

    point: int
    elements: frozenset[str]
    chosen: int
    future: int
    low: int
    high: int
    candidates: list[tuple[int, int]]


def line_up(members: dict[str, Member], reads: Sequence[Read]) -> Line:
    """Line up the reads, all of whose elements are members."""
    return _Search(members, reads).run()


class _Search:
    def __init__(self, members: dict[str, Member], reads: Sequence[Read]) -> None:
        self.reads = reads
        # Each read's interval, cut by 2.
        come = {v: member.in_by for v, member in members.items()}
        self.out_from = {v: member.out_from for v, member in members.items()}
        in_from = {v: member.in_from for v, member in members.items()}
        out_by = {v: member.out_by for v, member in members.items()}
        self.lows = [max((r.call.start, *map(in_from.__getitem__, r.elements))) for r in reads]
        self.highs = [min((r.call.end or 0, *map(out_by.__getitem__, r.elements))) for r in reads]
        # Of each member: how many see it, and how many of those are in line.
        self.readers: Counter[str] = Counter()
        self.lined: Counter[str] = Counter()
        for read in reads:
            self.readers.update(read.elements)
        places = range(len(reads))
        self.by_low = sorted(places, key=lambda place: self.lows[place])
        self.by_high = sorted(places, key=lambda place: self.highs[place])
        for v, place in earliest(self.by_high, reads).items():
            come[v] = min(come[v], self.highs[place])
        for v, place in earliest(self.by_low[::-1], reads).items():
            self.out_from[v] = max(self.out_from[v], self.lows[place])
        self.coming = sorted((come[v], v) for v in self.readers)
        unseen = (member for v, member in members.items() if v not in self.readers)
        self.forbidden = _united(
            (member.in_by, member.out_from) for member in unseen if member.in_by < member.out_from
        )
        self.begins = [begin for begin, _ in self.forbidden]
        self.in_line = [False] * len(reads)
        # Of each set of reads in line, with the elements of the last one: the least point.
        self.known: dict[tuple[int, int, frozenset[str]], int] = {}
        self.bits = 0
        self.rank = [0] * len(reads)
        for rank, place in enumerate(self.by_low):
            self.rank[place] = rank

    def run(self) -> Line:
        """Depth first; each pass takes the next candidate of the last level, or goes back."""
        if any(low > high for low, high in zip(self.lows, self.highs, strict=True)):
            return Line(None)
        nodes_left = _NODES_LEAST + _NODES_PER_READ * len(self.reads)
        levels = [self._level(-1, frozenset(), -1, (0, 0, 0))]
        points: list[int] = []
        while levels:
            if len(points) == len(self.reads):
                chosen = [level.chosen for level in levels[1:]]
                return Line([(p, self.reads[n]) for p, n in zip(points, chosen, strict=True)])
            level = levels[-1]
            if not level.candidates:
                levels.pop()
                if levels:
                    points.pop()
                    self._put(level.chosen, back=True)
                continue
            point, place = level.candidates.pop()
            self._put(place)
            if self._is_known(point, place, level.low):
                self._put(place, back=True)
                continue
            nodes_left -= 1
            if nodes_left < 0:
                return Line(None, given_up=True)
            points.append(point)
            passed = level.future, level.low, level.high
            levels.append(self._level(point, self.reads[place].elements, place, passed))
        return Line(None)

    def _put(self, place: int, *, back: bool = False) -> None:
        """Put a read at the end of the line, or take it back."""
        self.in_line[place] = not back
        self.bits ^= 1 << self.rank[place]
        if back:
            self.lined.subtract(self.reads[place].elements)
        else:
            self.lined.update(self.reads[place].elements)

    def _is_known(self, point: int, place: int, low: int) -> bool:
        """Whether the same reads were in line before, the last one's elements and point as good."""
        while low < len(self.by_low) and self.in_line[self.by_low[low]]:
            low += 1
        key = (low, self.bits >> low, self.reads[place].elements)
        if self.known.get(key, point + 1) <= point:
            return True
        self.known[key] = point
        return False

    def _level(
        self, point: int, elements: frozenset[str], chosen: int, passed: tuple[int, int, int]
    ) -> _Level:
        """Return the end of the line as it is now, with what may follow; the best one is last."""
        future, low, high = passed
        while low < len(self.by_low) and self.in_line[self.by_low[low]]:
            low += 1
        while high < len(self.by_high) and self.in_line[self.by_high[high]]:
            high += 1
        while future < len(self.coming) and self._has_come(self.coming[future][1]):
            future += 1
        level = _Level(point, elements, chosen, future, low, high, [])
        if high == len(self.by_high):
            return level
        # Whoever follows leaves nobody behind whose last point is over.
        latest = self.highs[self.by_high[high]]
        alike: set[frozenset[str]] = set()
        for place in self.by_low[low:]:
            if self.lows[place] > latest:
                break
            # Of those that saw the same the one with the earliest point goes first: it can stand
            # before any other at no cost, for what comes after has a point no earlier.
            seen = self.reads[place].elements
            if self.in_line[place] or seen in alike:
                continue
            alike.add(seen)
            if seen == elements and self.lows[place] <= point:
                level.candidates = [(point, place)]  # it changes nothing, wherever it could go
                return level
            next_point = self._point(level, place)
            if next_point is not None and next_point <= latest:
                level.candidates.append((next_point, place))
        level.candidates.sort(key=lambda item: (item[0], self.highs[item[1]]), reverse=True)
        return level

    def _point(self, level: _Level, place: int) -> int | None:
        """Return the earliest point of a read that is next in line, `None` if it cannot be."""
        seen = self.reads[place].elements
        point = max(level.point, self.lows[place])
        for v in level.elements - seen:
            if self.lined[v] < self.readers[v]:
                return None  # 1.
            point = max(point, self.out_from[v])  # 3.
        zone = bisect_left(self.begins, point) - 1
        if zone >= 0:
            point = max(point, self.forbidden[zone][1])  # 4.
        if point > self.highs[place]:
            return None
        future = level.future
        while future < len(self.coming) and self.coming[future][0] < point:
            v = self.coming[future][1]
            if v not in seen and not self._has_come(v):
                return None  # 3.
            future += 1
        return point

    def _has_come(self, v: str) -> bool:
        return self.lined[v] > 0


def earliest(places: Iterable[int], reads: Sequence[Read]) -> dict[str, int]:
    """Return for each element the first of the places whose read sees it."""
    found: dict[str, int] = {}
    for place in places:
        found.update(dict.fromkeys(reads[place].elements.difference(found), place))
    return found


def _united(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the union of open intervals as intervals that do not overlap, in order."""
    united: list[tuple[int, int]] = []
    for begin, end in sorted(intervals):
        if united and begin < united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((begin, end))
    return united
