"""What a leader knows of one follower's log, and how fast it may send.

Rules of this file:
- PROBE: the place where the logs meet is not known; one message at a time.
- REPLICATE: it is known; messages leave without waiting, within a window. `next_index` runs ahead
  of what is acknowledged; a refusal or a lost message brings it back.
- SNAPSHOT: what the follower lacks is gone from the log; one chunk of a snapshot at a time.
- `match_index` never falls: late and repeated answers are harmless (Raft figure 2).
"""

from collections import deque
from enum import Enum

CHUNK_DOUBTS_MAX = 4
"""So many answers to heartbeats without one to a chunk, and the chunk is taken for lost."""


class Flow(Enum):
    """How entries are sent."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower, in one leadership."""

    __slots__ = (
        "chunk_doubts",
        "chunk_offset",
        "chunk_sent",
        "commit_told",
        "contact_ns",
        "flow",
        "goal_index",
        "goal_since_ns",
        "inflight",
        "inflight_max",
        "match_index",
        "next_index",
        "probe_sent",
        "snapshot_index",
    )

    def __init__(self, *, next_index: int, now_ns: int, inflight_max: int) -> None:
        self.flow = Flow.PROBE
        self.match_index = 0
        self.next_index = next_index
        self.probe_sent = False
        self.inflight: deque[int] = deque()
        self.inflight_max = inflight_max
        self.commit_told = 0
        self.contact_ns = now_ns
        self.snapshot_index = 0
        self.chunk_offset = 0
        self.chunk_sent = False
        self.chunk_doubts = 0
        self.goal_index = next_index - 1
        self.goal_since_ns = now_ns

    def may_send(self) -> bool:
        """May another AppendRequest leave now?"""
        if self.flow is Flow.PROBE:
            return not self.probe_sent
        return self.flow is Flow.REPLICATE and len(self.inflight) < self.inflight_max

    def sent(self, last_index: int) -> None:
        """An AppendRequest left whose last entry (or prev_index, if empty) is `last_index`."""
        if self.flow is Flow.PROBE:
            self.probe_sent = True
            return
        if last_index >= self.next_index:
            self.inflight.append(last_index)
            self.next_index = last_index + 1

    def acknowledged(self, index: int) -> bool:
        """The follower holds everything up to `index`. True if that is news."""
        while self.inflight and self.inflight[0] <= index:
            self.inflight.popleft()
        self.next_index = max(self.next_index, index + 1)
        if self.flow is Flow.PROBE and index >= self.match_index:
            self.flow = Flow.REPLICATE
            self.probe_sent = False
            self.next_index = index + 1
        if index <= self.match_index:
            return False
        self.match_index = index
        return True

    def refused(self, prev_index: int, agreeable: int) -> bool:
        """The follower has no such entry at `prev_index`. False if that answer is out of date."""
        if prev_index <= self.match_index or self.flow is Flow.SNAPSHOT:
            return False
        if self.flow is Flow.PROBE and prev_index != self.next_index - 1:
            return False
        self._probe(max(self.match_index + 1, min(prev_index, agreeable + 1)))
        return True

    def resume(self) -> None:
        """The follower answers heartbeats yet lacks entries: a message may have been lost."""
        self.probe_sent = False
        self.chunk_doubts += 1
        if self.chunk_doubts >= CHUNK_DOUBTS_MAX:  # a chunk is large: it may well take its time
            self.chunk_sent = False
        if len(self.inflight) >= self.inflight_max:
            self.inflight.popleft()

    # Snapshots (Raft section 7).

    def needs_snapshot(self) -> None:
        """The entry that it needs next is gone from the log."""
        if self.flow is not Flow.SNAPSHOT:
            self.flow = Flow.SNAPSHOT
            self.inflight.clear()
            self.snapshot_index, self.chunk_offset, self.chunk_sent = 0, 0, False

    def chunk_leaves(self, index: int, offset: int) -> None:
        """The chunk at `offset` of the snapshot at `index` is on its way."""
        self.snapshot_index, self.chunk_offset = index, offset
        self.chunk_sent = True
        self.chunk_doubts = 0

    def chunk_answered(self, index: int, offset: int) -> None:
        """It wants the chunk at `offset` of the snapshot at `index` next.

        If that one is on its way already, this is a second answer: to send again for each of those
        would double the stream for good.
        """
        if self.flow is not Flow.SNAPSHOT or index != self.snapshot_index:
            return
        if offset != self.chunk_offset:
            self.chunk_offset = offset
            self.chunk_sent = False

    def installed(self, index: int) -> bool:
        """It has a snapshot at `index`, or all that one holds. True if that is news."""
        if self.flow is Flow.SNAPSHOT:
            self._probe(max(self.match_index, index) + 1)
        return self.acknowledged(index)

    def _probe(self, next_index: int) -> None:
        self.flow = Flow.PROBE
        self.probe_sent = False
        self.inflight.clear()
        self.next_index = next_index

    # Catching up before a vote is given (dissertation section 4.2.1).

    def has_caught_up(self, last_index: int, now_ns: int, within_ns: int) -> bool:
        """Whether one round of replication took less than `within_ns`.

        A round brings the follower to where the log ended when the round began; while rounds take
        long, another one begins.
        """
        if self.match_index < self.goal_index:
            return False
        quick = now_ns - self.goal_since_ns <= within_ns
        self.goal_index, self.goal_since_ns = last_index, now_ns
        return quick
