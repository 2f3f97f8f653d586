"""The lives of values that are put into a collection once and taken out once.

Rules of this file:
- A value is put in at a point of [in_from, in_by] and taken out at a point of [out_from, out_by],
  both tightened by "in before out": in_by <= out_by and in_from <= out_from. What stays is taken
  out at `NEVER`; what was there from the beginning was put in before position 0, in order.
- If in_by < out_from the value is *surely held* between the two. At a point of a union of
  surely held intervals (a `Spell`) the collection is never empty: an answer "empty" whose
  whole interval lies inside one is a contradiction. Outside all spells an order can be made in
  which it is empty; each structure argues for that on its own.
- Crashed takes (optional ones, or such as do not know what they took) need not have happened:
  an order without them will do. And they cannot have taken a value that a call is known
  to have taken, so those values alone, projected, must have an order without them.
- Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from checker.calls import Call, Calls
from checker.containers.outcome import (
    NEVER,
    Contradiction,
    Decision,
    edge,
    refuted,
    valid,
)

# How often a crashed take is tried, in the end, as the one that took what is in the way.
_GUESSES_MAX = 32


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the calls of a structure are called."""

    put: str
    take: str
    empty: str
    unknown: str
    kept: tuple[str, ...] = ()  # observing calls that a proof may not leave out


@dataclass(frozen=True, slots=True)
class Life:
    """When one value came and went. No `put`: there from the beginning. No `take`: it stays."""

    value: str
    put: Call | None
    take: Call | None
    in_from: int
    in_by: int
    out_from: int
    out_by: int


@dataclass(frozen=True, slots=True)
class Spell:
    """A union of surely held intervals that hang together, and whose they are, by `in_by`."""

    begin: int
    end: int
    lives: list[Life]


# Finds an order of the calls of some lives and of some calls that found it empty.
Arrange = Callable[[list[Life], list[Call]], "list[Call] | Contradiction"]
# Of such lives and calls: by when which places should be gone.
Overdue = Callable[[Sequence[Life], Sequence[Call]], list[tuple[int, int]]]


def settle(
    calls: Calls, initial: Sequence[str], kinds: Kinds, arrange: Arrange, overdue: Overdue
) -> Decision | None:
    """Decide by means of `arrange`, which must be exact where there are no crashed takes.

    `overdue` is a hint: which lives that stay seem to be in the way of others.
    """
    puts: dict[str, Call] = {}
    takes: dict[str, Call] = {}
    crashed: list[Call] = []
    empties: list[Call] = []
    wrong: Contradiction | None = None
    for call in calls:
        kind = call.action[0]
        if kind == kinds.put:
            if str(call.action[1]) in puts:
                return None
            puts[str(call.action[1])] = call
        elif kind == kinds.take and not call.optional:
            value = str(call.action[1])
            if value in takes:
                reason = f"only one can take {value}"
                edges = edge(takes[value], call, reason) + edge(call, takes[value], reason)
                wrong = Contradiction(elements=frozenset({value}), edges=edges)
            takes[value] = call
        elif kind == kinds.empty:
            if not call.optional:
                empties.append(call)
        elif call.optional:
            crashed.append(call)
        else:
            return None  # it took something, but nobody knows what
    if len(set(initial)) < len(initial) or not puts.keys().isdisjoint(initial):
        return None
    wrong = wrong or _impossible(puts, takes, frozenset(initial))
    if wrong is not None:
        return refuted(calls, wrong, starts_empty=not initial, kept=kinds.kept)
    lives = _lives(puts, takes, initial)
    found = arrange(lives, empties)
    if not isinstance(found, Contradiction):
        return valid(found)
    if crashed:
        known = arrange([life for life in lives if life.take is not None], empties)
        if not isinstance(known, Contradiction):
            return _guess(lives, empties, crashed, kinds, arrange, overdue)
        found = known
    return refuted(calls, found, starts_empty=not initial, kept=kinds.kept)


def _impossible(
    puts: dict[str, Call], takes: dict[str, Call], initial: frozenset[str]
) -> Contradiction | None:
    """Return a take of a value that was not yet, or never, put in."""
    for value, take in takes.items():
        if value in initial:
            continue
        put = puts.get(value)
        if put is None:
            edges = edge(take, take, f"nobody put {value} in")
        elif take.end is not None and take.end < put.start:
            edges = edge(take, put) + edge(put, take, "in before out")
        else:
            continue
        return Contradiction(elements=frozenset({value}), edges=edges)
    return None


def _lives(puts: dict[str, Call], takes: dict[str, Call], initial: Sequence[str]) -> list[Life]:
    """Return the lives of all values that certainly were put in.

    A crashed put of a value that nobody took is left out: striking it from an order that has it
    leaves the others what they were, but for a value that stays for ever.
    """
    lives = []
    for place, value in enumerate(initial):
        take = takes.get(value)
        born = place - len(initial)
        first, last = (NEVER, NEVER) if take is None else (take.start, take.end or 0)
        lives.append(Life(value, None, take, born, born, first, last))
    for value, put in puts.items():
        take = takes.get(value)
        latest = NEVER if put.end is None else put.end
        if take is not None:
            assert take.end is not None
            out_from = max(take.start, put.start)
            lives.append(
                Life(value, put, take, put.start, min(latest, take.end), out_from, take.end)
            )
        elif put.end is not None:
            lives.append(Life(value, put, None, put.start, latest, NEVER, NEVER))
    return lives


def _guess(
    lives: list[Life],
    empties: list[Call],
    crashed: list[Call],
    kinds: Kinds,
    arrange: Arrange,
    overdue: Overdue,
) -> Decision | None:
    """Try crashed takes as those that took what is in the way: `valid` if it works out, or `None`.

    A guess only adds a call that may have happened to the order, so an order stays an order. At
    first all that is seen to be in the way at once is given away, the most urgent to the crashed
    take that began first; then, one by one, what still contradicts the others.
    """
    lives, crashed = list(lives), sorted(crashed, key=lambda call: call.start)
    for _, place in sorted(overdue(lives, empties)):
        _give_away(lives, place, crashed, kinds)
    for _ in range(_GUESSES_MAX):
        found = arrange(lives, empties)
        if not isinstance(found, Contradiction):
            return valid(found)
        staying = (n for n, life in enumerate(lives)
                   if life.take is None and life.value in found.elements)  # fmt: skip
        if not any(_give_away(lives, place, crashed, kinds) for place in staying):
            return None
    return None


def _give_away(lives: list[Life], place: int, crashed: list[Call], kinds: Kinds) -> bool:
    """Let the first crashed take that can have taken this value be the one that did."""
    life = lives[place]
    able = ((kinds.take, life.value), (kinds.unknown,))
    taker = next((n for n, call in enumerate(crashed) if call.action in able), None)
    if taker is None:
        return False
    call = crashed.pop(taker)
    lives[place] = replace(life, take=call, out_from=max(call.start, life.in_from))
    return True


def overdue_for_empties(lives: Sequence[Life], empties: Sequence[Call]) -> list[tuple[int, int]]:
    """Return which lives stay though something was found empty later: by when to be gone, place."""
    begun = sorted((call.start, call.end or 0) for call in empties)
    starts = [start for start, _ in begun]
    soonest = [*accumulate((end for _, end in reversed(begun)), min)][::-1]
    found = []
    for place, life in enumerate(lives):
        after = bisect_left(starts, life.in_by)
        if life.take is None and after < len(starts):
            found.append((soonest[after], place))
    return found


def spells(lives: Iterable[Life]) -> list[Spell]:
    """Return the unions of surely held intervals, in order of time."""
    united: list[Spell] = []
    begin = end = 0
    members: list[Life] = []
    held = sorted((life for life in lives if life.in_by < life.out_from), key=_in_by)
    for life in held:
        if members and life.in_by < end:
            members.append(life)
            end = max(end, life.out_from)
            continue
        if members:
            united.append(Spell(begin, end, members))
        begin, end, members = life.in_by, life.out_from, [life]
    if members:
        united.append(Spell(begin, end, members))
    return united


def _in_by(life: Life) -> int:
    return life.in_by


def moments(
    empties: Iterable[Call], spoken: Sequence[Spell]
) -> list[tuple[int, Call]] | Contradiction:
    """Return a point for each call that found nothing, as early as can be and outside all spells."""
    begins = [spell.begin for spell in spoken]
    placed: list[tuple[int, Call]] = []
    for call in empties:
        assert call.end is not None
        place = bisect_left(begins, call.start) - 1  # the last spell that begins before the call
        point = max(call.start, spoken[place].end) if place >= 0 else call.start
        if point > call.end:
            return _never_empty(call, spoken[place])
        placed.append((point, call))
    return placed


def chain(lives: Sequence[Life], begin: int, end: int) -> list[Life]:
    """Return few of the lives of a spell that surely hold something from `begin` to `end`.

    The usual greedy cover: of those that begin in time the one that reaches furthest. No `in_by`
    is an `out_from` (one is the position of a return, the other of an invocation), so "begins no
    later than the last one ends" is "overlaps it".
    """
    linked: list[Life] = []
    place, reached, best = 0, begin, lives[0]
    while reached <= end:
        while place < len(lives) and lives[place].in_by <= reached:
            if lives[place].out_from > best.out_from:
                best = lives[place]
            place += 1
        linked.append(best)
        reached = best.out_from
    return linked


def _never_empty(call: Call, spell: Spell) -> Contradiction:
    """Return the contradiction between a call that found nothing and the spell around it."""
    assert call.end is not None
    links = chain(spell.lives, call.start, call.end)
    edges = edge(links[0].put, call)
    for held, following in zip(links, [*links[1:], None], strict=True):
        if following is not None:
            edges += edge(following.put, held.take)
        if held.take is not None:
            edges += edge(held.take, call, f"not empty until {held.value} is out")
        elif held.put is None:
            edges += edge(call, call, f"{held.value} was there from the beginning and stays")
        else:
            edges += edge(call, held.put, f"not empty once {held.value} is in, which stays")
    edges += edge(call, links[-1].take)
    elements = frozenset(life.value for life in links)
    return Contradiction(elements=elements, observers=(call,), edges=edges)
