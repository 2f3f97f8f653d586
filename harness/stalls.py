"""Measures how long this process, or the whole machine, stood still: by a thread that oversleeps.

Rules of this file:
- A thread sleeps 50 ms again and again. What it oversleeps, beyond what any busy machine takes, is
  a stall: of this process (a debugger, a full disk, too few CPUs) or of everything.
- A machine that was suspended does not show in that: the clock of the deadlines stands still too.
  The clock that counts suspension (CLOCK_BOOTTIME) shows it.
- Whether a stall explains a missed deadline is decided in one pure function.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_SLEEP_S: Final = 0.05
# Threads wait for Python's lock and for a CPU; that is no stall.
_LATE_S: Final = 0.1
_JOIN_S: Final = 1.0
# A stall that is longer than this, or that takes more of the time than this, explains a lot.
_LONGEST_S: Final = 2.0
_SHARE_MAX: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """How long nothing went on in some span of time: in all, at most at a time, suspended."""

    total_s: float = 0.0
    longest_s: float = 0.0
    suspended_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the fields of an entry in `outcome.json`."""
        return {
            "total_s": round(self.total_s, 3),
            "longest_s": round(self.longest_s, 3),
            "suspended_s": round(self.suspended_s, 3),
        }


def excuse(stalls: Stalls, window_s: float) -> str | None:
    """Say why nobody is to blame for a deadline missed within a span, or return `None`."""
    if stalls.suspended_s > _LONGEST_S:
        return (
            f"the machine was suspended for {stalls.suspended_s:.1f} s meanwhile; run it again "
            "on one that stays awake"
        )
    stood_still_s = stalls.total_s + stalls.suspended_s
    if stalls.longest_s > _LONGEST_S or stood_still_s > _SHARE_MAX * window_s:
        return (
            f"the harness or its machine stood still for {stood_still_s:.1f} of these "
            f"{window_s:.1f} s, for {stalls.longest_s:.1f} s at a time (a fifth, or "
            f"{_LONGEST_S:g} s at a time, is too much to blame anybody); run it again on a machine "
            "with less to do, or with a longer --recovery-timeout"
        )
    return None


class StallMeter:
    """Measures while it is entered. The result is in `stalls` once it is left."""

    def __init__(
        self,
        *,
        awake: Callable[[], float] = time.monotonic,
        always: Callable[[], float] | None = None,
    ) -> None:
        """`awake` is a clock that stands still while the machine is suspended, `always` is not."""
        self._awake = awake
        self._always = always or _with_suspension
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="stalls", daemon=True)
        self._suspended_s = 0.0
        self._total_s = 0.0
        self._longest_s = 0.0
        self.stalls = Stalls()

    def __enter__(self) -> StallMeter:
        self._suspended_s = self._always() - self._awake()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(_JOIN_S)
        self.stalls = Stalls(
            total_s=self._total_s,
            longest_s=self._longest_s,
            suspended_s=max(0.0, self._always() - self._awake() - self._suspended_s),
        )

    def note(self, slept_s: float) -> None:
        """Take in how long a sleep really took."""
        late_s = slept_s - _SLEEP_S
        if late_s > _LATE_S:
            self._total_s += late_s
            self._longest_s = max(self._longest_s, late_s)

    def _tick(self) -> None:
        before_s, done = self._awake(), False
        while not done:
            # Also the last, shorter one: whoever waits for a deadline may wake up before this does.
            done = self._done.wait(_SLEEP_S)
            now_s = self._awake()
            self.note(now_s - before_s)
            before_s = now_s


def _with_suspension() -> float:
    """Return the time on a clock that goes on while the machine sleeps, where there is one."""
    boottime = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(boottime)
