"""A report in a real browser: zoom, search, filters, rows, keys, links."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Visits, at_rest, drawn

from reports.load import load

if TYPE_CHECKING:
    from playwright.sync_api import Page

Folder = Callable[[str], Path]


def window(shown: Page) -> list[float]:
    """The seconds between which the plots are drawn."""
    at_rest(shown)
    return [float(one) for one in re.findall(r"([\d.]+) s", shown.inner_text("#window"))]


def fitting(shown: Page) -> int:
    return int(shown.inner_text("#fit").split(" of ")[0])


def wait_for_address(shown: Page, part: str) -> None:
    shown.wait_for_function("part => location.hash.includes(part)", arg=part)


@pytest.fixture
def passed(visits: Visits, report: Folder) -> Page:
    return visits.open(report("pass"))


def test_buttons_zoom_and_move_all_plots(passed: Page) -> None:
    before = {name: drawn(passed, name) for name in ("operations", "latency")}
    assert window(passed) == pytest.approx([30.0], abs=0.2)
    passed.click("[data-view=in]")
    start, end = window(passed)
    assert end - start == pytest.approx(18, abs=0.3)
    for name, drawing in before.items():
        assert drawn(passed, name) != drawing
    passed.click("[data-view=left]")
    earlier, _ = window(passed)
    assert earlier < start
    passed.click("[data-view=all]")
    assert {name: drawn(passed, name) for name in before} == before


def test_one_zooms_from_the_whole_run_to_microseconds(passed: Page) -> None:
    for _ in range(40):
        passed.click("[data-view=in]")
    start, end = window(passed)
    assert end - start == pytest.approx(20e-6, abs=2e-5)
    assert passed.inner_text("#window").count(" s") == 2


def test_a_drag_chooses_a_stretch_and_a_double_click_the_whole(passed: Page) -> None:
    frame = passed.locator("[data-plot=rate]")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    assert box is not None
    left, wide = box["x"] + 76, box["width"] - 90
    passed.mouse.move(left + wide * 0.25, box["y"] + 40)
    passed.mouse.down()
    passed.mouse.move(left + wide * 0.5, box["y"] + 50, steps=4)
    passed.mouse.up()
    assert window(passed) == pytest.approx([7.5, 15], abs=0.2)
    frame.dblclick(position={"x": 300, "y": 40})
    assert len(window(passed)) == 1


def test_keys_zoom_move_and_walk_through_operations(passed: Page) -> None:
    passed.focus("[data-plot=operations]")
    passed.keyboard.press("+")
    first = window(passed)
    passed.keyboard.press("Shift+ArrowRight")
    assert window(passed)[0] > first[0]
    passed.keyboard.press("0")
    assert len(window(passed)) == 1
    told = set()
    for key in (*["ArrowRight"] * 5, "ArrowDown", "ArrowLeft"):
        passed.keyboard.press(key)
        told.add(passed.inner_text("#detail"))
    assert len(told) == 7
    assert "process" in passed.inner_text("#detail")


def test_every_control_is_reached_by_the_tab_key(passed: Page) -> None:
    reached: set[str] = set()
    for _ in range(50):
        passed.keyboard.press("Tab")
        reached.add(
            passed.evaluate(
                "() => { const {dataset: d, id} = document.activeElement;"
                " return d.view || d.filter || d.outcome || d.plot || id; }"
            )
        )
    wanted = {"in", "out", "left", "right", "all", "q", "ok", "fail", "info", "f", "key", "node"}
    wanted |= {"error", "process", "grouping", "clear", "faults", "operations", "latency"}
    assert wanted <= reached


def test_pointing_at_an_operation_tells_of_it(passed: Page) -> None:
    for _ in range(12):
        passed.click("[data-view=in]")
    passed.focus("[data-plot=operations]")
    passed.keyboard.press("ArrowRight")
    box = passed.locator("[data-plot=operations]").bounding_box()
    assert box is not None
    for x in range(80, int(box["width"]) - 20, 15):
        passed.mouse.move(box["x"] + x, box["y"] + 15)
        if passed.is_visible("#tip"):
            break
    assert "process: 0" in passed.inner_text("#tip") or "process" in passed.inner_text("#tip")
    passed.mouse.move(2, 2)
    assert not passed.is_visible("#tip")


@pytest.mark.parametrize(("name", "column"), [("f", "f"), ("key", "key"), ("node", "node"), ("error", "error")])  # fmt: skip
def test_a_filter_leaves_what_it_names(passed: Page, runs: Folder, name: str, column: str) -> None:
    operations = load(runs("pass")).operations
    before = drawn(passed, "latency")
    value = str(operations[column].dropna().iloc[0])
    passed.select_option(f"[data-filter={name}]", value)
    assert fitting(passed) == int((operations[column] == value).sum())
    assert drawn(passed, "latency") != before
    passed.click("#clear")
    assert fitting(passed) == len(operations)
    assert drawn(passed, "latency") == before


def test_outcome_and_process_filter_together(passed: Page, runs: Folder) -> None:
    operations = load(runs("pass")).operations
    passed.uncheck("[data-outcome=ok]")
    passed.fill("[data-filter=process]", "3")
    wanted = int(((operations["type"] != "ok") & (operations["process"] == 3)).sum())
    passed.wait_for_function(
        "n => document.getElementById('fit').textContent.startsWith(`${n} of`)", arg=wanted
    )


def test_the_search_finds_and_enter_walks_through_it(passed: Page) -> None:
    passed.keyboard.press("/")
    passed.keyboard.type("timeout k3 write")
    passed.keyboard.press("Enter")
    assert 0 < fitting(passed) < 200
    first = passed.inner_text("#detail")
    assert "k3" in first
    assert "timeout" in first
    assert "write" in first
    passed.keyboard.press("Enter")
    second = passed.inner_text("#detail")
    assert second != first
    passed.keyboard.press("Shift+Enter")
    assert passed.inner_text("#detail") == first


def test_an_event_is_found_by_its_number(passed: Page, runs: Folder) -> None:
    operation = load(runs("pass")).operations.iloc[4000]
    passed.fill("[data-filter=q]", f"#{operation['index']}")
    passed.press("[data-filter=q]", "Enter")
    assert f"#{operation['index']}" in passed.inner_text("#detail")
    start, end = (*window(passed), 0.0)[:2] if len(window(passed)) == 2 else (0.0, 30.1)
    assert start <= operation["start_ns"] / 1e9 <= end


def test_rows_are_by_client_by_key_or_by_node(passed: Page) -> None:
    by_client = drawn(passed, "operations")
    passed.select_option("#grouping", "key")
    by_key = drawn(passed, "operations")
    passed.select_option("#grouping", "node")
    assert len({by_client, by_key, drawn(passed, "operations")}) == 3
    # Whatever the rows, walking stays within what is shown.
    passed.select_option("[data-filter=key]", "k2")
    passed.focus("[data-plot=operations]")
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        passed.keyboard.press(key)
        assert "on k2" in passed.inner_text("#detail")


def test_a_link_shows_the_same(passed: Page, visits: Visits, report: Folder) -> None:
    passed.select_option("[data-filter=f]", "cas")
    passed.uncheck("[data-outcome=info]")
    passed.select_option("#grouping", "key")
    passed.click("[data-view=in]")
    passed.click("[data-view=right]")
    passed.focus("[data-plot=operations]")
    passed.keyboard.press("ArrowRight")
    wait_for_address(passed, "op=")
    address = "#" + passed.url.split("#")[1]
    other = visits.open(report("pass"), address=address)
    assert window(other) == window(passed)
    assert fitting(other) == fitting(passed)
    assert other.input_value("[data-filter=f]") == "cas"
    assert not other.is_checked("[data-outcome=info]")
    assert other.input_value("#grouping") == "key"
    assert other.inner_text("#detail") == passed.inner_text("#detail")
    assert drawn(other, "operations") == drawn(passed, "operations")
    other.evaluate("() => { location.hash = '#from=1&to=2'; }")
    other.wait_for_function("() => document.getElementById('window').textContent.startsWith('1.0')")
    assert fitting(other) == 6000


@pytest.mark.parametrize("address", ["#from=x&to=-1&op=zz", "#rows=__proto__&f=nothing", "#%&=", "#from=9e99&to=9e999", "#outcomes="])  # fmt: skip
def test_a_broken_link_breaks_nothing(visits: Visits, report: Folder, address: str) -> None:
    shown = visits.open(report("pass"), address=address)
    shown.click("#clear")
    assert fitting(shown) == 6000
    shown.click("[data-view=all]")
    assert len(window(shown)) == 1


def test_links_to_sections_stay_as_they_are(passed: Page) -> None:
    passed.click("nav a[href='#errors']")
    at_rest(passed)
    assert passed.url.endswith("#errors")
    assert fitting(passed) == 6000


def test_the_violation_is_shown_in_the_timeline(
    visits: Visits, report: Folder, runs: Folder
) -> None:
    shown = visits.open(report("violation"))
    shown.click(".jump")
    outcome = json.loads((runs("violation") / "outcome.json").read_text())
    told = outcome["checks"][0]["counterexample"]["operations"]
    stuck = next(one for one in told if one["why_not"] and one["type"] == "ok")
    start, end = window(shown)
    assert start <= stuck["start_ns"] / 1e9 <= end
    assert "✗ cannot be placed" in shown.inner_text("#detail")
    assert f"#{stuck['index']}" in shown.inner_text("#detail")


def test_commands_are_copied(visits: Visits, report: Folder) -> None:
    shown = visits.open(report("violation"), permissions=["clipboard-read", "clipboard-write"])
    for button in shown.locator("[data-copies]").all():
        button.click()
        place = button.get_attribute("data-copies")
        wanted = shown.inner_text(f"#{place}") if place else shown.url
        shown.wait_for_function("() => document.getElementById('copied').textContent === 'copied'")
        assert shown.evaluate("() => navigator.clipboard.readText()") == wanted
