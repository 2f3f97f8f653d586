"""A seed that nobody chose.

Rules of this file: this is the one place where a run meets real randomness; whoever calls says
which seed came out, so that the run can be repeated.
"""

from __future__ import annotations

import secrets
from typing import Final

_BOUND: Final = 1_000_000


def fresh_seed() -> int:
    """Return a seed that is short enough to be typed."""
    return secrets.randbelow(_BOUND)
