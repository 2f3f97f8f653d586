"""The cells of a table as Python's values: what CSV texts and Parquet's native types mean.

Rules of this file:
- pyarrow reads the file; it is imported here and only when a table is read, because it takes long.
- Distinct texts are converted once. The conversions of a kind of column stand in one place, and
  every refusal is made by `Cells.wrong`: file, row (from 1, without the header), column, cell,
  and what was expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import msgspec

from checker.history import HistoryError
from checker.values import canonical

_T = TypeVar("_T")
_INTEGER = re.compile(r"[+-]?[0-9]+(?:\.0*)?")


class Cells:
    """A table and the names that a mapping gives its columns."""

    def __init__(self, path: Path, table: Any, *, of_text: bool) -> None:
        self.path = path
        self.table = table
        self._columns: list[str] = table.column_names
        self.names: Mapping[str, str] = {}
        self.rows: int = table.num_rows
        self._of_text = of_text

    @property
    def listed(self) -> str:
        """The names of the columns, for people."""
        return f"{', '.join(self._columns) or 'none'}"[:400]

    def has(self, ours: str) -> bool:
        """Return whether there is such a column; `HistoryError` if there are two."""
        theirs = self._theirs(ours)
        found = self._columns.count(theirs)
        if found > 1:
            raise HistoryError(f"{self.path}: {found} columns are called {theirs!r:.60}")
        return found == 1

    def integers(self, ours: str, words: Mapping[str, _T] | None = None) -> list[Any]:
        """Return a column of integers, `None` where there is none; a word stands for its value."""
        special: Mapping[str, Any] = words or {}
        if self._of_text and self.has(ours):
            plain = _plain_integers(self.table.column(self._columns.index(self._theirs(ours))))
            if plain is not None:
                return plain

        def integer(cell: Any) -> Any:
            if type(cell) is int:
                return cell
            if isinstance(cell, float) and cell.is_integer():
                return int(cell)  # pandas makes floats of integers where some are missing
            if isinstance(cell, str):
                if cell in special:
                    return special[cell]
                if _INTEGER.fullmatch(cell):
                    return int(cell.partition(".")[0])
            raise ValueError

        expected = "an integer" + "".join(f" or {word!r}" for word in special)
        return self._converted(ours, integer, expected, {int})

    def words(self, ours: str, words: Mapping[str, _T]) -> list[_T | None]:
        """Return a column whose cells are among these words."""
        expected = f"one of {', '.join(words)}"
        return self._converted(ours, lambda cell: words[cell], expected)

    def texts(self, ours: str) -> list[str | None]:
        """Return a column of names: texts as they are, anything else as its canonical text."""
        return self._converted(
            ours,
            lambda cell: cell if isinstance(cell, str) else canonical(_json(cell)),
            "a text",
            {str},
        )

    def values(self, ours: str) -> list[Any]:
        """Return a column of JSON values."""
        return self._converted(
            ours, _parsed if self._of_text else _json, "a JSON value", {int, str}
        )

    def given(self, cells: list[_T | None], ours: str, expected: str) -> list[_T]:
        """Return cells none of which may be empty."""
        if None in cells:
            raise self.wrong(cells.index(None), ours, None, expected)
        return cast("list[_T]", cells)

    def wrong(self, row: int, ours: str, cell: Any, expected: str) -> HistoryError:
        """Return the error of a cell."""
        try:
            shown = "empty" if cell is None else f"{cell!r:.80}"
        except ValueError:  # Python prints no integer of thousands of digits
            shown = "a very long number"
        return HistoryError(
            f"{self.path}: row {row + 1}: column {self._theirs(ours)!r:.60} is {shown}, "
            f"expected {expected}"
        )

    def _theirs(self, ours: str) -> str:
        return self.names.get(ours, ours)

    def _converted(
        self,
        ours: str,
        convert: Callable[[Any], Any],
        expected: str,
        as_they_are: AbstractSet[type] = frozenset(),
    ) -> list[Any]:
        """Convert a column; native cells of the types `as_they_are` need no conversion."""
        if not self.has(ours):
            return [None] * self.rows
        theirs = self._theirs(ours)
        column = self.table.column(self._columns.index(theirs))
        try:
            cells, places = _distinct(column)
        except (ValueError, OverflowError, TypeError) as error:  # dates that Python has not
            raise HistoryError(
                f"{self.path}: column {theirs!r:.60} of type {column.type} cannot be read "
                f"({error!s:.200})"
            ) from None
        done: list[Any] = []
        if not self._of_text and set(map(type, cells)) <= {*as_they_are, type(None)}:
            return cells if places is None else list(map(cells.__getitem__, places))
        for number, cell in enumerate(cells):
            try:
                done.append(None if _is_empty(cell, self._of_text) else convert(cell))
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                row = number if places is None else places.index(number)
                raise self.wrong(row, ours, cell, expected) from None
        return done if places is None else list(map(done.__getitem__, places))


def csv_cells(path: Path) -> Cells:
    """Read a CSV file, all cells as text; raise `HistoryError`, `OSError`."""
    content = path.read_bytes()
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import csv

    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(default_column_type=pa.string()),
        )
        return Cells(path, table, of_text=True)
    except (pa.ArrowException, ValueError, OSError) as error:  # also names that are not UTF-8
        _refuse(path, "CSV with a header", error)


def parquet_cells(path: Path) -> Cells:
    """Read a Parquet file; raise `HistoryError`, `OSError`."""
    content = path.read_bytes()
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
        table.validate(full=True)
        return Cells(path, table, of_text=False)
    except (pa.ArrowException, ValueError, OSError, KeyError, IndexError, TypeError) as error:
        _refuse(path, "a Parquet file", error)


def _distinct(column: Any) -> tuple[list[Any], list[int] | None]:
    """Return the distinct cells and where they stand; or all cells, and `None`."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64())
    elif pa.types.is_duration(kind):
        column = column.cast(pa.duration("ns")).cast(pa.int64())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # Large, because one piece of the other holds no more than 2 GB.
        whole = column.cast(pa.large_string()).combine_chunks()
        coded = whole.dictionary_encode(null_encoding="encode")
        return coded.dictionary.to_pylist(), coded.indices.to_numpy().tolist()
    if pa.types.is_integer(column.type) and not column.null_count:
        return column.to_numpy().tolist(), None
    return column.to_pylist(), None


def _plain_integers(column: Any) -> list[int] | None:
    """Return a column of texts as integers if all are such, and of at most 18 digits."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    if not pc.all(pc.match_substring_regex(column, "^-?[0-9]{1,18}$")).as_py():
        return None
    integers: list[int] = column.cast(pa.int64()).to_numpy().tolist()
    return integers


def _refuse(path: Path, expected: str, error: Exception) -> NoReturn:
    raise HistoryError(f"{path}: expected {expected} ({' '.join(str(error).split())[:300]})")


def _is_empty(cell: Any, of_text: bool) -> bool:  # noqa: FBT001 - private, one caller
    return cell is None or (of_text and cell == "")


def _parsed(cell: str) -> Any:
    """Return the JSON value of a cell of text; a cell that is not JSON is a string."""
    try:
        return msgspec.json.decode(cell)
    except ValueError:
        pass
    try:  # half a surrogate pair, a number beyond floats: JSON, but not msgspec's
        return json.loads(cell, parse_constant=_no_json)
    except json.JSONDecodeError:
        return cell


def _no_json(word: str) -> NoReturn:
    raise json.JSONDecodeError("not JSON", word, 0)


def _json(cell: Any) -> Any:
    """Return a native value as a JSON value; raise `ValueError` if it is none."""
    if cell is None or isinstance(cell, bool | int | float | str):
        return cell
    if isinstance(cell, list):
        return [_json(part) for part in cell]
    if isinstance(cell, dict) and all(isinstance(name, str) for name in cell):
        return {name: _json(part) for name, part in cell.items()}
    raise ValueError(cell)
