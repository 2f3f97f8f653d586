"""Asks a system for what only its leader may do, until it is done, refused for good, or too late.

Rules of this file:
- Every wait has a deadline, and ends at once when the run's faults end (`stopped`).
- A refusal that passes (no leader now, another change under way) is asked again, of the leader that
  the answer names or of the next node. An answer that leaves doubt is not repeated here: who
  asked looks at the members first.
- What has once been seen as committed stays known: a node that lags behind is not believed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from harness.systems.administrated import Administrated, Ending, Members, Reply, newest

# Refusals that may be over in a moment.
PASSING: Final = frozenset(
    {
        "change-in-progress",
        "no-leader",
        "not-committed",
        "not-connected",
        "not-leader",
        "overloaded",
        "shutting-down",
        "transferring",
    }
)
# Refusals that say nothing of another node.
_OF_THIS_NODE: Final = frozenset({"no-leader", "not-connected", "overloaded", "shutting-down"})

REQUEST_TIMEOUT_S: Final = 1.5
_LOOK_TIMEOUT_S: Final = 0.4
PAUSE_S: Final = 0.1


def next_to_ask(reply: Reply, asked: str, nodes: Sequence[str]) -> str:
    """Whom to ask after a refusal that may pass: the leader it names, the same one, or the next."""
    if reply.code in _OF_THIS_NODE or (reply.code == "not-leader" and reply.leader is None):
        place = nodes.index(asked) if asked in nodes else -1
        return nodes[(place + 1) % len(nodes)]
    if reply.code == "not-leader" and reply.leader in nodes:
        return reply.leader or asked
    return asked


class Operator:
    """Speaks to one cluster as its operator. Thread-safe."""

    def __init__(
        self,
        system: Administrated,
        nodes: Sequence[str],
        *,
        leader: Callable[[], str | None],
        stopped: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`leader()` says whom to ask first."""
        self.system = system
        self.nodes = tuple(nodes)
        self.leader = leader
        self._stopped = stopped
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Members | None = None
        self._seen: list[Members | None] = []
        self._pool = ThreadPoolExecutor(len(self.nodes), thread_name_prefix="members")

    def deadline(self, seconds: float) -> float:
        """Return the time, on this operator's clock, that is so far from now."""
        return self._clock() + seconds

    def late(self, deadline: float) -> bool:
        """Whether it is too late to begin anything: the deadline is over, or the faults are."""
        return self._stopped.is_set() or self._clock() >= deadline

    def pause(self) -> None:
        """Wait a moment before looking again."""
        self._stopped.wait(PAUSE_S)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def free(self) -> None:
        """From now on deadlines alone count: the faults are over, what follows is recovery."""
        self._stopped = threading.Event()

    def look(self) -> Members | None:
        """Ask every node who the members are; return the newest committed answer of all times."""
        seen = list(
            self._pool.map(lambda node: self.system.members(node, _LOOK_TIMEOUT_S), self.nodes)
        )
        with self._lock:
            self._seen = seen
            self._known = newest([self._known, *seen])
            return self._known

    def configurations(self) -> list[tuple[str, ...]]:
        """Ask every node; return the voters of each configuration that one of them knows, committed
        or not, both halves of a joint one: any of these may be in force."""
        self.look()
        with self._lock:
            known = [members for members in (*self._seen, self._known) if members is not None]
        halves = [half for members in known for half in (members.voters, members.outgoing) if half]
        return list(dict.fromkeys(halves))

    def differing(self) -> list[str]:
        """Return the nodes whose last answer was not the newest committed configuration, wherever
        in the log they have it."""
        with self._lock:
            return [
                node
                for node, members in zip(self.nodes, self._seen, strict=False)
                if members is None or not members.same_as(self._known)
            ]

    def await_members(
        self, wanted: Callable[[Members], bool], deadline: float
    ) -> tuple[bool, Members | None]:
        """Look until the members are as wanted; return whether they are, and what was seen last."""
        while True:
            members = self.look()
            if members is not None and wanted(members):
                return True, members
            if self.late(deadline):
                return False, members
            self.pause()

    def ask(self, send: Callable[[str], Reply], deadline: float) -> Reply:
        """Send a request to the leader until it is done, in doubt, refused for good, or too late."""
        via = self.leader() or self.nodes[0]
        while True:
            reply = send(via)
            if reply.ending is not Ending.REFUSED or reply.code not in PASSING:
                return reply
            if self.late(deadline):
                return reply
            via = next_to_ask(reply, via, self.nodes)
            self.pause()

    def add(self, node: str, deadline: float) -> Reply:
        """Ask that a node be let in."""
        return self.ask(lambda via: self.system.add_member(via, node, REQUEST_TIMEOUT_S), deadline)

    def remove(self, node: str, deadline: float) -> Reply:
        """Ask that a node be removed."""
        return self.ask(
            lambda via: self.system.remove_member(via, node, REQUEST_TIMEOUT_S), deadline
        )

    def transfer(self, to: str, deadline: float) -> Reply:
        """Ask that another node lead."""
        return self.ask(lambda via: self.system.transfer(via, to, REQUEST_TIMEOUT_S), deadline)
