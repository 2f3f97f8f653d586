"""JUnit XML as tools read it: only what the schema knows, where it knows it, and sums that add up.

Rules of this file: the schema is that of Jenkins' xUnit plugin, written down here as tables.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import junit
from reports.load import load

Folder = Callable[[str], Path]

# Element -> its attributes (those it must have), and its children in the order of strict schemas.
ATTRIBUTES = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"name", "tests", "failures", "errors"},
    ),
    "properties": (set(), set()),
    "property": ({"name", "value"}, {"name", "value"}),
    "testcase": ({"name", "classname", "time"}, {"name", "classname", "time"}),
    "failure": ({"type", "message"}, {"type"}),
    "error": ({"type", "message"}, {"type"}),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
CHILDREN = {
    "testsuites": "(testsuite )*",
    "testsuite": "properties (testcase )*",
    "properties": "(property )*",
    "testcase": "((failure|error|skipped) )?(system-out )?",
}
SECONDS = re.compile(r"\d+\.\d{3}")


def require_valid(element: ElementTree.Element) -> None:
    allowed, needed = ATTRIBUTES[element.tag]
    assert needed <= set(element.attrib) <= allowed, element.tag
    order = "".join(f"{child.tag} " for child in element)
    assert re.fullmatch(CHILDREN.get(element.tag, ""), order), (element.tag, order)
    if "time" in element.attrib:
        assert SECONDS.fullmatch(element.attrib["time"])
    if "timestamp" in element.attrib:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.attrib["timestamp"])
    for child in element:
        require_valid(child)


def require_sums(root: ElementTree.Element) -> None:
    troubles = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        for plural, tag in troubles.items():
            assert int(suite.attrib[plural]) == len(suite.findall(f"testcase/{tag}"))
    for counted in ("tests", "failures", "errors"):
        assert int(root.attrib[counted]) == sum(int(suite.attrib[counted]) for suite in root)
    total = sum(float(suite.attrib["time"]) for suite in root)
    assert float(root.attrib["time"]) == pytest.approx(total, abs=1e-3 * (1 + len(root)))


def parsed(document: bytes) -> ElementTree.Element:
    root = ElementTree.fromstring(document)
    require_valid(root)
    require_sums(root)
    return root


@pytest.mark.parametrize(
    "kind", ["pass", "violation", "vacuous", "unfinished", "failed", "hostile"]
)
def test_a_runs_document_is_as_the_schema_wants_it(runs: Folder, kind: str) -> None:
    root = parsed(junit.render(load(runs(kind))))
    assert (len(root), root[0].findall("testcase/skipped")) == (1, [])


def test_what_is_wrong_after_a_fault_beyond_the_model_is_no_failure(
    runs: Folder, tmp_path: Path
) -> None:
    def troubles(run: Path) -> set[str]:
        root = parsed(junit.render(load(run)))
        return {one.tag for case in root.iter("testcase") for one in case} - {"system-out"}

    assert troubles(runs("violation")) == {"failure"}
    copy = Path(shutil.copytree(runs("violation"), tmp_path / "run"))
    outcome = json.loads((copy / "outcome.json").read_text())
    outcome |= {"outcome": "inconclusive", "beyond_model": ["beyond the fault model"]}
    (copy / "outcome.json").write_text(json.dumps(outcome))
    assert troubles(copy) == {"error"}


def test_a_run_says_what_it_was_and_how_to_repeat_it(runs: Folder) -> None:
    root = parsed(junit.render(load(runs("pass"))))
    outcome = json.loads((runs("pass") / "outcome.json").read_text())
    told = {one.attrib["name"]: one.attrib["value"] for one in root.iter("property")}
    assert told["repeat"] == outcome["repeat"]
    assert told["seed"] == "7"
    assert told["nemesis"] == ",".join(outcome["spec"]["nemesis"])
    assert root[0].attrib["timestamp"] == outcome["started_at"][:19]
    assert [case.findtext("system-out") for case in root.iter("testcase")][-1] == (
        f"repeat: {outcome['repeat']}"
    )


def a_run(name: str, outcome: str, *, seconds: Any = 1.5, text: str = "why") -> dict[str, Any]:
    return {
        "name": name,
        "title": f"{name}, seed {text}",
        "outcome": outcome,
        "reasons": [text, "and more"],
        "seconds": seconds,
        "path": None,
        "repeat": f"splitbrain test --seed {text}",
    }


def a_sweep(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"name": "nightly", "started_at": "2026-11-23T21:00:00Z", "runs": list(runs)}


@pytest.mark.parametrize(
    ("outcome", "tag"),
    [
        ("pass", None),
        ("violation", "failure"),
        ("vacuous", "error"),
        ("inconclusive", "error"),
        ("harness-failure", "error"),
        ("interrupted", "error"),
        ("an outcome of tomorrow", "error"),
        ("not-run", "skipped"),
    ],
)
def test_each_outcome_of_a_sweeps_run_has_its_element(outcome: str, tag: str | None) -> None:
    root = parsed(junit.render_sweep(a_sweep(a_run("register", outcome))))
    (case,) = root.iter("testcase")
    assert [one.tag for one in case if one.tag != "system-out"] == ([tag] if tag else [])
    if tag:
        assert (case[0].attrib["type"], case[0].attrib["message"]) == (outcome, "why; and more")


def test_a_sweep_has_a_suite_for_each_workload() -> None:
    runs = [
        a_run("register", "pass"),
        a_run("queue", "violation", seconds=2),
        a_run("register", "vacuous", seconds=0.25),
        a_run("lock", "not-run", seconds=None),
    ]
    root = parsed(junit.render_sweep(a_sweep(*runs)))
    told = [(one.attrib["name"], one.attrib["tests"], one.attrib["time"]) for one in root]
    assert told == [
        ("splitbrain.register", "2", "1.750"),
        ("splitbrain.queue", "1", "2.000"),
        ("splitbrain.lock", "1", "0.000"),
    ]
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("4", "1", "1")


@given(st.text(max_size=50))
def test_no_text_can_break_the_document(text: str) -> None:
    sweep = a_sweep(a_run(f"n{text}", "violation", text=text))
    root = parsed(junit.render_sweep({**sweep, "name": text}))
    (case,) = root.iter("testcase")
    assert case[0].attrib["message"] == "".join(
        letter if spelt(letter) is None else str(spelt(letter)) for letter in f"{text}; and more"
    )


def spelt(letter: str) -> str | None:
    """What XML 1.0 cannot hold (section 2.2, Char) is spelled out."""
    code = ord(letter)
    legal = code in (9, 10, 13) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD
    return None if legal or 0x10000 <= code <= 0x10FFFF else f"\\u{code:04x}"
