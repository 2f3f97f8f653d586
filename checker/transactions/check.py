"""Checks a history of transactions against an isolation model.

Rules of this file:
- All anomalies are looked for, whatever model was asked about: the answer also says which models are
  ruled out and which remain. `invalid` is said if an anomaly that was found rules the model out.
- For lists `valid` means that none exists, and then there is an order of the transactions that
  explains the history (docs/transactions.md has the argument). For registers it means that none
  follows from the orders of versions that could be inferred.
- `unknown`: nothing completed, a key's writes cannot be told apart, or the search was cut short, and
  nothing found so far rules the model out.
- Pure: the clock is the budget's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checker.budget import Budget
from checker.columns import OK, Columns
from checker.history import History
from checker.transactions.anomaly import MEANINGS, PROCESS, REALTIME, Anomaly, Edge
from checker.transactions.cycles import DEFAULT_STEPS, Cycle, Cycles, cycles_of
from checker.transactions.found import Analysis
from checker.transactions.graph import graph_of
from checker.transactions.isolation import IMPLIES, MODELS, model_called, remaining, ruled_out
from checker.transactions.list_append import ListAppend
from checker.transactions.micro import Transactions, transactions_of
from checker.transactions.rw_register import RwRegister
from checker.verdict import Verdict

# Worst first: how a report lists them.
ORDER = (
    "duplicate-elements", "cyclic-versions", "incompatible-order", "garbage-read", "dirty-update",
    "G1a", "G1b", "future-read", "internal", "lost-update", *IMPLIES,
)  # fmt: skip
_KEYS_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionResult:
    """The answer for a history of transactions, and what it rests on.

    `anomalies` are examples, worst names first, of each name the shortest first; `counts` says how
    many there are of those that are no cycles, and how many cycles are told. `ruled_out` and
    `remaining` are isolation models, strongest first. `steps` is the work of the search for cycles.
    """

    verdict: Verdict
    workload: str
    isolation: str
    transactions: int
    anomalies: tuple[Anomaly, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    ruled_out: tuple[str, ...] = ()
    remaining: tuple[str, ...] = MODELS
    steps: int = 0
    reason: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the anomalies that were found, worst first."""
        return tuple(dict.fromkeys(anomaly.name for anomaly in self.anomalies))

    def to_json(self, path: str) -> dict[str, Any]:
        """Return what ``check --json`` prints about the file at `path`."""
        return {
            "path": path,
            "verdict": self.verdict.value,
            "workload": self.workload,
            "isolation": self.isolation,
            "transactions": self.transactions,
            "counts": self.counts,
            "ruled_out": list(self.ruled_out),
            "remaining": list(self.remaining),
            "anomalies": [anomaly.to_json() for anomaly in self.anomalies],
            "reason": self.reason,
        }


def check_transactions(
    history: History | Columns | Transactions,
    workload: str = "list-append",
    isolation: str = "strict-serializable",
    *,
    budget: Budget | None = None,
    steps_max: int = DEFAULT_STEPS,
    wfr_keys: bool = True,
    sequential_keys: bool = False,
    linearizable_keys: bool = False,
) -> TransactionResult:
    """Check whether a system of that isolation can have made this history.

    `workload` is ``list-append`` or ``rw-register``; the last three say how versions of registers
    may be put in order (`checker.transactions.rw_register`). `steps_max` bounds the walks for each
    kind of cycle. Raises `HistoryError` for what is no history of the workload, `ValueError` for a
    workload or isolation that is none.
    """
    isolation = model_called(isolation)
    txns = history if isinstance(history, Transactions) else transactions_of(history, workload)
    if txns.workload != workload:
        raise ValueError(f"these are transactions of {txns.workload}, not of {workload}")
    analysis: Analysis
    if workload == "list-append":
        analysis = ListAppend(txns)
    else:
        analysis = RwRegister(
            txns, wfr_keys=wfr_keys, sequential_keys=sequential_keys,
            linearizable_keys=linearizable_keys,
        )  # fmt: skip

    def is_over() -> bool:
        return budget is not None and budget.spent(float(txns.elements.nbytes)) is not None

    cycles = Cycles(cut_short=set(ORDER))
    if not is_over():
        graph = graph_of(txns, analysis.edges)
        analysis.edges.direct.clear()
        cycles = cycles_of(graph, steps_max=steps_max, is_over=is_over)
    return _result(txns, analysis, cycles, isolation)


def _result(
    txns: Transactions, analysis: Analysis, cycles: Cycles, isolation: str
) -> TransactionResult:
    found = {name: list(kept) for name, kept in analysis.findings.examples.items()}
    counts = dict(analysis.findings.counts)
    for name, kept in cycles.found.items():
        kept.sort(key=lambda cycle: len(cycle.rows))
        found[name] = [_told(cycle, txns, analysis) for cycle in kept]
        counts[name] = len(kept)
    names = sorted(found, key=ORDER.index)
    out = ruled_out(names)
    ambiguous = analysis.ambiguous_keys()
    reason = None
    if ambiguous:
        told = ", ".join(map(repr, ambiguous[:_KEYS_TOLD]))
        reason = (f"{len(ambiguous)} keys were set aside: a value was written to them twice, so a read "
                  f"does not show by whom ({told})")  # fmt: skip
    elif not np.any(txns.type == OK):
        reason = "no transaction completed: nothing was looked at"
    elif any(isolation in ruled_out([name]) for name in cycles.cut_short.difference(names)):
        reason = "the search for cycles was cut short by its budget"
    verdict = Verdict.VALID if reason is None else Verdict.UNKNOWN
    if isolation in out:
        verdict = Verdict.INVALID
    return TransactionResult(
        verdict=verdict,
        workload=txns.workload,
        isolation=isolation,
        transactions=len(txns),
        anomalies=tuple(anomaly for name in names for anomaly in found[name]),
        counts={name: counts[name] for name in names},
        ruled_out=tuple(model for model in MODELS if model in out),
        remaining=remaining(names),
        steps=cycles.steps,
        reason=reason,
    )


def _told(cycle: Cycle, txns: Transactions, analysis: Analysis) -> Anomaly:
    """Return a cycle with the reasons of its edges."""
    edges = []
    ends = (*cycle.rows[1:], cycle.rows[0])
    for source, target, kind in zip(cycle.rows, ends, cycle.kinds, strict=True):
        if kind in (PROCESS, REALTIME):
            names = int(txns.index[source]), int(txns.index[target])
            edges.append(Edge(source=names[0], target=names[1], kind=kind))
        else:
            edges.append(analysis.why(source, target, kind))
    return Anomaly(
        name=cycle.name,
        transactions=tuple(edge.source for edge in edges),
        edges=tuple(edges),
        is_shortest=cycle.is_shortest,
    )


def meanings(names: Iterable[str]) -> dict[str, str]:
    """Return what each anomaly is, in one line."""
    found = {}
    for name in names:
        base = name.removesuffix("-process").removesuffix("-realtime")
        order = name[len(base) + 1 :]
        extra = {"process": ", if processes see their own order", "realtime": ", in real time"}
        found[name] = MEANINGS[base] + extra.get(order, "")
    return found
