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

from collections.abc import Callable, Sequence

from node.core import quorum
from node.core.leadership import Leadership
from node.core.ledger import Ledger
from node.core.log import RaftLog
from node.core.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVoteReply,
    PreVoteRequest,
    ReadIndexReply,
    ReadIndexRequest,
    VoteReply,
    VoteRequest,
)
from node.core.quorum import Outcome
from node.core.reads import ReadDesk, ReadGrant, ReadRequest
from node.core.ready import Ready
from node.core.settings import TRANSITIONS, RandomStream, Role, Settings


class Raft:
    """The consensus module of one server."""

    def __init__(
        self,
        *,
        name: str,
        members: Sequence[str],
        settings: Settings,
        random: RandomStream,
        hard_state: HardState,
        log: RaftLog,
        now_ns: int,
    ) -> None:
        assert name in members
        self.name = name
        self.members = tuple(members)
        self.term = hard_state.term
        self.voted_for = hard_state.voted_for
        self.log = log
        self.role = Role.FOLLOWER
        self.leader: str | None = None
        self.leadership: Leadership | None = None
        self.commit_index = log.base_index
        self.violations = 0
        self._settings = settings
        self._random = random
        self._now_ns = now_ns
        self._leader_heard_ns: int | None = None
        self._votes: dict[str, bool] = {}
        self._ledger = Ledger(hard_state, log.last_index)
        self._messages: list[Message] = []
        self._messages_after_persist: list[Message] = []
        self._commit_reported = self.commit_index
        self._reads = ReadDesk(name, settings.queued_reads_max, first_number=now_ns)
        self._election_due_ns = 0
        self._reset_election_timer()

    # What the driver calls.

    def tick(self, now_ns: int) -> None:
        """Time has passed. To be called often, and before `step`."""
        now_ns = max(now_ns, self._now_ns)  # a clock that goes back is one that stands still
        pause_ns = now_ns - self._now_ns
        self._now_ns = now_ns
        if self.leadership is not None:
            self._tick_leader(self.leadership)
        elif now_ns >= self._election_due_ns:
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
        if message.source not in self.members or message.source == self.name:
            self.violations += 1
            return
        if message.term > self.term and not _asks_about_future(message):
            self._become_follower(message.term)
        if message.term < self.term:
            self._answer_outdated(message)
            return
        handler: Callable[[Raft, Message], None] = _HANDLERS[type(message)]
        handler(self, message)

    def propose(self, data: str) -> tuple[int, int] | None:
        """Append to the log; index and term of the entry, None if this node does not lead."""
        if self.role is not Role.LEADER:
            return None
        entry = Entry(self.log.last_index + 1, self.term, data)
        self.log.append([entry])
        return entry.index, entry.term

    def read(self, context: int) -> bool:
        """Ask for a read index. False if no leader is known; else grant or abort will follow."""
        return self.leader is not None and self._reads.enqueue(ReadRequest(self.name, context))

    def persisted(self, seq: int) -> None:
        """The batch `seq`, and all before it, is durable."""
        self._ledger.persisted(seq)
        if self.role is Role.CANDIDATE:
            # The own vote is a vote like any other: it counts when it is durable.
            if self._ledger.durable_hard_state == HardState(self.term, self.name):
                self._count_vote(self.name, granted=True)
        elif self.leadership is not None:
            self._maybe_commit(self.leadership)

    def ready(self) -> Ready | None:
        """What there is to do, None if nothing."""
        self._start_reads()
        if self.leadership is not None:
            self._replicate(self.leadership)
        hard_state = HardState(self.term, self.voted_for)
        changed: HardState | None = None
        truncate_from: int | None = None
        entries: tuple[Entry, ...] = ()
        if self._messages_after_persist or self._ledger.unsaved(self.log, hard_state):
            changed, truncate_from, entries = self._ledger.hand_out(
                self.log, hard_state, self._now_ns
            )
        elif not (
            self._messages or self._commit_reported < self.commit_index or self._reads.has_news()
        ):
            return None
        reads_ready, reads_aborted = self._reads.take_news()
        ready = Ready(
            seq=self._ledger.seq,
            hard_state=changed,
            truncate_from=truncate_from,
            entries=entries,
            messages=tuple(self._messages),
            messages_after_persist=tuple(self._messages_after_persist),
            commit_to=self.commit_index,
            reads_ready=reads_ready,
            reads_aborted=reads_aborted,
        )
        self._messages.clear()
        self._messages_after_persist.clear()
        self._commit_reported = self.commit_index
        return ready

    # Roles and time.

    def _become(self, role: Role) -> None:
        assert role in TRANSITIONS[self.role], f"{self.role} -> {role}"
        self.role = role

    def _become_follower(self, term: int, leader: str | None = None) -> None:
        """Follow in a term that is this one or newer. A vote is forgotten only with its term."""
        assert term >= self.term
        led = self.leadership is not None
        if term > self.term or leader != self.leader:
            self._abort_reads()
        if term > self.term:
            self.term = term
            self.voted_for = None
        self._become(Role.FOLLOWER)
        self.leader = leader
        self.leadership = None
        self._votes = {}
        if led:
            self._reset_election_timer()

    def _become_leader(self) -> None:
        self._become(Role.LEADER)
        self._abort_reads()
        self.leader = self.name
        self.leadership = Leadership(
            name=self.name,
            members=self.members,
            term=self.term,
            log=self.log,
            settings=self._settings,
            now_ns=self._now_ns,
        )
        # Entries of former terms commit only behind one of this term (Raft section 5.4.2), and
        # only then the commit index is known to be up to date (section 8).
        self.log.append([Entry(self.log.last_index + 1, self.term, "")])

    def _reset_election_timer(self) -> None:
        """Draw anew from [T, 2T), so that split votes are rare (Raft section 5.2)."""
        timeout_ns = self._settings.election_timeout_ns
        self._election_due_ns = self._now_ns + self._random.randrange(timeout_ns, 2 * timeout_ns)

    def _tick_leader(self, leadership: Leadership) -> None:
        """Step down without a majority or a disk (dissertation section 6.2), else heartbeat."""
        timeout_ns = self._settings.election_timeout_ns
        contact_ns = leadership.quorum_contact_ns(self._now_ns)
        disk_ns = self._ledger.waiting_since_ns()
        lonely = self._now_ns - contact_ns > timeout_ns
        stalled = disk_ns is not None and self._now_ns - disk_ns > 2 * timeout_ns
        if lonely or stalled:
            self._become_follower(self.term)
        elif self._now_ns >= leadership.heartbeat_due_ns:
            self._heartbeat_all(leadership)

    # Elections (Raft section 5.2; pre-vote: dissertation section 9.6).

    def _campaign(self, role: Role) -> None:
        self._abort_reads()
        self._become(role)
        self.leader = None
        self._votes = {}
        self._reset_election_timer()
        last = (self.log.last_index, self.log.last_term)
        if role is Role.CANDIDATE:
            self.term += 1
            self.voted_for = self.name
            for member in self._others():
                self._send(VoteRequest(self.name, member, self.term, *last))
        else:
            for member in self._others():
                self._send(PreVoteRequest(self.name, member, self.term + 1, *last))
            # A pre-vote promises nothing, so the own one needs no disk.
            self._count_vote(self.name, granted=True)

    def _count_vote(self, voter: str, *, granted: bool) -> None:
        self._votes[voter] = granted
        outcome = quorum.tally(self.members, self._votes)
        if outcome is Outcome.WON and self.role is Role.PRE_CANDIDATE:
            self._campaign(Role.CANDIDATE)
        elif outcome is Outcome.WON:
            self._become_leader()
        elif outcome is Outcome.LOST and self.role is Role.CANDIDATE:
            self._become_follower(self.term)

    def _on_pre_vote_request(self, message: PreVoteRequest) -> None:
        """Grant if this node would vote, and misses a leader itself.

        The asker's own former followers do not hold that leadership against it. Granting is no
        promise and resets no timer.
        """
        heard_ns = self._leader_heard_ns
        led = self.role is Role.LEADER or (
            self.leader not in (None, message.source)
            and heard_ns is not None
            and self._now_ns - heard_ns < self._settings.election_timeout_ns
        )
        granted = (
            message.term > self.term
            and not led
            and self.log.is_up_to_date(message.last_index, message.last_term)
        )
        term = message.term if granted else self.term
        self._send(PreVoteReply(self.name, message.source, term, granted))

    def _on_pre_vote_reply(self, message: PreVoteReply) -> None:
        if self.role is not Role.PRE_CANDIDATE:
            return
        if message.granted and message.term != self.term + 1:
            return  # of an earlier candidacy
        self._count_vote(message.source, granted=message.granted)

    def _on_vote_request(self, message: VoteRequest) -> None:
        """One vote a term, for a log that is at least as complete (sections 5.2 and 5.4.1)."""
        granted = self.voted_for in (None, message.source) and self.log.is_up_to_date(
            message.last_index, message.last_term
        )
        if granted:
            self.voted_for = message.source
            self._reset_election_timer()
        self._send(VoteReply(self.name, message.source, self.term, granted))

    def _on_vote_reply(self, message: VoteReply) -> None:
        if self.role is Role.CANDIDATE:
            self._count_vote(message.source, granted=message.granted)

    # Followers (Raft section 5.3).

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
        """AppendEntries; the consistency check holds for empty ones too."""
        if not self._follow(message.source):
            return
        prev_index, prev_term = message.prev_index, message.prev_term
        last_new = prev_index + len(message.entries)
        # An entry at or below the commit index agrees with any leader of this term, and may be gone
        # into a snapshot: a prev_index down there is a match, not a conflict.
        if prev_index >= self.commit_index and self.log.term(prev_index) != prev_term:
            hint = self.log.last_agreeable(prev_index, prev_term)
            self._send_append_reply(message, success=False, index=prev_index, hint=hint)
            return
        entries = [entry for entry in message.entries if entry.index > self.log.base_index]
        conflict = self.log.find_conflict(entries)
        if conflict is not None:
            if conflict <= self.commit_index:
                self.violations += 1
                return
            if conflict <= self.log.last_index:
                self.log.truncate_from(conflict)
                self._ledger.truncated(conflict)
            self.log.append(entries[conflict - entries[0].index :])
        # Only what this message vouches for: own entries behind it may be of a lost leadership.
        self._commit(min(message.commit, last_new))
        self._send_append_reply(message, success=True, index=last_new, hint=0)

    def _send_append_reply(
        self, message: AppendRequest, *, success: bool, index: int, hint: int
    ) -> None:
        hint_term = self.log.term(hint) or 0
        self._send(
            AppendReply(self.name, message.source, self.term, success, index, hint, hint_term)
        )

    def _on_heartbeat(self, message: Heartbeat) -> None:
        if not self._follow(message.source):
            return
        self._commit(min(message.commit, self.log.last_index))
        self._send(HeartbeatReply(self.name, message.source, self.term, message.round))

    def _commit(self, index: int) -> None:
        """The commit index never falls."""
        self.commit_index = max(self.commit_index, index)
        assert self.commit_index <= self.log.last_index

    # Leaders (Raft sections 5.3 and 5.4).

    def _replicate(self, leadership: Leadership) -> None:
        for member in leadership.followers:
            self._messages.extend(leadership.appends(member, self.commit_index))
            if leadership.owes_commit(member, self.commit_index):
                self._send(leadership.heartbeat(member, self.commit_index))

    def _heartbeat_all(self, leadership: Leadership) -> None:
        leadership.heartbeat_due_ns = self._now_ns + self._settings.heartbeat_interval_ns
        for member in leadership.followers:
            self._send(leadership.heartbeat(member, self.commit_index))

    def _on_append_reply(self, message: AppendReply) -> None:
        if self.leadership is None:
            return
        self.leadership.heard(message.source, self._now_ns)
        if self.leadership.on_append_reply(message):
            self._maybe_commit(self.leadership)

    def _on_heartbeat_reply(self, message: HeartbeatReply) -> None:
        if self.leadership is None:
            return
        self.leadership.heard(message.source, self._now_ns)
        self.leadership.rounds.answered(message.source, message.round)
        self._grant_reads(self.leadership)
        probe = self.leadership.probe_after_heartbeat(message.source, self.commit_index)
        if probe is not None:
            self._send(probe)

    def _maybe_commit(self, leadership: Leadership) -> None:
        """Only an entry of the own term is committed by counting (section 5.4.2, figure 8)."""
        index = leadership.commit_index(self._ledger.durable_index)
        if index > self.commit_index and self.log.term(index) == self.term:
            self._commit(index)

    # Reads (dissertation section 6.4).

    def _start_reads(self) -> None:
        """Put what has been asked until now into one new round, or ask the leader for one."""
        if not self._reads.queued:
            return
        if self.leadership is not None:
            if self.log.term(self.commit_index) != self.term:
                return  # until the no-op commits, older commits may be unknown here
            self.leadership.rounds.start(self._reads.take_queued(), self.commit_index)
            self._heartbeat_all(self.leadership)
            self._grant_reads(self.leadership)
        elif self.leader is not None:
            request = self._reads.ask(self._now_ns)
            self._send(ReadIndexRequest(self.name, self.leader, self.term, request))

    def _grant_reads(self, leadership: Leadership) -> None:
        for confirmed in leadership.rounds.confirmed():
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

    def _abort_reads(self) -> None:
        """The leader is gone or another: what was asked of it is void."""
        lost = self.leadership.rounds.abandon() if self.leadership is not None else []
        self._reads.abort(lost)

    # Sending.

    def _others(self) -> list[str]:
        return [member for member in self.members if member != self.name]

    def _send(self, message: Message) -> None:
        """Queue a message; it waits for the disk if it speaks for something not yet durable.

        An append reply speaks for entries, a vote for a vote, and every message of a term for
        that term (Raft figure 2: "updated on stable storage before responding to RPCs").
        """
        hard_state = HardState(self.term, self.voted_for)
        if (
            isinstance(message, AppendReply | VoteReply)
            or self._ledger.durable_hard_state != hard_state
        ):
            self._messages_after_persist.append(message)
        else:
            self._messages.append(message)

    def _answer_outdated(self, message: Message) -> None:
        """Tell who acts in an old term of the new one; old answers are dropped.

        An old leader must be answered too: it is how a node whose term ran ahead of the majority's
        gets back (dissertation section 9.6).
        """
        source, term = message.source, self.term
        match message:
            case AppendRequest():
                self._send_append_reply(message, success=False, index=message.prev_index, hint=0)
            case Heartbeat():
                self._send(HeartbeatReply(self.name, source, term, 0))
            case PreVoteRequest():
                self._send(PreVoteReply(self.name, source, term, granted=False))
            case VoteRequest():
                self._send(VoteReply(self.name, source, term, granted=False))
            case ReadIndexRequest():
                read = ReadRequest(source, message.request)
                self._send_read_index(read, granted=False, index=0)
            case _:
                pass


def _asks_about_future(message: Message) -> bool:
    """Pre-votes name the term that would be, not one that is."""
    return isinstance(message, PreVoteRequest) or (
        isinstance(message, PreVoteReply) and message.granted
    )


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
}
