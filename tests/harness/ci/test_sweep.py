"""A sweep: carries on, is resumed, keeps its budget, keeps failures, tells the worst."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fake_runs import LARGE, SMALL, FakeRuns, Fate

from harness import step_summary, sweep_ledger
from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.outcome import Outcome
from harness.spec import Spec
from harness.sweep import Swept, sweep
from reports.load import Run

FILE = """\
seeds = [1, 2]
[base]
time_limit = 30
[matrix]
workload = ["register", "queue"]
nemesis = ["none", "kill"]
"""
RUNS = 8


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nightly.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    fake = FakeRuns()
    monkeypatch.setattr("harness.run.run", fake)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return fake


def swept(file: Path, runs: FakeRuns, **options: Any) -> Swept:
    return sweep(file, store_folder=str(file.parent / "store"), clock=runs.clock, **options)


def fates(*known: tuple[int, Fate]) -> Callable[[Spec], Fate]:
    """Let the n-th run that is begun come out so, and all others pass."""
    begun, wanted = iter(range(1, 1000)), dict(known)
    return lambda _: wanted.get(next(begun), Outcome.PASS)


def outcomes(result: Swept) -> list[str]:
    return [run["outcome"] for run in result.document["runs"]]


def test_every_run_of_the_plan_is_run_once_and_in_its_order(file: Path, runs: FakeRuns) -> None:
    result = swept(file, runs)
    assert result.exit_code == 0
    assert result.document["totals"] == {"pass": RUNS}
    assert [(spec.workload, spec.seed) for spec in runs.specs][:5] == [
        ("register", 1),
        ("queue", 1),
        ("register", 1),
        ("queue", 1),
        ("register", 2),
    ]
    assert {spec.time_limit for spec in runs.specs} == {30.0}
    on_disk = json.loads((result.folder / "sweep.json").read_text())
    assert on_disk == json.loads(json.dumps(result.document))
    store = file.parent / "store"
    assert result.folder.parent == store / "sweeps" / "nightly"
    assert (result.folder.parent / "latest").resolve() == result.folder.resolve()
    assert all((store / run["path"] / "outcome.json").is_file() for run in on_disk["runs"])


def test_a_sweep_carries_on_after_failures_and_ends_with_the_worst(
    file: Path, runs: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.fate = fates(
        (1, HarnessError("n1: no route to host")),
        (2, Outcome.VACUOUS),
        (3, UsageError("mutant is 'x', but must be one of: y")),
        (4, RuntimeError("out of order")),
        (6, Outcome.VIOLATION),
    )
    result = swept(file, runs)
    assert outcomes(result) == [
        "harness-failure", "vacuous", "harness-failure", "harness-failure",
        "pass", "violation", "pass", "pass",
    ]  # fmt: skip
    assert result.exit_code == 1
    assert result.document["runs"][0]["reasons"] == ["n1: no route to host"]
    assert result.document["runs"][0]["path"] is None
    assert "internal error: RuntimeError: out of order" in result.document["runs"][3]["reasons"][0]
    assert "out of order" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.VACUOUS, 3), (Outcome.HARNESS_FAILURE, 4), (Outcome.VIOLATION, 1)],
)
def test_the_exit_code_is_that_of_the_worst_run(
    file: Path, runs: FakeRuns, outcome: Outcome, code: int
) -> None:
    runs.fate = fates((3, outcome))
    assert swept(file, runs).exit_code == code


def test_a_sweep_that_was_killed_goes_on_and_repeats_nothing(file: Path, runs: FakeRuns) -> None:
    class Killed(BaseException):
        pass

    runs.fate = fates((2, Outcome.VIOLATION), (4, Killed()))
    with pytest.raises(Killed):
        swept(file, runs)
    (folder,) = (file.parent / "store" / "sweeps" / "nightly").glob("2*")
    assert not (folder / "sweep.json").exists()
    with (folder / "outcomes.jsonl").open("a") as lines:
        lines.write('{"number": 4, "outc')  # it was killed there
    before, runs.fate = list(runs.specs), fates()
    result = swept(file, runs, resume=True)
    again = runs.specs[len(before) :]
    assert before[:3] + again == [run.spec for run in planned_runs(file, folder)]
    assert result.folder == folder.resolve()
    assert outcomes(result) == ["pass", "violation", *["pass"] * 6]
    assert result.exit_code == 1
    done = swept(file, runs, resume=True)
    assert len(runs.specs) == len(before) + len(again)
    assert (done.exit_code, outcomes(done)) == (1, outcomes(result))


def planned_runs(file: Path, folder: Path) -> Any:
    from harness.spec import read_toml
    from harness.sweep_plan import plan_of

    seed = json.loads((folder / "planned.json").read_text())["seed"]
    store = str(file.parent / "store")
    return plan_of(read_toml(file), file=str(file), store=store, seed=seed).runs


def test_the_plan_is_written_before_the_first_run(file: Path, runs: FakeRuns) -> None:
    def look(_: Spec) -> Fate:
        (plan,) = (file.parent / "store" / "sweeps" / "nightly").glob("2*/planned.json")
        assert len(json.loads(plan.read_text())["runs"]) == RUNS
        return Outcome.PASS

    runs.fate = look
    assert swept(file, runs).exit_code == 0


def test_fresh_seeds_are_the_same_ones_when_a_sweep_goes_on(file: Path, runs: FakeRuns) -> None:
    file.write_text(FILE.replace("[1, 2]", "2"))
    runs.fate = fates((6, KeyboardInterrupt()))
    result = swept(file, runs)
    assert result.exit_code == 130
    assert outcomes(result) == [*["pass"] * 5, *["not-run"] * 3]
    first = runs.specs[0].seed
    runs.fate = fates()
    assert swept(file, runs, resume=True).exit_code == 0
    assert {spec.seed for spec in runs.specs} == {first, first + 1}
    assert len(runs.specs) == RUNS + 1


def test_an_interrupted_run_is_the_last_one_and_is_run_again(file: Path, runs: FakeRuns) -> None:
    runs.fate = fates((3, Outcome.INTERRUPTED))
    result = swept(file, runs)
    assert outcomes(result) == ["pass", "pass", "interrupted", *["not-run"] * 5]
    assert "interrupted" in result.document["runs"][3]["reasons"][0]
    assert (result.exit_code, len(runs.specs)) == (130, 3)
    runs.fate = fates()
    result = swept(file, runs, resume=True)
    assert (result.exit_code, outcomes(result), len(runs.specs)) == (0, ["pass"] * RUNS, 3 + 6)


def test_ctrl_c_while_a_run_makes_its_report_ends_the_sweep_too(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That run has its outcome by then, and keeps it: it is not run again."""
    file.write_text('seeds = [1, 2]\n[matrix]\nworkload = ["register"]\n')
    reports: list[Path] = []

    def struck(run: Run) -> None:
        reports.append(run.path)
        os.kill(os.getpid(), signal.SIGINT)

    def nothing_on_hosts(*_: object) -> None:
        pass

    monkeypatch.setattr("harness.run.check_hosts", nothing_on_hosts)
    monkeypatch.setattr("harness.run._perform", nothing_on_hosts)
    with monkeypatch.context() as during_reports:
        during_reports.setattr("reports.page.save", struck)
        command = ["sweep", str(file), "--store", str(file.parent / "store"), "--quiet"]
        assert main(command) == 130
    assert len(reports) == 1, "nothing was begun after it"
    latest = file.parent / "store" / "sweeps" / "nightly" / "latest"
    first, second = json.loads((latest / "sweep.json").read_text())["runs"]
    assert first["outcome"] == "inconclusive", "without hosts nothing can be checked"
    assert second["outcome"] == "not-run"
    assert second["reasons"] == ["the sweep was interrupted before this run"]
    assert main([*command, "--resume"]) == 3
    again = json.loads((latest / "sweep.json").read_text())["runs"]
    assert again[0] == first
    assert again[1]["outcome"] == "inconclusive"


def test_a_run_that_cannot_end_in_time_is_not_begun_and_that_is_no_pass(
    file: Path, runs: FakeRuns
) -> None:
    # Each takes 30 + 10 s: three are begun by 80 s, and end by 120 s; a fourth needs 40 s more.
    result = swept(file, runs, budget_s=159.0)
    assert outcomes(result) == [*["pass"] * 3, *["not-run"] * 5]
    assert result.exit_code == 3
    assert result.document["runs"][3]["reasons"] == [
        "it may take 40 s, and less than that was left of the budget of 159 s; go on with --resume"
    ]
    assert swept(file, runs, resume=True, budget_s=160.0).document["totals"] == {
        "pass": 7,
        "not-run": 1,
    }
    assert swept(file, runs, resume=True).exit_code == 0
    assert len(runs.specs) == RUNS


def test_what_runs_took_beyond_their_load_counts_for_the_next(file: Path, runs: FakeRuns) -> None:
    runs.beyond_s = lambda _: 70.0
    assert swept(file, runs, budget_s=299.0).document["totals"] == {"pass": 2, "not-run": 6}


def test_a_shorter_run_is_begun_where_a_longer_one_does_not_fit(file: Path, runs: FakeRuns) -> None:
    file.write_text("budget_s = 100\n[matrix]\ntime_limit = [60, 600, 20]\n")
    result = swept(file, runs)
    assert outcomes(result) == ["pass", "not-run", "pass"]
    assert result.exit_code == 3


def test_a_violation_is_worse_than_what_was_not_run(file: Path, runs: FakeRuns) -> None:
    runs.fate = fates((1, Outcome.VIOLATION))
    assert swept(file, runs, budget_s=60.0).exit_code == 1


def test_passes_are_thinned_and_failures_kept_whole(file: Path, runs: FakeRuns) -> None:
    runs.fate = fates((2, Outcome.VIOLATION), (3, Outcome.VACUOUS))
    result = swept(file, runs)
    for run in result.document["runs"]:
        folder = file.parent / "store" / run["path"]
        left = {path.name for path in folder.iterdir()}
        assert left >= {"spec.toml", "outcome.json", *SMALL}
        large = set() if run["outcome"] == "pass" else {*LARGE, "hosts"}
        assert left & {*LARGE, "hosts"} == large, run["outcome"]


def test_all_is_kept_when_asked_for(file: Path, runs: FakeRuns) -> None:
    file.write_text('keep = "all"\n' + FILE)
    run = swept(file, runs).document["runs"][0]
    assert {*LARGE, "hosts"} <= {path.name for path in (file.parent / "store" / run["path"]).iterdir()}  # fmt: skip


def test_a_file_that_was_changed_cannot_be_resumed(file: Path, runs: FakeRuns) -> None:
    swept(file, runs, budget_s=60.0)
    file.write_text(FILE.replace("30", "40"))
    with pytest.raises(UsageError, match="the file was changed since this sweep was planned"):
        swept(file, runs, resume=True)


def test_the_budget_and_what_is_kept_may_change_between(file: Path, runs: FakeRuns) -> None:
    swept(file, runs, budget_s=60.0)
    file.write_text('keep = "all"\nbudget_s = 10_000\n' + FILE)
    assert swept(file, runs, resume=True).exit_code == 0


def test_nothing_to_resume_is_a_mistake(file: Path, runs: FakeRuns) -> None:
    with pytest.raises(UsageError, match="no sweep to resume; leave out --resume to begin one"):
        swept(file, runs, resume=True)
    assert runs.specs == []


def test_the_store_may_be_moved_before_a_sweep_goes_on(file: Path, runs: FakeRuns) -> None:
    swept(file, runs, budget_s=60.0)
    (file.parent / "store").rename(file.parent / "moved")
    result = sweep(file, store_folder=str(file.parent / "moved"), resume=True, clock=runs.clock)
    assert (result.exit_code, len(runs.specs)) == (0, RUNS)
    assert all((file.parent / "moved" / run["path"]).is_dir() for run in result.document["runs"])


def test_two_processes_cannot_work_on_one_sweep(file: Path, runs: FakeRuns) -> None:
    folder = swept(file, runs, budget_s=60.0).folder
    with (folder / sweep_ledger.OUTCOMES).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is at work on this sweep"):
            swept(file, runs, resume=True)


def test_a_line_that_is_no_outcome_is_named(file: Path, runs: FakeRuns) -> None:
    folder = swept(file, runs, budget_s=60.0).folder
    with (folder / sweep_ledger.OUTCOMES).open("a") as lines:
        lines.write("garbage\n")
    with pytest.raises(UsageError, match=r"outcomes.jsonl:2: not the outcome of a run"):
        swept(file, runs, resume=True)


def test_a_full_disk_stops_the_sweep_and_is_no_pass(
    file: Path, runs: FakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    runs.fate = fates((1, Outcome.VACUOUS))
    monkeypatch.setattr(sweep_ledger.Ledger, "add", full)
    result = swept(file, runs)
    assert (result.exit_code, len(runs.specs)) == (4, 1)
    assert "No space left on device" in result.document["failures"][0]
    assert outcomes(result) == ["vacuous", *["not-run"] * 7]


def test_a_summary_that_cannot_be_written_is_no_pass(file: Path, runs: FakeRuns) -> None:
    def in_the_way(_: Spec) -> Fate:
        (folder,) = (file.parent / "store" / "sweeps" / "nightly").glob("2*")
        (folder / "summary.md").mkdir(exist_ok=True)
        return Outcome.PASS

    runs.fate = in_the_way
    result = swept(file, runs)
    assert result.exit_code == 4
    assert "summary could not be written" in result.document["failures"][0]
    assert json.loads((result.folder / "sweep.json").read_text())["exit_code"] == 4


def test_junit_of_a_sweep_has_a_suite_a_workload_and_a_case_a_run(
    file: Path, runs: FakeRuns
) -> None:
    runs.fate = fates((1, Outcome.VIOLATION), (2, HarnessError("a\x00b")))
    result = swept(file, runs, budget_s=100.0)
    root = ElementTree.fromstring((result.folder / "junit.xml").read_bytes())
    suites = {suite.attrib["name"]: suite for suite in root}
    assert list(suites) == ["splitbrain.register", "splitbrain.queue"]
    assert len(root.findall("testsuite/testcase")) == RUNS
    first = suites["splitbrain.register"][1]
    assert first.attrib["name"] == "workload register, nemesis none, seed 1"
    assert [part.tag for part in first] == ["failure", "system-out"]
    error = suites["splitbrain.queue"].find("testcase/error")
    assert error is not None
    assert error.attrib["message"] == "a\\u0000b"
    ran = len(runs.specs)
    assert 2 < ran < RUNS
    assert len(root.findall("testsuite/testcase/skipped")) == RUNS - ran


def test_the_command_prints_a_table_and_tells_progress_apart(
    file: Path, runs: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.fate = fates((2, Outcome.VIOLATION))
    store = str(file.parent / "store")
    assert main(["sweep", str(file), "--store", store]) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["#", "outcome", "workload", "nemesis", "seed", "seconds", "folder"]
    assert lines[RUNS].split()[:5] == ["2", "violation", "queue", "kill", "1"]
    assert "  it is violation" in lines
    assert "--workload queue" in next(line for line in lines if "run again" in line)
    assert lines[-1] == "sweep nightly: 8 runs planned: 7 pass, 1 violation"
    assert "splitbrain: 1/8 begins: workload register, nemesis none, seed 1" in captured.err
    assert "2/8 VIOLATION  workload queue, nemesis kill, seed 1: it is violation" in captured.err


def test_json_is_one_object_a_run_and_nothing_else(
    file: Path, runs: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    del runs
    command = ["sweep", str(file), "--store", str(file.parent / "store"), "--json"]
    assert main([*command, "--budget-s", "0.5"]) == 3
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert [record["number"] for record in records] == list(range(1, RUNS + 1))
    assert {record["outcome"] for record in records} == {"not-run"}
    assert captured.err.count("\n") == 1
    assert "8 of 8 not run; the first: it may take 50 s" in captured.err


def test_what_was_not_run_is_one_line_that_counts_it(
    file: Path, runs: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    del runs
    file.write_text("[matrix]\ntime_limit = [60, 600, 20, 700]\n")
    store = file.parent / "store"
    assert main(["sweep", str(file), "--store", str(store), "--budget-s", "100"]) == 3
    captured = capsys.readouterr()
    assert [line.split()[2] for line in captured.err.splitlines()] == ["begins:", "PASS"] * 2
    assert [line for line in captured.out.splitlines() if " not run; " in line] == [
        "2 of 4 not run; the first: it may take 620 s, and less than that was left of the budget of "
        "100 s; go on with --resume"
    ]
    latest = store / "sweeps" / "nightly" / "latest" / "sweep.json"
    left = [run for run in json.loads(latest.read_text())["runs"] if run["path"] is None]
    assert [run["time_limit"] for run in left] == [600, 700]


def test_quiet_is_the_last_line_alone(
    file: Path, runs: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    del runs
    assert main(["sweep", str(file), "--store", str(file.parent / "store"), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "sweep nightly: 8 runs planned: 8 pass\n"
    assert captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sweep", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
        (["sweep", "FILE", "--budget-s", "soon"], "budget_s is 'soon', but must be a number"),
        (["sweep", "FILE", "--resume", "--store", "/nowhere"], "there is no sweep to resume"),
        (["sweep", "FILE", "--json", "--quiet"], "not allowed with argument"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    file: Path,
    runs: FakeRuns,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(file) if word == "FILE" else word for word in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    assert runs.specs == []


def test_a_sweep_is_shown_on_the_page_of_its_job(
    file: Path, runs: FakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = file.parent / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    runs.fate = fates((1, Outcome.VIOLATION))
    assert main(["sweep", str(file), "--store", str(file.parent / "store"), "--quiet"]) == 1
    assert page.read_text().startswith("before\n## ✗ Sweep nightly: 7 pass, 1 violation\n")


def test_so_is_each_run_of_a_test(
    tmp_path: Path,
    runs: FakeRuns,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del runs
    page = tmp_path / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    command = ["test", "--seed", "5", "--store", str(tmp_path / "store"), "--quiet"]
    assert main(command) == 0
    assert page.read_text() == "summary.md of seed 5\n\n"
    assert capsys.readouterr().out == "PASS  register, seed 5\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "page.md"))
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert f"warning: GITHUB_STEP_SUMMARY is {tmp_path}/nowhere/page.md" in captured.err


def test_a_page_that_is_full_is_left_as_it_is(tmp_path: Path) -> None:
    page, source = tmp_path / "page.md", tmp_path / "summary.md"
    page.write_bytes(b"x" * ((1 << 20) - 5))
    source.write_text("123456")
    environment = {"GITHUB_STEP_SUMMARY": str(page)}
    warning = step_summary.append(source, environment=environment)
    assert warning is not None
    assert "is full" in warning
    assert page.stat().st_size == (1 << 20) - 5
    assert step_summary.append(source, environment={}) is None
    missing = step_summary.append(tmp_path / "none.md", environment=environment)
    assert missing is not None
    assert "none.md" in missing
