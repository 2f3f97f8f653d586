"""Histories as tables, CSV or Parquet: one event a row, or one operation a row.

Rules of this file:
- A table with a column `start` has one operation a row (`ROW_IS_OPERATION`), any other one event a
  row (`ROW_IS_EVENT`). A mapping gives our name -> their column name; columns of no known name are
  not looked at.
- CSV: an empty cell is null. A cell of `value`, `input` or `output` is JSON; a cell that is not JSON
  is a string (``"5"`` with its quotes is the string, ``5`` the number).
- Parquet: native types. Timestamps and durations are taken as nanoseconds.
- Rows are counted from 1, the header is not counted. An error names file, row and their column.
- The order of the rows is the order of writing. An operation of row n (from 0) has the events
  2n and 2n + 1. Without a column `process` every operation has a process of its own; without
  `type` an operation with an end is ok. Without an end it is `info`, as it must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from checker.columns import Columns, columns_of, events_of
from checker.formats.cells import Cells, csv_cells, parquet_cells
from checker.formats.draft import Draft, Irregular, uncollected
from checker.formats.parquet_layout import MARK, columns_in
from checker.history import NEMESIS, Event, EventType, History, HistoryError, in_order

ROW_IS_EVENT: Final = ("process", "type", "f", "value", "key", "time", "index", "node", "error")
ROW_IS_OPERATION: Final = (
    "process", "f", "input", "output", "type", "start", "end", "key", "node", "error",
)  # fmt: skip
_NEEDED = {"start": ("f", "start", "end"), "type": ("process", "type", "f")}
_TYPES = {kind.value: kind for kind in EventType}
_COMPLETIONS = {name: kind for name, kind in _TYPES.items() if kind is not EventType.INVOKE}


@dataclass(slots=True)
class _Events:
    """Events as lists of their properties, in the order of writing."""

    process: list[int | str] = field(default_factory=list)
    type: list[EventType] = field(default_factory=list)
    f: list[str] = field(default_factory=list)
    key: list[str | None] = field(default_factory=list)
    value: list[Any] = field(default_factory=list)
    time: list[int | None] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    node: list[str | None] = field(default_factory=list)
    error: list[str | None] = field(default_factory=list)

    def history(self, path: Path, format: str) -> History:  # noqa: A002
        names = self.__slots__
        events = (
            Event(**dict(zip(names, row, strict=True)))
            for row in zip(*(getattr(self, name) for name in names), strict=True)
        )
        try:
            return History(in_order(events), source=str(path), format=format)
        except HistoryError as error:
            raise HistoryError(f"{path}: {error}") from None

    def columns(self, path: Path, format: str) -> Columns:  # noqa: A002
        draft = Draft()
        try:
            draft.add(
                process=self.process, kind=self.type, f=self.f, key=self.key, value=self.value,
                time=self.time, index=self.index, node=self.node, error=self.error,
            )  # fmt: skip
            return draft.columns(source=str(path), format=format)
        except Irregular:
            return columns_of(self.history(path, format))


def read_csv(path: Path, mapping: Mapping[str, str] | None = None) -> History:
    """Read a CSV file with a header. Raises `HistoryError`, `OSError`."""
    return _events(csv_cells(path), mapping).history(path, "csv")


def read_csv_columns(path: Path, mapping: Mapping[str, str] | None = None) -> Columns:
    """Read a CSV file as columns; the same result and errors as `read_csv` has."""
    with uncollected():
        return _events(csv_cells(path), mapping).columns(path, "csv")


def read_parquet(path: Path, mapping: Mapping[str, str] | None = None) -> History:
    """Read a Parquet file: a table, or what `write_parquet` wrote."""
    cells = parquet_cells(path)
    if not _is_ours(cells):
        return _events(cells, mapping).history(path, "parquet")
    columns = columns_in(cells.table, path)
    return History(
        tuple(events_of(columns)), str(path), torn_tail=columns.torn_tail, format=columns.format
    )


def read_parquet_columns(path: Path, mapping: Mapping[str, str] | None = None) -> Columns:
    """Read a Parquet file as columns; the same result and errors as `read_parquet` has."""
    cells = parquet_cells(path)
    if _is_ours(cells):
        return columns_in(cells.table, path)
    with uncollected():
        return _events(cells, mapping).columns(path, "parquet")


def _is_ours(cells: Cells) -> bool:
    return MARK in (cells.table.schema.metadata or {})


def _events(cells: Cells, mapping: Mapping[str, str] | None) -> _Events:
    mapping = dict(mapping or {})
    cells.names = mapping
    of_operations = cells.has("start")
    known = ROW_IS_OPERATION if of_operations else ROW_IS_EVENT
    # One operation a row: what was asked may be called `value`, as everywhere.
    accepted = (*known, "value") if of_operations else known
    for ours, theirs in mapping.items():
        if ours not in accepted:
            raise HistoryError(
                f"{cells.path}: the mapping names {ours!r:.40}, expected one of "
                f"{', '.join(accepted)}"
            )
        if not cells.has(ours):
            raise HistoryError(f"{cells.path}: no column {theirs!r:.60}; there are {cells.listed}")
    for ours in _NEEDED["start" if of_operations else "type"]:
        if not cells.has(ours):
            raise HistoryError(
                f"{cells.path}: no column {mapping.get(ours, ours)!r:.60}; there are "
                f"{cells.listed}. One event a row needs {', '.join(_NEEDED['type'])}, one "
                f"operation a row {', '.join(_NEEDED['start'])}; a mapping may name others"
            )
    return _from_operations(cells) if of_operations else _from_events(cells)


def _from_events(cells: Cells) -> _Events:
    count = cells.rows
    process = _processes(cells)
    kinds = cells.words("type", _TYPES)
    index = cells.integers("index") if cells.has("index") else list(range(count))
    time = cells.integers("time")
    return _Events(
        process=process,
        type=cells.given(kinds, "type", f"one of {', '.join(_TYPES)}"),
        f=_functions(cells),
        key=cells.texts("key"),
        value=cells.values("value"),
        time=time,
        index=cells.given(index, "index", "an integer"),
        node=cells.texts("node"),
        error=cells.texts("error"),
    )


def _from_operations(cells: Cells) -> _Events:
    process = _processes(cells) if cells.has("process") else list(range(cells.rows))
    f, key, node, error = _functions(cells), *map(cells.texts, ("key", "node", "error"))
    asked = cells.values("input" if cells.has("input") else "value")
    answers = cells.values("output")
    starts, ends = cells.integers("start"), cells.integers("end")
    kinds = cells.words("type", _COMPLETIONS)
    last = max((time for time in (*starts, *ends) if time is not None), default=0)
    events = _Events()

    def add(row: int, kind: EventType, value: Any, time: int, code: str | None) -> None:
        events.process.append(process[row])
        events.type.append(kind)
        events.f.append(f[row])
        events.key.append(key[row])
        events.value.append(value)
        events.time.append(time)
        events.index.append(2 * row + (kind is not EventType.INVOKE))
        events.node.append(node[row])
        events.error.append(code)

    starts = cells.given(starts, "start", "an integer (nanoseconds)")
    for row, (kind, began, end) in enumerate(zip(kinds, starts, ends, strict=True)):
        add(row, EventType.INVOKE, asked[row], began, None)
        if end is None:
            if kind not in (None, EventType.INFO):
                raise cells.wrong(row, "end", None, f"a time, since type is '{kind}'")
            if error[row] is not None or answers[row] is not None:
                # It is known how it ended, not when: at the end of the history, at the latest.
                add(row, EventType.INFO, answers[row], last, error[row])
            continue
        if end < began:
            raise cells.wrong(row, "end", end, f"at least the start, {began}")
        add(row, kind or EventType.OK, answers[row], end, error[row])
    return events


def _processes(cells: Cells) -> list[int | str]:
    processes = cells.integers("process", {NEMESIS: NEMESIS})
    return cells.given(processes, "process", f"an integer or {NEMESIS!r}")


def _functions(cells: Cells) -> list[str]:
    return cells.given(cells.texts("f"), "f", "a string such as 'read'")
