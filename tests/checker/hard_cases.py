"""Histories that take a while, and clocks that move when they are looked at.

Rules of this file:
- Everything comes from a seed. Nothing here looks at a real clock.
- `few_values` is what the first look leaves undecided: one key of it, the other is easy.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

from random_calls import placed
from register_simulation import Shape, simulate

from checker.calls import Calls
from checker.history import History

FEW_VALUES = Shape(operations=3000, keys=2, clients=10, crashes=60, values=5)
_VERBS = {"stack": ("push", "pop"), "fifo-queue": ("enqueue", "dequeue")}


class Ticking:
    """A clock that advances by a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@lru_cache(maxsize=1)
def few_values() -> History:
    """Return 3000 operations of two keys and five values; k1 takes a million steps."""
    return simulate(2, FEW_VALUES)


def hard_calls(name: str, *, seed: int, count: int, width: float, broken: bool = False) -> Calls:
    """Return calls that put in and take out two values, each open for some `width` others.

    If `broken` the last takes out what nobody put in: all orders have to be tried in vain.
    """
    put, take = _VERBS[name]
    stream = Random(seed)
    held: list[str] = []
    plans: list[tuple[tuple[Any, ...], float, float | None]] = []
    for n in range(count):
        begin, end = n - stream.random() * width, n + stream.random() * width
        if held and stream.random() < 0.5:
            action = (take, held.pop() if name == "stack" else held.pop(0))
        else:
            held.append(str(stream.randrange(2)))
            action = (put, held[-1])
        plans.append((action, begin, end))
    calls = placed(plans, stream)
    return (*calls[:-1], replace(calls[-1], action=(take, "9"))) if broken else calls
