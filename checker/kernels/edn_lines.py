"""Lines of Jepsen's EDN, each an ordinary map of one operation, into numbers and distinct texts.

Rules of this file:
- Takes a line only if it understands all of it; it is `OTHER` otherwise, and the exact reader's.
- Works on bytes. Beyond ASCII it knows strings only, and reads nothing from them.
- Texts are numbered in order of appearance within the block; the owner decodes each once.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

# What became of a line.
OTHER, TAKEN, BLANK = 0, 1, 2

# Fields, in the order of `numbers` and of `texts`.
PROCESS, TIME, INDEX = range(3)
F, VALUE, KEY, NODE, ERROR = range(5)
KINDS = ("ok", "fail", "info", "invoke")
NAMES = ("process", "time", "index", "f", "value", "key", "node", "error", "type")
_NUMBERS, _TEXTS = 3, 5
_KIND = _NUMBERS + _TEXTS
_OTHERS_MAX = 8  # fields of other names in a line

# In place of a number.
ABSENT = -(2**62)
OF_NEMESIS = ABSENT + 1
_DIGITS_MAX = 18


def _letters(words):
    """Return the bytes of words, one after the other, and where each ends."""
    text = "".join(words).encode()
    return np.frombuffer(text, np.uint8), np.cumsum([len(word) for word in words])


_NAME_BYTES, _NAME_STOPS = _letters(NAMES)
_KIND_BYTES, _KIND_STOPS = _letters(KINDS)
_TAG, _ = _letters(["#jepsen.history.Op"])
_NEMESIS, _ = _letters([":nemesis"])
_NIL, _TRUE, _FALSE = (_letters([word])[0] for word in ("nil", "true", "false"))

# Bits of a byte's class.
_SPACE, _ENDS_KEYWORD, _ENDS_FLAT = 1, 2, 4
_CLASS = np.zeros(256, np.uint8)
for _byte in b" \t,\r":
    _CLASS[_byte] |= _SPACE
for _byte in b'\t\n\v\f\r\x1c\x1d\x1e\x1f ,;"()[]{}\\':
    _CLASS[_byte] |= _ENDS_KEYWORD
for _byte in b'[](){}"\\;#^\r\n':
    _CLASS[_byte] |= _ENDS_FLAT
_CLASS[128:] |= _ENDS_FLAT | _ENDS_KEYWORD


@njit(cache=True, nogil=True)
def read_lines(data):
    """Return (state, numbers, kind, texts, begins, stops) of the lines of a block.

    The block ends with a newline. `numbers` and `texts` have a row a line; a text is the place of
    its bytes in `begins` and `stops`, -1 if it is absent.
    """
    total = 0
    for i in range(data.shape[0]):
        total += data[i] == 10
    state = np.zeros(total, np.int8)
    numbers = np.full((total, _NUMBERS), ABSENT, np.int64)
    kind = np.zeros(total, np.int8)
    texts = np.full((total, _TEXTS), -1, np.int64)
    begins = np.empty(total * _TEXTS, np.int64)
    stops = np.empty(total * _TEXTS, np.int64)
    size = 64
    while size < 2 * total * _TEXTS:
        size *= 2
    slots = np.full(size, -1, np.int32)
    known, begin = 0, 0
    found = np.empty((_TEXTS, 2), np.int64)
    others = np.empty((_OTHERS_MAX, 2), np.int64)
    for line in range(total):
        stop = begin
        while data[stop] != 10:
            stop += 1
        found[:, 0] = -1
        state[line] = _line(data, begin, stop, numbers, kind, line, found, others)
        if state[line] == TAKEN:
            for field in range(_TEXTS):
                if found[field, 0] >= 0:
                    at, slot = _find(data, slots, begins, stops, found[field, 0], found[field, 1])
                    if at < 0:
                        at = known
                        begins[at], stops[at] = found[field, 0], found[field, 1]
                        slots[slot] = at
                        known += 1
                    texts[line, field] = at
        begin = stop + 1
    return state, numbers, kind, texts, begins[:known], stops[:known]


@njit(cache=True)
def _line(data, i, stop, numbers, kind, line, found, others):
    """Read one line; the spans of texts are left in `found`."""
    i = _spaces(data, i, stop)
    if i == stop:
        return BLANK
    if data[i] == 35:  # '#'
        if not _begins(data, i, stop, _TAG):
            return OTHER
        i = _spaces(data, i + _TAG.shape[0], stop)
    if i == stop or data[i] != 123:  # '{'
        return OTHER
    i += 1
    fields, unknown = 0, 0
    while True:
        i = _spaces(data, i, stop)
        if i == stop:
            return OTHER
        if data[i] == 125:  # '}'
            break
        name = i + 1
        i = _keyword(data, i, stop)
        if i < 0 or i == stop or not _CLASS[data[i]] & _SPACE:
            return OTHER
        field = _which(data, name, i, _NAME_BYTES, _NAME_STOPS)
        if field < 0:
            if unknown == _OTHERS_MAX:
                return OTHER
            for k in range(unknown):
                if _same(data, others[k, 0], others[k, 1], name, i):
                    return OTHER
            others[unknown, 0], others[unknown, 1] = name, i
            unknown += 1
        elif fields >> field & 1:
            return OTHER
        else:
            fields |= 1 << field
        begin = _spaces(data, i, stop)
        if begin == stop:
            return OTHER
        first = data[begin]
        if 0 <= field < _NUMBERS:
            if field == PROCESS and first == 58:
                i = begin + _NEMESIS.shape[0]
                if not _begins(data, begin, stop, _NEMESIS):
                    return OTHER
                numbers[line, field] = OF_NEMESIS
            else:
                i = _number(data, begin, stop)
                if i < 0:
                    return OTHER
                numbers[line, field] = _value(data, begin, i)
        else:
            i = _token(data, begin, stop)
            if i < 0:
                return OTHER
            if field == _KIND:
                which = _which(data, begin + 1, i, _KIND_BYTES, _KIND_STOPS)
                if first != 58 or which < 0:
                    return OTHER
                kind[line] = which
            elif field >= 0:
                if field - _NUMBERS == F and first != 58 and first != 34:
                    return OTHER
                found[field - _NUMBERS, 0], found[field - _NUMBERS, 1] = begin, i
        if i == stop or not (_CLASS[data[i]] & _SPACE or data[i] == 125):
            return OTHER
    required = 1 << PROCESS | 1 << _NUMBERS + F | 1 << _KIND
    if fields & required != required or _spaces(data, i + 1, stop) != stop:
        return OTHER
    return TAKEN


@njit(cache=True)
def _spaces(data, i, stop):
    while i < stop and _CLASS[data[i]] & _SPACE:
        i += 1
    return i


@njit(cache=True)
def _begins(data, i, stop, word):
    return i + word.shape[0] <= stop and _same(data, i, i + word.shape[0], -1, -1, word)


@njit(cache=True)
def _same(data, begin, stop, other_begin, other_stop, other=None):
    """Whether two pieces are the same; the second is all of `other`, if given."""
    if other is None:
        if stop - begin != other_stop - other_begin:
            return False
        for k in range(stop - begin):
            if data[begin + k] != data[other_begin + k]:
                return False
    else:
        for k in range(stop - begin):
            if data[begin + k] != other[k]:
                return False
    return True


@njit(cache=True)
def _which(data, begin, stop, words, word_stops):
    """Return which of the words a piece is, -1 if none."""
    before = 0
    for word in range(word_stops.shape[0]):
        after = word_stops[word]
        if stop - begin == after - before:
            k = 0
            while k < stop - begin and data[begin + k] == words[before + k]:
                k += 1
            if k == stop - begin:
                return word
        before = after
    return -1


@njit(cache=True)
def _keyword(data, i, stop):
    """Return where the keyword that begins here ends, -1 if there is none."""
    begin = i + 1
    if data[i] != 58:  # ':'
        return -1
    i += 1
    while i < stop and not _CLASS[data[i]] & _ENDS_KEYWORD:
        i += 1
    return i if i > begin else -1


@njit(cache=True)
def _number(data, i, stop):
    """Return where the integer that begins here ends, -1 if there is none that is ordinary."""
    if data[i] == 45:  # '-'
        i += 1
    begin = i
    while i < stop and 48 <= data[i] <= 57:
        i += 1
    digits = i - begin
    if digits == 0 or digits > _DIGITS_MAX or (digits > 1 and data[begin] == 48):
        return -1
    return i


@njit(cache=True)
def _value(data, i, stop):
    negative = data[i] == 45
    value = np.int64(0)
    for k in range(i + 1 if negative else i, stop):
        value = value * 10 + np.int64(data[k]) - 48
    return -value if negative else value


@njit(cache=True)
def _string(data, i, stop):
    """Return where the string that begins here ends, -1 if it is not ordinary."""
    i += 1
    while i < stop and data[i] != 34:
        if data[i] == 92 or data[i] == 13:  # backslash, carriage return
            return -1
        i += 1
    return i + 1 if i < stop else -1


@njit(cache=True)
def _token(data, i, stop):
    """Return where the value that begins here ends, -1 if it is not ordinary."""
    first = data[i]
    if first == 34:  # '"'
        return _string(data, i, stop)
    if first == 58:
        return _keyword(data, i, stop)
    if first == 45 or 48 <= first <= 57:
        return _number(data, i, stop)
    if first != 91:  # '['
        for word in (_NIL, _TRUE, _FALSE):
            if _begins(data, i, stop, word):
                return i + word.shape[0]
        return -1
    depth = 0
    while i < stop:
        byte = data[i]
        if byte == 91:
            depth += 1
            if depth > 2:
                return -1
        elif byte == 93:
            depth -= 1
            if depth == 0:
                return i + 1
        elif byte == 34:
            i = _string(data, i, stop)
            if i < 0:
                return -1
            continue
        elif _CLASS[byte] & _ENDS_FLAT:
            return -1
        i += 1
    return -1


@njit(cache=True)
def _find(data, slots, begins, stops, begin, stop):
    """Return (the text that is the same, -1 if there is none; its slot or a free one)."""
    h = uint64(14695981039346656037)  # FNV-1a, public domain
    for k in range(begin, stop):
        h = (h ^ uint64(data[k])) * uint64(1099511628211)
    last = uint64(slots.shape[0] - 1)
    slot = np.int64((h ^ (h >> uint64(32))) & last)
    while slots[slot] >= 0:
        at = slots[slot]
        if _same(data, begin, stop, begins[at], stops[at]):
            return np.int64(at), slot
        slot = (slot + 1) & np.int64(last)
    return np.int64(-1), slot
