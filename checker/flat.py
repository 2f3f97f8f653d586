"""The calls of all objects of a history as flat arrays: what the first look looks at.

Rules of this file:
- An object's calls lie together and in order of invocation; objects are those of the columns'
  `keys`, in that order.
- Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from checker.columns import Ints, Longs


def _no_edges() -> Ints:
    return np.zeros((0, 3), np.int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatCalls:
    """What calls do (`checker.kernels.layout`), when, and which rows of the columns they are.

    ``stops[k]`` is where the calls of key k end. `needs` and `gives` are values below `values`, -1
    for none; `initial` has a value a key; `end` is negative where a call may never have happened.
    `edges` are transitions (from, class, to) of table calls, up to ``edge_stops[k]`` for key k.
    """

    kind: Ints
    needs: Ints
    gives: Ints
    start: Longs
    end: Longs
    row: Longs
    stops: Longs
    initial: Longs
    values: int
    edge_stops: Longs
    edges: Ints = field(default_factory=_no_edges)
    classes: int = 1
