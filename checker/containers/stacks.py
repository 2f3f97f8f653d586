"""Stacks: last in, first out.

Rules of this file:
- Distinct values; exact. O(n log n) for what runs with a bounded number of clients leave behind;
  at worst O(n^2 log n). Words: `checker/containers/lives.py`.
- Decrease and conquer, as Lee & Mathur, OOPSLA 2025 (10.1145/3763123) name it: find a value that
  can be struck without harm, strike it, go on with what is left. Which values those are, and why,
  is argued here (`_stack`).
- Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from checker.calls import Call, Calls
from checker.containers.lives import (
    Kinds,
    Life,
    chain,
    moments,
    overdue_for_empties,
    settle,
    spells,
)
from checker.containers.outcome import (
    NEVER,
    Contradiction,
    Decision,
    Edge,
    edge,
    returned_before,
    shrunk,
)

_KINDS = Kinds("push", "pop", "pop-empty", "pop-unknown")

# A value and the time it is made to spend on the stack.
_Stay = tuple[Life, int, int]
# Longer chains are not shortened further: each attempt decides a stack of that size.
_CHAIN_MAX = 64
# How many of the values pushed before one that stays are looked at.
_BENEATH_MAX = 32


def decide_stack(calls: Calls, initial: Sequence[str]) -> Decision | None:
    """Decide a stack; `initial` is from the bottom to the top."""
    return settle(calls, initial, _KINDS, _stack, _overdue)


def _stack(lives: list[Life], empties: list[Call]) -> list[Call] | Contradiction:
    """Order the calls of a stack.

    1. A value that is not surely held is pushed and popped in one moment, `out_from`. That fits in
       anywhere in any order, so such values can be left aside.
    2. Take a spell [L, R] of the others. Throughout it the stack is not empty, so the value that is
       at the bottom just after L stays to R: it can be pushed by L (in_from <= L) and popped
       from R on (out_by >= R). If no value of the spell can, there is no order.
    3. Let v be any that can. If all values have an order so have those without v (a projection).
       Conversely if those have one, its points can be cut to [L, R], since the interval of each
       call meets it; then v is pushed at L before all of them and popped at R after all of
       them. So v can be struck, whoever else could have been. What is left falls into spells
       again, all within [L, R].
    4. Different spells do not overlap, so their orders follow one another. Outside of them the
       stack is empty but for moments, and each "empty" finds its point there.
    """
    held = sorted(
        (life for life in lives if life.in_by < life.out_from), key=lambda life: life.in_by
    )
    found = moments(empties, spells(held))
    if isinstance(found, Contradiction):
        return found
    stays = _nested(held)
    if isinstance(stays, _Rootless):
        return _no_bottom(stays.lives)
    placed: list[tuple[int, int, int, Call | None]] = [
        (point, 2, rank, call) for rank, (point, call) in enumerate(found)
    ]
    for rank, (life, begin, end) in enumerate(stays):
        placed.append((begin, 0, rank, life.put))
        placed.append((end, 0, -rank, life.take))
    for life in lives:
        if life.in_by >= life.out_from:
            placed.append((life.out_from, 1, 2 * len(placed), life.put))
            placed.append((life.out_from, 1, 2 * len(placed), life.take))
    placed.sort(key=lambda item: item[:3])
    return [call for *_, call in placed if call is not None]


def _overdue(lives: Sequence[Life], empties: Sequence[Call]) -> list[tuple[int, int]]:
    """Return which values stay though one surely beneath them has left; looks at a few beneath."""
    left = sorted((life for life in lives if life.take is not None), key=lambda life: life.in_by)
    entered = [life.in_by for life in left]
    found = {place: out_by for out_by, place in overdue_for_empties(lives, empties)}
    for place, life in enumerate(lives):
        if life.take is None:
            top = bisect_left(entered, life.in_from)
            for beneath in left[max(0, top - _BENEATH_MAX) : top]:
                if beneath.out_from > life.in_by:
                    found[place] = min(found.get(place, NEVER), beneath.out_by)
    return [(out_by, place) for place, out_by in found.items()]


@dataclass(frozen=True, slots=True)
class _Rootless:
    """Values that hang together, and none of them can be at the bottom."""

    lives: list[Life]


def _nested(held: Sequence[Life]) -> list[_Stay] | _Rootless:
    """Return from when to when each value stays, the lower ones first; `held` sorted by in_by.

    Spells are ranges of `held`, and are gone through from left to right, outer ones before inner
    ones, so that their begins never fall: who can be pushed by then is found by one pass, and
    only those not yet struck are kept, of which there are no more than pushes under way at once.
    """
    ins = [life.in_by for life in held]
    outs = _Maxima([life.out_from for life in held])
    following = list(range(len(held) + 1))  # the next place that is not struck, by path halving
    arriving = sorted(range(len(held)), key=lambda place: held[place].in_from)
    arrived = 0
    pushed: list[int] = []
    stays: list[_Stay] = []
    waiting = _spells(0, len(held), ins, outs, following)
    while waiting:
        first, past, end = waiting.pop()
        begin = ins[first]
        while arrived < len(arriving) and held[arriving[arrived]].in_from <= begin:
            pushed.append(arriving[arrived])
            arrived += 1
        bottoms: list[int] = []
        others: list[int] = []
        for place in pushed:
            fits = first <= place < past and held[place].out_by >= end
            (bottoms if fits else others).append(place)
        if not bottoms:
            return _Rootless([held[n] for n in range(first, past) if following[n] == n])
        pushed = others
        # All that can be at the bottom can be one above the other: 3. holds for the next as well.
        for place in bottoms:
            stays.append((held[place], begin, end))
            outs.strike(place)
            following[place] = place + 1
        waiting += _spells(first, past, ins, outs, following)
    return stays


def _spells(
    first: int, past: int, ins: Sequence[int], outs: _Maxima, following: list[int]
) -> list[tuple[int, int, int]]:
    """Return the spells of what is left in a range: first place, the one past it, end; reversed.

    A spell reaches as far as anyone in it; whoever begins before that may reach further.
    """
    found = []
    place = _next(following, first)
    while place < past:
        end, reached = -1, outs.most(place, place + 1)
        while reached > end:
            end = reached
            reached = outs.most(place, min(past, bisect_left(ins, end)))
        stop = min(past, bisect_left(ins, end))
        found.append((place, stop, end))
        place = _next(following, stop)
    found.reverse()
    return found


def _next(following: list[int], place: int) -> int:
    while following[place] != place:
        following[place] = following[following[place]]
        place = following[place]
    return place


class _Maxima:
    """The greatest of any range of numbers, which can be struck; a binary tree in a list."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._size = len(numbers)
        self._tree = [-1] * self._size + list(numbers)
        for node in range(self._size - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node], self._tree[2 * node + 1])

    def strike(self, place: int) -> None:
        """Let the number at this place count no more."""
        tree, node = self._tree, place + self._size
        tree[node] = -1
        while node > 1:
            node >>= 1
            greater = max(tree[2 * node], tree[2 * node + 1])
            if tree[node] == greater:
                return
            tree[node] = greater

    def most(self, first: int, past: int) -> int:
        """Return the greatest number from place `first` to before place `past`."""
        tree, found = self._tree, -1
        low, high = first + self._size, past + self._size
        while low < high:
            if low & 1:
                found = max(found, tree[low])
                low += 1
            if high & 1:
                high -= 1
                found = max(found, tree[high])
            low >>= 1
            high >>= 1
        return found


def _no_bottom(lives: Sequence[Life]) -> Contradiction:
    """Return the contradiction of a spell in which nobody can be at the bottom.

    A chain from its begin to its end is a spell with the same begin and end, so none of its
    members can be at the bottom either. It may still be shorter for other reasons.
    """
    end = max(life.out_from for life in lives)
    links = chain(lives, lives[0].in_by, end - 1)
    if len(links) <= _CHAIN_MAX:
        links = shrunk(links, lambda fewer: isinstance(_nested(fewer), _Rootless))
    first, last = links[0], max(links, key=lambda life: life.out_from)
    edges: tuple[Edge, ...] = ()
    for life, following in pairwise(links):
        edges += edge(following.put, life.take)
    for life in links:
        entered = first.put if returned_before(first.put, life.put) else first.take
        left = last.take if returned_before(life.take, last.take) else last.put
        if returned_before(entered, life.put):
            edges += edge(entered, life.put)
        elif returned_before(life.take, left):
            edges += edge(life.take, left)
        else:
            edges += edge(life.take, last.put, f"{last.value} never leaves")
    if len(links) == 2:
        edges += edge(last.take, first.take, f"{last.value} came in last and leaves first")
    return Contradiction(elements=frozenset(life.value for life in links), edges=edges)
