"""Columns as a Parquet file of our own, exactly: what a million operations load from in a moment.

Rules of this file:
- One row an operation, the arrays of `Columns` under their names. The column `names` holds, in
  its first row, a JSON object with what numbers stand for (functions, keys, nodes, errors,
  values), and the file's metadata says that it is this layout, and which version.
- Lossless: the same numbers come back, the order of everything included.
- Pages have checksums; whatever else does not fit together is an error, never a guess.
- Written aside and renamed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from checker.columns import NEVER, TYPES, Columns, Values
from checker.formats.draft import uncollected
from checker.history import HistoryError

MARK: Final = b"splitbrain.columns"
_VERSION: Final = b"1"
_ABOUT: Final = b"splitbrain.history"
_LONGS: Final = ("index", "end_index", "process", "start", "end", "start_ns", "end_ns")
_INTS: Final = ("function", "key", "input", "output", "node", "error")


def write_parquet(columns: Columns, path: Path | str) -> None:
    """Write columns to a file. Raises `OSError`, `HistoryError` for a value JSON cannot hold."""
    # It takes a while to import, and has no type information of its own.
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    names = {
        "functions": columns.functions,
        "keys": columns.keys,
        "nodes": columns.nodes,
        "errors": columns.errors,
        "values": columns.values.decoded,
        "first": columns.values.first,
        "second": columns.values.second,
    }
    try:
        text = json.dumps(names, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise HistoryError(f"{columns.source}: a value is not usable: {error}") from None
    about = {
        "source": columns.source,
        "format": columns.format,
        "torn_tail": columns.torn_tail,
        "operations": len(columns),
    }
    # Without an operation there is no first row.
    metadata = {MARK: _VERSION, _ABOUT: json.dumps(about)}
    arrays = {name: pa.array(getattr(columns, name), pa.int64()) for name in _LONGS}
    arrays |= {name: pa.array(getattr(columns, name), pa.int32()) for name in _INTS}
    arrays["type"] = pa.array(columns.type, pa.int8())
    firsts = [text] if len(columns) else []
    rest = pa.nulls(max(len(columns) - 1, 0), pa.large_string())
    arrays["names"] = pa.concat_arrays([pa.array(firsts, pa.large_string()), rest])
    table = pa.table(arrays).replace_schema_metadata(metadata)
    target = Path(path)
    aside = target.with_name(f".{target.name}.new")
    pq.write_table(
        table,
        aside,
        compression="zstd",
        row_group_size=max(len(columns), 1),
        use_dictionary=["type", "function", "key", "node", "error"],
        column_encoding=dict.fromkeys((*_LONGS, "input", "output"), "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
    )
    aside.replace(target)


def columns_in(table: Any, path: Path) -> Columns:
    """Return the columns that a table of this layout holds; `HistoryError` if it is damaged."""
    metadata = table.schema.metadata or {}
    if metadata.get(MARK) != _VERSION:
        version = metadata.get(MARK, b"").decode(errors="replace")
        raise HistoryError(f"{path}: columns of version {version!r:.20}, expected 1")
    try:
        about = msgspec.json.decode(metadata[_ABOUT], type=_About)
        with uncollected():
            return _columns(table, about, path)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise HistoryError(f"{path}: damaged columns ({error!r:.200})") from None


class _About(msgspec.Struct):
    source: str
    format: str
    torn_tail: str | None
    operations: int


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    functions: list[str]
    keys: list[str | None]
    nodes: list[str | None]
    errors: list[str | None]
    values: list[Any]
    first: list[int]
    second: list[int]


def _columns(table: Any, about: _About, path: Path) -> Columns:
    arrays: dict[str, Any] = {name: np.array(table[name], dtype=np.int64) for name in _LONGS}
    arrays |= {name: np.array(table[name], dtype=np.int32) for name in _INTS}
    kind = np.array(table["type"], dtype=np.int8)
    if table.num_rows != about.operations:
        raise ValueError(f"{table.num_rows} rows, expected {about.operations}")
    names = _Names([], [], [], [], [None], [NEVER], [NEVER])
    if table.num_rows:
        names = _decoded(table["names"][0].as_py())
    for name, held in (
        ("function", names.functions), ("key", names.keys), ("node", names.nodes),
        ("error", names.errors), ("input", names.values), ("output", names.values),
    ):  # fmt: skip
        _require(arrays[name], 0, len(held), name)
    _require(kind, 0, len(TYPES), "type")
    for name in ("start", "end", "index", "end_index", "start_ns", "end_ns"):
        _require(arrays[name], NEVER, 2**63 - 1, name)
    return Columns(
        **arrays,
        type=kind,
        functions=tuple(names.functions),
        keys=tuple(names.keys),
        nodes=tuple(names.nodes),
        errors=tuple(names.errors),
        values=_values(names),
        source=str(path),
        format=about.format,
        torn_tail=about.torn_tail,
    )


def _decoded(text: str) -> _Names:
    try:
        return msgspec.json.decode(text, type=_Names)
    except ValueError:  # what Python's JSON knows and JSON does not: NaN, half a surrogate pair
        return msgspec.convert(json.loads(text), type=_Names)


def _values(names: _Names) -> Values:
    first, second = np.array(names.first, np.int32), np.array(names.second, np.int32)
    if not len(first) == len(second) == len(names.values) or names.values[0] is not None:
        raise ValueError("values and their parts differ in number")
    for parts in (first, second):
        _require(parts, NEVER, len(names.values), "a part of a value")
    return Values.restored(names.values, first, second)


def _require(numbers: Any, least: int, end: int, name: str) -> None:
    if len(numbers) and not (least <= numbers.min() and numbers.max() < end):
        raise ValueError(f"{name} out of bounds")
