"""The command: every mistake that a user can make ends in one line and the right exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import store
from harness.cli import main
from harness.spec import Spec

ROOT = Path(__file__).resolve().parents[2]

VALID = """\
{"index":0,"time":0,"process":0,"type":"invoke","f":"write","key":"k0","value":1}
{"index":1,"time":5,"process":0,"type":"ok","f":"write","key":"k0","value":1}
{"index":2,"time":6,"process":0,"type":"invoke","f":"read","key":"k0","value":null}
{"index":3,"time":9,"process":0,"type":"ok","f":"read","key":"k0","value":1}
"""
STALE = VALID.replace(
    '"ok","f":"read","key":"k0","value":1', '"ok","f":"read","key":"k0","value":2'
)


def written(tmp_path: Path, text: str, name: str = "history.jsonl") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["tset"], "invalid choice: 'tset'"),
        (["test", "--workload", "regster"], "workload is 'regster', but must be one of: register"),
        (["test", "--nemesis", "earthquake"], "must be one of: partition, kill, pause, clock"),
        (["test", "--nodes", "0"], "nodes is 0, but must be from 1 to 31"),
        (["test", "--spec", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
        (["test", "--hosts", "/nowhere.toml", "--nodes", "3"], "/nowhere.toml"),
        (["check", "/nowhere.jsonl", "--model", "register"], "/nowhere.jsonl"),
        (["check", "x.jsonl", "--model", "register", "--initial", "zero"], "is not JSON"),
        (["check", "x.jsonl", "--model", "register", "--budget-s", "nan"], "budget_s is nan"),
        (["check", "x.jsonl", "--model", "register", "--memory-mb", "-1"], "memory_mb is -1"),
        (["report", "/nowhere"], "/nowhere"),
        (["lab", "ssh", "n99", "--lab", "250"], "there is no host 'n99'"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if arguments[:1] == ["lab"] and os.geteuid() != 0:
        pytest.skip("looking at a lab needs root")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert expected in one_line(capsys)


def test_a_mutant_that_nobody_knows_is_a_mistake(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts.toml"
    key = tmp_path / "key"
    key.write_text("")
    hosts.write_text(
        f'[[host]]\nname = "n1"\naddress = "127.0.0.1"\nkey = "{key}"\nknown_hosts = "{key}"\n'
    )
    arguments = ["test", "--hosts", str(hosts), "--nodes", "1", "--store", str(tmp_path / "s")]
    assert main([*arguments, "--mutant", "no-such-bug"]) == 2
    assert "no-such-bug" in one_line(capsys)


def test_check_gives_each_verdict_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    valid = written(tmp_path, VALID)
    stale = written(tmp_path, STALE, "stale.jsonl")
    empty = written(tmp_path, "", "empty.jsonl")
    garbage = written(tmp_path, VALID + "garbage\n" + VALID, "garbage.jsonl")
    options = ["--model", "cas-register"]
    assert main(["check", valid, *options]) == 0
    assert main(["check", stale, *options]) == 1
    assert main(["check", empty, *options]) == 3
    capsys.readouterr()
    assert main(["check", garbage, *options]) == 2
    assert f"{garbage}:5: not JSON" in one_line(capsys)
    assert main(["check", valid, garbage, empty, stale, *options]) == 1
    assert main(["check", valid, garbage, empty, *options]) == 2


def test_check_json_is_one_object_a_file_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [written(tmp_path, VALID), written(tmp_path, STALE, "stale.jsonl")]
    assert main(["check", *paths, "--model", "register", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["path"], line["verdict"]) for line in lines] == [
        (paths[0], "valid"),
        (paths[1], "invalid"),
    ]
    assert set(lines[0]) == {
        "path",
        "verdict",
        "operations",
        "keys",
        "algorithm",
        "seconds",
        "peak_mb",
        "counterexample",
        "certificate",
        "reason",
    }


def test_a_runs_folder_needs_no_model_also_when_the_run_was_cut_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store.create(Spec(store=str(tmp_path)))
    (run / store.HISTORY).write_text(VALID + '{"index":4,"time":10,"proc')
    assert main(["check", str(run)]) == 0
    assert main(["check", str(run.parent / "latest")]) == 0
    (run / store.HISTORY).unlink()
    capsys.readouterr()
    assert main(["check", str(run)]) == 2
    assert "before it had a history" in one_line(capsys)


def test_what_a_run_found_besides_its_history_counts_when_it_is_checked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store.create(Spec(store=str(tmp_path)))
    (run / store.HISTORY).write_text(VALID)
    liveness = {"name": "liveness", "verdict": "invalid", "reason": "n2 serves no read"}
    linearizable = {"name": "linearizable", "verdict": "unknown", "reason": "time"}
    store.write_json(run / store.OUTCOME, {"checks": [linearizable, liveness]})
    assert main(["check", str(run), "--json"]) == 1
    line = json.loads(capsys.readouterr().out)
    assert (line["path"], line["verdict"]) == (str(run), "invalid")
    assert "n2 serves no read (found by the run)" in line["reason"]


def test_an_outcome_that_cannot_be_read_does_not_stop_the_other_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = store.create(Spec(store=str(tmp_path)))
    (broken / store.HISTORY).write_text(VALID)
    (broken / store.OUTCOME).write_text('{"checks": 7}')
    stale = store.create(Spec(store=str(tmp_path)))
    (stale / store.HISTORY).write_text(STALE)
    assert main(["check", str(broken)]) == 2
    assert f"{broken / store.OUTCOME}: cannot be read" in one_line(capsys)
    assert main(["check", str(broken), str(stale)]) == 1


def test_a_file_that_cannot_be_read_gets_its_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / "missing.jsonl"), written(tmp_path, VALID)]
    assert main(["check", *paths, "--model", "register", "--json"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["path"], line["verdict"]) for line in lines] == [
        (paths[0], "unknown"),
        (paths[1], "valid"),
    ]
    assert "No such file" in lines[0]["reason"]


def test_a_reader_that_goes_away_does_not_change_the_exit_code(tmp_path: Path) -> None:
    stale = written(tmp_path, STALE)
    command = [sys.executable, "-m", "harness.cli", "check", *[stale] * 50, "--model", "register"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said


def test_an_error_of_our_own_is_never_taken_for_a_violation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("harness.doctor.examine", breaks)
    assert main(["doctor"]) == 4
    assert "internal error: RuntimeError: out of order" in capsys.readouterr().err


@pytest.mark.lab
def test_a_store_that_cannot_be_written_is_a_harness_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").write_text("a file, not a folder")
    arguments = ["test", "--store", str(tmp_path / "store"), "--time-limit", "1"]
    assert main(arguments) == 4
    assert "choose another --store" in one_line(capsys)


def test_help_names_every_option_of_the_spec(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["test", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in Spec.__dataclass_fields__:
        assert "--" + name.replace("_", "-") in text


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    spec = Spec(store=str(tmp_path), seed=5)
    first, second = store.create(spec), store.create(spec)
    assert first != second
    assert store.spec_of(first) == spec
    assert (first.parent / "latest").resolve() == second.resolve()
