"""Jepsen's histories into columns: two million operation maps, one a line, in seconds.

Rules of this file:
- What a history is, and every error, is `read_jepsen_edn`'s business; see `draft.Irregular`.
- A line is read alone. That is sound because every line taken here is read to its end and leaves
  nothing open (no string, collection, ``#_`` or tag): the next line starts where a value may.
- Lines of one file look alike: the names of the maps, in their order, are the line's *shape*, and
  a shape is one regular expression that describes the whole line. A line of no known shape goes
  through `read_edn` alone, and then its shape is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from checker.columns import Columns, columns_of
from checker.formats.draft import Draft, Irregular, uncollected
from checker.formats.edn import read_edn
from checker.formats.jepsen_edn import event_of, read_jepsen_edn
from checker.formats.jsonl import blocks
from checker.history import NEMESIS, HistoryError
from checker.values import canonical

_SHAPES_MAX = 12
_EXACT_MAX = 2000  # lines that no shape fits; a file with more is read the exact way at once
_CLOSERS = {"[": "]", "(": ")"}

_INTEGER = r"-?[0-9]{1,18}"
_KEYWORD = r':[^\s,;"()\[\]{}\\]++'
_STRING = r'"[^"\\\r\n]*+"'
_FLAT = r'[^\[\](){}"\\;\#^\r\n]'
_LIST = rf"\[(?:{_FLAT}|{_STRING}|\[(?:{_FLAT}|{_STRING})*+\])*+\]"
_VALUE = rf"nil|true|false|{_INTEGER}|{_KEYWORD}|{_STRING}|{_LIST}"
# The fields of a row, in the order of `_Rows`, and what each looks like on an ordinary line.
_FIELDS: Final = {
    "process": rf"{_INTEGER}|:nemesis",
    "type": r"invoke|ok|fail|info",  # after its colon
    "f": rf"{_KEYWORD}|{_STRING}",
    "value": _VALUE,
    "key": _VALUE,
    "time": _INTEGER,
    "index": _INTEGER,
    "node": _VALUE,
    "error": _VALUE,
}
_Row = tuple[Any, ...]
_Shape = tuple[Callable[[str], re.Match[str] | None], tuple[int, ...]]
_WORDS = {"nil": None, "true": True, "false": False}


class _Read:
    """In place of a text: what the exact reader made of it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def read_edn_columns(path: Path) -> Columns:
    """Read the file as columns; the same result and errors as `read_jepsen_edn` has."""
    try:
        with uncollected():
            return _Reader(path).columns()
    except (Irregular, RecursionError):
        return columns_of(read_jepsen_edn(path))


class _Reader:
    """One reading of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = Draft()
        self._shapes: list[_Shape] = []
        self._opener = ""  # of the list around all maps, when there is one
        self._closed = False
        self._exact_lines = 0
        self._decoded: dict[str, Any] = {}
        self._names = _NamesOf(self)

    def columns(self) -> Columns:
        """Read all; raise `Irregular`."""
        unindexed = started = False
        for text in _texts(self._path):
            lines = text.split("\n")
            if not started:
                started = self._open(lines)
            unindexed |= self._add(self._rows(lines))
        if self._opener and not self._closed:
            raise Irregular
        if unindexed:
            self._draft.index_by_place()
        return self._draft.columns(source=str(self._path), format="edn")

    def _open(self, lines: list[str]) -> bool:
        """Take off the bracket that opens the list of all maps; tell whether anything began."""
        for place, line in enumerate(lines):
            rest = line.lstrip(" \t\r,")
            if not rest or rest.startswith(";"):
                continue
            if rest[0] in _CLOSERS:
                self._opener = rest[0]
                lines[place] = rest[1:]
            return True
        return False

    def _rows(self, lines: list[str]) -> list[_Row]:
        rows: list[_Row] = []
        shapes = self._shapes
        for line in lines:
            for fullmatch, places in shapes:
                match = fullmatch(line)
                if match is not None:
                    rows.append(match.group(*places))
                    if self._closed:
                        raise Irregular
                    break
            else:
                if line:
                    rows += self._exact_rows(line)
        return rows

    def _exact_rows(self, line: str) -> Iterator[_Row]:
        rest = line.rstrip(" \t\r,")
        closer = _CLOSERS.get(self._opener)
        if closer is not None and rest.endswith(closer):
            # Perhaps the end of all, perhaps the end of a comment: only the former can be read.
            if self._closed or ";" in rest:
                raise Irregular
            self._closed = True
            if rest[:-1].strip(" \t\r,"):
                yield from self._one_row(rest[:-1], closed=False)
            return
        yield from self._one_row(line, closed=self._closed)

    def _one_row(self, line: str, *, closed: bool) -> Iterator[_Row]:
        self._exact_lines += 1
        if self._exact_lines > _EXACT_MAX:
            raise Irregular
        try:
            if self._opener:  # read it there, because how deep values may nest counts from there
                around = f"{self._opener}{line}\n{_CLOSERS[self._opener]}"
                records = [value for _, values in read_edn(around) for value in values]
            else:
                records = [value for _, value in read_edn(line)]
            if closed and records:
                raise Irregular
            for record in records:
                if not isinstance(record, dict):
                    raise Irregular
                yield _exact_row(record)
        except HistoryError:
            raise Irregular from None
        if len(records) == 1 and len(self._shapes) < _SHAPES_MAX:
            shape = _shape(list(records[0]))
            if shape[0](line) is not None:
                self._shapes.append(shape)

    def _add(self, rows: list[_Row]) -> bool:
        """Add the rows of a block; tell whether some of them have no index."""
        if not rows:
            return False
        process, kind, f, value, key, time, index, node, error = zip(*rows, strict=True)
        name, value_of = self._names.__getitem__, self.value
        unindexed = None in index
        self._draft.add(
            process=[NEMESIS if p == ":nemesis" else int(p) for p in process],
            kind=kind,
            f=list(map(name, f)),
            key=list(map(name, key)),
            value=[None if v == "nil" else value_of(v) for v in value],
            time=time if None in time else list(map(int, time)),
            index=None if unindexed else list(map(int, index)),
            node=list(map(name, node)),
            error=list(map(name, error)),
        )
        return unindexed

    def value(self, text: Any) -> Any:
        """Return the value that a text of a row stands for."""
        if text is None:
            return None
        if type(text) is not str:
            return text.value
        first = text[0]
        if first in "-0123456789":
            return int(text)
        if first == ":":
            return text[1:]
        if first == '"':
            return text[1:-1]
        if first != "[":
            return _WORDS[text]
        if "_" not in text:
            try:  # a list of integers, nearly always
                return [int(part) for part in text[1:-1].replace(",", " ").split()]
            except ValueError:
                pass
        known = self._decoded.get(text)
        if known is None:
            try:
                ((_, known),) = read_edn(text)
            except (HistoryError, ValueError):
                raise Irregular from None
            self._decoded[text] = known
        return known


class _NamesOf(dict[Any, Any]):
    """From texts to the names of functions, keys, nodes and errors."""

    def __init__(self, reader: _Reader) -> None:
        super().__init__({None: None})
        self._reader = reader

    def __missing__(self, text: Any) -> str | None:
        value = self._reader.value(text)
        name = self[text] = value if value is None or type(value) is str else canonical(value)
        return name


def _texts(path: Path) -> Iterator[str]:
    """Yield the file's text in pieces of whole lines, the ends of lines as `read_text` has them."""
    beginning = True
    for block, _ in blocks(path):
        try:
            text = block.decode("utf-8-sig" if beginning else "utf-8")
        except UnicodeDecodeError:
            raise Irregular from None
        beginning = beginning and not block
        yield text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _shape(names: list[str]) -> _Shape:
    """Compile the expression for lines whose map has these names, and the places of the fields."""
    parts: list[str] = []
    places: dict[str, int] = {}
    for name in names:
        places[name] = len(places) + 1
        colon = ":" if name == "type" else ""
        value = _FIELDS.get(name, _VALUE)
        parts.append(rf"[\s,]*+:{re.escape(name)}[\s,]++{colon}({value})(?=[\s,}}])")
    absent = len(places) + 1
    pattern = (
        rf"[\s,]*+(?:\#jepsen\.history\.Op[\s,]*+)?\{{{''.join(parts)}[\s,]*+\}}[\s,]*+((?!))?"
    )
    return re.compile(pattern).fullmatch, tuple(places.get(name, absent) for name in _FIELDS)


def _exact_row(record: dict[str, Any]) -> _Row:
    """Return a record as a row; raise `HistoryError` for what is no operation."""
    event = event_of(0, {"index": 0, **record}, None)
    return (
        f":{event.process}" if isinstance(event.process, str) else str(event.process),
        event.type.value,
        _Read(str(event.f)),
        _Read(event.value),
        None if event.key is None else _Read(str(event.key)),
        None if event.time is None else str(event.time),
        str(event.index) if "index" in record else None,
        None if event.node is None else _Read(str(event.node)),
        None if event.error is None else _Read(str(event.error)),
    )
