"""Two runs -> `compare.html`: what was asked of each, what came of it, and how they went over time.

Rules of this file:
- The runs are A and B everywhere; A is drawn solid, B dashed, over one time that both began at.
- Every table has what is known of either run; what only one of them has is a dash for the other,
  and a row that differs says so in a word.
- Pure but for `write_comparison`: two `Run`s in, a page out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from . import charts, sealed, summary, words
from .index import STYLES, href
from .lines import Scale, from_zero, logarithmic, trace
from .load import Run, load, natural
from .page import REPORT

COMPARISON: Final = "compare.html"
WIDTH_PX: Final = 900
HEIGHT_PX: Final = 180
_TICKS: Final = 6
_ROWS_MAX: Final = 200


def write_comparison(store: Path, a: Path, b: Path) -> Path:
    """Write `compare.html` of two runs into a store. Raises `NotARunError`, `OSError`."""
    page = render(load(a), load(b), store=store)
    return sealed.save(store / COMPARISON, page)


def render(a: Run, b: Run, *, store: Path) -> str:
    """Return the page. Runs within the store are linked."""
    duration_ns = max(a.duration_ns, b.duration_ns)
    spread = [charts.quantiles(run.operations, duration_ns) for run in (a, b)]
    return sealed.render(
        "compare.html.j2",
        scripts=(),
        styles=STYLES,
        icon=("pass", "≠"),
        heads=[_head(name, run, store) for name, run in (("A", a), ("B", b))],
        tables=[
            _table("Spec", "Option", dict(summary.environment(a)), dict(summary.environment(b))),
            _table("Numbers", "What", _numbers(a), _numbers(b)),
            _table("Checks", "Check", _checks(a), _checks(b)),
            _table("Faults", "Kind", _faults(a), _faults(b)),
            _table("Errors", "Code", _errors(a), _errors(b)),
        ],
        width=WIDTH_PX,
        height=HEIGHT_PX,
        plots=_plots(spread),
        ticks=_ticks(spread),
        spans=_spans(spread),
    )


def _head(name: str, run: Run, store: Path) -> dict[str, Any]:
    """A run's outcome, and what else is needed to know which one it is."""
    told, title = summary.verdict(run), summary.heading(run)
    path = run.path.resolve()
    inside = path.is_relative_to(store.resolve())
    relative = path.relative_to(store.resolve()).as_posix() if inside else ""
    page = f"{relative}/{REPORT}"
    return {
        "name": name,
        "kind": told["kind"],
        "title": told["title"],
        "sign": told["sign"],
        "reasons": told["reasons"][:5],
        "problems": run.problems,
        "folder": words.clean(relative or str(run.path), limit=300),
        "href": href(page) if inside and (path / REPORT).is_file() else "",
        "tested": title["tested"],
        "started_at": title["started_at"],
        "seed": title["seed"],
    }


def _table(title: str, what: str, a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, Any]:
    """Put two tables side by side; rows that differ come first."""
    names = list(dict.fromkeys([*a, *b]))
    rows = [
        {"name": name, "a": a.get(name, words.NOTHING), "b": b.get(name, words.NOTHING)}
        | {"differs": a.get(name) != b.get(name)}
        for name in names
    ]
    rows.sort(key=lambda row: not row["differs"])
    differing = sum(1 for row in rows if row["differs"])
    return {"title": title, "what": what, "rows": rows[:_ROWS_MAX], "differing": differing}


def _numbers(run: Run) -> dict[str, str]:
    """The tiles of the report, with what it says of each."""
    count = summary.counts(run)
    told = {tile["label"]: _with_note(tile["value"], tile["note"]) for tile in summary.tiles(run)}
    outcomes = {
        f"Operations {outcome}": words.number(count[outcome]) for outcome in charts.OUTCOMES
    }
    return {**told, **outcomes}


def _with_note(value: str, note: str) -> str:
    return f"{value} ({note})" if note and value != words.NOTHING else value


def _checks(run: Run) -> dict[str, str]:
    return {
        check["name"]: _with_note(check["verdict"], check["reason"])
        for check in summary.checks(run)
    }


def _faults(run: Run) -> dict[str, str]:
    """How many of each kind there were, and with which evidence."""
    found: dict[str, str] = {}
    for kind, group in run.faults.groupby("kind"):
        seen = group["evidence"].value_counts()
        evidence = ", ".join(
            f"{count} {words.clean(str(one), limit=20)}" for one, count in seen.items()
        )
        found[words.clean(str(kind), limit=40)] = evidence
    return dict(sorted(found.items(), key=lambda pair: natural(pair[0])))


def _errors(run: Run) -> dict[str, str]:
    return {
        f"{row['code']} ({row['type']})": words.number(row["count"]) for row in summary.errors(run)
    }


def _plots(spread: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Latency quantiles and throughput of both runs, over one time."""
    rates = [_rates(one) for one in spread]
    size = max(len(one) for one in rates)
    plots = []
    for name in ("p50", "p99"):
        both = [one[name] for one in spread]
        scale, powers = logarithmic(_known(both))
        marks = [(words.milliseconds(value), place) for value, place in powers]
        plots.append(_plot(f"Latency {name}, acknowledged (logarithmic)", both, size, scale, marks))
    top = max(_known(rates), default=0.0)
    marks = [("0/s", 0.0), (f"{words.rate(top)}/s", 1.0)]
    return [*plots, _plot("Acknowledged per second", rates, size, from_zero(top), marks)]


def _known(both: Sequence[Sequence[float | None]]) -> list[float]:
    return [value for values in both for value in values if value is not None]


def _rates(spread: Mapping[str, Any]) -> list[float | None]:
    width_s = spread["bin_ms"] / 1000
    return [(count or 0) / width_s for count in spread["count"]]


def _plot(
    title: str,
    both: Sequence[Sequence[float | None]],
    size: int,
    scale: Scale,
    marks: Sequence[tuple[str, float]],
) -> dict[str, Any]:
    step_px = WIDTH_PX / max(1, size)
    traces = [trace(values, step_px=step_px, height_px=HEIGHT_PX, scale=scale) for values in both]
    return {
        "title": title,
        "traces": [{"name": name, **one} for name, one in zip(("a", "b"), traces, strict=True)],
        "marks": [{"said": said, "y": _place_y(place)} for said, place in marks],
    }


def _place_y(place: float) -> float:
    # Where `trace` puts a value of that place.
    points = trace([place], step_px=1, height_px=HEIGHT_PX, scale=lambda value: value)["points"]
    return float(points[0]["y"])


def _ticks(spread: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Round moments along the shared axis."""
    size = max(len(one["count"]) for one in spread)
    width_s = spread[0]["bin_ms"] / 1000
    step = max(1, -(-size // _TICKS))
    return [
        {"x": round(number * WIDTH_PX / size, 1), "said": f"{number * width_s:g} s"}
        for number in range(0, size, step)
    ]


def _spans(spread: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table behind the plots."""
    width_s = spread[0]["bin_ms"] / 1000
    rates = [_rates(one) for one in spread]
    rows = []
    for number in range(max(len(one) for one in rates)):
        cells = []
        for name in ("p50", "p99"):
            cells += [words.milliseconds(_at(one[name], number)) for one in spread]
        cells += [_said(_at(one, number), words.rate) for one in rates]
        rows.append({"from_s": f"{number * width_s:g}", "cells": cells})
    return rows


def _at(values: Sequence[float | None], number: int) -> float | None:
    value = values[number] if number < len(values) else None
    return None if value is None or pd.isna(value) else value


def _said(value: float | None, say: Callable[[float], str]) -> str:
    return words.NOTHING if value is None else say(value)
