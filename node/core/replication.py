"""How a log becomes the same everywhere: what followers and leaders say to each other.

Rules of this file:
- A follower changes its log by `acceptance` alone; a leader sends what `Leadership` decides.
- An entry is committed when a majority holds it durably and it is of the leader's own term.
- A read is granted by a majority that answered after it was asked (`reads`).
"""

from collections.abc import Sequence

from node.core import acceptance
from node.core.leadership import Leadership
from node.core.messages import (
    CONFIGURATION,
    AppendReply,
    AppendRequest,
    Heartbeat,
    HeartbeatReply,
    ReadIndexReply,
    ReadIndexRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
)
from node.core.reads import ReadGrant, ReadRequest
from node.core.ready import ChunkWanted
from node.core.server_state import ServerState
from node.core.settings import Role


class Replication(ServerState):
    """Raft sections 5.3, 5.4 and 7."""

    # Followers.

    def _follow(self, leader: str) -> bool:
        """The leader of this term spoke. False if that cannot be."""
        if self.role is Role.LEADER or self.leader not in (None, leader):
            self.violations += 1  # two leaders in one term
            return False
        if self.role is not Role.FOLLOWER or self.leader is None:
            self._become_follower(self.term, leader)
        self._leader_heard_ns = self._now_ns
        self._reset_election_timer()
        return True

    def _on_append_request(self, message: AppendRequest) -> None:
        if not self._follow(message.source):
            return
        accepted = acceptance.accept(self.log, self._ledger, self.commit_index, message)
        if accepted is None:
            self.violations += 1
            return
        self._commit(accepted.commit)
        hint_term = self.log.term(accepted.hint) or 0
        self._send(
            AppendReply(
                self.name, message.source, self.term,
                accepted.success, accepted.index, accepted.hint, hint_term,
            )
        )  # fmt: skip

    def _on_snapshot_chunk(self, message: SnapshotChunk) -> None:
        """InstallSnapshot (Raft section 7). One that holds nothing new changes nothing."""
        if not self._follow(message.source):
            return
        if message.index <= self.commit_index:
            index = message.index
            self._send(SnapshotReply(self.name, message.source, self.term, index, 0, success=True))
        else:
            self._chunks.append(message)

    def _on_heartbeat(self, message: Heartbeat) -> None:
        if not self._follow(message.source):
            return
        self._commit(min(message.commit, self.log.last_index))
        self._send(HeartbeatReply(self.name, message.source, self.term, message.round))

    # Leaders.

    def _replicate(self, leadership: Leadership) -> list[ChunkWanted]:
        wanted: list[ChunkWanted] = []
        for member in leadership.followers:
            self._messages.extend(leadership.appends(member, self.commit_index))
            if leadership.owes_commit(member, self.commit_index):
                self._send(leadership.heartbeat(member, self.commit_index))
            chunk = leadership.chunk_wanted(member)
            if chunk is not None:
                wanted.append(chunk)
        return wanted

    def _heartbeat_all(self, leadership: Leadership, reads: Sequence[ReadRequest] = ()) -> None:
        """Heartbeats to everybody, of a new round for these reads."""
        leadership.heartbeat_due_ns = self._now_ns + self._settings.heartbeat_interval_ns
        leadership.rounds.start(reads, self.commit_index, self._now_ns)
        for member in leadership.followers:
            self._send(leadership.heartbeat(member, self.commit_index))
        self._grant_reads(leadership)

    def _on_append_reply(self, message: AppendReply) -> None:
        leadership = self.leadership
        if leadership is None or not leadership.heard(message.source, self._now_ns):
            return
        if leadership.on_append_reply(message):
            self._maybe_commit(leadership)
            if self.leadership is leadership:
                self._hand_over(leadership)

    def _on_snapshot_reply(self, message: SnapshotReply) -> None:
        leadership = self.leadership
        if leadership is None or not leadership.heard(message.source, self._now_ns):
            return
        follower = leadership.followers[message.source]
        if message.success and message.index <= self.commit_index:
            follower.installed(message.index)
            self._hand_over(leadership)
        elif not message.success:
            follower.chunk_answered(message.index, message.offset)

    def _on_heartbeat_reply(self, message: HeartbeatReply) -> None:
        leadership = self.leadership
        if leadership is None or not leadership.heard(message.source, self._now_ns):
            return
        leadership.rounds.answered(message.source, message.round)
        self._grant_reads(leadership)
        probe = leadership.probe_after_heartbeat(message.source, self.commit_index)
        if probe is not None:
            self._send(probe)

    def _maybe_commit(self, leadership: Leadership) -> None:
        """Only an entry of the own term is committed by counting (section 5.4.2, figure 8)."""
        index = leadership.commit_index(self._ledger.durable_index)
        if index > self.commit_index and self.log.term(index) == self.term:
            self._commit(index)
            self._go_on_changing(leadership)

    # Members who come and go, leaders who go (dissertation sections 3.10 and 4).

    def may_change(self) -> bool:
        """Whether a change of members may begin: one at a time, each from committed ground.

        An entry of the own term must be committed before: else two leaders could change the same
        configuration in two ways (Ongaro, "bug in single-server membership changes", 2015).
        """
        return (
            self.leadership is not None
            and not self.is_transferring
            and not self.log.configuration.is_joint
            and self.log.configuration_index <= self.commit_index
            and self.log.term(self.commit_index) == self.term
        )

    def _go_on_changing(self, leadership: Leadership) -> None:
        """Leave a joint configuration once it is committed, also one begun by another leader."""
        if self.log.configuration_index > self.commit_index:
            return
        configuration = self.log.configuration
        if configuration.is_joint:
            self._append(configuration.left().to_text(), CONFIGURATION)
            self._maybe_commit(leadership)  # a majority of the new voters alone may hold it
        elif not configuration.is_voter(self.name):
            # The cluster goes on without this node (dissertation section 4.2.2); what waits to be
            # told how far the log is committed hears it from the next leader.
            self._become_follower(self.term)

    def _let_in(self, leadership: Leadership) -> None:
        """Make a learner that has caught up a voter (dissertation section 4.2.1)."""
        if self.log.configuration.promotable and self.may_change():
            name = leadership.caught_up(self._now_ns)
            if name is not None:
                self._append(self.log.configuration.promoting(name).to_text(), CONFIGURATION)

    def _hand_over(self, leadership: Leadership) -> None:
        target = leadership.hand_over()
        if target is not None:
            self._send(TimeoutNow(self.name, target, self.term))

    # Reads (dissertation section 6.4).

    def _start_reads(self) -> None:
        """Put what has been asked until now into one new round, or ask the leader for one."""
        if not self._reads.queued:
            return
        if self.leadership is not None:
            if self.log.term(self.commit_index) != self.term:
                return  # until the no-op commits, older commits may be unknown here
            self._heartbeat_all(self.leadership, self._reads.take_queued())
        elif self.leader is not None:
            request = self._reads.ask(self._now_ns)
            self._send(ReadIndexRequest(self.name, self.leader, self.term, request))

    def _grant_reads(self, leadership: Leadership) -> None:
        for confirmed in leadership.rounds.confirmed(self.log.configuration.halves):
            for read in confirmed.requests:
                if read.source == self.name:
                    self._reads.grant(ReadGrant(read.request, confirmed.index, self.term))
                else:
                    self._send_read_index(read, granted=True, index=confirmed.index)

    def _on_read_index_request(self, message: ReadIndexRequest) -> None:
        read = ReadRequest(message.source, message.request)
        if self.leadership is None or not self._reads.enqueue(read):
            self._send_read_index(read, granted=False, index=0)

    def _send_read_index(self, read: ReadRequest, *, granted: bool, index: int) -> None:
        self._send(ReadIndexReply(self.name, read.source, self.term, read.request, granted, index))

    def _on_read_index_reply(self, message: ReadIndexReply) -> None:
        granted = message.granted and message.source == self.leader
        self._reads.answered(message.request, message.index if granted else None, self.term)
