"""`splitbrain check --transactions`: exit codes, and what goes to which stream."""

import json
from pathlib import Path

import pytest

from harness.cli import main

SKEW = [
    (0, "invoke", [["append", "x", 1], ["r", "y", None]]),
    (1, "invoke", [["append", "y", 1], ["r", "x", None]]),
    (0, "ok", [["append", "x", 1], ["r", "y", []]]),
    (1, "ok", [["append", "y", 1], ["r", "x", []]]),
    (0, "invoke", [["r", "x", None], ["r", "y", None]]),
    (0, "ok", [["r", "x", [1]], ["r", "y", [1]]]),
]


@pytest.fixture
def skew(tmp_path: Path) -> str:
    path = tmp_path / "skew.jsonl"
    lines = [
        json.dumps({"index": index, "process": process, "type": kind, "f": "txn", "value": value})
        for index, (process, kind, value) in enumerate(SKEW)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("isolation", "code"), [("serializable", 1), ("snapshot-isolation", 0), ("no-such", 2)]
)
def test_a_write_skew_is_one_where_serializability_was_promised(
    skew: str, isolation: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["check", skew, "--transactions", "list-append", "--isolation", isolation]
    assert main(asked) == code
    said = capsys.readouterr()
    if code == 2:
        assert said.out == ""
        assert "no-such" in said.err
    else:
        assert said.err == ""
        assert "T0 -rw-> T1 -rw-> T0" in said.out


def test_as_json_one_object_a_file(skew: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", skew, skew, "--transactions", "list-append", "--json"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == json.loads(second)
    assert json.loads(first)["verdict"] == "invalid"


def test_what_does_not_go_together_is_refused(
    skew: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["check", skew, "--transactions", "list-append", "--model", "register"]
    assert main(asked) == 2
    assert "--model" in capsys.readouterr().err
