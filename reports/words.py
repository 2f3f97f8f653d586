"""Numbers and values as people read them.

Rules of this file:
- Always text, never markup: escaping is the template's business.
- What could deceive the eye (control characters, changes of writing direction) is spelled out.
- Every text has a bound.
"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any, Final

TEXT_MAX: Final = 160
# Control, format (bidirectional overrides and the like), surrogate, private use, line separators.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
NOTHING: Final = "\N{EN DASH}"
NARROW: Final = "\N{NARROW NO-BREAK SPACE}"


def shown(value: Any, *, limit: int = TEXT_MAX) -> str:
    """Return a JSON value as one line of text."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=str)
    except (ValueError, RecursionError):
        text = "(a value that cannot be shown)"
    return clean(text, limit=limit)


def clean(text: str, *, limit: int = 400) -> str:
    """Spell out what cannot be seen, and cut what is too long."""
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(_spelled(letter) for letter in cut)
    return cut + ("…" if len(text) > limit else "")


def _spelled(letter: str) -> str:
    if letter == "\t":
        return "    "
    if unicodedata.category(letter) not in _UNSEEN:
        return letter
    return f"\\u{ord(letter):04x}"


def number(value: float) -> str:
    """A count, with narrow spaces between thousands."""
    return f"{value:,.0f}".replace(",", NARROW)


def rate(per_s: float) -> str:
    """A rate: decimals only where they say something."""
    return number(per_s) if per_s >= 100 else f"{per_s:.1f}"


def milliseconds(value_ms: float | None) -> str:
    """A latency, in the unit that reads best; a dash when there is none."""
    if value_ms is None or math.isnan(value_ms):
        return NOTHING
    if value_ms >= 10_000:
        return f"{value_ms / 1000:.1f}{NARROW}s"
    if value_ms >= 1000:
        return f"{value_ms / 1000:.2f}{NARROW}s"
    if value_ms >= 100:
        return f"{value_ms:.0f}{NARROW}ms"
    return f"{value_ms:.1f}{NARROW}ms" if value_ms >= 1 else f"{value_ms:.2f}{NARROW}ms"


def moment(time_ns: float) -> str:
    """A moment of the run: seconds to the millisecond."""
    return f"{time_ns / 1e9:.3f}{NARROW}s"


def duration(seconds: float) -> str:
    """How long something took."""
    if seconds >= 3600:
        return f"{seconds // 3600:.0f}{NARROW}h {seconds % 3600 // 60:.0f}{NARROW}min"
    if seconds >= 120:
        return f"{seconds // 60:.0f}{NARROW}min {seconds % 60:.0f}{NARROW}s"
    return f"{seconds:.1f}{NARROW}s" if seconds < 100 else f"{seconds:.0f}{NARROW}s"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """A count with its noun: 1 operation, 2 operations."""
    return f"{number(count)} {noun if count == 1 else many or noun + 's'}"


def argument(f: str, value: Any, *, limit: int = TEXT_MAX) -> str:
    """What an operation was given; a compare-and-set as ``from→to``."""
    if f == "cas" and isinstance(value, list) and len(value) == 2:
        return f"{shown(value[0], limit=limit)}→{shown(value[1], limit=limit)}"
    return shown(value, limit=limit)


def call(f: str, value: Any, output: Any, *, known: bool) -> str:
    """An operation in a few characters: ``write 5``, ``cas 2→5``, ``read → 3``."""
    if f == "cas":
        return f"cas {argument(f, value, limit=24)}"
    if f == "read" and value is None:
        return f"read → {shown(output, limit=40) if known else '?'}"
    text = clean(f, limit=24) + ("" if value is None else f" {shown(value, limit=40)}")
    return text if output is None or output == value else f"{text} → {shown(output, limit=40)}"
