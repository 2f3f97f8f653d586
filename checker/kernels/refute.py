"""Contradictions that need no search: found in linear time, each with the calls that make it.

Rules of this file:
- Necessary conditions only: what is found is certain, and if nothing is found nothing is said.
- The zones of Gibbons & Korach, "Testing shared memories", SIAM J. Comput. 26(4) (1997), section 3.2,
  for states that one call alone gives, with compare-and-sets tying clusters to chains
  (`checker.kernels.chains`): chain A must come before F, its earliest return, and stay until S,
  its latest invocation. A before B is forced if F(A) < S(B), so two chains contradict each other
  if F(A) < S(B) and F(B) < S(A). (A longer cycle of forced orders has such a pair: along a
  shortest one F would fall for ever.)
- For states given by several calls: a call that needs v is stale if every call that gives v
  returned before some change to another state was invoked that itself returned before the call
  was invoked, or was invoked after the call returned.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from checker.kernels.layout import (
    CAS,
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

NOTHING, NEVER_GIVEN, STALE, TWO_CAS, CHAIN_ORDER, CHAINS_CROSS = range(6)


@njit(cache=True, nogil=True)
def refute(calls, events, states, initial, sole, first_end, last_start, following):
    """Return (what was found, x, y): calls, or for the last two the heads of chains."""
    found, x, y = _stale(calls, events, states, initial)
    if found != NOTHING:
        return found, x, y
    found, x, y = _two_cas(calls, states, initial, sole)
    if found != NOTHING:
        return found, x, y
    found, x, y = _chain_order(calls, states, initial, sole, following)
    if found != NOTHING:
        return found, x, y
    return _crossing(events, states, initial, sole, first_end, last_start, following)


@njit(cache=True)
def _stale(calls, events, states, initial):
    # Per state: the latest return of a call that gives it, of those invoked so far.
    latest_return = np.full(states, -2, np.int64)
    latest_return[initial] = -1
    given_at_all = np.zeros(states, np.uint8)
    given_at_all[initial] = 1
    for c in range(calls.shape[0]):
        if calls[c, KIND] == WRITE or calls[c, KIND] == CAS:
            given_at_all[calls[c, GIVES]] = 1
    # Of the changes that returned: the latest invocation, and that of one giving another state.
    best, best_call, second, second_call = -1, -1, -1, -1
    limit = np.full(calls.shape[0], -1, np.int64)
    limit_call = np.full(calls.shape[0], -1, np.int32)
    for e in range(events.shape[0]):
        c = events[e]
        if c >= 0:
            kind = calls[c, KIND]
            if (kind == READ or kind == CAS) and calls[c, REQUIRED]:
                needed = calls[c, NEEDS]
                if best_call >= 0 and calls[best_call, GIVES] != needed:
                    limit[c], limit_call[c] = best, best_call
                else:
                    limit[c], limit_call[c] = second, second_call
            if kind == WRITE or kind == CAS:
                given = calls[c, GIVES]
                latest_return[given] = max(latest_return[given], np.int64(calls[c, END]))
            continue
        c = ~c
        kind = calls[c, KIND]
        if not calls[c, REQUIRED]:
            continue
        if kind == READ or kind == CAS:
            needed = calls[c, NEEDS]
            if given_at_all[needed] == 0:
                return NEVER_GIVEN, c, -1
            # A call that itself gives what it needs is a READ, so it is not its own giver.
            if latest_return[needed] < limit[c] or latest_return[needed] == -2:
                return STALE, c, limit_call[c]
        if kind == WRITE or kind == CAS:
            start = np.int64(calls[c, START])
            if best_call >= 0 and calls[best_call, GIVES] == calls[c, GIVES]:
                if start > best:
                    best, best_call = start, c
            elif start > best:
                second, second_call = best, best_call
                best, best_call = start, c
            elif start > second:
                second, second_call = start, c
    return NOTHING, -1, -1


@njit(cache=True)
def _two_cas(calls, states, initial, sole):
    taken = np.full(states, -1, np.int32)
    for c in range(calls.shape[0]):
        if calls[c, KIND] == CAS and calls[c, REQUIRED]:
            needed = calls[c, NEEDS]
            if sole[needed] >= 0 or (needed == initial and sole[needed] == -1):
                if taken[needed] >= 0:
                    return TWO_CAS, taken[needed], c
                taken[needed] = c
    return NOTHING, -1, -1


@njit(cache=True)
def _chain_order(calls, states, initial, sole, following):
    """Along a chain no later cluster may have to come before an earlier one is over."""
    first = np.full(states, INFINITE, np.int32)
    last = np.full(states, -1, np.int32)
    for c in range(calls.shape[0]):
        kind = calls[c, KIND]
        if (kind == READ or kind == CAS) and calls[c, REQUIRED]:
            v = calls[c, NEEDS]
            first[v] = min(first[v], calls[c, END])
            last[v] = max(last[v], calls[c, START])
        if (kind == WRITE or kind == CAS) and sole[calls[c, GIVES]] == c:
            v = calls[c, GIVES]
            last[v] = max(last[v], calls[c, START])
            if calls[c, REQUIRED]:
                first[v] = min(first[v], calls[c, END])
    follows = np.zeros(states, np.uint8)
    for v in range(states):
        if following[v] != -1:
            follows[following[v]] = 1
    for head in range(states):
        if follows[head] or (sole[head] < 0 and head != initial) or sole[head] == -2:
            continue
        latest = -1
        v = head
        while v != -1:
            if first[v] < latest:
                return CHAIN_ORDER, head, v
            latest = max(latest, last[v])
            v = following[v]
    return NOTHING, -1, -1


@njit(cache=True)
def _crossing(events, states, initial, sole, first_end, last_start, following):
    follows = np.zeros(states, np.uint8)
    for v in range(states):
        if following[v] != -1:
            follows[following[v]] = 1
    ends = events.shape[0]
    # Forward zones (F < S) by where they begin; -1 is before all events.
    begins = np.full(ends + 1, -1, np.int32)
    for head in range(states):
        if follows[head]:
            continue
        if head == initial and sole[head] == -1:
            if last_start[head] >= 0:
                begins[0] = head
        elif sole[head] >= 0 and first_end[head] < last_start[head]:
            begins[first_end[head] + 1] = head
    zone = np.full(ends + 1, -1, np.int32)  # the latest forward zone that began up to there
    current = -1
    for place in range(ends + 1):
        head = begins[place]
        if head != -1:
            if current != -1 and last_start[current] > place - 1:
                return CHAINS_CROSS, current, head
            current = head
        zone[place] = current
    for head in range(states):
        if follows[head] or sole[head] < 0 or first_end[head] == INFINITE:
            continue
        if first_end[head] < last_start[head] or last_start[head] < 0:
            continue
        around = zone[last_start[head]]  # began before this one's S
        if around != -1 and around != head and last_start[around] > first_end[head]:
            return CHAINS_CROSS, around, head
    return NOTHING, -1, -1
