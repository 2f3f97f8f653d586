"""A run, or a sweep, as Markdown: what a job's page shows (GitHub's step summary) and mails quote.

Rules of this file:
- One screen for a run: the outcome, what was tested, the line that repeats it, the checks, and the
  violation with the few operations that matter. All else is in the HTML report.
- Nothing that comes from a history, a host or a spec can be markup: `text` escapes for Markdown
  and HTML both, `code_block` for the one place where the first is not needed.
- Every list is bounded, and says what it left out.
- Written aside and renamed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from . import summary
from .counterexample import tellers_of
from .load import Run, objects
from .words import NOTHING, clean, duration, moment, plural

SUMMARY: Final = "summary.md"

_CYCLE_MAX: Final = 20
_RUNS_MAX: Final = 300
_TOLD_MAX: Final = 20

_HTML: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# What Markdown (CommonMark, GitHub's tables, strikethrough, links without brackets, mathematics)
# reads as more than a character, anywhere in a line or at its beginning.
_MARKUP: Final = re.compile(r"[\\`*_\[\]|~$#<>&]|^[-+=]|(?<=:)/(?=/)|(?<=[wW]{3})\.")
_SIGNS: Final = {"pass": "✓", "violation": "✗", "harness-failure": "!", "interrupted": "!"}
_UNSURE: Final = "?"
_NUMBERED: Final = re.compile(r"^(\d+)([.)])")


def save(run: Run) -> Path:
    """Write `summary.md` of a loaded run into its folder. Raises `OSError`."""
    target = run.path / SUMMARY
    aside = run.path / f".{SUMMARY}.new"
    aside.write_text(render(run), encoding="utf-8")
    aside.replace(target)
    return target


def render(run: Run) -> str:
    """Return a run's summary."""
    verdict, heading = summary.verdict(run), summary.heading(run)
    name, seed = text(heading["name"]), text(heading["seed"])
    parts = [
        f"## {verdict['sign']} {text(verdict['title'])}: {name}, seed {seed}",
        text(verdict["meaning"]),
        text(heading["tested"]),
        _list(verdict["reasons"]),
        code_block(heading["repeat"]) if heading["repeat"] else "",
        _checks(run),
        _table(
            ("", "", ""),
            [(one["label"], one["value"], one["note"]) for one in summary.tiles(run)],
        ),
    ]
    for check in objects(run.outcome.get("checks")):
        if check.get("verdict") == "invalid":
            parts += _violation(check)
    if run.problems:
        parts += ["What of this run could not be read:", _list(run.problems)]
    return _joined(parts)


def render_sweep(sweep: Mapping[str, Any]) -> str:
    """Return a sweep's summary, from its `sweep.json`."""
    runs = sorted(objects(sweep.get("runs")), key=_badness)
    told_of = [run for run in runs if _outcome(run) not in ("pass", "not-run")]
    totals = sweep.get("totals")
    counted = totals.items() if isinstance(totals, Mapping) else ()
    told = ", ".join(f"{count} {outcome}" for outcome, count in counted)
    worst = _outcome(runs[0]) if runs else ""
    if sweep.get("failures") and worst != "violation":
        worst = "harness-failure"
    budget = sweep.get("budget_s")
    parts = [
        f"## {_sign(worst)} Sweep {_plain(sweep.get('name'))}: {text(told)}",
        f"{plural(len(runs), 'run')} planned, exit code {_plain(sweep.get('exit_code'))}"
        + (f", budget {duration(budget)}" if isinstance(budget, int | float) else ""),
        _list([str(one) for one in sweep.get("failures") or ()]),
        _sweep_table(runs),
    ]
    for run in told_of[:_TOLD_MAX]:
        reasons = run.get("reasons")
        parts += [
            f"### {_sign(_outcome(run))} {_plain(run.get('title'))}",
            _list([str(one) for one in reasons] if isinstance(reasons, list) else []),
            code_block(str(run.get("repeat"))),
        ]
    return _joined(parts)


def text(value: str, *, limit: int = 400) -> str:
    """Return text that is nothing but text, in Markdown as in the HTML that is made of it.

    It has to stand within one line.
    """
    escaped = _MARKUP.sub(lambda found: _HTML.get(found[0], f"\\{found[0]}"), _flat(value, limit))
    return _NUMBERED.sub(r"\1\\\2", escaped)


def code_block(command: str, *, limit: int = 2000) -> str:
    """Return a command between fences that it cannot close."""
    line = _flat(command, limit)
    ticks = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}sh\n{line}\n{fence}"


def _flat(value: str, limit: int) -> str:
    """One line; spaces at the ends and in rows mean nothing, as in HTML."""
    return " ".join(clean(value, limit=limit).split())


def _plain(value: object) -> str:
    return text("unknown" if value is None else str(value))


class _Markup(str):
    """Text that was escaped already."""

    __slots__ = ()


def _code(value: str) -> _Markup:
    return _Markup(f"<code>{text(value, limit=160)}</code>" if value else "")


def _list(items: Sequence[str]) -> str:
    lines = [f"- {text(item, limit=600)}" for item in items[:_TOLD_MAX]]
    more = len(items) - _TOLD_MAX
    return "\n".join([*lines, *([f"- and {more} more"] if more > 0 else [])])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        "| " + " | ".join(cell if isinstance(cell, _Markup) else text(cell) for cell in row) + " |"
        for row in rows
    ]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads), *lines])


def _checks(run: Run) -> str:
    return _table(
        ("check", "verdict", "looked at", "took", "why"),
        [
            (one["name"], one["verdict"], one["size"], one["took"], one["reason"])
            for one in summary.checks(run)
        ],
    )


def _violation(check: Mapping[str, Any]) -> list[str]:
    """The evidence of an invalid check: sentences, then its operations."""
    parts = [f"### {_plain(check.get('name'))}"]
    counterexample = check.get("counterexample")
    if not isinstance(counterexample, Mapping):
        return [*parts, text(str(check.get("reason") or "It gave no evidence."), limit=600)]
    key = counterexample.get("key")
    where = "" if key is None else f" (key {_code(str(key))})"
    parts.append(text(str(counterexample.get("summary") or "invalid"), limit=600) + where)
    tellers = tellers_of(counterexample)
    parts.append(
        _table(
            ("operation", "process", "through", "from", "to", "outcome", "why it cannot be"),
            [
                (
                    _code(one.call),
                    one.process,
                    one.node,
                    NOTHING if one.start_ns is None else moment(one.start_ns),
                    NOTHING if one.end_ns is None else moment(one.end_ns),
                    one.type,
                    one.why_not or "",
                )
                for one in tellers
            ],
        )
    )
    more = len(objects(counterexample.get("operations"))) - len(tellers)
    parts.append(f"{more} more operations are in the report." if more > 0 else "")
    cycle = counterexample.get("cycle")
    parts.append(_list([str(one) for one in cycle[:_CYCLE_MAX]] if isinstance(cycle, list) else []))
    return parts


def _badness(run: Mapping[str, Any]) -> int:
    order = ("violation", "interrupted", "harness-failure", "inconclusive", "vacuous", "not-run")
    return order.index(_outcome(run)) if _outcome(run) in order else len(order)


def _outcome(run: Mapping[str, Any]) -> str:
    return str(run.get("outcome"))


def _sign(outcome: str) -> str:
    return _SIGNS.get(outcome, _UNSURE)


def _sweep_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """All runs, the worst first, with what tells them apart."""
    names = list(runs[0].get("varied") or ()) if runs else []
    rows = []
    for run in runs[:_RUNS_MAX]:
        varied, took = run.get("varied"), run.get("seconds")
        cells = [str(varied.get(name)) if isinstance(varied, Mapping) else "" for name in names]
        outcome = _outcome(run)
        rows.append(
            (
                f"{_sign(outcome)} {outcome}",
                *cells,
                duration(took) if isinstance(took, int | float) and took else NOTHING,
                _code(str(run.get("path") or "")),
            )
        )
    table = _table(("outcome", *map(text, names), "took", "folder"), rows)
    more = len(runs) - _RUNS_MAX
    return f"{table}\n\n{more} more runs are in sweep.json." if more > 0 else table


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
