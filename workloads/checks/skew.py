"""Write skew: two transactions that each wrote because both saw that nothing was there.

Rules of this file:
- An insert compares some keys with null and writes one of them, so of all inserts that compare the
  same keys at most one can have happened.
- Two that were acknowledged show it, and so does a read that sees two of the keys.
- Pure. Adya's G2 ("Weak Consistency", 1999, section 3.3.2) on pairs of keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from checker.history import EventType, Operation
from workloads.checks.finding import Finding


def write_skew(operations: Sequence[Operation]) -> Finding | None:
    """Find two inserts under the same condition that both happened."""
    inserts: dict[frozenset[str], list[Operation]] = {}
    for operation in operations:
        absent = _absent(operation)
        if absent:
            inserts.setdefault(absent, []).append(operation)
    for absent, tried in inserts.items():
        done = [one for one in tried if one.type is EventType.OK]
        if len(done) > 1:
            return Finding(
                summary=f"two inserts were acknowledged, though each was to happen only if all of "
                f"{', '.join(sorted(absent))} were missing",
                operations=(done[0], done[1]),
            )
    groups = {key: absent for absent in inserts for key in absent}
    for operation in operations:
        if operation.type is not EventType.OK:
            continue
        seen = [key for f, key, value in operation.output if f == "r" and value is not None]
        for key in seen:
            both = sorted(groups.get(key, frozenset()).intersection(seen))
            if len(both) > 1:
                return Finding(
                    summary=f"a read saw {' and '.join(both)}, but each was to be inserted only if "
                    "the others were missing",
                    operations=(*inserts[groups[key]], operation),
                )
    return None


def _absent(operation: Operation) -> frozenset[str]:
    """Return the keys that must be missing for this insert; none if it is no insert."""
    steps = operation.input or ()
    return frozenset(key for f, key, value in steps if f == "compare" and value is None)
