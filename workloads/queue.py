"""Queues: values are enqueued and dequeued, first in first out; each must be linearizable.

Rules of this file:
- Every enqueued value is unique in the run, so one that comes out twice, or too early, shows.
- Dequeues are a little likelier than enqueues: queues stay short and are often empty, which says
  that nothing else is in them.
- In the end every thread dequeues until it is told that nothing is left: what an acknowledged
  enqueue put in and nobody ever gets was lost.
"""

from __future__ import annotations

from typing import Final

from .checks import Linearizable
from .final import Change, change_each
from .generator import (
    Context,
    Generator,
    calls,
    chain,
    clients,
    each_thread,
    limit,
    op,
    phases,
    repeat,
)
from .randomness import Stream
from .until_nothing import until_nothing
from .workload import Probe, Setting, Workload

_MIX = ("enqueue",) * 3 + ("dequeue",) * 4
# How often a thread asks a queue in the end that never says that it is empty.
_DEQUEUES_MAX: Final = 200


def load(setting: Setting) -> Generator:
    """Return an endless mix of both operations."""
    stream = Stream(setting.seed, "queue")
    keys = setting.names("q")

    def operation(context: Context, position: int) -> Generator:
        del context
        key = stream.choice(position * 2, keys)
        f = stream.choice(position * 2 + 1, _MIX)
        return op(f, position + 1 if f == "enqueue" else None, key)

    return calls(operation)


def final(setting: Setting) -> Generator:
    """Enqueue once more to every queue, then drain them all, on all threads at once."""
    names = setting.names("q")
    last = change_each(
        setting, len(names), lambda number, value: Change("enqueue", value, names[number])
    )
    drains = [until_nothing(limit(_DEQUEUES_MAX, repeat(op("dequeue", key=key)))) for key in names]
    return phases(last, clients(each_thread(chain(*drains))))


WORKLOAD = Workload(
    name="queue",
    summary="first in, first out",
    data="queue",
    functions=("enqueue", "dequeue"),
    load=load,
    final=final,
    checks=(Linearizable("fifo-queue"),),
    probe=Probe(f="length", key="q0"),
    change=Probe(f="enqueue", value=0, key="probe"),
)
