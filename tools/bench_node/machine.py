"""On what it was measured: cores, memory, kernel, versions, and how long an fsync takes there.

Rules of this file: what cannot be found out is "unknown", never an error.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from tools.bench_node.measures import percentile

FSYNCS = 200
BLOCK_BYTES = 4096


def describe(directory: Path) -> list[tuple[str, str]]:
    """Names and what is there."""
    load = os.getloadavg()[0]
    busy = " (NOT IDLE: the numbers below are those of a busy machine)" if load > 0.5 else ""
    return [
        ("cores", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}, {_first('/proc/cpuinfo', 'model name')}"),
        ("memory", _first("/proc/meminfo", "MemTotal")),
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"),
        ("load before the run", f"{load:.2f}{busy}"),
        ("data directory", f"on {filesystem(directory)}"),
        (f"fdatasync of {BLOCK_BYTES} bytes there", fsync_text(directory)),
    ]  # fmt: skip


def fsync_text(directory: Path) -> str:
    """Median and 99th percentile of 200."""
    times = sorted(fsync_ns(directory))
    return (
        f"median {percentile(times, 0.5) / 1e6:.3f} ms, p99 {percentile(times, 0.99) / 1e6:.3f} ms "
        f"of {len(times)}"
    )


def fsync_ns(directory: Path, count: int = FSYNCS) -> list[int]:
    """How long each fdatasync after an append took."""
    path = directory / "fsync-probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    times = []
    try:
        for _ in range(count):
            os.write(descriptor, b"x" * BLOCK_BYTES)
            began_ns = time.perf_counter_ns()
            os.fdatasync(descriptor)
            times.append(time.perf_counter_ns() - began_ns)
    finally:
        os.close(descriptor)
        path.unlink()
    return times


def filesystem(directory: Path) -> str:
    """The kind of file system that holds a directory."""
    best, kind = "", "unknown"
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    for line in lines:
        _, mount, name = line.split()[:3]
        within = directory.resolve().is_relative_to(mount)
        if within and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def _first(path: str, name: str) -> str:
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"
