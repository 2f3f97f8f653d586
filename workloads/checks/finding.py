"""Checks that look for one thing that must not be: a function of the operations that finds it.

Rules of this file:
- A finding is evidence: some operations, and a sentence about them. It is believed only if the same
  function, shown nothing but those operations, finds something again; else the function is wrong,
  and that is an error of ours and no verdict.
- Nothing acknowledged means nothing was looked at: `unknown`.
- Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from checker.budget import Budget
from checker.history import EventType, History, Operation
from checker.verdict import CheckResult, KeyResult, Verdict

OPERATIONS_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that must not be. `operations` show it by themselves, the one to blame last."""

    summary: str
    operations: tuple[Operation, ...]
    key: str | None = None


Find = Callable[[Sequence[Operation]], Finding | None]


@dataclass(frozen=True, slots=True)
class Finds:
    """A check of this name: `find` gets all operations by invocation, and answers what is wrong."""

    name: str
    find: Find

    def judge(self, history: History, budget: Budget) -> CheckResult:
        """Look once, and once more at the evidence alone. Raises `AssertionError` if that differs."""
        began = budget.clock()
        operations = history.operations()
        finding = self.find(operations)
        if finding is not None:
            alone = sorted(_distinct(finding.operations), key=lambda one: one.start)
            assert self.find(alone) is not None, (
                f"the check {self.name!r} found {finding.summary!r}, but not in the operations that "
                "it gave as evidence"
            )
        seen = any(operation.type is EventType.OK for operation in operations)
        verdict = Verdict.VALID if seen else Verdict.UNKNOWN
        verdict = Verdict.INVALID if finding else verdict
        return CheckResult(
            verdict=verdict,
            algorithm=self.name,
            operations=len(operations),
            seconds=budget.clock() - began,
            peak_mb=0.0,
            keys=(KeyResult(key=None, verdict=verdict, operations=len(operations)),),
            counterexample=told(finding) if finding else None,
            reason=None
            if seen or finding
            else "no operation was acknowledged: nothing was looked at",
        )


def told(finding: Finding) -> dict[str, Any]:
    """Return a finding in the shape of a counterexample (ARCHITECTURE.md)."""
    blamed = finding.operations[-1]
    listed = _distinct(finding.operations)
    shown = listed[: OPERATIONS_MAX - 1] + listed[-1:] if len(listed) > OPERATIONS_MAX else listed
    return {
        "key": finding.key,
        "summary": finding.summary,
        "operations": [
            listed_operation(one, finding.summary if one == blamed else None) for one in shown
        ],
    }


def _distinct(operations: Sequence[Operation]) -> list[Operation]:
    """Return each operation once. They are told apart by index: values may be lists, without a hash."""
    return list({one.invocation.index: one for one in operations}.values())


def listed_operation(operation: Operation, why_not: str | None = None) -> dict[str, Any]:
    """Return an operation as counterexamples list it."""
    invocation, completion = operation.invocation, operation.completion
    ended = operation.type is EventType.OK
    return {
        "index": invocation.index,
        "process": invocation.process,
        "node": invocation.node,
        "f": operation.f,
        "value": operation.output if ended else operation.input,
        "type": operation.type.value,
        "start_ns": invocation.time,
        "end_ns": completion.time if completion is not None and operation.end is not None else None,
        "why_not": why_not,
    }
