"""The other files of a report: JUnit, Parquet, and the command that writes them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from run_folders import HOSTILE

from reports import junit, parquet
from reports.command import run_report
from reports.load import load

Folder = Callable[[str], Path]


@pytest.mark.parametrize(
    ("kind", "failures", "errors", "tests"),
    [
        ("pass", 0, 0, 2),
        ("violation", 2, 0, 2),
        ("vacuous", 0, 1, 2),
        ("unfinished", 0, 1, 1),
        ("failed", 0, 1, 1),
        ("hostile", 2, 0, 2),
    ],
)
def test_junit_counts_what_it_holds(
    runs: Folder, kind: str, failures: int, errors: int, tests: int
) -> None:
    (suite,) = ElementTree.fromstring(junit.render(load(runs(kind)))).findall("testsuite")
    counted = {name: int(suite.attrib[name]) for name in ("failures", "errors", "tests", "skipped")}
    assert counted == {"failures": failures, "errors": errors, "tests": tests, "skipped": 0}
    assert len(suite.findall("testcase/failure")) == failures
    assert len(suite.findall("testcase/error")) == errors
    assert len(suite.findall("testcase")) == tests
    assert all(case.get("name") and case.get("classname") for case in suite.findall("testcase"))


def test_junit_says_why(runs: Folder) -> None:
    suite = ElementTree.fromstring(junit.render(load(runs("vacuous"))))
    error = suite.find("testsuite/testcase[@name='outcome']/error")
    assert error is not None
    assert "only 31 operations were acknowledged" in error.attrib["message"]
    hostile = ElementTree.fromstring(junit.render(load(runs("hostile"))))
    assert [case.get("name") for case in hostile.iter("testcase")] == [HOSTILE, "outcome"]


def test_junit_spells_out_what_xml_cannot_hold(own_run: Folder) -> None:
    run = own_run("vacuous")
    outcome = json.loads((run / "outcome.json").read_text())
    outcome["reasons"] = ["a\x00b\x1b\ud800\ufffe ]]> & <"]
    (run / "outcome.json").write_text(json.dumps(outcome))
    suite = ElementTree.fromstring(junit.render(load(run)))
    error = suite.find("testsuite/testcase/error")
    assert error is not None
    assert error.attrib["message"] == "a\\u0000b\\u001b\\ud800\\ufffe ]]> & <"


def test_an_unknown_check_is_an_error_not_a_pass(own_run: Folder) -> None:
    run = own_run("pass")
    outcome = json.loads((run / "outcome.json").read_text())
    outcome["outcome"] = "inconclusive"
    outcome["checks"][0] |= {"verdict": "unknown", "reason": "the budget of 60 s is spent"}
    (run / "outcome.json").write_text(json.dumps(outcome))
    case = ElementTree.fromstring(junit.render(load(run))).find("testsuite/testcase")
    assert case is not None
    error = case.find("error")
    assert error is not None
    assert error.attrib["message"] == "the budget of 60 s is spent"


def test_parquet_gives_back_the_operations(own_run: Folder) -> None:
    run = own_run("pass")
    rows = pq.read_table(parquet.write_operations(run)).to_pylist()
    frame = load(run).operations
    assert len(rows) == len(frame)
    for row, operation in zip(rows, frame.to_dict("records"), strict=True):
        assert json.loads(row["value"]) == operation["value"]
        assert json.loads(row["output"]) == operation["output"]
        assert (row["index"], row["type"]) == (operation["index"], operation["type"])
        assert (row["end_ns"] is None) == (row["type"] == "info")
        assert row["latency_ms"] == operation["latency_ms"]


@pytest.mark.parametrize("kind", ["pass", "failed", "hostile"])
def test_parquet_has_one_schema(own_run: Folder, kind: str) -> None:
    path = parquet.write_operations(own_run(kind))
    assert pq.read_schema(path).equals(parquet.SCHEMA, check_metadata=False)
    assert pq.read_schema(path).field("value").type == pa.string()


def test_report_writes_all_and_names_the_page(
    own_run: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = own_run("vacuous")
    assert run_report(run) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    for name in ("report.html", "junit.xml", "operations.parquet"):
        assert (run / name).stat().st_size > 0


def test_report_of_what_is_no_run_is_one_line_and_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_report(tmp_path) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert str(tmp_path) in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_one_line_and_4(
    own_run: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = own_run("vacuous")
    (run / "report.html").mkdir()
    assert run_report(run) == 4
    assert capsys.readouterr().err.count("\n") == 1
