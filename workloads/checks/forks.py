"""Long forks: two transactions that saw two writes, but each the other one only.

Rules of this file:
- Every key is written once, so a read of a group of keys saw some of the writes; of two reads of
  the same group, one must have seen all that the other saw.
- If reads are sorted by how much they saw, it is enough to compare neighbours.
- Pure. After Adya's and Cerone's long fork (parallel snapshot isolation), as Jepsen looks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from checker.history import EventType, Operation
from checker.values import canonical
from workloads.checks.finding import Finding

Seen = Mapping[str, Any]


def long_fork(operations: Sequence[Operation]) -> Finding | None:
    """Find two reads of the same keys of which neither saw all that the other saw."""
    groups: dict[frozenset[str], list[tuple[Seen, Operation]]] = {}
    for operation in operations:
        if operation.type is not EventType.OK:
            continue
        read = {key: value for f, key, value in operation.output if f == "r"}
        if read:
            seen = {key: value for key, value in read.items() if value is not None}
            groups.setdefault(frozenset(read), []).append((seen, operation))
    for reads in groups.values():
        reads.sort(key=lambda one: len(one[0]))
        for (less, one), (more, other) in pairwise(reads):
            missed = _first_missing(less, more)
            if missed is not None:
                unseen = _first_missing(more, less)
                assert unseen is not None, "it saw as much, so it saw something else"
                return _told(operations, (missed, one, less), (unseen, other, more))
    return None


def _first_missing(seen: Seen, by: Seen) -> str | None:
    """Return a key of which `seen` knows a value that `by` does not."""
    for key, value in seen.items():
        if key not in by or canonical(by[key]) != canonical(value):
            return key
    return None


def _told(
    operations: Sequence[Operation],
    one: tuple[str, Operation, Seen],
    other: tuple[str, Operation, Seen],
) -> Finding:
    """Return the finding: who wrote what was seen, and the two reads."""
    shown = [["w", key, seen[key]] for key, _, seen in (one, other)]
    writes = [each for each in operations if any(step in shown for step in each.input)]
    reads = sorted((one[1], other[1]), key=lambda read: read.start)
    return Finding(
        summary=(
            f"two reads of the same keys disagree: event {one[1].invocation.index} saw a value of "
            f"{one[0]} that event {other[1].invocation.index} did not see, and that one saw a value "
            f"of {other[0]} that the first did not"
        ),
        operations=(*writes, *reads),
    )
