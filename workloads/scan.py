"""What clients do at the end where keys were taken up one after the other: look at all of them.

Rules of this file:
- Who looks is not told how many keys there are: it goes on until several looks in a row found
  nothing, or were not answered. So it also ends where nobody answers.
- Through every node, each at its own pace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from checker.history import Event, EventType
from workloads.generator import (
    PENDING,
    Context,
    Generator,
    Invocation,
    Step,
    each_thread,
    on_threads,
)
from workloads.workload import Setting

_EMPTY_MAX: Final = 5
# A system that answers something whatever it is asked must not be asked for ever.
_LOOKS_MAX: Final = 5_000


class Look(NamedTuple):
    """One operation that looks at a few keys."""

    f: str
    value: Any = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """The looks ``look(0)``, ``look(1)``, ... on one thread, until there is no more to see.

    `found` tells whether an answer shows anything at all.
    """

    look: Callable[[int], Look]
    found: Callable[[Any], bool]
    number: int = 0
    empty: int = 0

    def next(self, context: Context) -> Step:
        """Return the next look, `None` when enough of them have found nothing."""
        if not context.free:
            return PENDING
        if self.empty == _EMPTY_MAX or self.number == _LOOKS_MAX:
            return None
        look = self.look(self.number)
        invocation = Invocation(
            f=look.f,
            value=look.value,
            key=look.key,
            thread=context.free[0],
            at_ns=context.time_ns,
        )
        return invocation, replace(self, number=self.number + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Note whether a look has found something."""
        del context
        if event.type is EventType.INVOKE:
            return self
        found = event.type is EventType.OK and self.found(event.value)
        return replace(self, empty=0 if found else self.empty + 1)


def scan_everywhere(
    setting: Setting, look: Callable[[int], Look], found: Callable[[Any], bool]
) -> Generator:
    """Return a scan through every node: by the first thread of each."""
    first = range(setting.nodes)
    return on_threads(lambda thread: thread in first, each_thread(Scan(look, found)))
