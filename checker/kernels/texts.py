"""From the columns of a history of strings to flat calls: states, classes and edges, in one pass.

Rules of this file:
- Says what the plain twin in `checker.strings` says, number by number; a test holds them together.
- A string is a piece (offset, length) of one array of characters. What a string may have been made
  of is a shorter piece of the same characters, so nothing is ever copied.
- Equal means: the same characters. Hashes only say where to look: those of all beginnings are
  taken in one pass, that of an ending is the difference of two (Karp and Rabin 1987, IBM Journal
  31(2), fingerprints).
- Room is given by the owner; where it does not suffice a code says so.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from checker.kernels.flatten import SILENT, group
from checker.kernels.layout import READ, TABLE, mix

FOUND, UNUSUAL, NO_ROOM, TOO_LONG = 0, 1, 2, 3

_BASE = 0x9E3779B97F4A7C15


@njit(cache=True, nogil=True)
def string_states(
    does, function, kind_of_end, key, asked, answered, start, end, lengths, characters, keys,
    nil_says_nothing, room, characters_max,
):  # fmt: skip
    """Return (code, classes, states, edges, edge stops, and what `group` returns).

    `lengths` has the length of each value, -1 if it is no string, and last the initial string's;
    `characters` all of them one after the other, one more after each. Value 0 is null.
    """
    values = lengths.shape[0]
    offsets = np.empty(values, np.int64)
    hashes, powers = _hashes_of_beginnings(lengths, characters, offsets)
    size = 64
    while size < 2 * room:
        size *= 2
    slots = np.full(size, -1, np.int64)
    # A state or class: its key, offset and length, whether it is a state, and its number.
    pieces = np.empty((room, 5), np.int64)
    edges = np.empty((room, 3), np.int32)
    edge_stops = np.zeros(keys, np.int64)
    total = function.shape[0]
    rows = np.empty(total, np.int64)
    kinds = np.empty(total, np.int32)
    said = np.empty(total, np.int32)
    piece_of_state = np.empty(room, np.int64)
    known, states, classes, kept, made = 0, 0, 0, 0, 0
    code = FOUND
    if keys >= room:
        code = NO_ROOM
    for k in range(keys if code == FOUND else 0):
        offset = offsets[values - 1]
        at, slot = _find(slots, pieces, characters, hashes, k, offset, lengths[values - 1], 1,
                         hashes[offset + lengths[values - 1]])  # fmt: skip
        _put(slots, slot, pieces, known, k, offset, lengths[values - 1], 1, states)
        piece_of_state[states] = known
        known += 1
        states += 1
    # What was appended to a key has these lengths: a sorted list a key.
    shortest = np.full(keys, -1, np.int64)
    longer = np.empty(total, np.int64)
    list_length = np.empty(total, np.int64)
    listed = 0
    # What was read of a key: the states of its reads, the latest first.
    latest_read = np.full(keys, -1, np.int64)
    read_before = np.empty(total, np.int64)
    for row in range(total if code == FOUND else 0):
        kind = does[function[row] * 3 + kind_of_end[row]]
        if kind == SILENT:
            continue
        value = answered[row] if kind == READ else asked[row]
        length = lengths[value]
        if value == 0:
            if kind != READ:
                code = UNUSUAL
                break
            if nil_says_nothing:
                continue
            length = 0
        if length < 0 or (length == 0 and kind == TABLE):
            code = UNUSUAL
            break
        if known >= room:
            code = NO_ROOM
            break
        k, is_state = key[row], 0 if kind == TABLE else 1
        offset = offsets[value]
        at, slot = _find(slots, pieces, characters, hashes, k, offset, length, is_state,
                         hashes[offset + length])  # fmt: skip
        if at < 0:
            at = known
            _put(slots, slot, pieces, at, k, offset, length, is_state,
                 states if is_state else classes)  # fmt: skip
            if is_state:
                piece_of_state[states] = at
                states += 1
            else:
                classes += 1
                listed = _list_length(shortest, longer, list_length, listed, k, length)
            known += 1
        if kind == READ:
            read_before[kept] = latest_read[k]
            latest_read[k] = kept
        rows[kept], kinds[kept], said[kept] = row, kind, pieces[at, 4]
        kept += 1
    seen = np.zeros(room, np.int8)
    waiting = np.empty(room, np.int64)
    taken = 0
    for k in range(keys if code == FOUND else 0):
        if shortest[k] >= 0 and latest_read[k] >= 0:
            waits = _push_reads(latest_read[k], read_before, said, seen, waiting)
            taken_here = 0
            while waits > 0 and taken_here <= characters_max:
                waits -= 1
                state = waiting[waits]
                whole = piece_of_state[state]
                offset, length = pieces[whole, 1], pieces[whole, 2]
                node = shortest[k]
                while node >= 0 and list_length[node] <= length:
                    tail = list_length[node]
                    node = longer[node]
                    before = length - tail
                    ending = hashes[offset + length] - hashes[offset + before] * powers[tail]
                    at, slot = _find(slots, pieces, characters, hashes, k, offset + before, tail,
                                     0, ending)  # fmt: skip
                    if at < 0:
                        continue
                    if known >= room or made >= room:
                        code = NO_ROOM
                        break
                    cls = pieces[at, 4]
                    at, slot = _find(slots, pieces, characters, hashes, k, offset, before, 1,
                                     hashes[offset + before])  # fmt: skip
                    if at < 0:
                        at = known
                        _put(slots, slot, pieces, at, k, offset, before, 1, states)
                        piece_of_state[states] = at
                        states += 1
                        known += 1
                    from_ = pieces[at, 4]
                    edges[made, 0], edges[made, 1], edges[made, 2] = from_, cls, state
                    made += 1
                    if seen[from_] == 0:
                        seen[from_] = 1
                        waiting[waits] = from_
                        waits += 1
                        taken_here += before
                if code != FOUND:
                    break
            taken += taken_here
            if taken > characters_max and code == FOUND:
                code = TOO_LONG
        if code != FOUND:
            break
        edge_stops[k] = made
    if code != FOUND:
        kept = 0
    return (
        code,
        classes,
        states,
        edges[:made],
        edge_stops,
        group(rows[:kept], kinds[:kept], said[:kept], key, kind_of_end, start, end, keys),
    )


@njit(cache=True)
def _hashes_of_beginnings(lengths, characters, offsets):
    """Return the hash of the first i characters of a string at ``offset + i``, and the powers."""
    hashes = np.empty(characters.shape[0], np.uint64)
    longest, offset = 0, 0
    for value in range(lengths.shape[0]):
        offsets[value] = offset
        length = max(0, lengths[value])
        longest = max(longest, length)
        h = uint64(0)
        for i in range(length):
            hashes[offset + i] = h
            h = h * uint64(_BASE) + uint64(characters[offset + i]) + uint64(1)
        hashes[offset + length] = h
        offset += length + 1
    powers = np.empty(longest + 1, np.uint64)
    power = uint64(1)
    for i in range(longest + 1):
        powers[i] = power
        power *= uint64(_BASE)
    return hashes, powers


@njit(cache=True)
def _find(slots, pieces, characters, hashes, key, offset, length, is_state, hashed):
    """Return (the piece that is the same, -1 if there is none; its slot or a free one)."""
    last = slots.shape[0] - 1
    slot = np.int64(
        mix(hashed, uint64(key * 2 + is_state) * uint64(0x632BE59BD9B4E019) + uint64(length))
        & uint64(last)
    )
    while slots[slot] >= 0:
        at = slots[slot]
        if (
            pieces[at, 0] == key
            and pieces[at, 2] == length
            and pieces[at, 3] == is_state
            and _same(characters, pieces[at, 1], offset, length)
        ):
            return at, slot
        slot = (slot + 1) & last
    return np.int64(-1), slot


@njit(cache=True)
def _put(slots, slot, pieces, at, key, offset, length, is_state, number):
    slots[slot] = at
    pieces[at, 0], pieces[at, 1], pieces[at, 2] = key, offset, length
    pieces[at, 3], pieces[at, 4] = is_state, number


@njit(cache=True)
def _same(characters, one, other, length):
    if one == other:
        return True
    for i in range(length):
        if characters[one + i] != characters[other + i]:
            return False
    return True


@njit(cache=True)
def _list_length(shortest, longer, list_length, listed, key, length):
    """Put a length into a key's sorted list if it is not there; return how many are listed."""
    before, node = -1, shortest[key]
    while node >= 0 and list_length[node] < length:
        before, node = node, longer[node]
    if node >= 0 and list_length[node] == length:
        return listed
    list_length[listed], longer[listed] = length, node
    if before < 0:
        shortest[key] = listed
    else:
        longer[before] = listed
    return listed + 1


@njit(cache=True)
def _push_reads(latest, read_before, said, seen, waiting):
    """Let the states that were read wait, each once, the first that was read at the bottom."""
    count, at = 0, latest
    while at >= 0:  # the latest first: turned round below
        waiting[count] = said[at]
        count += 1
        at = read_before[at]
    for i in range(count // 2):
        waiting[i], waiting[count - 1 - i] = waiting[count - 1 - i], waiting[i]
    waits = 0
    for i in range(count):
        state = waiting[i]
        if seen[state] == 0:
            seen[state] = 1
            waiting[waits] = state
            waits += 1
    return waits
