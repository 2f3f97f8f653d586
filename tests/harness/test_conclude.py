"""What is written at the end of a run: latencies, and what was acknowledged around each fault."""

import json
from pathlib import Path

import pytest

from checker.history import History, read_jsonl
from checker.verdict import Verdict
from harness import store
from harness.conclude import conclude
from harness.experiment import Findings
from harness.nemesis.conductor import FaultRecord
from harness.nemesis.faults import Certainty, Report
from harness.nemesis.plan import Fault
from harness.outcome import CheckSummary
from harness.progress import Progress
from harness.spec import Spec
from reports.load import load
from reports.runs import read_store
from workloads.catalogue import workload_named

NODES = ("n1", "n2", "n3")


def concluded(
    tmp_path: Path, events: list[dict[str, object]], findings: Findings | None = None
) -> Path:
    spec = Spec(store=str(tmp_path), seed=7)
    folder = store.create(spec)
    lines = [json.dumps({"index": number, **event}) for number, event in enumerate(events)]
    (folder / store.HISTORY).write_text("".join(f"{line}\n" for line in lines))
    history = read_jsonl(folder / store.HISTORY) if lines else History((), source="none")
    workload = workload_named("register")
    checks = [CheckSummary(name="linearizable", verdict=Verdict.VALID)]
    findings = findings or Findings()
    conclude(spec, workload, folder, history, checks, findings, Progress(shown=False))
    return folder


def took(
    process: int, start_ms: float, end_ms: float, kind: str, f: str = "write"
) -> list[dict[str, object]]:
    base = {"process": process, "f": f, "key": "k0", "value": 1, "node": NODES[process % 3]}
    return [
        {**base, "time": int(start_ms * 1e6), "type": "invoke"},
        {**base, "time": int(end_ms * 1e6), "type": kind},
    ]


def test_the_outcome_has_the_latencies_that_the_report_has(tmp_path: Path) -> None:
    events: list[dict[str, object]] = []
    for number in range(101):
        events += took(number, 1000.0 * number, 1000.0 * number + number, "ok")
    events += took(200, 200_000.0, 205_000.0, "fail")
    events += took(201, 206_000.0, 299_000.0, "info")
    run = load(concluded(tmp_path, events))
    assert run.outcome["latency_ms"] == {"p50": 50.0, "p99": 99.0}
    acknowledged = run.operations.loc[run.operations["type"] == "ok", "latency_ms"]
    assert acknowledged.quantile(0.99) == pytest.approx(99.0)
    [listed] = read_store(tmp_path)
    assert (listed.p50_ms, listed.p99_ms) == (50.0, 99.0)


def test_without_an_acknowledged_operation_there_are_none(tmp_path: Path) -> None:
    failed = load(concluded(tmp_path / "a", took(0, 0.0, 5.0, "fail")))
    assert failed.outcome["latency_ms"] is None
    empty = load(concluded(tmp_path / "b", []))
    assert empty.outcome["latency_ms"] is None


def killed(start_s: float, stop_s: float, *targets: str) -> FaultRecord:
    start_ns, stop_ns = int(start_s * 1e9), int(stop_s * 1e9)
    fault = Fault(
        id=0,
        kind="kill",
        name="kill-one",
        start_ns=start_ns,
        stop_ns=stop_ns,
        targets=targets,
        fallback=NODES,
    )
    record = FaultRecord(fault, targets=targets, harmed=targets, start_ns=start_ns)
    record.begun_ns, record.ending_ns, record.stop_ns = start_ns, stop_ns, stop_ns
    record.begun = {node: Report(Certainty.INSTALLED, "gone") for node in targets}
    return record


def every_100_ms(until_s: float, *silent: tuple[float, float]) -> list[dict[str, object]]:
    events: list[dict[str, object]] = []
    for number in range(int(until_s * 10)):
        at_s = number / 10
        lost = any(begin <= at_s < end for begin, end in silent)
        events += took(number, at_s * 1e3, at_s * 1e3 + 2, "fail" if lost else "ok")
    return events


def test_each_fault_says_what_was_acknowledged_around_it_and_how_soon(tmp_path: Path) -> None:
    findings = Findings(nodes=NODES, records=[killed(10, 20, "n2")])
    run = load(concluded(tmp_path, every_100_ms(60, (20, 25)), findings))
    [fault] = run.outcome["faults"]
    assert fault["harmed"] == ["n2"]
    assert fault["acknowledged"] == {"before": 100, "during": 100, "after": 350}
    assert fault["recovered_ms"]["cluster"] == pytest.approx(5002)
    assert fault["recovered_ms"]["struck"] == pytest.approx(5002, abs=300)
    row = run.faults.iloc[0]
    assert (row.acknowledged_before, row.acknowledged_during, row.acknowledged_after) == (
        100,
        100,
        350,
    )
    assert row.recovered_cluster_ms == pytest.approx(5002)


def test_a_run_without_an_answer_during_a_fault_that_left_a_majority_is_vacuous(
    tmp_path: Path,
) -> None:
    findings = Findings(nodes=NODES, records=[killed(10, 20, "n2")])
    run = load(concluded(tmp_path, every_100_ms(60, (10, 20)), findings))
    assert run.outcome["outcome"] == "vacuous"
    assert any("during the fault kill:kill-one (#0)" in one for one in run.outcome["reasons"])


def test_a_run_whose_keys_were_not_read_in_the_end_is_vacuous(tmp_path: Path) -> None:
    events = every_100_ms(60)
    findings = Findings(nodes=NODES, final_ns=int(61e9))
    last = [*took(900, 61_500, 61_501, "ok"), *took(901, 61_600, 61_601, "fail", "read")]
    run = load(concluded(tmp_path, events + last, findings))
    assert "no last look was acknowledged of k0" in run.outcome["reasons"]
    assert run.outcome["outcome"] == "vacuous"
