"""Counters: numbers are added, also negative ones, and read; each must be linearizable.

Rules of this file:
- The numbers are few and small. An add that is in doubt may show in any later read; if all were
  different, which of them took effect would have too many explanations to try.
"""

from __future__ import annotations

from .checks import Linearizable
from .final import Change, changed_and_seen
from .generator import Context, Generator, calls, op
from .randomness import Stream
from .workload import Probe, Setting, Workload

_AMOUNTS = (1, 1, 1, 3, -1)


def load(setting: Setting) -> Generator:
    """Return an endless mix of as many adds as reads."""
    stream = Stream(setting.seed, "counter")
    keys = setting.names("c")

    def operation(context: Context, position: int) -> Generator:
        del context
        key = stream.choice(position * 3, keys)
        if stream.below(position * 3 + 1, 2):
            return op("add", stream.choice(position * 3 + 2, _AMOUNTS), key)
        return op("read", key=key)

    return calls(operation)


def final(setting: Setting) -> Generator:
    """Add to every counter once more, then read every counter through every node."""
    return changed_and_seen(
        setting, setting.names("c"), lambda key, _value: Change("add", 1, key), "read"
    )


WORKLOAD = Workload(
    name="counter",
    summary="additions to numbers that are read",
    data="counter",
    functions=("add", "read"),
    load=load,
    final=final,
    checks=(Linearizable("counter"),),
    probe=Probe(f="read", key="c0"),
    change=Probe(f="add", value=1, key="probe"),
)
