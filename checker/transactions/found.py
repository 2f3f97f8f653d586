"""What an analysis of a workload hands to the search, and how examples are chosen.

Rules of this file:
- Of each anomaly all cases are counted and the first few are told (`EXAMPLES_MAX`), shortest first
  where they differ in length.
- `Analysis.why` gives the reason of an edge of the graph; it looks at two transactions only.
- Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from checker.transactions.anomaly import Anomaly, Edge
from checker.transactions.graph import Edges
from checker.transactions.micro import Transactions

EXAMPLES_MAX = 8


@dataclass(slots=True)
class Findings:
    """Anomalies that are no cycles of transactions, by name."""

    examples: dict[str, list[Anomaly]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(
        self, name: str, cases: Iterable[Any], count: int, told: Callable[..., Anomaly]
    ) -> None:
        """Add cases of an anomaly: `count` in all, some of which are told."""
        if not count:
            return
        self.counts[name] = self.counts.get(name, 0) + count
        kept = self.examples.setdefault(name, [])
        for case in cases:
            if len(kept) >= EXAMPLES_MAX:
                return
            kept.append(told(*case))


class Analysis(Protocol):
    """What is known of a history of one workload."""

    txns: Transactions
    edges: Edges
    findings: Findings

    def why(self, source: int, target: int, kind: str) -> Edge:
        """Return the reason of an edge of data between two rows."""

    def ambiguous_keys(self) -> list[Any]:
        """Return the keys about which nothing is concluded."""
