"""A run, or all runs of a sweep, as JUnit XML, for continuous integration.

Rules of this file:
- Of a run: one test case a check, and one, `outcome`, for the run as a whole: a vacuous run has
  only valid checks and still must not be green. Of a sweep: one suite a workload, one case a run.
- A violation is a `failure`; what prevented a judgement is an `error`. Nothing that ran is
  `skipped`: tools count that as good. A run that a sweep did not begin is (its exit code tells).
- There is no standard; this is the schema of Jenkins' xUnit plugin (junit-10.xsd), with the order
  of elements that stricter ones ask for: properties, cases; in a case the trouble, then system-out.
- XML cannot hold control characters at all, not even escaped: they are spelled out.
- Written aside and renamed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from .load import Run, load, objects

JUNIT: Final = "junit.xml"

# Everything outside the characters that XML 1.0 allows.
_ILLEGAL: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_TEXT_MAX: Final = 2000
_TROUBLES: Final = (("failure", "failures"), ("error", "errors"), ("skipped", "skipped"))
_PROPERTIES_MAX: Final = 100


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
    """Return a run's document."""
    name = str(run.outcome.get("name") or run.spec.get("workload") or run.path.name)
    known = {
        "splitbrain": run.outcome.get("splitbrain"),
        "outcome": run.outcome.get("outcome"),
        "repeat": run.outcome.get("repeat"),
        **run.spec,
    }
    suite = _suite(name, known)
    # What is wrong after faults beyond what the system promises to survive is no failure of its.
    excused = run.outcome.get("beyond_model") and run.outcome.get("outcome") != "violation"
    wrong = "error" if excused else "failure"
    for check in objects(run.outcome.get("checks")):
        _check(suite, name, check, wrong)
    _outcome(suite, name, run)
    _close(suite, run.duration_ns / 1e9, run.outcome.get("started_at"))
    return _document([suite], name)


def render_sweep(sweep: Mapping[str, Any]) -> bytes:
    """Return the document of a sweep, from its `sweep.json`."""
    suites: dict[str, ElementTree.Element] = {}
    seconds: dict[str, float] = {}
    for run in objects(sweep.get("runs")):
        name = str(run.get("name"))
        if name not in suites:
            known = {"splitbrain": sweep.get("splitbrain"), "sweep": sweep.get("name")}
            suites[name] = _suite(name, known)
        took = run.get("seconds")
        seconds[name] = seconds.get(name, 0.0) + _seconds(took)
        told = [f"repeat: {run.get('repeat')}", f"folder: {run.get('path') or 'none'}"]
        case = _case(suites[name], name, str(run.get("title")), took, "\n".join(told))
        _judge(case, str(run.get("outcome")), run.get("reasons"))
    for name, suite in suites.items():
        _close(suite, seconds[name], sweep.get("started_at"))
    return _document(suites.values(), str(sweep.get("name")))


def _check(suite: ElementTree.Element, name: str, check: Mapping[str, Any], wrong: str) -> None:
    case = _case(suite, name, str(check.get("name", "check")), check.get("seconds"))
    verdict = str(check.get("verdict"))
    if verdict == "valid":
        return
    counterexample = check.get("counterexample")
    summary = counterexample.get("summary") if isinstance(counterexample, Mapping) else None
    message = str(summary or check.get("reason") or verdict)
    _trouble(case, wrong if verdict == "invalid" else "error", verdict, message)


def _outcome(suite: ElementTree.Element, name: str, run: Run) -> None:
    repeat = run.outcome.get("repeat")
    out = f"repeat: {repeat}" if repeat else None
    case = _case(suite, name, "outcome", run.duration_ns / 1e9, out)
    if not run.finished:
        _trouble(case, "error", "unfinished", "this run did not finish: it has no outcome")
        return
    _judge(case, str(run.outcome.get("outcome")), run.outcome.get("reasons"))


def _judge(case: ElementTree.Element, outcome: str, reasons: object) -> None:
    """Say what came of a run. An outcome that is not known is no pass."""
    if outcome == "pass":
        return
    message = "; ".join(map(str, reasons)) if isinstance(reasons, list) and reasons else outcome
    tag = {"violation": "failure", "not-run": "skipped"}.get(outcome, "error")
    _trouble(case, tag, outcome, message)


def _suite(name: str, known: Mapping[str, object]) -> ElementTree.Element:
    """Open a suite with what is known of it."""
    suite = ElementTree.Element("testsuite", {"name": _legal(f"splitbrain.{name}")})
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in list(known.items())[:_PROPERTIES_MAX]:
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        if value is not None:
            pair = {"name": _legal(str(key)), "value": _legal(text)}
            ElementTree.SubElement(properties, "property", pair)
    return suite


def _case(
    suite: ElementTree.Element, name: str, test: str, seconds: object, out: str | None = None
) -> ElementTree.Element:
    names = {"classname": _legal(f"splitbrain.{name}"), "name": _legal(test)}
    case = ElementTree.SubElement(suite, "testcase", {**names, "time": f"{_seconds(seconds):.3f}"})
    if out is not None:
        ElementTree.SubElement(case, "system-out").text = _legal(out)
    return case


def _seconds(value: object) -> float:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return max(0.0, float(value)) if numeric else 0.0  # type: ignore[arg-type]


def _trouble(case: ElementTree.Element, tag: str, kind: str, message: str) -> None:
    text = _legal(message)
    found = ElementTree.Element(tag, {"type": _legal(kind), "message": text})
    found.text = text
    # Stricter schemas want it before system-out.
    case.insert(0, found)


def _close(suite: ElementTree.Element, seconds: float, started_at: object) -> None:
    """Count what is in a suite. Schemas that check moments know no fractions and no zones."""
    moment = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", str(started_at))
    if moment is not None:
        suite.set("timestamp", moment[0])
    suite.set("time", f"{seconds:.3f}")
    suite.set("tests", str(len(suite.findall("testcase"))))
    for tag, plural in _TROUBLES:
        suite.set(plural, str(len(suite.findall(f"testcase/{tag}"))))


def _document(suites: Iterable[ElementTree.Element], name: str) -> bytes:
    root = ElementTree.Element("testsuites", {"name": _legal(f"splitbrain.{name}")})
    root.extend(suites)
    for counted in ("tests", "failures", "errors"):
        root.set(counted, str(sum(int(suite.attrib[counted]) for suite in root)))
    root.set("time", f"{sum(float(suite.attrib['time']) for suite in root):.3f}")
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _legal(text: str) -> str:
    return _ILLEGAL.sub(lambda match: f"\\u{ord(match[0]):04x}", text[:_TEXT_MAX])
