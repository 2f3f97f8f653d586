"""Strings that are read, overwritten and appended to, from columns to kernels.

Rules of this file:
- Says of each operation what `models.key_value.KeyValue.action` says; whatever is unusual is left
  to the model.
- A string that begins none that was read is like any other such string (`KeyValue.merged`), so the
  states are the strings that were read, and what these may have been made of: found backwards, by
  taking appended values off their ends. Every other append leads where nobody looks.
- Each key has states and classes of its own. Pure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from checker.columns import FAIL, INFO, NEVER, NULL_VALUE, OK, Columns
from checker.flat import FlatCalls
from checker.kernels.layout import READ, TABLE, WRITE
from checker.meaning import Meaning, NilRead
from checker.models.key_value import KeyValue
from checker.models.model import Model

# Characters of states, in all: beyond that the states are found as they are needed.
_CHARACTERS_MAX = 20_000_000

_SILENT, _ODD = -1, -2
_DOES = {
    "get": {OK: READ, FAIL: _SILENT, INFO: _SILENT},
    "put": {OK: WRITE, FAIL: _SILENT, INFO: WRITE},
    "append": {OK: TABLE, FAIL: _SILENT, INFO: TABLE},
}


def string_calls(columns: Columns, model: Model, meaning: Meaning) -> FlatCalls | None:
    """Return the calls of all keys; `None` if these are no strings, or something is unusual."""
    if type(model) is not KeyValue or not isinstance(model.initial, str):
        return None
    odd = {OK: _ODD, FAIL: _ODD, INFO: _ODD}
    kinds = [_DOES.get(name, odd)[kind] for name in columns.functions for kind in (OK, FAIL, INFO)]
    kind = np.array(kinds, np.int32)[columns.function * 3 + columns.type]
    if meaning.nil_read is NilRead.UNKNOWN:
        kind[(kind == READ) & (columns.output == NULL_VALUE)] = _SILENT
    if (kind == _ODD).any():
        return None
    row = np.nonzero(kind != _SILENT)[0]
    keys = len(columns.keys)
    if keys > 1:
        row = row[np.argsort(columns.key[row], kind="stable")]
    kind = kind[row]
    value = np.where(kind == READ, columns.output[row], columns.input[row])
    stops = np.cumsum(np.bincount(columns.key[row], minlength=keys))
    numbered = _Numbered(columns.values.decoded, model.initial)
    begin = 0
    for stop in stops.tolist():
        if not numbered.add(kind[begin:stop].tolist(), value[begin:stop].tolist()):
            return None
        begin = stop
    needs, gives = np.array([numbered.needs, numbered.gives], np.int32)
    edges = np.array(numbered.edges, np.int32).reshape(-1, 3)
    return FlatCalls(
        kind=kind,
        needs=needs,
        gives=gives,
        start=columns.start[row],
        end=np.where(columns.type[row] == INFO, NEVER, columns.end[row]),
        row=row,
        stops=stops,
        initial=np.array(numbered.initial, np.int64),
        values=numbered.states,
        edges=edges,
        edge_stops=np.array(numbered.edge_stops, np.int64),
        classes=max(1, numbered.classes),
    )


class _Numbered:
    """Numbers for the strings and appended values of one key after the other."""

    def __init__(self, decoded: list[Any], initial: str) -> None:
        self.decoded = decoded
        self.start = initial
        self.states = self.classes = self.characters = 0
        self.needs: list[int] = []
        self.gives: list[int] = []
        self.initial: list[int] = []
        self.edges: list[tuple[int, int, int]] = []
        self.edge_stops: list[int] = []

    def add(self, kinds: list[int], values: list[int]) -> bool:
        """Number one key's calls; `False` if some value is no string, or it takes too much."""
        decoded, first, classes = self.decoded, self.states, self.classes
        needs, gives = self.needs, self.gives
        known: dict[str, int] = {self.start: first}
        appended: dict[str, int] = {}
        got: list[str] = []
        for kind, value in zip(kinds, values, strict=True):
            text = decoded[value]
            if type(text) is not str:
                if text is not None or kind != READ:
                    return False
                text = ""
            if kind == TABLE:
                if not text:
                    return False
                needs.append(appended.setdefault(text, classes + len(appended)))
                gives.append(-1)
                continue
            number = known.setdefault(text, first + len(known))
            gives.append(number)
            if kind == READ:
                got.append(text)
                needs.append(number)
            else:
                needs.append(-1)
        self.initial.append(first)
        if appended and not self._find_edges(known, appended, got):
            return False
        self.states += len(known)
        self.classes += len(appended)
        self.edge_stops.append(len(self.edges))
        return True

    def _find_edges(self, known: dict[str, int], appended: dict[str, int], got: list[str]) -> bool:
        """Find what the strings that were read may have been made of."""
        first = self.states
        ends = sorted(set(map(len, appended)))
        seen = set(got)
        waiting = list(dict.fromkeys(got))
        while waiting:
            text = waiting.pop()
            for length in ends:
                cls = appended.get(text[-length:])
                if cls is None or length > len(text):
                    continue
                before = text[:-length]
                number = known.setdefault(before, first + len(known))
                self.edges.append((number, cls, known[text]))
                if before not in seen:
                    seen.add(before)
                    waiting.append(before)
                    self.characters += len(before)
                    if self.characters > _CHARACTERS_MAX:
                        return False
        return True
