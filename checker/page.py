"""A verdict as a page of text: what was found, the story of a contradiction, and its picture.

Rules of this file:
- Plain text of 100 columns at most, made to be read in a terminal or a log.
- Says how sure one can be: what proves the verdict, and what was spent where there is none.
- Pure.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

from checker.verdict import CheckResult, Verdict

_COLUMNS = 98  # and two of indentation
_WIDTH = 48
_TEXT_MAX = 60


def as_text(path: str, result: CheckResult) -> str:
    """Return a verdict as people read it; an invalid one with its counterexample."""
    lines = _wrapped(f"{path}: {result.verdict}" + (f" ({result.reason})" if result.reason else ""))
    lines += _wrapped(
        f"  {result.operations} operations, {len(result.keys)} keys, {result.algorithm}, "
        f"{result.seconds:.2f} s, {result.peak_mb:.0f} MB"
    )
    if result.verdict is Verdict.VALID and any(
        key.linearization is not None for key in result.keys
    ):
        lines.append("  proved by an order of the operations, played through the model")
    shown = result.counterexample
    if shown is not None:
        where = "" if shown["key"] is None else f"key {shown['key']}: "
        lines += ["", *_wrapped(f"  {where}{shown['summary']}"), ""]
        lines += [f"  {line}" for line in _table(shown["operations"])]
        lines += ["", *(f"  {line}" for line in picture(shown["operations"]))]
        lines += [f"  {line}" for line in _endings(shown.get("final_states", ()))]
        if shown.get("cycle"):
            lines += ["", "  a circle of what must come before what:"]
            lines += [line for said in shown["cycle"] for line in _wrapped(f"    {said}")]
    if result.certificate is not None:
        calls = result.certificate["refutation"]["calls"]
        required = sum(1 for call in calls if call["required"])
        lines += [
            "",
            f"  proved by a core of {len(calls)} operations that has no order, {required} of which "
            "must have taken effect",
        ]
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(text: str) -> list[str]:
    """Break one line into lines that fit, each indented like the first."""
    plain = _plain(text)
    indent = " " * (len(plain) - len(plain.lstrip(" ")))
    return textwrap.wrap(plain, _COLUMNS, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _plain(text: str) -> str:
    """Write what is no printable character as an escape: a history can hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def picture(operations: list[dict[str, Any]]) -> list[str]:
    """Return the operations as bars over their order of events, one a line.

    Positions are ranks of starts and ends, so that what overlaps in the history overlaps here.
    """
    marks: list[tuple[int, int, int]] = []  # (time or index, end?, line)
    for line, operation in enumerate(operations):
        start = operation["start_ns"]
        marks.append((operation["index"] if start is None else start, 0, line))
        end = operation["end_ns"]
        if operation["type"] == "info" or (start is None) != (end is None):
            continue
        if end is not None:
            marks.append((end, 1, line))
    marks.sort()
    if any(operation["start_ns"] is None for operation in operations) or not marks:
        return []
    place = {(line, kind): at for at, (_, kind, line) in enumerate(marks)}
    scale = max(1, len(marks) - 1)
    names = [_plain(f"{o['process']}  {_what(o)}")[:34] for o in operations]
    width = max(map(len, names), default=0)
    drawn = []
    for line, name in enumerate(names):
        begin = place[line, 0] * _WIDTH // scale
        end = place.get((line, 1))
        stop = _WIDTH + 1 if end is None else end * _WIDTH // scale
        bar = "|" + "-" * max(0, stop - begin - 1) + ("|" if end is not None else "...")
        drawn.append(f"{name.ljust(width)}  {' ' * begin}{bar}")
    return drawn


def _what(operation: dict[str, Any]) -> str:
    return f"{operation['f']} {json.dumps(operation['value'], ensure_ascii=False)}"[:_TEXT_MAX]


def _endings(states: list[dict[str, Any]]) -> list[str]:
    """Say in which states all that came before can end."""
    if not states:
        return []
    listed = ", ".join(str(state["state"]) for state in states)
    return [
        "",
        *_wrapped(f"before it, every order that is left ends in one of these states: {listed}"),
    ]


def _table(operations: list[dict[str, Any]]) -> list[str]:
    """Return the operations of a counterexample as aligned columns, reasons beneath."""
    rows = [("event", "start ms", "end ms", "process", "operation", "outcome")]
    rows += [
        (
            str(operation["index"]),
            _milliseconds(operation["start_ns"]),
            _milliseconds(operation["end_ns"]) if operation["type"] != "info" else "",
            str(operation["process"]),
            _what(operation),
            operation["type"],
        )
        for operation in operations
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for place, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(_plain("  ".join(cells).rstrip())[: _COLUMNS - 2])
        why_not = operations[place - 1]["why_not"] if place else None
        if why_not:
            lines += _wrapped(f"      ^ {why_not}")
    return lines


def _milliseconds(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1e6:.3f}"
