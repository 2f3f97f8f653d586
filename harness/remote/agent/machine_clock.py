"""Clock faults of a whole machine: its wall clock is set, and made to run fast or slow.

For machines whose clock is their own, virtual ones too. Whatever runs there feels it, also programs
that libfaketime does not reach.

Rules of this file:
- Never the controller's clock. A host counts as a machine of its own when its inventory says so
  and it was booted apart from the controller; where either is lacking, nothing is ever set.
- The truth is kept by CLOCK_MONOTONIC_RAW, which nothing here touches: it was compared with the
  wall clock once, before the first change. That is noted in a file, so that whoever comes later can
  set the clock right.
- Running fast or slow takes the monotonic clock along, as it does on real hosts; it never goes back.
- A time service on the host works against all this. What it undoes is not seen, and not proven.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Protocol

from .clock import ClockError, Mover, check_offset, check_strobe
from .files import json_text, read_json, write_atomically

# The kernel lets its clock run off by a tenth at most.
RATE_MIN, RATE_MAX = 0.9, 1.1


class Kernel(Protocol):
    """The clocks of a machine."""

    def wall_ns(self) -> int:
        """Return the wall clock."""
        ...

    def raw_ns(self) -> int:
        """Return a clock that nobody sets and nobody slows."""
        ...

    def set_wall(self, wall_ns: int) -> None:
        """Set the wall clock."""
        ...

    def run_at(self, rate: float) -> None:
        """Let the wall clock and the monotonic one run at this rate; 1 is the standard."""
        ...


def why_never_set(*, controller_boot: str, own_boot: str, root: bool) -> str:
    """Return why the clock of a host that is said to be a machine must not be set; empty if it may.

    The boots are what the kernels of controller and host call this run of theirs.
    """
    if not controller_boot or not own_boot:
        return "it is not known whether this host shares a kernel with the controller: never set"
    if controller_boot == own_boot:
        return "this host shares its clock with the controller (the kernel is one): it is never set"
    return "" if root else "setting the clock needs root"


class MachineClock:
    """The clock of a machine. Not thread-safe but for its own strobe: the caller locks."""

    library: None = None

    def __init__(self, note: Path, kernel: Kernel, *, boot: str, refusal: str) -> None:
        """`note` is where the truth is kept; `refusal` says why nothing may be set, if so."""
        self._note, self._kernel, self._boot = note, kernel, boot
        self._refusal = refusal
        self._rate = 1.0
        self._strobe: Mover | None = None
        # How far off the clock is where a strobe began, while that is still to be restored.
        self._home_ns: int | None = None

    def environment(self) -> dict[str, str]:
        """Return nothing: the system needs no help to see the machine's clock."""
        return {}

    def prepare_start(self) -> None:
        """Do nothing: a process about to start sees the machine's clock anyway."""

    def why_fixed(self, pid: int) -> str:
        """Return why the clock that a process sees cannot be moved; empty if it can."""
        del pid
        return self._refusal

    def bump(self, offset_ms: float) -> dict[str, Any]:
        """Step the clock by this much, keeping its rate."""
        check_offset(offset_ms)
        self._begin()
        self._kernel.set_wall(self._kernel.wall_ns() + int(offset_ms * 1e6))
        return self.state()

    def run_at(self, rate: float) -> dict[str, Any]:
        """Let the clock go faster or slower, as far as the kernel allows: by a tenth at most."""
        if not rate > 0:  # also refuses "not a number"
            raise ClockError("the rate must be more than 0")
        self._begin()
        self._rate = min(max(rate, RATE_MIN), RATE_MAX)
        self._kernel.run_at(self._rate)
        return self.state()

    def strobe(self, *, offset_ms: float, period_ms: float, duration_ms: float) -> dict[str, Any]:
        """Jump forth and back every period, in the background; ends by itself."""
        check_strobe(offset_ms=offset_ms, period_ms=period_ms, duration_ms=duration_ms)
        self._begin()
        self._rate = 1.0
        self._kernel.run_at(1.0)
        home_ns, jump_ns = self._offset_ns(), int(offset_ms * 1e6)
        self._home_ns = home_ns
        end_ns = self._kernel.raw_ns() + int(duration_ms * 1e6)

        def flip(step: int) -> bool:
            over = self._kernel.raw_ns() >= end_ns  # looked at once: the last step goes home
            away = step % 2 == 0 and not over
            self._kernel.set_wall(self._true_ns() + home_ns + jump_ns * away)
            return not over

        self._strobe = Mover(flip, period_ms / 1000)
        return self.state()

    def reset(self) -> dict[str, Any]:
        """Set the clock right again, if it was ever touched."""
        self._stop_strobe()
        self._rate = 1.0
        set_right(self._note, self._kernel, boot=self._boot)
        return self.state()

    def state(self) -> dict[str, Any]:
        """Return how the clock is now, measured."""
        strobe = self._strobe
        return {
            "offset_ms": self._offset_ns() / 1e6,
            "rate": self._rate,
            "strobing": strobe is not None and strobe.running,
            "flips": strobe.steps if strobe is not None else 0,
        }

    def probe(self) -> dict[str, Any]:
        """Return nothing more: the state is measured already."""
        return {}

    def _begin(self) -> None:
        """Refuse, or note the truth before the first change; a strobe ends where it began."""
        if self._refusal:
            raise ClockError(self._refusal)
        self._stop_strobe()
        if _true_minus_raw(self._note, self._boot) is None:
            truth = {"boot": self._boot, "ns": self._kernel.wall_ns() - self._kernel.raw_ns()}
            write_atomically(self._note, json_text(truth))

    def _stop_strobe(self) -> None:
        if self._strobe is not None and self._home_ns is not None:
            self._strobe.stop()
            self._kernel.set_wall(self._true_ns() + self._home_ns)
            self._home_ns = None

    def _true_ns(self) -> int:
        minus_raw = _true_minus_raw(self._note, self._boot)
        return self._kernel.wall_ns() if minus_raw is None else self._kernel.raw_ns() + minus_raw

    def _offset_ns(self) -> int:
        minus_raw = _true_minus_raw(self._note, self._boot)
        if minus_raw is None:
            return 0  # what was never touched is true
        return self._kernel.wall_ns() - self._kernel.raw_ns() - minus_raw


def set_right(note: Path, kernel: Kernel, *, boot: str) -> None:
    """Undo what an agent did to the clock of this machine, by its note. No note is no error."""
    minus_raw = _true_minus_raw(note, boot)
    if minus_raw is not None:
        kernel.run_at(1.0)
        kernel.set_wall(kernel.raw_ns() + minus_raw)
    with contextlib.suppress(FileNotFoundError):
        note.unlink()


def _true_minus_raw(note: Path, boot: str) -> int | None:
    """Return the true time minus the raw clock; None if the clock was not touched in this boot."""
    content = read_json(note)
    if content is None or content.get("boot") != boot or type(content.get("ns")) is not int:
        return None
    ns: int = content["ns"]
    return ns
