"""The page about all runs, its trends, and two runs compared."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_runs import FIRST, add_run, change_outcome, store_of_many
from page_reader import Element, Page, read
from run_folders import HOSTILE

from harness.cli import main
from reports import compare, index, sealed, trends
from reports.lines import from_zero, logarithmic, trace
from reports.load import load
from reports.runs import NoStoreError, RunSummary, find, read_store, summarise

NODE = shutil.which("node")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of_many(tmp_path_factory.mktemp("many") / "store")


@pytest.fixture(scope="module")
def page(store: Path) -> Page:
    return read(index.write_index(store).read_text())


def rows(page: Page) -> list[Element]:
    return [one for one in page.all("tr") if "data-path" in one.attributes]


def words_of(element: Element) -> str:
    return " ".join(element.text.split())


def test_every_run_is_listed_and_the_newest_comes_first(page: Page, store: Path) -> None:
    paths = [row.attributes["data-path"] for row in rows(page)]
    assert len(paths) == 30
    assert paths[0] == "register/20261102T050000-29"
    assert paths[-1] == "register/20261101T000000-0"
    assert {store / path for path in paths} == set(find(store))


def test_a_row_says_what_the_run_was_and_what_came_of_it(page: Page) -> None:
    row = next(one for one in rows(page) if one.attributes["data-path"].endswith("T040000-4"))
    assert words_of(row) == (
        "✗ Violationbecause of violation register raft 0.1.0 partition, kill, pause, clock lab 4 "
        "2026-11-01 04:00:00 6\u202f004 104 2.5\u202fms 20.0\u202fms 0.8\u202fs "
        "files"
    ).replace("\u202f", " ")
    assert row.attributes["data-outcome"] == "violation"


def test_links_lead_to_the_reports_that_are_there(page: Page, store: Path) -> None:
    links = [one.attributes["href"] for one in page.all("a")]
    reports = [link for link in links if link.endswith("report.html")]
    assert len(reports) == 27
    assert all(link.startswith(("./", "#")) for link in links)
    assert all((store / link).exists() for link in links if link.startswith("./"))


def test_damaged_and_unfinished_runs_say_so(page: Page) -> None:
    told = {row.attributes["data-path"][-2:]: words_of(row) for row in rows(page)}
    assert "Unfinished" in told["26"]
    assert "the harness was killed, or is still at work" in told["26"]
    assert "raft" in told["26"]
    assert "Unreadable" in told["27"]
    assert "outcome.json cannot be read" in told["27"]
    assert "outcome.json is not an object" in told["28"]


def test_nothing_that_a_run_says_becomes_markup(page: Page, store: Path) -> None:
    assert len(page.all("script")) == 1
    assert not page.all("img")
    hostile = rows(page)[0]
    assert HOSTILE in hostile.text
    assert hostile.attributes["data-system"] == HOSTILE
    assert HOSTILE not in (store / "index.html").read_text()


def test_the_page_is_sealed(page: Page) -> None:
    policies = [
        one.attributes["content"]
        for one in page.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [sealed.policy(index.SCRIPTS, index.STYLES)]
    assert "unsafe" not in policies[0]
    for one in page.elements:
        assert "style" not in one.attributes
        assert not [name for name in one.attributes if name.startswith("on")]
        assert "src" not in one.attributes


def test_filters_offer_what_there_is(page: Page) -> None:
    values: dict[str, list[str]] = {}
    for one in page.elements:
        if "data-filter" in one.attributes:
            current = values.setdefault(one.attributes["data-filter"], [])
        elif one.tag == "option" and one.attributes["value"]:
            current.append(one.attributes["value"])
    assert values["outcome"] == ["pass", "unfinished", "unreadable", "vacuous", "violation"]
    assert values["workload"] == ["queue", "register"]
    assert values["nemesis"] == ["none", "partition, kill, pause, clock"]
    assert values["system"] == [HOSTILE, "raft"]


def test_an_empty_store_has_an_index(tmp_path: Path) -> None:
    assert "There is no run in this store yet" in read(index.render([], store=tmp_path)).text


def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoStoreError, match=r"nowhere: there is no such folder; .*--store"):
        read_store(tmp_path / "nowhere")


def test_links_are_not_followed(tmp_path: Path) -> None:
    add_run(tmp_path / "elsewhere", hour=0, seed=1)
    store = tmp_path / "store"
    add_run(store, hour=0, seed=2)
    (store / "more").symlink_to(tmp_path / "elsewhere")
    run = add_run(store, hour=1, seed=3)
    (run / "outcome.json").unlink()
    (run / "outcome.json").symlink_to(tmp_path / "elsewhere" / "secret")
    (tmp_path / "elsewhere" / "secret").write_text('{"outcome": "pass"}')
    assert [(one.seed, one.outcome) for one in read_store(store)] == [
        ("3", "unfinished"),
        ("2", "pass"),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "outcome",
                "splitbrain",
                "reasons",
                "started_at",
                "seed",
                "spec",
                "operations",
                "rates",
                "latency_ms",
                "recovery",
                "version",
            ]
        ),
        json_values
        | st.dictionaries(
            st.sampled_from(["workload", "nemesis", "system", "mutant", "p99", "seconds", "ok"]),
            json_values,
        ),
    )
)
def test_whatever_an_outcome_holds_there_is_a_page(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    store = tmp_path_factory.mktemp("odd")
    run = add_run(store, hour=1, seed=1)
    change_outcome(run, **changes)
    shown = read(index.render(read_store(store), store=store))
    assert len(rows(shown)) == 1
    assert len(shown.all("script")) == 1


def test_numbers_that_cannot_be_are_not_shown(tmp_path: Path) -> None:
    run = add_run(tmp_path, hour=1, seed=1)
    change_outcome(
        run,
        operations={"invoke": -3},
        latency_ms={"p50": float("nan"), "p99": 10**400},
        rates={"seconds": 0, "completed": {"ok": 5}},
        recovery={"recovered": False, "seconds": 20.0},
        started_at="0001-01-01T00:00:00+23:59",
    )
    told = summarise(tmp_path, run)
    assert (told.operations, told.p50_ms, told.p99_ms) == (None, None, None)
    assert (told.ok_per_s, told.recovery_s) == (None, None)
    assert told.when == "2026-11-01 01:00:00", "the folder's name says when it began"


def test_a_mutant_is_another_system(tmp_path: Path) -> None:
    run = add_run(tmp_path, hour=1, seed=1, mutant="no-fsync")
    assert summarise(tmp_path, run).system == "raft with no-fsync"


def group_of(page: Page, title: str) -> Element:
    return next(one for one in page.all("article") if title in words_of(one))


def test_trends_show_each_group_over_time(page: Page) -> None:
    group = words_of(group_of(page, "register on raft, faults: partition, kill, pause, clock"))
    counts = "8 pass, 2 violation, 2 unreadable, 1 unfinished"
    assert f"13 runs: {counts}" in group
    labels = [one.attributes["aria-label"] for one in page.all("svg")]
    assert f"Outcomes of the last 13 runs: {counts}" in labels
    assert "Acknowledged per second: 110/s to 119/s, last 119/s" in labels
    assert "Latency p99: 20.0\u202fms to 20.0\u202fms, last 20.0\u202fms" in labels
    group = words_of(group_of(page, "register on raft, faults: none"))
    assert "Latency p99" in group
    assert "Time to recover" not in group, "where no run recovered nothing is drawn"


def test_a_bar_says_its_outcome_by_its_height_too(page: Page) -> None:
    heights: dict[str, set[str]] = {}
    for one in page.by_class("bar"):
        kind = one.attributes["class"].partition(" ")[2]
        heights.setdefault(kind, set()).add(one.attributes["height"])
    assert heights["violation"] == {"24"}
    assert heights["pass"] == {"10"}
    assert heights["vacuous"] == heights["unfinished"] == {"17"}


def summary_of(**changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "path": "register/1",
        "outcome": "pass",
        "note": "",
        "workload": "register",
        "system": "raft",
        "version": "1",
        "nemesis": "kill",
        "hosts": "lab",
        "seed": "1",
        "started_s": FIRST.timestamp(),
        "operations": 10,
        "ok_per_s": 1.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "recovery_s": None,
        "has_report": True,
        "test": "t",
    }
    return RunSummary(**{**values, **changes})


def history_of(*ended: str) -> list[RunSummary]:
    """Runs as ``version:outcome``, the oldest first."""
    return [
        summary_of(
            path=f"register/{number}",
            version=one.partition(":")[0],
            outcome={"+": "pass", "-": "violation", "?": "vacuous"}[one.partition(":")[2]],
            started_s=1000.0 + number,
        )
        for number, one in enumerate(ended)
    ]


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (["1:+", "2:+"], None),
        (["1:+", "2:-"], ("1", "2", "")),
        (["1:+", "1:+", "2:?", "3:+", "3:-", "4:-"], ("1", "3", "")),
        (["1:+", "2:-", "3:?", "4:+"], ("1", "2", "4")),
        (["1:-", "2:-"], ("", "1", "")),
        (["1:+", "2:-", "3:+", "4:-"], ("3", "4", "")),
        (["1:?"], None),
    ],
)
def test_the_version_that_broke_a_test_is_named(
    ended: list[str], expected: tuple[str, str, str] | None
) -> None:
    found = trends.broken(history_of(*ended))
    assert (found and (found.last_good, found.first_bad, found.fixed_in)) == expected


def test_the_page_names_last_good_and_first_bad(page: Page) -> None:
    assert (
        "Was broken: last good version 0.1.0, first bad version 0.2.0, good again in 0.3.0"
        in words_of(group_of(page, "queue on raft"))
    )


def test_one_test_with_different_outcomes_is_flaky(page: Page) -> None:
    listed = [one.text for one in page.all("tr") if "data-path" not in one.attributes]
    flaky = [one for one in listed if " on raft, faults" in one]
    assert flaky == [
        "register on raft, faults: partition, kill, pause, clock0.1.010"
        "8 pass, seed 9 2 violation, seed 7 "
    ], "the newest run of each outcome; and of queue each version ended one way"


@pytest.mark.parametrize("change", [{"test": "other"}, {"outcome": "interrupted"}])
def test_other_tests_and_runs_that_were_not_judged_make_none_flaky(change: dict[str, Any]) -> None:
    one = summary_of()
    assert len(trends.flaky([one, replace(one, outcome="violation")])) == 1
    assert trends.flaky([one, replace(one, **{"outcome": "violation", **change})]) == []


def test_a_seed_does_not_make_another_test(tmp_path: Path) -> None:
    runs = [
        add_run(tmp_path, hour=1, seed=1, lab=1),
        add_run(tmp_path, hour=2, seed=2, lab=2),
        add_run(tmp_path, hour=3, seed=3, rate=201.0),
    ]
    first, second, third = (summarise(tmp_path, run).test for run in runs)
    assert first == second != third


def test_a_gap_in_the_values_is_a_gap_in_the_line() -> None:
    drawn = trace([1.0, 2.0, None, 2.0, None], step_px=10, height_px=20, scale=from_zero(2.0))
    assert drawn["lines"] == ["5.0,10.0 15.0,3.0"]
    assert [point["x"] for point in drawn["points"]] == [5.0, 15.0, 35.0]


def test_a_logarithmic_scale_has_its_powers_of_ten() -> None:
    scale, powers = logarithmic([3.0, 250.0, 0.0])
    assert powers == [
        (1.0, 0.0),
        (10.0, pytest.approx(1 / 3)),
        (100.0, pytest.approx(2 / 3)),
        (1000.0, 1.0),
    ]
    assert scale(0.0) == 0.0
    assert scale(10**9) == 1.0


@pytest.mark.skipif(NODE is None, reason="no node here: apt-get install nodejs")
def test_the_script_finds_sorts_and_remembers() -> None:
    assert NODE is not None
    source = (Path(index.__file__).parent / "static" / "index.js").read_text()
    pure = source.partition("function startTable")[0]
    cases = """
    const run = (text, p99, place, outcome) => ({ text, place, outcome, values: [p99, text] });
    const runs = [run("b one", "9", 0, "pass"), run("a two", "", 1, "pass"), run("c", "10", 2, "violation")];
    const order = (column, descending) =>
      [...runs].sort((one, other) => inOrder(one, other, column, descending)).map((one) => one.place);
    const state = readState("#q=ONE++b&outcome=pass&sort=-p99");
    console.log(JSON.stringify({
      numbersUp: order({ number: 0, numeric: true }, false),
      numbersDown: order({ number: 0, numeric: true }, true),
      words: order({ number: 1, numeric: false }, false),
      found: runs.map((one) => fits(one, state)),
      all: runs.map((one) => fits(one, readState(""))),
      again: readState(writeState(state)),
      hash: writeState(state), nothing: writeState(readState("#trends")),
    }));
    """
    done = subprocess.run(
        [NODE, "-e", pure + cases], capture_output=True, text=True, check=True, timeout=60
    )
    told = json.loads(done.stdout)
    assert told["numbersUp"] == [0, 2, 1]
    assert told["numbersDown"] == [2, 0, 1], "what has no value stays last"
    assert told["words"] == [1, 0, 2]
    assert told["found"] == [True, False, False]
    assert told["all"] == [True, True, True]
    assert told["again"]["q"] == "ONE  b"
    assert told["again"]["sort"] == "-p99"
    assert told["hash"] == "#q=ONE++b&sort=-p99&outcome=pass"
    assert told["nothing"] == ""


@pytest.fixture(scope="module")
def compared(runs: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    store = tmp_path_factory.mktemp("store")
    return read(compare.write_comparison(store, runs("pass"), runs("violation")).read_text())


def table_of(page: Page, title: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    inside = False
    for one in page.elements:
        if one.tag == "section":
            inside = one.attributes.get("id") == title.lower()
        if inside and one.tag == "tr" and "col" not in one.text:
            cells = [part.strip() for part in one.parts if part.strip()]
            found[cells[0]] = cells[1:]
    return found


def test_two_runs_stand_side_by_side_and_differences_are_marked(compared: Page) -> None:
    assert "A: ✓ Pass" in compared.text
    assert "B: ✗ Violation" in compared.text
    spec = table_of(compared, "Spec")
    assert spec["seed"] == ["7", "11", "differs"]
    assert spec["nodes"] == ["5", "5"]
    checks = table_of(compared, "Checks")
    assert checks["linearizable"][0] == "valid"
    assert checks["linearizable"][1].startswith("invalid (a read of ")
    marked = [one.text for one in compared.by_class("differs")]
    assert any("seed" in one for one in marked)
    assert not any("nodes" in one for one in marked)


def test_faults_and_errors_are_counted_for_both(
    compared: Page, runs: Callable[[str], Path]
) -> None:
    faults = table_of(compared, "Faults")
    seen = load(runs("pass")).faults
    installed = int(((seen["kind"] == "partition") & (seen["evidence"] == "installed")).sum())
    assert faults["partition"][0].startswith(f"{installed} installed")
    assert table_of(compared, "Errors")


def test_latency_is_drawn_over_one_time(compared: Page) -> None:
    for kind in ("a", "b"):
        lines = [one for one in compared.all("polyline") if one.attributes["class"] == kind]
        assert len(lines) >= 3
        for line in lines:
            places = [float(one) for one in re.findall(r"[\d.]+", line.attributes["points"])]
            assert max(places[::2]) <= compare.WIDTH_PX
            assert max(places[1::2]) <= compare.HEIGHT_PX


def test_a_hostile_and_an_unfinished_run_can_be_compared(
    runs: Callable[[str], Path], tmp_path: Path
) -> None:
    html = compare.render(load(runs("hostile")), load(runs("unfinished")), store=tmp_path)
    shown = read(html)
    assert not shown.all("script")
    assert not shown.all("img")
    assert HOSTILE not in html
    assert "This run did not finish" in shown.text


def test_runs_without_operations_can_be_compared(
    runs: Callable[[str], Path], tmp_path: Path
) -> None:
    failed = load(runs("failed"))
    shown = read(compare.render(failed, failed, store=tmp_path))
    assert "There is nothing to draw" in shown.text
    assert not shown.by_class("differs")


def test_the_command_writes_the_index_and_the_comparison(
    runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run(tmp_path, hour=1, seed=1)
    assert main(["index", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'index.html'}\n"
    pair = [str(runs("failed")), str(runs("failed"))]
    assert main(["index", "--store", str(tmp_path), "--compare", *pair]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'compare.html'}\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "compare.html",
        "index.html",
        "register",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--store", "nowhere"], "nowhere: there is no such folder"),
        (["--store", "nowhere", "--compare", "a", "b"], "nowhere: there is no such folder"),
        (["--store", ".", "--compare", "a", "b"], "a: there is no such folder"),
    ],
)
def test_mistakes_are_said_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["index", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"splitbrain: {said}")
    assert told.err.count("\n") == 1
