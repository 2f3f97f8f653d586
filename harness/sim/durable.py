"""What one disk has promised to keep: G8 and G14.

G14: what is found after a crash is what was synced, or that and some of the batches behind it in
order; never less, never a mixture. A node that lost its disk and was made anew is not let in by
those who knew the old one.

Rules of this file:
- A log is kept as its terms: with Log Matching (G3) a term and an index name an entry.
- A batch counts as promised when the fsync behind it has returned, not when somebody was told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.sim.violation import Violation
from node.core.messages import HardState
from node.storage.snapshots import SnapshotMeta
from node.storage.store import Recovered
from node.storage.wal import Batch


@dataclass
class Terms:
    """A log: the terms of the entries behind `base`."""

    base: int = 0
    base_term: int = 0
    terms: list[int] = field(default_factory=list)
    hard_state: HardState = field(default_factory=HardState)

    @property
    def last(self) -> int:
        """Index of the last entry."""
        return self.base + len(self.terms)

    def term(self, index: int) -> int | None:
        """The term at an index; None where nothing is kept."""
        if self.base < index <= self.base + len(self.terms):
            return self.terms[index - self.base - 1]
        return self.base_term if index == self.base else None

    def follow(self, batch: Batch) -> None:
        """Become what a batch makes of it."""
        if batch.hard_state is not None:
            self.hard_state = batch.hard_state
        if batch.base is not None:
            self.base, self.base_term = batch.base
            self.terms = []
        if batch.truncate_from is not None:
            del self.terms[max(0, batch.truncate_from - self.base - 1) :]
            if batch.truncate_from <= self.base:
                self.base, self.base_term = batch.truncate_from - 1, -1
        self.terms.extend(entry.term for entry in batch.entries)

    def behind(self, index: int, term: int) -> "Terms":
        """What a snapshot there makes of it (Raft figure 13, steps 6 and 7)."""
        if index < self.base:
            return self
        if self.term(index) in (term, -1):
            return Terms(index, term, self.terms[index - self.base :], self.hard_state)
        return Terms(index, term, [], self.hard_state)

    def copied(self) -> "Terms":
        """An equal one."""
        return Terms(self.base, self.base_term, list(self.terms), self.hard_state)


class DurableLog:
    """The promises of one disk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = Terms()
        self.snapshot = (0, 0)
        self._pending: list[Batch] = []
        self._lost: tuple[Terms, int] = (self.log, 0)

    @property
    def hard_state(self) -> HardState:
        """The term and vote that are promised."""
        return self.log.hard_state

    def holds(self, index: int, term: int | None) -> bool:
        """Is the entry of that index and term promised, itself or in a snapshot?

        A disk that was taken away counts as one that holds what it had: nobody can know yet, and
        the cluster must bear the loss of one.
        """
        lost, lost_snapshot = self._lost
        return (
            index <= max(self.snapshot[0], lost_snapshot)
            or self.log.term(index) == term
            or lost.term(index) == term
        )

    def written(self, batch: Batch) -> None:
        """A batch may be lost yet."""
        self._pending.append(batch)

    def synced(self) -> None:
        """All batches are promised."""
        for batch in self._pending:
            if batch.hard_state is not None and batch.hard_state.term < self.log.hard_state.term:
                text = f"{self.name}: the term falls from {self.log.hard_state} to {batch}"
                raise Violation("invariant", "G8", text)
            self.log.follow(batch)
        self._pending.clear()

    def snapshot_placed(self, meta: SnapshotMeta) -> None:
        """A snapshot is promised, and so is what was written before."""
        self.synced()
        self.snapshot = (meta.index, meta.term)

    def found(self, recovered: Recovered) -> None:
        """G14: a start found this; from now on it is what is promised."""
        base, base_term = recovered.base_index, recovered.base_term
        if base < self.snapshot[0]:
            text = f"{self.name} starts from a snapshot at {base}, older than {self.snapshot}"
            raise Violation("invariant", "G14", text)
        terms = [entry.term for entry in recovered.entries]
        now = Terms(base, base_term, terms, recovered.hard_state)
        possible = self.log.copied()
        if not _agree(possible, now):
            for batch in self._pending:
                possible.follow(batch)
                if _agree(possible, now):
                    break
            else:
                text = (
                    f"{self.name} starts with {_shown(now)}; promised was {_shown(self.log)}, and"
                    f" perhaps {self._pending!r:.300}"
                )
                raise Violation("invariant", "G14", text)
        self.log = now
        self._pending.clear()
        self.snapshot = (base, base_term)

    def wiped(self, *, lost: bool) -> None:
        """The disk is empty: nothing is promised any more. `lost`: it was that of a member."""
        self._lost = (self.log, self.snapshot[0]) if lost else (Terms(), 0)
        self.log = Terms()
        self.snapshot = (0, 0)
        self._pending.clear()


def _agree(possible: Terms, now: Terms) -> bool:
    joined = possible.behind(now.base, now.base_term)
    return (
        joined.hard_state == now.hard_state
        and joined.base == now.base
        and joined.terms == now.terms
    )


def _shown(log: Terms) -> str:
    runs: Sequence[int] = log.terms[-12:]
    return f"{log.hard_state}, entries {log.base + 1}..{log.last} of terms ..{list(runs)}"
