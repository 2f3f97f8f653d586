"""What a leader knows of one follower's log, and how fast it may send.

Rules of this file:
- PROBE: the place where the logs meet is not known; one message at a time.
- REPLICATE: it is known; messages leave without waiting, within a window. `next_index` runs ahead
  of what is acknowledged; a refusal or a lost message brings it back.
- `match_index` never falls: late and repeated answers are harmless (Raft figure 2).
"""

from collections import deque
from enum import Enum


class Flow(Enum):
    """How entries are sent."""

    PROBE = "probe"
    REPLICATE = "replicate"


class Progress:
    """One follower, in one leadership."""

    __slots__ = (
        "commit_told",
        "contact_ns",
        "flow",
        "inflight",
        "inflight_max",
        "match_index",
        "next_index",
        "probe_sent",
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

    def may_send(self) -> bool:
        """May another AppendRequest leave now?"""
        if self.flow is Flow.PROBE:
            return not self.probe_sent
        return len(self.inflight) < self.inflight_max

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
        if prev_index <= self.match_index:
            return False
        if self.flow is Flow.PROBE and prev_index != self.next_index - 1:
            return False
        self.flow = Flow.PROBE
        self.probe_sent = False
        self.inflight.clear()
        self.next_index = max(self.match_index + 1, min(prev_index, agreeable + 1))
        return True

    def resume(self) -> None:
        """The follower answers heartbeats yet lacks entries: a message may have been lost."""
        self.probe_sent = False
        if len(self.inflight) >= self.inflight_max:
            self.inflight.popleft()
