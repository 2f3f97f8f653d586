"""What came of a run, and the exit code that says so.

Rules of this file:
- Exit codes are part of the API. A violation beats everything; then interruption, a failure of the
  harness, bad usage, doubt, and last a pass.
- A pass has to be earned: valid checks, enough acknowledged operations, also around each fault and
  at the end, every kind of fault seen to work and none that provably never happened, and leader
  changes where faults struck leaders. Otherwise it is `vacuous`.
- A system is judged by what it promised to survive. What is wrong after a fault beyond that is
  reported as such, and is inconclusive: whether it would have come without that, nobody knows. What
  was wrong before is a violation.
- Pure: everything is decided from values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from checker.verdict import Verdict, merge


class Outcome(StrEnum):
    """The outcome of a run."""

    PASS = "pass"
    VIOLATION = "violation"
    INCONCLUSIVE = "inconclusive"
    VACUOUS = "vacuous"
    HARNESS_FAILURE = "harness-failure"
    INTERRUPTED = "interrupted"


EXIT_CODES: Final[Mapping[Outcome, int]] = {
    Outcome.PASS: 0,
    Outcome.VIOLATION: 1,
    Outcome.INCONCLUSIVE: 3,
    Outcome.VACUOUS: 3,
    Outcome.HARNESS_FAILURE: 4,
    Outcome.INTERRUPTED: 130,
}

# Where several exit codes apply, the first of these wins.
SEVERITY: Final = (1, 130, 4, 2, 3, 0)


def worst(codes: Iterable[int]) -> int:
    """Merge exit codes; those that are none of ours count as a harness failure."""
    known = [code if code in SEVERITY else 4 for code in codes]
    return min(known, key=SEVERITY.index, default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSummary:
    """One check's part of the outcome. `details` are the further fields of `outcome.json`.

    `inexcusable`: what is wrong was so before any fault beyond what the system promises to survive.
    """

    name: str
    verdict: Verdict
    reason: str | None = None
    inexcusable: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the check as an entry of `outcome.json`."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "reason": self.reason,
            **self.details,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known at the end of a run.

    `fault_evidence` maps each planned fault's (kind, name) to the evidence of each time, and
    `fault_kinds` are those that were asked for. `never_acknowledged` are the functions of the
    workload that did not succeed once; `silences` say around which faults nothing was acknowledged
    that could have been, `unserved` what was not served in the end.
    `failures` are messages of the harness, not of the system. `leader_faults` counts the faults
    that struck a leader, `leader_changes` the changes of leader seen after the first election.
    `beyond_model` has a sentence for each fault that took more than the system promises to survive.
    """

    checks: Sequence[CheckSummary]
    acknowledged: int
    acknowledged_min: int
    fault_kinds: Sequence[str]
    fault_evidence: Mapping[tuple[str, str], Sequence[str]]
    never_acknowledged: Sequence[str]
    leader_faults: int
    leader_changes: int
    silences: Sequence[str] = ()
    unserved: Sequence[str] = ()
    failures: Sequence[str] = ()
    interrupted: bool = False
    beyond_model: Sequence[str] = ()


def count_changes(leaders: Sequence[str]) -> int:
    """Count how often another node came to lead; one that is elected again is no change."""
    return sum(1 for before, after in pairwise(leaders) if before != after)


def decide(evidence: Evidence) -> tuple[Outcome, list[str]]:
    """Return the outcome and the reasons for it, the most important first."""
    invalid = [check for check in evidence.checks if check.verdict is Verdict.INVALID]
    beyond = list(evidence.beyond_model)
    guilty = [check for check in invalid if check.inexcusable or not beyond]
    if guilty:
        return Outcome.VIOLATION, [_sentence(check) for check in guilty]
    if evidence.interrupted:
        return Outcome.INTERRUPTED, ["interrupted before the end"]
    if evidence.failures:
        return Outcome.HARNESS_FAILURE, list(evidence.failures)
    if invalid:
        wrong = [f"no violation, since it was beyond: {_sentence(check)}" for check in invalid]
        return Outcome.INCONCLUSIVE, [*beyond, *wrong]
    if merge(check.verdict for check in evidence.checks) is Verdict.UNKNOWN:
        unknown = [check for check in evidence.checks if check.verdict is Verdict.UNKNOWN]
        reasons = [_sentence(check) for check in unknown]
        return Outcome.INCONCLUSIVE, reasons or ["nothing was checked"]
    missing = _missing(evidence)
    if missing:
        return Outcome.VACUOUS, missing
    return Outcome.PASS, [*(_sentence(check) for check in evidence.checks), *beyond]


def _sentence(check: CheckSummary) -> str:
    return f"{check.name}: {check.verdict}" + (f" ({check.reason})" if check.reason else "")


def _missing(evidence: Evidence) -> list[str]:
    """Name what a pass would have needed and this run did not have."""
    missing = []
    if evidence.acknowledged < evidence.acknowledged_min:
        missing.append(
            f"only {evidence.acknowledged} operations were acknowledged, "
            f"at least {evidence.acknowledged_min} are needed for this load"
        )
    missing += [f"no {f} was ever acknowledged" for f in evidence.never_acknowledged]
    by_kind: dict[str, set[str]] = {kind: set() for kind in evidence.fault_kinds}
    for (kind, name), seen in evidence.fault_evidence.items():
        by_kind.setdefault(kind, set()).update(seen)
        if set(seen) <= {"skipped"}:
            missing.append(f"the fault {kind}:{name} did not happen")
    for kind, of_kind in by_kind.items():
        if not of_kind:
            missing.append(
                f"no {kind} happened: the run is too short for one (see --nemesis-interval and "
                "--nemesis-schedule), or other faults left it no place or no node to strike"
            )
        elif "indeterminate" in of_kind and "installed" not in of_kind:
            missing.append(f"no {kind} was seen to work, only {', '.join(sorted(of_kind))}")
    if evidence.leader_faults and not evidence.leader_changes:
        missing.append(
            f"{evidence.leader_faults} faults struck a leader, but no change of leader was seen"
        )
    return [*missing, *evidence.silences, *evidence.unserved]
