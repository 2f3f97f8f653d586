"""From the columns of a history of registers to flat calls, in one pass.

Rules of this file:
- What a (function, type) does is looked up in `does`; the meaning of outcomes is in there already.
- A key's calls come together and in order of invocation: counted first, then put in place.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from checker.kernels.layout import CAS, READ, REFUSED, WRITE

# A failed cas that says nothing still has to be a pair.
SILENT, ODD, SILENT_CAS = -1, -2, -3
INFO_TYPE = 2
NEVER = -1


@njit(cache=True, nogil=True)
def flatten(
    does, function, kind_of_end, key, asked, answered, start, end, firsts, seconds, keys,
    nil_says_nothing,
):  # fmt: skip
    """Return (kind, needs, gives, start, end, row, stops, whether something was odd).

    `does` has what a function does at ``function * 3 + type``, `firsts` and `seconds` the parts of
    values that are pairs (-1 if they are none).
    """
    total = function.shape[0]
    what = np.empty(total, np.int32)
    stops = np.zeros(keys, np.int64)
    odd = False
    for row in range(total):
        kind = does[function[row] * 3 + kind_of_end[row]]
        if kind == READ and nil_says_nothing and answered[row] == 0:
            kind = SILENT
        if kind == CAS or kind == REFUSED or kind == SILENT_CAS:
            odd |= firsts[asked[row]] < 0
        if kind == SILENT_CAS:
            kind = SILENT
        odd |= kind == ODD
        if kind == CAS and firsts[asked[row]] == seconds[asked[row]]:
            # A cas from a value to itself is a read of it; one that crashed says nothing.
            kind = READ if kind_of_end[row] != INFO_TYPE else SILENT
        what[row] = kind
        if kind != SILENT:
            stops[key[row]] += 1
    kept = 0
    place = np.empty(keys, np.int64)
    for k in range(keys):
        place[k] = kept
        kept += stops[k]
        stops[k] = kept
    kinds = np.empty(kept, np.int32)
    needs = np.empty(kept, np.int32)
    gives = np.empty(kept, np.int32)
    starts = np.empty(kept, np.int64)
    ends = np.empty(kept, np.int64)
    rows = np.empty(kept, np.int64)
    if odd:
        return kinds, needs, gives, starts, ends, rows, stops, odd
    for row in range(total):
        kind = what[row]
        if kind == SILENT:
            continue
        at = place[key[row]]
        place[key[row]] = at + 1
        kinds[at] = kind
        if kind == WRITE:
            needs[at], gives[at] = -1, asked[row]
        elif kind == CAS:
            needs[at], gives[at] = firsts[asked[row]], seconds[asked[row]]
        elif kind == REFUSED:
            needs[at], gives[at] = firsts[asked[row]], -1
        else:
            value = answered[row]
            if does[function[row] * 3 + kind_of_end[row]] == CAS:
                value = firsts[asked[row]]
            needs[at], gives[at] = value, value
        starts[at] = start[row]
        ends[at] = NEVER if kind_of_end[row] == INFO_TYPE else end[row]
        rows[at] = row
    return kinds, needs, gives, starts, ends, rows, stops, odd


@njit(cache=True, nogil=True)
def group(rows, what, value, key, kind_of_end, start, end, keys):
    """Put calls that are numbered already together by key, in their order.

    `value` is the state that a READ needs or a WRITE gives, or the class of a TABLE call. Return
    (kind, needs, gives, start, end, row, stops).
    """
    stops = np.zeros(keys, np.int64)
    for at in range(rows.shape[0]):
        stops[key[rows[at]]] += 1
    place = np.empty(keys, np.int64)
    kept = 0
    for k in range(keys):
        place[k] = kept
        kept += stops[k]
        stops[k] = kept
    kinds = np.empty(kept, np.int32)
    needs = np.full(kept, -1, np.int32)
    gives = np.full(kept, -1, np.int32)
    starts = np.empty(kept, np.int64)
    ends = np.empty(kept, np.int64)
    grouped = np.empty(kept, np.int64)
    for from_ in range(rows.shape[0]):
        row = rows[from_]
        at = place[key[row]]
        place[key[row]] = at + 1
        kinds[at] = what[from_]
        if what[from_] != WRITE:
            needs[at] = value[from_]
        if what[from_] == WRITE or what[from_] == READ:
            gives[at] = value[from_]
        starts[at] = start[row]
        ends[at] = NEVER if kind_of_end[row] == INFO_TYPE else end[row]
        grouped[at] = row
    return kinds, needs, gives, starts, ends, grouped, stops
