"""A history as columns: what a million operations look like to a checker.

Rules of this file:
- One row an operation of a client, in order of invocation. Rows say the same as
  `History.operations()`; a test holds the two together.
- Values are numbers that stand for distinct JSON values: two rows have equal numbers exactly when
  the values are the same (`checker.values`). Number 0 is null. Numbers are given in order of
  appearance: all inputs, row by row, then all outputs; the parts of a list of two before the list.
- Indexes and times fit 63 bits and are not negative (`NEVER` means none); processes fit 64 bits.
  A history that says otherwise is refused, with the event's index and the number.
- Arrays are never written to once they are here.
- No clock, no randomness, no disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from checker.history import Event, EventType, History, HistoryError, Operation
from checker.values import canonical

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]

OK, FAIL, INFO = 0, 1, 2
TYPES = (EventType.OK, EventType.FAIL, EventType.INFO)
NEVER = -1  # in place of a position or a time: there is none
NULL_VALUE = 0
LONG_MAX = 2**63 - 1


class Values:
    """Distinct JSON values and their numbers; a list of two also knows its parts' numbers."""

    def __init__(self) -> None:
        self.decoded: list[Any] = [None]
        self.first: list[int] = [-1]  # of a list of two: the number of its first part, else -1
        self.second: list[int] = [-1]
        self._integers: dict[int, int] = {}
        self._strings: dict[str, int] = {}
        self._pairs: dict[tuple[int, int], int] = {}
        self._texts: dict[str, int] = {}  # everything else, by its canonical text
        self._arrays: tuple[Ints, Ints] | None = None
        self._unlisted = False  # restored, and nobody has asked for a number since

    @classmethod
    def restored(cls, decoded: list[Any], firsts: Ints, seconds: Ints) -> Values:
        """Return the values with these numbers; they must be what `number` would have given."""
        values = cls()
        values.decoded, values._arrays = decoded, (firsts, seconds)
        values.first, values.second = firsts.tolist(), seconds.tolist()
        values._unlisted = True
        return values

    def __len__(self) -> int:
        return len(self.decoded)

    @property
    def firsts(self) -> Ints:
        """`first` as an array."""
        return self._parts()[0]

    @property
    def seconds(self) -> Ints:
        """`second` as an array."""
        return self._parts()[1]

    def number(self, value: Any) -> int:
        """Return the number of a decoded JSON value, a new one if it is new.

        Raises `ValueError` if the value has no canonical text.
        """
        if self._unlisted:
            self._list()
        if value is None:
            return NULL_VALUE
        if type(value) is int:
            known = self._integers.get(value)
            if known is None:
                known = self._integers[value] = self._new(value)
            return known
        if type(value) is str:
            known = self._strings.get(value)
            if known is None:
                known = self._strings[value] = self._new(value)
            return known
        if isinstance(value, list | tuple) and len(value) == 2:
            return self._pair(value)
        return self._other(value)

    def find(self, value: Any) -> int | None:
        """Return the number of a decoded JSON value, `None` if no value here is the same."""
        if self._unlisted:
            self._list()
        if value is None:
            return NULL_VALUE
        if type(value) is int:
            return self._integers.get(value)
        if type(value) is str:
            return self._strings.get(value)
        if isinstance(value, list | tuple) and len(value) == 2:
            first, second = self.find(value[0]), self.find(value[1])
            return None if first is None or second is None else self._pairs.get((first, second))
        if isinstance(value, float) and value.is_integer():
            return self._integers.get(int(value))
        return self._texts.get(canonical(value))

    def numbers(self, values: Iterable[Any]) -> Ints:
        """Return the numbers of many values, as `number` gives them one after another."""
        if self._unlisted:
            self._list()
        found: list[int] = []
        append, integers, number_of = found.append, self._integers, self.number
        for value in values:
            known = integers.get(value) if type(value) is int else None
            append(number_of(value) if known is None else known)
        return np.array(found, dtype=np.int32)

    def text(self, number: int) -> str:
        """Return the canonical text of a value."""
        return canonical(self.decoded[number])

    def _list(self) -> None:
        """Fill the tables that tell known values; a million restored values need them rarely."""
        self._unlisted = False
        for number, value in enumerate(self.decoded):
            if type(value) is int:
                self._integers[value] = number
            elif type(value) is str:
                self._strings[value] = number
            elif self.first[number] != -1:
                self._pairs[self.first[number], self.second[number]] = number
            elif value is not None:
                self._texts[canonical(value)] = number

    def _pair(self, value: Any) -> int:
        # Two lists of two are the same exactly when their parts are: no text is needed.
        try:
            parts = self.number(value[0]), self.number(value[1])
        except RecursionError:
            raise ValueError("a value that is nested too deeply") from None
        known = self._pairs.get(parts)
        if known is None:
            known = self._pairs[parts] = self._new(value)
            self.first[known], self.second[known] = parts
        return known

    def _other(self, value: Any) -> int:
        if isinstance(value, str):
            return self.number(str(value))  # a keyword: its name is its value
        if isinstance(value, float) and value.is_integer():
            return self.number(int(value))
        text = canonical(value)
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = self._new(value)
        return known

    def _new(self, value: Any) -> int:
        self.decoded.append(value)
        self.first.append(-1)
        self.second.append(-1)
        return len(self.decoded) - 1

    def _parts(self) -> tuple[Ints, Ints]:
        if self._arrays is None or len(self._arrays[0]) != len(self.first):
            self._arrays = np.array(self.first, np.int32), np.array(self.second, np.int32)
        return self._arrays


class Names(dict[Any, int]):
    """Numbers for names, in order of first appearance; ``names[name]`` numbers a new one.

    A name that is neither text nor `None` is the same name as its canonical text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str | None] = []

    def __missing__(self, name: Any) -> int:
        if name is None or isinstance(name, str):
            self.listed.append(name)
            number = len(self.listed) - 1
        else:
            number = self[canonical(name)]
        self[name] = number
        return number


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """The operations of a history, one array a property; all have the same length.

    `start` and `end` are positions in the order of the clients' events, as in `Operation`; `end`
    is `NEVER` where the operation may take effect at any later time (`info`, or never completed).
    `index` is the index of the invocation event, `end_index` that of the completion's. Times are
    in nanoseconds, `NEVER` where there are none. `function`, `key` and `node` are places in the
    tuples of that name; `keys` is in order of first appearance and `None` is the key of an
    operation without one. `error` is a place in `errors` of the completion's error code.
    `input` and `output` are numbers of `values`: what was asked, and what was answered (null
    without a completion).
    """

    index: Longs
    end_index: Longs
    process: Longs
    type: Bytes
    function: Ints
    key: Ints
    input: Ints
    output: Ints
    start: Longs
    end: Longs
    start_ns: Longs
    end_ns: Longs
    node: Ints
    error: Ints
    functions: tuple[str, ...]
    keys: tuple[str | None, ...]
    nodes: tuple[str | None, ...]
    errors: tuple[str | None, ...]
    values: Values
    source: str = "<memory>"
    format: str = "jsonl"
    torn_tail: str | None = field(default=None)

    def __len__(self) -> int:
        return len(self.index)

    def operation(self, row: int) -> Operation:
        """Return one row as the `Operation` that `History.operations()` has in that place."""
        end = int(self.end[row])
        completed = int(self.end_index[row]) != NEVER
        return Operation(
            invocation=self.invocation(row),
            completion=self.completion(row) if completed else None,
            start=int(self.start[row]),
            end=None if end == NEVER else end,
        )

    def invocation(self, row: int) -> Event:
        """Return the event that began an operation."""
        time = int(self.start_ns[row])
        return Event(
            index=int(self.index[row]),
            time=None if time == NEVER else time,
            process=int(self.process[row]),
            type=EventType.INVOKE,
            f=self.functions[self.function[row]],
            value=self.values.decoded[self.input[row]],
            key=self.keys[self.key[row]],
            node=self.nodes[self.node[row]],
        )

    def completion(self, row: int) -> Event:
        """Return the event that ended an operation which has one (`end_index`)."""
        time = int(self.end_ns[row])
        return Event(
            index=int(self.end_index[row]),
            time=None if time == NEVER else time,
            process=int(self.process[row]),
            type=TYPES[self.type[row]],
            f=self.functions[self.function[row]],
            value=self.values.decoded[self.output[row]],
            key=self.keys[self.key[row]],
            node=self.nodes[self.node[row]],
            error=self.errors[self.error[row]],
        )


def columns_of(history: History) -> Columns:
    """Return the columns of a history held as events; raises what `History.operations` raises.

    Raises `HistoryError` for a number that does not fit and a value that cannot be walked, too.
    """
    operations = history.operations()
    values = Values()
    functions, keys, nodes, errors = Names(), Names(), Names(), Names()

    def longs(numbers: Iterable[int]) -> Longs:
        return np.fromiter(numbers, dtype=np.int64, count=len(operations))

    def ints(numbers: Iterable[int]) -> Ints:
        return np.fromiter(numbers, dtype=np.int32, count=len(operations))

    def valued(event: Event | None) -> int:
        if event is None:
            return NULL_VALUE
        try:
            return values.number(event.value)
        except (ValueError, TypeError) as error:
            raise HistoryError(
                f"{history.source}: event {event.index}: value is not usable: {error}"
            ) from None

    for event in history.client_events:
        _require_fit(history.source, event)
    kinds = {kind: number for number, kind in enumerate(TYPES)}
    ends = [operation.completion for operation in operations]
    return Columns(
        index=longs(o.invocation.index for o in operations),
        end_index=longs(NEVER if e is None else e.index for e in ends),
        process=longs(int(o.invocation.process) for o in operations),
        type=ints(kinds[o.type] for o in operations).astype(np.int8),
        function=ints(functions[o.f] for o in operations),
        key=ints(keys[o.key] for o in operations),
        input=ints(valued(o.invocation) for o in operations),
        output=ints(valued(e) for e in ends),
        start=longs(o.start for o in operations),
        end=longs(NEVER if o.end is None else o.end for o in operations),
        start_ns=longs(_time(o.invocation) for o in operations),
        end_ns=longs(NEVER if e is None else _time(e) for e in ends),
        node=ints(nodes[o.invocation.node] for o in operations),
        error=ints(errors[None if e is None else e.error] for e in ends),
        functions=tuple(map(str, functions.listed)),
        keys=tuple(keys.listed),
        nodes=tuple(nodes.listed),
        errors=tuple(errors.listed),
        values=values,
        source=history.source,
        format=history.format,
        torn_tail=history.torn_tail,
    )


def events_of(columns: Columns) -> Iterator[Event]:
    """Yield the clients' events in order: `columns_of` a history of them says the same again.

    What columns do not hold is not there: events of the nemesis, and of a completion the key and
    the node (they are its invocation's).
    """
    completed = columns.end_index != NEVER
    events = len(columns) + int(np.count_nonzero(completed))
    row_at = np.full(events, NEVER, dtype=np.int64)
    row_at[columns.start] = np.arange(len(columns))
    begins = np.zeros(events, dtype=np.bool_)
    begins[columns.start] = True
    ended = np.flatnonzero(columns.end != NEVER)
    row_at[columns.end[ended]] = ended
    # The positions that are left are those of the indeterminate completions, which columns do not
    # keep. In order of time, then of start, each comes after its invocation: if some assignment
    # within one time does that (the history's own did), the one that sorts both sides does.
    unplaced = np.flatnonzero(completed & (columns.end == NEVER))
    unplaced = unplaced[np.lexsort((columns.start[unplaced], columns.end_ns[unplaced]))]
    row_at[row_at == NEVER] = unplaced
    for row, begin in zip(row_at.tolist(), begins.tolist(), strict=True):
        yield columns.invocation(row) if begin else columns.completion(row)


def _require_fit(source: str, event: Event) -> None:
    process = event.process
    if isinstance(process, str) or not -LONG_MAX - 1 <= process <= LONG_MAX:
        what, number, expected = "process", process, "an integer of 64 bits"
    elif not 0 <= event.index <= LONG_MAX:
        what, number, expected = "index", event.index, "0 to 2^63 - 1"
    elif event.time is not None and not 0 <= event.time <= LONG_MAX:
        what, number, expected = "time", event.time, "0 to 2^63 - 1"
    else:
        return
    raise HistoryError(
        f"{source}: event {event.index!r:.40}: {what} is {number!r:.40}, expected {expected}"
    )


def _time(event: Event) -> int:
    return NEVER if event.time is None else event.time
