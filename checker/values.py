"""Values as models see them: the canonical JSON text of what was written or read.

Rules of this file:
- Two values are the same exactly when JSON says so: ``1`` is not ``true``, ``1`` is ``1.0``, the
  order of an object's names does not count. Python's own ``==`` says otherwise on the first and
  cannot hash lists and objects; the text can be compared, hashed and shown to people.
- Pure.
"""

from __future__ import annotations

import json
from typing import Any

NULL = "null"


def canonical(value: Any) -> str:
    """Return the canonical JSON text of a decoded JSON value.

    Raises `ValueError` if it is nested so deeply that it cannot be walked.
    """
    if value is None:
        return NULL
    if type(value) is int:
        return str(value)
    try:
        if not isinstance(value, str | bool):
            value = _plain_numbers(value)
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise ValueError("a value that is nested too deeply") from None


def _plain_numbers(value: Any) -> Any:
    """Return the value with whole floats as integers, so that ``1.0`` and ``1`` are one text."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain_numbers(item) for name, item in value.items()}
    return value
