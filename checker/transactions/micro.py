"""Transactions as integer arrays: what their micro-operations read and wrote.

Rules of this file:
- A transaction is an operation whose f is ``txn`` and whose value lists micro-operations:
  ``["r", key, seen]``, and ``["append", key, element]`` or ``["w", key, value]``. Of an `ok` one the
  completion's value counts, of others the invocation's: what they read is not known.
- One row a transaction, in order of invocation; micro-operations row after row. Positions are those
  of `Operation`: A was over before B began exactly when ``end[A] < start[B]``.
- Keys are small numbers. Values are *codes* of 64 bits: an integer is its own code, any other JSON
  value has one near the lower end; equal codes mean the same JSON value, `NULL_CODE` is null.
- Values are taken in blocks while they are in the processor's cache; no Python object outlives its
  block. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from checker.columns import FAIL, INFO, LONG_MAX, NEVER, OK, Bytes, Columns, Ints, Longs, columns_of
from checker.history import History, HistoryError
from checker.values import canonical

Flags = npt.NDArray[np.bool_]

TXN = "txn"
READ = "r"
WORKLOADS = {"list-append": "append", "rw-register": "w"}
NULL_CODE = -LONG_MAX - 1
_LEAST = -(2**62)  # the least integer that is its own code
_BLOCK = 1 << 12
_ATOMS = frozenset((int, str))


class Codes:
    """Codes for JSON values and back."""

    def __init__(self) -> None:
        self._codes: dict[Any, int] = {}
        self._listed: list[Any] = []

    def code(self, value: Any) -> int:
        """Return the code of a value, a new one if it is new."""
        if value is None:
            return NULL_CODE
        name, value = _name(value)
        if type(name) is int and _LEAST <= name <= LONG_MAX:
            return name
        known = self._codes.get(name)
        if known is None:
            known = self._codes[name] = NULL_CODE + 1 + len(self._listed)
            self._listed.append(value)
        return known

    def codes(self, values: Sequence[Any]) -> Longs:
        """Return the codes of many values."""
        if set(map(type, values)) <= {int}:
            try:
                found = np.array(values, dtype=np.int64)
            except OverflowError:
                pass
            else:
                if not len(found) or found.min() >= _LEAST:
                    return found
        return np.fromiter(map(self.code, values), np.int64, len(values))

    def value(self, code: int) -> Any:
        """Return the value that has this code."""
        if code == NULL_CODE:
            return None
        return int(code) if code >= _LEAST else self._listed[int(code) - NULL_CODE - 1]


def _name(value: Any) -> tuple[Any, Any]:
    """Return what tells a value from others (Python takes True for 1), and the value."""
    if type(value) in _ATOMS:
        return value, value
    if isinstance(value, float) and value.is_integer():
        return int(value), int(value)
    return (canonical(value),), value


class _Keys(dict[Any, int]):
    def __init__(self) -> None:
        super().__init__()
        self.listed: list[Any] = []

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self.listed)
        self.listed.append(key)
        return number

    def numbers(self, keys: Sequence[Any]) -> list[int]:
        """Return the numbers of many keys."""
        if set(map(type, keys)) <= _ATOMS:
            return list(map(self.__getitem__, keys))
        found = []
        for key in keys:
            name, value = _name(key)
            if name not in self:
                self.listed.append(value)
                self[name] = len(self.listed) - 1
            found.append(self[name])
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transactions:
    """The transactions of a history.

    A row's micro-operations are ``first[row]`` to ``first[row + 1]``. `is_write` tells writes (and
    appends) from reads. `code` is what was written, or read from a register. A list that was read
    is ``elements[at:at + length]``; `length` is `NEVER` where that is not known or no read.
    """

    workload: str
    index: Longs
    process: Longs
    type: Bytes
    start: Longs
    end: Longs
    first: Longs
    is_write: Flags
    key: Ints
    code: Longs
    at: Longs
    length: Longs
    elements: Longs
    keys: tuple[Any, ...]
    codes: Codes
    source: str = "<memory>"

    def __len__(self) -> int:
        return len(self.index)

    @property
    def rows(self) -> Ints:
        """The row of each micro-operation."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.first))

    def list_read(self, micro: int) -> list[Any]:
        """Return the list that a micro-operation read."""
        at = int(self.at[micro])
        codes = self.elements[at : at + int(self.length[micro])].tolist()
        return [self.codes.value(code) for code in codes]


class Collector:
    """Micro-operations by the block, in any order of transactions; `finish` puts them in order."""

    def __init__(self, workload: str) -> None:
        if workload not in WORKLOADS:
            raise ValueError(
                f"no workload is called {workload!r}; there are {', '.join(WORKLOADS)}"
            )
        self.workload = workload
        self.codes = Codes()
        self._write = WORKLOADS[workload]
        self._keys = _Keys()
        self._blocks: list[tuple[Longs, Flags, Ints, Longs, Longs, Longs]] = []
        self._transactions = 0

    def add(self, values: Sequence[Any], *, known: bool) -> None:
        """Add the values of some transactions; `known`: whether what they read counts.

        Raises `HistoryError` for what is no transaction of the workload.
        """
        if not values:
            return
        try:
            sizes = list(map(len, values))
            micros = list(chain.from_iterable(values))
            if set(map(len, micros)) - {3}:
                raise TypeError
            functions = [micro[0] for micro in micros]
            is_write = [f == self._write for f in functions]
            if set(functions) - {READ, self._write}:
                raise TypeError
        except (TypeError, KeyError):
            raise HistoryError(self._complaint(values)) from None
        said = [micro[2] for micro in micros]
        written = np.array(is_write, dtype=np.bool_)
        elements = np.zeros(0, dtype=np.int64)
        code = np.full(len(micros), NULL_CODE)
        length = np.full(len(micros), NEVER, dtype=np.int64)
        code[written] = self.codes.codes([v for v, w in zip(said, is_write, strict=True) if w])
        if np.any(code[written] == NULL_CODE):
            raise HistoryError(
                f"a transaction writes null, which stands for nothing: {values!r:.80}"
            )
        seen = [v for v, w in zip(said, is_write, strict=True) if not w]
        if known and self.workload == "list-append":
            if set(map(type, seen)) - {list, tuple, type(None)}:
                raise HistoryError(self._complaint(values))
            length[~written] = [len(one) if one else 0 for one in seen]
            elements = self.codes.codes(list(chain.from_iterable(one for one in seen if one)))
        elif known:
            code[~written] = self.codes.codes(seen)
            length[~written] = 0
        keys = np.array(self._keys.numbers([micro[1] for micro in micros]), dtype=np.int32)
        block = np.array(sizes, dtype=np.int64), written, keys, code, length, elements
        self._blocks.append(block)
        self._transactions += len(values)

    def _complaint(self, values: Sequence[Any]) -> str:
        kinds = f'["{READ}", key, seen] and ["{self._write}", key, value]'
        for value in values:
            if not isinstance(value, list | tuple):
                return f"a transaction's value is {value!r:.80}, expected a list of {kinds}"
            for micro in value:
                if (
                    not isinstance(micro, list | tuple)
                    or len(micro) != 3
                    or micro[0] not in (READ, self._write)
                    or (self.workload == "list-append" and micro[0] == READ
                        and not isinstance(micro[2], list | tuple | None))
                ):  # fmt: skip
                    return f"a micro-operation is {micro!r:.80}, expected {kinds}"
        return f"expected transactions of {kinds}"

    def finish(self, columns: Columns, place: Longs) -> Transactions:
        """Return the transactions; row r is the one that was added as number ``place[r]``."""
        nothing = np.zeros(0, dtype=np.int64)
        columns_of_blocks = zip(*self._blocks, strict=True) if self._blocks else iter(())
        parts = [np.concatenate(column) for column in columns_of_blocks]
        self._blocks = []
        if not parts:
            parts = [nothing, nothing > 0, nothing.astype(np.int32), nothing, nothing, nothing]
        sizes, written, keys, code, length, elements = parts
        begins = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(sizes)))
        at = np.cumsum(np.maximum(length, 0)) if self.workload == "list-append" else length
        at = at - np.maximum(length, 0)
        order = ragged(begins[:-1][place], sizes[place])
        key, listed = _by_appearance(keys[order], len(self._keys.listed))
        return Transactions(
            workload=self.workload,
            index=columns.index,
            process=columns.process,
            type=columns.type,
            start=columns.start,
            end=np.where(columns.end == NEVER, LONG_MAX, columns.end),
            first=np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(sizes[place]))),
            is_write=written[order],
            key=key,
            code=code[order],
            at=at[order],
            length=length[order],
            elements=elements,
            keys=tuple(self._keys.listed[number] for number in listed),
            codes=self.codes,
            source=columns.source,
        )


def _by_appearance(keys: Ints, count: int) -> tuple[Ints, list[int]]:
    """Number keys anew in order of first appearance; return them, and the old number of each."""
    first = np.full(count, len(keys), dtype=np.int64)
    # Of several assignments to one place the last counts: from the back, the first appearance.
    first[keys[::-1]] = np.arange(len(keys) - 1, -1, -1)
    order = np.argsort(first, kind="stable")
    renumbered = np.empty(count, dtype=np.int32)
    renumbered[order] = np.arange(count)
    return renumbered[keys], order.tolist()


def ragged(begins: Longs, sizes: Longs) -> Longs:
    """Return ``begins[0], begins[0] + 1, ...`` (sizes[0] of them), then those of the next."""
    total = int(sizes.sum())
    before = np.cumsum(sizes) - sizes
    places: Longs = np.arange(total, dtype=np.int64) + np.repeat(begins - before, sizes)
    return places


def transactions_of(history: History | Columns, workload: str) -> Transactions:
    """Return the transactions of a history; raises `HistoryError` if it has other operations."""
    columns = columns_of(history) if isinstance(history, History) else history
    require_transactions(columns)
    collector = Collector(workload)
    ok = columns.type == OK
    numbers = np.where(ok, columns.output, columns.input)
    place = np.empty(len(columns), dtype=np.int64)
    added = 0
    for known in (True, False):
        rows = np.flatnonzero(ok == known)
        place[rows] = np.arange(added, added + len(rows))
        added += len(rows)
        for begin in range(0, len(rows), _BLOCK):
            block = rows[begin : begin + _BLOCK]
            values = [columns.values.decoded[number] for number in numbers[block].tolist()]
            _add(collector, values, columns, block, known=known)
    return collector.finish(columns, place)


def _add(
    collector: Collector, values: list[Any], columns: Columns, rows: Longs, *, known: bool
) -> None:
    try:
        collector.add(values, known=known)
    except HistoryError:
        for value, row in zip(values, rows.tolist(), strict=True):
            try:
                collector.add([value], known=known)
            except HistoryError as error:
                raise HistoryError(
                    f"{columns.source}: event {int(columns.index[row])}: {error}"
                ) from None
        raise


def require_transactions(columns: Columns) -> None:
    """Raise `HistoryError` unless all operations are transactions."""
    others: Iterable[str] = sorted(set(columns.functions) - {TXN})
    for other in others:
        row = int(np.flatnonzero(columns.function == columns.functions.index(other))[0])
        raise HistoryError(
            f"{columns.source}: event {int(columns.index[row])}: f is {other!r}, expected {TXN!r}"
        )


__all__ = [
    "FAIL", "INFO", "NEVER", "NULL_CODE", "OK", "WORKLOADS", "Codes", "Collector", "Flags", "Ints",
    "Longs", "Transactions", "ragged", "require_transactions", "transactions_of",
]  # fmt: skip
