"""Linearizability as a workload's check: a model by name, and how to read the history for it.

Rules of this file:
- `prepare` may rewrite a history for the model (`workloads.checks.expiry` does). What it returns
  must have an order exactly if the history as it was kept has a lawful one, and its operations
  keep their indexes, so that what is found can be looked up.
- Pure: the clock is the budget's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from checker.budget import Budget
from checker.history import History
from checker.linearizable import check
from checker.models import Model, model_named
from checker.verdict import CheckResult


@dataclass(frozen=True, slots=True)
class Linearizable:
    """Each object must be linearizable with respect to the model of this name (or the model)."""

    of: str | Model
    prepare: Callable[[History], History] | None = None
    name: str = "linearizable"

    @property
    def model(self) -> Model:
        """The model."""
        return model_named(self.of) if isinstance(self.of, str) else self.of

    def prepared(self, history: History) -> History:
        """Return the history that the model is compared with."""
        return history if self.prepare is None else self.prepare(history)

    def judge(self, history: History, budget: Budget) -> CheckResult:
        """Search for an order of each object's operations."""
        return check(self.prepared(history), self.model, budget=budget)
