"""Whether what clients did last was served: a look at every key, and a change where there is one. Pure.

Rules of this file:
- What is demanded is what the workload's final phase asked for: of each key that it looked at one
  look was acknowledged, through whatever node, and of each key that it changed one change.
- A final phase that asked for nothing has shown nothing, and one that was cut off not all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from checker.history import EventType, Operation
from workloads.data import objects_of

# It is a few operations on every key; it must end all the same.
FINAL_S_MAX: Final = 120.0
_NAMED_MAX: Final = 5


def unserved(operations: Iterable[Operation], began_ns: int) -> list[str]:
    """Say which keys the final phase, which began then, did not get to see or to change."""
    ended_ns = began_ns
    asked: dict[tuple[str, bool], bool] = {}
    for operation in operations:
        if (operation.invocation.time or 0) < began_ns:
            continue
        last = operation.completion or operation.invocation
        ended_ns = max(ended_ns, last.time or 0)
        acknowledged = operation.type is EventType.OK
        about = objects_of(operation.f, operation.key, operation.input)
        for name, changed in about.items():
            asked[name, changed] = asked.get((name, changed), False) or acknowledged
    if not asked:
        return ["nothing was asked for after the faults"]
    told = []
    if ended_ns >= began_ns + FINAL_S_MAX * 1e9:
        told.append(
            f"what is done last was not over within {FINAL_S_MAX:g} s: keys may have been left out"
        )
    for changing, what in ((True, "change"), (False, "look")):
        names = [
            name for (name, changed), good in asked.items() if changed is changing and not good
        ]
        if names:
            more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
            told.append(f"no last {what} was acknowledged of {', '.join(names[:_NAMED_MAX])}{more}")
    return told
