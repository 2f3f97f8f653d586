"""Many small problems in one call: the first, short look at every object of a history.

Rules of this file:
- What a problem is made of and how it is searched is the same as everywhere (`arrange`, `chains`,
  `refute`, `depth_first`); only the owner is compiled too, because for eighty operations an
  owner in Python takes longer than the search.
- States are values: numbers that are renumbered for each object. All values that no call of the
  object looks at are one state, *other*, as in `Register.merged`.
- Transitions (of strings that are appended to) are given as edges between values that are looked
  at; where there is none, a table call leads to *other*.
- Optional calls that lead where nobody looks are left out, as in `checker.calls.without_idle`.
- Answers `LOOK` where the look was too short, and never guesses.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from checker.kernels import depth_first as dfs
from checker.kernels.arrange import arrange, assign_slots, group_optional
from checker.kernels.chains import chains, soon_of
from checker.kernels.layout import (
    CALL_COLUMNS,
    CAS,
    EMPTY,
    GIVES,
    INVALID,
    KIND,
    LOOK,
    NEEDS,
    OPTIONAL_COLUMNS,
    PURE,
    READ,
    REFUSED,
    REQUIRED,
    TABLE,
    VALID,
    WANTS_ROOM,
    WANTS_STEP,
    WRITE,
    enter,
    rehash,
)
from checker.kernels.refute import (
    CHAIN_ORDER,
    CHAINS_CROSS,
    NEVER_GIVEN,
    NOTHING,
    STALE,
    refute,
)
from checker.kernels.retell import unfolded
from checker.kernels.visited import rehash_visited

# Columns of `answers`, a row an object.
CODE, ORDERED, FURTHEST, STEPS, FOUND = range(5)
ANSWER_COLUMNS = 5

_ROOM = 64


@njit(cache=True, nogil=True)
def look_at_all(
    kind, needs, gives, start, end, stops, initial, values, edges, edge_stops, classes,
    steps_each, bytes_max, order, marks, answers,
):  # fmt: skip
    """Look at each object: the rows up to each of `stops`, in order of `start`.

    `needs` and `gives` are values below `values` (-1: none); `end` is negative for optional calls.
    Object k begins as `initial[k]` and has the rows of `edges` (from, class, to) up to
    ``edge_stops[k]``. Each object is searched for `steps_each` steps a call (and some more). `order` has room for a
    row a call: from where an object's rows begin it gets their places in a linearization. `marks`
    are set where calls make a contradiction that was `FOUND` without a search.
    """
    number = np.zeros(values + 1, np.int32)
    stamp = np.full(values + 1, -1, np.int32)
    first, first_edge = 0, 0
    for at in range(stops.shape[0]):
        stop = stops[at]
        last_edge = edge_stops[at]
        _look_at(
            kind[first:stop], needs[first:stop], gives[first:stop], start[first:stop],
            end[first:stop], initial[at], edges[first_edge:last_edge], classes, number, stamp, at,
            steps_each, bytes_max, order[first:stop], marks[first:stop], answers[at],
        )  # fmt: skip
        first, first_edge = stop, last_edge


@njit(cache=True, inline="always")
def _number(value, number, stamp, mark, states):
    """Number a value of this object; return (its number, how many there are now)."""
    if stamp[value] != mark:
        stamp[value] = mark
        number[value] = states
        return states, states + 1
    return number[value], states


@njit(cache=True, nogil=True)
def _look_at(
    kind, needs, gives, start, end, initial, edges, classes, number, stamp, mark, steps_each,
    bytes_max, order, marks, answer,
):  # fmt: skip
    calls, row, states = _calls_of(kind, needs, gives, end, initial, edges, number, stamp, mark)
    has_table = edges.shape[0] > 0
    count = calls.shape[0]
    starts = np.empty(count, np.int64)
    ends = np.empty(count, np.int64)
    for c in range(count):
        starts[c] = start[row[c]]
        ends[c] = end[row[c]]
    events = arrange(calls, starts, ends)
    for c in range(count):
        has_table |= calls[c, KIND] == TABLE
    found, x, y = NOTHING, -1, -1
    # With transitions not all ways to a state are listed: nothing is known of reigns.
    sole = first_end = last_need = following = np.zeros(0, np.int32)
    if not has_table:
        sole, first_end, last_need, following = chains(calls, states, 0)
        found, x, y = refute(calls, events, states, 0, sole, first_end, last_need, following)
    answer[FOUND] = found
    if found != NOTHING:
        answer[CODE] = INVALID
        answer[FURTHEST] = row[x] if found == STALE or found == NEVER_GIVEN else -1
        answer[ORDERED] = row[y] if found == STALE and y >= 0 else -1  # what lies between
        _mark(calls, row, sole, following, found, x, y, marks)
        return
    slots = assign_slots(calls, events)
    effects, members, stops = group_optional(calls)
    optionals = effects.shape[0]
    optional = np.zeros((optionals, OPTIONAL_COLUMNS), np.int32)
    opt_calls = np.full(optionals, -1, np.int32)
    word, shift = max(1, (slots + 63) // 64), 0
    width = word
    before = 0
    for k in range(optionals):
        size = stops[k] - before
        bits = 0
        while (1 << bits) <= size:
            bits += 1
        if shift + bits > 64:
            word, shift = word + 1, 0
        optional[k, 0], optional[k, 1], optional[k, 2] = effects[k, 0], effects[k, 1], effects[k, 2]
        optional[k, 3], optional[k, 4], optional[k, 5] = word, shift, (1 << bits) - 1
        shift += bits
        if size == 1:
            opt_calls[k] = members[before]
        before = stops[k]
        width = word + 1
    producers = np.zeros(states, np.int32)
    needers = np.zeros(states, np.int32)
    for c in range(count):
        if calls[c, KIND] == WRITE or calls[c, KIND] == CAS:
            producers[calls[c, GIVES]] += 1
        if (calls[c, KIND] == READ or calls[c, KIND] == CAS) and calls[c, REQUIRED]:
            needers[calls[c, NEEDS]] += 1
    soon = soon_of(calls, 0 if has_table else events.shape[0])
    available = np.zeros(optionals, np.int32)
    size = 64 if has_table else 1
    while has_table and size < 4 * edges.shape[0]:
        size *= 2
    keys = np.full(size, EMPTY, np.int64)
    values = np.zeros(size, np.int32)
    known = 0
    for edge in range(edges.shape[0]):
        enter(keys, values, classes, number[edges[edge, 0]], edges[edge, 1], number[edges[edge, 2]])
        known += 1
    slot_call = np.full(slots, -1, np.int32)
    words = np.zeros(width, np.uint64)
    logged = np.zeros(count + 1, np.int32)
    want = np.zeros(states, np.int64)
    frames = np.zeros((_ROOM, dfs.FRAME_COLUMNS), np.int64)
    frame_words = np.zeros((_ROOM, width), np.uint64)
    visited = np.zeros((4 * _ROOM, width + 2), np.uint64)
    control = np.zeros(dfs.CONTROL_SIZE, np.int64)
    control[dfs.STEPS_MAX] = steps_each * count + 1000
    while True:
        code = dfs.run(
            calls, events, optional, available, keys, values, classes,
            producers, needers, last_need, soon, sole, opt_calls, not has_table,
            slot_call, words, logged, want, frames, frame_words, visited, control,
        )  # fmt: skip
        if code == WANTS_STEP:  # no edge: where nobody looks
            enter(keys, values, classes, control[dfs.WANTED_STATE], control[dfs.WANTED_CLASS],
                  states - 1)  # fmt: skip
            known += 1
            if 2 * (known + 1) > keys.shape[0]:
                more_keys = np.full(4 * keys.shape[0], EMPTY, np.int64)
                more_values = np.zeros(4 * keys.shape[0], np.int32)
                rehash(keys, values, more_keys, more_values)
                keys, values = more_keys, more_values
            continue
        if code != WANTS_ROOM:
            break
        if 4 * (frames.nbytes + frame_words.nbytes + visited.nbytes) > bytes_max:
            code = LOOK
            break
        if control[dfs.FRAMES] + 1 > frames.shape[0]:
            more = np.zeros((2 * frames.shape[0], frames.shape[1]), np.int64)
            more[: frames.shape[0]] = frames
            frames = more
            more_words = np.zeros((2 * frame_words.shape[0], width), np.uint64)
            more_words[: frame_words.shape[0]] = frame_words
            frame_words = more_words
        if 2 * (control[dfs.VISITED] + 1) > visited.shape[0]:
            larger = np.zeros((4 * visited.shape[0], visited.shape[1]), np.uint64)
            rehash_visited(visited, larger)
            visited = larger
    answer[CODE] = code
    answer[STEPS] = control[dfs.STEPS]
    furthest = control[dfs.FURTHEST]
    answer[FURTHEST] = -1  # a row: the call whose return no order came past
    if furthest < events.shape[0]:
        answer[FURTHEST] = row[~events[furthest]]
    if code != VALID:
        return
    ordered = control[dfs.ORDERED]
    plain = np.empty(ordered, np.int32)
    unfolded(logged[:ordered], calls, optional, plain)
    used = np.zeros(optionals, np.int32)
    for at in range(ordered):
        c = plain[at]
        if c < 0:
            k = ~c
            begin = 0 if k == 0 else stops[k - 1]
            c = members[begin + used[k]]
            used[k] += 1
        order[at] = row[c]
    answer[ORDERED] = ordered


@njit(cache=True, nogil=True)
def _calls_of(kind, needs, gives, end, initial, edges, number, stamp, mark):
    """Renumber the values, merge those nobody looks at, leave out idle optional calls."""
    total = kind.shape[0]
    keep = np.ones(total, np.uint8)
    anything = False  # a refusal looks at every state but one
    for c in range(total):
        if (kind[c] == REFUSED and end[c] >= 0) or kind[c] == TABLE:
            anything = True
        if end[c] < 0 and (kind[c] == READ or kind[c] == REFUSED):
            keep[c] = 0
    states = 0
    _, states = _number(initial, number, stamp, mark, states)
    for edge in range(edges.shape[0]):
        _, states = _number(edges[edge, 0], number, stamp, mark, states)
        _, states = _number(edges[edge, 2], number, stamp, mark, states)
    for c in range(total):
        if end[c] >= 0 and kind[c] != WRITE and kind[c] != TABLE:
            _, states = _number(needs[c], number, stamp, mark, states)
    # Optional calls are kept if somebody kept looks at what they give.
    waiting = 0
    for c in range(total):
        if end[c] < 0 and keep[c]:
            if anything:
                if kind[c] == CAS:
                    _, states = _number(needs[c], number, stamp, mark, states)
            else:
                keep[c] = 0
                waiting += 1
    changed = waiting > 0
    while changed:
        changed = False
        for c in range(total):
            if end[c] < 0 and keep[c] == 0 and kind[c] != READ and kind[c] != REFUSED:
                if stamp[gives[c]] != mark or (gives[c] == initial and not _is_needed(
                    kind, needs, end, keep, initial
                )):  # fmt: skip
                    continue
                keep[c] = 1
                changed = True
                if kind[c] == CAS:
                    _, states = _number(needs[c], number, stamp, mark, states)
    kept = 0
    for c in range(total):
        kept += keep[c]
    other = states  # every value that nobody looks at
    calls = np.zeros((kept, CALL_COLUMNS), np.int32)
    row = np.empty(kept, np.int32)
    at = 0
    for c in range(total):
        if not keep[c]:
            continue
        row[at] = c
        calls[at, KIND] = kind[c]
        calls[at, REQUIRED] = 1 if end[c] >= 0 else 0
        calls[at, NEEDS], calls[at, GIVES] = -1, -1
        if kind[c] == TABLE:
            calls[at, NEEDS] = needs[c]
        elif kind[c] != WRITE:
            calls[at, NEEDS] = number[needs[c]]
        if kind[c] == WRITE or kind[c] == CAS:
            calls[at, GIVES] = number[gives[c]] if stamp[gives[c]] == mark else other
        elif kind[c] == READ:
            calls[at, GIVES] = calls[at, NEEDS]
        calls[at, PURE] = 1 if kind[c] == READ or kind[c] == REFUSED else 0
        at += 1
    return calls, row, other + 1


@njit(cache=True, nogil=True)
def _is_needed(kind, needs, end, keep, value):
    for c in range(kind.shape[0]):
        if keep[c] and kind[c] != WRITE and needs[c] == value and (end[c] >= 0 or kind[c] == CAS):
            return True
    return False


@njit(cache=True, nogil=True)
def _mark(calls, row, sole, following, found, x, y, marks):
    """Mark the calls that a contradiction is made of (and givers that are of no help in it)."""
    involved = np.zeros(sole.shape[0] + 1, np.uint8)  # states; the last stands for none
    if found == CHAIN_ORDER or found == CHAINS_CROSS:
        for head in (x, y):
            v = head
            while v != -1:
                involved[v] = 1
                v = following[v]
    else:
        marks[row[x]] = 1
        involved[calls[x, NEEDS]] = 1
        if y >= 0:
            marks[row[y]] = 1
    for c in range(calls.shape[0]):
        kind = calls[c, KIND]
        if (kind == WRITE or kind == CAS) and involved[calls[c, GIVES]]:
            marks[row[c]] = 1
        if found == CHAIN_ORDER or found == CHAINS_CROSS:
            if (kind == READ or kind == CAS) and involved[calls[c, NEEDS]]:
                marks[row[c]] = 1
