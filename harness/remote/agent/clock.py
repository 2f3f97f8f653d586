"""Clock faults of the system's processes, by libfaketime: only what they read is changed.

Rules of this file:
- Only the wall clock is moved. The monotonic clock stays the kernel's: no machine's goes back.
- The file that libfaketime reads is replaced in one step and always names a rate: the library
  keeps the last rate it was given when a text names none.
- A change of rate starts from the offset of that moment: libfaketime counts a rate from the start
  of the process, so the offset written takes that head start away again.
- With a rate, the library also stretches waits (poll, epoll) by it: timers fire early or late, as
  they may on any machine. Nothing here works on programs that do not use the C library (Go).
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .files import CLOCK_TICKS_PER_S, process_stat, write_atomically

OFFSET_MS_MAX = 10 * 365 * 24 * 3600 * 1000
RATE_MIN, RATE_MAX = 0.1, 10.0
STROBE_PERIOD_MS_MIN = 2.0
STROBE_DURATION_MS_MAX = 120_000.0
_PROBE_TIMEOUT_S = 10

# What works for programs with threads; Debian, Fedora and a plain `make install` put it here.
_LIBRARY = "libfaketimeMT.so.1"
_LIBRARY_FOLDERS = (
    "/usr/lib/{machine}-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
)


class ClockError(Exception):
    """A clock fault that makes no sense; the text says why."""


def find_library() -> str | None:
    """Return the path of libfaketime on this host."""
    machine = os.uname().machine
    for folder in _LIBRARY_FOLDERS:
        path = Path(folder.format(machine=machine), _LIBRARY)
        if path.is_file():
            return str(path)
    return None


def clean_shared_memory(pid: int) -> None:
    """Remove what libfaketime leaves behind for a killed process; a successor would trip on it."""
    for name in ("faketime_shm_{}", "sem.faketime_sem_{}"):
        with contextlib.suppress(OSError):
            os.unlink("/dev/shm/" + name.format(pid))


class Clock:
    """The clock that the system sees. Not thread-safe but for its own strobe: the caller locks."""

    def __init__(self, path: Path, library: str | None) -> None:
        """`path` is the file that libfaketime reads."""
        self._path = path
        self.library = library
        # The clock shown is: real + offset + (real - anchor) * (rate - 1).
        self._offset_ns, self._rate, self._anchor_ns = 0, 1.0, 0
        self._system_started_ns: int | None = None
        self._strobe: _Strobe | None = None

    def environment(self) -> dict[str, str]:
        """Return what the system's environment needs for its clock to be ours to move."""
        if self.library is None:
            return {}
        return {
            "LD_PRELOAD": self.library,
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            # Without this its "fix" for waits on the monotonic clock makes threads stall for up to
            # 160 ms (seen with Debian's 0.9.10 and Python 3.11, even at a true clock).
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def prepare_start(self) -> None:
        """Write the clock that a process about to start shall see."""
        self._system_started_ns = None
        self._write(self._offset_at(time.time_ns()), 1.0)

    def system_started(self, pid: int) -> bool:
        """Take note of a new process: from now on rates are counted from its start.

        False if the process has not loaded the library: its clock cannot be moved then.
        """
        self._system_started_ns = library_start_ns(pid)
        self._rewrite()
        return self._system_started_ns is not None

    def set(self, *, offset_ms: float, rate: float) -> dict[str, Any]:
        """Show this offset from now on, running at this rate."""
        if not abs(offset_ms) <= OFFSET_MS_MAX:  # also refuses "not a number"
            raise ClockError("the offset is more than ten years")
        if not RATE_MIN <= rate <= RATE_MAX:
            raise ClockError(f"the rate must be {RATE_MIN} to {RATE_MAX}")
        self.stop_strobe()
        self._offset_ns, self._rate = int(offset_ms * 1e6), rate
        self._anchor_ns = time.time_ns()
        self._rewrite()
        return self.state()

    def bump(self, offset_ms: float) -> dict[str, Any]:
        """Step the clock by this much, keeping its rate."""
        now_offset_ms = self._offset_at(time.time_ns()) / 1e6
        return self.set(offset_ms=now_offset_ms + offset_ms, rate=self._rate)

    def run_at(self, rate: float) -> dict[str, Any]:
        """Let the clock go faster or slower from what it shows now."""
        return self.set(offset_ms=self._offset_at(time.time_ns()) / 1e6, rate=rate)

    def strobe(self, *, offset_ms: float, period_ms: float, duration_ms: float) -> dict[str, Any]:
        """Jump forth and back every period, in the background; ends by itself."""
        if not STROBE_PERIOD_MS_MIN <= period_ms <= STROBE_DURATION_MS_MAX:
            raise ClockError(f"the period must be {STROBE_PERIOD_MS_MIN} ms or more")
        if not period_ms <= duration_ms <= STROBE_DURATION_MS_MAX:
            raise ClockError(f"a strobe lasts one period to {STROBE_DURATION_MS_MAX} ms")
        if not abs(offset_ms) <= OFFSET_MS_MAX:  # also refuses "not a number"
            raise ClockError("the offset is more than ten years")
        self.stop_strobe()
        base_ns = self._offset_at(time.time_ns())
        self._offset_ns, self._rate = base_ns, 1.0
        self._strobe = _Strobe(self._write, base_ns, int(offset_ms * 1e6), period_ms, duration_ms)
        return self.state()

    def stop_strobe(self) -> None:
        """End a strobe; the clock shows what it showed before it."""
        if self._strobe is not None:
            self._strobe.stop()

    def reset(self) -> dict[str, Any]:
        """Show the true time again."""
        return self.set(offset_ms=0.0, rate=1.0)

    def state(self) -> dict[str, Any]:
        """Return what the clock is meant to show."""
        strobe = self._strobe
        return {
            "offset_ms": self._offset_at(time.time_ns()) / 1e6,
            "rate": self._rate,
            "strobing": strobe is not None and strobe.running,
            "flips": strobe.flips if strobe is not None else 0,
        }

    def probe(self) -> dict[str, Any]:
        """Ask a fresh process with the system's environment for the time; offset and error in ms.

        It proves that library and file work on this host. At a rate it proves less: each process
        counts from its own start.
        """
        command = [sys.executable, "-I", "-c", "import time; print(time.time_ns())"]
        before_ns = time.time_ns()
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
        after_ns = time.time_ns()
        if done.returncode != 0:
            raise ClockError(f"a process with libfaketime ended with {done.returncode}")
        middle_ns = (before_ns + after_ns) // 2
        return {
            "probe_ms": (int(done.stdout) - middle_ns) / 1e6,
            "probe_error_ms": (after_ns - before_ns) / 2e6,
        }

    def _offset_at(self, real_ns: int) -> int:
        return self._offset_ns + int((real_ns - self._anchor_ns) * (self._rate - 1.0))

    def _rewrite(self) -> None:
        started_ns = self._system_started_ns
        if self._rate == 1.0 or started_ns is None:
            self._write(self._offset_at(time.time_ns()), 1.0)
            return
        head_start_ns = int((self._anchor_ns - started_ns) * (self._rate - 1.0))
        self._write(self._offset_ns - head_start_ns, self._rate)

    def _write(self, offset_ns: int, rate: float) -> None:
        write_atomically(self._path, clock_text(offset_ns, rate))


class _Strobe:
    """A thread that flips the clock; at its end the clock shows the base offset."""

    def __init__(
        self, write: Any, base_ns: int, jump_ns: int, period_ms: float, duration_ms: float
    ) -> None:
        self.flips = 0
        self._write, self._base_ns, self._jump_ns = write, base_ns, jump_ns
        self._period_s, self._flips_max = period_ms / 1000, int(duration_ms / period_ms)
        self._end_ns = time.monotonic_ns() + int(duration_ms * 1e6)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=_PROBE_TIMEOUT_S)

    def _run(self) -> None:
        try:
            while self.flips < self._flips_max and time.monotonic_ns() < self._end_ns:
                self.flips += 1
                self._write(self._base_ns + self._jump_ns * (self.flips % 2), 1.0)
                if self._stopped.wait(self._period_s):
                    break
        finally:
            self._write(self._base_ns, 1.0)


def clock_text(offset_ns: int, rate: float) -> str:
    """Return the text that libfaketime reads."""
    return f"{offset_ns / 1e9:+.9f} x{rate:.9f}\n"


def process_start_ns(pid: int) -> int | None:
    """Return when a process started, as wall time; /proc knows it to a tick (10 ms)."""
    stat = process_stat(pid)
    if stat is None:
        return None
    since_boot_ns = stat.start_ticks * 1_000_000_000 // CLOCK_TICKS_PER_S
    boot_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot_ns + since_boot_ns


def library_start_ns(pid: int, *, timeout_s: float = 1.0) -> int | None:
    """Return the start time that libfaketime itself noted in that process, to the nanosecond.

    It keeps it in a mapping of shared memory: two counters, then seconds and nanoseconds of the
    wall clock. A value that is not close to the process' start is not believed.
    """
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    while time.monotonic_ns() < deadline_ns:
        roughly_ns = process_start_ns(pid)
        if roughly_ns is None:
            return None
        noted_ns = _read_library_start(pid)
        if noted_ns is not None and abs(noted_ns - roughly_ns) < 5_000_000_000:
            return noted_ns
        time.sleep(0.01)
    return None


def _read_library_start(pid: int) -> int | None:
    try:
        maps = Path("/proc", str(pid), "maps").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^([0-9a-f]+)-.*/faketime_shm_", maps, re.MULTILINE)
        if match is None:
            return None
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(int(match[1], 16) + 16)
            seconds, nanoseconds = struct.unpack("qq", memory.read(16))
    except (OSError, struct.error):
        return None
    return int(seconds * 1_000_000_000 + nanoseconds) if 0 <= nanoseconds < 10**9 else None
