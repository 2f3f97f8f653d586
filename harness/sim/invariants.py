"""What must hold at every step, seen by observers who see all nodes at once.

G1-G9 and G13, by number:
- G1 one leader a term (Raft figure 3, Election Safety).
- G2 one vote a term and node, across restarts, for a log at least as complete (sections 5.2, 5.4.1);
  said only when durable.
- G3 Log Matching (section 5.3): by induction, an entry is known by (index, term), together with the
  term before it.
- G4 what is committed at an index never changes (section 5.4.3).
- G5 a leader's commit index is held durably by a quorum, in both halves of a joint configuration.
- G6 who acknowledges up to an index holds the leader's entry there durably.
- G7 a new leader holds what is committed (section 5.4, Leader Completeness).
- G8 terms and commit never fall; purged <= snapshot <= applied <= commit <= last; leaders only append.
- G9 equal states at equal indexes, also after a restore.
- G10 a sequence of a session is carried out at one entry only (dissertation section 6.3).
- G13 configurations follow one another such that their quorums meet, one at a time, and begin only on
  committed ground (Raft section 6; dissertation section 4.1, and its erratum of 2015).

Rules of this file:
- Observers only watch. They look at what changed, not at everything again.
- Quorums are counted here anew, from the names alone: the node's own count is what is being judged.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from harness.sim.durable import DurableLog
from harness.sim.violation import Violation, check
from node.core.membership import Configuration, configuration_from_text
from node.core.messages import CONFIGURATION, Entry
from node.core.raft import Raft
from node.core.settings import Role
from node.operations import Operation
from node.storage.snapshots import SnapshotMeta


def is_quorum(configuration: Configuration, holders: Collection[str]) -> bool:
    """Do they make a majority of the voters, and of the outgoing ones?"""
    for voters in (configuration.voters, configuration.outgoing):
        if voters and 2 * sum(1 for voter in voters if voter in holders) <= len(voters):
            return False
    return True


@dataclass
class Elections:
    """G1, G2 and G7."""

    leader_of: dict[int, str] = field(default_factory=dict)
    vote_of: dict[tuple[str, int, int], str] = field(default_factory=dict)
    log_of: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def asks(self, candidate: str, document: Mapping[str, object]) -> None:
        """A candidate asks for votes: remember how its log ends."""
        term, last_term, last_index = (document[k] for k in ("term", "last_term", "last_index"))
        assert isinstance(term, int)
        assert isinstance(last_term, int)
        assert isinstance(last_index, int)
        self.log_of[candidate, term] = (last_term, last_index)

    def decides(self, core: Raft) -> None:
        """G2: a server changed its vote."""
        candidate = core.voted_for
        if candidate is None or candidate == core.name:
            return
        asked = self.log_of.get((candidate, core.term))
        check(asked is not None, "invariant", "G2", f"{core.name} votes for who does not stand")
        own = (core.log.last_term, core.log.last_index)
        check(
            asked is not None and asked >= own,
            "invariant",
            "G2",
            f"{core.name}, whose log ends at {own}, votes for {candidate}, at {asked}",
        )

    def says(
        self, voter: str, incarnation: int, term: int, candidate: str, durable: DurableLog
    ) -> None:
        """G2: a vote leaves its node, or counts at its own. A node made anew is another voter."""
        before = self.vote_of.setdefault((voter, incarnation, term), candidate)
        if before != candidate:
            text = f"{voter} voted for {before} and {candidate} in term {term}"
            raise Violation("invariant", "G2", text)
        kept = durable.hard_state
        if kept.term < term or (kept.term == term and kept.voted_for != candidate):
            text = f"{voter} says its vote for {candidate} in term {term}, on disk is {kept}"
            raise Violation("invariant", "G2", text)

    def leads(
        self, core: Raft, incarnation: int, committed: "Committed", durable: DurableLog
    ) -> None:
        """G1, G2 and G7: a server has come to lead."""
        self.says(core.name, incarnation, core.term, core.name, durable)
        before = self.leader_of.setdefault(core.term, core.name)
        if before != core.name:
            text = f"{before} and {core.name} lead term {core.term}"
            raise Violation("invariant", "G1", text)
        index = committed.newest_before(core.term)
        if index and index > core.log.base_index:
            found = core.log.term(index)
            if found != committed.terms[index]:
                text = (
                    f"{core.name} leads term {core.term} without the entry committed at {index}:"
                    f" {found}, not {committed.terms[index]}"
                )
                raise Violation("invariant", "G7", text)


@dataclass
class Written:
    """G3: every entry that ever was in a log."""

    entries: dict[tuple[int, int], tuple[str, str, int | None]] = field(default_factory=dict)

    def add(self, entry: Entry, prev_term: int | None) -> bool:
        """An entry is handed to a disk. True if nobody had it before."""
        key = (entry.index, entry.term)
        seen = self.entries.get(key)
        if seen is None:
            self.entries[key] = (entry.data, entry.kind, prev_term)
            return True
        data, kind, before = seen
        agrees = data == entry.data and kind == entry.kind
        if not agrees or (before != prev_term and None not in (before, prev_term)):
            text = f"two logs differ at {key}: {seen!r:.200} and {entry!r:.200} behind {prev_term}"
            raise Violation("invariant", "G3", text)
        return False


class Committed:
    """G4 and G5: what is committed, for good. Index 0 is the empty log."""

    def __init__(self) -> None:
        self.terms: list[int] = [0]
        self.leader_terms: list[int] = [0]
        self.configurations: list[tuple[int, str]] = []

    @property
    def last_index(self) -> int:
        """How far anybody has committed."""
        return len(self.terms) - 1

    def configuration(self, first: Configuration) -> tuple[int, Configuration]:
        """The newest one that is committed and its index; `first` is that of the beginning."""
        if not self.configurations:
            return 0, first
        index, text = self.configurations[-1]
        return index, configuration_from_text(text)

    def newest_before(self, term: int) -> int:
        """The last index that was committed in a term before this one."""
        index = self.last_index
        while index > 0 and self.leader_terms[index] >= term:
            index -= 1
        return index

    def advance(self, core: Raft, before: int, durable: Mapping[str, DurableLog]) -> None:
        """A server's commit index has grown from `before`."""
        log, to = core.log, core.commit_index
        for index in range(max(before, log.base_index) + 1, to + 1):
            term = log.term(index)
            assert term is not None
            if index < len(self.terms):
                if self.terms[index] != term:
                    text = (
                        f"{core.name} commits term {term} at {index}, where term"
                        f" {self.terms[index]} was"
                    )
                    raise Violation("invariant", "G4", text)
            else:
                self.terms.append(term)
                self.leader_terms.append(core.term)
                entry = log.entry(index)
                if entry.kind == CONFIGURATION:
                    self.configurations.append((index, entry.data))
        if core.role is Role.LEADER:
            self._held(core, to, durable)

    def snapshot(self, name: str, meta: SnapshotMeta) -> None:
        """G13: a snapshot carries the configuration that was in force at its index."""
        expected = [text for at, text in self.configurations if at <= meta.index]
        if expected and expected[-1] != meta.configuration:
            text = f"{name}: the snapshot at {meta.index} says {meta.configuration}, not {expected[-1]}"
            raise Violation("invariant", "G13", text)

    def _held(self, core: Raft, index: int, durable: Mapping[str, DurableLog]) -> None:
        term = core.log.term(index)
        holders = [name for name, log in durable.items() if log.holds(index, term)]
        now, then = core.log.configuration, core.log.configuration_at(index)
        if not is_quorum(now, holders) and not is_quorum(then, holders):
            text = (
                f"{core.name} commits {index} of term {term}, held by {holders}; voters"
                f" {now.voters} {now.outgoing}"
            )
            raise Violation("invariant", "G5", text)


@dataclass
class States:
    """G9 and G10: the same entries make the same state, and each sequence counts once."""

    hashes: dict[int, str] = field(default_factory=dict)
    executed: dict[tuple[int, int], int] = field(default_factory=dict)

    def reached(self, name: str, index: int, state_hash: str) -> None:
        """A state has applied up to `index`."""
        known = self.hashes.setdefault(index, state_hash)
        if known != state_hash:
            text = f"{name} has another state than others at {index}: {state_hash}, not {known}"
            raise Violation("invariant", "G9", text)

    def carries_out(self, index: int, operation: Operation) -> None:
        """An operation of a session is really carried out."""
        session = operation.session
        if session is None:
            return
        key = (session.id, session.sequence)
        known = self.executed.setdefault(key, index)
        if known != index:
            text = f"sequence {session.sequence} of session {session.id} at {known} and {index}"
            raise Violation("invariant", "G10", text)


def follows(core: Raft, entry: Entry, before: Configuration, before_index: int) -> None:
    """G13: a leader hands its disk a configuration, behind `before` at `before_index`."""
    after = configuration_from_text(entry.data)
    commit = core.commit_index
    grounded = before_index <= commit and core.log.term(commit) == core.term
    check(
        grounded,
        "invariant",
        "G13",
        f"{core.name} changes members at {entry.index} in term {core.term}, though {commit} is"
        f" committed and the configuration before is at {before_index}",
    )
    if before.outgoing:
        meets = after.voters == before.voters and not after.outgoing
    else:
        meets = after.voters == before.voters or after.outgoing == before.voters
    check(
        meets, "invariant", "G13", f"{before} is followed by {after}: their quorums need not meet"
    )


def in_force(core: Raft) -> None:
    """G13: after a cut, the configuration in force is one that is in the log."""
    log, index = core.log, core.log.configuration_index
    if index > log.base_index and (
        index > log.last_index or log.entry(index).kind != CONFIGURATION
    ):
        text = f"{core.name} follows a configuration of index {index}, which was cut from its log"
        raise Violation("invariant", "G13", text)


def in_order(core: Raft, applied: int, snapshot: int) -> None:
    """G8: purged <= snapshot <= applied <= commit <= last."""
    log = core.log
    if not log.base_index <= snapshot <= applied <= core.commit_index <= log.last_index:
        text = (
            f"{core.name}: log from {log.base_index}, snapshot {snapshot}, applied {applied},"
            f" commit {core.commit_index}, last {log.last_index}"
        )
        raise Violation("invariant", "G8", text)
