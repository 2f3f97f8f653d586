"""Jepsen's and Knossos' own histories: EDN, one vector (or list) of operation maps, or a map a line.

Rules of this file:
- An operation map has `:process :type :f :value` and may have `:time :index :key :error :node`;
  other names are theirs and are left alone.
- ``:process :nemesis`` may use any `:type`; it describes faults, no client.
- Strict: a file that ends in the middle of a value is an error, because a history that was
  exported is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from checker.formats.edn import read_edn
from checker.history import NEMESIS, Event, EventType, History, HistoryError, event_from_record
from checker.history import in_order as ordered

_TYPES = frozenset(kind.value for kind in EventType)


def read_jepsen_edn(path: Path) -> History:
    """Read the file; raise `HistoryError` naming file and line, `OSError` if it cannot be read."""
    try:
        records = list(_records(read_text(path)))
        # Pairing goes by index, so indexes must be either all theirs or all ours.
        indexed = all("index" in record for _, record in records)
        events = [event_of(line, record, place if not indexed else None)
                  for place, (line, record) in enumerate(records)]  # fmt: skip
        return History(ordered(events), source=str(path), format="edn")
    except HistoryError as error:
        raise HistoryError(f"{path}: {error}") from None


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte order mark; `HistoryError` names the line."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise HistoryError(f"line {line}: not UTF-8 text ({error.reason})") from None


def event_of(line: int, record: dict[str, Any], index: int | None) -> Event:
    """Return the event that an operation map describes; `index` in place of its own if given."""
    if index is not None:
        record = {**record, "index": index}
    kind = record.get("type")
    if record.get("process") == NEMESIS and not (isinstance(kind, str) and kind in _TYPES):
        record = {**record, "type": "info"}
    try:
        return event_from_record(record, default_index=0)
    except HistoryError as error:
        raise HistoryError(f"line {line}: operation {record['index']!r:.40}: {error}") from None


def _records(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, value in read_edn(text):
        for record in value if isinstance(value, list) else [value]:
            if not isinstance(record, dict):
                raise HistoryError(
                    f"line {line}: expected operation maps like "
                    f"{{:process 0 :type :invoke :f :read}}, got {record!r:.60}"
                )
            yield line, record
