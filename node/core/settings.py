"""The parameters of the algorithm and where chance comes from.

Rules of this file: times are ints of nanoseconds on the node's monotonic clock.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

MS = 1_000_000
"""Nanoseconds in a millisecond."""


class RandomStream(Protocol):
    """A stream of chance, such as a seeded `random.Random`."""

    def randrange(self, start: int, stop: int, /) -> int:
        """An int from `start` up to, not including, `stop`."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """The heartbeat interval should be at most a tenth of the election timeout (section 5.6).

    With `leases` a leader may answer reads without asking anybody, for `lease_share` of the election
    timeout after it sent heartbeats that a majority has answered. That is only right while clocks
    of different nodes advance at rates that differ by less than the rest (dissertation section 6.4.1).
    """

    election_timeout_ns: int = 500 * MS
    heartbeat_interval_ns: int = 50 * MS
    append_entries_max: int = 256
    append_bytes_max: int = 512 * 1024
    inflight_max: int = 32
    queued_reads_max: int = 4096
    leases: bool = False
    lease_share: float = 0.8

    @property
    def lease_ns(self) -> int:
        """How long a lease lasts from the moment the heartbeats left."""
        return int(self.election_timeout_ns * self.lease_share)

    @property
    def read_retry_ns(self) -> int:
        """How long a follower waits for a read index before it asks again."""
        return 4 * self.heartbeat_interval_ns

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_interval_ns * 2 <= self.election_timeout_ns:
            raise ValueError("the election timeout must be at least two heartbeat intervals")


class Role(Enum):
    """What a node is at the moment."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


TRANSITIONS: dict[Role, dict[Role, str]] = {
    Role.FOLLOWER: {
        Role.FOLLOWER: "a new term, or a leader is found",
        Role.PRE_CANDIDATE: "no leader heard for an election timeout",
        Role.CANDIDATE: "the leader hands over",
    },
    Role.PRE_CANDIDATE: {
        Role.PRE_CANDIDATE: "no majority would vote within an election timeout",
        Role.CANDIDATE: "a majority would vote",
        Role.FOLLOWER: "a leader is heard, or a newer term seen",
    },
    Role.CANDIDATE: {
        Role.PRE_CANDIDATE: "no majority voted within an election timeout",
        Role.LEADER: "a majority voted",
        Role.FOLLOWER: "a leader is heard, a newer term seen, or the election is lost",
    },
    Role.LEADER: {
        Role.FOLLOWER: "a newer term seen, no majority heard for an election timeout, disk stalled, "
        "or no member any more",
    },
}
"""Every change of role that exists, and why it happens (Raft figure 4, with pre-vote)."""
