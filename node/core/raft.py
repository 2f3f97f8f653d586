"""One Raft server: time and messages in, a `Ready` out.

Rules of this file:
- Nothing here waits, sends, writes or asks the time. The driver calls `tick`, `step`, `propose`,
  `read` and `persisted`, then does what `ready` says, in the order that `Ready` describes.
- A message of a newer term changes term and role together, before anything else is looked at.
- Whatever another node sends, nothing raises: a message that cannot be right is counted in
  `violations` and has no effect. Assertions are for what this file alone decides.

Raft = Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014;
dissertation = Ongaro, "Consensus: Bridging Theory and Practice", 2014.
"""

from collections.abc import Callable

from node.core import acceptance
from node.core.answers import refusal
from node.core.elections import Elections
from node.core.leadership import Leadership
from node.core.ledger import Handed
from node.core.membership import Configuration, configuration_from_text
from node.core.messages import (
    COMMAND,
    CONFIGURATION,
    AppendReply,
    AppendRequest,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVoteReply,
    PreVoteRequest,
    ReadIndexReply,
    ReadIndexRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from node.core.reads import ReadRequest
from node.core.ready import Install, Ready
from node.core.replication import Replication
from node.core.settings import Role


class Raft(Elections, Replication):
    """The consensus module of one server: what its driver calls."""

    def tick(self, now_ns: int) -> None:
        """Time has passed. To be called often, and before `step`."""
        now_ns = max(now_ns, self._now_ns)  # a clock that goes back is one that stands still
        pause_ns = now_ns - self._now_ns
        self._now_ns = now_ns
        if self.leadership is not None:
            self._tick_leader(self.leadership)
        elif now_ns >= self._election_due_ns and self._may_stand():
            if pause_ns > self._settings.election_timeout_ns:
                # This process was stopped, not the leader silent: what waits in the sockets speaks
                # first.
                self._reset_election_timer()
            else:
                self._campaign(Role.PRE_CANDIDATE)
        else:
            self._reads.ask_again(now_ns - self._settings.read_retry_ns)

    def step(self, message: Message) -> None:
        """A message came from another member."""
        if message.source == self.name:
            self.violations += 1
            return
        if isinstance(message, VoteRequest) and self._is_loyal(message):
            return
        if message.term > self.term and not _asks_about_future(message):
            self._become_follower(message.term)
        if message.term < self.term:
            answer = refusal(message, self.name, self.term)
            if answer is not None:
                self._send(answer)
            return
        handler: Callable[[Raft, Message], None] = _HANDLERS[type(message)]
        handler(self, message)

    def propose(self, data: str) -> tuple[int, int] | None:
        """Append a command to the log; index and term of the entry, None if that is not possible."""
        if self.leadership is None or self.is_transferring:
            return None
        return self._append(data, COMMAND)

    def read(self, context: int) -> bool:
        """Ask for a read index. False if no leader is known; else grant or abort will follow."""
        return self.leader is not None and self._reads.enqueue(ReadRequest(self.name, context))

    def has_lease(self, now_ns: int) -> bool:
        """Whether what is committed here is all that anybody can have been told of until now."""
        return (
            self.leadership is not None
            and self.leadership.has_lease(now_ns)
            and self.log.term(self.commit_index) == self.term
        )

    def persisted(self, seq: int) -> None:
        """The batch `seq`, and all before it, is durable."""
        self._ledger.persisted(seq)
        if self._installing_seq is not None and seq >= self._installing_seq:
            self._installing_seq = None
        if self.role is Role.CANDIDATE:
            # The own vote is a vote like any other: it counts when it is durable.
            if self._ledger.durable_hard_state == HardState(self.term, self.name):
                self._count_vote(self.name, granted=True)
        elif self.leadership is not None:
            self._maybe_commit(self.leadership)

    def ready(self) -> Ready | None:
        """What there is to do, None if nothing."""
        self._start_reads()
        wanted = self._replicate(self.leadership) if self.leadership is not None else ()
        hard_state = HardState(self.term, self.voted_for)
        handed = _NOTHING
        install, self._install = self._install, None
        if (
            self._messages_after_persist
            or install is not None
            or self._ledger.unsaved(self.log, hard_state)
        ):
            handed = self._ledger.hand_out(self.log, hard_state, self._now_ns)
            if install is not None:
                self._installing_seq = self._ledger.seq
        elif not (
            self._messages
            or wanted
            or self._chunks
            or self._commit_reported < self.commit_index
            or self._reads.has_news()
        ):
            return None
        reads_ready, reads_aborted = self._reads.take_news()
        ready = Ready(
            seq=self._ledger.seq,
            install=install,
            hard_state=handed.hard_state,
            base=handed.base,
            truncate_from=handed.truncate_from,
            entries=handed.entries,
            messages=tuple(self._messages),
            messages_after_persist=tuple(self._messages_after_persist),
            chunks_wanted=tuple(wanted),
            chunks=tuple(self._chunks),
            commit_to=self.commit_index,
            reads_ready=reads_ready,
            reads_aborted=reads_aborted,
        )
        self._messages.clear()
        self._messages_after_persist.clear()
        self._chunks.clear()
        self._commit_reported = self.commit_index
        return ready

    def _tick_leader(self, leadership: Leadership) -> None:
        """Step down without a majority or a disk (dissertation section 6.2), else heartbeat."""
        leadership.end_transfer_if_late(self._now_ns)
        timeout_ns = self._settings.election_timeout_ns
        contact_ns = leadership.quorum_contact_ns(self._now_ns)
        disk_ns = self._ledger.waiting_since_ns()
        lonely = self._now_ns - contact_ns > timeout_ns
        stalled = disk_ns is not None and self._now_ns - disk_ns > 2 * timeout_ns
        if lonely or stalled:
            self._become_follower(self.term)
            return
        if self._now_ns >= leadership.heartbeat_due_ns:
            self._heartbeat_all(leadership)
        self._let_in(leadership)  # not only with heartbeats: reads put those off for ever

    # Members (Raft section 6), and handing over.

    def change(self, to: Configuration) -> tuple[int, int] | None:
        """Append a configuration; None if this node may not begin a change (now)."""
        return self._append(to.to_text(), CONFIGURATION) if self.may_change() else None

    def transfer(self, target: str) -> bool:
        """Let another voter take over (dissertation section 3.10). False if that cannot begin."""
        leadership = self.leadership
        if leadership is None or self.is_transferring or target not in self._others():
            return False
        if target not in self.log.configuration.voters:
            return False
        leadership.begin_transfer(target, self._now_ns)
        self._hand_over(leadership)
        return True

    # Snapshots (Raft section 7).

    def compact(self, index: int) -> int:
        """A snapshot at or behind `index` is durable: forget the entries up to there, or as far as
        the own disk has them. Return how far."""
        index = min(index, self.commit_index, self._ledger.durable_index)
        if index > self.log.base_index:
            self.log.compact(index)
        return self.log.base_index

    def chunk(self, message: SnapshotChunk) -> None:
        """Send a part of a snapshot that a follower wanted."""
        follower = self.leadership and self.leadership.followers.get(message.target)
        if follower and message.term == self.term:
            follower.chunk_leaves(message.index, message.offset)
            self._send(message)

    def chunk_received(self, message: SnapshotChunk, wanted_offset: int) -> None:
        """A part of a snapshot was kept; the next one begins at `wanted_offset`."""
        if message.term == self.term:
            reply = SnapshotReply(
                self.name, message.source, self.term, message.index, wanted_offset, success=False
            )
            self._send(reply)

    def install(self, message: SnapshotChunk) -> bool:
        """A snapshot has arrived whole. False if it is of no use any more, or not now.

        What it holds is committed, whichever term it was sent in: it counts also when that term is
        over. Only an answer would come too late then.
        """
        index, term = message.index, message.snapshot_term
        if index <= self.commit_index or self.role in (Role.CANDIDATE, Role.LEADER):
            return False
        if self.role is Role.PRE_CANDIDATE:
            self._become_follower(self.term)  # nobody stands whose state is not on disk yet
        configuration = configuration_from_text(message.configuration)
        acceptance.install(self.log, self._ledger, index, term, configuration)
        self._install = Install(index, term, configuration)
        self._commit(index)
        if message.term == self.term:
            self._send(SnapshotReply(self.name, message.source, self.term, index, 0, success=True))
        return True


def _asks_about_future(message: Message) -> bool:
    """Pre-votes name the term that would be, not one that is."""
    return isinstance(message, PreVoteRequest) or (
        isinstance(message, PreVoteReply) and message.granted
    )


_NOTHING = Handed(None, None, None, ())

_HANDLERS: dict[type[Message], Callable[[Raft, Message], None]] = {
    PreVoteRequest: Raft._on_pre_vote_request,  # type: ignore[dict-item]
    PreVoteReply: Raft._on_pre_vote_reply,  # type: ignore[dict-item]
    VoteRequest: Raft._on_vote_request,  # type: ignore[dict-item]
    VoteReply: Raft._on_vote_reply,  # type: ignore[dict-item]
    AppendRequest: Raft._on_append_request,  # type: ignore[dict-item]
    AppendReply: Raft._on_append_reply,  # type: ignore[dict-item]
    Heartbeat: Raft._on_heartbeat,  # type: ignore[dict-item]
    HeartbeatReply: Raft._on_heartbeat_reply,  # type: ignore[dict-item]
    ReadIndexRequest: Raft._on_read_index_request,  # type: ignore[dict-item]
    ReadIndexReply: Raft._on_read_index_reply,  # type: ignore[dict-item]
    TimeoutNow: Raft._on_timeout_now,  # type: ignore[dict-item]
    SnapshotChunk: Raft._on_snapshot_chunk,  # type: ignore[dict-item]
    SnapshotReply: Raft._on_snapshot_reply,  # type: ignore[dict-item]
}
