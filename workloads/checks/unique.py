"""No id is answered twice.

Pure. Ids are compared as JSON values: 1 and "1" are two ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from checker.history import EventType, Operation
from checker.values import canonical
from workloads.checks.finding import Finding


def answered_twice(operations: Sequence[Operation]) -> Finding | None:
    """Find two `generate` operations with the same answer."""
    first: dict[str, Operation] = {}
    for operation in operations:
        if operation.f != "generate" or operation.type is not EventType.OK:
            continue
        name = canonical(operation.output)
        if name in first:
            return Finding(
                summary=f"the id {name} was answered twice",
                operations=(first[name], operation),
                key=operation.key,
            )
        first[name] = operation
    return None
