"""Isolation of transactions as a workload's check: no anomaly that the model rules out.

Pure: the clock is the budget's. The search for anomalies is `checker.transactions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from checker.budget import Budget
from checker.columns import columns_of
from checker.history import History, Operation
from checker.transactions.anomaly import Anomaly
from checker.transactions.check import TransactionResult, check_transactions, meanings
from checker.transactions.draw import picture
from checker.transactions.micro import transactions_of
from checker.verdict import CheckResult, KeyResult, Verdict
from workloads.checks.finding import OPERATIONS_MAX, listed_operation


@dataclass(frozen=True, slots=True)
class Transactional:
    """Transactions of this kind ("list-append" or "rw-register") must be so isolated."""

    kind: str
    isolation: str = "strict-serializable"
    name: str = "transactions"

    def judge(self, history: History, budget: Budget) -> CheckResult:
        """Search for anomalies; the first of the worst kind is the counterexample."""
        began = budget.clock()
        txns = transactions_of(columns_of(history), self.kind)
        result = check_transactions(txns, self.kind, self.isolation, budget=budget)
        invalid = result.verdict is Verdict.INVALID
        return CheckResult(
            verdict=result.verdict,
            algorithm=f"{self.kind} for {result.isolation}",
            operations=result.transactions,
            seconds=budget.clock() - began,
            peak_mb=0.0,
            keys=(KeyResult(key=None, verdict=result.verdict, operations=result.transactions),),
            counterexample=_told(result, history) if invalid else None,
            reason=result.reason,
        )


def _told(result: TransactionResult, history: History) -> dict[str, Any]:
    """Return the worst anomaly in the shape of a counterexample (ARCHITECTURE.md)."""
    anomaly = _worst(result)
    meaning = meanings([anomaly.name])[anomaly.name]
    by_index = {one.invocation.index: one for one in history.operations()}
    involved: list[Operation] = [
        by_index[index] for index in dict.fromkeys(anomaly.transactions) if index in by_index
    ]
    sentences = anomaly.in_words()
    return {
        "key": None,
        "summary": f"{anomaly.name}, {meaning}: {picture(anomaly)}; {'; '.join(sentences)}",
        "anomaly": anomaly.name,
        "anomalies": dict(result.counts),
        "ruled_out": list(result.ruled_out),
        "operations": [listed_operation(one) for one in involved[:OPERATIONS_MAX]],
    }


def _worst(result: TransactionResult) -> Anomaly:
    """Return the first anomaly that rules the asked model out by itself, or else the first."""
    from checker.transactions.isolation import ruled_out

    deciding = [one for one in result.anomalies if result.isolation in ruled_out([one.name])]
    return (deciding or list(result.anomalies))[0]
