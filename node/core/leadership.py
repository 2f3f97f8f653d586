"""What a leader knows and decides, from its election to its end.

Rules of this file:
- An object of this class lives as long as one leadership: nothing of it survives a step-down, so
  nothing of it can leak into the next term.
- It decides what to send and how far the log is committed; it changes no term, vote or role.
- The leader counts itself only as far as its own disk has confirmed.
"""

from collections.abc import Iterator, Sequence

from node.core import quorum
from node.core.log import RaftLog
from node.core.messages import AppendReply, AppendRequest, Heartbeat
from node.core.progress import Flow, Progress
from node.core.reads import ReadRounds
from node.core.settings import Settings


class Leadership:
    """The leader's volatile state (Raft figure 2, and what pipelining and reads add to it)."""

    def __init__(
        self,
        *,
        name: str,
        members: Sequence[str],
        term: int,
        log: RaftLog,
        settings: Settings,
        now_ns: int,
    ) -> None:
        self.name = name
        self.term = term
        self.rounds = ReadRounds(name, members)
        self.heartbeat_due_ns = now_ns
        self._log = log
        self._settings = settings
        self.followers: dict[str, Progress] = {
            member: Progress(
                next_index=log.last_index + 1, now_ns=now_ns, inflight_max=settings.inflight_max
            )
            for member in members
            if member != name
        }

    def commit_index(self, durable_index: int) -> int:
        """The highest index that a majority holds durably, the leader included as far as it does.

        Whether it may be committed also depends on its term; the caller asks that.
        """
        matches = [follower.match_index for follower in self.followers.values()]
        return quorum.committed([durable_index, *matches])

    def quorum_contact_ns(self, now_ns: int) -> int:
        """Since when a majority has been heard from, the leader included."""
        contacts = [follower.contact_ns for follower in self.followers.values()]
        return quorum.committed([now_ns, *contacts])

    def heard(self, member: str, now_ns: int) -> None:
        """A message of this term came from a follower."""
        self.followers[member].contact_ns = now_ns

    def appends(self, member: str, commit_index: int) -> Iterator[AppendRequest]:
        """The AppendRequests that may leave to a follower now."""
        follower = self.followers[member]
        while follower.may_send():
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

    def probe_after_heartbeat(self, member: str, commit_index: int) -> AppendRequest | None:
        """A follower answers but lacks entries: ask where its log ends, in case one was lost.

        The request is empty, so a pipeline that is merely busy pays one small message for it.
        """
        follower = self.followers[member]
        if follower.match_index >= self._log.last_index:
            return None
        follower.resume()
        if follower.flow is Flow.PROBE:
            return None  # `appends` sends the probe itself
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
        """A heartbeat of the latest read round.

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
