"""Sets that are read whole: exact, by lining up the reads.

Rules of this file:
- Values are added at most once and removed at most once.
- Once the reads stand in a line nothing is left to choose (`checker/containers/read_line.py`), and
  what was read leaves little choice of the line. So the search for it hardly ever goes back; it
  is bounded all the same, and past the bound the answer is `None`.
- Linear in the length of all reads together, times the reads under way at once.
- A contradiction is shrunk to few reads and few elements by deciding smaller histories.
- Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from checker.calls import Call, Calls
from checker.containers.outcome import (
    NEVER,
    RETURNED_FIRST,
    Contradiction,
    Decision,
    Edge,
    edge,
    refuted,
    returned_before,
    shrunk,
    valid,
)
from checker.containers.read_line import Member, Read, earliest, line_up

# Of how many elements both orders of an overlapping add and remove are tried.
_UNDECIDED_MAX = 3


@dataclass(frozen=True, slots=True)
class _Element:
    """What is done with one value: no `add` if it is there from the beginning."""

    value: str
    add: Call | None
    remove: Call | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """An order; or that there is none; or (`given_up`) that nobody knows."""

    order: list[Call] | None
    given_up: bool = False


def decide_set(calls: Calls, initial: frozenset[str]) -> Decision | None:
    """Decide a set that begins as `initial`."""
    adds: dict[str, Call] = {}
    removes: dict[str, Call] = {}
    reads: list[Read] = []
    for call in calls:
        if call.action[0] == "read":
            if not call.optional:
                reads.append(Read(call, frozenset(_texts(call))))
            continue
        value = str(call.action[1])
        done = adds if call.action[0] == "add" else removes
        if value in done:
            return None
        done[value] = call
    if not adds.keys().isdisjoint(initial):
        return None
    found = _misread(reads, initial | adds.keys())
    if found is None:
        elements = [_Element(v, adds.get(v), removes.get(v)) for v in {*initial, *adds, *removes}]
        answer = _answer(elements, reads, initial)
        if answer.given_up:
            return None
        if answer.order is not None:
            return valid(answer.order)
        found = _contradiction(elements, reads, initial)
    return refuted(calls, found, starts_empty=not initial)


def _misread(reads: Sequence[Read], known: Collection[str]) -> Contradiction | None:
    """Return a read of what nobody added, or of something twice."""
    for read in reads:
        texts = _texts(read.call)
        wrong = next((v for v in texts if v not in known), None)
        reason = "added by nobody"
        if wrong is None and len(read.elements) < len(texts):
            wrong = next(v for v in texts if texts.count(v) > 1)
            reason = "twice"
        if wrong is not None:
            edges = edge(read.call, read.call, f"{wrong} is read, {reason}")
            return Contradiction(elements=frozenset({wrong}), observers=(read.call,), edges=edges)
    return None


def _answer(
    elements: Sequence[_Element], reads: Sequence[Read], initial: Collection[str]
) -> _Answer:
    """Order the calls. A remove that finds nothing is always allowed, so there may be a choice.

    Where add and remove of a value overlap either may go first; if the remove does, the value
    stays for ever. If nobody reads it, or if the remove need never happen, the add may as well be
    first: the value then comes and goes at one moment, or goes after all reads. If somebody reads
    it who began after the remove had returned, the remove must be first. Else both are tried.
    """
    # By when a value must be in for its readers, and when the last of them began.
    by_end = sorted(range(len(reads)), key=lambda n: reads[n].call.end or 0)
    by_start = sorted(range(len(reads)), key=lambda n: reads[n].call.start, reverse=True)
    first_done = {v: reads[n].call.end or 0 for v, n in earliest(by_end, reads).items()}
    last_begun = {v: reads[n].call.start for v, n in earliest(by_start, reads).items()}
    kept: list[tuple[_Element, bool | None]] = []  # with: whether it stays; `None`: undecided
    idle: list[Call] = []
    for element in elements:
        v, add, remove = element.value, element.add, element.remove
        if add is None and v not in initial:
            idle += [remove] if remove is not None and not remove.optional else []
        elif add is not None and add.optional and v not in first_done:
            # Nobody saw it, so it need not have happened; nor, then, does the remove matter.
            idle += [remove] if remove is not None and not remove.optional else []
        elif remove is None or remove.end is None or add is None:
            kept.append((element, remove is None))
        elif remove.end < add.start:
            kept.append((element, True))
        elif v not in first_done or min(add.end or NEVER, first_done[v]) < remove.start:
            kept.append((element, False))
        else:
            kept.append((element, True if last_begun[v] > remove.end else None))
    undecided = [n for n, (_, stays) in enumerate(kept) if stays is None]
    tries = 2 ** len(undecided) if len(undecided) <= _UNDECIDED_MAX else 1
    given_up = tries < 2 ** len(undecided)
    for attempt in range(tries):
        choice = {place: attempt >> n & 1 == 1 for n, place in enumerate(undecided)}
        stays = [choice.get(n, bool(known)) for n, (_, known) in enumerate(kept)]
        chosen = [(element, stay) for (element, _), stay in zip(kept, stays, strict=True)]
        line = line_up({element.value: _member(element, stay) for element, stay in chosen}, reads)
        if line.reads is not None:
            return _Answer(_order(line.reads, chosen, idle))
        given_up = given_up or line.given_up
    return _Answer(None, given_up=given_up)


def _member(element: _Element, stays: bool) -> Member:  # noqa: FBT001
    """Return when the value may come and go. Where it stays, a remove goes before the add."""
    add, remove = element.add, element.remove
    in_from, in_by = -1, -1
    if add is not None:
        in_from, in_by = add.start, NEVER if add.end is None else add.end
    if stays or remove is None:
        in_from = in_from if remove is None else max(in_from, remove.start)
        return Member(element.value, in_from, in_by, NEVER, NEVER)
    out_by = NEVER if remove.end is None else remove.end
    return Member(element.value, in_from, in_by, remove.start, out_by)


def _order(
    line: list[tuple[int, Read]],
    chosen: Sequence[tuple[_Element, bool]],
    idle: Sequence[Call],
) -> list[Call]:
    """Return the calls in order: the adds and removes in the gaps between the reads in line.

    Each has a gap and a point. `Member` says what gaps will do; within one the point counts.
    """
    points = [point for point, _ in line]
    reads = [read for _, read in line]
    first = earliest(range(len(line)), reads)
    last = earliest(range(len(line) - 1, -1, -1), reads)
    placed: list[tuple[int, int, Call | None]] = []
    placed += [(bisect_left(points, call.start), call.start, call) for call in idle]
    for element, stays in chosen:
        v, add = element.value, element.add
        remove = None if stays else element.remove
        if stays and element.remove is not None:
            start = element.remove.start
            placed.append((bisect_left(points, start), start, element.remove))
        in_by = -1 if add is None else NEVER if add.end is None else add.end
        if v in first:
            come = first[v]
            placed.append((come, min(in_by, points[come]), add))
            if remove is not None and (last[v] + 1 < len(line) or not remove.optional):
                placed.append((last[v] + 1, max(remove.start, points[last[v]]), remove))
        elif remove is None or in_by < remove.start:
            placed.append((bisect_right(points, in_by), in_by, add))
            if remove is not None:
                placed.append((bisect_left(points, remove.start), remove.start, remove))
        else:
            point = max(-1 if add is None else add.start, remove.start)
            gap = bisect_left(points, point)
            placed += [(gap, point, add), (gap, point, remove)]
    placed += [(place, NEVER + 1, read.call) for place, read in enumerate(reads)]
    placed.sort(key=lambda item: item[:2])
    return [call for _, _, call in placed if call is not None]


def _contradiction(
    elements: Sequence[_Element], reads: Sequence[Read], initial: Collection[str]
) -> Contradiction:
    """Shrink what has no order to few reads and then to few elements."""

    def fails(few: Sequence[_Element], some: Sequence[Read]) -> bool:
        values = frozenset(element.value for element in few)
        seen = [Read(read.call, read.elements & values) for read in some]
        answer = _answer(few, seen, initial)
        return answer.order is None and not answer.given_up

    some = shrunk(reads, lambda fewer: fails(elements, fewer))
    few = shrunk(elements, lambda fewer: fails(fewer, some))
    some = shrunk(some, lambda fewer: fails(few, fewer))
    return Contradiction(
        elements=frozenset(element.value for element in few),
        observers=tuple(read.call for read in some),
        edges=tuple(_edges(few, some)),
    )


def _edges(elements: Sequence[_Element], reads: Sequence[Read]) -> Iterator[Edge]:
    """Say what orders the calls of a small contradiction: real time, and who saw what.

    What must come first is followed up until nothing new comes out of it. A contradiction
    that takes a case distinction need not show a cycle.
    """
    calls = [read.call for read in reads]
    for element in elements:
        calls += [call for call in (element.add, element.remove) if call is not None]
    after: dict[int, set[int]] = {call.index: set() for call in calls}
    found: list[Edge] = []

    def is_before(one: Call | None, other: Call | None) -> bool:
        return one is not None and other is not None and other.index in after[one.index]

    def note(one: Call | None, other: Call | None, reason: str) -> bool:
        if one is None or other is None or is_before(one, other):
            return False
        found.append((one.index, other.index, reason))
        reached = after[other.index] | {other.index}
        for place, those in after.items():
            if place == one.index or one.index in those:
                those |= reached
        return True

    for one in calls:
        for other in calls:
            if returned_before(one, other):
                note(one, other, RETURNED_FIRST)
    news = True
    while news:
        news = False
        for element in elements:
            v, add, remove = element.value, element.add, element.remove
            for read in reads:
                call = read.call
                if v in read.elements:
                    news |= note(add, call, f"it reads {v}")
                    if add is None or is_before(add, remove):
                        news |= note(call, remove, f"it reads {v}")
                    if is_before(remove, call):
                        news |= note(remove, add, f"{v} is read later")
                    continue
                if add is None or is_before(add, call):
                    news |= note(remove, call, f"it does not read {v}")
                if remove is None or is_before(call, remove):
                    news |= note(call, add, f"it does not read {v}")
    yield from found


def _texts(call: Call) -> tuple[str, ...]:
    read = call.action[1]
    assert isinstance(read, tuple)
    return read
