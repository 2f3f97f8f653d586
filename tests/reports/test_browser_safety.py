"""Every page in a real browser: nothing of a run can act, nothing is asked of the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Visits, at_rest, drawn, overflow
from many_runs import store_of_many
from run_folders import HOSTILE

from reports.compare import write_comparison
from reports.index import write_index

if TYPE_CHECKING:
    from playwright.sync_api import Page

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def pages(
    report: Folder, runs: Folder, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a page by the kind of its run, or the index, or the comparison of two runs."""
    store = store_of_many(tmp_path_factory.mktemp("store"))

    def page(kind: str) -> Path:
        if kind == "index":
            return write_index(store)
        if kind == "comparison":
            return write_comparison(store, runs("hostile"), runs("violation"))
        return report(kind)

    return page


KINDS = ["pass", "violation", "vacuous", "unfinished", "failed", "hostile", "index", "comparison"]


def show_all(shown: Page) -> None:
    """Open what is closed and scroll through the page, so that all of it is drawn."""
    shown.evaluate(
        "() => document.querySelectorAll('details').forEach(one => { one.open = true; })"
    )
    for plot in shown.locator("[data-plot]").all():
        plot.scroll_into_view_if_needed()
        at_rest(shown)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_fits_a_phone_and_a_screen_without_complaint(
    visits: Visits, pages: Callable[[str], Path], kind: str
) -> None:
    shown = visits.open(pages(kind), width=320)
    show_all(shown)
    assert overflow(shown) == 0
    shown.set_viewport_size({"width": 1300, "height": 900})
    at_rest(shown)
    assert overflow(shown) == 0
    for canvas in shown.locator("canvas.base").all():
        # Drawn at the size of its place, not at the 300 x 150 that a canvas has by itself.
        canvas.scroll_into_view_if_needed()
        at_rest(shown)
        assert int(canvas.get_attribute("width") or 0) > 1000
    # `visits` looks at the console and at what was asked of the network.
    assert len(visits.requests) == 1


@pytest.mark.parametrize("kind", ["hostile", "index", "comparison"])
def test_what_attacks_the_page_is_shown_and_does_nothing(
    visits: Visits, pages: Callable[[str], Path], kind: str
) -> None:
    # Without the policy, too: escaping has to do on its own.
    shown = visits.open(pages(kind), bypass_csp=True)
    show_all(shown)
    assert shown.locator("img").count() == 0
    assert shown.locator("script").count() == (0 if kind == "comparison" else 2 - (kind == "index"))
    assert HOSTILE[:60] in shown.inner_text("body")


def test_hostile_texts_are_shown_as_text_by_the_scripts_too(
    visits: Visits, pages: Callable[[str], Path]
) -> None:
    shown = visits.open(pages("hostile"), bypass_csp=True)
    for name in ("key", "node", "error"):
        shown.click("#clear")
        shown.select_option(f"[data-filter={name}]", HOSTILE)
        assert 0 < int(shown.inner_text("#fit").split(" of ")[0]) < 900
    shown.click("#clear")
    shown.select_option("[data-filter=key]", HOSTILE)
    for rows in ("key", "node"):
        shown.select_option("#grouping", rows)
        drawn(shown, "operations")
    shown.focus("[data-plot=operations]")
    shown.keyboard.press("ArrowRight")
    assert HOSTILE in shown.inner_text("#detail strong")
    box = shown.locator("[data-plot=operations]").bounding_box()
    assert box is not None
    for x in range(80, 1200, 4):
        shown.mouse.move(box["x"] + x, box["y"] + 14)
        if shown.is_visible("#tip"):
            break
    assert HOSTILE in shown.inner_text("#tip b")
    shown.click("#clear")
    shown.fill("[data-filter=q]", "</script><script>alert(1)")
    shown.press("[data-filter=q]", "Enter")
    assert HOSTILE in shown.inner_text("#detail")
    shown.wait_for_function("() => location.hash.includes('op=')")
    shown.reload()
    assert shown.input_value("[data-filter=q]") == "</script><script>alert(1)"
    assert HOSTILE in shown.inner_text("#detail")


@pytest.mark.parametrize("kind", ["violation", "index"])
def test_a_page_is_light_or_dark_as_the_reader_likes(
    visits: Visits, pages: Callable[[str], Path], kind: str
) -> None:
    def ground(shown: Page) -> int:
        colour = shown.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.strip("rgb()").split(","))

    light, dark = (visits.open(pages(kind), color_scheme=one) for one in ("light", "dark"))
    assert ground(light) > 700
    assert ground(dark) < 150
    if kind == "violation":
        before = drawn(dark, "operations")
        assert drawn(light, "operations") != before
        dark.emulate_media(color_scheme="light")
        assert ground(dark) > 700
        assert drawn(dark, "operations") == drawn(light, "operations")


def test_a_report_prints_light_and_whole(visits: Visits, pages: Callable[[str], Path]) -> None:
    shown = visits.open(pages("violation"), color_scheme="dark")
    shown.emulate_media(media="print")
    shown.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert shown.evaluate("() => getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert not shown.is_visible(".controls >> nth=0")
    assert not shown.is_visible("[data-copies=repeat]")
    for name in ("operations", "latency", "roles", "clocks"):
        # Of its place on paper, and something is on it.
        assert shown.get_attribute(f"[data-plot={name}] .base", "width") == str(2 * 760)
        assert len(drawn(shown, name)) > 5000
    assert len(shown.pdf()) > 50_000
    shown.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    shown.emulate_media(media="screen")
    at_rest(shown)
    assert overflow(shown) == 0
