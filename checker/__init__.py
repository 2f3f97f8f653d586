"""A library that checks histories of concurrent operations: history in, verdict and proof out.

It imports nothing else of this project, so it is useful to people who never run the harness.

    from checker import check, load_columns, model_named

    result = check(load_columns("history.jsonl"), model_named("cas-register"))
    print(result.verdict, result.counterexample, result.certificate)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checker.budget import Budget, Spent
    from checker.columns import Columns, columns_of
    from checker.formats import READERS, detect, load, load_columns
    from checker.history import NEMESIS, Event, EventType, History, HistoryError, Operation
    from checker.linearizable import check
    from checker.meaning import FailedCas, Meaning, NilRead, default_meaning
    from checker.models import (
        ALIASES,
        DEFAULT,
        MODELS,
        UNKNOWN,
        Model,
        ModelError,
        initial_of,
        model_from,
        model_named,
    )
    from checker.verdict import CheckResult, KeyResult, Verdict, merge

# Where each name is at home. Names are loaded when they are first used, so that importing a part
# of this package (its verdicts, say) does not load numpy.
_HOME = {
    "checker.budget": ("Budget", "Spent"),
    "checker.columns": ("Columns", "columns_of"),
    "checker.formats": ("READERS", "detect", "load", "load_columns"),
    "checker.history": ("NEMESIS", "Event", "EventType", "History", "HistoryError", "Operation"),
    "checker.linearizable": ("check",),
    "checker.meaning": ("FailedCas", "Meaning", "NilRead", "default_meaning"),
    "checker.models": (
        "ALIASES",
        "DEFAULT",
        "MODELS",
        "UNKNOWN",
        "Model",
        "ModelError",
        "initial_of",
        "model_from",
        "model_named",
    ),
    "checker.verdict": ("CheckResult", "KeyResult", "Verdict", "merge"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ALIASES",
    "DEFAULT",
    "MODELS",
    "NEMESIS",
    "READERS",
    "UNKNOWN",
    "Budget",
    "CheckResult",
    "Columns",
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
    "columns_of",
    "default_meaning",
    "detect",
    "initial_of",
    "load",
    "load_columns",
    "merge",
    "model_from",
    "model_named",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'checker' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE[name]), name)
    return value
