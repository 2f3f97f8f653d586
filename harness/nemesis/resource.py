"""Resource faults: a node gets little CPU time, little memory, or can open nothing new.

Rules of this file:
- Little CPU time is `installed` when the kernel had to stop the system for it, little memory when the
  limit was met (or the kernel killed for it), few descriptors when no number below the limit that
  /proc shows is free.
- What had no effect at once is looked at once more before it is undone.
- A node that is being made anew is not struck in the middle of it. One that ended for want of memory
  or descriptors is started again; nobody ends for want of CPU time, so a node that is down then is
  held down by another fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.nemesis.faults import Certainty, Crew, Report, Reports
from harness.nemesis.plan import TAKING, Fault
from harness.remote.agent_client import Agent
from harness.remote.evidence import FewDescriptors, LittleCpu, LittleMemory, Skipped

Seen = LittleCpu | LittleMemory | FewDescriptors


def certainty_of(seen: Seen) -> Certainty:
    """Return whether the kernel shows that the system lacks it. Pure."""
    if isinstance(seen, LittleCpu):
        certain = seen.times > 0
    elif isinstance(seen, LittleMemory):
        certain = seen.hits > 0 or seen.kills > 0
    else:
        certain = seen.free == 0
    return Certainty.INSTALLED if certain else Certainty.INDETERMINATE


@dataclass(slots=True)
class Resource:
    """Takes from the system what it works with, and gives it back."""

    crew: Crew

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Take, and look whether it is missed."""

        def take(node: str, agent: Agent) -> Report:
            with self.crew.cluster.hold(node):
                return _report(_take(fault, agent))

        return self.crew.on(targets, take)

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Look once more, give back, and start the system if it ended."""

        def give_back(node: str, agent: Agent) -> Report:
            try:
                seen = _look(fault, agent)
            finally:
                agent.undo_squeeze()
            undone = "undone"
            if (fault.kind, fault.name) in TAKING:
                undone = f"undone: {self.crew.cluster.start(node)}"
            if seen is None or isinstance(seen, Skipped):
                return Report(Certainty.INDETERMINATE, undone)
            return Report(certainty_of(seen), f"{seen.detail}; {undone}")

        return self.crew.on(targets, give_back)


def _take(fault: Fault, agent: Agent) -> Seen | Skipped:
    parameters = fault.parameters
    if fault.name == "cpu":
        return agent.squeeze_cpu(parameters["percent"])
    if fault.name == "memory":
        return agent.squeeze_memory(parameters["spare_kb"])
    return agent.limit_descriptors(parameters["keep_percent"])


def _look(fault: Fault, agent: Agent) -> Seen | Skipped | None:
    """Return what the kernel has counted since; of descriptors there is nothing to count."""
    if fault.name == "cpu":
        return agent.cpu_squeezed()
    if fault.name == "memory":
        return agent.memory_squeezed()
    return None


def _report(seen: Seen | Skipped) -> Report:
    if isinstance(seen, Skipped):
        return Report(Certainty.SKIPPED, seen.reason)
    return Report(certainty_of(seen), seen.detail)
