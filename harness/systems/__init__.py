"""The systems that can be tested: how to install, start and speak to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.hosts.host import HostAddress
from harness.spec import Spec
from harness.systems import raft
from harness.systems.system import System

# Known before a system is made, so that a workload it has no words for is refused at once.
OFFERS: Mapping[str, frozenset[str]] = {"raft": raft.OFFERS}


def make_system(spec: Spec, hosts: Sequence[HostAddress], scratch: Path) -> System:
    """Build what the spec wants tested. Raises `UsageError` for a mutant that nobody knows."""
    archive = scratch / "node.pyz"
    raft.build_archive(archive, mutant=spec.mutant)
    return raft.RaftSystem(
        addresses={host.name: host.address for host in hosts},
        archive=archive,
        version=raft.version_of(spec.mutant),
        operation_timeout_s=spec.operation_timeout,
        reads=spec.reads,
    )
