"""A counterexample told as a story: a small drawing, what happened in order, why it cannot be.

Rules of this file:
- The story is the checker's: nothing is judged here again. What is added is where things stood:
  what the nodes said of themselves, which faults were in force, and what the hosts logged then.
- Fields may be missing: an operation without a start is told of, but not drawn.
- How the drawing is laid out is `drawing.py`'s business.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from . import standing, summary
from .drawing import Teller, draw
from .load import Run, objects
from .logs import LogBook, as_rows
from .words import NOTHING, call, clean, moment, number, shown

CERTIFICATE: Final = "certificate.json"
OPERATIONS_MAX: Final = 40
LOG_LINES_MAX: Final = 60
STATES_MAX: Final = 12


def stories(run: Run, book: LogBook) -> list[dict[str, Any]]:
    """Tell every invalid check of a run, ready for the template."""
    checks = objects(run.outcome.get("checks"))
    invalid = [check for check in checks if check.get("verdict") == "invalid"]
    return [_story(run, book, check, number) for number, check in enumerate(invalid, start=1)]


def indexes(run: Run) -> list[int]:
    """Indexes of the invocations that a counterexample points at."""
    return [teller.index for teller in _all_tellers(run)]


def stuck(run: Run) -> list[int]:
    """Indexes of the invocations that could not be placed."""
    return sorted({teller.index for teller in _all_tellers(run) if teller.role == "stuck"})


def _all_tellers(run: Run) -> list[Teller]:
    checks = objects(run.outcome.get("checks"))
    told = [check.get("counterexample") for check in checks]
    return [teller for one in told if isinstance(one, Mapping) for teller in tellers_of(one)]


def _story(run: Run, book: LogBook, check: Mapping[str, Any], place: int) -> dict[str, Any]:
    story: dict[str, Any] = {
        "id": f"story-{place}",
        "commands": _commands(run),
        "name": clean(str(check.get("name", "check")), limit=60),
        "reason": clean(str(check.get("reason") or ""), limit=400),
        "summary": None,
    }
    counterexample = check.get("counterexample")
    if not isinstance(counterexample, Mapping):
        return story
    tellers = tellers_of(counterexample)
    times = [t for one in tellers for t in (one.start_ns, one.end_ns) if t is not None]
    begin_ns, end_ns = min(times, default=0), max(times, default=0)
    stuck = next((one for one in tellers if one.role == "stuck"), None)
    focus_ns = end_ns if stuck is None or stuck.start_ns is None else stuck.start_ns
    lines, more = book.between(focus_ns - 2_000_000_000, end_ns + 500_000_000, limit=LOG_LINES_MAX)
    key = counterexample.get("key")
    placed = counterexample.get("last_valid_operations")
    return story | {
        "summary": _sentence(
            clean(str(counterexample.get("summary") or story["reason"]), limit=600)
        ),
        "key": None if key is None else clean(str(key), limit=80),
        "placed": number(placed) if isinstance(placed, int) else None,
        "tellers": tellers,
        "moments": [moment(one.start_ns) if one.start_ns is not None else "" for one in tellers],
        "states": _states(counterexample),
        "stuck": -1 if stuck is None else stuck.index,
        "standing": standing.at(run, focus_ns) if times else None,
        "faults": _faults_between(run.faults, begin_ns, end_ns),
        "drawing": draw(tellers, _in_force(run.faults, begin_ns, end_ns)) if times else None,
        "logs": as_rows(lines),
        "logs_more": more,
        "from_us": begin_ns // 1000,
        "to_us": end_ns // 1000,
    }


def _commands(run: Run) -> list[tuple[str, str]]:
    """What to type to see for oneself: nothing here has to be believed."""
    folder = shlex.quote(str(run.path))
    proof = run.path / CERTIFICATE
    commands = [("Check the history again", f"splitbrain check {folder}")]
    if proof.is_file():
        verify = f"splitbrain verify {folder} {shlex.quote(str(proof))}"
        commands = [("Verify the proof", verify), *commands]
    repeat = summary.heading(run)["repeat"]
    commands += [("Repeat the run", repeat)] if repeat else []
    return [(name, clean(command, limit=2000)) for name, command in commands]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")


def tellers_of(counterexample: Mapping[str, Any]) -> list[Teller]:
    """The operations of a counterexample, by start, with their parts in the story."""
    operations = objects(counterexample.get("operations"))
    states = objects(counterexample.get("final_states"))
    placed = {one for state in states for one in _indexes(state.get("linearized"))}
    # What had to be placed first and could not: of those with a reason, the first to have ended.
    blamed = [one for one in operations if one.get("why_not")]
    ended = [one for one in blamed if one.get("end_ns") is not None and one.get("type") != "info"]
    stuck = min(ended or blamed, key=lambda one: int(one.get("end_ns") or 0), default=None)
    tellers = []
    for operation in operations[:OPERATIONS_MAX]:
        index = operation.get("index")
        role = (
            "placed" if index in placed else "open" if operation.get("type") == "info" else "other"
        )
        tellers.append(_teller(operation, "stuck" if operation is stuck else role))
    return sorted(tellers, key=lambda one: (one.start_ns or 0, one.index))


def _teller(operation: Mapping[str, Any], role: str) -> Teller:
    f, value, kind = str(operation.get("f", "?")), operation.get("value"), operation.get("type")
    read = f == "read"
    why_not, index = operation.get("why_not"), operation.get("index")
    return Teller(
        index=index if isinstance(index, int) else -1,
        process=clean(str(operation.get("process", "?")), limit=20),
        node=clean(str(operation.get("node") or "?"), limit=60),
        call=call(f, None if read else value, value if read else None, known=kind == "ok"),
        type=clean(str(kind), limit=12),
        role=role,
        start_ns=_time(operation.get("start_ns")),
        end_ns=_time(operation.get("end_ns")),
        why_not=clean(str(why_not), limit=400) if why_not else None,
    )


def _time(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _states(counterexample: Mapping[str, Any]) -> list[dict[str, str]]:
    states = []
    for state in objects(counterexample.get("final_states"))[:STATES_MAX]:
        value = state.get("state")
        after, pending = _indexes(state.get("linearized")), _indexes(state.get("pending"))
        states.append(
            {
                "state": clean(value, limit=120) if isinstance(value, str) else shown(value),
                "after": ", ".join(f"#{one}" for one in after[-4:]) or NOTHING,
                "pending": ", ".join(f"#{one}" for one in pending[:8]) or "none",
                "why_not": clean(str(state.get("why_not") or ""), limit=400),
            }
        )
    return states


def _indexes(value: object) -> list[int]:
    return [one for one in value if isinstance(one, int)] if isinstance(value, list) else []


def _faults_between(faults: pd.DataFrame, begin_ns: int, end_ns: int) -> list[str]:
    sentences = []
    for fault in _in_force(faults, begin_ns, end_ns):
        targets = clean(", ".join(fault["targets"]), limit=80) or "nobody"
        stop = "not undone" if pd.isna(fault["stop_ns"]) else moment(fault["stop_ns"])
        sentences.append(
            f"{clean(fault['name'], limit=60)} ({clean(fault['kind'], limit=40)}) on {targets}, "
            f"{moment(fault['start_ns'])} to {stop}, {clean(fault['evidence'], limit=20)}"
        )
    return sentences


def _in_force(faults: pd.DataFrame, begin_ns: int, end_ns: int) -> list[dict[str, Any]]:
    return [
        {str(name): value for name, value in fault.items()}
        for fault in faults.to_dict("records")
        if fault["evidence"] not in ("planned", "skipped")
        and fault["start_ns"] <= end_ns
        and (pd.isna(fault["stop_ns"]) or fault["stop_ns"] >= begin_ns)
    ]
