"""The log of one node, in memory: who needs it durable asks the ledger.

Rules of this file:
- Indexes start at 1; index 0 is the empty log, of term 0. `base_index` and `base_term` name what
  precedes the first entry kept: 0 until a snapshot takes the place of a prefix.
- Nothing here knows of roles or commit; who truncates answers for what is cut.
"""

from collections.abc import Sequence

from node.core.messages import Entry


class RaftLog:
    """Consecutive entries, the first at `first_index`."""

    __slots__ = ("_entries", "base_index", "base_term")

    def __init__(
        self, entries: Sequence[Entry] = (), base_index: int = 0, base_term: int = 0
    ) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self._entries: list[Entry] = []
        self.append(entries)

    @property
    def first_index(self) -> int:
        """Index of the oldest entry that is kept."""
        return self.base_index + 1

    @property
    def last_index(self) -> int:
        """Index of the newest entry."""
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        """Term of the newest entry."""
        return self._entries[-1].term if self._entries else self.base_term

    def term(self, index: int) -> int | None:
        """The term of the entry at an index, None where nothing is kept."""
        if self.base_index < index <= self.last_index:
            return self._entries[index - self.base_index - 1].term
        return self.base_term if index == self.base_index else None

    def entry(self, index: int) -> Entry:
        """The entry at an index that is kept."""
        assert self.base_index < index <= self.last_index
        return self._entries[index - self.base_index - 1]

    def slice(self, start: int, entries_max: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from `start` on, at least one if there is one, within both limits."""
        assert self.base_index < start
        begin = start - self.base_index - 1
        chosen = self._entries[begin : begin + entries_max]
        size = 0
        for count, entry in enumerate(chosen):
            size += len(entry.data)
            if size > bytes_max and count > 0:
                return tuple(chosen[:count])
        return tuple(chosen)

    def since(self, start: int) -> tuple[Entry, ...]:
        """All entries from `start` on."""
        assert self.base_index < start
        return tuple(self._entries[start - self.base_index - 1 :])

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries behind the last one."""
        for entry in entries:
            assert entry.index == self.last_index + 1
            assert entry.term >= self.last_term
            self._entries.append(entry)

    def truncate_from(self, index: int) -> None:
        """Forget the entry at `index` and all behind it."""
        assert self.base_index < index <= self.last_index
        del self._entries[index - self.base_index - 1 :]

    def find_conflict(self, entries: Sequence[Entry]) -> int | None:
        """Index of the first of these entries that this log lacks or has with another term.

        None when it holds them all: then a late or repeated message must change nothing, and in
        particular not cut what came after (Raft section 5.3, figure 2, AppendEntries step 3).
        """
        for entry in entries:
            if self.term(entry.index) != entry.term:
                return entry.index
        return None

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Is a log that ends so at least as complete as this one? (Raft section 5.4.1)"""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def last_agreeable(self, index: int, term: int) -> int:
        """The last entry at or below `index` whose term is not above `term`.

        Terms never fall along a log, so all entries behind it differ from any log that has `term`
        at `index`: whole terms are skipped at once (the faster back-off that Raft section 5.3
        sketches).
        """
        index = min(index, self.last_index)
        while index > self.base_index:
            found = self.term(index)
            if found is None or found <= term:
                break
            index -= 1
        return max(index, self.base_index)
