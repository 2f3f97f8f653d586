"""What a report says in words and tables: the verdict, the numbers, faults, errors, environment.

Rules of this file:
- The verdict is the outcome's, word for word; a run without an outcome has none, and says so.
- Every text is cleaned (`words.clean`); escaping is the template's business.
- Pure: a `Run` in, plain values out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from . import charts
from .load import SPEC, Run, objects
from .words import NOTHING, call, clean, duration, milliseconds, moment, number, plural, rate, shown

# What each outcome is called, its sign, and what it means to somebody who sees it first.
VERDICTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "pass": ("Pass", "✓", "No violation was found, and the run put the system to the test."),
    "violation": ("Violation", "✗", "The system broke its promise. The evidence is below."),
    "inconclusive": ("Inconclusive", "?", "The checks could not decide. This is not a pass."),
    "vacuous": ("Vacuous", "?", "Nothing was proved: the run did not do what it was meant to."),
    "harness-failure": ("Harness failure", "!", "The test failed, not the system under test."),
    "interrupted": ("Interrupted", "!", "The run was stopped. What it saw until then is kept."),
    "unfinished": (
        "This run did not finish",
        "!",
        "There is no outcome: the harness was killed, or is still at work. "
        "Nothing was judged; below is what the history holds.",
    ),
}
_LISTED_MAX: Final = 200


def verdict(run: Run) -> dict[str, Any]:
    """The headline: name, sign, meaning and reasons."""
    outcome = str(run.outcome.get("outcome")) if run.finished else "unfinished"
    title, sign, meaning = VERDICTS.get(outcome, (outcome, "?", "This outcome is not known."))
    reasons = run.outcome.get("reasons")
    listed = reasons if isinstance(reasons, list) else []
    return {
        "kind": outcome if outcome in VERDICTS else "inconclusive",
        "title": clean(title, limit=60),
        "sign": sign,
        "meaning": meaning,
        "exit_code": run.outcome.get("exit_code"),
        "reasons": [clean(str(one), limit=600) for one in listed[:20]],
    }


def heading(run: Run) -> dict[str, str]:
    """What was tested, in one line, and the line that repeats it."""
    spec = run.spec
    name = str(run.outcome.get("name") or spec.get("workload") or run.path.name)
    faults = spec.get("nemesis")
    nemesis = ", ".join(map(str, faults)) if isinstance(faults, list) else str(faults or "")
    tested = [
        f"{spec.get('workload', name)} on {system(spec) or 'an unknown system'}",
        f"{spec.get('nodes', '?')} nodes ({spec.get('hosts', '?')})",
        f"{run.concurrency} clients",
        f"faults: {nemesis or 'none'}",
    ]
    seed = run.outcome.get("seed", spec.get("seed"))
    return {
        "name": clean(name, limit=80),
        "tested": clean(" · ".join(tested), limit=400),
        "repeat": clean(_repeat(run), limit=2000),
        "started_at": clean(str(run.outcome.get("started_at") or "unknown"), limit=40),
        "seed": clean(str("unknown" if seed is None else seed), limit=40),
        "folder": clean(run.path.resolve().name, limit=120),
        "tested_version": version(run),
        "version": clean(str(run.outcome.get("splitbrain") or ""), limit=20),
    }


def system(spec: Mapping[str, Any]) -> str:
    """The system; one with a known bug put in is another one."""
    name, mutant = (clean(str(spec.get(one) or ""), limit=80) for one in ("system", "mutant"))
    return f"{name} with {mutant}" if mutant else name


def version(run: Run) -> str:
    """The version that was tested: where nobody says, splitbrain's own, whose node it is."""
    told = (run.outcome.get("version"), run.spec.get("version"), run.outcome.get("splitbrain"))
    return clean(str(next((one for one in told if one), "unknown")), limit=40)


def _repeat(run: Run) -> str:
    """The line that repeats the run; one that did not finish has only its spec to go by."""
    if run.outcome.get("repeat"):
        return str(run.outcome["repeat"])
    spec = run.path / SPEC
    return shlex.join(["splitbrain", "test", "--spec", str(spec)]) if spec.is_file() else ""


def counts(run: Run) -> dict[str, int]:
    """Operations by outcome, counted from the history itself."""
    seen = run.operations["type"].value_counts()
    by_outcome = {outcome: int(seen.get(outcome, 0)) for outcome in charts.OUTCOMES}
    return {"invoke": len(run.operations), **by_outcome}


def tiles(run: Run) -> list[dict[str, str]]:
    """The numbers that matter: label, value, and what to know about it."""
    count = counts(run)
    seconds = run.duration_ns / 1e9
    acknowledged = run.operations.loc[run.operations["type"] == "ok", "latency_ms"]
    p50, p99 = float(acknowledged.quantile(0.5)), float(acknowledged.quantile(0.99))
    installed = int((run.faults["evidence"] == "installed").sum())
    terms = leader_changes(run)
    elections = max(0, len(terms) - 1)
    per_s = count["ok"] / seconds if seconds else 0.0
    share = f"{100 * count['ok'] / count['invoke']:.1f} % acknowledged" if count["invoke"] else ""
    return [
        _tile("Operations", number(count["invoke"]), share),
        _tile("Throughput", f"{rate(per_s)}/s" if count["ok"] else NOTHING, "acknowledged"),
        _offered(run),
        _tile("Latency p50", milliseconds(p50), "of acknowledged operations"),
        _tile("Latency p99", milliseconds(p99), "of acknowledged operations"),
        _tile("Leader changes", number(elections), _leaders(terms)),
        _tile("Faults installed", f"{installed} of {len(run.faults)}", _kinds(run.faults)),
        _recovery(run.outcome.get("recovery")),
    ]


def _offered(run: Run) -> dict[str, str]:
    """The load: what was asked for, what the schedule offered, what clients had hands for."""
    rates, asked = run.outcome.get("rates"), run.spec.get("rate")
    wanted = f"asked for: {asked:g}/s" if isinstance(asked, int | float) else ""
    if not isinstance(rates, Mapping):
        return _tile("Offered", NOTHING, wanted)
    offered, achieved = rates.get("offered_per_s"), rates.get("achieved_per_s")
    if not isinstance(offered, int | float) or not isinstance(achieved, int | float):
        return _tile("Offered", NOTHING, wanted)
    forgone, late_ms = rates.get("forgone"), rates.get("late_ms_max")
    notes = [wanted, f"achieved: {rate(achieved)}/s"]
    if isinstance(forgone, int) and forgone:
        notes.append(f"{number(forgone)} forgone, as all clients were busy")
    if isinstance(late_ms, int | float):
        notes.append(f"at most {milliseconds(late_ms)} late")
    return _tile("Offered", f"{rate(offered)}/s", ", ".join(note for note in notes if note))


def _tile(label: str, value: str, note: str) -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def _leaders(terms: list[dict[str, Any]]) -> str:
    if not terms:
        return "no leader was seen"
    return f"last: {clean(str(terms[-1]['leader']), limit=20)}, term {terms[-1]['term']}"


def _kinds(faults: pd.DataFrame) -> str:
    kinds = sorted({clean(str(kind), limit=20) for kind in faults["kind"]})
    return ", ".join(kinds) or "none were planned"


def _recovery(recovery: object) -> dict[str, str]:
    if not isinstance(recovery, Mapping):
        return _tile("Recovery", NOTHING, "not measured")
    seconds = recovery.get("seconds")
    took = duration(seconds) if isinstance(seconds, int | float) else NOTHING
    detail = clean(str(recovery.get("detail") or ""), limit=80)
    return _tile("Recovery", took if recovery.get("recovered") else "not in time", detail)


def leader_changes(run: Run) -> list[dict[str, Any]]:
    """Every first sight of a leader, as the outcome has it, else from the samples."""
    told = run.outcome.get("leader_changes")
    if not isinstance(told, list):
        return charts.leader_changes(run.metrics)
    return [
        {"time": one["time"], "term": one.get("term", 0), "leader": str(one.get("leader", "?"))}
        for one in objects(told)
        if isinstance(one.get("time"), int)
    ]


def checks(run: Run) -> list[dict[str, str]]:
    """The table of checks."""
    rows = []
    for check in objects(run.outcome.get("checks")):
        sizes = [(check.get("operations"), "operation"), (check.get("keys"), "key")]
        seen = [plural(count, noun) for count, noun in sizes if isinstance(count, int)]
        seconds = check.get("seconds")
        rows.append(
            {
                "name": clean(str(check.get("name", "?")), limit=60),
                "verdict": clean(str(check.get("verdict", "?")), limit=20),
                "reason": clean(str(check.get("reason") or ""), limit=400),
                "size": ", ".join(seen),
                "took": f"{seconds:.2f} s" if isinstance(seconds, int | float) else "",
            }
        )
    return rows


def fault_rows(run: Run) -> list[dict[str, Any]]:
    """What the nemesis did, with its evidence."""
    rows = []
    for fault in run.faults.head(_LISTED_MAX).to_dict("records"):
        stop_ns = fault["stop_ns"]
        ended = not pd.isna(stop_ns)
        lasted = duration((stop_ns - fault["start_ns"]) / 1e9) if ended else "not undone"
        rows.append(
            {
                "id": fault["id"],
                "kind": clean(fault["kind"], limit=40),
                "name": clean(fault["name"], limit=60),
                "targets": clean(", ".join(fault["targets"]), limit=200) or NOTHING,
                "parameters": _pairs(fault["parameters"]),
                "from": moment(fault["start_ns"]),
                "to": moment(stop_ns) if ended else NOTHING,
                "lasted": lasted,
                "evidence": clean(fault["evidence"], limit=20),
                "detail": _details(fault["detail"]),
                "detail_stop": _details(fault["detail_stop"]),
            }
        )
    return rows


def _pairs(values: Mapping[str, Any]) -> str:
    pairs = (
        f"{clean(str(name), limit=40)} {shown(value, limit=60)}" for name, value in values.items()
    )
    return ", ".join(pairs)


def _details(detail: object) -> list[tuple[str, str]]:
    """What was seen on each node; an object becomes its pairs, not its braces."""
    if not isinstance(detail, Mapping):
        return [] if detail is None else [("", clean(str(detail), limit=300))]
    return [
        (
            clean(str(node), limit=60),
            _pairs(seen) if isinstance(seen, Mapping) else clean(str(seen)),
        )
        for node, seen in detail.items()
    ]


def errors(run: Run) -> list[dict[str, Any]]:
    """Error codes, most frequent first. Definite means: it certainly did not happen."""
    failed = run.operations[run.operations["type"] != "ok"]
    rows: list[dict[str, Any]] = []
    codes = failed["error"].fillna("(none given)")
    for (code, kind), group in failed.groupby([codes, "type"]):
        first = group.iloc[0]
        example = call(first["f"], first["value"], first["output"], known=False)
        rows.append(
            {
                "code": clean(str(code), limit=120),
                "type": str(kind),
                "definite": str(kind) == "fail",
                "count": len(group),
                "example": f"#{first['index']} process {first['process']}: {example}"
                + ("" if pd.isna(first["key"]) else f" on {clean(first['key'], limit=60)}"),
                "moment": moment(first["start_ns"]),
                "index": int(first["index"]),
            }
        )
    return sorted(rows, key=lambda row: (-row["count"], row["code"]))[:_LISTED_MAX]


def functions(run: Run) -> list[dict[str, Any]]:
    """The table of functions: counts and latency."""
    rows = charts.by_function(run.operations)
    for row in rows:
        row["f"] = clean(row["f"], limit=40)
        for name in charts.QUANTILES:
            row[name] = milliseconds(row[name])
    return rows[:_LISTED_MAX]


def phases(run: Run) -> list[dict[str, Any]]:
    """The phases of the run, with their share of the whole."""
    listed = objects(run.outcome.get("phases"))
    timed = [one for one in listed if isinstance(one.get("seconds"), int | float)]
    total = sum(one["seconds"] for one in timed) or 1.0
    return [
        {
            "name": clean(str(one.get("name", "?")), limit=80),
            "seconds": f"{one['seconds']:.2f}",
            "percent": round(100 * one["seconds"] / total, 2),
        }
        for one in timed
    ]


def environment(run: Run) -> list[tuple[str, str]]:
    """The spec and what else is known of where it ran."""
    known = {"splitbrain": run.outcome.get("splitbrain"), **run.spec}
    rows = [(name, value) for name, value in known.items() if value not in (None, "")]
    extra = run.outcome.get("environment")
    rows += list(extra.items()) if isinstance(extra, Mapping) else []
    return [(clean(str(name), limit=80), _option(value)) for name, value in rows[:_LISTED_MAX]]


def _option(value: object) -> str:
    """An option's value as people write it: texts without quotes, lists with commas."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return clean(", ".join(value)) or "none"
    return shown(value)
