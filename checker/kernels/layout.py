"""What the arrays of a problem mean, and what all kernels share: steps, hashes, bits.

Rules of this file:
- A **state** is a number. A **call** is a row of `calls`; what it does is its *kind* with two
  states `needs` and `gives`:

  =========  ==========================  =====================
  kind       allowed in                  leads to
  =========  ==========================  =====================
  READ       `needs`                     `needs` (= `gives`)
  WRITE      every state                 `gives`
  CAS        `needs`                     `gives`
  REFUSED    every state but `needs`     the same state
  TABLE      as the transitions say for (state, class): the class is in `needs`
  =========  ==========================  =====================

  Any action of any model on finitely many states is one of these (`checker.problem`), so the
  reductions that are argued for registers hold for every model wherever these kinds occur.
- **Events** are numbered 0, 1, 2, ...: `events[e]` is call c if c is invoked at e, and ``~c`` if
  it returns there. Optional calls never return.
- A call is `REQUIRED` to take effect unless it is optional; an optional call may still have an
  `END`, after which it cannot take effect any more (`breadth_first` only, for cores of
  counterexamples): it *lapses*.
- A call that returns has a *slot*, a bit of a configuration, from its invocation to its
  return. Optional calls have none: those of one class are counted (`checker.kernels.depth_first`).
- Transitions are a hash table from ``state * classes + class`` to a state, `NOT_ALLOWED`, or
  absent: `UNKNOWN`, whereupon a kernel stops, says what it wants to know and can be called again.
- Kernels allocate nothing that grows and look at no clock: they run for a number of steps, return
  a code, and their owner (`checker.race`) gives them room, transitions or more steps.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

READ, WRITE, CAS, REFUSED, TABLE = 0, 1, 2, 3, 4

# Columns of `calls`.
KIND, NEEDS, GIVES, START, END, SLOT, PURE, REQUIRED, DEADLINE, CHAIN = range(10)
CALL_COLUMNS = 10

# `END` of an optional call; larger than every event.
INFINITE = 2**31 - 1

NOT_ALLOWED = -1
UNKNOWN = -2

# Columns of `optional`: the classes of optional calls. How many of a class were used is kept in some
# bits of a configuration's words; just-in-time searches need not count (`OPT_TRACKED`).
OPT_KIND, OPT_NEEDS, OPT_GIVES, OPT_WORD, OPT_SHIFT, OPT_MASK, OPT_TRACKED = range(7)
OPTIONAL_COLUMNS = 7

# What a kernel returns.
VALID, INVALID = 1, 0
LOOK, WANTS_STEP, WANTS_ROOM = 2, 3, 4

EMPTY = -1  # a key of the transitions that is not there


@njit(cache=True, inline="always")
def mix(word, seed):
    """Mix one 64-bit word into a hash (the finalizer of splitmix64, public domain)."""
    z = (word ^ seed) * uint64(0x9E3779B97F4A7C15)
    z ^= z >> uint64(32)
    z *= uint64(0xD6E8FEB86659FD93)
    z ^= z >> uint64(29)
    return z


@njit(cache=True, inline="always")
def has(words, bit):
    """Whether a bit of a row of words is set."""
    return (words[bit >> 6] >> uint64(bit & 63)) & uint64(1) != uint64(0)


@njit(cache=True, inline="always")
def put(words, bit):
    """Set a bit of a row of words."""
    words[bit >> 6] |= uint64(1) << uint64(bit & 63)


@njit(cache=True, inline="always")
def drop(words, bit):
    """Clear a bit of a row of words."""
    words[bit >> 6] &= ~(uint64(1) << uint64(bit & 63))


@njit(cache=True, inline="always")
def look_up(keys, values, classes, state, cls):
    """Return what the transitions know of a class in a state."""
    key = np.int64(state) * classes + cls
    mask = keys.shape[0] - 1
    place = np.int64(mix(uint64(key), uint64(7)) & uint64(mask))
    while keys[place] != EMPTY:
        if keys[place] == key:
            return values[place]
        place = (place + 1) & mask
    return UNKNOWN


@njit(cache=True, inline="always")
def used_of(words, optional, k):
    """Return how many calls of an optional class a configuration has used."""
    word = words[optional[k, OPT_WORD]]
    return np.int64((word >> uint64(optional[k, OPT_SHIFT])) & uint64(optional[k, OPT_MASK]))


@njit(cache=True)
def enter(keys, values, classes, state, cls, after):
    """Put one transition into the table, which must have room."""
    key = np.int64(state) * classes + cls
    mask = keys.shape[0] - 1
    place = np.int64(mix(uint64(key), uint64(7)) & uint64(mask))
    while keys[place] != EMPTY and keys[place] != key:
        place = (place + 1) & mask
    keys[place] = key
    values[place] = after


@njit(cache=True)
def rehash(keys, values, new_keys, new_values):
    """Move all transitions into larger arrays."""
    mask = new_keys.shape[0] - 1
    for old in range(keys.shape[0]):
        if keys[old] != EMPTY:
            place = np.int64(mix(uint64(keys[old]), uint64(7)) & uint64(mask))
            while new_keys[place] != EMPTY:
                place = (place + 1) & mask
            new_keys[place] = keys[old]
            new_values[place] = values[old]


@njit(cache=True, inline="always")
def step(kind, needs, gives, state, keys, values, classes):
    """Return the state after a call, `NOT_ALLOWED`, or `UNKNOWN`."""
    if kind == WRITE:
        return gives
    if kind == REFUSED:
        return state if state != needs else NOT_ALLOWED
    if kind == TABLE:
        return look_up(keys, values, classes, state, needs)
    return gives if state == needs else NOT_ALLOWED


@njit(cache=True, inline="always")
def is_alike(calls, one, other):
    """Whether two calls do the same and are as obligatory as each other."""
    return (
        calls[one, KIND] == calls[other, KIND]
        and calls[one, NEEDS] == calls[other, NEEDS]
        and calls[one, GIVES] == calls[other, GIVES]
        and calls[one, REQUIRED] == calls[other, REQUIRED]
    )
