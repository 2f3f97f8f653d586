"""What a check may answer, and how answers are merged.

Rules of this file:
- three verdicts, no fourth; `unknown` is never a pass;
- merging is a lattice: invalid beats unknown beats valid. The merge of nothing is `unknown`,
  because a check that looked at nothing has shown nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """The answer of one check."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


_SEVERITY = {Verdict.VALID: 0, Verdict.UNKNOWN: 1, Verdict.INVALID: 2}


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Merge the verdicts of independent parts (keys, checks) into one."""
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.UNKNOWN)
