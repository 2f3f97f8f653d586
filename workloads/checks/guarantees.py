"""The four session guarantees, for lists that are appended to and read whole.

Rules of this file:
- A session is a process of the history and one key. Its operations follow each other, so the
  order of invocation is its order.
- An append in doubt may be there or not: nothing is demanded of it but that, if it is there, what
  has to come before it does. One that was refused is not looked at.
- Whether reads of different sessions agree is not the business of these checks: they compare a read
  with what its own session knows, or with what the session of a value in it knew.
- Pure. After Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (1994).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from checker.history import EventType, HistoryError, Operation
from checker.values import canonical
from workloads.checks.finding import Finding

Elements = tuple[Hashable, ...]


def read_your_writes(operations: Sequence[Operation]) -> Finding | None:
    """Find a read without an acknowledged earlier append of its own session."""
    for session in _sessions(operations):
        acknowledged: list[Operation] = []
        for operation in session:
            if operation.type is not EventType.OK:
                continue
            if operation.f == "append":
                acknowledged.append(operation)
                continue
            seen = frozenset(_elements(operation))
            for append in acknowledged:
                if _appended(append) not in seen:
                    return _finding(
                        f"{_who(append)} appended {append.input!r:.80}, and did not see it later",
                        append,
                        operation,
                    )
    return None


def monotonic_reads(operations: Sequence[Operation]) -> Finding | None:
    """Find a read that does not begin with what its session read before."""
    for session in _sessions(operations):
        reads = [one for one in session if one.f == "read" and one.type is EventType.OK]
        for earlier, later in pairwise(reads):
            before = _elements(earlier)
            if _elements(later)[: len(before)] != before:
                return _finding(
                    f"{_who(later)} read {len(before)} values, and later a list that does not "
                    "begin with them",
                    earlier,
                    later,
                )
    return None


def monotonic_writes(operations: Sequence[Operation]) -> Finding | None:
    """Find a read with an append but not, before it, an earlier one of the same session.

    It is enough to look at appends next to each other: what holds of each two holds of all.
    """
    follows: dict[str | None, dict[Hashable, tuple[Operation, Operation]]] = {}
    for session in _sessions(operations):
        appends = [one for one in session if one.f == "append" and one.type is not EventType.FAIL]
        for first, second in pairwise(appends):
            follows.setdefault(first.key, {})[_appended(second)] = first, second
    for read, seen in _different_reads(operations):
        places = _places(seen)
        for value, (first, second) in follows.get(read.key, {}).items():
            if value in places and places.get(_appended(first), len(seen)) > places[value]:
                return _finding(
                    f"{_who(first)} appended {first.input!r:.80} and then {second.input!r:.80}; "
                    "a read has the second without the first before it",
                    first,
                    second,
                    read,
                )
    return None


def writes_follow_reads(operations: Sequence[Operation]) -> Finding | None:
    """Find a read with an append but not, before it, what its session had read until then."""
    known: dict[str | None, dict[Hashable, tuple[Operation, Operation]]] = {}
    for session in _sessions(operations):
        last: Operation | None = None
        for operation in session:
            if operation.f == "read":
                last = operation if operation.type is EventType.OK else last
            elif last is not None and operation.type is not EventType.FAIL:
                known.setdefault(last.key, {})[_appended(operation)] = last, operation
    for read, seen in _different_reads(operations):
        places = _places(seen)
        for value, (earlier, append) in known.get(read.key, {}).items():
            before = _elements(earlier)
            if value in places and seen[: places[value]][: len(before)] != before:
                return _finding(
                    f"{_who(append)} read {len(before)} values and then appended "
                    f"{append.input!r:.80}; a read has that without those before it",
                    earlier,
                    append,
                    read,
                )
    return None


def _sessions(operations: Iterable[Operation]) -> Iterable[list[Operation]]:
    """Return the appends and reads of each process on each key, in order."""
    sessions: dict[tuple[int | str, str | None], list[Operation]] = {}
    for operation in operations:
        if operation.f in ("append", "read"):
            session = operation.invocation.process, operation.key
            sessions.setdefault(session, []).append(operation)
    return sessions.values()


def _different_reads(operations: Iterable[Operation]) -> Iterator[tuple[Operation, Elements]]:
    """Yield the first read of each list that was seen of a key."""
    known: set[tuple[str | None, Elements]] = set()
    for operation in operations:
        if operation.f == "read" and operation.type is EventType.OK:
            seen = _elements(operation)
            if (operation.key, seen) not in known:
                known.add((operation.key, seen))
                yield operation, seen


def _elements(read: Operation) -> Elements:
    """Return what a read saw. Raises `HistoryError` if that is no list."""
    if read.output is None:
        return ()
    if not isinstance(read.output, list | tuple):
        raise HistoryError(
            f"event {read.invocation.index}: a read answers {read.output!r:.80}, expected a list "
            "or null"
        )
    return tuple([_comparable(value) for value in read.output])


def _appended(append: Operation) -> Hashable:
    return _comparable(append.input)


def _comparable(value: object) -> Hashable:
    """Return something hashable that is equal for the same JSON value only."""
    return value if type(value) is int else canonical(value)


def _places(seen: Elements) -> Mapping[Hashable, int]:
    """Return where each value stands first."""
    places: dict[Hashable, int] = {}
    for place, value in enumerate(seen):
        places.setdefault(value, place)
    return places


def _who(operation: Operation) -> str:
    return f"process {operation.invocation.process}"


def _finding(summary: str, *operations: Operation) -> Finding:
    return Finding(summary=summary, operations=operations, key=operations[-1].key)
