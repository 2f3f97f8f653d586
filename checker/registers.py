"""Registers straight from columns to kernels: a million operations without an object for each.

Rules of this file:
- Says of each operation what `models.register.Register.action` says, for all at once; a test
  compares the two. Whatever is unusual (another function, a cas that is no pair) is left to the
  model, which names what is wrong.
- Pure.
"""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np

from checker.columns import FAIL, INFO, NULL_VALUE, OK, Columns, Ints, Longs
from checker.flat import FlatCalls
from checker.kernels.flatten import ODD, SILENT, SILENT_CAS, flatten
from checker.kernels.layout import CAS, READ, REFUSED, WRITE
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models.model import Action, Model
from checker.models.register import Register
from checker.values import NULL


def register_calls(columns: Columns, model: Model, meaning: Meaning) -> FlatCalls | None:
    """Return the calls of all keys, `None` if this is not a register or something is unusual."""
    if type(model) is not Register:
        return None
    does = _does(columns.functions, model.has_cas, meaning.failed_cas)
    values, keys = columns.values, len(columns.keys)
    initial = NULL_VALUE if model.initial == NULL else values.find(json.loads(str(model.initial)))
    if initial is None:  # a value that nobody names: one more number
        initial = len(values)
    kind, needs, gives, start, end, row, stops, odd = flatten(
        does, columns.function, columns.type, columns.key, columns.input, columns.output,
        columns.start, columns.end, values.firsts, values.seconds, keys,
        meaning.nil_read is NilRead.UNKNOWN,
    )  # fmt: skip
    if odd:
        return None
    return FlatCalls(
        kind=kind,
        needs=needs,
        gives=gives,
        start=start,
        end=end,
        row=row,
        stops=stops,
        initial=np.full(keys, initial, np.int64),
        values=len(values) + 1,
        edge_stops=np.zeros(keys, np.int64),
    )


@lru_cache(maxsize=64)
def _does(functions: tuple[str, ...], has_cas: bool, failed_cas: FailedCas) -> Ints:  # noqa: FBT001
    """Return what each (function, type) does, at ``function * 3 + type``."""
    refused = REFUSED if failed_cas is FailedCas.DIFFERS else SILENT_CAS
    known = {
        "read": {OK: READ, FAIL: SILENT, INFO: SILENT},
        "write": {OK: WRITE, FAIL: SILENT, INFO: WRITE},
    }
    if has_cas:
        known["cas"] = {OK: CAS, FAIL: refused, INFO: CAS}
    odd = {OK: ODD, FAIL: ODD, INFO: ODD}
    return np.array(
        [known.get(name, odd)[kind] for name in functions for kind in (OK, FAIL, INFO)], np.int32
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
