"""What one Raft server holds, and the few changes of it that everything else is made of.

Rules of this file:
- Term and role change here and nowhere else, by the table of `settings.TRANSITIONS`.
- Every message leaves through `_send`, which knows what has to be durable first.
- The commit index never falls.
"""

from node.core.leadership import Leadership
from node.core.ledger import Ledger
from node.core.log import RaftLog
from node.core.messages import (
    CONFIGURATION,
    AppendReply,
    Entry,
    HardState,
    Message,
    SnapshotChunk,
    SnapshotReply,
    VoteReply,
)
from node.core.reads import ReadDesk
from node.core.ready import Install
from node.core.settings import TRANSITIONS, RandomStream, Role, Settings


class ServerState:
    """The state of one server (Raft figure 2)."""

    def __init__(
        self,
        *,
        name: str,
        settings: Settings,
        random: RandomStream,
        hard_state: HardState,
        log: RaftLog,
        now_ns: int,
    ) -> None:
        self.name = name
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
        # A node that has just started may have promised an election timeout of patience before: where
        # leases stand on such promises it keeps one now (dissertation section 6.4.1).
        self._leader_heard_ns: int | None = now_ns if settings.leases else None
        self._votes: dict[str, bool] = {}
        self._ledger = Ledger(hard_state, log.last_index)
        self._messages: list[Message] = []
        self._messages_after_persist: list[Message] = []
        self._chunks: list[SnapshotChunk] = []
        self._install: Install | None = None
        self._installing_seq: int | None = None
        self._commit_reported = self.commit_index
        self._reads = ReadDesk(name, settings.queued_reads_max, first_number=now_ns)
        self._election_due_ns = 0
        self._reset_election_timer()

    @property
    def is_transferring(self) -> bool:
        """Is the leadership being handed over? Nothing is proposed meanwhile."""
        return self.leadership is not None and self.leadership.transfer_to is not None

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

    def _reset_election_timer(self) -> None:
        """Draw anew from [T, 2T), so that split votes are rare (Raft section 5.2)."""
        timeout_ns = self._settings.election_timeout_ns
        self._election_due_ns = self._now_ns + self._random.randrange(timeout_ns, 2 * timeout_ns)

    def _abort_reads(self) -> None:
        """The leader is gone or another: what was asked of it is void."""
        lost = self.leadership.rounds.abandon() if self.leadership is not None else []
        self._reads.abort(lost)

    def _commit(self, index: int) -> None:
        """The commit index never falls."""
        self.commit_index = max(self.commit_index, index)
        assert self.commit_index <= self.log.last_index

    def _append(self, data: str, kind: str) -> tuple[int, int]:
        """Append an entry of this leadership."""
        assert self.leadership is not None
        entry = Entry(self.log.last_index + 1, self.term, data, kind)
        self.log.append([entry])
        if kind == CONFIGURATION:
            self.leadership.reconfigure(self._now_ns)
        return entry.index, entry.term

    def _others(self) -> list[str]:
        return [member for member in self.log.configuration.members if member != self.name]

    def _voters(self) -> list[str]:
        """All others whose votes count."""
        configuration = self.log.configuration
        return [member for member in self._others() if configuration.is_voter(member)]

    def _send(self, message: Message) -> None:
        """Queue a message; it waits for the disk if it speaks for something not yet durable.

        An append reply speaks for entries, a vote for a vote, and every message of a term for
        that term (Raft figure 2: "updated on stable storage before responding to RPCs").
        """
        hard_state = HardState(self.term, self.voted_for)
        if (
            isinstance(message, AppendReply | VoteReply)
            or (isinstance(message, SnapshotReply) and message.success)
            or self._ledger.durable_hard_state != hard_state
        ):
            self._messages_after_persist.append(message)
        else:
            self._messages.append(message)
