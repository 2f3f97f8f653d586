"""The fast way from a file to columns: events by the thousand, paired by sorting.

Rules of this file:
- It accepts only what it understands completely. Whatever is out of the ordinary is `Irregular`,
  and the exact reader of that format decides: it gives the right answer or the precise error. So
  there is one definition of what a history is, and a test holds the two ways together.
- A process' events, in the order of writing, must be invocation, completion, invocation, ... and
  end after an `info`: `History.operations` in the language of arrays.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from checker.columns import INFO, NEVER, Bytes, Columns, Ints, Longs, Names, Values
from checker.formats.interning import ValueDraft
from checker.history import NEMESIS

_INVOKE = 3
_KINDS = {"ok": 0, "fail": 1, "info": 2, "invoke": _INVOKE}
_SMALL = 1 << 16  # numbers below are sorted by radix, in linear time


class Irregular(Exception):
    """Not what the fast way understands."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the cycle collector away: it would walk millions of new values that have no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Part(NamedTuple):
    process: Longs
    kind: Bytes
    function: Ints
    key: Ints
    node: Ints
    error: Ints
    time: Longs
    number: Longs
    place: Longs


class Draft:
    """Events on their way to columns. Events of the nemesis are counted and left out."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._values = ValueDraft()
        self._functions, self._keys, self._nodes, self._errors = (Names() for _ in range(4))
        self._events = 0
        self._untimed = 0

    def add(
        self,
        *,
        process: Sequence[Any],
        kind: Iterable[str],
        f: Sequence[str],
        key: Sequence[Any],
        value: Sequence[Any],
        time: Sequence[Any],
        index: Sequence[Any] | None,
        node: Sequence[Any],
        error: Sequence[Any],
    ) -> None:
        """Add events in the order of the file.

        Processes are integers or `NEMESIS`, times integers or `None`, indexes integers (without:
        the place in the file), names text, integers or `None`. Raises `Irregular`.
        """
        count = len(process)
        place = np.arange(self._events, self._events + count, dtype=np.int64)
        self._events += count
        if not count:
            return
        untimed = time[0] is None  # some but not all: `None` is no integer, refused below
        if untimed:
            self._untimed += count
            if time.count(None) != count:
                raise Irregular
        client = None
        if NEMESIS in process:
            client = np.fromiter((type(one) is not str for one in process), np.bool_, count)
            process = [0 if type(one) is str else one for one in process]
        try:
            part = _Part(
                process=np.fromiter(process, np.int64, count),
                kind=np.fromiter(map(_KINDS.__getitem__, kind), np.int8, count),
                function=_named(self._functions, f),
                key=_named(self._keys, key),
                node=_named(self._nodes, node),
                error=_named(self._errors, error),
                time=np.full(count, NEVER) if untimed else np.fromiter(time, np.int64, count),
                number=place if index is None else np.fromiter(index, np.int64, count),
                place=place,
            )
        except (TypeError, ValueError, OverflowError, KeyError):
            raise Irregular from None
        if client is not None:
            part = _Part._make(column[client] for column in part)
            value = [one for one, kept in zip(value, client.tolist(), strict=True) if kept]
        self._parts.append(part)
        self._values.add(value)

    def index_by_place(self) -> None:
        """Forget the indexes that were given: an event's index is its place in the file."""
        self._parts = [part._replace(number=part.place) for part in self._parts]

    def columns(self, *, source: str, format: str, torn_tail: str | None = None) -> Columns:  # noqa: A002
        """Pair the events; raise `Irregular` wherever `History.operations` might object."""
        events = self._joined()
        order = self._order(events)
        position = np.empty(len(order), dtype=np.int64)
        position[order] = np.arange(len(order))
        invoked, completed = _pairs(events, order, position)
        by_start = np.argsort(position[invoked], kind="stable")
        invoked, completed = invoked[by_start], completed[by_start]
        has_end = completed != NEVER
        # Rows without a completion look at event 0 and are then overwritten.
        ended = np.where(has_end, completed, 0)
        kind = np.where(has_end, events.kind[ended], INFO).astype(np.int8)
        values, inputs, outputs = self._numbered(invoked, completed)
        function, functions = _by_appearance(events.function[invoked], self._functions)
        key, keys = _by_appearance(events.key[invoked], self._keys)
        node, nodes = _by_appearance(events.node[invoked], self._nodes)
        nothing = self._errors[None]
        error, errors = _by_appearance(
            np.where(has_end, events.error[ended], np.int32(nothing)), self._errors
        )

        def of_end(column: Longs, where: npt.NDArray[np.bool_] = has_end) -> Longs:
            return np.where(where, column[ended], NEVER)

        return Columns(
            index=events.number[invoked],
            end_index=of_end(events.number),
            process=events.process[invoked],
            type=kind,
            function=function,
            key=key,
            input=inputs,
            output=outputs,
            start=position[invoked],
            end=of_end(position, has_end & (kind != INFO)),
            start_ns=events.time[invoked],
            end_ns=of_end(events.time),
            node=node,
            error=error,
            functions=tuple(map(str, functions)),
            keys=keys,
            nodes=nodes,
            errors=errors,
            values=values,
            source=source,
            format=format,
            torn_tail=torn_tail,
        )

    def _joined(self) -> _Part:
        if not sum(len(part.kind) for part in self._parts):
            raise Irregular
        if self._untimed not in (0, self._events):
            raise Irregular
        events = _Part._make(np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        self._parts = []
        if events.number.min() < 0 or (not self._untimed and events.time.min() < 0):
            raise Irregular
        return events

    def _order(self, events: _Part) -> Longs:
        """The events in the order that counts (`in_order`)."""
        if self._untimed:
            return np.arange(len(events.kind))
        return np.lexsort((events.kind != _INVOKE, events.time))

    def _numbered(self, invoked: Longs, completed: Longs) -> tuple[Values, Ints, Ints]:
        try:
            return self._values.numbers(invoked, completed)
        except ValueError:
            raise Irregular from None


def _pairs(events: _Part, order: Longs, position: Longs) -> tuple[Longs, Longs]:
    """Return the invocations and, for each, its completion (or `NEVER`), by process."""
    written = order
    if np.all(events.number[1:] > events.number[:-1]):
        written = np.arange(len(order))
    else:
        written = order[np.argsort(events.number[order], kind="stable")]
    process = events.process[written]
    least = process.min()
    if process.max() - int(least) < _SMALL:
        process = (process - least).astype(np.uint16)
    by_process = np.argsort(process, kind="stable")
    process, written = process[by_process], written[by_process]
    kind = events.kind[written]

    places = np.arange(len(written))
    begins = np.ones(len(written), dtype=np.bool_)
    begins[1:] = process[1:] != process[:-1]
    ends = np.ones(len(written), dtype=np.bool_)
    ends[:-1] = begins[1:]
    rank = places - np.maximum.accumulate(np.where(begins, places, 0))
    invokes = (rank & 1) == 0
    if not np.array_equal(invokes, kind == _INVOKE) or not np.all(ends[kind == INFO]):
        raise Irregular

    where = np.flatnonzero(invokes)
    invoked = written[where]
    has_end = ~ends[where]
    completed = np.full(len(invoked), NEVER, dtype=np.int64)
    completed[has_end] = written[where[has_end] + 1]
    first, last = invoked[has_end], completed[has_end]
    if np.any(position[last] < position[first]):
        raise Irregular
    if np.any(events.function[first] != events.function[last]):
        raise Irregular
    return invoked, completed


def _named(names: Names, given: Sequence[Any]) -> Ints:
    if given[0] is None and given.count(None) == len(given):
        return np.full(len(given), names[None], dtype=np.int32)
    return np.fromiter(map(names.__getitem__, given), np.int32, len(given))


def _by_appearance(numbers: Ints, names: Names) -> tuple[Ints, tuple[str | None, ...]]:
    """Number names anew, in order of first appearance in `numbers`; unused ones are gone."""
    never = len(numbers)
    first = np.full(len(names.listed), never, dtype=np.int64)
    # Of several assignments to one place the last counts: from the back, the first appearance.
    first[numbers[::-1]] = np.arange(never - 1, -1, -1)
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < never)]
    renumbered = np.zeros(len(names.listed), dtype=np.int32)
    renumbered[order] = np.arange(len(order))
    return renumbered[numbers], tuple(names.listed[place] for place in order.tolist())
