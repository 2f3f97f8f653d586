"""Which faults go beyond what a system promises to survive: before a run, and after it.

Rules of this file:
- Before: `--nemesis all` draws no kind of fault with a variant that takes more than the system
  promises to survive. Who names such a kind gets it.
- After: it counts what was seen, not what was planned. A fault that may have happened counts as one
  that did: of a system that may have been wronged nobody says that it is wrong. What was wrong
  before the first of them is another matter.
- A node that lost durable data and refused to run without them has crashed for good, which is
  within the model on as many nodes as the model says. One that ran on is beyond every model here.
- Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from harness.nemesis.plan import VARIANTS
from harness.systems.fault_model import OF_DURABLE, FaultModel, Loss

if TYPE_CHECKING:
    from harness.nemesis.conductor import FaultRecord

# What each variant takes from a disk, and from how many nodes of so many. What is not named here
# takes nothing that was on one.
LOSSES: Final[Mapping[tuple[str, str], Loss]] = {
    ("disk", "power-loss-leader"): Loss.UNSYNCED,
    ("disk", "power-loss-all"): Loss.UNSYNCED,
    ("disk", "power-loss-minority"): Loss.UNSYNCED,
    ("disk", "power-loss-one"): Loss.UNSYNCED,
    ("disk", "failing"): Loss.UNSYNCED,
    ("damage", "torn-write"): Loss.TORN,
    ("damage", "bit-flip"): Loss.VISIBLE,
    ("damage", "truncate"): Loss.VISIBLE,
    ("amnesia", "cut-one"): Loss.HIDDEN,
    ("amnesia", "cut-majority"): Loss.HIDDEN,
}


def nodes_struck(name: str, nodes: int) -> int:
    """Return how many of so many nodes a variant strikes, by its name."""
    if name.endswith("-all"):
        return nodes
    if name.endswith("minority"):
        return max(1, (nodes - 1) // 2)
    return nodes // 2 + 1 if name.endswith("majority") else 1


def stays_inside(model: FaultModel, kind: str, nodes: int) -> bool:
    """Say whether a kind of fault takes no more than is survived, whichever variant comes."""
    return all(
        nodes_struck(name, nodes) <= model.nodes_that_may_suffer(loss, nodes)
        for name in VARIANTS[kind]
        if (loss := LOSSES.get((kind, name))) is not None
    )


def inside(model: FaultModel, kinds: Iterable[str], nodes: int) -> tuple[str, ...]:
    """Return those of some kinds of fault that take no more than is survived."""
    return tuple(kind for kind in kinds if stays_inside(model, kind, nodes))


def beyond_model(model: FaultModel, records: Iterable[FaultRecord], nodes: int) -> list[str]:
    """Return a sentence for each fault that took more than the system promises to survive."""
    said = (_beyond(model, record, nodes) for record in records)
    return [sentence for sentence in said if sentence]


def beyond_since_ns(model: FaultModel, records: Iterable[FaultRecord], nodes: int) -> int | None:
    """Return when the first such fault began; `None` if there is none."""
    begun = [record.start_ns or 0 for record in records if _beyond(model, record, nodes)]
    return min(begun, default=None)


def _beyond(model: FaultModel, record: FaultRecord, nodes: int) -> str:
    fault = record.fault
    loss = LOSSES.get((fault.kind, fault.name))
    if loss is None or not record.struck:
        return ""
    name = f"{fault.kind}:{fault.name} on {', '.join(record.struck)}"
    if record.failed_half_way:  # such as on a disk that lost what had been fsynced
        return f"beyond the fault model: {name}: nobody knows what it took"
    if loss in OF_DURABLE:
        ran_on = [node for node in record.struck if node not in record.contained]
        if ran_on:
            return (
                f"beyond the fault model: {name}: not seen to refuse to run on what was left of their "
                f"data: {', '.join(ran_on)}"
            )
        loss = Loss.VISIBLE
    most = model.nodes_that_may_suffer(loss, nodes)
    if len(record.struck) <= most:
        return ""
    return (
        f"beyond the fault model: {name}: this loss ({loss}) is survived on {most} nodes at a time"
    )
