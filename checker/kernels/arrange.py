"""From calls with positions to the arrays of a problem: events, slots, classes of optional calls.

Rules of this file:
- Positions are any distinct numbers; events are the same order without gaps.
- `START` and `END` of the calls are filled in here, as are `SLOT` and `REQUIRED`.
- Linear where positions are dense, else as fast as sorting.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from checker.kernels.layout import END, GIVES, INFINITE, KIND, NEEDS, SLOT, START

_DENSE = 8  # so many positions for each one used are still worth an array


@njit(cache=True)
def arrange(calls, start, end):
    """Number the events of calls in order of `start`; a negative `end` is none. Return `events`."""
    count = calls.shape[0]
    returns = 0
    low, high = np.int64(0), np.int64(-1)
    for c in range(count):
        if c == 0:
            low, high = start[c], start[c]
        low, high = min(low, start[c]), max(high, start[c])
        if end[c] >= 0:
            returns += 1
            low, high = min(low, end[c]), max(high, end[c])
    total = count + returns
    events = np.empty(total, np.int32)
    span = high - low + 1
    if span <= _DENSE * total + 64:
        at = np.full(span, np.int32(2**31 - 1), np.int32)
        for c in range(count):
            at[start[c] - low] = c
            if end[c] >= 0:
                at[end[c] - low] = ~c
        e = 0
        for place in range(span):
            if at[place] != 2**31 - 1:
                events[e] = at[place]
                e += 1
    else:
        positions = np.empty(total, np.int64)
        who = np.empty(total, np.int32)
        e = 0
        for c in range(count):
            positions[e] = start[c]
            who[e] = c
            e += 1
            if end[c] >= 0:
                positions[e] = end[c]
                who[e] = ~c
                e += 1
        order = np.argsort(positions)
        for e in range(total):
            events[e] = who[order[e]]
    for c in range(count):
        calls[c, END] = INFINITE
    for e in range(total):
        c = events[e]
        if c >= 0:
            calls[c, START] = e
        else:
            calls[~c, END] = e
    return events


@njit(cache=True)
def assign_slots(calls, events):
    """Give every call that returns a slot, one that is free; return how many were needed."""
    free = np.empty(calls.shape[0] + 1, np.int32)
    free_count = 0
    used = 0
    for e in range(events.shape[0]):
        c = events[e]
        if c >= 0:
            if calls[c, END] == INFINITE:
                continue
            if free_count > 0:
                free_count -= 1
                calls[c, SLOT] = free[free_count]
            else:
                calls[c, SLOT] = used
                used += 1
        else:
            free[free_count] = calls[~c, SLOT]
            free_count += 1
    return used


@njit(cache=True)
def group_optional(calls):
    """Group the calls that never return by what they do, and number the groups in `SLOT`.

    Return (kind, needs and gives of each group; its calls in order of invocation, one group after
    the other; where each group ends in that).
    """
    count = 0
    for c in range(calls.shape[0]):
        if calls[c, END] == INFINITE:
            count += 1
    places = np.empty(count, np.int32)
    keys = np.empty(count, np.int64)
    at = 0
    for c in range(calls.shape[0]):
        if calls[c, END] == INFINITE:
            places[at] = c
            kind, needs, gives = np.int64(calls[c, KIND]), calls[c, NEEDS] + 1, calls[c, GIVES] + 1
            keys[at] = (kind << 60) | (np.int64(needs) << 30) | np.int64(gives)
            at += 1
    order = np.argsort(keys, kind="mergesort")
    members = places[order]
    groups = 0
    for at in range(count):
        if at == 0 or keys[order[at]] != keys[order[at - 1]]:
            groups += 1
    effects = np.empty((groups, 3), np.int32)
    stops = np.empty(groups, np.int32)
    k = -1
    for at in range(count):
        c = members[at]
        if at == 0 or keys[order[at]] != keys[order[at - 1]]:
            k += 1
            effects[k, 0], effects[k, 1] = calls[c, KIND], calls[c, NEEDS]
            effects[k, 2] = calls[c, GIVES]
        stops[k] = at + 1
        calls[c, SLOT] = k
    return effects, members, stops
