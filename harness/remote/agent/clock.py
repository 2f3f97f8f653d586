"""Clock faults of the system's processes, by libfaketime: only what they read is changed.

Rules of this file:
- Only the wall clock is moved. The monotonic clock stays the kernel's: no machine's goes back.
- The library is only ever told an offset. A clock that runs fast or slow is an offset that is
  rewritten every few milliseconds: the library's own rates count from the start of each process
  and stretch its waits too (at half the rate threads were seen to stall for 340 ms), which no
  drifting wall clock does.
- The file that the library reads is replaced in one step.
- Nothing here works on programs that do not use the C library (Go).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .files import write_atomically

OFFSET_MS_MAX = 10 * 365 * 24 * 3600 * 1000
RATE_MIN, RATE_MAX = 0.1, 10.0
DRIFT_PERIOD_S = 0.005
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
        self._mover: Mover | None = None
        self._strobe: Mover | None = None

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

    def why_fixed(self, pid: int) -> str:
        """Return why the clock that a new process sees cannot be moved; empty if it can."""
        if self.library is None:
            return "libfaketime is not installed: apt-get install libfaketime"
        if not has_library(pid):
            return "the system does not load libfaketime (statically linked, or it ended at once)"
        return ""

    def prepare_start(self) -> None:
        """Write the clock that a process about to start shall see."""
        if self.library is not None:
            self._write(self._offset_at(time.time_ns()))

    def set(self, *, offset_ms: float, rate: float) -> dict[str, Any]:
        """Show this offset from now on, running at this rate."""
        check_offset(offset_ms)
        if not RATE_MIN <= rate <= RATE_MAX:
            raise ClockError(f"the rate must be {RATE_MIN} to {RATE_MAX}")
        self._stop_mover()
        self._offset_ns, self._rate = int(offset_ms * 1e6), rate
        self._anchor_ns = time.time_ns()
        self._write(self._offset_ns)
        if rate != 1.0:
            self._mover = Mover(self._drift, DRIFT_PERIOD_S)
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
        check_strobe(offset_ms=offset_ms, period_ms=period_ms, duration_ms=duration_ms)
        self._stop_mover()
        base_ns = self._offset_at(time.time_ns())
        self._offset_ns, self._rate = base_ns, 1.0
        jump_ns, end_ns = int(offset_ms * 1e6), time.monotonic_ns() + int(duration_ms * 1e6)

        def flip(step: int) -> bool:
            over = time.monotonic_ns() >= end_ns  # looked at once: the last step goes home
            self._write(base_ns + jump_ns * (step % 2 == 0 and not over))
            return not over

        self._strobe = self._mover = Mover(flip, period_ms / 1000)
        return self.state()

    def _drift(self, step: int) -> bool:
        del step
        self._write(self._offset_at(time.time_ns()))
        return True

    def _stop_mover(self) -> None:
        """Let the clock stand where it is; a strobe's is where it began."""
        if self._mover is not None:
            self._mover.stop()
            self._mover = None

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
            "flips": strobe.steps if strobe is not None else 0,
        }

    def probe(self) -> dict[str, Any]:
        """Ask a fresh process with the system's environment for the time; offset and error in ms.

        It proves that library and file work on this host.
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

    def _write(self, offset_ns: int) -> None:
        write_atomically(self._path, clock_text(offset_ns))


class Mover:
    """A thread that moves the clock, a step every period, until `move` says that it is done."""

    def __init__(self, move: Callable[[int], bool], period_s: float) -> None:
        """Begin at once."""
        self.steps = 0
        self._move, self._period_s = move, period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it still moves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it where it is."""
        self._stopped.set()
        self._thread.join(timeout=_PROBE_TIMEOUT_S)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the clock stands still
            while self._move(self.steps):
                self.steps += 1
                if self._stopped.wait(self._period_s):
                    break


def check_offset(offset_ms: float) -> None:
    """Refuse an offset that makes no sense."""
    if not abs(offset_ms) <= OFFSET_MS_MAX:  # also refuses "not a number"
        raise ClockError("the offset is more than ten years")


def check_strobe(*, offset_ms: float, period_ms: float, duration_ms: float) -> None:
    """Refuse a strobe that makes no sense."""
    if not STROBE_PERIOD_MS_MIN <= period_ms <= STROBE_DURATION_MS_MAX:
        raise ClockError(f"the period must be {STROBE_PERIOD_MS_MIN} ms or more")
    if not period_ms <= duration_ms <= STROBE_DURATION_MS_MAX:
        raise ClockError(f"a strobe lasts one period to {STROBE_DURATION_MS_MAX} ms")
    check_offset(offset_ms)


def clock_text(offset_ns: int) -> str:
    """Return the text that libfaketime reads."""
    return f"{offset_ns / 1e9:+.9f}\n"


def has_library(pid: int, *, timeout_s: float = 1.0) -> bool:
    """Say whether a process has loaded libfaketime; wait a moment for one that has just begun."""
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    while time.monotonic_ns() < deadline_ns:
        try:
            maps = Path("/proc", str(pid), "maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        if _LIBRARY in maps:
            return True
        time.sleep(0.01)
    return False
