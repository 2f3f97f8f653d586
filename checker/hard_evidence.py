"""What shows at a glance that a history of a register is not linearizable.

Rules of this file:
- Nothing here is ever said of a linearizable history, whatever a failed cas means: only
  acknowledged and crashed operations are looked at. Much that is not linearizable goes unseen.
- This is for labelling generated histories and shares no code with any checker, which would
  otherwise be judged by itself.
- Pure.
"""

from __future__ import annotations

from bisect import bisect_left

from checker.columns import FAIL, INFO, OK
from checker.hard_simulation import CAS, FOREVER, NIL, READ, Draft

_UNWRITTEN = -2  # earlier than the initial value, which is there from position -1


class Evidence:
    """Shows that an operation cannot have found a value: it was overwritten before, for good.

    Let `r` need the value v. Let every operation that can produce v either start after `r` ended
    or end before position t. Let the witness m, acknowledged, start after t, end before `r`
    starts, and have found or left another value than v. Then v was gone when m took effect and
    nobody brought it back before `r` ended. (Where values are unique this is a case of zones
    that overlap, Gibbons and Korach, SIAM J. Comput. 26(4) 1997; here several may write v.)
    """

    def __init__(self, draft: Draft, *, reads_witness: bool = True) -> None:
        self._draft = draft
        # For a value: starts of its producers, and for every prefix of them the latest end, whose
        # it is, and the latest end of the others.
        self._starts: dict[int, list[int]] = {}
        self._latest: dict[int, list[tuple[int, int, int]]] = {}
        witnesses: list[tuple[int, int, int]] = []
        for row, (f, kind) in enumerate(zip(draft.function, draft.type, strict=True)):
            if kind == FAIL or (f == READ and (kind == INFO or not reads_witness)):
                continue
            value = draft.answer[row] if f == READ else draft.leaves(row)
            if f != READ:
                self._starts.setdefault(value, []).append(draft.start[row])
                prefixes = self._latest.setdefault(value, [(_UNWRITTEN, -1, _UNWRITTEN)])
                end, (best, whose, second) = draft.end(row), prefixes[-1]
                later = (end, row, best) if end > best else (best, whose, max(second, end))
                prefixes.append(later)
            if kind == OK:
                witnesses.append((draft.completion[row], draft.start[row], value))
        witnesses.sort()
        # For every prefix by end: the latest start, its value, the latest start of another value.
        self._ends = [end for end, _, _ in witnesses]
        self._witness = [(-1, NIL, -1)]
        for _, start, value in witnesses:
            best, shown, other = self._witness[-1]
            if value == shown:
                self._witness.append((max(best, start), shown, other))
            elif start > best:
                self._witness.append((start, value, best))
            else:
                self._witness.append((best, shown, max(other, start)))

    def values(self) -> list[int]:
        """Return every value that may have been written, in order of first invocation."""
        return list(self._starts)

    def written_before(self, value: int, position: int) -> bool:
        """Was a write of the value invoked before this position, or was it there initially?"""
        return value == NIL or (value in self._starts and self._starts[value][0] < position)

    def last_production(self, value: int, before: int, *, without: int | None = None) -> int:
        """Return when it last may come about, looking at what is invoked before a position."""
        initially = -1 if value == NIL else _UNWRITTEN
        place = bisect_left(self._starts.get(value, ()), before)
        if place == 0:
            return initially
        best, whose, second = self._latest[value][place]
        return max(initially, second if whose == without else best)

    def last_witness(self, before: int, *, other_than: int) -> int:
        """Return the latest start of what ended before a position and shows another value."""
        start, shown, other = self._witness[bisect_left(self._ends, before)]
        return start if shown != other_than else other

    def refutes(self, row: int, value: int, *, without: int | None = None, after: int = -1) -> bool:
        """Show that this row cannot have found the value.

        With `without`, that it can only by this crashed producer's taking effect; with `after`,
        by its taking effect after that position.
        """
        last = self.last_production(value, self._draft.end(row), without=without)
        if last == _UNWRITTEN and after < 0:
            return True
        witness = self.last_witness(self._draft.start[row], other_than=value)
        return witness > max(last, after)

    def refutes_any(self) -> bool:
        """Show that some operation cannot have been told what it was told.

        Or that more cas took a value away than there were writes that can have brought it about:
        between two such cas somebody has to write it again.
        """
        draft = self._draft
        taken: dict[int, int] = {}
        for row in range(len(draft)):
            needed = draft.needs(row)
            if needed is None:
                continue
            if self.refutes(row, needed):
                return True
            if draft.function[row] == CAS and draft.leaves(row) != needed:
                taken[needed] = taken.get(needed, 0) + 1
        return any(count > self.productions(value) for value, count in taken.items())

    def productions(self, value: int) -> int:
        """Return how often the value can have come about at most."""
        return len(self._starts.get(value, ())) + (value == NIL)

    def refutes_once(self, crashed: int) -> bool:
        """Show that a crashed write must have taken effect twice.

        Some operation found the value and only this write can have brought it about; another,
        later, found it after it was overwritten, and again no other write can be the reason.
        """
        draft, value = self._draft, self._draft.leaves(crashed)
        needing = [row for row in range(len(draft)) if draft.needs(row) == value]
        owing = [row for row in needing if self.refutes(row, value, without=crashed)]
        first = min((draft.end(row) for row in owing), default=FOREVER)
        return any(self.refutes(row, value, without=crashed, after=first) for row in owing)
