"""splitbrain: does your replicated store keep its word?

This module is the public API on one screen. Names are loaded when they are first used, so that
``import splitbrain`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checker.budget import Budget
    from checker.columns import Columns
    from checker.formats import load as read
    from checker.formats import load_columns as read_columns
    from checker.history import Event, EventType, History, Operation
    from checker.linearizable import check
    from checker.meaning import Meaning
    from checker.models import MODELS, model_from, model_named
    from checker.verdict import CheckResult, Verdict
    from checker.verify import CertificateError, Verified, verify
    from harness.client import Client, Completion
    from harness.hosts.endpoint import endpoint
    from harness.outcome import Outcome
    from harness.run import Result, run
    from harness.spec import Spec
    from harness.systems.kind import SystemKind
    from harness.systems.system import Status, System
    from reports.load import load
    from workloads import generator
    from workloads.checks import Finding, Finds, Linearizable, Transactional
    from workloads.workload import Probe, Setting, Workload

__version__ = "0.1.0"

# Public name -> where it is at home, and what it is called there.
_HOME = {
    "Spec": ("harness.spec", "Spec"),
    "run": ("harness.run", "run"),
    "Result": ("harness.run", "Result"),
    "Outcome": ("harness.outcome", "Outcome"),
    "load": ("reports.load", "load"),
    "SystemKind": ("harness.systems.kind", "SystemKind"),
    "System": ("harness.systems.system", "System"),
    "Status": ("harness.systems.system", "Status"),
    "Client": ("harness.client", "Client"),
    "Completion": ("harness.client", "Completion"),
    "endpoint": ("harness.hosts.endpoint", "endpoint"),
    "Workload": ("workloads.workload", "Workload"),
    "Setting": ("workloads.workload", "Setting"),
    "Probe": ("workloads.workload", "Probe"),
    "generator": ("workloads", "generator"),
    "Linearizable": ("workloads.checks", "Linearizable"),
    "Transactional": ("workloads.checks", "Transactional"),
    "Finds": ("workloads.checks", "Finds"),
    "Finding": ("workloads.checks", "Finding"),
    "read": ("checker.formats", "load"),
    "read_columns": ("checker.formats", "load_columns"),
    "Columns": ("checker.columns", "Columns"),
    "check": ("checker.linearizable", "check"),
    "CheckResult": ("checker.verdict", "CheckResult"),
    "Verdict": ("checker.verdict", "Verdict"),
    "Budget": ("checker.budget", "Budget"),
    "Meaning": ("checker.meaning", "Meaning"),
    "MODELS": ("checker.models", "MODELS"),
    "model_named": ("checker.models", "model_named"),
    "model_from": ("checker.models", "model_from"),
    "verify": ("checker.verify", "verify"),
    "Verified": ("checker.verify", "Verified"),
    "CertificateError": ("checker.verify", "CertificateError"),
    "History": ("checker.history", "History"),
    "Operation": ("checker.history", "Operation"),
    "Event": ("checker.history", "Event"),
    "EventType": ("checker.history", "EventType"),
}

__all__ = [  # noqa: RUF022  (in the order a reader meets them)
    "Spec",  # what a run is asked to do
    "run",  # Spec -> Result
    "Result",
    "Outcome",
    "load",  # a run's folder -> DataFrames
    "SystemKind",  # how to deploy a store and speak to it: for stores of your own
    "System",
    "Status",
    "Client",
    "Completion",
    "endpoint",  # an address and a port as URLs want them, also of IPv6
    "Workload",  # what clients do and what must hold: for workloads of your own
    "Setting",
    "Probe",
    "generator",  # what generators are made of
    "Linearizable",  # kinds of checks
    "Transactional",
    "Finds",
    "Finding",
    "read",  # a file -> History
    "read_columns",  # a file -> Columns: the same, for millions of operations
    "Columns",
    "check",  # History or Columns, model -> CheckResult
    "CheckResult",
    "Verdict",
    "Budget",
    "Meaning",
    "MODELS",
    "model_named",
    "model_from",  # a step function -> a model of one's own
    "verify",  # History, certificate -> Verified, or a CertificateError
    "Verified",
    "CertificateError",
    "History",
    "Operation",
    "Event",
    "EventType",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'splitbrain' has no attribute {name!r}")
    module, attribute = _HOME[name]
    if module == "workloads":
        return import_module(f"{module}.{attribute}")
    return getattr(import_module(module), attribute)
