"""Lists: values are appended, whole lists are read; each list must be linearizable.

Rules of this file:
- Every appended value is unique in the run, so a read tells the order of all appends before it.
- A list only grows, so lists are given up for fresh ones (`workloads.fresh_keys`).
"""

from __future__ import annotations

from .checks import Linearizable
from .fresh_keys import change_and_read_generations, fresh_key
from .generator import Context, Generator, calls, op
from .randomness import Stream
from .workload import Probe, Setting, Workload

_PREFIX = "l"


def load(setting: Setting) -> Generator:
    """Return an endless mix of as many appends as reads."""
    stream = Stream(setting.seed, "list-append")

    def operation(context: Context, position: int) -> Generator:
        del context
        number = stream.below(position * 2, setting.keys)
        key = fresh_key(setting, _PREFIX, number, position)
        if stream.below(position * 2 + 1, 2):
            return op("append", position + 1, key)
        return op("read", key=key)

    return calls(operation)


def final(setting: Setting) -> Generator:
    """Append to one list of each key, then read every list through every node."""
    return change_and_read_generations(setting, _PREFIX, "append")


WORKLOAD = Workload(
    name="list-append",
    summary="appends to lists that are read whole",
    data="list",
    functions=("append", "read"),
    load=load,
    final=final,
    checks=(Linearizable("list-append"),),
    probe=Probe(f="read", key=f"{_PREFIX}0.0"),
    change=Probe(f="append", value=0, key="probe"),
)
