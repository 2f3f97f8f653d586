"""What a leader knows and decides, from its election to its end.

Rules of this file:
- An object of this class lives as long as one leadership: nothing of it survives a step-down, so
  nothing of it can leak into the next term.
- It decides what to send and how far the log is committed; it changes no term, vote or role.
- The leader counts itself only as far as its own disk has confirmed, and only where it votes.
- Who belongs to the cluster is what the newest configuration in the log says, committed or not.
"""

from collections.abc import Iterator

from node.core import quorum
from node.core.log import RaftLog
from node.core.messages import AppendReply, AppendRequest, Heartbeat
from node.core.progress import Flow, Progress
from node.core.reads import ReadRounds
from node.core.ready import ChunkWanted
from node.core.settings import Settings


class Leadership:
    """The leader's volatile state (Raft figure 2, and what pipelining and reads add to it)."""

    def __init__(
        self, *, name: str, term: int, log: RaftLog, settings: Settings, now_ns: int
    ) -> None:
        self.name = name
        self.term = term
        self.rounds = ReadRounds(name)
        self.heartbeat_due_ns = now_ns
        self.followers: dict[str, Progress] = {}
        self.transfer_to: str | None = None
        self._transfer_until_ns = 0
        self._handed_over = False
        self._log = log
        self._settings = settings
        self.reconfigure(now_ns)

    def reconfigure(self, now_ns: int) -> None:
        """The configuration changed: know the new members, forget those who left."""
        members = [name for name in self._log.configuration.members if name != self.name]
        self.followers = {
            member: self.followers.get(member)
            or Progress(
                next_index=self._log.last_index + 1,
                now_ns=now_ns,
                inflight_max=self._settings.inflight_max,
            )
            for member in members
        }

    # How far, and with whom.

    def commit_index(self, durable_index: int) -> int:
        """The highest index that a majority holds durably, the leader included as far as it does.

        Whether it may be committed also depends on its term; the caller asks that.
        """
        matches = {name: follower.match_index for name, follower in self.followers.items()}
        matches[self.name] = durable_index
        return quorum.committed(self._log.configuration.halves, matches)

    def quorum_contact_ns(self, now_ns: int) -> int:
        """Since when a majority has been heard from, the leader included."""
        contacts = {name: follower.contact_ns for name, follower in self.followers.items()}
        contacts[self.name] = now_ns
        return quorum.committed(self._log.configuration.halves, contacts)

    def heard(self, member: str, now_ns: int) -> bool:
        """A message of this term came. False if it is not from a follower (any more)."""
        follower = self.followers.get(member)
        if follower is None:
            return False
        follower.contact_ns = now_ns
        return True

    def has_lease(self, now_ns: int) -> bool:
        """Whether nobody else can have been elected until now (dissertation section 6.4.1).

        Never again once the leadership was offered to somebody: the offer may arrive late.
        """
        since_ns = self.rounds.lease_from_ns
        return (
            self._settings.leases
            and not self._handed_over
            and since_ns is not None
            and now_ns - since_ns < self._settings.lease_ns
        )

    # Replication (Raft section 5.3).

    def appends(self, member: str, commit_index: int) -> Iterator[AppendRequest]:
        """The AppendRequests that may leave to a follower now."""
        follower = self.followers[member]
        while follower.may_send():
            if follower.next_index <= self._log.base_index:
                follower.needs_snapshot()
                return
            behind = follower.next_index <= self._log.last_index
            if not behind and follower.flow is Flow.REPLICATE:
                return
            request = self._append(member, follower.next_index - 1, commit_index)
            follower.sent(request.prev_index + len(request.entries))
            follower.commit_told = max(
                follower.commit_told,
                min(commit_index, request.prev_index + len(request.entries)),
            )
            yield request

    def chunk_wanted(self, member: str) -> ChunkWanted | None:
        """The part of a snapshot that a follower should be sent now."""
        follower = self.followers[member]
        if follower.flow is not Flow.SNAPSHOT or follower.chunk_sent:
            return None
        follower.chunk_sent = True
        return ChunkWanted(member, follower.snapshot_index, follower.chunk_offset)

    def probe_after_heartbeat(self, member: str, commit_index: int) -> AppendRequest | None:
        """A follower answers but lacks entries: ask where its log ends, in case one was lost.

        The request is empty, so a pipeline that is merely busy pays one small message for it.
        """
        follower = self.followers[member]
        if follower.match_index >= self._log.last_index:
            return None
        follower.resume()
        if follower.flow is not Flow.REPLICATE:
            return None  # `appends` sends the probe itself, `chunk_wanted` the chunk
        if follower.next_index <= self._log.base_index:
            return None
        return self._append(member, follower.next_index - 1, commit_index, empty=True)

    def _append(
        self, member: str, prev_index: int, commit_index: int, *, empty: bool = False
    ) -> AppendRequest:
        prev_term = self._log.term(prev_index)
        assert prev_term is not None, "a follower needs entries that are gone"
        settings = self._settings
        entries = (
            ()
            if empty
            else self._log.slice(
                prev_index + 1, settings.append_entries_max, settings.append_bytes_max
            )
        )
        return AppendRequest(
            self.name, member, self.term, prev_index, prev_term, commit_index, entries
        )

    def on_append_reply(self, reply: AppendReply) -> bool:
        """Learn from a follower's answer. True if the commit index may have moved."""
        follower = self.followers[reply.source]
        if not reply.success:
            agreeable = self._log.last_agreeable(reply.hint_index, reply.hint_term)
            follower.refused(reply.index, agreeable)
            return False
        if reply.index > self._log.last_index:
            return False  # nobody can hold more than its leader sent: not from this protocol
        return follower.acknowledged(reply.index)

    def heartbeat(self, member: str, commit_index: int) -> Heartbeat:
        """A heartbeat of the latest round.

        The commit index is clamped to what the follower is known to hold: a heartbeat checks no
        log, so it must not commit what the follower has behind the point where the logs agree.
        """
        follower = self.followers[member]
        commit = min(follower.match_index, commit_index)
        follower.commit_told = max(follower.commit_told, commit)
        return Heartbeat(self.name, member, self.term, commit, self.rounds.number)

    def owes_commit(self, member: str, commit_index: int) -> bool:
        """Does a follower hold committed entries that it was not told to be so?"""
        follower = self.followers[member]
        return follower.commit_told < min(follower.match_index, commit_index)

    # Handing over (dissertation section 3.10) and letting in (section 4.2.1).

    def begin_transfer(self, target: str, now_ns: int) -> None:
        """From now on nothing is proposed, until `target` leads or an election timeout is over."""
        self.transfer_to = target
        self._transfer_until_ns = now_ns + self._settings.election_timeout_ns

    def end_transfer_if_late(self, now_ns: int) -> None:
        """Go on leading: the other one did not take over."""
        if self.transfer_to is not None and now_ns >= self._transfer_until_ns:
            self.transfer_to = None

    def hand_over(self) -> str | None:
        """The member to be told that it is time, once it holds the whole log; once for a transfer."""
        target = self.followers.get(self.transfer_to or "")
        if target is None or target.match_index < self._log.last_index:
            return None
        # Leases end before the offer leaves.
        self._handed_over = True
        member, self.transfer_to = self.transfer_to, ""
        return member

    def caught_up(self, now_ns: int) -> str | None:
        """A learner that may become a voter now."""
        last_index, within_ns = self._log.last_index, self._settings.election_timeout_ns
        for name in self._log.configuration.promotable:
            follower = self.followers.get(name)
            if follower is not None and follower.has_caught_up(last_index, now_ns, within_ns):
                return name
        return None
