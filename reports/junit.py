"""A run as JUnit XML, for continuous integration.

Rules of this file:
- One test case a check, and one, `outcome`, for the run as a whole: a vacuous run has only valid
  checks and still must not be green.
- A violation is a `failure`; what prevented a judgement is an `error`. Nothing is `skipped`: tools
  count that as good.
- XML cannot hold control characters at all, not even escaped: they are spelled out.
- Written aside and renamed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from .load import Run, load, objects

JUNIT: Final = "junit.xml"

# Everything outside the characters that XML 1.0 allows.
_ILLEGAL: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_MESSAGE_MAX: Final = 2000


def write_junit(run: Path) -> Path:
    """Write `junit.xml` into a run's folder. Raises `NotARunError`, `OSError`."""
    return save(load(run))


def save(run: Run) -> Path:
    """Write `junit.xml` of a loaded run into its folder. Raises `OSError`."""
    target = run.path / JUNIT
    aside = run.path / f".{JUNIT}.new"
    aside.write_bytes(render(run))
    aside.replace(target)
    return target


def render(run: Run) -> bytes:
    """Return the document."""
    name = _legal(str(run.outcome.get("name") or run.spec.get("workload") or run.path.name))
    checks = objects(run.outcome.get("checks"))
    suite = ElementTree.Element("testsuite", {"name": f"splitbrain.{name}"})
    for check in checks:
        _check(suite, name, check)
    _outcome(suite, name, run)
    started = run.outcome.get("started_at")
    if isinstance(started, str):
        suite.set("timestamp", _legal(started).removesuffix("Z"))
    suite.set("time", f"{run.duration_ns / 1e9:.3f}")
    for kind, plural in (("failure", "failures"), ("error", "errors")):
        suite.set(plural, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("skipped", "0")
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document


def _check(suite: ElementTree.Element, name: str, check: Mapping[str, Any]) -> None:
    case = _case(suite, name, str(check.get("name", "check")))
    seconds = check.get("seconds")
    case.set("time", f"{seconds:.3f}" if isinstance(seconds, int | float) else "0")
    verdict = str(check.get("verdict"))
    if verdict == "valid":
        return
    counterexample = check.get("counterexample")
    summary = counterexample.get("summary") if isinstance(counterexample, Mapping) else None
    message = str(summary or check.get("reason") or verdict)
    _trouble(case, "failure" if verdict == "invalid" else "error", verdict, message)


def _outcome(suite: ElementTree.Element, name: str, run: Run) -> None:
    case = _case(suite, name, "outcome")
    case.set("time", f"{run.duration_ns / 1e9:.3f}")
    repeat = run.outcome.get("repeat")
    if repeat:
        ElementTree.SubElement(case, "system-out").text = _legal(f"repeat: {repeat}")
    if not run.finished:
        _trouble(case, "error", "unfinished", "this run did not finish: it has no outcome")
        return
    outcome = str(run.outcome.get("outcome"))
    if outcome == "pass":
        return
    reasons = run.outcome.get("reasons")
    message = "; ".join(map(str, reasons)) if isinstance(reasons, list) else outcome
    _trouble(case, "failure" if outcome == "violation" else "error", outcome, message)


def _case(suite: ElementTree.Element, name: str, test: str) -> ElementTree.Element:
    names = {"classname": f"splitbrain.{name}", "name": _legal(test)}
    return ElementTree.SubElement(suite, "testcase", names)


def _trouble(case: ElementTree.Element, tag: str, kind: str, message: str) -> None:
    text = _legal(message)
    found = ElementTree.Element(tag, {"type": _legal(kind), "message": text})
    found.text = text
    # The schema wants it before system-out.
    case.insert(0, found)


def _legal(text: str) -> str:
    return _ILLEGAL.sub(lambda match: f"\\u{ord(match[0]):04x}", text[:_MESSAGE_MAX])
