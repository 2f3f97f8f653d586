"""What a sweep prints: a line as a run ends, one for all that were not begun, a table at its end.

Rules of this file: pure; the worst comes last in the table, where the eye is; the last line says
it all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.outcome import SEVERITY

_WIDTH_MAX: Final = 60


def ended(record: Mapping[str, Any], total: int) -> str:
    """Return the line of one run: its outcome, which it was, and why, if it was no pass."""
    line = f"{record['number']}/{total} {record['outcome'].upper()}  {record['title']}"
    if record["outcome"] == "pass":
        return f"{line} ({record['seconds']:.0f} s)"
    return line + "".join(f": {reason}" for reason in record["reasons"][:1])


def total(document: Mapping[str, Any]) -> str:
    """Return the one line that says what came of a sweep."""
    told = ", ".join(f"{count} {outcome}" for outcome, count in document["totals"].items())
    return f"sweep {document['name']}: {len(document['runs'])} runs planned: {told}"


def not_run(document: Mapping[str, Any]) -> str:
    """Return the one line that counts the runs that were not begun; an empty text for none."""
    left = [one for one in document["runs"] if one["outcome"] == "not-run"]
    if not left:
        return ""
    return f"{len(left)} of {len(document['runs'])} not run; the first: {left[0]['reasons'][0]}"


def table(document: Mapping[str, Any], folder: str) -> str:
    """Return the end of a sweep as text."""
    records = sorted(document["runs"], key=lambda one: -SEVERITY.index(one["exit_code"]))
    names = list(records[0]["varied"])
    heads = ["#", "outcome", *names, "seconds", "folder"]
    rows = [
        [
            str(one["number"]),
            one["outcome"],
            *(one["varied"][name] for name in names),
            f"{one['seconds']:.0f}" if one["path"] else "-",
            one["path"] or "-",
        ]
        for one in records
    ]
    bad = [one for one in records if one["outcome"] not in ("pass", "not-run")]
    lines = _aligned([heads, *rows])
    for one in bad:
        lines += ["", f"{one['outcome'].upper()}  {one['title']}"]
        lines += [f"  {reason}" for reason in one["reasons"]]
        lines.append(f"  run again    {one['repeat']}")
    if left := not_run(document):
        lines += ["", left]
    return "\n".join([*lines, "", f"summary      {folder}", total(document)])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [
        min(_WIDTH_MAX, max(len(cell) for cell in column)) for column in zip(*rows, strict=True)
    ]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
