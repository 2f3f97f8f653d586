"""Watches the nodes through a run: who leads, in which term, and what their clocks say.

Rules of this file:
- It only looks. A node that does not answer is a sample too.
- One thread a node, every request bounded; `close` ends them all within a request's timeout.
- A leader is who says so of itself; of several, the one with the highest term. A node that is cut
  off may go on believing that it leads, so nothing here is proof of leadership, only a hint for
  the nemesis and a line in the report.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from harness.agreement import Agreement
from harness.systems.system import Status, System

_INTERVAL_S: Final = 0.25
_TIMEOUT_S: Final = 0.5


class Observer:
    """Samples every node's status into `status.jsonl` and remembers the latest."""

    def __init__(
        self, *, system: System, nodes: Sequence[str], path: Path, clock: Callable[[], int]
    ) -> None:
        self._system = system
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: dict[str, Status | None] = dict.fromkeys(nodes)
        self._heard: set[str] = set()
        self._leaders: dict[int, tuple[int, str]] = {}
        self.agreement = Agreement()
        # What kept a node from being watched for a moment: a mistake of whoever reads its answers.
        self.error: str | None = None
        self._done = threading.Event()
        self._file = path.open("a", encoding="utf-8")
        self._threads = [
            threading.Thread(target=self._watch, args=(node,), name=f"watch-{node}", daemon=True)
            for node in nodes
        ]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def leader(self) -> str | None:
        """Return the node that leads as far as was last seen."""
        with self._lock:
            leading = [
                (status.term, node)
                for node, status in self._latest.items()
                if status is not None and status.role == "leader"
            ]
        return max(leading)[1] if leading else None

    def silent(self) -> frozenset[str]:
        """Return the nodes that did not answer when they were asked last, though once they did."""
        with self._lock:
            return frozenset(node for node in self._heard if self._latest[node] is None)

    def look(self, node: str) -> Status | None:
        """Ask a node once, now, and take it in like every other sample."""
        status = self._system.status(node, _TIMEOUT_S)
        self._note(node, status)
        return status

    def leader_changes(self) -> list[dict[str, Any]]:
        """Return every (time, term, leader) seen, in order of terms: the first, and each change."""
        with self._lock:
            return [
                {"time": time_ns, "term": term, "leader": node}
                for term, (time_ns, node) in sorted(self._leaders.items())
            ]

    def close(self) -> None:
        """Stop watching; bounded by one request's timeout."""
        self._done.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=4 * _TIMEOUT_S)
        with self._lock, suppress(OSError):  # a full disk: what was learnt is in memory
            self._file.close()

    def _watch(self, node: str) -> None:
        while not self._done.wait(_INTERVAL_S):
            try:
                self._note(node, self._system.status(node, _TIMEOUT_S))
            except Exception as error:  # noqa: BLE001  (people's own code; who watches must not end)
                self.error = f"{node} could not be watched: {type(error).__name__}: {error}"
                self._note(node, None)

    def _note(self, node: str, status: Status | None) -> None:
        now_ns = self._clock()
        record: dict[str, Any] = {"time": now_ns, "node": node, "reachable": status is not None}
        if status is not None:
            record |= {
                "role": status.role,
                "term": status.term,
                "leader": status.leader,
                "commit_index": status.commit_index,
                "applied_index": status.applied_index,
                "state_hash": status.state_hash,
                "clock_offset_ms": _ms(status.clock_offset_ns),
                "clock_error_ms": _ms(status.clock_error_ns),
            }
        line = json.dumps(record)  # first: what cannot be written is not taken in either
        with self._lock:
            self._latest[node] = status
            if status is not None:
                self._heard.add(node)
                self.agreement.note(node, status)
            if status is not None and status.role == "leader":
                self._leaders.setdefault(status.term, (now_ns, node))
            if not self._file.closed:
                try:
                    self._file.write(f"{line}\n")
                    self._file.flush()
                except OSError:
                    # A full disk is the journal's to report; samples are only for people.
                    self._done.set()


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6
