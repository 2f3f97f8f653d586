"""When a state must come and how long it must stay: what follows from values given only once.

Rules of this file:
- A state that one call alone gives (*sole*) reigns once. Its *cluster* is that call and those that
  need the state (Gibbons & Korach, SIAM J. Comput. 26(4) (1997), section 3.2): the state must come
  before the first of them returns, and stay until the last of them is invoked.
- A compare-and-set from a sole state to a sole state that must come ties the two: the second
  follows the first at once, for whatever came between would end the first one's only reign. Tied
  clusters are a *chain*; it must come before the earliest of its ends and stay until the latest of
  its starts, and nothing but its own calls changes the state meanwhile.
- Linear time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from checker.kernels.layout import (
    CAS,
    CHAIN,
    DEADLINE,
    END,
    GIVES,
    INFINITE,
    KIND,
    NEEDS,
    READ,
    REQUIRED,
    START,
    WRITE,
)

NOBODY, SEVERAL = -1, -2


@njit(cache=True)
def chains(calls, states, initial):
    """Fill in `DEADLINE` and `CHAIN` of all calls; return (sole, first_end, last_start, next).

    `sole[v]` is the call that alone gives v, `NOBODY` or `SEVERAL`; `first_end[v]` the event before
    which v must come, and `last_start[v]` the event until which it must stay from then on, both
    with the rest of its chain; `next[v]` the state that follows v in its chain, or -1.
    """
    sole = np.full(states, NOBODY, np.int32)
    first_end = np.full(states, INFINITE, np.int32)
    last_start = np.full(states, -1, np.int32)
    following = np.full(states, -1, np.int32)
    for c in range(calls.shape[0]):
        kind = calls[c, KIND]
        calls[c, DEADLINE] = calls[c, END] if calls[c, REQUIRED] else INFINITE
        calls[c, CHAIN] = -1
        if kind == WRITE or kind == CAS:
            v = calls[c, GIVES]
            sole[v] = c if sole[v] == NOBODY and v != initial else SEVERAL
        if (kind == READ or kind == CAS) and calls[c, REQUIRED]:
            v = calls[c, NEEDS]
            first_end[v] = min(first_end[v], calls[c, END])
            last_start[v] = max(last_start[v], calls[c, START])
    for v in range(states):
        c = sole[v]
        if c < 0:
            continue
        if calls[c, REQUIRED] or first_end[v] < INFINITE:
            first_end[v] = min(first_end[v], calls[c, END])
        if calls[c, KIND] == CAS:
            before = calls[c, NEEDS]
            # The initial state reigns once if nobody gives it.
            once = sole[before] >= 0 or (before == initial and sole[before] == NOBODY)
            if once and following[before] == -1:
                following[before] = v
    # From the tail of each chain to its head.
    seen = np.zeros(states, np.uint8)
    path = np.empty(states, np.int32)
    for start in range(states):
        length = 0
        v = start
        while v != -1 and seen[v] == 0:
            seen[v] = 1
            path[length] = v
            length += 1
            v = following[v]
        for at in range(length - 1, -1, -1):
            v = path[at]
            after = following[v]
            if after == -1:
                continue
            if first_end[after] == INFINITE:  # nobody saw it: it need not come
                following[v] = -1
                continue
            first_end[v] = min(first_end[v], first_end[after])
            tie = calls[sole[after], START]
            last_start[v] = max(last_start[v], max(tie, last_start[after]))
    _name_chains(calls, sole, following, first_end)
    return sole, first_end, last_start, following


@njit(cache=True)
def _name_chains(calls, sole, following, first_end):
    """Call each chain by its head, and give its calls the chain's deadline."""
    states = sole.shape[0]
    follows = np.zeros(states, np.uint8)
    for v in range(states):
        if following[v] != -1:
            follows[following[v]] = 1
    for head in range(states):
        if follows[head]:
            continue
        v = head
        while v != -1:
            c = sole[v]
            if c >= 0:
                calls[c, CHAIN] = head
                calls[c, DEADLINE] = min(calls[c, DEADLINE], first_end[v])
            v = following[v]


@njit(cache=True)
def soon_of(calls, events):
    """For each event: the earliest deadline of a change invoked there or later, its chain, and the
    earliest of those of another chain (`INFINITE` where there is none)."""
    soon = np.empty((events + 1, 3), np.int32)
    soon[:, 0] = INFINITE
    soon[:, 1] = -1
    soon[:, 2] = INFINITE
    at = np.full(events + 1, -1, np.int32)
    for c in range(calls.shape[0] if events > 0 else 0):
        kind = calls[c, KIND]
        if (kind == WRITE or kind == CAS) and calls[c, DEADLINE] != INFINITE:
            at[calls[c, START]] = c
    for e in range(events - 1, -1, -1):
        for column in range(3):
            soon[e, column] = soon[e + 1, column]
        c = at[e]
        if c < 0:
            continue
        deadline, chain = calls[c, DEADLINE], calls[c, CHAIN]
        if deadline < soon[e, 0]:
            if chain < 0 or chain != soon[e, 1]:
                soon[e, 2] = soon[e, 0]
            soon[e, 0] = deadline
            soon[e, 1] = chain
        elif (chain < 0 or chain != soon[e, 1]) and deadline < soon[e, 2]:
            soon[e, 2] = deadline
    return soon
