"""Compiles the walks, once: see `checker.warm`.

Rules of this file:
- Uses each walk on a few integers of the types that checks use, which is what makes numba compile it.
"""

from __future__ import annotations

import numpy as np

from checker.transactions.cycles import automaton


def compile_walks() -> None:
    """Run every walk once."""
    from checker.kernels import walks

    longs, ints = np.zeros(2, dtype=np.int64), np.zeros(1, dtype=np.int32)
    flags = np.zeros(1, dtype=np.bool_)
    offsets, _ = walks.adjacency(longs[:1], 1)
    walks.components(offsets, ints)
    walks.differing(longs, longs[:1], longs[:1], longs[:1])
    walks.inside(longs - 1, flags, flags, longs, longs, longs, longs, longs[:1])
    table, accepts = automaton("G0", "")
    room = np.full(3, -1, dtype=np.int64)
    walks.shortest_walk(
        offsets, ints, ints, longs[:1], ints, longs, longs, longs, longs, ints, table, accepts,
        0, 3, 10, room, room.copy(), room.copy(),
    )  # fmt: skip
