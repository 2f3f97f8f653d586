"""The table of workloads: what it expects, what it keeps, what it shows. No run is made here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.outcome import EXIT_CODES, Outcome
from harness.run import Result
from harness.spec import Spec
from node.mutants.apply import load
from tools import workload_table
from tools.workload_table import HUNTS, KEPT, PASSES, Row, cut, main, shown_after_s, table
from workloads.catalogue import WORKLOADS

HUNT = "reads-skip-read-index"
EXAMPLE = {
    "summary": "a read of 1|2\nis stale",
    "operations": [
        {"start_ns": 1_000_000_000, "end_ns": 12_340_000_000},
        {"start_ns": 9_000_000_000, "end_ns": None},
    ],
}


def check(name: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "reason": None, **more}


def result(outcome: Outcome, *checks: Mapping[str, Any], reasons: tuple[str, ...] = ()) -> Result:
    return Result(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        path=Path(),
        reasons=reasons,
        document={"checks": list(checks), "operations": {"ok": 4200}},
    )


PASSED = result(Outcome.PASS, check("linearizable", "valid"), check("liveness", "valid"))
CAUGHT = result(Outcome.VIOLATION, check("linearizable", "invalid", counterexample=EXAMPLE))


class Lab:
    """Answers each run with the next of these results, and remembers what it was asked."""

    def __init__(self, *results: Result | UsageError) -> None:
        self.results = list(results)
        self.asked: list[Spec] = []

    def run(self, spec: Spec) -> Result:
        self.asked.append(spec)
        answer = self.results.pop(0)
        if isinstance(answer, UsageError):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def one_hunt(monkeypatch: pytest.MonkeyPatch) -> None:
    hunts = tuple(one for one in HUNTS if (one.workload, one.mutant) == ("register", HUNT))
    monkeypatch.setattr(workload_table, "HUNTS", hunts)


def call(lab: Lab, store: Path, *words: str) -> int:
    asked = ["--workloads", "register", "--store", str(store), *words]
    return main(asked, run_one=lab.run)


def test_every_workload_must_pass_and_must_catch_a_mutant_that_there_is() -> None:
    mutants = [mutant.id for mutant in load()]
    assert [one.workload for one in PASSES] == list(WORKLOADS)
    assert {one.workload for one in HUNTS} == set(WORKLOADS)
    hunted = {one.mutant for one in HUNTS}
    assert hunted <= set(mutants)
    assert set(mutants[mutants.index("forwarded-again") :]) <= hunted, "each has its workload"
    for one in (*PASSES, *HUNTS):
        spec = one.spec(one.seeds[0], kept_in=Path("store"), lab=-1)
        assert spec.workload == one.workload
        assert bool(one.mutant) is (one.outcome is Outcome.VIOLATION)


def test_what_is_expected_is_shown_in_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "table.md"
    assert call(Lab(PASSED, CAUGHT), tmp_path, "--output", str(output)) == 0
    assert output.read_text().splitlines()[2:] == [
        "| register | none | pass | 1 |  | linearizable | 4200 operations acknowledged |",
        f"| register | `{HUNT}` | violation | 1 | 12.3 | linearizable | a read of 1&#124;2 is stale |",
    ]
    assert capsys.readouterr().out == output.read_text()


def test_an_anomaly_is_named_and_a_long_sentence_is_cut() -> None:
    hunt = HUNTS[0]
    example = {"summary": "long" * 100, "anomaly": "G-single", "operations": []}
    found = result(Outcome.VIOLATION, check("transactions", "invalid", counterexample=example))
    row = workload_table.row_of(hunt, 3, found)
    assert (row.check, row.seed, row.seconds, row.met) == ("transactions: G-single", 3, None, True)
    assert len(cut(row.summary)) == workload_table.SUMMARY_CHARS_MAX
    assert table([row]).splitlines()[2].endswith("longlong ... |")


def test_an_operation_that_never_ended_counts_from_its_beginning() -> None:
    late = {"start_ns": 20_000_000_000, "end_ns": None}
    assert shown_after_s({"operations": [*EXAMPLE["operations"], late]}) == 20.0
    assert shown_after_s({}) is None


def test_another_seed_is_tried_when_one_shows_nothing(tmp_path: Path) -> None:
    lab = Lab(PASSED, CAUGHT)
    assert call(lab, tmp_path, "--skip-passes") == 0
    assert [spec.seed for spec in lab.asked] == [1, 2]
    assert {spec.mutant for spec in lab.asked} == {HUNT}


@pytest.mark.parametrize(
    "found",
    [
        PASSED,
        result(Outcome.VACUOUS, check("linearizable", "valid"), reasons=("too short",)),
        # A mutant that does not come back is broken, but the workload has caught nothing.
        result(Outcome.VIOLATION, check("linearizable", "valid"), check("liveness", "invalid")),
    ],
    ids=lambda found: found.outcome.value,
)
def test_a_mutant_that_the_workload_does_not_catch_is_an_error(
    found: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(found, found, found)
    assert call(lab, tmp_path, "--skip-passes") == 1
    assert lab.results == []
    assert f"| **{found.outcome.value}** | 3 |" in capsys.readouterr().out


def test_a_node_as_it_is_that_does_not_pass_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(Lab(CAUGHT), tmp_path, "--skip-mutants") == 1
    assert "| none | **violation** | 1 | 12.3 | linearizable |" in capsys.readouterr().out


def test_what_was_run_is_not_run_again_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(Lab(PASSED, PASSED, CAUGHT), tmp_path) == 0
    first = capsys.readouterr().out
    assert call(Lab(), tmp_path) == 0
    assert capsys.readouterr().out == first
    other_length = Lab(PASSED)
    assert call(other_length, tmp_path, "--skip-mutants", "--seconds", "30") == 0
    assert other_length.asked[0].time_limit == 30
    again = Lab(CAUGHT)
    assert call(again, tmp_path, "--skip-mutants", "--fresh") == 1
    assert call(Lab(), tmp_path, "--skip-mutants") == 1, "the newer one is kept"
    assert len(json.loads((tmp_path / KEPT).read_text())) == 4, "and nothing else is lost"


def test_a_run_that_showed_nothing_is_not_kept(tmp_path: Path) -> None:
    broken = result(Outcome.HARNESS_FAILURE, reasons=("no host",))
    assert call(Lab(broken), tmp_path, "--skip-mutants") == 1
    assert call(Lab(UsageError("no such data")), tmp_path, "--skip-mutants") == 1
    assert call(Lab(PASSED), tmp_path, "--skip-mutants") == 0


def test_an_interrupt_ends_it_and_what_was_found_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(PASSED, result(Outcome.INTERRUPTED))
    assert call(lab, tmp_path) == EXIT_CODES[Outcome.INTERRUPTED]
    assert len(lab.asked) == 2
    assert "| none | pass |" in capsys.readouterr().out


def test_what_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--workloads", "register,stack"])
    (tmp_path / KEPT).write_text('{"line": {"colour": 1}}')
    assert call(Lab(), tmp_path) == 2
    told = capsys.readouterr().err
    assert "'stack'" in told
    assert f"{tmp_path / KEPT}: not what this tool has kept" in told


def test_rows_outlive_a_file_as_they_are(tmp_path: Path) -> None:
    row = Row(workload="set", mutant="", outcome="pass", seed=1, seconds=None, check="c",
              summary="s", met=True)  # fmt: skip
    kept = workload_table.Kept(tmp_path / "new" / KEPT, {})
    kept.keep("line", row)
    assert workload_table.Kept.read(kept.path).rows == {"line": row}
