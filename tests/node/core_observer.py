"""Raft's promises (Raft figure 3), checked by an observer who sees every pure core at once.

Rules of this file:
- The observer only watches. Each check looks at what just changed, so all run at every event.
- A prefix of a log is one number: two are equal exactly if the entries are, back to the first.
- What it finds is a `Violation`, whose text names what was seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from node.core.membership import Configuration
from node.core.messages import Entry


class Violation(AssertionError):
    """A promise is broken."""


def check(condition: bool, text: str) -> None:
    if not condition:
        raise Violation(text)


@dataclass
class LogView:
    """One log as prefixes: index -> the number of the prefix that ends there."""

    prefixes: dict[int, int] = field(default_factory=lambda: {0: 0})
    base_index: int = 0
    last_index: int = 0

    def holds(self, index: int, prefix: int) -> bool:
        """Is that prefix in it, or in the snapshot below it?"""
        return index < self.base_index or self.prefixes.get(index) == prefix

    def cut(self, index: int) -> None:
        for gone in range(index, self.last_index + 1):
            self.prefixes.pop(gone, None)
        self.last_index = min(self.last_index, index - 1)

    def restart(self, index: int, prefix: int) -> None:
        self.prefixes = {index: prefix}
        self.base_index = self.last_index = index

    def add(self, index: int, prefix: int) -> None:
        self.prefixes[index] = prefix
        self.last_index = index

    def copy(self) -> "LogView":
        return LogView(dict(self.prefixes), self.base_index, self.last_index)


class Observer:
    """What is known of a whole cluster, over all its time."""

    def __init__(self) -> None:
        self.leader_of: dict[int, str] = {}
        self.vote_of: dict[tuple[str, int], str] = {}
        self.memory: dict[str, LogView] = {}
        self.durable: dict[str, LogView] = {}
        self.committed: dict[int, int] = {0: 0}
        self.committed_in: dict[int, int] = {0: 0}
        self.top = 0
        self._numbers: dict[tuple[int, int, str, str], int] = {}
        self._prefix_at: dict[tuple[int, int], int] = {}
        self._states: dict[int, tuple[str, ...]] = {0: ()}

    # Logs.

    def starts(self, name: str) -> None:
        """A node starts with what its disk has."""
        self.memory[name] = self.durable.setdefault(name, LogView()).copy()

    def writes(
        self,
        views: Mapping[str, LogView],
        name: str,
        base: tuple[int, int] | None,
        truncate_from: int | None,
        entries: Iterable[Entry],
    ) -> None:
        """Log Matching (section 5.3): an (index, term) names one prefix in the whole cluster."""
        view = views[name]
        if base is not None:
            check(base[0] in self.committed, f"{name} begins its log at {base}: not committed")
            view.restart(base[0], self.committed[base[0]])
        if truncate_from is not None:
            view.cut(truncate_from)
        for entry in entries:
            check(
                entry.index == view.last_index + 1,
                f"{name} writes entry {entry.index} behind entry {view.last_index}",
            )
            before = view.prefixes[entry.index - 1]
            key = (before, entry.term, entry.kind, entry.data)
            prefix = self._numbers.setdefault(key, len(self._numbers) + 1)
            known = self._prefix_at.setdefault((entry.index, entry.term), prefix)
            check(
                known == prefix,
                f"{name} has another log up to entry {entry.index} of term {entry.term}",
            )
            view.add(entry.index, prefix)

    # Elections.

    def votes(self, voter: str, term: int, candidate: str) -> None:
        """One vote a term, whatever was forgotten in between (section 5.2)."""
        known = self.vote_of.setdefault((voter, term), candidate)
        check(known == candidate, f"{voter} votes for {known} and {candidate} in term {term}")

    def leads(self, name: str, term: int) -> None:
        """Election Safety (section 5.2) and Leader Completeness (section 5.4)."""
        known = self.leader_of.setdefault(term, name)
        check(known == name, f"{known} and {name} lead in term {term}")
        index = max(i for i, committed_in in self.committed_in.items() if committed_in < term)
        check(
            self.memory[name].holds(index, self.committed[index]),
            f"{name} leads term {term} without the committed entry {index}",
        )

    # Commits.

    def leader_commits(self, name: str, configuration: Configuration, index: int) -> None:
        """The entry is on the disks of a majority of each half (sections 5.4 and 6)."""
        prefix = self.memory[name].prefixes[index]
        for half in configuration.halves:
            holders = [
                voter
                for voter in half
                if voter in self.durable and self.durable[voter].holds(index, prefix)
            ]
            check(
                2 * len(holders) > len(half),
                f"{name} commits entry {index}, durable on {holders} of {half}",
            )

    def knows_committed(self, name: str, term: int, first: int, last: int) -> None:
        """State Machine Safety (section 5.4.3): what is committed once is so for ever."""
        prefixes = self.memory[name].prefixes
        for index in range(first, last + 1):
            prefix = prefixes.get(index)
            if prefix is None:
                check(index in self.committed, f"{name} commits {index}, which it does not have")
                continue
            known = self.committed.setdefault(index, prefix)
            check(known == prefix, f"{name} commits another entry {index}")
            self.committed_in.setdefault(index, term)
        self.top = max(self.top, last)

    def has_state(self, name: str, index: int, state: tuple[str, ...]) -> None:
        """Equal states at equal indexes, on all nodes and in all snapshots."""
        known = self._states.setdefault(index, state)
        check(known == state, f"{name} has another state at {index}")
