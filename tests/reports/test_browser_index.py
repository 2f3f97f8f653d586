"""The index in a real browser: search, filters, sorting, links, two runs compared, trends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from many_runs import add_run, store_of_many

from reports.index import write_index

if TYPE_CHECKING:
    from browser import Visits
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = store_of_many(tmp_path_factory.mktemp("store"))
    add_run(store, hour=40, seed=0, outcome="violation")
    return write_index(store)


@pytest.fixture
def shown(visits: Visits, index: Path) -> Page:
    return visits.open(index)


def rows(page: Page) -> list[str]:
    return [row.inner_text() for row in page.locator("#table tbody tr:visible").all()]


def test_the_search_wants_every_word(shown: Page) -> None:
    shown.fill("#search", "queue 0.2.0")
    found = rows(shown)
    assert len(found) == 4
    assert all("queue" in row and "0.2.0" in row for row in found)
    assert shown.inner_text("#count") == "4 of 31 runs"
    shown.fill("#search", "no such run")
    assert shown.is_visible("#none")
    shown.click("#clear")
    assert len(rows(shown)) == 31


def test_filters_and_search_stand_in_the_link(shown: Page, visits: Visits, index: Path) -> None:
    shown.select_option("[data-filter=workload]", "queue")
    shown.select_option("[data-filter=outcome]", "violation")
    shown.click("th[data-column=p99] button")
    address = "#" + shown.url.split("#")[1]
    assert address == "#sort=-p99&outcome=violation&workload=queue"
    other = visits.open(index, address=address)
    assert rows(other) == rows(shown)
    assert len(rows(other)) == 4
    assert other.input_value("[data-filter=workload]") == "queue"
    assert other.get_attribute("th[data-column=p99]", "aria-sort") == "descending"


def test_headings_sort_numbers_as_numbers_by_key_too(shown: Page) -> None:
    shown.focus("th[data-column=operations] button")
    for way in (-1, 1):
        shown.keyboard.press("Enter")
        cells = [
            re.sub(r"\D", "", row.locator("td").nth(8).inner_text())
            for row in shown.locator("#table tbody tr").all()
        ]
        known = [int(cell) for cell in cells if cell]
        assert len(known) > 20
        assert known == sorted(known, reverse=way < 0)


def test_two_runs_are_chosen_to_be_compared(shown: Page) -> None:
    boxes = shown.locator("#table tbody input:visible")
    boxes.nth(4).check()
    assert shown.inner_text("#compare").endswith("choose another one.")
    boxes.nth(5).check()
    command = shown.inner_text("#compare code")
    assert re.fullmatch(r"splitbrain index --store \. --compare \S+ \S+", command)
    boxes.nth(6).check()
    assert shown.locator("#table tbody input:checked").count() == 2
    assert not boxes.nth(4).is_checked()


def test_a_served_index_links_to_the_comparison(
    visits: Visits, index: Path, tmp_path: Path
) -> None:
    served = tmp_path / "index.html"
    served.write_text(index.read_text().replace("<body>", '<body data-served="yes">'))
    page = visits.open(served)
    page.locator("#table tbody input:visible").nth(7).check()
    page.locator("#table tbody input:visible").nth(8).check()
    link = urlsplit(page.get_attribute("#compare a", "href") or "")
    assert link.path == "./compare"
    assert all("/" in run for (run,) in parse_qs(link.query).values())
    assert set(parse_qs(link.query)) == {"a", "b"}


def test_trends_say_which_version_broke_and_lead_to_their_runs(shown: Page) -> None:
    group = shown.locator("article.group", has_text="queue").first
    assert "last good version 0.1.0, first bad version 0.2.0" in group.inner_text()
    assert "good again in 0.3.0" in group.inner_text()
    assert group.locator("svg rect.bar.violation").count() == 4
    group.locator("h3 a").click()
    shown.wait_for_function(
        "() => document.getElementById('count').textContent.startsWith('10 of')"
    )
    assert all("queue" in row for row in rows(shown))


def test_different_outcomes_of_one_test_are_listed(shown: Page) -> None:
    assert "violation" in shown.inner_text("#flaky").lower()
