"""The kinds of fault, one class each: how it is applied, undone, and what counts as evidence.

Rules of this file:
- A partition is `installed` when packets were dropped, not when a rule was added; a pause when the
  kernel shows the process stopped; a kill when the process is gone; a clock fault when the process
  itself reports another time. What is merely believed is `indeterminate`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.nemesis.disk import Disk
from harness.nemesis.faults import Certainty, Crew, FaultKind, Report, Reports
from harness.nemesis.message_loss import make_losses
from harness.nemesis.network import Network
from harness.nemesis.partition import Partition
from harness.nemesis.plan import Fault
from harness.nemesis.process import Kill, Pause
from harness.nemesis.resource import Resource
from harness.remote.agent_client import Agent
from harness.remote.evidence import ClockState, Skipped
from harness.systems.system import Status, System

# How far a clock may be beyond where it should be and still count: the time that commands take,
# and what a drifting clock gains meanwhile.
_CLOCK_SLACK_NS: Final = 500_000_000
_STATUS_TIMEOUT_S: Final = 0.5
_STROBE_LOOKS: Final = 12


def make_kinds(crew: Crew, system: System) -> Mapping[str, FaultKind]:
    """Return every kind of fault by its name in a plan."""
    return {
        "partition": Partition(crew, make_losses(crew, system)),
        "kill": Kill(crew, system),
        "pause": Pause(crew),
        "clock": Clock(crew, system),
        "disk": Disk(crew),
        "network": Network(crew),
        "resource": Resource(crew),
    }


def clock_moved_as_told(moved_ns: int, *, expected_ns: int, error_ns: int) -> bool:
    """Whether a clock moved visibly, in the right direction, and by about as much as it should."""
    visible = abs(moved_ns) > error_ns
    same_direction = (moved_ns > 0) == (expected_ns > 0)
    enough = abs(moved_ns) >= abs(expected_ns) // 2
    not_too_much = abs(moved_ns) <= 2 * abs(expected_ns) + _CLOCK_SLACK_NS
    return visible and same_direction and enough and not_too_much


@dataclass(slots=True)
class Clock:
    """Moves the wall clock that the system's processes see: by libfaketime, or, on a machine of its
    own, by setting the machine's clock, which cannot run off by more than a tenth.

    The evidence is what the process itself says the time is, compared with the controller's clock
    before and after: a host without libfaketime, or a program that does not look, shows no change.
    """

    crew: Crew
    system: System
    _before: dict[tuple[int, str], Status] = field(default_factory=dict)
    _began_ns: dict[int, int] = field(default_factory=dict)
    _rates: dict[tuple[int, str], float] = field(default_factory=dict)

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Move the clocks, then look at them."""
        self._began_ns[fault.id] = time.monotonic_ns()

        def move(node: str, agent: Agent) -> Report:
            before = self.system.status(node, _STATUS_TIMEOUT_S)
            if before is not None:
                self._before[fault.id, node] = before
            done = self._apply(fault, agent)
            if isinstance(done, Skipped):
                return Report(Certainty.SKIPPED, done.reason)
            if fault.name == "bump":
                return self._look(fault, node, fault.parameters["offset_ms"] * 1_000_000)
            if fault.name == "strobe":
                return self._look_for_strobe(fault, node)
            self._rates[fault.id, node] = done.rate
            return Report(Certainty.INDETERMINATE, f"runs {done.rate:g} times as fast")

        return self.crew.on(targets, move)

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Look once more at a drifting clock, then set every clock right."""
        began_ns = self._began_ns.pop(fault.id, time.monotonic_ns())

        def reset(node: str, agent: Agent) -> Report:
            report = Report(Certainty.INDETERMINATE, "set right")
            if fault.name == "rate":
                elapsed_ns = time.monotonic_ns() - began_ns
                rate = self._rates.pop((fault.id, node), 1.0)
                report = self._look(fault, node, int((rate - 1) * elapsed_ns))
            agent.clock_reset()
            self._before.pop((fault.id, node), None)
            return report

        return self.crew.on(targets, reset)

    def _apply(self, fault: Fault, agent: Agent) -> ClockState | Skipped:
        """Move a clock, where the host can do that."""
        parameters = fault.parameters
        if fault.name == "bump":
            return agent.clock_bump(offset_ms=parameters["offset_ms"])
        if fault.name == "strobe":
            return agent.clock_strobe(
                offset_ms=parameters["offset_ms"],
                period_ms=parameters["period_ms"],
                duration_ms=parameters["duration_ms"],
            )
        return agent.clock_rate(rate=parameters["rate"])

    def _moved_ns(self, fault: Fault, node: str) -> tuple[int, int] | None:
        """Return how far a clock is from where it was, and the error of that; `None` if unknown."""
        status = self.system.status(node, _STATUS_TIMEOUT_S)
        before = self._before.get((fault.id, node))
        if status is None or before is None:
            return None
        now, then = status.clock_offset_ns, before.clock_offset_ns
        if now is None or then is None:  # a system that does not say
            return None
        return now - then, (status.clock_error_ns or 0) + (before.clock_error_ns or 0)

    def _look(self, fault: Fault, node: str, expected_ns: int) -> Report:
        """Compare a clock with where it should be; a change of any size must be visible as such."""
        moved = self._moved_ns(fault, node)
        if moved is None:
            return Report(Certainty.INDETERMINATE, "the node did not say what time it was")
        moved_ns, error_ns = moved
        text = f"its clock moved by {moved_ns / 1e6:+.0f} ms (give or take {error_ns / 1e6:.1f} ms)"
        kind = Certainty.INDETERMINATE
        if clock_moved_as_told(moved_ns, expected_ns=expected_ns, error_ns=error_ns):
            kind = Certainty.INSTALLED
        return Report(kind, text)

    def _look_for_strobe(self, fault: Fault, node: str) -> Report:
        """Look often enough that both positions of the clock are likely to be seen."""
        offset_ns = fault.parameters["offset_ms"] * 1_000_000
        away = home = 0
        for _ in range(_STROBE_LOOKS):
            moved = self._moved_ns(fault, node)
            # A look whose error is as large as half the jump cannot tell away from home.
            if moved is not None and 2 * moved[1] < abs(offset_ns):
                if abs(moved[0] - offset_ns) < abs(moved[0]):
                    away += 1
                else:
                    home += 1
            time.sleep(fault.parameters["period_ms"] / 3000)
        text = f"of {away + home} looks, {away} found the clock away and {home} at home"
        kind = Certainty.INSTALLED if away and home else Certainty.INDETERMINATE
        return Report(kind, text)
