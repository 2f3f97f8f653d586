"""Finds the hosts that a spec asks for, and gives them back afterwards.

Rules of this file:
- A lab that this run brought up is taken down again; one that was up before stays up.
- A lab belongs to one run at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError
from harness.hosts import lab
from harness.hosts.host import HostAddress
from harness.spec import Spec


@contextmanager
def hosts_for(spec: Spec) -> Iterator[tuple[HostAddress, ...]]:
    """Yield the hosts of a run, as many as `spec.nodes`.

    Raises `UsageError` for an inventory that is bad or too small, `HarnessError` when a lab cannot
    be brought up.
    """
    if spec.hosts != "lab":
        from harness.hosts import inventory

        listed = inventory.read(Path(spec.hosts))
        if len(listed) < spec.nodes:
            raise UsageError(
                f"{spec.hosts}: has {len(listed)} hosts, but nodes is {spec.nodes}; "
                "add hosts or lower --nodes"
            )
        yield listed[: spec.nodes]
        return
    with lab.claim(None if spec.lab < 0 else spec.lab) as instance:
        was_up = lab.status(instance).state == "up"
        try:
            yield lab.up(nodes=spec.nodes, instance=instance).hosts
        finally:
            if not was_up:
                lab.down(instance)
