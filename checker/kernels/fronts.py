"""Sets of configurations for the just-in-time search: found, merged, thinned, narrowed.

Rules of this file:
- A configuration is a row of words: bits of slots and counts of optional calls, then its state, its
  last write, and its place in the log; on a stack also whether it is as it was before the return
  that is being looked at (a root).
- Tables of places are marked with an epoch, so that they need not be cleared.
- The argument for `dominates` is (g) in `checker.kernels.breadth_first`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from checker.kernels.layout import OPT_TRACKED, mix, used_of

AT_STATE, AT_LAST_WRITE, AT_LOG, AT_ROOT = 0, 1, 2, 3
EXTRA_WORDS = 4

# The place in `control` of how many rows the next front has.
NEXT_FRONT = 0

_CHAIN_LOOKS_MAX = 48  # how many of a bucket are compared for (g)


@njit(cache=True, inline="always")
def _popcount(x):
    x = x - ((x >> uint64(1)) & uint64(0x5555555555555555))
    x = (x & uint64(0x3333333333333333)) + ((x >> uint64(2)) & uint64(0x3333333333333333))
    x = (x + (x >> uint64(4))) & uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * uint64(0x0101010101010101)) >> uint64(56))


@njit(cache=True, inline="always")
def _hash(row, width):
    h = mix(row[width + AT_STATE], uint64(width))
    for w in range(width):
        h = mix(row[w], h)
    return h


@njit(cache=True)
def find(table, rows, row, width, epoch):
    """Return the place in `table` of a row alike in bits, counts and state, or of a free one."""
    mask = table.shape[0] - 1
    place = np.int64(_hash(row, width) & uint64(mask))
    while table[place, 0] == epoch:
        other = rows[table[place, 1]]
        same = other[width + AT_STATE] == row[width + AT_STATE]
        if same:
            for w in range(width):
                if other[w] != row[w]:
                    same = False
                    break
        if same:
            return place
        place = (place + 1) & mask
    return place


@njit(cache=True)
def rebuild(table, rows, count, width, epoch):
    """Put `count` rows into an empty table."""
    for at in range(count):
        place = find(table, rows, rows[at], width, epoch)
        table[place, 0] = epoch
        table[place, 1] = at


@njit(cache=True)
def emit(table, rows, control, row, width, epoch):
    """Put a row into the next front, or its last write if that is later than what is there."""
    place = find(table, rows, row, width, epoch)
    if table[place, 0] == epoch:
        there = rows[table[place, 1]]
        if row[width + AT_LAST_WRITE] > there[width + AT_LAST_WRITE]:
            there[width + AT_LAST_WRITE] = row[width + AT_LAST_WRITE]
            there[width + AT_LOG] = row[width + AT_LOG]
        return
    at = control[NEXT_FRONT]
    table[place, 0] = epoch
    table[place, 1] = at
    for w in range(width + 3):
        rows[at, w] = row[w]
    control[NEXT_FRONT] = at + 1


@njit(cache=True)
def _dominates(better, worse, equal, more, less, optional, slot_words, width):
    """(g) for two rows of the same state."""
    if better[width + AT_LAST_WRITE] < worse[width + AT_LAST_WRITE]:
        return False
    for w in range(slot_words):
        if (better[w] ^ worse[w]) & equal[w]:
            return False
        if worse[w] & more[w] & ~better[w]:
            return False
        if better[w] & less[w] & ~worse[w]:
            return False
    for k in range(optional.shape[0]):
        if optional[k, OPT_TRACKED] and used_of(better, optional, k) > used_of(worse, optional, k):
            return False
    return True


@njit(cache=True)
def thin(rows, count, masks, heads, links, optional, slot_words, width):
    """Strike rows that others dominate (g); return how many are left, in their order."""
    equal, more, less = masks[0], masks[1], masks[2]
    size = 64
    while size < 2 * count:
        size *= 2
    heads[:size] = -1
    for at in range(count):
        h = mix(rows[at, width + AT_STATE], uint64(1))
        for w in range(slot_words):
            h = mix(rows[at, w] & equal[w], h)
        bucket = np.int64(h & uint64(size - 1))
        other = heads[bucket]
        previous = -1
        looks = 0
        struck = False
        while other >= 0 and looks < _CHAIN_LOOKS_MAX:
            looks += 1
            following = links[other]
            if rows[other, width + AT_STATE] == rows[at, width + AT_STATE]:
                if _dominates(
                    rows[other], rows[at], equal, more, less, optional, slot_words, width
                ):
                    struck = True
                    break
                if _dominates(
                    rows[at], rows[other], equal, more, less, optional, slot_words, width
                ):
                    links[other] = -2  # struck
                    if previous < 0:
                        heads[bucket] = following
                    else:
                        links[previous] = following
                    other = following
                    continue
            previous = other
            other = following
        if struck:
            links[at] = -2
        else:
            links[at] = heads[bucket]
            heads[bucket] = at
    left = 0
    for at in range(count):
        if links[at] != -2:
            if left != at:
                for w in range(width + 3):
                    rows[left, w] = rows[at, w]
            left += 1
    return left


@njit(cache=True)
def narrow(rows, count, beam, masks, optional, slot_words, width):
    """Keep the `beam` most promising rows: duties done, writes in hand, little optional used."""
    duties, less = masks[0] | masks[1], masks[2]
    score = np.empty(count, np.int64)
    histogram = np.zeros(1024, np.int64)
    for at in range(count):
        z = 512
        for w in range(slot_words):
            z += _popcount(rows[at, w] & duties[w]) - _popcount(rows[at, w] & less[w])
        for k in range(optional.shape[0]):
            if optional[k, OPT_TRACKED]:
                z -= 3 * used_of(rows[at], optional, k)
        z = min(max(z, 0), 1023)
        score[at] = z
        histogram[z] += 1
    left = beam
    cut = 1023
    while cut > 0 and left - histogram[cut] >= 0:
        left -= histogram[cut]
        cut -= 1
    kept = 0
    for at in range(count):
        if score[at] < cut or (score[at] == cut and left <= 0):
            continue
        if score[at] == cut:
            left -= 1
        for w in range(width + 3):
            rows[kept, w] = rows[at, w]
        kept += 1
    return kept
