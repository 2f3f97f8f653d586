"""Run folders as they are found: whole, cut short, broken, hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from checker.history import Event, EventType, in_order
from reports.columns import FAULTS, METRICS, OPERATIONS
from reports.frames import faults_frame, metrics_frame, operations_frame
from reports.load import NotARunError, load, natural
from reports.logs import read_logs

Folder = Callable[[str], Path]


def event(index: int, time: int, process: int, type_: EventType, **more: object) -> Event:
    return Event(index=index, time=time, process=process, type=type_, f="write", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind", ["pass", "violation", "vacuous", "unfinished", "failed", "hostile"]
)
def test_frames_always_have_their_columns_and_types(runs: Folder, kind: str) -> None:
    run = load(runs(kind))
    for frame, columns in (
        (run.operations, OPERATIONS),
        (run.faults, FAULTS),
        (run.metrics, METRICS),
    ):
        types = {name: str(kind) for name, kind in frame.dtypes.items()}
        assert types == {name: column.dtype for name, column in columns.items()}


def test_metrics_are_what_each_node_said_over_time() -> None:
    said = {"role": "leader", "term": 3, "leader": "n1", "commit_index": 9, "applied_index": 8}
    said |= {"state_hash": "ab", "clock_offset_ms": -1.5, "clock_error_ms": 0.5}
    frame = metrics_frame(
        [
            {"time": 9, "node": "n2", "reachable": False},
            {"time": 5, "node": "n1", "reachable": True, **said},
        ]
    )
    assert frame["time_ns"].tolist() == [5, 9]
    assert frame["reachable"].tolist() == [True, False]
    first, second = frame.iloc[0], frame.iloc[1]
    assert first[[*said]].to_dict() == said
    assert second[[*said]].isna().all()


def test_an_info_has_no_end_but_the_time_its_client_gave_up() -> None:
    from checker.history import History

    history = History(
        in_order(
            [
                event(0, 1_000_000, 0, EventType.INVOKE, value=7, key="k1", node="n1"),
                event(1, 4_000_000, 0, EventType.INFO, value=7, error="timeout"),
                event(2, 2_000_000, 1, EventType.INVOKE, value=8),
                event(3, 2_500_000, 1, EventType.OK, value=8),
                event(4, 3_000_000, 2, EventType.INVOKE, value=9),
            ]
        )
    )
    frame = operations_frame(history.operations()).set_index("index")
    info, acknowledged, lost = frame.loc[0], frame.loc[2], frame.loc[4]
    assert frame["end_ns"].isna().tolist() == [True, False, True]
    assert (info["type"], info["error"], info["node"]) == ("info", "timeout", "n1")
    assert (info["completed_ns"], info["latency_ms"]) == (4_000_000, 3.0)
    assert (acknowledged["end_ns"], acknowledged["latency_ms"]) == (2_500_000, 0.5)
    assert lost["type"] == "info"
    assert frame["completed_ns"].isna().tolist() == [False, False, True]
    assert frame["latency_ms"].isna().tolist() == [False, False, True]


def test_the_frame_counts_what_the_outcome_counts(runs: Folder) -> None:
    run = load(runs("pass"))
    told = run.outcome["operations"]
    seen = run.operations["type"].value_counts()
    assert {kind: int(seen[kind]) for kind in ("ok", "fail", "info")} == {
        kind: told[kind] for kind in ("ok", "fail", "info")
    }
    assert run.operations["start_ns"].is_monotonic_increasing
    assert run.concurrency == 10
    assert run.nodes == ["n1", "n2", "n3", "n4", "n5"]


def test_faults_come_from_the_events_when_there_is_no_outcome(runs: Folder) -> None:
    run = load(runs("unfinished"))
    evidence = run.faults.set_index("name")["evidence"]
    assert evidence["isolate-leader"] == "installed"
    assert "planned" in set(evidence)
    never_stopped = run.faults[run.faults["stop_ns"].isna()]
    assert set(never_stopped["evidence"]) <= {"installed", "indeterminate", "skipped"}
    assert len(never_stopped) > 0


def test_a_fault_is_told_by_the_outcome_before_its_events_before_its_plan() -> None:
    planned = {"id": 0, "kind": "kill", "name": "kill-one", "start_ns": 5, "stop_ns": 9}
    value = {"fault": 0, "phase": "start", "name": "kill-one", "targets": ["n2"]}
    begun = Event(index=0, time=6, process="nemesis", type=EventType.INVOKE, f="kill", value=value)
    seen = {**value, "evidence": "installed", "detail": {"n2": "gone"}}
    done = Event(index=1, time=7, process="nemesis", type=EventType.INFO, f="kill", value=seen)
    told = {"id": 0, "kind": "kill", "evidence": "skipped", "start_ns": 8, "stop_ns": 10}

    def row(**sources: object) -> tuple[str, int, bool, list[str]]:
        frame = faults_frame(**{"outcome": [], "plan": [], "events": [], **sources})  # type: ignore[arg-type]
        first = frame.iloc[0]
        ended = not frame["stop_ns"].isna().iloc[0]
        return str(first["evidence"]), int(first["start_ns"]), ended, first["targets"]

    assert row(plan=[planned]) == ("planned", 5, True, [])
    assert row(plan=[planned], events=[begun]) == ("indeterminate", 6, False, ["n2"])
    assert row(plan=[planned], events=[begun, done]) == ("installed", 7, False, ["n2"])
    assert row(plan=[planned], events=[begun, done], outcome=[told]) == ("skipped", 8, True, ["n2"])


def test_what_is_missing_or_broken_is_said(own_run: Folder) -> None:
    run = own_run("pass")
    (run / "status.jsonl").write_text('{"time": 5, "node": "n1", "reachable": true}\n{"tim')
    (run / "plan.json").write_text("[")
    (run / "outcome.json").write_text("{")
    loaded = load(run)
    assert not loaded.finished
    assert len(loaded.metrics) == 1
    said = " ".join(loaded.problems)
    for name in ("outcome.json", "plan.json", "1 lines of status.jsonl"):
        assert name in said


def test_a_damaged_history_is_no_traceback(own_run: Folder) -> None:
    run = own_run("pass")
    lines = (run / "history.jsonl").read_text().splitlines()
    (run / "history.jsonl").write_text("\n".join([*lines[:50], "garbage", *lines[50:]]) + "\n")
    loaded = load(run)
    assert loaded.operations.empty
    assert "history.jsonl:51" in loaded.problems[0]
    (run / "history.jsonl").write_text(lines[0] + "\n" + lines[0] + "\n")
    assert "invokes again" in load(run).problems[0]
    (run / "history.jsonl").unlink()
    assert "no history.jsonl" in load(run).problems[0]


def test_a_history_without_times_is_drawn_in_order(own_run: Folder) -> None:
    run = own_run("vacuous")
    events = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    lines = [json.dumps({**event, "time": None}) + "\n" for event in events]
    (run / "history.jsonl").write_text("".join(lines))
    loaded = load(run)
    assert "no times" in loaded.problems[0]
    assert loaded.operations["start_ns"].is_monotonic_increasing
    assert loaded.operations["start_ns"].nunique() == len(loaded.operations) > 0


def test_links_in_collected_logs_are_not_followed(own_run: Folder, tmp_path: Path) -> None:
    run = own_run("vacuous")
    secret = tmp_path / "secret.log"
    secret.write_text("secret\n")
    (run / "hosts" / "n1" / "link.log").symlink_to(secret)
    names = [log.name for log in load(run).logs]
    assert "node.log" in names
    assert "link.log" not in names


def test_lines_with_a_monotonic_stamp_stand_at_their_moment(own_run: Folder) -> None:
    run = own_run("vacuous")
    (run / "hosts" / "n1" / "clock.json").write_text('{"run_ns_at_monotonic_zero": -5000000000}')
    (run / "hosts" / "n1" / "system.log").write_text("7250 role=leader\n  more of it\nno stamp\n")
    (log,) = [log for log in load(run).logs if log.name == "system.log"]
    assert log.monotonic_zero_ns == -5_000_000_000
    (lines,) = [lines for kept, lines in read_logs(load(run)).logs if kept.name == "system.log"]
    assert [line.time_ns for line in lines] == [2_250_000_000] * 3
    (run / "hosts" / "n1" / "clock.json").write_text("{")
    (log,) = [log for log in load(run).logs if log.name == "system.log"]
    assert log.monotonic_zero_ns is None


def test_concurrency_is_guessed_without_a_spec(own_run: Folder) -> None:
    run = own_run("pass")
    (run / "spec.toml").unlink()
    outcome = json.loads((run / "outcome.json").read_text())
    del outcome["spec"]
    (run / "outcome.json").write_text(json.dumps(outcome))
    assert load(run).concurrency == 10


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotARunError, match="not a run's folder"):
        load(tmp_path)
    with pytest.raises(NotARunError, match="no such folder"):
        load(tmp_path / "nowhere")


def test_names_sort_as_people_count() -> None:
    assert sorted(["n10", "n2", "m1", "2", "10"], key=natural) == ["2", "10", "m1", "n2", "n10"]
