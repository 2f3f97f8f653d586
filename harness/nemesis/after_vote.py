"""Voters that die right after they voted, and are back before the election is over.

Rules of this file:
- Raft lets a node answer a request for its vote only when its term and its vote are on disk (Ongaro
  and Ousterhout 2014, figure 2). A node that forgot may vote twice in one term, so that two lead:
  it has to die between its vote and the next candidate's request, which no kill by the clock hits.
- That a node has a newer term than before is taken for its vote: it has granted one, asked for one
  itself, or, if it was looked at late, heard of who won. Each is struck once.
- The evidence is of the voters alone. That the leader is gone brings the election about, no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.nemesis.repeating import Repeating
from harness.remote.evidence import Ended
from harness.systems.system import Status

_LOOK_PERIOD_S: Final = 0.005
_STATUS_TIMEOUT_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Struck:
    """A voter that was killed: in which term, what was seen of it, and how long it was away."""

    term: int
    seen: Ended
    away_ms: float


class AfterVote:
    """Watches some nodes, and restarts each one when it has voted."""

    def __init__(
        self,
        nodes: Sequence[str],
        *,
        status: Callable[[str, float], Status | None],
        kill: Callable[[str], Ended],
        start: Callable[[str], object],
    ) -> None:
        self._status, self._kill, self._start = status, kill, start
        self._struck: dict[str, Struck] = {}
        self._terms = {node: self._term(node) for node in nodes}
        self._watches: dict[str, Repeating] = {}

    def watch(self) -> None:
        """Begin: from now on a newer term is a vote."""
        for node in self._terms:
            self._watches[node] = Repeating(self._turn_of(node), period_s=_LOOK_PERIOD_S)

    def stop(self) -> tuple[dict[str, Struck], dict[str, str]]:
        """End it; return who was struck, and by node what went wrong."""
        for watch in self._watches.values():
            watch.end()  # all of them, also if one does not stop
        ended = {node: watch.stop() for node, watch in self._watches.items()}
        problems = {node: problem for node, (_, problem) in ended.items() if problem}
        return dict(self._struck), problems

    def _term(self, node: str) -> int | None:
        status = self._status(node, _STATUS_TIMEOUT_S)
        return None if status is None else status.term

    def _turn_of(self, node: str) -> Callable[[int, threading.Event], None]:
        def look(turn: int, over: threading.Event) -> None:
            del turn
            if node in self._struck:
                return
            term, before = self._term(node), self._terms[node]
            if before is None:  # it said nothing before: what it says first is where it stood
                self._terms[node] = term
            elif term is not None and term > before and not over.is_set():
                seen, began_s = self._kill(node), time.monotonic()
                self._struck[node] = Struck(term, seen, away_ms=0.0)
                self._start(node)
                away_ms = (time.monotonic() - began_s) * 1000
                self._struck[node] = Struck(term, seen, away_ms)

        return look
