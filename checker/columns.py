"""A history as columns: what a million operations look like to a checker.

Rules of this file:
- One row an operation of a client, in order of invocation. Rows say the same as
  `History.operations()`; a test holds the two together.
- Values are numbers that stand for distinct JSON values: two rows have equal numbers exactly when
  the values are the same (`checker.values`). Number 0 is null.
- Arrays are never written to once they are here.
- No clock, no randomness, no disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from checker.history import Event, EventType, History, Operation
from checker.values import canonical

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]

OK, FAIL, INFO = 0, 1, 2
TYPES = (EventType.OK, EventType.FAIL, EventType.INFO)
NEVER = -1  # in place of a position or a time: there is none
NULL_VALUE = 0


class Values:
    """Distinct JSON values and their numbers; a list of two also knows its parts' numbers."""

    def __init__(self) -> None:
        self.decoded: list[Any] = [None]
        self.first: list[int] = [-1]  # of a list of two: the number of its first part, else -1
        self.second: list[int] = [-1]
        self._integers: dict[int, int] = {}
        self._texts: dict[str, int] = {"null": NULL_VALUE}

    def __len__(self) -> int:
        return len(self.decoded)

    def number(self, value: Any) -> int:
        """Return the number of a decoded JSON value, a new one if it is new.

        Raises `ValueError` if the value has no canonical text.
        """
        if value is None:
            return NULL_VALUE
        if type(value) is int:
            known = self._integers.get(value)
            if known is None:
                known = self._integers[value] = self._new(value)
            return known
        text = canonical(value)
        known = self._texts.get(text)
        if known is not None:
            return known
        if isinstance(value, float) and value.is_integer():
            return self.number(int(value))
        known = self._texts[text] = self._new(value)
        if isinstance(value, list | tuple) and len(value) == 2:
            first, second = self.number(value[0]), self.number(value[1])
            self.first[known], self.second[known] = first, second
        return known

    def text(self, number: int) -> str:
        """Return the canonical text of a value."""
        return canonical(self.decoded[number])

    def _new(self, value: Any) -> int:
        self.decoded.append(value)
        self.first.append(-1)
        self.second.append(-1)
        return len(self.decoded) - 1


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
        time, end_time = int(self.start_ns[row]), int(self.end_ns[row])
        completed = int(self.end_index[row]) != NEVER
        invocation = Event(
            index=int(self.index[row]),
            time=None if time == NEVER else time,
            process=int(self.process[row]),
            type=EventType.INVOKE,
            f=self.functions[self.function[row]],
            value=self.values.decoded[self.input[row]],
            key=self.keys[self.key[row]],
            node=self.nodes[self.node[row]],
        )
        completion = None
        if completed:
            completion = Event(
                index=int(self.end_index[row]),
                time=None if end_time == NEVER else end_time,
                process=invocation.process,
                type=TYPES[self.type[row]],
                f=invocation.f,
                value=self.values.decoded[self.output[row]],
                key=invocation.key,
                node=invocation.node,
                error=self.errors[self.error[row]],
            )
        end = int(self.end[row])
        return Operation(
            invocation=invocation,
            completion=completion,
            start=int(self.start[row]),
            end=None if end == NEVER else end,
        )


def columns_of(history: History) -> Columns:
    """Return the columns of a history held as events; raises what `History.operations` raises."""
    operations = history.operations()
    values = Values()
    functions, keys, nodes, errors = _Names(), _Names(), _Names(), _Names()

    def longs(numbers: Iterable[int]) -> Longs:
        return np.fromiter(numbers, dtype=np.int64, count=len(operations))

    def ints(numbers: Iterable[int]) -> Ints:
        return np.fromiter(numbers, dtype=np.int32, count=len(operations))

    kinds = {kind: number for number, kind in enumerate(TYPES)}
    ends = [operation.completion for operation in operations]
    return Columns(
        index=longs(o.invocation.index for o in operations),
        end_index=longs(NEVER if e is None else e.index for e in ends),
        process=longs(int(o.invocation.process) for o in operations),
        type=ints(kinds[o.type] for o in operations).astype(np.int8),
        function=ints(functions.number(o.f) for o in operations),
        key=ints(keys.number(o.key) for o in operations),
        input=ints(values.number(o.input) for o in operations),
        output=ints(values.number(o.output) for o in operations),
        start=longs(o.start for o in operations),
        end=longs(NEVER if o.end is None else o.end for o in operations),
        start_ns=longs(_time(o.invocation) for o in operations),
        end_ns=longs(NEVER if e is None else _time(e) for e in ends),
        node=ints(nodes.number(o.invocation.node) for o in operations),
        error=ints(errors.number(None if e is None else e.error) for e in ends),
        functions=functions.names(),
        keys=keys.names(),
        nodes=nodes.names(),
        errors=errors.names(),
        values=values,
        source=history.source,
        format=history.format,
        torn_tail=history.torn_tail,
    )


class _Names:
    """Numbers for names, in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def number(self, name: Any) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def names(self) -> tuple[Any, ...]:
        return tuple(self._numbers)


def _time(event: Event) -> int:
    return NEVER if event.time is None else event.time
