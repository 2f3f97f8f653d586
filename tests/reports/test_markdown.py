"""The summaries in Markdown: they say what matters, and no text in them is ever markup."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token  # noqa: TC002
from run_folders import HOSTILE

from reports import markdown
from reports.command import run_report
from reports.load import load
from reports.words import clean

Folder = Callable[[str], Path]

# The characters that mean something to somebody, and a few that do not.
TEXTS = st.text(st.sampled_from("`*_~|<>&[]()!#+-=.:/\\$0aw \t\n\x00\u202e"), max_size=30)
HARMLESS = {"<code>", "</code>"}


def tokens(text: str) -> list[Token]:
    """Parse as GitHub does, as far as markup goes."""
    found: list[Token] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        found += [token, *(token.children or ())]
    return found


def said(text: str) -> str:
    return "".join(token.content for token in tokens(text) if token.type in ("text", "code_inline"))


def kinds(text: str) -> set[str]:
    return {token.type for token in tokens(text)}


def tags(text: str) -> list[str]:
    return [token.content for token in tokens(text) if token.type in ("html_inline", "html_block")]


@given(TEXTS)
@example("<script>alert(1)</script>")
@example("a | b `c` **d** [e](f) ![g](h)")
@example("1. one")
@example("- one")
@example("====")
@example("&lt;")
@example("\\")
def test_text_is_nothing_but_text_wherever_it_stands(value: str) -> None:
    meant = " ".join(clean(value).split())
    escaped = markdown.text(value)
    if meant:
        paragraph = {"paragraph_open", "inline", "text", "paragraph_close", "text_special"}
        assert kinds(escaped) <= paragraph
    assert said(escaped) == meant
    heading = {"heading_open", "inline", "text", "heading_close", "text_special"}
    assert kinds(f"## {escaped}") <= heading
    assert said(f"## {escaped}") == meant
    rows = [token.type for token in tokens(f"| a | b |\n| --- | --- |\n| {escaped} | c |")]
    assert (rows.count("tr_open"), rows.count("td_open")) == (2, 2)
    assert said(f"| a |\n| --- |\n| {escaped} |") == "a" + meant


@given(TEXTS)
@example("``` \n# out")
@example("````")
def test_a_code_block_cannot_be_left(value: str) -> None:
    found = tokens(markdown.code_block(value) + "\n\nafter\n")
    assert [token.type for token in found] == [
        "fence",
        "paragraph_open",
        "inline",
        "text",
        "paragraph_close",
    ]
    assert found[0].content.strip() == " ".join(clean(value).split())


def test_addresses_are_not_made_into_links() -> None:
    assert markdown.text("see http://a.b or www.c.d") == "see http:\\//a.b or www\\.c.d"


def test_a_pass_says_what_was_tested_and_how_to_repeat_it(runs: Folder) -> None:
    text = markdown.render(load(runs("pass")))
    assert text.startswith("## ✓ Pass: register, seed 7\n")
    outcome = json.loads((runs("pass") / "outcome.json").read_text())
    (block,) = [token for token in tokens(text) if token.type == "fence"]
    assert block.content == outcome["repeat"] + "\n"
    assert "register on raft · 5 nodes (lab)" in said(text)
    assert "linearizable" in said(text)
    assert "###" not in text


def test_a_violation_shows_the_operations_that_matter(runs: Folder) -> None:
    text = markdown.render(load(runs("violation")))
    outcome = json.loads((runs("violation") / "outcome.json").read_text())
    counterexample = outcome["checks"][0]["counterexample"]
    assert text.startswith("## ✗ Violation: register, seed 11\n")
    assert "### linearizable\n" in text
    shown = said(text)
    assert " ".join(counterexample["summary"].split()) in shown
    why = [one["why_not"] for one in counterexample["operations"] if one["why_not"]]
    assert why
    assert all(one in shown for one in why)
    evidence = text[text.index("### linearizable") :]
    rows = [token.type for token in tokens(evidence)].count("tr_open")
    assert rows == 1 + len(counterexample["operations"])
    assert all(sentence in shown for sentence in counterexample.get("cycle", []))


@pytest.mark.parametrize("kind", ["pass", "violation", "vacuous", "unfinished", "failed"])
def test_every_run_has_a_summary_that_begins_with_its_outcome(runs: Folder, kind: str) -> None:
    text = markdown.render(load(runs(kind)))
    sign = {"pass": "✓", "violation": "✗", "vacuous": "?"}.get(kind, "!")
    assert text.startswith(f"## {sign} ")
    assert set(tags(text)) <= HARMLESS


def test_a_vacuous_run_gives_its_reasons(runs: Folder) -> None:
    text = markdown.render(load(runs("vacuous")))
    assert "- only 31 operations were acknowledged, at least 1000 are needed" in text


def test_what_could_not_be_read_is_said(runs: Folder) -> None:
    shown = said(markdown.render(load(runs("unfinished"))))
    assert "The last line of history.jsonl is torn" in shown


def test_a_hostile_run_brings_no_markup_in(runs: Folder) -> None:
    text = markdown.render(load(runs("hostile")))
    assert HOSTILE in said(text)
    assert set(tags(text)) <= HARMLESS
    assert not kinds(text) & {"link_open", "image", "html_block", "strong_open", "em_open"}


def test_a_cell_that_looks_like_our_own_markup_is_escaped_all_the_same(own_run: Folder) -> None:
    run = own_run("violation")
    outcome = json.loads((run / "outcome.json").read_text())
    outcome["checks"][0]["name"] = "<code>x</code><script>y | z"
    outcome["checks"][0]["counterexample"]["operations"][0]["node"] = "<code><img src=x>"
    (run / "outcome.json").write_text(json.dumps(outcome))
    text = markdown.render(load(run))
    assert "<script" not in text
    assert "<img" not in text
    assert "<code><img src=x>" in said(text)


def test_many_operations_are_cut_and_that_is_said(own_run: Folder) -> None:
    run = own_run("violation")
    outcome = json.loads((run / "outcome.json").read_text())
    counterexample = outcome["checks"][0]["counterexample"]
    counterexample["operations"] = counterexample["operations"][:1] * 100
    (run / "outcome.json").write_text(json.dumps(outcome))
    assert "60 more operations are in the report." in markdown.render(load(run))


def test_the_report_command_writes_it(own_run: Folder) -> None:
    run = own_run("vacuous")
    assert run_report(run) == 0
    assert (run / "summary.md").read_text() == markdown.render(load(run))


def a_sweep(**outcomes: int) -> dict[str, Any]:
    names = [name.replace("_", "-") for name, count in outcomes.items() for _ in range(count)]
    return {
        "name": "nightly",
        "exit_code": 1,
        "budget_s": 3600.0,
        "failures": [],
        "totals": {name.replace("_", "-"): count for name, count in outcomes.items()},
        "runs": [
            {
                "number": number,
                "title": f"workload register, seed {number}",
                "name": "register",
                "varied": {"workload": "register", "seed": str(number)},
                "outcome": name,
                "reasons": [f"because of {number} | <b>"],
                "seconds": 0 if name == "not-run" else 71.25,
                "path": None if name == "not-run" else f"register/2026-{number}",
                "repeat": f"splitbrain test --seed {number}",
            }
            for number, name in enumerate(names, 1)
        ],
    }


def test_a_sweep_shows_all_runs_the_worst_first() -> None:
    text = markdown.render_sweep(a_sweep(**{"pass": 2}, not_run=1, violation=1, vacuous=1))
    assert text.startswith("## ✗ Sweep nightly: 2 pass, 1 not-run, 1 violation, 1 vacuous\n")
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    rows.remove("| ---")
    assert rows == ["| outcome", "| ✗ violation", "| ? vacuous", "| ? not-run", "| ✓ pass", "| ✓ pass"]  # fmt: skip
    assert "### ✗ workload register, seed 4" in text
    assert "because of 4 | <b>" in said(text)
    assert "```sh\nsplitbrain test --seed 4\n```" in text
    assert "### ✓" not in text
    assert set(tags(text)) <= HARMLESS


@pytest.mark.parametrize(
    ("outcomes", "sign"),
    [
        ({"pass": 3}, "✓"),
        ({"pass": 3, "not_run": 1}, "?"),
        ({"pass": 1, "vacuous": 1}, "?"),
        ({"vacuous": 1, "harness_failure": 1}, "!"),
        ({"violation": 1, "harness_failure": 1}, "✗"),
        ({"some_new_outcome": 1}, "?"),
    ],
)
def test_only_a_sweep_of_passes_looks_like_one(outcomes: dict[str, int], sign: str) -> None:
    assert markdown.render_sweep(a_sweep(**outcomes)).startswith(f"## {sign} Sweep nightly")


def test_a_sweep_that_was_stopped_says_why() -> None:
    sweep = {**a_sweep(**{"pass": 1}), "failures": ["the disk is <full>"]}
    text = markdown.render_sweep(sweep)
    assert text.startswith("## ! Sweep")
    assert "- the disk is &lt;full&gt;" in text
    worse = {**a_sweep(violation=1), "failures": ["the disk is full"]}
    assert markdown.render_sweep(worse).startswith("## ✗ Sweep")


def test_a_long_sweep_is_cut_and_that_is_said() -> None:
    text = markdown.render_sweep(a_sweep(**{"pass": 400}))
    assert "100 more runs are in sweep.json." in text
    assert text.count("✓ pass") == 300
