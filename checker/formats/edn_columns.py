"""Jepsen's histories into columns: two million operation maps, one a line, in seconds.

Rules of this file:
- What a history is, and every error, is `read_jepsen_edn`'s business; see `draft.Irregular`.
- A line is read alone. That is sound because every line taken here is read to its end and leaves
  nothing open (no string, collection, ``#_`` or tag): the next line starts where a value may.
- A kernel takes the ordinary lines of a block (`checker.kernels.edn_lines`); any other line goes
  through `read_edn`, alone. A small file is read the exact way at once: no kernel need be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from checker.columns import Columns, Longs, columns_of
from checker.formats.draft import Draft, Irregular, uncollected
from checker.formats.edn import read_edn
from checker.formats.jepsen_edn import event_of, read_jepsen_edn
from checker.formats.jsonl import blocks
from checker.history import NEMESIS, HistoryError
from checker.values import canonical

_SMALL_BYTES = 200_000  # read in less time than kernels are loaded
_EXACT_MAX = 2000  # other lines; a file with more is read the exact way at once
_CLOSERS = {"[": "]", "(": ")"}
_BLANKS = b" \t\r\n,"
_WORDS: Final = {"nil": None, "true": True, "false": False}
# Columns of a block: process, type, f, value, key, time, index, node, error.
_Fields = list[Sequence[Any]]
_Row = tuple[Any, ...]


def read_edn_columns(path: Path) -> Columns:
    """Read the file as columns; the same result and errors as `read_jepsen_edn` has."""
    try:
        if path.stat().st_size >= _SMALL_BYTES:
            with uncollected():
                return _Reader(path).columns()
    except (Irregular, RecursionError, OSError):
        pass
    return columns_of(read_jepsen_edn(path))


class _Reader:
    """One reading of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = Draft()
        self._opener = ""  # of the list around all maps, when there is one
        self._closed = False
        self._exact_lines = 0
        self._decoded: dict[str, Any] = {}
        self._names = _NamesOf(self)

    def columns(self) -> Columns:
        """Read all; raise `Irregular`."""
        unindexed = started = False
        for block in _whole_lines(self._path):
            begun = block if started else self._open(block)
            started |= begun is not None
            unindexed |= self._add(self._fields(begun or block))
        if self._opener and not self._closed:
            raise Irregular
        if unindexed:
            self._draft.index_by_place()
        return self._draft.columns(source=str(self._path), format="edn")

    def _open(self, block: bytes) -> bytes | None:
        """Return the block, the bracket that opens the list of all maps blanked; `None`: not begun."""
        begin = 0
        for line in block.split(b"\n"):
            rest = line.lstrip(_BLANKS)
            if rest and not rest.startswith(b";"):
                if chr(rest[0]) in _CLOSERS:
                    self._opener = chr(rest[0])
                    place = begin + len(line) - len(rest)
                    return block[:place] + b" " + block[place + 1 :]
                return block
            begin += len(line) + 1
        return None

    def _fields(self, block: bytes) -> _Fields:
        """Return what the lines of a block say, a column a field."""
        from checker.kernels import edn_lines as kernel

        state, numbers, kind, texts, begins, stops = kernel.read_lines(
            np.frombuffer(block, np.uint8)
        )
        said = [
            block[begin:stop].decode()
            for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)
        ]
        process, time, index = (
            _optional(numbers[:, at], kernel.ABSENT)
            for at in (kernel.PROCESS, kernel.TIME, kernel.INDEX)
        )
        if kernel.OF_NEMESIS in process:
            process = [NEMESIS if one == kernel.OF_NEMESIS else one for one in process]
        f, value, key, node, error = (
            self._column(texts[:, at], said, is_value=at == kernel.VALUE)
            for at in (kernel.F, kernel.VALUE, kernel.KEY, kernel.NODE, kernel.ERROR)
        )
        kinds = list(map(kernel.KINDS.__getitem__, kind.tolist()))
        fields: _Fields = [process, kinds, f, value, key, time, index, node, error]
        others = np.flatnonzero(state != kernel.TAKEN).tolist()
        if self._closed and len(others) < len(state):
            raise Irregular
        if others:
            self._insert(fields, others, block.split(b"\n"))
        return fields

    def _column(self, places: Longs, said: list[str], *, is_value: bool) -> Sequence[Any]:
        """Return the values, or the names, of the texts in these places; -1 stands for none."""
        table: list[Any] = [None] * (len(said) + 1)
        for place in np.unique(places).tolist():
            if place >= 0:
                table[place] = self.value(said[place]) if is_value else self._names[said[place]]
        return list(map(table.__getitem__, places.tolist()))

    def _insert(self, fields: _Fields, others: list[int], lines: list[bytes]) -> None:
        """Put in place of the lines that were not taken what they say."""
        said = []
        for number, place in enumerate(others):
            text = lines[place].decode().replace("\r\n", "\n").replace("\r", "\n")
            said.append(list(self._exact_rows(text)))
            if self._closed and len(others) - number < len(fields[0]) - place:
                raise Irregular  # something follows the end of all
        for at, field in enumerate(fields):
            column = list(field)
            for place, rows in zip(reversed(others), reversed(said), strict=True):
                column[place : place + 1] = [row[at] for row in rows]
            fields[at] = column

    def _exact_rows(self, line: str) -> Iterator[_Row]:
        rest = line.rstrip(" \t\n,")
        if not rest:
            return
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
                yield self._exact_row(record)
        except HistoryError:
            raise Irregular from None

    def _exact_row(self, record: dict[str, Any]) -> _Row:
        """Return a record as a row; raise `HistoryError` for what is no operation."""
        event = event_of(0, {"index": 0, **record}, None)
        return (
            NEMESIS if isinstance(event.process, str) else event.process,
            event.type.value,
            str(event.f),
            event.value,
            None if event.key is None else str(event.key),
            event.time,
            event.index if "index" in record else None,
            None if event.node is None else str(event.node),
            None if event.error is None else str(event.error),
        )

    def _add(self, fields: _Fields) -> bool:
        """Add what a block says; tell whether some of it has no index."""
        process, kind, f, value, key, time, index, node, error = fields
        if not process:
            return False
        unindexed = None in index
        self._draft.add(
            process=process,
            kind=kind,
            f=f,
            key=key,
            value=value,
            time=time,
            index=None if unindexed else index,
            node=node,
            error=error,
        )
        return unindexed

    def value(self, text: str) -> Any:
        """Return the value that a text stands for."""
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


class _NamesOf(dict[str, str | None]):
    """From texts to the names of functions, keys, nodes and errors."""

    def __init__(self, reader: _Reader) -> None:
        super().__init__()
        self._reader = reader

    def __missing__(self, text: str) -> str | None:
        value = self._reader.value(text)
        name = self[text] = value if value is None or type(value) is str else canonical(value)
        return name


def _optional(numbers: Longs, absent: int) -> Sequence[Any]:
    """Return numbers, `None` in place of those that are absent."""
    listed: list[Any] = numbers.tolist()
    return listed if absent not in listed else [None if n == absent else n for n in listed]


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the file in pieces of whole lines, each with its newline."""
    beginning = True
    for block, _ in blocks(path):
        piece = block.removeprefix(b"\xef\xbb\xbf") if beginning else block
        beginning = beginning and not block
        if not piece:
            continue
        if not piece.isascii():
            try:
                piece.decode()
            except UnicodeDecodeError:
                raise Irregular from None
        yield piece if piece.endswith(b"\n") else piece + b"\n"
