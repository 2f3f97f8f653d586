"""Checking transactions: which isolation a history rules out, and why. See docs/transactions.md.

Rules of this package:
- A history becomes integer arrays (`micro`, `reading`), these become edges and findings (`list_append`,
  `rw_register`), edges become a graph (`graph`) in which cycles are looked for (`cycles`), and what is
  found is put against the isolation models (`isolation`). `verify` believes none of it.
"""

from __future__ import annotations

from checker.transactions.anomaly import Anomaly, Edge
from checker.transactions.check import TransactionResult, check_transactions
from checker.transactions.draw import graph_of_anomalies, picture, report, to_dot
from checker.transactions.verify import AnomalyError, verify_anomaly

__all__ = [
    "Anomaly",
    "AnomalyError",
    "Edge",
    "TransactionResult",
    "check_transactions",
    "graph_of_anomalies",
    "picture",
    "report",
    "to_dot",
    "verify_anomaly",
]
