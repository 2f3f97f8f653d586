"""What was found stays found: whatever fails or is interrupted after it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from checker.budget import Budget
from checker.history import History, HistoryError
from checker.verdict import CheckResult, Verdict
from harness import judge as judging
from harness import store
from harness.experiment import Findings
from harness.interrupts import Interrupts
from harness.judge import judge
from harness.nemesis.beyond import beyond_model
from harness.nemesis.conductor import FaultRecord
from harness.nemesis.faults import Certainty, Report
from harness.nemesis.plan import Fault
from harness.outcome import CheckSummary, Evidence, Outcome, decide
from harness.progress import Progress
from harness.spec import Spec
from workloads.catalogue import workload_named
from workloads.checks import Linearizable

REGISTER = Linearizable("cas-register")


@dataclass(frozen=True)
class Breaks:
    """A check that comes to no end."""

    error: BaseException
    name: str = "second"

    def judge(self, history: History, budget: Budget) -> CheckResult:
        raise self.error


def stale_read(at_ns: int = 0) -> list[Mapping[str, Any]]:
    """A write of 1, and after it a read that does not see it."""

    def took(process: int, f: str, value: Any, start_ns: int) -> list[Mapping[str, Any]]:
        base = {"process": process, "f": f, "key": "k0", "node": "n1"}
        asked = value if f == "write" else None
        return [
            {**base, "time": start_ns, "type": "invoke", "value": asked},
            {**base, "time": start_ns + 5, "type": "ok", "value": value},
        ]

    return [*took(0, "write", 1, at_ns), *took(1, "read", None, at_ns + 10)]


def judged(
    folder: Path, events: list[Mapping[str, Any]], *checks: Any, findings: Findings
) -> dict[str, CheckSummary]:
    lines = [json.dumps({"index": number, **event}) for number, event in enumerate(events)]
    (folder / store.HISTORY).write_text("".join(f"{line}\n" for line in lines))
    workload = replace(workload_named("register"), checks=checks)
    progress, interrupts = Progress(shown=False), Interrupts(lambda: None)
    _, found = judge(Spec(), workload, folder, findings, progress, interrupts)
    return {one.name: one for one in found}


@pytest.mark.parametrize("error", [HistoryError("not mine"), OSError("gone"), ValueError("bug")])
def test_a_violation_stands_when_a_later_check_fails(tmp_path: Path, error: Exception) -> None:
    findings = Findings()
    found = judged(tmp_path, stale_read(), REGISTER, Breaks(error), findings=findings)
    assert found["linearizable"].verdict is Verdict.INVALID
    assert findings.failures, "that it failed is told all the same"


def test_a_violation_stands_when_a_later_check_is_interrupted(tmp_path: Path) -> None:
    findings = Findings()
    later = Breaks(KeyboardInterrupt())
    found = judged(tmp_path, stale_read(), REGISTER, later, findings=findings)
    verdicts = {name: one.verdict for name, one in found.items()}
    assert verdicts == {"linearizable": Verdict.INVALID, "second": Verdict.UNKNOWN}
    assert findings.interrupted


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_a_violation_stands_when_it_cannot_be_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(judging, "_write_proof", fail)
    findings = Findings()
    found = judged(tmp_path, stale_read(), REGISTER, findings=findings)
    assert found["linearizable"].verdict is Verdict.INVALID
    assert findings.interrupted is isinstance(error, KeyboardInterrupt)
    assert bool(findings.failures) is isinstance(error, ValueError)


def beyond_every_promise(start_ns: int) -> FaultRecord:
    fault = Fault(id=0, kind="amnesia", name="cut-one", start_ns=start_ns, stop_ns=start_ns + 1,
                  targets=("n1",), fallback=("n1",))  # fmt: skip
    record = FaultRecord(fault, targets=("n1",), start_ns=start_ns)
    record.begun = {"n1": Report(Certainty.INSTALLED, "its log is shorter")}
    return record


@pytest.mark.parametrize(
    ("begun_ns", "outcome"), [(500, Outcome.VIOLATION), (112, Outcome.INCONCLUSIVE)]
)
def test_what_was_wrong_before_a_fault_beyond_the_model_is_a_violation(
    tmp_path: Path, begun_ns: int, outcome: Outcome
) -> None:
    """The write is answered at 105; the read that misses it is asked at 110, answered at 115."""
    records = [beyond_every_promise(900), beyond_every_promise(begun_ns)]
    findings = Findings(records=records)
    found = judged(tmp_path, stale_read(100), REGISTER, findings=findings)
    evidence = Evidence(
        checks=list(found.values()), acknowledged=2, acknowledged_min=0, fault_kinds=(),
        fault_evidence={}, never_acknowledged=(), leader_faults=0, leader_changes=0,
        beyond_model=beyond_model(findings.model, records, 5),
    )  # fmt: skip
    assert decide(evidence)[0] is outcome


def test_that_it_was_wrong_before_stands_when_a_later_check_fails(tmp_path: Path) -> None:
    findings, later = Findings(records=[beyond_every_promise(500)]), Breaks(HistoryError("torn"))
    found = judged(tmp_path, stale_read(100), REGISTER, later, findings=findings)
    assert found["linearizable"].inexcusable


@pytest.mark.parametrize("error", [HistoryError("torn"), ValueError("bug"), KeyboardInterrupt()])
def test_a_violation_stands_when_nobody_can_say_whether_it_was_there_before_such_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(judging, "_until", fail)
    findings = Findings(records=[beyond_every_promise(500)])
    found = judged(tmp_path, stale_read(100), REGISTER, findings=findings)
    assert found["linearizable"].verdict is Verdict.INVALID
    assert not found["linearizable"].inexcusable
    assert findings.interrupted is isinstance(error, KeyboardInterrupt)
