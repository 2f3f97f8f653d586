"""A store -> `index.html`: every run in one table, to be searched, and what they say together.

Rules of this file:
- One sealed file (`reports/sealed.py`) that works from a disk, as an artefact of CI and when
  served. Without its script it is still a table of all runs.
- Links are relative to the store, and their paths are quoted byte for byte.
- What the page knows it has from `reports/runs.py` and `reports/trends.py`; here it becomes text.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from . import sealed, trends, words
from .page import REPORT
from .runs import RunSummary, read_store
from .summary import VERDICTS

INDEX: Final = "index.html"
SCRIPTS: Final = ("index.js",)
STYLES: Final = ("base.css", "index.css")
# More rows than this are of no use to a reader, and too much for a browser.
ROWS_MAX: Final = 5000
_FLAKY_MAX: Final = 50
# What can be filtered by: the name in the page and in its address, and how to read it off a run.
_FILTERS: Final[dict[str, Callable[[RunSummary], str]]] = {
    "outcome": lambda run: run.outcome,
    "workload": lambda run: run.workload,
    "nemesis": lambda run: run.nemesis,
    "system": lambda run: run.system,
}


def write_index(store: Path) -> Path:
    """Write `index.html` into a store. Raises `NoStoreError`, `OSError`."""
    return sealed.save(store / INDEX, render(read_store(store), store=store))


def render(runs: Sequence[RunSummary], *, store: Path, served: bool = False) -> str:
    """Return the page of these runs, the newest first. One that is served can compare two runs."""
    shown = runs[:ROWS_MAX]
    return sealed.render(
        "index.html.j2",
        scripts=SCRIPTS,
        styles=STYLES,
        icon=("pass", "✓"),
        store=words.clean(str(store), limit=200),
        served=served,
        total=len(runs),
        left_out=len(runs) - len(shown),
        counts=trends.counts(runs),
        rows=[_row(run) for run in shown],
        filters={
            name: sorted({value for run in shown if (value := read(run))})
            for name, read in _FILTERS.items()
        },
        groups=[_group(group) for group in trends.groups(runs)],
        flaky=[_flaky(own) for own in trends.flaky(runs)[:_FLAKY_MAX]],
    )


def href(path: str, *, folder: bool = False) -> str:
    """Return a link from the store to a path in it. It cannot be taken for another scheme or
    another host, whatever the path is called."""
    return "./" + quote(os.fsencode(path)) + ("/" if folder else "")


def sign(outcome: str) -> tuple[str, str]:
    """Return how an outcome is called, and its sign."""
    title, mark, _ = VERDICTS.get(outcome, ("Unreadable", "!", ""))
    return ("Unfinished" if outcome == "unfinished" else title, mark)


def _row(run: RunSummary) -> dict[str, Any]:
    title, mark = sign(run.outcome)
    return {
        "path": words.clean(run.path, limit=300),
        "href": href(f"{run.path}/{REPORT}") if run.has_report else "",
        "folder": href(run.path, folder=True),
        "kind": run.outcome,
        "title": title,
        "sign": mark,
        "note": run.note,
        **{name: read(run) for name, read in _FILTERS.items()},
        "version": run.version,
        "hosts": run.hosts,
        "seed": run.seed,
        "when": run.when,
        "numbers": [
            _number(run.operations, words.number),
            _number(run.ok_per_s, words.rate),
            _number(run.p50_ms, words.milliseconds),
            _number(run.p99_ms, words.milliseconds),
            _number(run.recovery_s, words.duration),
        ],
    }


def _number(value: float | None, say: Callable[[float], str]) -> dict[str, str]:
    """A number to be read and one to be sorted by."""
    if value is None:
        return {"said": words.NOTHING, "value": ""}
    return {"said": say(value), "value": f"{value:.6g}" if isinstance(value, float) else str(value)}


def _group(group: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: group[name] for name in ("workload", "nemesis", "system") if group[name]}
    found: trends.Break | None = group["broken"]
    return {
        **group,
        "filter": "#" + urlencode(chosen),
        "title": _title(group["workload"], group["nemesis"], group["system"]),
        "first_run": href(found.first_run, folder=True) if found else "",
    }


def _title(workload: str, nemesis: str, system: str) -> str:
    return f"{workload or '?'} on {system or '?'}, faults: {nemesis or '?'}"


def _flaky(own: list[RunSummary]) -> dict[str, Any]:
    """A test that ended differently: how often which way, and the newest run of each."""
    newest: dict[str, RunSummary] = {}
    for run in own:
        newest.setdefault(run.outcome, run)
    seen = Counter(run.outcome for run in own)
    first = own[0]
    return {
        "title": _title(first.workload, first.nemesis, first.system),
        "version": first.version or "?",
        "total": len(own),
        "outcomes": [
            {
                "kind": outcome,
                "count": count,
                "seed": newest[outcome].seed or "?",
                "href": href(newest[outcome].path, folder=True),
            }
            for outcome, count in seen.most_common()
        ],
    }
