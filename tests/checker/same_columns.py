"""When two histories as columns are the same, and histories of every kind to try it on."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st

from checker.columns import Columns
from checker.history import NEMESIS, Event, EventType, History, in_order
from checker.values import canonical


def described(columns: Columns) -> dict[str, Any]:
    """Everything that columns say, in values that can be compared and are shown by pytest."""
    said: dict[str, Any] = {}
    for field in fields(columns):
        value = getattr(columns, field.name)
        if isinstance(value, np.ndarray):
            said[field.name] = (str(value.dtype), value.tolist())
        elif field.name != "values":
            said[field.name] = value
    values = columns.values
    said["values"] = [canonical(value) for value in values.decoded]
    said["parts"] = list(zip(values.first, values.second, strict=True))
    said["arrays"] = list(zip(values.firsts.tolist(), values.seconds.tolist(), strict=True))
    return said


atoms = st.none() | st.integers(-3, 3) | st.sampled_from(("a", "b", "1", "é \"'\\\n", ""))
plain = atoms | st.lists(atoms, min_size=2, max_size=2)
odd = st.sampled_from(
    (2**62, -(2**62) - 1, -(2**63), -(2**63) + 1, 2**63, 10**30, "nil", "\U0001f600")
)
anything = st.recursive(
    plain | st.booleans() | odd | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("a", "b c", "")), inner, max_size=2)
    ),
    max_leaves=4,
)
names = st.none() | st.sampled_from(("k1", "k2", "a b", "é"))


@st.composite
def histories(draw: st.DrawFn, *, values: st.SearchStrategy[Any] | None = None) -> History:
    """Histories of well-behaved processes, with or without times, with faults between."""
    values = draw(st.sampled_from((plain, anything))) if values is None else values
    timed, dense = draw(st.booleans()), draw(st.booleans())
    open_at: dict[int, str] = {}
    process_of = [0, 1, 7]
    time = index = 0
    events: list[Event] = []

    def add(process: int | str, kind: EventType, f: str) -> None:
        nonlocal time, index
        time += draw(st.integers(0, 2))
        index += 1 if dense else draw(st.integers(1, 3))
        events.append(
            Event(
                index=index,
                process=process,
                type=kind,
                f=f,
                value=draw(values),
                key=draw(names),
                time=time if timed else None,
                node=draw(names),
                error=None if kind is EventType.INVOKE else draw(names),
            )
        )

    for _ in range(draw(st.integers(0, 14))):
        slot = draw(st.integers(0, 3))
        if slot == 3:
            add(NEMESIS, draw(st.sampled_from(EventType)), draw(st.sampled_from(("kill", "heal"))))
            continue
        process = process_of[slot]
        if process not in open_at:
            open_at[process] = draw(st.sampled_from(("read", "write", "a b")))
            add(process, EventType.INVOKE, open_at[process])
            continue
        kind = draw(st.sampled_from((EventType.OK, EventType.FAIL, EventType.INFO)))
        add(process, kind, open_at.pop(process))
        if kind is EventType.INFO:
            process_of[slot] = max(process_of) + 1
    return History(in_order(events))


@st.composite
def misbehaved(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records of events that may be anything but well-behaved: the errors must be the same."""
    records = []
    for _ in range(draw(st.integers(1, 6))):
        record: dict[str, Any] = {
            "process": draw(st.sampled_from((0, 0, 1, -1, NEMESIS, 2**63, True, "x", 1.0))),
            "type": draw(st.sampled_from(("invoke", "ok", "info", "fail", "done"))),
            "f": draw(st.sampled_from(("read", "read", "write", 1))),
        }
        for name, choices in (
            ("time", (None, 1, 2, 3, -1, 2**63, True, 1.0)),
            ("index", (0, 1, 2, -1, 2**70, None)),
            ("key", ("k", 1, "1", True, ["k"])),
            ("error", ("e", ["e", 1], 5)),
            ("extra", ([], {"a": 10**20})),
        ):
            if draw(st.integers(0, 3)) == 0:
                record[name] = draw(st.sampled_from(choices))
        records.append(record)
    return records
