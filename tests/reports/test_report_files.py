"""The other files of a report: JUnit, Parquet, and the command that writes them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
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


@pytest.mark.parametrize("table", parquet.TABLES)
def test_parquet_gives_back_the_frames(own_run: Folder, table: str) -> None:
    run = own_run("pass")
    parquet.write_tables(run)
    rows = pq.read_table(run / f"{table}.parquet").to_pylist()
    frame = getattr(load(run), table)
    assert len(rows) == len(frame) > 0
    for row, record in zip(rows, frame.to_dict("records"), strict=True):
        for name, column in parquet.TABLES[table].items():
            told, known = row[name], record[name]
            if column.dtype == "object":
                assert json.loads(told) == known
            else:
                assert (told is None) if pd.isna(known) else (told == known), name


@pytest.mark.parametrize("kind", ["pass", "unfinished", "failed", "hostile"])
def test_parquet_has_one_schema(own_run: Folder, kind: str) -> None:
    run = own_run(kind)
    names = [path.name for path in parquet.write_tables(run)]
    assert names == ["operations.parquet", "faults.parquet", "metrics.parquet"]
    for table, columns in parquet.TABLES.items():
        found = pq.read_schema(run / f"{table}.parquet")
        assert found.equals(parquet.schema(columns), check_metadata=False)
    assert pq.read_schema(run / "operations.parquet").field("value").type == pa.string()


def test_half_a_letter_is_no_reason_to_lose_a_table(own_run: Folder) -> None:
    """JSON may hold one half of a surrogate pair; UTF-8, and so Parquet, cannot."""
    run = own_run("vacuous")
    events = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    clients = [event for event in events if event["process"] != "nemesis"]
    for event in clients:
        event |= {"key": "k\ud800", "value": "\ud800", "error": "\udfff", "node": "n\ud800"}
    text = "".join(json.dumps(event) + "\n" for event in clients)
    (run / "history.jsonl").write_text(text)
    assert load(run).problems == ()
    parquet.write_tables(run)
    rows = pq.read_table(run / "operations.parquet").to_pylist()
    assert {row["key"] for row in rows} == {"k\\ud800"}
    assert {json.loads(row["value"]) for row in rows} == {"\ud800"}
    assert run_report(run) == 0


def test_report_writes_all_and_names_the_page(
    own_run: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = own_run("vacuous")
    assert run_report(run) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    for name in ("report.html", "junit.xml", "operations.parquet", "metrics.parquet"):
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
