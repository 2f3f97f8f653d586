"""Disk faults: the power of some hosts fails, a disk is full, slow, or refuses everything.

Rules of this file:
- A power loss is `installed` when a file that was fsynced is there afterwards and one that was not
  is gone; a full disk when a write was refused; a failing one when an fsync was; a slow one when an
  fsync was measured to be slow.
- A disk that lost what was fsynced is no disk to judge a system on: that is a failure of the
  harness, never of the system.
- What loses power together does so together: canaries are written everywhere first, then all are
  struck at once.
- A node that is being made anew is not struck in the middle of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import HarnessError
from harness.nemesis.faults import Certainty, Crew, Report, Reports
from harness.nemesis.plan import Fault
from harness.remote.agent_client import Agent
from harness.remote.evidence import FailingDisk, FullDisk, PowerLoss, Skipped, SlowDisk

# A disk counts as slow when an fsync takes this much longer than before, and at least this long.
_SLOWER_TIMES: Final = 2.0
_SLOW_MS: Final = 20.0


def certainty_of_power_loss(seen: PowerLoss) -> Certainty:
    """Return what the canaries show. Pure."""
    certain = seen.was_running and seen.kept_durable and not seen.kept_fleeting
    return Certainty.INSTALLED if certain else Certainty.INDETERMINATE


def certainty_of_full_disk(seen: FullDisk) -> Certainty:
    """Return whether there was no room. Pure."""
    certain = seen.available_bytes == 0 and seen.refused
    return Certainty.INSTALLED if certain else Certainty.INDETERMINATE


def certainty_of_failing_disk(seen: FailingDisk) -> Certainty:
    """Return whether a running system had its disk fail. Pure."""
    certain = seen.was_running and seen.refused
    return Certainty.INSTALLED if certain else Certainty.INDETERMINATE


def certainty_of_slow_disk(seen: SlowDisk) -> Certainty:
    """Return whether an fsync became slow. Pure."""
    certain = seen.after_ms >= max(_SLOW_MS, _SLOWER_TIMES * seen.before_ms)
    return Certainty.INSTALLED if certain else Certainty.INDETERMINATE


@dataclass(slots=True)
class Disk:
    """Strikes the volume that the system lives on; its nodes are started again at the end."""

    crew: Crew

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Strike, and look whether it worked."""
        if fault.name == "full":
            return self.crew.on(targets, self._fill)
        if fault.name == "slow":
            return self.crew.on(targets, self._slow)
        if fault.name == "failing":
            return self.crew.on(targets, self._fail)
        written = self.crew.on(targets, self._write_canaries)
        able = [node for node in targets if written[node].certainty is not Certainty.SKIPPED]
        return {**written, **self.crew.on(able, self._cut_power)}

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Give room and speed back, and start what is down."""
        del fault

        def undo(node: str, agent: Agent) -> Report:
            agent.undo_disk()
            detail = self.crew.cluster.start(node)
            # Coming back is no evidence that it was struck: that was seen at the start, or not.
            return Report(Certainty.INDETERMINATE, f"undone: {detail}")

        return self.crew.on(targets, undo)

    def _write_canaries(self, node: str, agent: Agent) -> Report:
        with self.crew.cluster.hold(node):
            done = agent.write_canaries()
        if isinstance(done, Skipped):
            return Report(Certainty.SKIPPED, done.reason)
        return Report(Certainty.INDETERMINATE, "canaries were written")

    def _cut_power(self, node: str, agent: Agent) -> Report:
        with self.crew.cluster.hold(node):
            seen = agent.cut_power()
        if isinstance(seen, Skipped):
            return Report(Certainty.SKIPPED, seen.reason)
        if not seen.kept_durable:
            raise HarnessError(
                f"{node}: its volume lost what had been fsynced, so this host's disk is not fit for "
                "power losses; leave out the nemesis 'disk' there"
            )
        return Report(certainty_of_power_loss(seen), seen.detail)

    def _fill(self, node: str, agent: Agent) -> Report:
        with self.crew.cluster.hold(node):
            seen = agent.fill_disk()
        if isinstance(seen, Skipped):
            return Report(Certainty.SKIPPED, seen.reason)
        return Report(certainty_of_full_disk(seen), seen.detail)

    def _fail(self, node: str, agent: Agent) -> Report:
        with self.crew.cluster.hold(node):
            seen = agent.fail_disk()
        if isinstance(seen, Skipped):
            return Report(Certainty.SKIPPED, seen.reason)
        return Report(certainty_of_failing_disk(seen), seen.detail)

    def _slow(self, node: str, agent: Agent) -> Report:
        with self.crew.cluster.hold(node):
            seen = agent.slow_disk()
        if isinstance(seen, Skipped):
            return Report(Certainty.SKIPPED, seen.reason)
        return Report(certainty_of_slow_disk(seen), seen.detail)
