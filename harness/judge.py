"""What a run recorded, judged: its workload's checks, then recovery and crashes.

Rules of this file:
- The history is read back from the run's folder: what is judged is what was written, and anyone
  can judge it again.
- A checker that fails has shown nothing: that is a failure of ours, never a verdict. What other
  checks have shown until then stands.
- Checks share the spec's budget, each with an equal part of what the ones before it left. To look
  whether something was wrong before a fault beyond the model takes as much again at most.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from checker.budget import Budget
from checker.certificate import of_valid
from checker.history import History, HistoryError, read_jsonl
from checker.meaning import default_meaning
from checker.verdict import CheckResult, Verdict
from harness import store
from harness.experiment import Findings
from harness.interrupts import Interrupts
from harness.log_scan import Hit
from harness.nemesis.beyond import beyond_since_ns
from harness.nemesis.conductor import FaultRecord
from harness.nemesis.plan import TAKING
from harness.outcome import CheckSummary
from harness.progress import Progress
from harness.spec import Spec
from harness.stalls import excuse
from workloads.checks import Linearizable
from workloads.workload import Check, Workload

log = logging.getLogger("harness")

_HITS_SHOWN: Final = 3


def judge(
    spec: Spec,
    workload: Workload,
    folder: Path,
    findings: Findings,
    progress: Progress,
    interrupts: Interrupts,
) -> tuple[History, list[CheckSummary]]:
    """Check what a run recorded; an interrupt ends the check, and then it is `unknown`."""
    history, checks = History(()), []
    with progress.phase("check"):
        try:
            interrupts.allow()
            if (folder / store.HISTORY).is_file():
                history = read_jsonl(folder / store.HISTORY)
                since_ns = beyond_since_ns(findings.model, findings.records, spec.nodes)
                # One by one: what is found is not lost by what goes wrong after it.
                found = judge_history(spec, workload, history, findings, folder)
                for place, summary in enumerate(found):
                    checks.append(summary)
                    if since_ns is not None and _is_invalid(summary):
                        check = workload.checks[place]
                        before = _was_wrong_before(since_ns, spec, check, history, findings)
                        checks[place] = replace(summary, inexcusable=before)
        except (HistoryError, OSError) as error:
            findings.failures.append(f"the history could not be checked: {error}")
        except KeyboardInterrupt:
            findings.interrupted = True
            left = workload.checks[len(checks) :]
            checks += [_unknown(check.name, "interrupted") for check in left]
        except Exception as error:
            log.exception("judging broke off")
            why = f"{type(error).__name__}: {error}"
            findings.failures.append(f"judging broke off, and what was found before stands: {why}")
        finally:
            interrupts.defer()
    said = log_scan(findings)  # first: what its surroundings lacked is no system's fault
    return history, checks + _agreement(findings) + _liveness(findings) + _crashes(findings) + said


def judge_history(
    spec: Spec, workload: Workload, history: History, findings: Findings, folder: Path
) -> Iterator[CheckSummary]:
    """Run a workload's checks, each when it is asked for. What proves the first of the worst
    verdicts is written into the run's folder when all are done.

    Raises `HistoryError` for a history that is none of this workload's.
    """
    budget = _budget(spec)
    proved: tuple[Linearizable, CheckResult] | None = None
    for number, check in enumerate(workload.checks):
        result = _result(check, history, budget.share(len(workload.checks) - number), findings)
        if isinstance(result, CheckSummary):
            yield result
            continue
        if isinstance(check, Linearizable) and (proved is None or _is_worse(result, proved[1])):
            proved = check, result
        yield _summary(check.name, result)
    if proved is not None:
        _write_proof(folder, *proved, history)


def _was_wrong_before(
    time_ns: int, spec: Spec, check: Check, history: History, findings: Findings
) -> bool:
    """Say whether what a check found wrong certainly was so by then. A history is linearizable only
    if each beginning of it is; other checks may miss in a beginning what comes later."""
    if not isinstance(check, Linearizable):
        return False
    return _is_invalid(_result(check, _until(history, time_ns), _budget(spec), findings))


def _budget(spec: Spec) -> Budget:
    return Budget.of(seconds=spec.budget_s, memory_mb=spec.memory_mb, clock=time.monotonic)


def _is_worse(one: CheckResult, other: CheckResult) -> bool:
    return _is_invalid(one) and not _is_invalid(other)


def _is_invalid(one: CheckResult | CheckSummary) -> bool:
    return one.verdict is Verdict.INVALID


def _until(history: History, time_ns: int) -> History:
    """Return what had happened by then; what was under way is open."""
    events = tuple(event for event in history.events if (event.time or 0) < time_ns)
    return replace(history, events=events)


def _result(
    check: Check, history: History, budget: Budget, findings: Findings
) -> CheckResult | CheckSummary:
    try:
        return check.judge(history, budget)
    except HistoryError:
        raise
    except Exception as error:
        log.exception("the checker failed")
        reason = f"the checker failed: {type(error).__name__}: {error}"
        findings.failures.append(reason)
        return _unknown(check.name, reason)


def _summary(name: str, result: CheckResult) -> CheckSummary:
    return CheckSummary(
        name=name,
        verdict=result.verdict,
        reason=_reason(result),
        details={
            "operations": result.operations,
            "keys": len(result.keys),
            "algorithm": result.algorithm,
            "seconds": round(result.seconds, 3),
            "counterexample": result.counterexample,
        },
    )


def _write_proof(folder: Path, check: Linearizable, result: CheckResult, history: History) -> None:
    """Write what proves a verdict. It can be made again from the history, so nothing depends on it.

    Where the history was prepared for the model, the certificate is one of what it was made into,
    and that is written beside it.
    """
    proof = result.certificate
    if result.verdict is Verdict.VALID:
        proof = of_valid(check.model, default_meaning(history.format), result.keys)
    if proof is None:
        return
    with contextlib.suppress(OSError):  # a full disk: said where the outcome is written
        store.write_text(folder / store.CERTIFICATE, json.dumps(proof) + "\n")
        if check.prepare is not None:
            lines = "".join(f"{event.to_json()}\n" for event in check.prepared(history).events)
            store.write_text(folder / store.PREPARED, lines)


def _unknown(name: str, reason: str) -> CheckSummary:
    return CheckSummary(name=name, verdict=Verdict.UNKNOWN, reason=reason)


def _reason(result: CheckResult) -> str | None:
    if result.counterexample is not None:
        return str(result.counterexample["summary"])
    return result.reason


def _agreement(findings: Findings) -> list[CheckSummary]:
    """Judge what the nodes said of themselves, if any of it could be compared."""
    said = findings.agreement
    if said is None or not (said.compared or said.contradictions):
        return []
    verdict = Verdict.INVALID if said.contradictions else Verdict.VALID
    reason = "; ".join(said.contradictions) or None
    details = {"compared": said.compared}
    return [CheckSummary(name="agreement", verdict=verdict, reason=reason, details=details)]


def _liveness(findings: Findings) -> list[CheckSummary]:
    """Judge recovery, if the run came that far; evidence is what every node said last."""
    recovery, convergence = findings.recovery, findings.convergence
    if recovery is None:
        return []
    reason = why = None
    if not recovery.recovered:
        reason = f"not recovered {recovery.deadline_s:g} s after the last fault: {recovery.detail}"
        why = excuse(recovery.stalls, recovery.seconds)
    elif convergence is not None and not convergence.converged:
        reason = (
            f"the nodes do not show the same state {convergence.deadline_s:g} s after the last "
            f"operation: {convergence.detail}"
        )
        why = excuse(convergence.stalls, convergence.seconds)
    if reason is not None and why is not None:
        # Whoever stood still himself cannot tell that the system did.
        return [
            CheckSummary(name="liveness", verdict=Verdict.UNKNOWN, reason=f"{reason}; but {why}")
        ]
    if reason is not None and findings.failures:
        # Something of ours broke as well: then nobody knows whose fault it was.
        return [CheckSummary(name="liveness", verdict=Verdict.UNKNOWN, reason=reason)]
    verdict = Verdict.VALID if reason is None else Verdict.INVALID
    return [CheckSummary(name="liveness", verdict=verdict, reason=reason)]


def log_scan(findings: Findings) -> list[CheckSummary]:
    """Judge what the systems' logs gave away, if there were any.

    What a node may say for want of what a fault took from it is explained, and so is what one says
    that refuses to run on damaged data. Want of memory that no fault explains is the host's: a
    failure, of which nobody is accused.
    """
    if not findings.log_scans and not findings.unread_logs:
        return []
    lacked = {
        node
        for record in findings.records
        for node in (record.struck if _takes(record) else record.contained)
    }
    hits = [hit for one in findings.log_scans for hit in one.hits]
    explained = [hit for hit in hits if hit.pattern.excusable and hit.node in lacked]
    others = [hit for hit in hits if hit not in explained]
    accusing = [hit for hit in others if hit.pattern.accuses_system]
    findings.failures += [
        f"{hit.node}: {hit.detail}; give the host more of it, or the test less to do"
        for hit in others
        if not hit.pattern.accuses_system
    ]
    reason = _said(accusing) or "; ".join(findings.unread_logs)
    reason = reason or (_said(explained) and f"explained by faults: {_said(explained)}")
    verdict = Verdict.UNKNOWN if findings.unread_logs else Verdict.VALID
    return [
        CheckSummary(
            name="log-scan",
            verdict=Verdict.INVALID if accusing else verdict,
            reason=reason or None,
            details={
                "lines": sum(one.lines for one in findings.log_scans),
                "found": sum(one.total for one in findings.log_scans),
                "hits": [hit.to_json() for hit in hits],
            },
        )
    ]


def _takes(record: FaultRecord) -> bool:
    return (record.fault.kind, record.fault.name) in TAKING


def _said(hits: Sequence[Hit]) -> str:
    """Tell the first hits, and count the rest."""
    shown = [f"{hit.node}: {hit.detail}" for hit in hits[:_HITS_SHOWN]]
    more = len(hits) - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def _crashes(findings: Findings) -> list[CheckSummary]:
    """Judge exits of the system that no fault explains."""
    if not findings.crashes:
        return []
    reason = "; ".join(findings.crashes)
    return [CheckSummary(name="system-crash", verdict=Verdict.INVALID, reason=reason)]
