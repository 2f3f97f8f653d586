"""The clocks of the kernel that we run on, and the two calls that change them.

Rules of this file:
- Whether they may be changed is decided elsewhere (`machine_clock`); here it is done, and what the
  kernel refuses is an `OSError`.
- Only what was asked for is changed: a time service's own corrections of the frequency stay.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from typing import Final

# The beginning of struct timex (man 2 adjtimex): modes, offset, frequency, two errors, status,
# constant, precision, tolerance, seconds, microseconds, and the tick.
_TIMEX: Final = struct.Struct("@I4li6l")
_TIMEX_BYTES_MAX: Final = 512
_ADJ_TICK: Final = 0x4000
# How many microseconds pass in a tick, of which user space counts 100 a second.
_TICK_US: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")


class KernelClock:
    """The clocks of this machine."""

    def wall_ns(self) -> int:
        """Return the wall clock."""
        return time.time_ns()

    def raw_ns(self) -> int:
        """Return a clock that nobody sets and nobody slows."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    def set_wall(self, wall_ns: int) -> None:
        """Set the wall clock."""
        time.clock_settime_ns(time.CLOCK_REALTIME, wall_ns)

    def run_at(self, rate: float) -> None:
        """Let the wall clock and the monotonic one run at this rate; 1 is the standard."""
        _adjust(_ADJ_TICK, round(_TICK_US * rate))

    def rate(self) -> float:
        """Return the rate at which they run."""
        return _adjust(0, 0) / _TICK_US


def _adjust(modes: int, tick_us: int) -> int:
    """Call adjtimex and return the tick there is now; modes 0 changes nothing."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES_MAX)
    _TIMEX.pack_into(timex, 0, modes, *[0] * 10, tick_us)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(timex) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"adjtimex: {os.strerror(number)}")
    tick: int = _TIMEX.unpack_from(timex)[-1]
    return tick
