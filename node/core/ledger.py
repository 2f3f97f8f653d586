"""What was handed to the disk, and what is known to be durable.

Rules of this file:
- The disk keeps order: when a number is durable, all lower numbers are.
- An entry is durable only in the form it has now: cutting the log forgets what was durable behind
  the cut and also what is on its way there, so a late completion cannot vouch for a successor at
  the same index.
"""

from collections import deque
from dataclasses import dataclass

from node.core.log import RaftLog
from node.core.messages import Entry, HardState


@dataclass(frozen=True, slots=True)
class Handed:
    """One batch, in the order in which its parts count: hard state, base, cut, entries."""

    hard_state: HardState | None
    base: tuple[int, int] | None
    truncate_from: int | None
    entries: tuple[Entry, ...]


@dataclass(slots=True)
class _OnItsWay:
    """What will be durable when a batch is."""

    seq: int
    last_index: int
    hard_state: HardState
    since_ns: int


class Ledger:
    """The line between memory and disk."""

    __slots__ = (
        "_base",
        "_handed_hard_state",
        "_in_flight",
        "_next_index",
        "_truncate_from",
        "durable_hard_state",
        "durable_index",
        "seq",
    )

    def __init__(self, hard_state: HardState, last_index: int) -> None:
        self.seq = 0
        self.durable_hard_state = hard_state
        self.durable_index = last_index
        self._handed_hard_state = hard_state
        self._next_index = last_index + 1
        self._truncate_from: int | None = None
        self._base: tuple[int, int] | None = None
        self._in_flight: deque[_OnItsWay] = deque()

    def truncated(self, index: int) -> None:
        """The log was cut at `index`."""
        if index < self._next_index:
            self._next_index = index
            cut = self._truncate_from
            self._truncate_from = index if cut is None else min(cut, index)
        self.durable_index = min(self.durable_index, index - 1)
        for handed in self._in_flight:
            handed.last_index = min(handed.last_index, index - 1)

    def restarted(self, base_index: int, base_term: int) -> None:
        """A snapshot took the place of the whole log: nothing on its way counts any more."""
        self._base = (base_index, base_term)
        self._truncate_from = None
        self._next_index = base_index + 1
        self.durable_index = 0
        for handed in self._in_flight:
            handed.last_index = 0

    def compacted(self, base_index: int, base_term: int) -> None:
        """A snapshot took the place of a prefix. Where the disk lacks some of it, as yet, there must be
        no gap: its log begins anew behind the snapshot."""
        if base_index >= self._next_index:
            self.restarted(base_index, base_term)

    def unsaved(self, log: RaftLog, hard_state: HardState) -> bool:
        """Is there anything the disk has not been given?"""
        return (
            self._truncate_from is not None
            or self._base is not None
            or self._next_index <= log.last_index
            or self._handed_hard_state != hard_state
        )

    def hand_out(self, log: RaftLog, hard_state: HardState, now_ns: int) -> Handed:
        """What the disk must get next."""
        changed = hard_state if hard_state != self._handed_hard_state else None
        entries = log.since(self._next_index) if self._next_index <= log.last_index else ()
        handed = Handed(changed, self._base, self._truncate_from, entries)
        self._base, self._truncate_from = None, None
        self.seq += 1
        self._handed_hard_state = hard_state
        self._next_index = log.last_index + 1
        self._in_flight.append(_OnItsWay(self.seq, log.last_index, hard_state, now_ns))
        return handed

    def persisted(self, seq: int) -> None:
        """Everything up to number `seq` is durable."""
        assert seq <= self.seq
        while self._in_flight and self._in_flight[0].seq <= seq:
            handed = self._in_flight.popleft()
            self.durable_index = max(self.durable_index, handed.last_index)
            self.durable_hard_state = handed.hard_state

    def waiting_since_ns(self) -> int | None:
        """Since when the oldest batch has been on its way; None if the disk owes nothing."""
        return self._in_flight[0].since_ns if self._in_flight else None
