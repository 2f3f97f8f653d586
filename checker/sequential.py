"""Short histories of strings in which nothing overlaps: there is one order, and it is played.

Rules of this file:
- An order of all operations must respect real time (Herlihy & Wing, TOPLAS 12(3) (1990), section
  2.3): where each one is over before the next begins, that leaves one. It explains all that was
  read, or nothing does.
- Says of each operation what `models.key_value.KeyValue.action` says (by `strings.meaning_of`);
  whatever is unusual is left to the model.
- Only for short histories, one client's, where numbering states (`checker.strings`) would take
  longer than playing them. Pure.
"""

from __future__ import annotations

import numpy as np

from checker.columns import INFO, Columns
from checker.kernels.layout import READ, WRITE
from checker.meaning import Meaning
from checker.models.model import Model
from checker.parts import Found
from checker.strings import initial_string, meaning_of, texts
from checker.verdict import Verdict

_OPERATIONS_MAX = 1000
_ALGORITHM = "one-order"


def play(columns: Columns, model: Model, meaning: Meaning) -> list[Found | None] | None:
    """Return what was found for each key; `None` if operations overlap or something is unusual."""
    initial = initial_string(model)
    if initial is None or not _has_one_order(columns):
        return None
    does = meaning_of(columns.functions)
    if does is None:
        return None
    said = texts(columns, does, meaning)
    if said is None:
        return None
    state = [initial] * len(columns.keys)
    rows: list[list[int]] = [[] for _ in state]
    contradicted: dict[int, int] = {}
    for row, kind, key, text in said:
        if kind == READ:
            if text != state[key]:
                contradicted.setdefault(key, row)
        else:
            state[key] = text if kind == WRITE else state[key] + text
        rows[key].append(row)
    return [
        Found(verdict=Verdict.INVALID, algorithm=_ALGORITHM, until=contradicted[key])
        if key in contradicted
        else Found(verdict=Verdict.VALID, algorithm=_ALGORITHM, order=np.array(order, np.int64))
        for key, order in enumerate(rows)
    ]


def _has_one_order(columns: Columns) -> bool:
    """Whether each operation is over before the next one begins."""
    if len(columns) > _OPERATIONS_MAX or INFO in columns.type:
        return False
    return bool((columns.start[1:] > columns.end[:-1]).all())
