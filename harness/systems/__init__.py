"""The systems that can be tested: how to install, start and speak to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import spec as options
from harness.errors import UsageError
from harness.hosts.host import HostAddress
from harness.spec import Spec
from harness.systems import etcd, raft
from harness.systems.system import System

# Known before a system is made, so that what it does not know is refused at once: the kinds of data
# it has words for, the kinds of reads, and the faults that it cannot have, with the reason.
OFFERS: Mapping[str, frozenset[str]] = {"raft": raft.OFFERS, "etcd": etcd.OFFERS}
READS: Mapping[str, Sequence[str]] = {"raft": options.READS, "etcd": etcd.READS}
CANNOT: Mapping[str, Mapping[str, str]] = {"raft": {}, "etcd": etcd.CANNOT}


def possible_faults(system: str, nodes: int) -> tuple[str, ...]:
    """Return the kinds of fault that a system can have in a cluster of so many nodes."""
    cannot = set(CANNOT[system])
    if nodes < options.NODES_MIN_TO_REMOVE:
        cannot.add("member")
    return tuple(kind for kind in options.FAULTS if kind not in cannot)


def check_system(spec: Spec) -> None:
    """Refuse what the system cannot do, before anything is made for the run.

    Raises `UsageError`, or `HarnessError` if the system is not there to be put on hosts.
    """
    if spec.reads not in READS[spec.system]:
        raise UsageError(
            f"reads is {spec.reads!r}, but for {spec.system} it must be one of: "
            f"{', '.join(READS[spec.system])}"
        )
    cannot = CANNOT[spec.system]
    for fault in spec.nemesis:
        if fault in cannot:
            possible = possible_faults(spec.system, spec.nodes)
            raise UsageError(
                f"nemesis has {fault!r}, but {spec.system} cannot have it: {cannot[fault]}; "
                f"possible are: {', '.join(possible)}"
            )
    if spec.system == "etcd":
        if spec.mutant:
            raise UsageError(f"mutant is {spec.mutant!r}, but etcd has none")
        etcd.find_program()
    elif spec.mutant and spec.mutant not in (known := raft.mutants()):
        raise UsageError(f"mutant is {spec.mutant!r}, but must be one of: {', '.join(known)}")


def make_system(spec: Spec, hosts: Sequence[HostAddress], scratch: Path) -> System:
    """Build what the spec wants tested. Raises `UsageError` for a mutant that nobody knows."""
    addresses = {host.name: host.address for host in hosts}
    if spec.system == "etcd":
        program = etcd.find_program()
        return etcd.EtcdSystem(
            addresses=addresses,
            program=program,
            version=etcd.version_of(program),
            operation_timeout_s=spec.operation_timeout,
            reads=spec.reads,
        )
    archive = scratch / "node.pyz"
    raft.build_archive(archive, mutant=spec.mutant)
    return raft.RaftSystem(
        addresses=addresses,
        archive=archive,
        version=raft.version_of(spec.mutant),
        operation_timeout_s=spec.operation_timeout,
        reads=spec.reads,
    )
