"""What a run prints at its end: verdict first, then what a person needs next.

Rules of this file: pure; one screen; the last lines are paths and commands that can be copied.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.outcome import count_changes
from harness.run import Result

_WIDTH = 12


def summary(result: Result, *, command: str = "splitbrain") -> str:
    """Return the text for one run; `command` is how this program was called."""
    document = result.document
    lines = [f"{result.outcome.value.upper()}  {document['name']}, seed {document['seed']}"]
    lines += [f"  {reason}" for reason in result.reasons]
    lines.append("")
    operations = document["operations"]
    tally = ", ".join(f"{operations[kind]} {kind}" for kind in ("ok", "fail", "info"))
    lines.append(_row("operations", f"{operations['invoke']} invoked: {tally}"))
    lines += [
        _row("leaders", _leaders(document["leader_changes"])),
        _row("faults", _faults(document["faults"])),
        _row("recovery", _recovery(document["recovery"])),
        _row("phases", _phases(document["phases"])),
        "",
        _row("report", str(result.path / "report.html")),
        _row("check again", f"{command} check {result.path}"),
        _row("run again", document["repeat"].replace("splitbrain", command, 1)),
    ]
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}} {text}"


def _leaders(changes: list[dict[str, Any]]) -> str:
    if not changes:
        return "none seen"
    leaders = [str(one["leader"]) for one in changes]
    return f"{count_changes(leaders)} changes: " + " -> ".join(leaders)


def _faults(faults: list[dict[str, Any]]) -> str:
    if not faults:
        return "none"
    kinds: dict[str, Counter[str]] = {}
    for fault in faults:
        kinds.setdefault(f"{fault['kind']}:{fault['name']}", Counter())[fault["evidence"]] += 1
    parts = []
    for name, seen in sorted(kinds.items()):
        text = ", ".join(f"{count} {evidence}" for evidence, count in sorted(seen.items()))
        parts.append(f"{name} {text}")
    return ("\n" + " " * (_WIDTH + 1)).join(parts)


def _recovery(recovery: dict[str, Any] | None) -> str:
    if recovery is None:
        return "was not reached"
    if not recovery["recovered"]:
        return f"failed within {recovery['deadline_s']:g} s: {recovery['detail']}"
    return f"{recovery['seconds']:.2f} s until {recovery['detail']}"


def _phases(phases: list[dict[str, Any]]) -> str:
    return ", ".join(f"{phase['name']} {phase['seconds']:.1f} s" for phase in phases)
