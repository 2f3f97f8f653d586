"""What a check may answer, and how answers are merged.

Rules of this file:
- three verdicts, no fourth; `unknown` is never a pass;
- merging is a lattice: invalid beats unknown beats valid. The merge of nothing is `unknown`,
  because a check that looked at nothing has shown nothing;
- a verdict comes with what it rests on: `valid` with an order of the operations, `invalid` with
  a counterexample, `unknown` with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The answer of one check."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


_SEVERITY = {Verdict.VALID: 0, Verdict.UNKNOWN: 1, Verdict.INVALID: 2}


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Merge the verdicts of independent parts (keys, checks) into one."""
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResult:
    """The answer for one independent object.

    `linearization` (of a valid one): indexes of the invocation events of its operations in an
    order that explains them; those left out did nothing or say nothing. `steps` is the work done.
    """

    key: str | None
    verdict: Verdict
    operations: int
    algorithm: str = "none"
    steps: int = 0
    linearization: tuple[int, ...] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The answer for a whole history, and what it rests on.

    `counterexample` is there exactly if invalid, `reason` whenever something is left to say:
    always if unknown. `certificate` proves an invalid one (docs/certificates.md); that of a valid one
    is made of its keys' linearizations. `decided_seconds` is the part of `seconds` that the verdict
    took; the rest went into proving and explaining it. `peak_mb` is the most that was kept in memory: the search's own estimate,
    unless whoever owns the process puts a measured number in its place.
    """

    verdict: Verdict
    algorithm: str
    operations: int
    seconds: float
    peak_mb: float
    decided_seconds: float = 0.0
    keys: tuple[KeyResult, ...] = ()
    counterexample: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None
    reason: str | None = None

    def to_json(self, path: str) -> dict[str, Any]:
        """Return what ``check --json`` prints about the file at `path`."""
        return {
            "path": path,
            "verdict": self.verdict.value,
            "operations": self.operations,
            "keys": len(self.keys),
            "algorithm": self.algorithm,
            "seconds": round(self.seconds, 6),
            "peak_mb": round(self.peak_mb, 3),
            "counterexample": self.counterexample,
            "certificate": self.certificate,
            "reason": self.reason,
        }
