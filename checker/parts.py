"""A history divided into objects that can be checked alone, and what is known of each so far.

Rules of this file:
- Keys are objects of their own if the model says so: an object that is made of independent ones is
  linearizable exactly if each of them is (Herlihy & Wing, TOPLAS 12(3) (1990), section 3.3; Horn &
  Kroening, "Faster linearizability checking via P-compositionality", FORTE 2015, section 4).
- Calls are made of operations when somebody asks for them, and only of those asked for: a long
  history never needs all of them. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from checker.budget import Spent
from checker.calls import Call, Calls
from checker.columns import INFO, Columns, Longs
from checker.history import HistoryError
from checker.meaning import Meaning
from checker.models.model import Model
from checker.verdict import Verdict

if TYPE_CHECKING:
    from checker.portfolio import Race


@dataclass(slots=True, kw_only=True)
class Found:
    """What a check found out about one object.

    `order` (if valid): rows of the columns in an order that explains them all. `until`: the row
    whose return no order comes past (if invalid), or that some order came up to. `hint` (if
    invalid): rows that make the contradiction, where that is known; `between`, of a stale read, the
    change that lies between it and all that gave its value; `elements` those of a collection that it
    is about.
    """

    verdict: Verdict
    algorithm: str
    order: Longs | None = None
    until: int | None = None
    hint: tuple[int, ...] = ()
    between: int | None = None
    elements: frozenset[str] | None = None
    cycle: tuple[tuple[int, int, str], ...] = ()
    spent: Spent | None = None
    steps: int = 0
    kept_bytes: int = 0


class Part:
    """One object: its rows in the columns, and its calls when they are wanted."""

    def __init__(
        self, key: str | None, rows: Longs, columns: Columns, model: Model, meaning: Meaning
    ) -> None:
        self.key = key
        self.rows = rows
        self.columns = columns
        self.model = model
        self.meaning = meaning
        self.found: Found | None = None
        # A race that has not ended, and what an earlier process saved of one.
        self.race: Race | None = None
        self.saved: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def calls(self) -> Calls:
        """All calls of the object; a call's index is its row.

        Raises `HistoryError` where the model does not know what an operation means.
        """
        return self.calls_at(self.rows)

    def calls_at(self, rows: Longs) -> Calls:
        """Return the calls of some rows, in their order."""
        columns, calls = self.columns, []
        for row in rows.tolist():
            operation = columns.operation(row)
            try:
                action = self.model.action(operation, self.meaning)
            except ValueError as error:  # a ModelError, or a value that has no canonical text
                raise HistoryError(f"{columns.source}: model {self.model.name}: {error}") from None
            if action is not None:
                end = None if columns.type[row] == INFO else operation.end
                calls.append(Call(index=row, action=action, start=operation.start, end=end))
        return tuple(calls)

    def rows_before(self, position: int, since: int = 0) -> Longs:
        """Return the rows invoked up to a position and not over before another one."""
        start, end = self.columns.start[self.rows], self.columns.end[self.rows]
        return self.rows[(start <= position) & ((end < 0) | (end >= since))]


def parts_of(columns: Columns, model: Model, meaning: Meaning) -> list[Part]:
    """Divide the rows by key, or not at all if the model has none; objects as they first appear."""
    everything = np.arange(len(columns), dtype=np.int64)
    if not len(columns):
        return []
    if not model.keyed or len(columns.keys) == 1:
        key = columns.keys[0] if model.keyed else None
        return [Part(key, everything, columns, model, meaning)]
    order = np.argsort(columns.key, kind="stable")
    stops = np.cumsum(np.bincount(columns.key, minlength=len(columns.keys)))
    parts, begin = [], 0
    for key, stop in zip(columns.keys, stops.tolist(), strict=True):
        if stop > begin:
            parts.append(Part(key, order[begin:stop], columns, model, meaning))
        begin = stop
    return parts
