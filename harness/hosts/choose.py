"""Finds the hosts that a spec asks for, and gives them back afterwards.

Rules of this file:
- A lab that this run brought up is taken down again; one that was up before stays up.
- A lab belongs to one run at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import doctor
from harness.errors import HarnessError, UsageError
from harness.hosts import inventory, lab
from harness.hosts.host import HostAddress
from harness.spec import Spec


def check_hosts(spec: Spec) -> None:
    """Refuse hosts that cannot be had, before anything is made for the run.

    Raises `UsageError` for an inventory that is bad or too small, `HarnessError` for a machine that
    cannot have a lab, with the command that changes that.
    """
    if spec.hosts != "lab":
        _from_inventory(spec)
        return
    missing = [finding for finding in doctor.examine() if finding.required and not finding.ok]
    if missing:
        first = missing[0]
        raise HarnessError(
            f"this machine cannot have a lab: {first.name}: {first.detail}; {first.remedy} "
            "(splitbrain doctor says more)"
        )


@contextmanager
def hosts_for(spec: Spec) -> Iterator[tuple[HostAddress, ...]]:
    """Yield the hosts of a run, as many as `spec.nodes`. Raises as `check_hosts` does."""
    if spec.hosts != "lab":
        yield _from_inventory(spec)
        return
    with lab.claim(None if spec.lab < 0 else spec.lab) as instance:
        was_up = lab.status(instance).state == "up"
        try:
            yield lab.up(nodes=spec.nodes, instance=instance).hosts
        finally:
            if not was_up:
                lab.down(instance)


def _from_inventory(spec: Spec) -> tuple[HostAddress, ...]:
    listed = inventory.read(Path(spec.hosts))
    if len(listed) < spec.nodes:
        raise UsageError(
            f"{spec.hosts}: has {len(listed)} hosts, but nodes is {spec.nodes}; "
            "add hosts or lower --nodes"
        )
    return tuple(listed[: spec.nodes])
