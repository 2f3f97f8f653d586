"""Certificates: what proves a verdict to somebody who trusts no search (docs/certificates.md).

Rules of this file:
- Written from what a check found; believed only after `checker.verify` accepted it, which shares
  no code with any search.
- Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from checker.columns import Columns
from checker.core import Core
from checker.meaning import Meaning
from checker.models import DEFAULT, Model, initial_of
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
            "jumps": sorted(map(str, core.jumps)) or None,
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
