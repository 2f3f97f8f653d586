"""Reads transactions from a file straight into arrays: a million of them in seconds.

Rules of this file:
- What a history is, and every error, is the business of `checker.formats` and
  `checker.transactions.micro`. This way takes our own format where it is of the ordinary kind, and
  gives the rest to them; a test holds the two together.
- A value is kept only until its transaction's outcome is known: what was asked for is needed of
  those that did not end with `ok`, what was answered of those that did.
- The only effect is reading a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from checker.columns import NEVER, OK
from checker.formats import detect, load_columns
from checker.formats.draft import Draft, Irregular, uncollected
from checker.formats.jsonl import Line, add_lines, lines_of
from checker.history import NEMESIS, HistoryError
from checker.transactions.micro import (
    Collector,
    Transactions,
    require_transactions,
    transactions_of,
)


def read_transactions(path: Path | str, workload: str, format: str = "auto") -> Transactions:  # noqa: A002
    """Read a history of transactions.

    Raises `HistoryError` for what is none of the workload, `OSError` if it cannot be read.
    """
    path = Path(path)
    if format == "jsonl" or (format == "auto" and detect(path) == "jsonl"):
        try:
            with uncollected():
                return _Reading(workload).read(path)
        except (Irregular, RecursionError, HistoryError):
            pass  # the exact way gives the right answer or the precise error
    return transactions_of(load_columns(path, format), workload)


class _Reading:
    def __init__(self, workload: str) -> None:
        self._collector = Collector(workload)
        self._draft = Draft()
        self._open: dict[int, tuple[int, Any]] = {}
        self._events = 0
        # Of the values that were added, in that order: the place of their event.
        self._places: list[int] = []

    def read(self, path: Path) -> Transactions:
        torn: list[str] = []
        for lines in lines_of(path, torn):
            self._take(lines)
        self._add([self._open[process] for process in sorted(self._open)], known=False)
        columns = self._draft.columns(
            source=str(path), format="jsonl", torn_tail=torn[0] if torn else None
        )
        require_transactions(columns)
        # The draft was given places for values.
        place_of = np.array([NEVER if one is None else one for one in columns.values.decoded])
        wanted = place_of[np.where(columns.type == OK, columns.output, columns.input)]
        number = np.full(self._events + 1, NEVER, dtype=np.int64)
        number[self._places] = np.arange(len(self._places))
        added = number[wanted]
        if np.any(added == NEVER):
            raise Irregular
        return self._collector.finish(columns, added)

    def _take(self, lines: list[Line]) -> None:
        done: list[tuple[int, Any]] = []
        undone: list[tuple[int, Any]] = []
        opened = self._open
        for place, line in enumerate(lines, start=self._events):
            process, kind = line.process, line.type
            if process == NEMESIS or isinstance(process, str):
                continue
            if kind == "invoke":
                opened[process] = place, line.value
                continue
            asked = opened.pop(process, None)
            if asked is None:
                raise Irregular
            if kind == "ok":
                done.append((place, line.value))
            else:
                undone.append(asked)
        places: list[Any] = list(range(self._events, self._events + len(lines)))
        add_lines(self._draft, lines, places)
        self._events += len(lines)
        self._add(done, known=True)
        self._add(undone, known=False)

    def _add(self, placed: list[tuple[int, Any]], *, known: bool) -> None:
        self._places += [place for place, _ in placed]
        self._collector.add([value for _, value in placed], known=known)
