"""What is written at the end of a run: here, the latencies that the index of all runs shows."""

import json
from pathlib import Path

import pytest

from checker.history import History, read_jsonl
from harness import store
from harness.conclude import conclude
from harness.experiment import Findings
from harness.progress import Progress
from harness.spec import Spec
from reports.load import load
from reports.runs import read_store
from workloads.catalogue import workload_named


def concluded(tmp_path: Path, events: list[dict[str, object]]) -> Path:
    spec = Spec(store=str(tmp_path), seed=7)
    folder = store.create(spec)
    lines = [json.dumps({"index": number, **event}) for number, event in enumerate(events)]
    (folder / store.HISTORY).write_text("".join(f"{line}\n" for line in lines))
    history = read_jsonl(folder / store.HISTORY) if lines else History((), source="none")
    workload = workload_named("register")
    conclude(spec, workload, folder, history, [], Findings(), Progress(shown=False))
    return folder


def took(process: int, start_ms: float, end_ms: float, kind: str) -> list[dict[str, object]]:
    base = {"process": process, "f": "write", "key": "k0", "value": 1}
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
