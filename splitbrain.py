"""splitbrain: does your replicated store keep its word?

This module is the public API on one screen. Names are loaded when they are first used, so that
``import splitbrain`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checker.history import Event, EventType, History, Operation, read_jsonl
    from checker.verdict import Verdict
    from harness.outcome import Outcome
    from harness.run import run
    from harness.spec import Spec

__version__ = "0.1.0"

_HOME = {
    "Event": "checker.history",
    "EventType": "checker.history",
    "History": "checker.history",
    "Operation": "checker.history",
    "read_jsonl": "checker.history",
    "Verdict": "checker.verdict",
    "Outcome": "harness.outcome",
    "Spec": "harness.spec",
    "run": "harness.run",
}

__all__ = [  # noqa: RUF022  (in the order a reader meets them)
    "Spec",
    "run",
    "Outcome",
    "Event",
    "EventType",
    "Operation",
    "History",
    "read_jsonl",
    "Verdict",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'splitbrain' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
