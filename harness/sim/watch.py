"""Lets the invariants see what happens: the one object that nodes, disks and the network report to.

Rules of this file: it passes on what changed and decides nothing itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.sim.durable import DurableLog
from harness.sim.invariants import (
    Committed,
    Elections,
    States,
    Written,
    follows,
    in_force,
    in_order,
)
from harness.sim.node import SimNode
from harness.sim.violation import Violation, check
from node.core.membership import Configuration
from node.core.messages import CONFIGURATION, Entry
from node.core.settings import Role
from node.operations import Operation
from node.state_machine import StateMachine
from node.storage.snapshots import SnapshotMeta
from node.storage.store import Recovered
from node.storage.wal import Batch


class Observers:
    """All that is known of the whole cluster."""

    def __init__(self) -> None:
        self.elections = Elections()
        self.written = Written()
        self.committed = Committed()
        self.states = States()
        self.durable: dict[str, DurableLog] = {}

    def node(self, name: str) -> "NodeObserver":
        """Who watches one node, through all its lives."""
        self.durable[name] = DurableLog(name)
        return NodeObserver(self, name)

    def sent(self, source: SimNode, target: str, document: Mapping[str, object]) -> None:
        """A message leaves a node."""
        kind = document["type"]
        if kind == "vote_request":
            self.elections.asks(source.name, document)
        elif kind == "vote_reply":
            if document["granted"]:
                term = document["term"]
                assert isinstance(term, int)
                durable = self.durable[source.name]
                self.elections.says(source.name, source.incarnation, term, target, durable)
        elif kind == "append_reply" and document["success"]:
            self._acknowledges(source, target, document)

    def _acknowledges(self, source: SimNode, target: str, document: Mapping[str, object]) -> None:
        """G6, where the sender has gone to no newer term and the leader still leads."""
        durable = self.durable[source.name]
        leader = source.peer(target)
        term, index = document["term"], document["index"]
        assert isinstance(term, int)
        assert isinstance(index, int)
        if leader is None or leader.core.term != term or durable.hard_state.term > term:
            return
        if leader.core.role is not Role.LEADER:
            return
        if index > leader.core.log.last_index:
            text = f"{source.name} acknowledges {index} to {target}, whose log is shorter"
            raise Violation("invariant", "G6", text)
        expected = leader.core.log.term(index)
        if expected is not None and not durable.holds(index, expected):
            text = (
                f"{source.name} acknowledges {index} to {target}, which has term {expected} there;"
                f" its disk has {durable.log.term(index)}, durable up to {durable.log.last}"
            )
            raise Violation("invariant", "G6", text)


@dataclass(slots=True)
class _Seen:
    """What a node looked like."""

    term: int = 0
    vote: str | None = None
    role: Role = Role.FOLLOWER
    commit: int = 0
    applied: int = 0
    base: int = 0


class NodeObserver:
    """Watches one node and its disk."""

    def __init__(self, all_: Observers, name: str) -> None:
        self.name = name
        self._all = all_
        self._seen = _Seen()
        self._node: SimNode | None = None
        self._durable = all_.durable[name]
        self._handed_last: tuple[int, int | None] = (0, 0)

    # The node.

    def started(self, node: SimNode, recovered: Recovered) -> None:
        """It found that on its disk."""
        self._node = node
        self._durable.found(recovered)
        last = recovered.entries[-1].term if recovered.entries else recovered.base_term
        self._handed_last = (recovered.base_index + len(recovered.entries), last)
        self._seen = _Seen(
            recovered.hard_state.term,
            recovered.hard_state.voted_for,
            Role.FOLLOWER,
            recovered.base_index,
            recovered.base_index,
            recovered.base_index,
        )
        if recovered.snapshot is not None and recovered.image is not None:
            state = StateMachine.from_image(recovered.image)
            self._all.states.reached(self.name, state.applied_index, state.state_hash())

    def applied(self, node: SimNode, state: StateMachine, entry: Entry) -> None:
        """It applied an entry."""
        committed = self._all.committed
        index = entry.index
        if index > committed.last_index or committed.terms[index] != entry.term:
            # The commit index may have been raised in this very turn.
            self._commits(node)
        check(
            index <= committed.last_index and committed.terms[index] == entry.term,
            "invariant",
            "G4",
            f"{self.name} applies {index} of term {entry.term}, which is not what is committed",
        )
        self._all.states.reached(self.name, index, state.state_hash())

    def executed(self, state: StateMachine, operation: Operation) -> None:
        """An operation really was carried out."""
        self._all.states.carries_out(state.applied_index, operation)

    def look(self, node: SimNode) -> None:
        """Something happened in it."""
        replica = node.replica
        assert replica is not None
        core, seen = replica.core, self._seen
        if core.term != seen.term or core.voted_for != seen.vote:
            if core.term < seen.term:
                raise Violation("invariant", "G8", f"{self.name}: term {seen.term} falls")
            seen.term, seen.vote, seen.role = core.term, core.voted_for, Role.FOLLOWER
            self._all.elections.decides(core)
        if core.role is not seen.role:
            if core.role is Role.LEADER:
                committed = self._all.committed
                self._all.elections.leads(core, node.incarnation, committed, self._durable)
            seen.role = core.role
        if core.commit_index != seen.commit:
            self._commits(node)
        state = replica.state
        if state.applied_index != seen.applied or core.log.base_index != seen.base:
            if state.applied_index < seen.applied:
                text = f"{self.name}: applied falls from {seen.applied} to {state.applied_index}"
                raise Violation("invariant", "G8", text)
            seen.applied, seen.base = state.applied_index, core.log.base_index
            in_order(core, state.applied_index, replica.snapshots.index)
            self._all.states.reached(self.name, state.applied_index, state.state_hash())

    def _commits(self, node: SimNode) -> None:
        core, seen = node.core, self._seen
        if core.commit_index < seen.commit:
            text = f"{self.name}: commit falls from {seen.commit} to {core.commit_index}"
            raise Violation("invariant", "G8", text)
        if core.commit_index > seen.commit:
            before, seen.commit = seen.commit, core.commit_index
            self._all.committed.advance(core, before, self._all.durable)

    # Its disk.

    def handed(self, batch: Batch) -> None:
        """The replica gave a batch to the disk."""
        if batch.base is not None:
            self._handed_last = batch.base
        entries = batch.entries
        node = self._node
        if node is None or node.replica is None or not (entries or batch.truncate_from):
            return
        core = node.core
        leads = core.role is Role.LEADER
        if batch.truncate_from is not None:
            if leads and core.term in self._all.elections.leader_of:
                raise Violation("invariant", "G8", f"leader {self.name} cuts its log: {batch}")
            in_force(core)
            cut = batch.truncate_from - 1
            self._handed_last = (cut, None)
        for entry in entries:
            at, term = self._handed_last
            known = term if at == entry.index - 1 else None
            if self._all.written.add(entry, known) and entry.kind == CONFIGURATION and leads:
                self._changes(node, entry)
            self._handed_last = (entry.index, entry.term)

    def _changes(self, node: SimNode, entry: Entry) -> None:
        log = node.core.log
        before: Configuration | None = None
        if entry.index > log.base_index:
            before = log.configuration_at(entry.index - 1)
        if before is not None and entry.term == node.core.term:
            index = max(at for at, _ in log._configurations if at < entry.index)
            follows(node.core, entry, before, index)

    def written(self, batch: Batch) -> None:
        """It is written, and may be lost."""
        self._durable.written(batch)

    def synced(self) -> None:
        """All that was written is durable."""
        self._durable.synced()

    def snapshot_placed(self, meta: SnapshotMeta) -> None:
        """A snapshot is durable."""
        self._durable.snapshot_placed(meta)
        self._all.committed.snapshot(self.name, meta)

    def wiped(self, *, lost: bool) -> None:
        """Its disk is empty."""
        self._durable.wiped(lost=lost)
