"""Certificates: what proves a verdict to somebody who trusts no search (docs/certificates.md).

Rules of this file:
- Written from what a check found; believed only after `checker.verify` accepted it, which shares
  no code with any search.
- Pure.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

from checker.columns import Columns
from checker.core import Core
from checker.meaning import Meaning
from checker.models import DEFAULT, MODELS, Model, model_named
from checker.verdict import KeyResult, Verdict

VERSION = 1


def about(model: Model, meaning: Meaning) -> dict[str, Any]:
    """Return what every certificate begins with: what was checked against what."""
    said: dict[str, Any] = {"certificate": VERSION, "model": model.name}
    initial = initial_of(model)
    if initial is not DEFAULT:
        said["initial"] = initial
    said["meaning"] = {
        "failed_cas": meaning.failed_cas.value,
        "nil_read": meaning.nil_read.value,
    }
    return said


def of_valid(model: Model, meaning: Meaning, keys: Iterable[KeyResult]) -> dict[str, Any]:
    """Return the certificate of a valid history: an order for each key."""
    linearizations = [{"key": k.key, "order": list(k.linearization or ())} for k in keys]
    return {
        **about(model, meaning),
        "verdict": Verdict.VALID.value,
        "linearizations": linearizations,
    }


def of_invalid(
    model: Model, meaning: Meaning, key: str | None, core: Core, columns: Columns,
    cycle: Iterable[tuple[int, int, str]] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the certificate of an invalid history: a core without an order."""
    index = columns.index
    edges = [
        [*(None if row < 0 else int(index[row]) for row in (one, other)), why]
        for one, other, why in cycle
    ]
    return {
        **about(model, meaning),
        "verdict": Verdict.INVALID.value,
        "refutation": {
            "key": key if model.keyed else None,
            "from": core.since,
            "elements": None if core.elements is None else sorted(core.elements),
            "calls": [
                {
                    "index": int(index[c.call.index]),
                    "start": c.start,
                    "end": c.end,
                    "required": c.required,
                }
                for c in core.calls
            ],
            "cycle": edges or None,
        },
    }


def initial_of(model: Model) -> Any:
    """Return the JSON value that a model starts as, `DEFAULT` if it is the usual one.

    Found by trying what the state may have been made of; `DEFAULT` also where nothing fits (a
    model of somebody's own, which a verifier has to be given anyway).
    """
    if model.name not in MODELS:
        return DEFAULT
    for value in (DEFAULT, *_readings(model.initial)):
        try:
            if model_named(model.name, value).initial == model.initial:
                return value
        except ValueError:
            continue
    return DEFAULT


def _readings(state: Any) -> list[Any]:
    """Return JSON values that a state may have come from."""
    read: list[Any] = [state] if isinstance(state, str | int) else []
    if isinstance(state, str):
        with contextlib.suppress(ValueError):
            read.insert(0, json.loads(state))
    if isinstance(state, tuple | frozenset):
        parts = list(state)
        if isinstance(state, frozenset):
            parts = sorted(parts, key=str)
        if len(parts) == 1 and isinstance(state, frozenset) and isinstance(parts[0], tuple):
            parts = list(parts[0])  # the one bag that an unordered queue may be
        if all(isinstance(part, tuple) and len(part) == 2 for part in parts):
            pairs = {_json(name): _json(value) for name, value in parts}
            if all(isinstance(name, str) for name in pairs):
                read.append(pairs)
        read.append([_json(part) for part in parts])
    return read


def _json(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text
