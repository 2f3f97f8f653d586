"""Histories out to EDN: one operation map a line, as Jepsen and Knossos write them.

Rules of this file:
- What is written is read back by `read_jepsen_edn` as the same events. `type`, and `f` and `error`
  where they are plain words, are keywords; keys and nodes are strings, because a key ``"1"`` is
  not the number 1; names in maps are keywords where they are plain words.
- What could not be read back (too deep a nesting) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from checker.columns import Columns, events_of
from checker.formats.edn import NESTING_MAX, Keyword
from checker.history import NEMESIS, Event, History, HistoryError

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.*+!?<>=-]*(?:/[A-Za-z][A-Za-z0-9_.*+!?<>=-]*)?")
_SPECIAL = re.compile(r'["\\\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]')
_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\t": r"\t", "\r": r"\r"}
_FLOATS = {"inf": "##Inf", "-inf": "##-Inf", "nan": "##NaN"}
_LONG = 2**63
_DEPTH_MAX = NESTING_MAX - 2  # inside the map, and a reader may find it inside a vector


def write_edn(history: History | Columns, target: Path | str | TextIO) -> None:
    """Write a history to a file or a text stream.

    Columns do not hold the nemesis' events: they are in the file only if a `History` is given.
    Raises `HistoryError` for a value that EDN has no word for, `OSError`.
    """
    events = events_of(history) if isinstance(history, Columns) else history.events
    if isinstance(target, Path | str):
        # The newline as it is: an EDN string may hold one, and a carriage return.
        with Path(target).open("w", encoding="utf-8", newline="\n") as file:
            _write(events, file)
    else:
        _write(events, target)


def _write(events: Iterable[Event], file: TextIO) -> None:
    for event in events:
        try:
            file.write(_line(event))
        except ValueError as error:
            raise HistoryError(f"event {event.index!r:.40}: {error}") from None


def _line(event: Event) -> str:
    process = f":{NEMESIS}" if event.process == NEMESIS else event.process
    time = "" if event.time is None else f", :time {event.time}"
    key = "" if event.key is None else f", :key {_string(event.key)}"
    node = "" if event.node is None else f", :node {_string(event.node)}"
    error = "" if event.error is None else f", :error {_word(event.error)}"
    return (
        f"{{:index {event.index}{time}, :process {process}, :type :{event.type.value}, "
        f":f {_word(event.f)}{key}, :value {_value(event.value)}{node}{error}}}\n"
    )


def _value(value: Any, depth: int = 0) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -_LONG <= value < _LONG else f"{value}N"
    if isinstance(value, float):
        return _FLOATS.get(repr(value), repr(value))
    if isinstance(value, str):
        return _word(value) if isinstance(value, Keyword) else _string(value)
    if depth >= _DEPTH_MAX:
        raise ValueError(f"a value that is nested deeper than {_DEPTH_MAX}")
    if isinstance(value, list | tuple):
        return f"[{' '.join([_value(part, depth + 1) for part in value])}]"
    if isinstance(value, dict):
        parts = [f"{_word(str(name))} {_value(part, depth + 1)}" for name, part in value.items()]
        return f"{{{', '.join(parts)}}}"
    raise ValueError(f"expected a JSON value, got {value!r:.60}")


def _word(text: str) -> str:
    return f":{text}" if _WORD.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"
