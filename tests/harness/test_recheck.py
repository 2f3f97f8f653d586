"""A run is checked again by its own workload's checks, from its folder alone."""

import json
from pathlib import Path

import pytest

from harness import store
from harness.cli import main
from harness.spec import Spec

MINE = """
from splitbrain import Finding, Finds, Probe, Workload, generator

def twice(operations):
    seen = {}
    for one in operations:
        if one.type == "ok" and one.output in seen:
            return Finding(summary=f"{one.output} was given twice", operations=(seen[one.output], one))
        seen[one.output] = one

WORKLOAD = Workload(
    name="mine", summary="ids", data="ids", functions=("generate",),
    load=lambda setting: generator.repeat(generator.op("generate")),
    final=lambda setting: generator.op("generate"), checks=(Finds("twice", twice),),
    probe=Probe(f="generate"),
)
"""


FAILS_LATER = MINE.replace(
    'checks=(Finds("twice", twice),)',
    'checks=(Finds("twice", twice), Finds("broken", lambda operations: 1 // 0))',
)


def a_run(tmp_path: Path, *answers: int, code: str = MINE) -> Path:
    """A run of a workload whose own file is gone since."""
    mine = tmp_path / "mine.py"
    mine.write_text(code)
    run = store.create(Spec(workload=str(mine), store=str(tmp_path / "store"), seed=1))
    mine.unlink()
    lines = []
    for number, answer in enumerate(answers):
        known = {"time": number * 10, "process": number, "f": "generate", "node": "n1"}
        lines.append({**known, "index": 2 * number, "type": "invoke", "value": None})
        lines.append({**known, "index": 2 * number + 1, "type": "ok", "value": answer,
                      "time": number * 10 + 5})  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / store.HISTORY).write_text(text)
    return run


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["check", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_what_a_workload_of_ones_own_finds_is_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path, 7, 8, 7)
    code, out, _ = check(capsys, str(run), "--json")
    (line,) = out.splitlines()
    said = json.loads(line)
    assert (code, said["verdict"], said["operations"]) == (1, "invalid", 3)
    assert said["counterexample"]["summary"] == "7 was given twice"
    assert [one["index"] for one in said["counterexample"]["operations"]] == [0, 4]
    code, out, _ = check(capsys, str(run))
    assert code == 1
    assert "7 was given twice" in out
    assert "order of the operations" not in out


def test_what_was_found_stands_whatever_becomes_of_later_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert FAILS_LATER != MINE
    code, out, err = check(capsys, str(a_run(tmp_path, 7, 8, 7, code=FAILS_LATER)))
    assert code == 1
    assert "7 was given twice" in out
    assert "a later check failed" in err
    code, _, err = check(capsys, str(a_run(tmp_path, 7, 8, code=FAILS_LATER)))
    assert code == 4
    assert "ZeroDivisionError" in err


def test_what_is_wrong_after_a_fault_beyond_the_model_is_unknown_here_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path, 7, 8, 7)
    outcome = {"checks": [], "beyond_model": ["beyond the fault model: amnesia:cut-one on n1"]}
    (run / store.OUTCOME).write_text(json.dumps(outcome))
    code, out, _ = check(capsys, str(run), "--json")
    said = json.loads(out)
    assert (code, said["verdict"]) == (3, "unknown")
    assert said["reason"] == "beyond the fault model: amnesia:cut-one on n1"
    assert said["counterexample"]["summary"] == "7 was given twice"
    # The run itself found that it had been wrong before that.
    (run / store.OUTCOME).write_text(json.dumps({**outcome, "outcome": "violation"}))
    assert check(capsys, str(run))[0] == 1
    (tmp_path / "good").mkdir()
    good = a_run(tmp_path / "good", 7, 8)
    (good / store.OUTCOME).write_text(json.dumps(outcome))
    assert check(capsys, str(good))[0] == 0


def test_a_run_without_findings_is_valid_and_claims_no_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = check(capsys, str(a_run(tmp_path, 1, 2)))
    assert code == 0
    assert "valid" in out
    assert "proved by an order" not in out


def test_what_the_run_itself_found_counts_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path, 1, 2)
    checks = [
        {"name": "twice", "verdict": "invalid", "reason": "an older version of it thought so"},
        {"name": "liveness", "verdict": "invalid", "reason": "n3 serves no generate"},
    ]
    store.write_json(run / store.OUTCOME, {"checks": checks})
    code, out, _ = check(capsys, str(run))
    assert code == 1
    assert "n3 serves no generate" in out
    assert "older version" not in out


def test_a_pass_that_a_sweep_has_thinned_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path, 1, 2)
    (run / store.HISTORY).unlink()
    assert "ended before it had a history" in check(capsys, str(run))[2]
    store.write_json(run / store.OUTCOME, {"checks": []})
    store.write_json(run / store.PLAN, {})
    code, _, err = check(capsys, str(run))
    assert code == 2
    assert "a sweep keeps only what is small of runs that passed" in err


def test_options_of_a_model_have_no_meaning_for_other_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = check(capsys, str(a_run(tmp_path, 1)), "--initial", "3")
    assert code == 2
    assert "brings its own checks, so --initial has no meaning here" in err


def test_a_model_may_be_named_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = check(capsys, str(a_run(tmp_path, 1)), "--model", "register")
    assert code == 2
    assert "generate" in err
