"""How a search's steps become an order of all calls: absorbed writes put back, logs played again.

Rules of this file:
- An order as searches keep it has calls, ``~k`` for the next call of optional class k, and n + c
  for a write c that was absorbed by the last write before it (n is the number of calls).
- Linear time. What comes out is replayed through the plain model by others.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from checker.kernels.layout import (
    END,
    GIVES,
    INFINITE,
    KIND,
    NEEDS,
    OPT_GIVES,
    OPT_KIND,
    OPT_NEEDS,
    PURE,
    REQUIRED,
    SLOT,
    WRITE,
    drop,
    has,
    put,
    step,
)

# Columns of `log`.
LOG_PARENT, LOG_CALL, LOG_EVENT = 0, 1, 2
LOG_COLUMNS = 3


@njit(cache=True)
def unfolded(order, calls, optional, result):
    """Put absorbed writes where they took effect: before the last write that came before them."""
    total = calls.shape[0]
    waiting = np.empty(order.shape[0], np.int32)
    waits = 0
    place = order.shape[0]
    for at in range(order.shape[0] - 1, -1, -1):
        c = order[at]
        if c >= total:
            waiting[waits] = c - total
            waits += 1
            continue
        place -= 1
        result[place] = c
        kind = optional[~c, OPT_KIND] if c < 0 else calls[c, KIND]
        if kind == WRITE:
            while waits > 0:
                waits -= 1
                place -= 1
                result[place] = waiting[waits]
    return place


@njit(cache=True)
def retold(calls, events, optional, keys, values, classes, initial, log, chain, order, slot_call):
    """Play a chain of logged steps (places in `log`, first to last); fill `order` as `depth_first`.

    Return how many entries it has, or -1 if the chain does not fit.
    """
    total = calls.shape[0]
    slots = slot_call.shape[0]
    words = np.zeros((slots + 63) // 64 + 1, np.uint64)
    slot_call[:] = -1
    state = initial
    ordered = 0
    at = 0
    for e in range(events.shape[0]):
        c = events[e]
        if c >= 0:
            if calls[c, END] == INFINITE:
                continue
            s = calls[c, SLOT]
            slot_call[s] = c
            if calls[c, PURE] and step(calls[c, KIND], calls[c, NEEDS], calls[c, GIVES], state,
                                       keys, values, classes) >= 0:  # fmt: skip
                put(words, s)
                order[ordered] = c
                ordered += 1
            continue
        while at < chain.shape[0] and log[chain[at], LOG_EVENT] == e:
            c = log[chain[at], LOG_CALL]
            if c < 0:
                state = step(optional[~c, OPT_KIND], optional[~c, OPT_NEEDS],
                             optional[~c, OPT_GIVES], state, keys, values, classes)  # fmt: skip
            else:
                state = step(calls[c, KIND], calls[c, NEEDS], calls[c, GIVES], state,
                             keys, values, classes)  # fmt: skip
                put(words, calls[c, SLOT])
            if state < 0:
                return -1
            order[ordered] = c
            ordered += 1
            at += 1
            for s in range(slots):
                c = slot_call[s]
                if c < 0 or not calls[c, PURE] or has(words, s):
                    continue
                if step(calls[c, KIND], calls[c, NEEDS], calls[c, GIVES], state,
                        keys, values, classes) >= 0:  # fmt: skip
                    put(words, s)
                    order[ordered] = c
                    ordered += 1
        c = ~events[e]
        s = calls[c, SLOT]
        if not has(words, s) and calls[c, REQUIRED]:
            if calls[c, KIND] != WRITE:
                return -1
            order[ordered] = c + total
            ordered += 1
        drop(words, s)
        slot_call[s] = -1
    return ordered
