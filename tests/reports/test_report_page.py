"""The page: what it says, that it is self-contained, and that nothing in it can run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from page_reader import Page, read
from run_folders import HOSTILE

from reports import page
from reports.load import load

Folder = Callable[[str], Path]
Pages = Callable[[str], Page]
Htmls = Callable[[str], str]
KINDS = ["pass", "violation", "vacuous", "unfinished", "failed", "hostile"]


def rendered(run: Path) -> Page:
    return read(page.render(load(run)))


@pytest.fixture(scope="module")
def html(runs: Folder) -> Htmls:
    """Return the page of a kind of run; each is made once."""
    return cache(lambda kind: page.render(load(runs(kind))))


@pytest.fixture(scope="module")
def pages(html: Htmls) -> Pages:
    """Return the parsed page of a kind of run; each is parsed once."""
    return cache(lambda kind: read(html(kind)))


@pytest.mark.parametrize(
    ("kind", "title", "kind_class"),
    [
        ("pass", "Pass", "pass"),
        ("violation", "Violation", "violation"),
        ("vacuous", "Vacuous", "vacuous"),
        ("unfinished", "This run did not finish", "unfinished"),
        ("failed", "Harness failure", "harness-failure"),
    ],
)
def test_the_verdict_comes_first(pages: Pages, kind: str, title: str, kind_class: str) -> None:
    shown = pages(kind)
    assert [one.text for one in shown.all("h1")] == [title]
    assert kind_class in shown.by_class("verdict")[0].attributes["class"]
    first_heading = next(one for one in shown.elements if one.tag in ("h1", "h2", "table", "svg"))
    assert first_heading.tag == "h1"


def test_a_pass_shows_the_numbers_that_matter(pages: Pages, runs: Folder) -> None:
    run = load(runs("pass"))
    shown = pages("pass")
    tiles = dict(
        zip(
            [one.text for one in shown.all("dt") if "tiles" not in one.attributes],
            [one.text for one in shown.all("dd") if one.attributes.get("class") != "note"],
            strict=True,
        )
    )
    p99 = run.operations.loc[run.operations["type"] == "ok", "latency_ms"].quantile(0.99)
    assert tiles["Operations"] == "6\u202f000"
    assert tiles["Latency p99"] == f"{p99:.0f}\u202fms"
    assert tiles["Faults installed"] == "10 of 12"
    assert tiles["Leader changes"] == str(len(run.outcome["leader_changes"]) - 1)
    assert tiles["Offered"] == "198/s"
    assert "achieved: 197/s, 41 forgone, as all clients were busy, at most 12.5 ms late" in (
        shown.text
    )
    assert tiles["Seed"] == "7"
    assert shown.by_id("repeat").text == run.outcome["repeat"]
    assert shown.all("button")[0].attributes["data-copies"] == "repeat"


def test_every_fault_is_listed_with_its_evidence(pages: Pages, runs: Folder) -> None:
    shown = pages("pass")
    faults = shown.by_id("faults").text
    for fault in load(runs("pass")).faults.to_dict("records"):
        assert fault["name"] in faults
    for word in ("✓ installed", "✗ skipped", "? indeterminate", "it was already dead"):
        assert word in faults


def test_errors_say_whether_they_are_definite(html: Htmls, runs: Folder) -> None:
    run = load(runs("pass"))
    spaced = html("pass").replace("</td>", " </td>").replace("</th>", " </th>")
    text = " ".join(read(spaced).by_id("errors").text.split())
    for code, kind in (("connection-refused", "fail"), ("timeout", "info")):
        count = int(((run.operations["error"] == code) & (run.operations["type"] == kind)).sum())
        said = "yes: it did not happen" if kind == "fail" else "no: it may have happened"
        assert f"{code} {count} {said}" in text


def test_a_violation_is_told_as_a_story(pages: Pages, runs: Folder) -> None:
    shown = pages("violation")
    counterexample = load(runs("violation")).outcome["checks"][0]["counterexample"]
    story = " ".join(shown.by_id("story-1").text.split())
    assert counterexample["summary"][1:] in story
    for operation in counterexample["operations"]:
        assert f"#{operation['index']}" in story
        assert operation["why_not"] is None or operation["why_not"] in story
    assert story.count("✗ Cannot be placed") == 1
    assert "halves (partition) on n1, n2, n3, n4, n5" in story
    assert "heartbeat" in story
    assert shown.data["marked"] == [
        one["index"]
        for one in counterexample["operations"]
        if one["why_not"] and one["type"] == "ok"
    ]
    assert "What went wrong" not in pages("pass").text


def test_an_unfinished_run_says_what_it_has(pages: Pages, runs: Folder) -> None:
    shown = pages("unfinished")
    assert "Nothing was judged" in shown.text
    assert "torn" in shown.by_class("problems")[0].text
    assert "– planned" in shown.by_id("faults").text  # noqa: RUF001
    assert shown.by_id("repeat").text.startswith("splitbrain test --spec ")
    assert shown.data["operations"]["count"] == len(load(runs("unfinished")).operations)


def test_without_operations_there_is_a_page_all_the_same(pages: Pages) -> None:
    shown = pages("failed")
    assert "sshd refused the key" in shown.text
    assert "the history holds no operation" in shown.text
    assert "The folder holds no logs." in shown.text
    assert not [one for one in shown.elements if "data-plot" in one.attributes]


def test_what_is_missing_leaves_its_part_out_and_no_more(own_run: Folder) -> None:
    run = own_run("pass")
    (run / "status.jsonl").unlink()
    (run / "plan.json").unlink()
    shown = rendered(run)
    plots = [one.attributes["data-plot"] for one in shown.elements if "data-plot" in one.attributes]
    assert plots == ["faults", "operations", "latency", "quantiles", "rate"]
    assert "Who led is not known" in shown.text
    outcome = {"outcome": "pass"}
    (run / "outcome.json").write_text(json.dumps(outcome))
    assert [one.text for one in rendered(run).all("h1")] == ["Pass"]


@pytest.mark.parametrize(
    "counterexample",
    [
        {},
        {"operations": [{}]},
        {"operations": [{"index": 3, "type": "ok", "why_not": "x"}], "final_states": [{}]},
        {"operations": "?", "final_states": 7, "last_valid_operations": None},
        None,
    ],
)
def test_a_poor_counterexample_is_told_as_far_as_it_goes(
    own_run: Folder, counterexample: object
) -> None:
    run = own_run("violation")
    outcome = json.loads((run / "outcome.json").read_text())
    outcome["checks"][0]["counterexample"] = counterexample
    (run / "outcome.json").write_text(json.dumps(outcome))
    assert outcome["checks"][0]["reason"][1:] in rendered(run).by_id("story-1").text


@pytest.mark.parametrize("odd", [None, 7, "x", [], [1], {"a": 1}, True])
def test_an_odd_outcome_still_makes_a_page(own_run: Folder, odd: object) -> None:
    run = own_run("vacuous")
    told = json.loads((run / "outcome.json").read_text())
    for name in told.keys() - {"outcome"}:
        (run / "outcome.json").write_text(json.dumps({**told, name: odd}))
        assert rendered(run).all("h1")[0].text == "Vacuous", name


@pytest.mark.parametrize("kind", KINDS)
def test_only_our_own_scripts_and_no_handlers(pages: Pages, kind: str) -> None:
    shown = pages(kind)
    scripts = shown.all("script")
    assert [one.attributes.get("type") for one in scripts] == ["application/json", None]
    assert "alert(" not in scripts[1].text
    assert not shown.all("img")
    for one in shown.elements:
        assert not [name for name in one.attributes if name.startswith("on") or name == "style"]
    assert {one.attributes.get("id") for one in shown.all("script")} == {"run-data", None}


def test_hostile_texts_are_shown_as_text(pages: Pages) -> None:
    shown = pages("hostile")
    assert shown.all("title")[0].text == f"Violation: {HOSTILE}, seed 2"
    assert shown.by_id("repeat").text == HOSTILE
    # Reason, summary, why not, fault names, details, error code, check, option, phase, log line.
    assert shown.text.count(HOSTILE) > 20
    assert HOSTILE in shown.by_id("logs").text
    assert "\\u001b[31mred\\u0000" in shown.by_id("logs").text
    names = [name[:10] for name in shown.data["operations"]["key"]["names"]]
    assert HOSTILE[:10] in names


@pytest.mark.parametrize("kind", KINDS)
def test_the_policy_allows_exactly_what_is_in_the_page(pages: Pages, kind: str) -> None:
    shown = pages(kind)
    policy = next(
        one.attributes["content"]
        for one in shown.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    for name, text in (
        ("script-src", shown.all("script")[1].text),
        ("style-src", shown.all("style")[0].text),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_from_anywhere(pages: Pages, kind: str) -> None:
    shown = pages(kind)
    for one in shown.elements:
        for name in ("src", "srcset", "data", "poster", "action", "xlink:href"):
            assert name not in one.attributes
        link = one.attributes.get("href", "#")
        assert link.startswith(("#", "data:image/svg+xml;base64,"))
    style = shown.all("style")[0].text
    assert "@import" not in style
    assert not re.search(r"url\(|@font-face", style)
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "innerHTML", "eval(", "import("):
        assert word not in shown.all("script")[1].text


def test_links_within_the_page_lead_somewhere(pages: Pages) -> None:
    for kind in KINDS:
        shown = pages(kind)
        ids = [one.attributes["id"] for one in shown.elements if "id" in one.attributes]
        assert len(ids) == len(set(ids))
        for link in shown.all("a"):
            assert link.attributes["href"].removeprefix("#") in ids


def test_json_in_a_script_cannot_end_it() -> None:
    value = {"<": ["</script>", "<!--", "&amp;", "\u2028"]}
    text = page.script_json(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value


def test_the_page_stays_small(runs: Folder) -> None:
    size = page.write_report(runs("pass")).stat().st_size
    operations = len(load(runs("pass")).operations)
    assert size < 250_000 + 45 * operations


def test_writing_leaves_one_file_and_twice_is_the_same(own_run: Folder) -> None:
    run = own_run("vacuous")
    before = {path.name for path in run.iterdir()}
    first = page.write_report(run).read_bytes()
    assert page.write_report(run).read_bytes() == first
    assert {path.name for path in run.iterdir()} - before == {"report.html"}


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG defines it."""

    def light(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_contrast_in_both_schemes(scheme: int) -> None:
    style = (Path(page.__file__).parent / "static" / "base.css").read_text()
    blocks = style.split(":root")[1:]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[scheme]))
    for text in ("text", "muted", "accent", "good", "bad", "doubt"):
        for ground in ("ground", "surface"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for verdict in ("good", "bad", "doubt"):
        assert contrast(colours["text"], colours[f"{verdict}-ground"]) >= 4.5
        assert contrast(colours["surface"], colours[verdict]) >= 4.5
    for mark in ("ok", "fail", "info"):
        assert contrast(colours[mark], colours["ground"]) >= 3
