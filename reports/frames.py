"""Events and samples -> pandas frames with fixed columns and types.

Rules of this file:
- A frame always has all of its columns (reports/columns.py) with their types, also when it is
  empty.
- `info` has no `end_ns`: it may take effect at any later time. When its client gave up is in
  `completed_ns`, and `latency_ms` is how long it had waited by then.
- A fault is told by the outcome if it has it, else by the nemesis's own events, else by the plan
  alone: then its evidence is `planned`, which claims nothing.
- Pure: values in, frames out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from checker.history import Event, EventType, Operation

from .columns import FAULTS, METRICS, OPERATIONS, Column

# Without times (imported histories) events stand this far apart, in their order.
_STEP_NS: Final = 1_000_000


def operations_frame(operations: Sequence[Operation]) -> pd.DataFrame:
    """One row an operation, in the order of invocation."""
    rows = [_operation_row(operation) for operation in operations]
    return _frame(rows, OPERATIONS)


def _operation_row(operation: Operation) -> dict[str, Any]:
    invocation, completion = operation.invocation, operation.completion
    start_ns = operation.start * _STEP_NS if invocation.time is None else invocation.time
    completed_ns = None
    if completion is not None:
        timed = completion.time is not None
        completed_ns = completion.time if timed else (operation.end or operation.start) * _STEP_NS
    certain = operation.type is not EventType.INFO
    return {
        "index": invocation.index,
        "process": invocation.process,
        "f": _text(operation.f),
        "key": _text(operation.key),
        "value": operation.input,
        "output": operation.output,
        "type": operation.type.value,
        "error": _text(None if completion is None else completion.error),
        "node": _text(invocation.node or (None if completion is None else completion.node)),
        "start_ns": start_ns,
        "end_ns": completed_ns if certain else None,
        "completed_ns": completed_ns,
        "latency_ms": None if completed_ns is None else (completed_ns - start_ns) / 1e6,
    }


def faults_frame(
    *,
    outcome: Sequence[Mapping[str, Any]],
    plan: Sequence[Mapping[str, Any]],
    events: Sequence[Event],
) -> pd.DataFrame:
    """One row a fault, by start."""
    by_id: dict[int, dict[str, Any]] = {}
    for fault in plan:
        if _is_number(fault.get("id")):
            by_id[fault["id"]] = {**fault, "evidence": "planned", "detail": {}}
    for id_, seen in _seen(events).items():
        by_id[id_] = {**by_id.get(id_, {}), **seen}
    for fault in outcome:
        if _is_number(fault.get("id")):
            told = {name: value for name, value in fault.items() if value is not None}
            by_id[fault["id"]] = {**by_id.get(fault["id"], {}), **told}
    rows = [_fault_row(id_, fault) for id_, fault in by_id.items()]
    rows.sort(key=lambda row: (row["start_ns"], row["id"]))
    return _frame(rows, FAULTS)


def _seen(events: Sequence[Event]) -> dict[int, dict[str, Any]]:
    """What the nemesis's own events say of each fault.

    In force from the completion of `start` to the completion of `stop`: until then it may be.
    """
    seen: dict[int, dict[str, Any]] = {}
    for event in events:
        value = event.value
        if not isinstance(value, Mapping) or not _is_number(value.get("fault")):
            continue
        fault = seen.setdefault(value["fault"], {"kind": event.f, "evidence": "indeterminate"})
        for name in ("name", "targets", "parameters"):
            if value.get(name) is not None:
                fault[name] = value[name]
        starts = value.get("phase") == "start"
        if event.type is EventType.INVOKE:
            fault.setdefault("start_ns" if starts else "stop_ns", event.time or 0)
            if starts:
                # Not stopped as far as the events go: the plan's end is not what happened.
                fault.setdefault("stop_ns", None)
        elif starts:
            fault["start_ns"] = event.time or 0
            fault["evidence"] = value.get("evidence", "indeterminate")
            fault["detail"] = value.get("detail")
        else:
            fault["stop_ns"] = event.time or 0
            fault["detail_stop"] = value.get("detail")
    return seen


def _fault_row(id_: int, fault: Mapping[str, Any]) -> dict[str, Any]:
    start_ns, stop_ns = fault.get("start_ns"), fault.get("stop_ns")
    targets, parameters = fault.get("targets"), fault.get("parameters")
    return {
        "id": id_,
        "kind": _text(fault.get("kind") or "?"),
        "name": _text(fault.get("name") or fault.get("kind") or "?"),
        "targets": [str(one) for one in targets] if isinstance(targets, list) else [],
        "parameters": dict(parameters) if isinstance(parameters, Mapping) else {},
        "start_ns": start_ns if _is_number(start_ns) else 0,
        "stop_ns": stop_ns if _is_number(stop_ns) else None,
        "evidence": _text(fault.get("evidence") or "indeterminate"),
        "detail": fault.get("detail"),
        "detail_stop": fault.get("detail_stop"),
    }


def metrics_frame(samples: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a sample, by time."""
    rows = [
        {
            "time_ns": sample["time"],
            "node": _text(sample.get("node")),
            "reachable": sample.get("reachable") is not False,
            "role": _text(sample.get("role")),
            "term": _whole(sample.get("term")),
            "leader": _text(sample.get("leader")),
            "commit_index": _whole(sample.get("commit_index")),
            "applied_index": _whole(sample.get("applied_index")),
            "state_hash": _text(sample.get("state_hash")),
            "clock_offset_ms": _number(sample.get("clock_offset_ms")),
            "clock_error_ms": _number(sample.get("clock_error_ms")),
        }
        for sample in samples
    ]
    rows.sort(key=lambda row: row["time_ns"])
    return _frame(rows, METRICS)


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, Column]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series([row[name] for row in rows], dtype=column.dtype)
            for name, column in columns.items()
        }
    )


def _is_number(value: object) -> bool:
    # Within 64 bits: a frame cannot hold more, and nothing that is meant can be more.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _whole(value: object) -> object:
    return value if _is_number(value) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return None if value is None else encodable(str(value))


def encodable(text: str) -> str:
    """Spell out what UTF-8 cannot hold: JSON may hand us one half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
