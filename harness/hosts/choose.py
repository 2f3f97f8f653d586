"""Finds the hosts that a spec asks for, and gives them back afterwards.

Rules of this file:
- A lab that this run brought up is taken down again; one that was up before stays up.
- A lab belongs to one run at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from harness import doctor
from harness.errors import HarnessError, UsageError
from harness.hosts import docker, docker_words, inventory, lab, lab_network, lab_vm
from harness.hosts.host import HostAddress
from harness.spec import Spec

VM: Final = "vm"
_LABS: Final = ("lab", VM)
# How many labs are looked at before giving up.
_LABS_MAX: Final = 32
_IPV6: Final = 6


def check_hosts(spec: Spec) -> None:
    """Refuse hosts that cannot be had, before anything is made for the run.

    Raises `UsageError` for an inventory that is bad or too small, `HarnessError` for a machine that
    cannot have a lab or containers, with the command that changes that.
    """
    if docker_words.is_docker(spec.hosts):
        docker_words.wanted_base(spec.hosts)
        docker.check()
        return
    if spec.hosts not in _LABS:
        _from_inventory(spec)
        return
    if spec.hosts == VM and (lacking := lab_vm.why_not()) is not None:
        raise HarnessError(f"this machine cannot have virtual ones: {lacking[0]}; {lacking[1]}")
    missing = [finding for finding in doctor.examine() if finding.required and not finding.ok]
    if missing:
        first = missing[0]
        raise HarnessError(
            f"this machine cannot have a lab: {first.name}: {first.detail}; {first.remedy} "
            "(splitbrain doctor says more)"
        )
    no_ipv6 = lab_network.why_no_ipv6() if spec.ip == _IPV6 else ""
    if no_ipv6:
        raise HarnessError(
            f"the lab has no IPv6 on this machine: {no_ipv6}; leave out --ip 6, or switch it on: "
            "sysctl -w net.ipv6.conf.{all,default,lo}.disable_ipv6=0"
        )
    if spec.lab >= 0:
        _refuse_other_size(spec, lab.status(spec.lab))


@contextmanager
def hosts_for(spec: Spec) -> Iterator[tuple[HostAddress, ...]]:
    """Yield the hosts of a run, as many as `spec.nodes`. Raises as `check_hosts` does."""
    if docker_words.is_docker(spec.hosts):
        base, disks = docker_words.wanted_base(spec.hosts), "disk" in spec.nemesis
        with docker.hosts(nodes=spec.nodes, base=base, disks=disks) as containers:
            yield containers
        return
    if spec.hosts not in _LABS:
        yield _from_inventory(spec)
        return
    with ExitStack() as claims:
        instance, was_up = _claim(spec, claims)
        try:
            made = lab.up(nodes=spec.nodes, instance=instance, vm=spec.hosts == VM)
            hosts = _over(spec, made.hosts)
            lab.await_answers(made, hosts)
            yield hosts
        finally:
            if not was_up:
                lab.down(instance)


def _claim(spec: Spec, claims: ExitStack) -> tuple[int, bool]:
    """Claim a lab that is down, or up at the right size; somebody else's is left as it is."""
    for _ in range(_LABS_MAX):
        instance = claims.enter_context(lab.claim(None if spec.lab < 0 else spec.lab))
        present = lab.status(instance)
        if present.state != "up" or present.is_up_with(spec.nodes, vm=spec.hosts == VM):
            return instance, present.state == "up"
        if spec.lab >= 0:
            _refuse_other_size(spec, present)
    raise HarnessError(
        f"{_LABS_MAX} labs are up at another size or kind: splitbrain lab down --lab N"
    )


def _refuse_other_size(spec: Spec, present: lab.LabStatus) -> None:
    if present.state == "up" and not present.is_up_with(spec.nodes, vm=spec.hosts == VM):
        number, count = present.instance, len(present.hosts)
        kind = "virtual machines" if present.vm else "hosts"
        raise UsageError(
            f"lab {number} is up with {count} {kind}, but hosts is {spec.hosts} and nodes is "
            f"{spec.nodes}: "
            f"choose another --lab, or first: splitbrain lab down --lab {number}"
        )


def _from_inventory(spec: Spec) -> tuple[HostAddress, ...]:
    listed = inventory.read(Path(spec.hosts))
    if len(listed) < spec.nodes:
        raise UsageError(
            f"{spec.hosts}: has {len(listed)} hosts, but nodes is {spec.nodes}; "
            "add hosts or lower --nodes"
        )
    return _over(spec, listed[: spec.nodes])


def _over(spec: Spec, hosts: Sequence[HostAddress]) -> tuple[HostAddress, ...]:
    """Return the hosts with an address of the IP version in use that was asked for."""
    return tuple(host.over(spec.ip) if spec.ip else host for host in hosts)
