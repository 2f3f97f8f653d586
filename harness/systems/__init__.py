"""The systems that can be tested: ours, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import own_code
from harness import spec as options
from harness.errors import UsageError
from harness.hosts.host import HostAddress
from harness.spec import Spec
from harness.systems import etcd, raft
from harness.systems.kind import SystemKind
from harness.systems.system import System

KINDS: Mapping[str, SystemKind] = {"raft": raft.KIND, "etcd": etcd.KIND}


def kind_of(name: str) -> SystemKind:
    """Return a system by its name or its file. Raises `UsageError` for what is none."""
    if name in KINDS:
        return KINDS[name]
    return own_code.load(name, SystemKind, what="system", standard="SYSTEM")


def possible_faults(kind: SystemKind, nodes: int) -> tuple[str, ...]:
    """Return the kinds of fault that a system can have in a cluster of so many nodes."""
    cannot = set(kind.cannot)
    if nodes < options.NODES_MIN_TO_REMOVE:
        cannot.update(options.REMOVING)
    return tuple(fault for fault in options.FAULTS if fault not in cannot)


def check_system(kind: SystemKind, spec: Spec, data: str) -> None:
    """Refuse what the system cannot do, before anything is made for the run.

    `data` is the kind of data that the workload needs. Raises `UsageError`, or `HarnessError` if
    the system is not there to be put on hosts.
    """
    if data not in kind.offers:
        raise UsageError(
            f"the workload {spec.name!r} needs a system that offers {data!r}; "
            f"{kind.name} offers {', '.join(sorted(kind.offers))}"
        )
    if spec.reads not in kind.reads:
        raise UsageError(
            f"reads is {spec.reads!r}, but for {kind.name} it must be one of: "
            f"{', '.join(kind.reads)}"
        )
    for fault in spec.nemesis:
        if fault in kind.cannot:
            possible = possible_faults(kind, spec.nodes)
            raise UsageError(
                f"nemesis has {fault!r}, but {kind.name} cannot have it: {kind.cannot[fault]}; "
                f"possible are: {', '.join(possible)}"
            )
    if spec.mutant and kind is not raft.KIND:
        raise UsageError(f"mutant is {spec.mutant!r}, but {kind.name} has none")
    kind.check(spec)


def make_system(
    kind: SystemKind, spec: Spec, hosts: Sequence[HostAddress], scratch: Path
) -> System:
    """Build what the spec wants tested."""
    return kind.make(spec, {host.name: host.address for host in hosts}, scratch)
