"""A run -> one HTML file that needs nothing else: no network, no fonts, no other file.

Rules of this file:
- Everything that comes from a run is data: Jinja escapes what stands in the page, JSON has its
  `<`, `>` and `&` spelled as escapes, and scripts write text only.
- What makes it one sealed file is in `reports/sealed.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from . import charts, counterexample, logs, sealed, summary, timeline, words
from .load import Run, load

REPORT: Final = "report.html"

# In the order in which they are put into the page: later ones use what earlier ones define.
SCRIPTS: Final = (
    "view.js",
    "plot.js",
    "overview.js",
    "operations.js",
    "lanes.js",
    "latency.js",
    "rate.js",
    "cluster.js",
    "filters.js",
    "address.js",
    "page.js",
)
STYLES: Final = ("base.css", "page.css", "charts.css", "print.css")


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder. Raises `NotARunError`, `OSError`."""
    return save(load(run))


def save(run: Run) -> Path:
    """Write `report.html` of a loaded run into its folder. Raises `OSError`."""
    return sealed.save(run.path / REPORT, render(run))


def render(run: Run) -> str:
    """Return the page."""
    book = logs.read_logs(run)
    verdict = summary.verdict(run)
    packed = timeline.operations(run, keep=counterexample.indexes(run))
    return sealed.render(
        "report.html.j2",
        scripts=SCRIPTS,
        styles=STYLES,
        icon=(verdict["kind"], verdict["sign"]),
        verdict=verdict,
        heading=summary.heading(run),
        problems=run.problems,
        counts=summary.counts(run),
        tiles=summary.tiles(run),
        checks=summary.checks(run),
        stories=counterexample.stories(run, book),
        faults=summary.fault_rows(run),
        errors=summary.errors(run),
        functions=summary.functions(run),
        phases=summary.phases(run),
        environment=summary.environment(run),
        excerpts=book.excerpts(run.faults),
        spans=_spans(run),
        has_operations=len(run.operations) > 0,
        has_status=len(run.metrics) > 0,
        has_clocks=bool(run.metrics["clock_offset_ms"].notna().any()),
        dropped=packed["dropped"],
        # Beside our own script and style the only thing that the template does not escape.
        data=script_json(_data(run, packed)),
    )


def script_json(value: Any) -> str:
    """Return JSON that may stand in a script element: nothing in it can end that element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _data(run: Run, packed: dict[str, Any]) -> dict[str, Any]:
    changes = summary.leader_changes(run)
    return {
        "duration_us": max(1, run.duration_ns // 1000),
        "operations": packed,
        "faults": timeline.bands(run),
        "rates": charts.rates(run.operations, run.duration_ns),
        "quantiles": charts.quantiles(run.operations, run.duration_ns),
        "roles": charts.roles(run.metrics, run.nodes),
        "clocks": charts.clocks(run.metrics, run.nodes),
        "leaders": [
            {"time_us": one["time"] // 1000, "term": one["term"], "leader": one["leader"][:40]}
            for one in changes
        ],
        "marked": counterexample.stuck(run),
    }


def _spans(run: Run) -> list[dict[str, Any]]:
    """The rows of the table behind the plots of latency and rate."""
    spread = charts.quantiles(run.operations, run.duration_ns)
    width_s = spread["bin_ms"] / 1000
    return [
        {
            "from_s": f"{number * width_s:g}",
            "ok_per_s": words.rate((count or 0) / width_s),
            "other": spread["others"][number] or 0,
            **{name: words.milliseconds(spread[name][number]) for name in charts.QUANTILES},
        }
        for number, count in enumerate(spread["count"])
    ]
