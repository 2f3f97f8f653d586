"""The log of one node, in memory: who needs it durable asks the ledger.

Rules of this file:
- Indexes start at 1; index 0 is the empty log, of term 0. `base_index` and `base_term` name what
  precedes the first entry kept: 0 until a snapshot takes the place of a prefix.
- The configuration in force is the newest one in the log, or that of the base: appending brings one
  in, cutting takes it back (Raft section 6).
- Nothing here knows of roles or commit; who truncates answers for what is cut.
"""

from collections.abc import Sequence

from node.core.membership import Configuration, configuration_from_text
from node.core.messages import CONFIGURATION, Entry


class RaftLog:
    """Consecutive entries, the first at `first_index`."""

    __slots__ = ("_configurations", "_entries", "base_index", "base_term")

    def __init__(
        self,
        entries: Sequence[Entry] = (),
        base_index: int = 0,
        base_term: int = 0,
        configuration: Configuration | None = None,
    ) -> None:
        """`configuration` is the one in force at `base_index`."""
        self.base_index = base_index
        self.base_term = base_term
        self._entries: list[Entry] = []
        self._configurations = [(base_index, configuration or Configuration())]
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

    @property
    def configuration(self) -> Configuration:
        """The configuration in force, committed or not."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """Where it came in; `base_index` if before the entries that are kept."""
        return self._configurations[-1][0]

    def configuration_at(self, index: int) -> Configuration:
        """The configuration that was in force at an index not before the base."""
        assert index >= self.base_index
        return next(known for at, known in reversed(self._configurations) if at <= index)

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
            if entry.kind == CONFIGURATION:
                self._configurations.append((entry.index, configuration_from_text(entry.data)))

    def truncate_from(self, index: int) -> None:
        """Forget the entry at `index` and all behind it."""
        assert self.base_index < index <= self.last_index
        del self._entries[index - self.base_index - 1 :]
        while self._configurations[-1][0] >= index:
            self._configurations.pop()

    def compact(self, index: int) -> None:
        """Forget the entries up to `index`: a snapshot holds what they did."""
        term = self.term(index)
        assert term is not None
        known = self.configuration_at(index)
        del self._entries[: index - self.base_index]
        self._configurations = [
            (index, known), *(pair for pair in self._configurations if pair[0] > index)
        ]  # fmt: skip
        self.base_index, self.base_term = index, term

    def restart(self, index: int, term: int, configuration: Configuration) -> None:
        """Forget everything: the log begins behind a snapshot that another node made."""
        self._entries.clear()
        self._configurations = [(index, configuration)]
        self.base_index, self.base_term = index, term

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
