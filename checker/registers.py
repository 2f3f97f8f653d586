"""Registers straight from columns to kernels: a million operations without an object for each.

Rules of this file:
- Says of each operation what `models.register.Register.action` says, for all at once; a test
  compares the two. Whatever is unusual (another function, a cas that is no pair) is left to the
  model, which names what is wrong.
- Pure.
"""

from __future__ import annotations

import json

import numpy as np

from checker.columns import FAIL, INFO, NEVER, NULL_VALUE, OK, Columns, Ints, Longs
from checker.flat import FlatCalls
from checker.kernels.layout import CAS, READ, REFUSED, WRITE
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models.model import Action, Model
from checker.models.register import Register

_SILENT = -1  # says nothing
_ODD = -2  # not for us


def register_calls(columns: Columns, model: Model, meaning: Meaning) -> FlatCalls | None:
    """Return the calls of all keys, `None` if this is not a register or something is unusual."""
    if type(model) is not Register:
        return None
    kinds = _kinds(columns, model, meaning)
    kind = kinds[columns.function * 3 + columns.type]
    initial = columns.values.number(json.loads(str(model.initial)))
    reads = kind == READ
    if meaning.nil_read is NilRead.UNKNOWN:
        kind[reads & (columns.output == NULL_VALUE)] = _SILENT
    compares = (kind == CAS) | (kind == REFUSED)
    gives = np.where(reads, columns.output, columns.input).astype(np.int32)
    needs = gives.copy()
    needs[kind == WRITE] = -1
    if compares.any():
        pairs = columns.input[compares]
        needs[compares] = columns.values.firsts[pairs]
        gives[compares] = columns.values.seconds[pairs]
        if (needs[compares] < 0).any():
            return None
        gives[kind == REFUSED] = -1
        kind[compares & (needs == gives) & (kind == CAS)] = READ
    if (kind == _ODD).any():
        return None
    keep = kind != _SILENT
    # An operation that may never have happened and changes nothing says nothing.
    keep &= (kind != READ) | (columns.type != INFO)
    row = np.nonzero(keep)[0]
    keys = len(columns.keys)
    if keys > 1:
        row = row[np.argsort(columns.key[row], kind="stable")]
    end = columns.end[row]
    return FlatCalls(
        kind=kind[row].astype(np.int32),
        needs=needs[row],
        gives=gives[row],
        start=columns.start[row],
        end=np.where(columns.type[row] == INFO, NEVER, end),
        row=row,
        stops=np.cumsum(np.bincount(columns.key[row], minlength=keys)),
        initial=np.full(keys, initial, np.int64),
        values=len(columns.values),
        edge_stops=np.zeros(keys, np.int64),
    )


def _kinds(columns: Columns, model: Register, meaning: Meaning) -> Ints:
    """Return what each (function, type) does, at ``function * 3 + type``."""
    refused = REFUSED if meaning.failed_cas is FailedCas.DIFFERS else _SILENT
    does = {
        "read": {OK: READ, FAIL: _SILENT, INFO: _SILENT},
        "write": {OK: WRITE, FAIL: _SILENT, INFO: WRITE},
    }
    if model.has_cas:
        does["cas"] = {OK: CAS, FAIL: refused, INFO: CAS}
    odd = {OK: _ODD, FAIL: _ODD, INFO: _ODD}
    return np.array(
        [does.get(name, odd)[kind] for name in columns.functions for kind in (OK, FAIL, INFO)],
        np.int32,
    )


def actions_of(calls: FlatCalls, places: Longs, columns: Columns) -> list[Action]:
    """Return the actions of some calls, as the model has them.

    A cas from a value to itself is a READ here; to a register the two are the same.
    """
    numbers = np.unique(np.concatenate([calls.needs[places], calls.gives[places]]))
    text = {number: columns.values.text(number) for number in numbers.tolist() if number >= 0}
    actions: list[Action] = []
    for kind, needs, gives in zip(
        calls.kind[places].tolist(), calls.needs[places].tolist(), calls.gives[places].tolist(),
        strict=True,
    ):  # fmt: skip
        if kind == READ:
            actions.append(("read", text[needs]))
        elif kind == WRITE:
            actions.append(("write", text[gives]))
        elif kind == CAS:
            actions.append(("cas", text[needs], text[gives]))
        else:
            actions.append(("refused", text[needs]))
    return actions
