"""A library that checks histories of concurrent operations: history in, verdict and evidence out.

It imports nothing else of this project, so it is useful to people who never run the harness.

    from checker import check, load, model_named

    result = check(load("history.jsonl"), model_named("cas-register"))
    print(result.verdict, result.counterexample)
"""

from __future__ import annotations

from checker.budget import Budget, Spent
from checker.formats import READERS, detect, load
from checker.history import NEMESIS, Event, EventType, History, HistoryError, Operation
from checker.linearizable import check
from checker.meaning import FailedCas, Meaning, NilRead, default_meaning
from checker.models import DEFAULT, MODELS, Model, ModelError, model_named
from checker.verdict import CheckResult, KeyResult, Verdict, merge

__all__ = [
    "DEFAULT",
    "MODELS",
    "NEMESIS",
    "READERS",
    "Budget",
    "CheckResult",
    "Event",
    "EventType",
    "FailedCas",
    "History",
    "HistoryError",
    "KeyResult",
    "Meaning",
    "Model",
    "ModelError",
    "NilRead",
    "Operation",
    "Spent",
    "Verdict",
    "check",
    "default_meaning",
    "detect",
    "load",
    "merge",
    "model_named",
]
