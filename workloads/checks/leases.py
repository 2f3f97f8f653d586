"""Locks with a time to live: what a model of locks has to be told of leases that end by themselves.

Rules of this file:
- A lease may end at any moment from *(the invocation of its acquire) + (its time to live)* on, and
  not before: whenever the acquire took effect, it was not before its invocation. That end is one
  more release, which may happen from then on, or never: an operation in doubt, by a process of
  its own.
- Every acquire has an owner of its own, so all releases by that owner end this lease. Then
  what is in doubt about a lease need not stay so, and only one optional operation is kept:
  - it was released (`ok`): it was held until then, and ended in no other way;
  - it was acquired, and no release was acknowledged: whichever release in doubt was sent first, or
    the end by itself if that may come before, can do whatever the others can;
  - the acquire is in doubt and nothing was released: whoever finds the lock free, or gets a larger
    token, does so as well without it. It is left out.
- So the history has an order exactly if the one that was kept has a lawful one: no false alarm, and
  nothing excused. Without this, every lost acquire would double the orders to be searched.
- Original events keep their indexes, new ones come above them; all are in order of time. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from checker.history import Event, EventType, History, HistoryError, Operation, in_order
from checker.models.owner import owner_of

_NS_PER_MS: Final = 1_000_000


def with_ends_of_leases(history: History) -> History:
    """Return the history with the ends of leases, and without what says nothing.

    Raises `HistoryError` if one owner acquires a lock twice, or if times are missing.
    """
    operations = [one for one in history.operations() if one.type is not EventType.FAIL]
    releases: dict[tuple[str | None, str], list[Operation]] = {}
    for operation in operations:
        if operation.f == "release":
            releases.setdefault((operation.key, owner_of(operation)), []).append(operation)
    dropped: set[int] = set()
    ends: list[tuple[int, Operation]] = []
    for name, acquire in _acquires(operations, history.source).items():
        mine = releases.get(name, [])
        lost = [one for one in mine if one.type is EventType.INFO]
        if len(lost) == len(mine):  # no release was acknowledged
            if acquire.type is EventType.INFO:
                lost.append(acquire)
            else:
                ends_at = _earliest_end(acquire, history.source)
                if ends_at is not None and (not lost or ends_at < (lost[0].invocation.time or 0)):
                    ends.append((ends_at, acquire))
                else:
                    del lost[:1]
        dropped |= _indexes(lost)
    kept = [event for event in history.events if event.index not in dropped]
    return replace(history, events=in_order((*kept, *_releases(history, ends))))


def _acquires(
    operations: Iterable[Operation], source: str
) -> dict[tuple[str | None, str], Operation]:
    """Return the acquires that happened or may have, by lock and owner."""
    acquires: dict[tuple[str | None, str], Operation] = {}
    for operation in operations:
        if operation.f != "acquire":
            continue
        name = operation.key, owner_of(operation)
        if name in acquires:
            raise HistoryError(
                f"{source}: event {operation.invocation.index}: owner {name[1]} acquires "
                f"{name[0]} again; leases need an owner of another name for every acquire"
            )
        acquires[name] = operation
    return acquires


def _earliest_end(acquire: Operation, source: str) -> int | None:
    """Return when the lease may end at the earliest, `None` for a lock that is held for ever."""
    invoked = acquire.invocation
    ttl_ms = acquire.input.get("ttl_ms") if isinstance(acquire.input, dict) else None
    if ttl_ms is None:
        return None
    where = f"{source}: event {invoked.index}"
    if isinstance(ttl_ms, bool) or not isinstance(ttl_ms, int):
        raise HistoryError(f"{where}: ttl_ms is {ttl_ms!r:.80}, expected whole milliseconds")
    if invoked.time is None:
        raise HistoryError(
            f"{where} acquires a lock for {ttl_ms} ms but has no time: nobody can say when that is "
            "over"
        )
    return invoked.time + ttl_ms * _NS_PER_MS


def _indexes(operations: Iterable[Operation]) -> set[int]:
    """Return the indexes of the events of operations."""
    events = [event for one in operations for event in (one.invocation, one.completion)]
    return {event.index for event in events if event is not None}


def _releases(history: History, ends: Iterable[tuple[int, Operation]]) -> list[Event]:
    """Return a release that is never answered for each (time, acquire)."""
    index = max((event.index for event in history.events), default=0) + 1
    used = [event.process for event in history.events if isinstance(event.process, int)]
    process = max(used, default=-1) + 1
    return [
        Event(
            index=index + number,
            time=ends_at,
            process=process + number,
            type=EventType.INVOKE,
            f="release",
            key=acquire.key,
            value={"owner": (acquire.input or {}).get("owner", acquire.invocation.process)},
        )
        for number, (ends_at, acquire) in enumerate(ends)
    ]
