"""How a server comes to lead: elections, with pre-vote, and leadership that is handed over.

Rules of this file:
- Nobody raises the term without a majority that would vote (pre-vote: dissertation section 9.6), but
  for a leader that asked for it (section 3.10).
- One vote a term, durable before it is said; the own vote too counts only when it is durable.
- Where leases are on, nobody votes while a leader's lease may last (section 6.4.1).
"""

from node.core import quorum
from node.core.leadership import Leadership
from node.core.messages import (
    NOOP,
    PreVoteReply,
    PreVoteRequest,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from node.core.quorum import Outcome
from node.core.server_state import ServerState
from node.core.settings import Role


class Elections(ServerState):
    """Raft section 5.2."""

    def _may_stand(self) -> bool:
        """Only who votes stands for election, and nobody whose state is not on disk yet.

        Who is removed by an entry that is not known to be committed stands too: that entry may be in
        its log alone, and then nobody with a shorter one can be elected (dissertation section 4.2.2).
        It does not count itself.
        """
        log = self.log
        votes = log.configuration.is_voter(self.name) or log.configuration_at(
            self.commit_index
        ).is_voter(self.name)
        return votes and self._install is None and self._installing_seq is None

    def _hears_leader(self, asker: str) -> bool:
        """Was a leader, other than the asker, heard within the least election timeout?"""
        heard_ns = self._leader_heard_ns
        return self.role is Role.LEADER or (
            asker != self.leader
            and heard_ns is not None
            and self._now_ns - heard_ns < self._settings.election_timeout_ns
        )

    def _is_loyal(self, message: VoteRequest) -> bool:
        """Whether a leader was heard so lately that its lease may last: then there is no election."""
        return self._settings.leases and not message.forced and self._hears_leader(message.source)

    def _campaign(self, role: Role, *, forced: bool = False) -> None:
        self._abort_reads()
        self._become(role)
        self.leader = None
        self._votes = {}
        self._reset_election_timer()
        last = (self.log.last_index, self.log.last_term)
        if role is Role.CANDIDATE:
            self.term += 1
            self.voted_for = self.name
            for member in self._voters():
                self._send(VoteRequest(self.name, member, self.term, *last, forced))
        else:
            for member in self._voters():
                self._send(PreVoteRequest(self.name, member, self.term + 1, *last))
            # A pre-vote promises nothing, so the own one needs no disk.
            self._count_vote(self.name, granted=True)

    def _count_vote(self, voter: str, *, granted: bool) -> None:
        self._votes[voter] = granted
        outcome = quorum.tally(self.log.configuration.halves, self._votes)
        if outcome is Outcome.WON and self.role is Role.PRE_CANDIDATE:
            self._campaign(Role.CANDIDATE)
        elif outcome is Outcome.WON:
            self._become_leader()
        elif outcome is Outcome.LOST and self.role is Role.CANDIDATE:
            self._become_follower(self.term)

    def _become_leader(self) -> None:
        self._become(Role.LEADER)
        self._abort_reads()
        self.leader = self.name
        self.leadership = Leadership(
            name=self.name,
            term=self.term,
            log=self.log,
            settings=self._settings,
            now_ns=self._now_ns,
        )
        # Entries of former terms commit only behind one of this term (Raft section 5.4.2), and
        # only then the commit index is known to be up to date (section 8).
        self._append("", NOOP)

    def _on_pre_vote_request(self, message: PreVoteRequest) -> None:
        """Grant if this node would vote, and misses a leader itself.

        The asker's own former followers do not hold that leadership against it. Granting is no
        promise and resets no timer.
        """
        # Where leases are on, a leader that was heard is missed only an election timeout later, known
        # or not: the vote would be refused, and the asker's term would rise for nothing.
        led = self._hears_leader(message.source) and (
            self.leader is not None or self._settings.leases
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

    def _on_timeout_now(self, message: TimeoutNow) -> None:
        """The leader hands over: no pre-vote, since the leader's silence is not awaited."""
        if self.role is Role.FOLLOWER and message.source == self.leader and self._may_stand():
            self._campaign(Role.CANDIDATE, forced=True)
