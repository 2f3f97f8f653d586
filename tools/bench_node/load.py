"""One load: worker processes started, let go at the same moment, and what they saw put together.

Rules of this file:
- The servers' CPU is read at the edges of the window in which operations count.
- A worker that fails or is late fails the load: half a load is no measurement.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tools.bench_node.measures import Row, percentile
from tools.bench_node.processes import Failed, Processes, cpu_s

WORKER = (sys.executable, "-m", "tools.bench_node.clients")
READY_S_MAX = 30.0
END_S_MAX = 30.0
PER_PROCESS = 32
"""Clients that share a worker, as long as there are cores for the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who sends what where, and for how long."""

    system: str
    kind: str
    clients: int
    addresses: Sequence[tuple[str, int]]
    seconds: float
    warm_up_s: float
    workers: int = 0
    keys: int = 256
    value_bytes: int = 64
    pause_ms: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a load. Latencies are in order."""

    latencies_ns: Sequence[int]
    errors: Counter[str]
    server_cpu_s: float
    client_busy: float


class Running:
    """Workers that were let go."""

    def __init__(self, processes: Processes, plan: Plan) -> None:
        self._processes = processes
        self._plan = plan
        self._workers: list[subprocess.Popen[bytes]] = []
        count = plan.workers or workers_for(plan.clients, os.cpu_count() or 1)
        try:
            for share in shares(plan.clients, count):
                self._workers.append(self._started(share))
            deadline_s = time.monotonic() + READY_S_MAX
            for worker in self._workers:
                _await_ready(worker, deadline_s)
            start_ns = time.monotonic_ns() + 50_000_000
            self.from_ns = start_ns + int(plan.warm_up_s * 1e9)
            self.until_ns = self.from_ns + int(plan.seconds * 1e9)
            for worker in self._workers:
                _tell(worker, f"{start_ns} {self.from_ns} {self.until_ns}\n")
        except BaseException:
            processes.kill(self._workers)
            raise

    def _started(self, clients: Sequence[int]) -> subprocess.Popen[bytes]:
        plan = self._plan
        worker = self._processes.start(WORKER, piped=True)
        document = {
            "system": plan.system, "kind": plan.kind, "clients": list(clients),
            "addresses": [list(address) for address in plan.addresses], "keys": plan.keys,
            "value_bytes": plan.value_bytes, "pause_ms": plan.pause_ms,
        }  # fmt: skip
        _tell(worker, json.dumps(document) + "\n")
        return worker

    def finish(self, server_pids: Sequence[int] = ()) -> Seen:
        """Wait for the end of the load and gather."""
        try:
            _sleep_until(self.from_ns)
            before_s = sum(map(cpu_s, server_pids))
            _sleep_until(self.until_ns)
            server_cpu_s = sum(map(cpu_s, server_pids)) - before_s
            latencies: array[int] = array("Q")
            errors: Counter[str] = Counter()
            busy_s = 0.0
            for worker in self._workers:
                head, _, rest = _rest_of(worker).partition(b"\n")
                seen = json.loads(head)
                latencies.frombytes(rest)
                errors.update(seen["errors"])
                busy_s += seen["cpu_s"]
        finally:
            self._processes.stop(self._workers)
        whole_s = (self._plan.warm_up_s + self._plan.seconds) * len(self._workers)
        return Seen(sorted(latencies), errors, server_cpu_s, busy_s / whole_s)

    def abandon(self) -> None:
        """End the load now; nothing of it is wanted."""
        self._processes.kill(self._workers)


def run_load(processes: Processes, plan: Plan, server_pids: Sequence[int] = ()) -> Seen:
    """A whole load."""
    return Running(processes, plan).finish(server_pids)


def row_of(row: Row, plan: Plan, seen: Seen) -> Row:
    """The row with what was seen."""
    note = ", ".join(f"{count} x {what}" for what, count in seen.errors.most_common(2))
    return replace(
        row,
        operations=len(seen.latencies_ns),
        seconds=plan.seconds,
        p50_ms=percentile(seen.latencies_ns, 0.50) / 1e6,
        p99_ms=percentile(seen.latencies_ns, 0.99) / 1e6,
        server_cpu_s=seen.server_cpu_s,
        client_busy=seen.client_busy,
        errors=sum(seen.errors.values()),
        note=note,
    )


def workers_for(clients: int, cores: int) -> int:
    """One worker for every 32 clients, but no more than half of the cores."""
    return max(1, min(-(-clients // PER_PROCESS), cores // 2))


def shares(clients: int, workers: int) -> list[list[int]]:
    """The clients' numbers, dealt to workers; nobody gets nothing."""
    dealt = [list(range(first, clients, workers)) for first in range(workers)]
    return [share for share in dealt if share]


def _tell(worker: subprocess.Popen[bytes], text: str) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(text.encode("ascii"))
    except OSError:
        raise Failed(f"a client process ended early with {worker.poll()}") from None


def _await_ready(worker: subprocess.Popen[bytes], deadline_s: float) -> None:
    assert worker.stdout is not None
    wait_s = max(0.0, deadline_s - time.monotonic())
    if not select.select([worker.stdout], [], [], wait_s)[0]:
        raise Failed(f"a client process was not ready within {READY_S_MAX:g} s")
    if worker.stdout.readline() != b"ready\n":
        raise Failed("a client process ended before it was ready")


def _rest_of(worker: subprocess.Popen[bytes]) -> bytes:
    try:
        output, _ = worker.communicate(timeout=END_S_MAX)
    except subprocess.TimeoutExpired:
        raise Failed(f"a client process did not end within {END_S_MAX:g} s") from None
    if worker.returncode != 0:
        raise Failed(f"a client process ended with {worker.returncode}")
    return output


def _sleep_until(moment_ns: int) -> None:
    while (wait_ns := moment_ns - time.monotonic_ns()) > 0:
        time.sleep(min(0.5, wait_ns / 1e9))
