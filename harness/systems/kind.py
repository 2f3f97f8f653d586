"""What is known of a system before a cluster of it is made.

Rules of this file:
- A `SystemKind` is a value: a name, what it offers, what it cannot do, and how to make a cluster.
  The harness has some (`harness.systems.KINDS`); a user's own is in a file that `--system` names.
- What a system cannot do is refused before anything is made for the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.log_scan import STANDARD, Pattern
from harness.spec import Spec
from harness.systems.fault_model import CRASHES_ONLY, FaultModel
from harness.systems.system import System

# What a system has to be made for; one that is says `cannot={}`, or what else it cannot have.
UNLESS_IT_SAYS_SO: Final[Mapping[str, str]] = {
    "clock": "its status shows no clock, so nobody could see it move",
    "member": "it takes no orders from the harness",
    "transfer": "it takes no orders from the harness",
    "snapshot": "it takes no orders from the harness",
    "damage": "it does not say which of its files hold its data",
    "amnesia": "it does not say which of its files hold its data",
}


def nothing_to_check(spec: Spec) -> None:
    """Find nothing wrong with a spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemKind:
    """A system that can be tested.

    `make(spec, addresses, scratch)` makes a cluster's `System`: `addresses` maps each node to its
    IP address, `scratch` is a folder for what is to be uploaded. `offers` are the kinds of data
    (`workloads.data`) that its clients know, `reads` those of `Spec.reads` that they can ask for.
    `cannot` are the kinds of fault that it cannot have, each with the reason: by default those that
    need a clock in its status or an `Administrated` system. `log_patterns` are lines of its log
    that accuse it, or its surroundings: by default what runtimes write. `model` says what it
    promises to survive of what its disks may lose. `check(spec)` raises `UsageError` for what else
    is wrong, `HarnessError` if the system is not there to be deployed.
    """

    name: str
    make: Callable[[Spec, Mapping[str, str], Path], System]
    offers: frozenset[str]
    reads: Sequence[str] = ("linear",)
    cannot: Mapping[str, str] = field(default_factory=lambda: UNLESS_IT_SAYS_SO)
    log_patterns: Sequence[Pattern] = STANDARD
    model: FaultModel = CRASHES_ONLY
    check: Callable[[Spec], None] = nothing_to_check
