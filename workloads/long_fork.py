"""Long forks: keys that are written once each, and reads of a few of them at once.

Rules of this file:
- Keys come in groups of three. Writes go from key to key, so a group is written to by several
  threads at about the same time.
- Who has written a key reads its group next; others look at the groups that are being written.
- Reads name their keys in both directions: a system that reads one key after the other shows it.

After Jepsen's `tests/long_fork.clj`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from checker.history import Event

from .checks import Finds
from .checks.forks import long_fork
from .generator import PENDING, Context, Generator, Invocation, Step, Thread
from .randomness import Stream
from .scan import Look, scan_everywhere
from .transactions import Micro, reads_of, saw_something
from .workload import Probe, Setting, Workload

GROUP: Final = 3


@dataclass(frozen=True, slots=True)
class LongForkOperations:
    """Writes of keys 0, 1, ... and reads of groups, on whichever thread is free.

    `key` is the next to be written, `wrote` what those threads wrote last that have not read since.
    """

    stream: Stream
    key: int = 0
    wrote: Mapping[Thread, int] = field(default_factory=dict)
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return a read of what the thread has written, or else a read or a write."""
        if not context.free:
            return PENDING
        stream, draw = context.stream(self.stream), self.position * 4
        thread = stream.choice(draw, context.free)
        key, wrote = self.key, dict(self.wrote)
        mine = wrote.pop(thread, None)
        if mine is None and stream.below(draw + 1, 2) == 0:
            # The group that is being written, or the one before it.
            mine = max(0, key - 1 - GROUP * stream.below(draw + 2, 2))
        if mine is None:
            steps: list[Micro] = [["w", f"k{key}", key + 1]]
            wrote[thread] = key
            key += 1
        else:
            steps = reads_of(group(mine // GROUP))[:: stream.choice(draw + 3, (1, -1))]
        invocation = Invocation(f="txn", value=steps, thread=thread, at_ns=context.time_ns)
        return invocation, LongForkOperations(self.stream, key, wrote, self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Learn nothing."""
        del event, context
        return self


def group(number: int) -> tuple[str, ...]:
    """Return the keys of a group."""
    return tuple(f"k{GROUP * number + one}" for one in range(GROUP))


def load(setting: Setting) -> Generator:
    """Return the writes and the reads."""
    return LongForkOperations(Stream(setting.seed, "long-fork"))


def final(setting: Setting) -> Generator:
    """Read every group through every node."""
    return scan_everywhere(setting, lambda one: Look("txn", reads_of(group(one))), saw_something)


WORKLOAD = Workload(
    name="long-fork",
    summary="single keys are written once each, and read in groups",
    data="transactions",
    functions=("txn",),
    load=load,
    final=final,
    checks=(Finds("long-fork", long_fork),),
    probe=Probe(f="txn", value=reads_of(["probe"])),
    change=Probe(f="txn", value=[["w", "probe", 1]]),
)
