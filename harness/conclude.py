"""From what a run recorded and what was judged of it to its outcome: decide, write, report.

Rules of this file:
- What goes wrong here is the harness' failure and is written into the outcome; a violation that
  the history shows is still one.
- The last step, `outcome.json`, is written whole or not at all; the report comes after it, from
  the folder alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from checker.history import EventType, History, HistoryError, Operation
from harness import store
from harness.acknowledged import Story, Strike
from harness.experiment import Convergence, Findings, Recovery
from harness.nemesis.beyond import beyond_model
from harness.nemesis.conductor import FaultRecord, came_back, evidence_by_name
from harness.nemesis.faults import Certainty
from harness.outcome import (
    EXIT_CODES,
    CheckSummary,
    Evidence,
    Outcome,
    count_changes,
    decide,
)
from harness.progress import Progress
from harness.served_last import unserved
from harness.spec import KEEP, Spec
from workloads.workload import Workload

log = logging.getLogger("harness")

# A run in which fewer than this share of the offered operations was acknowledged shows little.
_ACKNOWLEDGED_SHARE_MIN: Final = 0.1


def conclude(
    spec: Spec,
    workload: Workload,
    folder: Path,
    history: History,
    checks: list[CheckSummary],
    findings: Findings,
    progress: Progress,
) -> dict[str, Any]:
    """Write a run's `outcome.json` and reports, and return the outcome's document."""
    document = _document(spec, workload, history, checks, findings, progress)
    problem = _write(folder, document, progress)
    if problem is not None:
        # Nobody can read the outcome there, so whoever called has to be told all of it.
        findings.failures.append(problem)
        document = _document(spec, workload, history, checks, findings, progress)
        with contextlib.suppress(OSError):
            store.write_json(folder / store.OUTCOME, document)
    if document["outcome"] == Outcome.PASS:
        store.drop_data(folder)
    return document


def _document(
    spec: Spec,
    workload: Workload,
    history: History,
    checks: list[CheckSummary],
    findings: Findings,
    progress: Progress,
) -> dict[str, Any]:
    operations = _operations(history)
    load_ns = int(spec.time_limit * 1e9)
    acknowledged = _acknowledged_under_load(operations, load_ns)
    story = Story(
        operations, _strikes(findings.records, load_ns), nodes=findings.nodes, load_ns=load_ns
    )
    around = story.measure()
    final_ns = findings.final_ns
    evidence = Evidence(
        checks=checks,
        acknowledged=sum(acknowledged.values()),
        acknowledged_min=int(spec.rate * spec.time_limit * _ACKNOWLEDGED_SHARE_MIN),
        fault_kinds=spec.nemesis,
        fault_evidence=evidence_by_name(findings.records),
        never_acknowledged=[f for f in workload.functions if not acknowledged[f]],
        leader_faults=_leader_faults(findings),
        leader_changes=count_changes([one["leader"] for one in findings.leader_changes]),
        silences=story.missing(always=spec.quorum == KEEP),
        unserved=[] if final_ns is None else unserved(operations, final_ns),
        failures=findings.failures,
        interrupted=findings.interrupted,
        beyond_model=beyond_model(findings.model, findings.records, spec.nodes),
    )
    outcome, reasons = decide(evidence)
    return {
        "splitbrain": metadata.version("splitbrain"),
        "name": spec.name,
        "outcome": outcome.value,
        "exit_code": EXIT_CODES[outcome],
        "reasons": reasons,
        "started_at": _iso(findings.started_at),
        "seed": spec.seed,
        "repeat": spec.repeat_line(),
        "spec": spec.to_dict(),
        "checks": [one.to_json() for one in checks],
        "operations": _count(history),
        "by_f": _count_by_f(history),
        "rates": findings.rates,
        "latency_ms": _latency_ms(operations),
        "leader_changes": findings.leader_changes,
        "faults": [
            record.to_json() | (around[id_].to_json() if (id_ := record.fault.id) in around else {})
            for record in findings.records
        ],
        "beyond_model": list(evidence.beyond_model),
        "recovery": _ending(findings.recovery),
        "convergence": _ending(findings.convergence),
        "failures": findings.failures,
        "phases": progress.phases,
    }


def _leader_faults(findings: Findings) -> int:
    """Count the faults that took a leader from the others."""
    names = (
        "isolate-leader",
        "kill-leader",
        "pause-leader",
        "power-loss-leader",
        "remove-leader",
        "replace-leader",
        "after-vote",
    )
    return sum(
        1 for record in findings.records if record.fault.name in names and record.struck_leader
    )


def _operations(history: History) -> list[Operation]:
    """Return a history's operations; of one that makes no sense, none."""
    try:
        return history.operations()
    except HistoryError:
        return []


def _strikes(records: list[FaultRecord], load_ns: int) -> list[Strike]:
    """Return the faults that may have had an effect. One that was not undone lasts to the end."""
    strikes = []
    for record in records:
        if record.start_ns is None or record.certainty is Certainty.SKIPPED:
            continue
        stop_ns = load_ns if record.stop_ns is None else record.stop_ns
        ending_ns = stop_ns if record.ending_ns is None else record.ending_ns
        fault = record.fault
        strikes.append(
            Strike(
                fault=fault.id,
                what=f"{fault.kind}:{fault.name} (#{fault.id})",
                installed=record.certainty is Certainty.INSTALLED,
                harmed=record.harmed,
                start_ns=record.start_ns,
                begun_ns=ending_ns if record.begun_ns is None else record.begun_ns,
                ending_ns=ending_ns,
                stop_ns=stop_ns,
                left=tuple(came_back(record, records).items()),
            )
        )
    return strikes


def _acknowledged_under_load(operations: list[Operation], until_ns: int) -> Counter[str]:
    """Count, for each function, what was acknowledged of the load: the final reads show nothing
    about a system under faults."""
    return Counter(
        operation.f
        for operation in operations
        if operation.type is EventType.OK and (operation.invocation.time or 0) <= until_ns
    )


def _latency_ms(operations: list[Operation]) -> dict[str, float] | None:
    """The quantiles of all acknowledged operations, as the report has them."""
    took_ms = [
        ((operation.completion.time or 0) - (operation.invocation.time or 0)) / 1e6
        for operation in operations
        if operation.type is EventType.OK and operation.completion is not None
    ]
    if not took_ms:
        return None
    p50, p99 = np.quantile(took_ms, (0.5, 0.99))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def _count(history: History) -> dict[str, int]:
    counts = Counter(event.type for event in history.client_events)
    return {kind.value: counts[kind] for kind in EventType}


def _count_by_f(history: History) -> dict[str, dict[str, int]]:
    counts = Counter((event.f, event.type) for event in history.client_events)
    return {
        f: {kind.value: counts[f, kind] for kind in EventType if kind is not EventType.INVOKE}
        for f in sorted({f for f, _ in counts})
    }


def _ending(ending: Recovery | Convergence | None) -> dict[str, Any] | None:
    return None if ending is None else {**asdict(ending), "stalls": ending.stalls.to_json()}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _write(folder: Path, document: dict[str, Any], progress: Progress) -> str | None:
    """Write outcome and reports; return what could not be written, and why.

    The outcome comes first, and once more at the end with the time that the reports took.
    """
    try:
        with progress.phase("report"):
            store.write_json(folder / store.OUTCOME, document)
            _write_reports(folder)
        store.write_json(folder / store.OUTCOME, document)
    except OSError as error:
        return (
            f"{folder}: the outcome could not be written ({error.strerror}); "
            "free some space or choose another --store"
        )
    except Exception as error:
        log.exception("the reports could not be written")
        return f"{folder}: the reports could not be written: {type(error).__name__}: {error}"
    return None


def _write_reports(folder: Path) -> None:
    from reports import junit, markdown, page, parquet
    from reports.load import load

    run = load(folder)
    for report in (page, junit, markdown, parquet):
        report.save(run)
