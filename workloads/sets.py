"""Sets: values are added, a few are removed, whole sets are read; each set must be linearizable.

Rules of this file:
- Every added value is unique in the run and removed at most once: of every ten operations the last
  may remove a value that one of the nine before it added. So an element that is missing was
  lost, and one that is there again came back.
- A removal often runs beside its own add, and then either may come first.
- A set mostly grows, so sets are given up for fresh ones (`workloads.fresh_keys`).
"""

from __future__ import annotations

from .checks import Linearizable
from .fresh_keys import change_and_read_generations, fresh_key
from .generator import Context, Generator, calls, op
from .randomness import Stream
from .workload import Probe, Setting, Workload

_PREFIX = "s"
_TEN = 10


def load(setting: Setting) -> Generator:
    """Return an endless mix of about five adds, one removal and four reads."""
    stream = Stream(setting.seed, "set")

    def key(position: int) -> str:
        number = stream.below(position * 2, setting.keys)
        return fresh_key(setting, _PREFIX, number, position)

    def adds(position: int) -> bool:
        return position % _TEN != _TEN - 1 and stream.below(position * 2 + 1, 9) < 5

    def operation(context: Context, position: int) -> Generator:
        del context
        if adds(position):
            return op("add", position + 1, key(position))
        added = [before for before in range(position - _TEN + 1, position) if adds(before)]
        if position % _TEN == _TEN - 1 and added:
            chosen = stream.choice(position * 2 + 1, added)
            return op("remove", chosen + 1, key(chosen))
        return op("read", key=key(position))

    return calls(operation)


def final(setting: Setting) -> Generator:
    """Add to one set of each key, then read every set through every node."""
    return change_and_read_generations(setting, _PREFIX, "add")


WORKLOAD = Workload(
    name="set",
    summary="adds to and removals from sets that are read whole",
    data="set",
    functions=("add", "remove", "read"),
    load=load,
    final=final,
    checks=(Linearizable("set"),),
    probe=Probe(f="read", key=f"{_PREFIX}0.0"),
    change=Probe(f="add", value=0, key="probe"),
)
