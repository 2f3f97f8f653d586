"""The log that a stream of batches amounts to.

Rules of this file:
- Pure. A batch that cannot follow those before it raises `Malformed` and is a bug or damage: the
  writer asks before it writes, the reader asks again.
- Within a batch the order is: hard state, base, cut, entries.
- A base drops every entry written before it. Who keeps a suffix of them repeats it as the entries
  of the same batch, or writes no base.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.core.messages import (
    Entry,
    HardState,
    Json,
    Malformed,
    decode_entries,
    encode_entries,
    natural,
)
from node.storage.segments import Head, decode_hard_state, encode_hard_state


@dataclass(frozen=True, slots=True)
class Batch:
    """What one Ready wants durable."""

    hard_state: HardState | None = None
    truncate_from: int | None = None
    entries: tuple[Entry, ...] = ()
    base: tuple[int, int] | None = None

    def is_empty(self) -> bool:
        """Is there nothing to write?"""
        return (
            self.hard_state is None
            and self.truncate_from is None
            and not self.entries
            and self.base is None
        )

    def document(self) -> Json:
        """The form on disk: one frame, so it is there as a whole or not at all."""
        document: dict[str, Json] = {}
        if self.hard_state is not None:
            document["hard_state"] = encode_hard_state(self.hard_state)
        if self.base is not None:
            document["base"] = list(self.base)
        if self.truncate_from is not None:
            document["truncate_from"] = self.truncate_from
        if self.entries:
            document["entries"] = encode_entries(self.entries)
        return document


@dataclass(slots=True)
class Shape:
    """Where a log begins and ends, and its terms as runs (first index, term)."""

    base_index: int = 0
    base_term: int | None = 0
    last_index: int = 0
    _runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def last_term(self) -> int | None:
        """The term of the last entry, or of the base if there is none."""
        return self._runs[-1][1] if self._runs else self.base_term

    def follow(self, batch: Batch) -> None:
        """Become the shape behind a batch; `Malformed`, and nothing changed, if it does not fit."""
        last = self.last_index
        if batch.base is not None:
            last = batch.base[0]
        if batch.truncate_from is not None:
            if not 0 < batch.truncate_from <= last + 1:
                raise Malformed(f"a cut at {batch.truncate_from} behind the end, {last}")
            last = batch.truncate_from - 1
        for expected, entry in enumerate(batch.entries, last + 1):
            if entry.index != expected:
                raise Malformed(f"entry {entry.index} behind {expected - 1}")
        if batch.base is not None:
            self.rebase(*batch.base)
        if batch.truncate_from is not None:
            self.cut(batch.truncate_from)
        self.grow(batch.entries)

    def rebase(self, index: int, term: int | None) -> None:
        """Begin anew behind (index, term)."""
        self.base_index = self.last_index = index
        self.base_term = term
        self._runs.clear()

    def cut(self, index: int) -> None:
        """Forget the entry at `index` and all behind it."""
        self.last_index = index - 1
        while self._runs and self._runs[-1][0] >= index:
            self._runs.pop()
        if index <= self.base_index:
            self.base_index, self.base_term = index - 1, None

    def grow(self, entries: Sequence[Entry]) -> None:
        """Add entries."""
        term = self._runs[-1][1] if self._runs else None
        for entry in entries:
            if entry.term != term:
                term = entry.term
                self._runs.append((entry.index, term))
        self.last_index += len(entries)


class Replay:
    """The log as far as it has been read."""

    __slots__ = ("base_index", "base_term", "entries", "hard_state")

    def __init__(self, head: Head) -> None:
        self.hard_state = head.hard_state
        self.base_index = head.base_index
        self.base_term = head.base_term
        self.entries: list[Entry] = []

    @property
    def last_index(self) -> int:
        """Index of the last entry, or of the base."""
        return self.base_index + len(self.entries)

    @property
    def last_term(self) -> int | None:
        """Term of the last entry, or of the base."""
        return self.entries[-1].term if self.entries else self.base_term

    def batch(self, document: Json) -> None:
        """Take in the next batch."""
        if not isinstance(document, dict):
            raise Malformed("not a batch")
        if "hard_state" in document:
            hard_state = decode_hard_state(document["hard_state"])
            if hard_state.term < self.hard_state.term:
                raise Malformed("the term falls")
            self.hard_state = hard_state
        if "base" in document:
            index, term = document["base"]
            self.base_index, self.base_term = natural(index), natural(term)
            self.entries.clear()
        if "truncate_from" in document:
            self._cut(natural(document["truncate_from"]))
        if "entries" in document:
            entries = decode_entries(document["entries"])
            if entries and entries[0].index != self.last_index + 1:
                raise Malformed(f"entry {entries[0].index} behind {self.last_index}")
            self.entries.extend(entries)

    def _cut(self, index: int) -> None:
        if not 0 < index <= self.last_index + 1:
            raise Malformed(f"a cut at {index} behind the end, {self.last_index}")
        if index <= self.base_index:
            # What was cut is in segments that are gone, because a snapshot covers it.
            self.base_index, self.base_term = index - 1, None
            self.entries.clear()
        else:
            del self.entries[index - self.base_index - 1 :]

    def shape(self) -> Shape:
        """What the writer needs to go on."""
        shape = Shape()
        shape.rebase(self.base_index, self.base_term)
        shape.grow(self.entries)
        return shape
