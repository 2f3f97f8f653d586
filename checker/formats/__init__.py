"""Reading a history whatever wrote it.

Rules of this file:
- `READERS` is the one list of formats. ``auto`` decides by the first bytes of the content and
  never by trying one reader after another: the error must come from the reader that was meant.
- Every format is read two ways, as events (`load`) and as columns (`load_columns`), with the same
  result. The second is for millions of operations; what it needs is imported when it is used.
- What outcomes mean in each format is in `checker.meaning`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from checker.formats.jepsen_edn import read_jepsen_edn
from checker.formats.jepsen_log import read_jepsen_log
from checker.history import History, HistoryError, read_jsonl

if TYPE_CHECKING:
    from checker.columns import Columns

_Mapping = Mapping[str, str] | None
_LOOK_BYTES = 4096
_MAPPED = ("csv", "parquet")


def _read_csv(path: Path, mapping: _Mapping = None) -> History:
    from checker.formats.tables import read_csv

    return read_csv(path, mapping)


def _read_parquet(path: Path, mapping: _Mapping = None) -> History:
    from checker.formats.tables import read_parquet

    return read_parquet(path, mapping)


READERS: dict[str, Callable[[Path], History]] = {
    "jsonl": read_jsonl,
    "edn": read_jepsen_edn,
    "jepsen-log": read_jepsen_log,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".edn": "edn",
    ".log": "jepsen-log",
    ".csv": "csv",
    ".parquet": "parquet",
}


def load(path: Path | str, format: str = "auto", *, mapping: _Mapping = None) -> History:  # noqa: A002
    """Read a history file. `format` is one of `READERS`, or ``auto``.

    `mapping` gives, for tables, our name of a column -> theirs (`checker.formats.tables`).
    Raises `HistoryError` for what is no such history, `OSError` if it cannot be read.
    """
    path = Path(path)
    chosen = _chosen(path, format, mapping)
    if chosen == "csv":
        return _read_csv(path, mapping)
    if chosen == "parquet":
        return _read_parquet(path, mapping)
    return READERS[chosen](path)


def load_columns(path: Path | str, format: str = "auto", *, mapping: _Mapping = None) -> Columns:  # noqa: A002
    """Read a history file as columns: as ``columns_of(load(...))``, many times faster.

    Raises what `columns_of` raises, too: numbers beyond 64 bits, processes that misbehave.
    """
    from checker.columns import columns_of

    path = Path(path)
    chosen = _chosen(path, format, mapping)
    if chosen == "jsonl":
        from checker.formats.jsonl import read_jsonl_columns

        return read_jsonl_columns(path)
    if chosen == "edn":
        from checker.formats.edn_columns import read_edn_columns

        return read_edn_columns(path)
    if chosen in _MAPPED:
        from checker.formats.tables import read_csv_columns, read_parquet_columns

        return (read_csv_columns if chosen == "csv" else read_parquet_columns)(path, mapping)
    return columns_of(READERS[chosen](path))


def _chosen(path: Path, format: str, mapping: _Mapping) -> str:  # noqa: A002
    chosen = detect(path) if format == "auto" else format
    if chosen not in READERS:
        raise HistoryError(f"{path}: no format is called {format!r}; there are auto, "
                           f"{', '.join(READERS)}")  # fmt: skip
    if mapping and chosen not in _MAPPED:
        raise HistoryError(f"{path}: a mapping of columns is for {' and '.join(_MAPPED)}, "
                           f"not for {chosen}")  # fmt: skip
    return chosen


def detect(path: Path) -> str:
    """Return the format of a file: by its suffix, else by how its content begins."""
    by_suffix = _BY_SUFFIX.get(path.suffix)
    if by_suffix is not None:
        return by_suffix
    with path.open("rb") as file:
        start = file.read(_LOOK_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PAR1"):
        return "parquet"
    if not start or start.startswith(b'{"'):
        return "jsonl"
    if start[:1] in (b"[", b"(", b"{", b";") or start.startswith((b"#{", b"#jepsen")):
        return "edn"
    if b"jepsen.util - " in start:
        return "jepsen-log"
    header = {name.strip(b' "\r') for name in start.partition(b"\n")[0].split(b",")}
    if {b"process", b"type", b"f"} <= header or {b"f", b"start"} <= header:
        return "csv"
    raise HistoryError(f"{path}:1: cannot tell the format; choose one of {', '.join(READERS)}")
