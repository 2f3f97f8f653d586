"""Raft's properties (Raft figure 3), checked by observers who see all nodes at once.

Rules of this file: ghosts only watch; each check costs little, so it runs at every event. What they
find is a `Violation`, whose text names what was seen.
"""

from dataclasses import dataclass, field

from node.core.messages import Entry
from node.core.raft import Raft
from node.state_machine import StateMachine
from node.storage.wal import Batch


class Violation(AssertionError):
    """A property does not hold."""


def check(condition: bool, message: str) -> None:
    if not condition:
        raise Violation(message)


@dataclass
class Ghosts:
    """What an observer who sees everything knows."""

    members: int
    leader_of: dict[int, str] = field(default_factory=dict)
    vote_of: dict[tuple[str, int], str] = field(default_factory=dict)
    written: dict[tuple[int, int], tuple[str, int | None]] = field(default_factory=dict)
    committed: dict[int, Entry] = field(default_factory=dict)
    commit_term: dict[int, int] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    durable: dict[str, list[Entry]] = field(default_factory=dict)

    def on_vote(self, voter: str, term: int, candidate: str) -> None:
        before = self.vote_of.setdefault((voter, term), candidate)
        check(before == candidate, f"{voter} voted for {before} and {candidate} in term {term}")

    def on_leader(self, core: Raft) -> None:
        """Election Safety (section 5.2) and Leader Completeness (section 5.4)."""
        if core.term in self.leader_of:
            before = self.leader_of[core.term]
            check(before == core.name, f"{before} and {core.name} lead term {core.term}")
            return
        self.leader_of[core.term] = core.name
        for index, term in self.commit_term.items():
            check(
                term >= core.term or core.log.term(index) == self.committed[index].term,
                f"leader {core.name} of term {core.term} lacks committed entry {index}",
            )

    def on_append(self, entry: Entry, prev_term: int | None) -> None:
        """Log Matching (section 5.3), by induction over (index, term)."""
        seen = self.written.setdefault((entry.index, entry.term), (entry.data, prev_term))
        check(seen == (entry.data, prev_term), f"two logs differ at {entry.index} of {entry.term}")

    def on_durable(self, name: str, batch: Batch) -> None:
        log = self.durable.setdefault(name, [])
        if batch.truncate_from is not None:
            del log[batch.truncate_from - 1 :]
        log.extend(batch.entries)

    def on_apply(self, entry: Entry, state_hash: str, term: int) -> None:
        """State Machine Safety (section 5.4.3), and that a majority really holds the entry."""
        if entry.index not in self.committed:
            self.committed[entry.index] = entry
            self.commit_term[entry.index] = term
            holders = sum(
                1
                for log in self.durable.values()
                if len(log) >= entry.index and log[entry.index - 1] == entry
            )
            check(
                holders > self.members // 2,
                f"entry {entry.index} committed with {holders} durable copies",
            )
        check(self.committed[entry.index] == entry, f"two entries applied at {entry.index}")
        known = self.hashes.setdefault(entry.index, state_hash)
        check(known == state_hash, f"two states at {entry.index}")


class GhostState(StateMachine):
    """A state machine that reports what it applies."""

    __slots__ = ("_core", "_ghosts")

    def __init__(self, ghosts: Ghosts, core: Raft) -> None:
        super().__init__()
        self._ghosts = ghosts
        self._core = core

    def apply(self, entry: Entry) -> tuple[str, str]:
        result = super().apply(entry)
        self._ghosts.on_apply(entry, self.state_hash(), self._core.term)
        return result
