"""How each kind of fault is applied and undone through the hosts' agents.

Rules of this file:
- `start` and `stop` take the nodes that were chosen and return a report for each: what the agent
  saw happen (`installed`), that it could not be done there (`skipped`, with the reason), or that
  nobody knows (`indeterminate`). Nothing is `installed` on the harness's own word.
- Undoing is idempotent and is tried on every node that was touched, also when another one fails.
- Several nodes are commanded at the same time: a partition must not take effect node by node over
  a second, and one slow host must not delay the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from harness.cluster import Cluster
from harness.errors import HostError
from harness.nemesis.plan import VARIANTS, Fault
from harness.remote.agent_client import Agent


class Certainty(StrEnum):
    """What is known of a fault's effect."""

    INSTALLED = "installed"
    SKIPPED = "skipped"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen on one node.

    `contained`: it lost what had been durable, saw that, and refused to run without it.
    `lasting`: it is struck still although the fault was undone.
    """

    certainty: Certainty
    detail: str
    contained: bool = False
    lasting: bool = False


Reports = Mapping[str, Report]


def overall(reports: Reports) -> Certainty:
    """Merge the nodes' reports: a fault is installed if it was seen to work on some node."""
    kinds = {report.certainty for report in reports.values()}
    for kind in (Certainty.INSTALLED, Certainty.INDETERMINATE):
        if kind in kinds:
            return kind
    return Certainty.SKIPPED


class FaultKind(Protocol):
    """Applies and undoes the faults of one kind."""

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Apply a fault to these nodes."""
        ...

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Undo it and say what it did."""
        ...


@dataclass(frozen=True, slots=True)
class Unable:
    """Faults that this system does not know."""

    reason: str

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Say why nothing is done."""
        del fault
        return {node: Report(Certainty.SKIPPED, self.reason) for node in targets}

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Nothing was done."""
        return self.start(fault, targets)


class Crew:
    """The agents of a cluster, commanded at the same time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        # Kinds of fault act at the same time: none may wait for another's commands.
        workers = len(cluster.nodes) * len(VARIANTS)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="nemesis")

    def on(self, nodes: Sequence[str], act: Callable[[str, Agent], Report]) -> dict[str, Report]:
        """Run `act` for each node's agent at once; a host that fails is `indeterminate`."""

        def guarded(node: str) -> Report:
            try:
                return act(node, self.cluster.agent(node))
            except HostError as error:
                return Report(Certainty.INDETERMINATE, str(error))

        return dict(zip(nodes, self._pool.map(guarded, nodes), strict=True))

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
