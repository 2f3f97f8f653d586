"""Values as canonical JSON text, and what is let in as a value.

Rules of this file:
- Equal texts are equal values (`1`, `true` and `1.0` are three values): ASCII, no spaces, the keys
  of objects sorted. Nobody needs to parse a value to compare it.
- What is accepted does not depend on the machine: nesting is counted, not left to the stack of
  whoever happens to read, for all nodes must agree on what a log entry means.
"""

import json
import math

from node.core.messages import Json, Malformed

VALUE_BYTES_MAX = 64 * 1024
"""Of one value, as canonical text."""
HELD_BYTES_MAX = 1024 * 1024
"""Of all that a key holds, or that one answer carries."""
DEPTH_MAX = 64
"""Levels of nesting in a value, so that no JSON reader along the way runs out of stack."""

NULL = "null"


class OutOfRange(ValueError):
    """A number that no double can hold, such as 1e999."""


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise OutOfRange(text)
    return number


# Made once: json.loads and json.dumps build a new one at every call with options.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)
_read = _DECODER.raw_decode


def decode(text: str) -> Json:
    """Any JSON document; raises `ValueError` or `RecursionError`."""
    return _DECODER.decode(text)


def decode_list(text: str) -> list[Json]:
    """A list that one of us wrote, without spaces around it; raises `Malformed`."""
    try:
        value, end = _read(text)
    except (ValueError, RecursionError):
        raise Malformed(f"no JSON: {text:.60}") from None
    if type(value) is not list or end != len(text):
        raise Malformed(f"no JSON list: {text:.60}")
    return value


def canonical(value: Json) -> str:
    """The one text of a value that came out of `decode`."""
    return _ENCODER.encode(value)


def require(text: Json, bytes_max: int = VALUE_BYTES_MAX, depth_max: int = DEPTH_MAX) -> str:
    """`text` if it is JSON text within the limits, or `Malformed`.

    Values are pasted into answers and into lists: what is no JSON must not get in.
    """
    if type(text) is not str or len(text) > bytes_max or not text.isascii():
        raise Malformed(f"not JSON text of at most {bytes_max} ASCII characters")
    try:
        value, end = _read(text)
    except (ValueError, RecursionError):
        raise Malformed("a value that is not JSON text") from None
    if end != len(text):
        raise Malformed("a value that goes on after its end")
    # A text shorter than this cannot open so many brackets.
    if len(text) > depth_max and too_deep(value, depth_max):
        raise Malformed(f"a value nested more than {depth_max} levels deep")
    return text


def too_deep(value: Json, depth_max: int = DEPTH_MAX) -> bool:
    """Whether a value has more levels of nesting, found without recursion."""
    depth = 0
    level: list[Json] = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > depth_max:
            return True
        below: list[Json] = []
        for item in level:
            below.extend(item.values() if isinstance(item, dict) else item)
        level = below
    return False


def elements(text: str) -> list[str] | None:
    """The texts of a list's elements; None if the text is not that of a list."""
    if not text.startswith("["):
        return None
    value = decode(text)
    assert isinstance(value, list)
    return [canonical(element) for element in value]


def joined(texts: list[str]) -> str:
    """The text of the list of these elements."""
    return f"[{','.join(texts)}]"
