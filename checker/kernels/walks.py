"""The walks over graphs of transactions, compiled. See `checker.transactions.walks` for what they do.

Rules of this file:
- Nothing is defined here: the functions are compiled as they stand over there.
"""

from __future__ import annotations

from numba import njit

from checker.transactions import walks

adjacency = njit(cache=True)(walks.adjacency)
components = njit(cache=True)(walks.components)
differing = njit(cache=True)(walks.differing)
inside = njit(cache=True)(walks.inside)
shortest_walk = njit(cache=True)(walks.shortest_walk)
