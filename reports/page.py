"""A run -> one HTML file that needs nothing else: no network, no fonts, no other file.

Rules of this file:
- Everything that comes from a run is data: Jinja escapes what stands in the page, JSON has its
  `<`, `>` and `&` spelled as escapes, and scripts write text only.
- The Content-Security-Policy allows our own script and style by their digests, pictures from
  data: URLs, and nothing else: even what slipped through could neither run nor connect.
- The page is written aside and renamed: nobody reads half a report.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import charts, counterexample, logs, summary, timeline, words
from .load import Run, load

REPORT: Final = "report.html"

_HERE: Final = Path(__file__).parent
# In the order in which they are put into the page: later ones use what earlier ones define.
SCRIPTS: Final = (
    "view.js",
    "plot.js",
    "overview.js",
    "operations.js",
    "latency.js",
    "rate.js",
    "cluster.js",
    "page.js",
)
STYLES: Final = ("base.css", "page.css", "charts.css", "print.css")
_ICON_COLOURS: Final = {"pass": "#1a7f4b", "violation": "#c02b2b"}


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder. Raises `NotARunError`, `OSError`."""
    return save(load(run))


def save(run: Run) -> Path:
    """Write `report.html` of a loaded run into its folder. Raises `OSError`."""
    target = run.path / REPORT
    aside = run.path / f".{REPORT}.new"
    aside.write_text(render(run), encoding="utf-8")
    aside.replace(target)
    return target


def render(run: Run) -> str:
    """Return the page."""
    book = logs.read_logs(run)
    verdict = summary.verdict(run)
    script = "(() => {\n" + "\n".join(_static(name) for name in SCRIPTS) + "\n})();"
    style = "\n".join(_static(name) for name in STYLES)
    packed = timeline.operations(run, keep=counterexample.indexes(run))
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = words.number
    return environment.get_template("report.html.j2").render(
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
        has_status=len(run.status) > 0,
        has_clocks=bool(run.status["clock_offset_ms"].notna().any()),
        dropped=packed["dropped"],
        # Our own files and our own JSON are the only things that the template does not escape.
        icon=_icon(verdict["kind"], verdict["sign"]),
        script=script,
        style=style,
        script_digest=_digest(script),
        style_digest=_digest(style),
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
        "roles": charts.roles(run.status, run.nodes),
        "clocks": charts.clocks(run.status, run.nodes),
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


def _static(name: str) -> str:
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _icon(kind: str, sign: str) -> str:
    colour = _ICON_COLOURS.get(kind, "#a15c00")
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<rect width="16" height="16" rx="4" fill="{colour}"/><text x="8" y="12.5" fill="#fff" '
        f'font-family="sans-serif" font-size="12" font-weight="700" text-anchor="middle">{sign}'
        "</text></svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode()
