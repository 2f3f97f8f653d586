"""Our own history format into columns: two million lines in seconds.

Rules of this file:
- What a history is, and every error, is `checker.history.read_jsonl`'s business. This way takes
  lines of the ordinary kind, in blocks, and gives the rest to that reader (`Irregular`).
- A block decodes to records only if its lines do: see `_decoded`.
- A tail without a newline is whole, or torn, or an error, exactly as over there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from checker.columns import Columns, columns_of
from checker.formats.draft import Draft, Irregular, uncollected
from checker.history import read_jsonl
from checker.values import canonical

# The records of a block stay in the processor's cache; blocks of megabytes take twice as long.
_BLOCK_BYTES = 1 << 17
_DIGITS_MAX = 4300  # Python reads no longer integer, msgspec passes over one in an unknown field


class Line(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """An event as it is written."""

    process: int | Literal["nemesis"]
    type: Literal["invoke", "ok", "fail", "info"]
    f: str
    value: Any = None
    key: str | int | None = None
    time: int | None = None
    index: int | msgspec.UnsetType = msgspec.UNSET
    node: str | int | None = None
    error: Any = None


class _OpenLine(Line, gc=False, frozen=True, forbid_unknown_fields=False):
    """A line with fields that are not ours."""


def read_jsonl_columns(path: Path) -> Columns:
    """Read our own format as columns; the same result and errors as `read_jsonl` has."""
    try:
        with uncollected():
            return _read(path)
    except (Irregular, RecursionError):
        return columns_of(read_jsonl(path))


def _read(path: Path) -> Columns:
    draft = Draft()
    torn: list[str] = []
    for lines in lines_of(path, torn):
        add_lines(draft, lines, [line.value for line in lines])
    return draft.columns(source=str(path), format="jsonl", torn_tail=torn[0] if torn else None)


def lines_of(path: Path, torn: list[str]) -> Iterator[list[Line]]:
    """Yield the lines of a file in blocks; a torn tail is left in `torn`. Raises `Irregular`."""
    decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
    lenient: msgspec.json.Decoder[Line] = msgspec.json.Decoder(_OpenLine)
    for block, whole in blocks(path):
        if not whole and not block.strip():
            continue
        try:
            try:
                lines = _decoded(block, decoder, whole=whole)
            except msgspec.ValidationError:
                decoder = lenient
                lines = _decoded(block, decoder, whole=whole)
        except ValueError:
            tail = None if whole else _torn(block)
            if tail is None:
                raise Irregular from None
            torn.append(tail)
            return
        yield lines


def blocks(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield the file in pieces that end with a newline (true), then what is left (false)."""
    with path.open("rb") as file:
        pieces: list[bytes] = []
        while block := file.read(_BLOCK_BYTES):
            cut = block.rfind(b"\n") + 1
            if cut:
                yield b"".join((*pieces, block[:cut])), True
                pieces = []
            pieces.append(block[cut:])
        yield b"".join(pieces), False


def _decoded(block: bytes, decoder: msgspec.json.Decoder[Line], *, whole: bool) -> list[Line]:
    """Decode a block, one record a line; `ValueError` if it is not that.

    `decode_lines` does not look at newlines: it reads values with whitespace between. So we look:
    every newline in the block must stand between ``}`` and ``{``. JSON has no such place inside a
    value (raw newlines are not allowed in its strings, and between a ``}`` and a ``{`` there is a
    comma), so no record goes over a line; and as many records as lines means one on each.
    """
    if whole:
        newlines = block.count(b"\n")
        between = block.count(b"}\n{")
        if between + 1 != newlines:
            between += block.count(b"}\r\n{")
        if between + 1 != newlines or not block.endswith((b"}\n", b"}\r\n")):
            raise Irregular
    else:
        newlines = 1
    if not block.startswith(b"{"):
        raise Irregular if whole else ValueError
    # msgspec does not decode the fields that it passes over.
    if not block.isascii():
        block.decode()
    if decoder.type is _OpenLine and max(map(len, block.split(b"\n"))) > _DIGITS_MAX:
        raise Irregular
    lines = decoder.decode_lines(block)
    if len(lines) != newlines:
        raise Irregular
    return lines


def _torn(tail: bytes) -> str | None:
    """Return a tail that was cut off while it was written, `None` if it is something else."""
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        if tail.lstrip().startswith(b"{"):
            return tail.decode(errors="replace")
    return None


def add_lines(draft: Draft, lines: list[Line], values: list[Any]) -> None:
    """Add the events on these lines to a draft, with these values."""
    index = [line.index for line in lines]
    unset = index[0] is msgspec.UNSET  # some but not all: no integers, which `add` refuses
    if unset and index.count(msgspec.UNSET) != len(lines):
        raise Irregular
    draft.add(
        process=[line.process for line in lines],
        kind=[line.type for line in lines],
        f=[line.f for line in lines],
        key=[line.key for line in lines],
        value=values,
        time=[line.time for line in lines],
        index=None if unset else index,
        node=[line.node for line in lines],
        error=_codes([line.error for line in lines]),
    )


def _codes(errors: list[Any]) -> list[Any]:
    if errors[0] is None and errors.count(None) == len(errors):
        return errors
    try:
        return [e if e is None or type(e) is str else canonical(e) for e in errors]
    except ValueError:
        raise Irregular from None
