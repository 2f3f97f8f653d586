"""Lists that are appended to and read whole.

Rules of this file:
- Distinct values; exact; linear in the length of all reads together, but for the sorting.
- The longest read gives the order of the appends, so everything has its place: a read of
  length i after the i-th append and before the next, what nobody read after all reads.
  Only calls with the same place are free, and any order that suits real time does for them.
- Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from checker.calls import Call, Calls
from checker.containers.outcome import (
    NEVER,
    RETURNED_FIRST,
    Contradiction,
    Decision,
    Edge,
    edge,
    refuted,
    valid,
)


def decide_list(calls: Calls, initial: tuple[str, ...]) -> Decision | None:
    """Decide a list that begins as `initial`."""
    appends: dict[str, Call] = {}
    reads: list[tuple[tuple[str, ...], Call]] = []
    for call in calls:
        if call.action[0] == "append":
            value = str(call.action[1])
            if value in appends:
                return None
            appends[value] = call
        elif not call.optional:
            reads.append((_texts(call), call))
    if len(set(initial)) < len(initial) or not appends.keys().isdisjoint(initial):
        return None
    found = _read_wrong(reads, appends, initial) or _placed(reads, appends, initial)
    if isinstance(found, Contradiction):
        return refuted(calls, found, starts_empty=not initial)
    return valid(found)


def _read_wrong(
    reads: Sequence[tuple[tuple[str, ...], Call]],
    appends: dict[str, Call],
    initial: tuple[str, ...],
) -> Contradiction | None:
    """Return a read of what no list can be, or two reads of which none is a prefix of the other.

    All are prefixes of the longest exactly if they are of each other.
    """
    longest, reader = max(reads, key=lambda read: len(read[0]), default=((), None))
    if reader is None:
        return None
    for read, call in reads:
        if read != longest[: len(read)]:
            return _parted(read, call, longest, reader)
        if read[: len(initial)] != initial:
            missing = next(v for n, v in enumerate(initial) if read[n : n + 1] != (v,))
            edges = edge(call, call, f"{missing} is there from the beginning, in its place")
            return Contradiction(elements=frozenset({missing}), observers=(call,), edges=edges)
    seen: set[str] = set()
    for place, value in enumerate(longest):
        if value in seen or (place >= len(initial) and value not in appends):
            reason = "twice" if value in seen else "appended by nobody"
            edges = edge(reader, reader, f"{value} is read, {reason}")
            return Contradiction(elements=frozenset({value}), observers=(reader,), edges=edges)
        seen.add(value)
    return None


def _parted(
    read: tuple[str, ...], call: Call, longest: tuple[str, ...], reader: Call
) -> Contradiction:
    """Return the contradiction between two reads, from the first place in which they differ.

    Each has its own element there before the other's, or without it; or it is there twice.
    """
    one, other = next(
        (one, other) for one, other in zip(read, longest, strict=False) if one != other
    )
    edges = edge(call, reader, f"read {one} where the other has {other}")
    edges += edge(reader, call, f"read {other} where the other has {one}")
    return Contradiction(elements=frozenset({one, other}), observers=(call, reader), edges=edges)


def _placed(
    reads: Sequence[tuple[tuple[str, ...], Call]],
    appends: dict[str, Call],
    initial: tuple[str, ...],
) -> list[Call] | Contradiction:
    """Return the calls in order of their places, or two of which the later had returned first.

    Places: a read of length n is in 2n, the append of the element at place n in 2n + 1.
    A crashed append that nobody read is left out: it could only come after all reads.
    """
    longest, reader = max(reads, key=lambda read: len(read[0]), default=((), None))
    order: list[tuple[int, int, Call]] = [(2 * len(read), call.start, call) for read, call in reads]
    unread = dict(appends)
    for place in range(len(initial), len(longest)):
        call = unread.pop(longest[place])
        order.append((2 * place + 1, call.start, call))
    order += [(NEVER, call.start, call) for call in unread.values() if not call.optional]
    order.sort(key=lambda item: item[:2])
    latest: tuple[int, Call] | None = None
    for place, _, call in order:
        if latest is not None and call.end is not None and call.end < latest[1].start:
            return _late(latest, (place, call), longest, reader)
        if latest is None or call.start > latest[1].start:
            latest = place, call
    return [call for _, _, call in order]


def _late(
    first: tuple[int, Call],
    second: tuple[int, Call],
    longest: tuple[str, ...],
    reader: Call | None,
) -> Contradiction:
    """Return the contradiction between the places of two calls and real time.

    Two appends are told apart by the longest read, which has the first of them, and the second
    after it or not at all. A read and an append are by the read: it has the append's element, or
    lacks it. Two reads are by the first element that the one has and the other lacks.
    """
    (place, before), (_, after) = first, second
    appended = [call for call in (before, after) if call.action[0] == "append"]
    observers = [call for call in (before, after) if call.action[0] == "read"]
    if len(appended) == 2 and reader is not None:
        observers = [reader]
    elements = {str(call.action[1]) for call in appended} or {longest[place // 2]}
    edges: tuple[Edge, ...] = edge(after, before, RETURNED_FIRST)
    shown = " and ".join(sorted(elements))
    edges += edge(before, after, f"the order in which {shown} can be read")
    return Contradiction(elements=frozenset(elements), observers=tuple(observers), edges=edges)


def _texts(call: Call) -> tuple[str, ...]:
    read = call.action[1]
    assert isinstance(read, tuple)
    return read
