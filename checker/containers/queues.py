"""Queues: first in first out, and unordered (a bag).

Rules of this file:
- Distinct values; exact; O(n log n). Words: `checker/containers/lives.py`.
- The patterns that contradict a queue are those of Henzinger, Sezgin & Vafeiadis, "Aspect-oriented
  linearizability proofs", CONCUR 2013, section 3. That nothing else can be wrong is argued here,
  by the order that is made, and every order is replayed in the tests.
- Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from checker.calls import Call, Calls
from checker.containers.lives import (
    Kinds,
    Life,
    Spell,
    moments,
    overdue_for_empties,
    settle,
    spells,
)
from checker.containers.outcome import NEVER, Contradiction, Decision, edge, returned_before

_FIFO = Kinds("enqueue", "dequeue", "dequeue-empty", "dequeue-unknown")
# To the model of a bag, finding it empty is not pure: it rules out what was possible before.
_BAG = Kinds("enqueue", "dequeue", "dequeue-empty", "dequeue-unknown", ("dequeue-empty",))

# A call and its place: a point, then what comes first at this point, then ranks.
_Placed = tuple[int, int, int, int, Call | None]


def decide_bag(calls: Calls, initial: Sequence[str]) -> Decision | None:
    """Decide an unordered queue."""
    return settle(calls, initial, _BAG, _bag, overdue_for_empties)


def decide_fifo(calls: Calls, initial: Sequence[str]) -> Decision | None:
    """Decide a queue; `initial` is in order, the next to be dequeued first."""
    return settle(calls, initial, _FIFO, _fifo, _overdue)


def _bag(lives: list[Life], empties: list[Call]) -> list[Call] | Contradiction:
    """Order the calls of a bag.

    Values do not mind each other. One that is surely held is in for just that time, any other
    comes and goes at one moment, `out_from`, which is in both its intervals. So outside all spells
    the bag is empty but for such moments, and `moments` finds a point there for each "empty".
    """
    found = moments(empties, spells(lives))
    if isinstance(found, Contradiction):
        return found
    placed: list[_Placed] = [(point, 2, 0, rank, call) for rank, (point, call) in enumerate(found)]
    for rank, life in enumerate(lives):
        if life.in_by < life.out_from:
            placed.append((life.in_by, 0, 0, rank, life.put))
            placed.append((life.out_from, 0, 0, rank, life.take))
        else:
            placed.append((life.out_from, 1, rank, 0, life.put))
            placed.append((life.out_from, 1, rank, 1, life.take))
    return _calls(placed)


def _fifo(lives: list[Life], empties: list[Call]) -> list[Call] | Contradiction:
    """Order the calls of a queue.

    1. A value that is not surely held, and can come and go at a moment outside all spells, does
       so: the queue is empty then, and it minds nobody. Each other value belongs to the one spell
       around it.
    2. A spell [L, R] is a queue of its own. Of each value in it in_by >= L and out_from <= R, so
       in_from <= R and out_by >= L too, and the intervals of all its calls can be cut to
       [L, R]. No two puts and no two takes are ordered by real time only since the cut.
    3. Within a spell, a must go before b if a is put in surely earlier (a.in_by < b.in_from) or
       taken out surely earlier. Both are interval orders, so of a.in < b.in, c.in < d.in one of
       a.in < d.in, c.in < b.in follows: a cycle in their union has a chord, down to two values of
       which each must go before the other, once for its put and once for its take. That is a
       contradiction, and without one there is a line of the values that suits both.
    4. Put in at the latest in_from, taken out at the latest out_from of those up to here in
       the line (no sooner than L): no later than in_by and out_by. Otherwise, if the latest
       in_from, of u, is past v.in_by, or the latest out_from is past v.out_by, then v must go
       before u, who is ahead of it in the line. (out_from is take.start or put.start; a put.start
       past v.out_by is past v.in_by.) And nobody is taken out before being put in.
    5. So outside the spells the queue is empty, but for moments, and each "empty" finds its point.
    """
    spoken = spells(lives)
    found = moments(empties, spoken)
    if isinstance(found, Contradiction):
        return found
    placed: list[_Placed] = [(point, 2, 0, rank, call) for rank, (point, call) in enumerate(found)]
    begins = [spell.begin for spell in spoken]
    inside = [list(spell.lives) for spell in spoken]
    for rank, life in enumerate(lives):
        if life.in_by < life.out_from:
            continue
        place = bisect_left(begins, life.out_from) - 1
        point = life.out_from if place < 0 else max(life.out_from, spoken[place].end)
        if point > life.in_by:
            inside[place].append(life)
        else:
            placed.append((point, 1, rank, 0, life.put))
            placed.append((point, 1, rank, 1, life.take))
    for spell, members in zip(spoken, inside, strict=True):
        line = _line(members)
        if isinstance(line, Contradiction):
            return line
        placed += _through(spell, line)
    return _calls(placed)


def _overdue(lives: Sequence[Life], empties: Sequence[Call]) -> list[tuple[int, int]]:
    """Return which values stay though one surely behind them has left."""
    left = sorted((life.in_from, life.out_by) for life in lives if life.take is not None)
    entered = [in_from for in_from, _ in left]
    soonest = [*accumulate((out_by for _, out_by in reversed(left)), min)][::-1]
    found = dict.fromkeys(range(len(lives)), NEVER)
    for place, life in enumerate(lives):
        behind = bisect_left(entered, life.in_by)
        if life.take is None and behind < len(entered):
            found[place] = soonest[behind]
    for out_by, place in overdue_for_empties(lives, empties):
        found[place] = min(found[place], out_by)
    return [(out_by, place) for place, out_by in found.items() if out_by < NEVER]


def _through(spell: Spell, line: Sequence[Life]) -> list[_Placed]:
    """Send the values through the queue in this line."""
    placed: list[_Placed] = []
    into = out = spell.begin
    for rank, life in enumerate(line):
        into, out = max(into, life.in_from), max(out, life.out_from)
        placed.append((into, 0, 0, rank, life.put))
        placed.append((out, 0, 1, rank, life.take))
    return placed


def _line(lives: Sequence[Life]) -> list[Life] | Contradiction:
    """Line the values up by the order of their puts and of their takes; O(n log n).

    The next one is any that no other must go before: its in_from is up to the least in_by, and
    its out_from up to the least out_by, of those that are left. Where there is no such value, let
    u have the least in_by and w the least out_by. No put is ahead of u's, so the take of w is; no
    take is ahead of w's, so the put of u is.
    """
    count = len(lives)
    entering = sorted(range(count), key=lambda n: lives[n].in_from)
    entered = sorted(range(count), key=lambda n: lives[n].in_by)
    leaving = sorted(range(count), key=lambda n: lives[n].out_from)
    left = sorted(range(count), key=lambda n: lives[n].out_by)
    gone = [False] * count
    free = [0] * count  # 2 once neither its put nor its take must wait
    ready: list[int] = []
    line: list[Life] = []
    first_in = first_out = may_enter = may_leave = 0
    while len(line) < count:
        while gone[entered[first_in]]:
            first_in += 1
        while gone[left[first_out]]:
            first_out += 1
        earliest_in = lives[entered[first_in]]
        earliest_out = lives[left[first_out]]
        while may_enter < count and lives[entering[may_enter]].in_from <= earliest_in.in_by:
            free[entering[may_enter]] += 1
            if free[entering[may_enter]] == 2:
                ready.append(entering[may_enter])
            may_enter += 1
        while may_leave < count and lives[leaving[may_leave]].out_from <= earliest_out.out_by:
            free[leaving[may_leave]] += 1
            if free[leaving[may_leave]] == 2:
                ready.append(leaving[may_leave])
            may_leave += 1
        if not ready:
            return _overtaken(earliest_in, earliest_out)
        chosen = ready.pop()
        gone[chosen] = True
        line.append(lives[chosen])
    return line


def _overtaken(first: Life, second: Life) -> Contradiction:
    """Return the contradiction: `first` was put in before `second`, but taken out after it."""
    in_first = first.put is None or returned_before(first.put, second.put)
    edges = edge(first.put if in_first else first.take, second.put)
    edges += edge(first.put, first.take, "in before out")
    if first.take is not None:
        edges += edge(first.take, second.take, f"{first.value} came in first and leaves first")
        out_later = returned_before(second.take, first.take)
        edges += edge(second.take, first.take if out_later else first.put)
    else:
        edges += edge(second.put, second.take, "in before out")
        edges += edge(second.take, first.put, f"{first.value} never leaves: it came in later")
    return Contradiction(elements=frozenset({first.value, second.value}), edges=edges)


def _calls(placed: list[_Placed]) -> list[Call]:
    placed.sort(key=lambda item: item[:4])
    return [call for *_, call in placed if call is not None]
