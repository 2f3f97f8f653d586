"""Random histories of registers and of strings on a few keys, for what reads whole columns.

Rules of this file:
- Drawn by hypothesis, so that a failure shrinks. Answers are those of a real object, or any.
- Values are such that Python and JSON differ about which are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from checker.history import Event, EventType, History

OK, FAIL, INFO, INVOKE = EventType.OK, EventType.FAIL, EventType.INFO, EventType.INVOKE
KEYS = (None, "a", "b")
# 1 is 1.0 but not true, "1" is neither, and two lists of two are the same if their parts are.
VALUES = st.sampled_from((None, 0, 1, 1.0, True, "1", "null", [0, 1], [0, True], {"a": 1}))
STRINGS = ("", "a", "b", "ab", "aa", "ba", "bab", "zz")

Apply = Callable[[dict[Any, Any], Event], tuple[EventType, Any]]


@st.composite
def register_histories(draw: st.DrawFn) -> History:
    """Reads, writes and cas of few values on up to three keys."""
    keys = KEYS[: draw(st.integers(1, 3))]
    fates = draw(st.sampled_from(((OK,), (OK, OK, FAIL, INFO), (FAIL,), (INFO,), (INFO, OK))))

    def ask() -> tuple[str, Any]:
        f = draw(st.sampled_from(("read", "write", "cas")))
        if f == "cas":
            one = draw(VALUES)
            return f, [one, one if draw(st.booleans()) else draw(VALUES)]
        return f, draw(VALUES) if f == "write" else None

    def apply(states: dict[Any, Any], event: Event) -> tuple[EventType, Any]:
        was = states.get(event.key)
        if event.f == "read":
            return OK, was if draw(st.integers(0, 5)) else draw(VALUES)
        if event.f == "cas" and json.dumps(was) != json.dumps(event.value[0]):
            return FAIL, event.value
        states[event.key] = event.value if event.f == "write" else event.value[1]
        return OK, event.value

    return _history(draw, keys, fates, ask, apply, {})


@st.composite
def string_histories(draw: st.DrawFn, initial: str) -> History:
    """Puts, appends and gets on up to three keys; now and then a get that nobody could have got."""
    keys = KEYS[: draw(st.integers(1, 3))]
    fates = draw(st.sampled_from(((OK,), (OK, OK, OK, FAIL, INFO), (INFO, OK), (FAIL, OK))))

    def ask() -> tuple[str, Any]:
        f = draw(st.sampled_from(("get", "get", "put", "append", "append")))
        if f == "get":
            return f, None
        return f, draw(st.sampled_from(STRINGS[1:-1] if f == "append" else STRINGS[:-1]))

    def apply(states: dict[Any, Any], event: Event) -> tuple[EventType, Any]:
        was = states[event.key]
        if event.f == "get":
            wrong = not draw(st.integers(0, 5))
            return OK, draw(st.sampled_from((*STRINGS, None))) if wrong else was
        states[event.key] = was + event.value if event.f == "append" else event.value
        return OK, event.value

    return _history(draw, keys, fates, ask, apply, dict.fromkeys(keys, initial))


def _history(
    draw: st.DrawFn, keys: tuple[str | None, ...], fates: tuple[EventType, ...],
    ask: Callable[[], tuple[str, Any]], apply: Apply, states: dict[Any, Any],
) -> History:  # fmt: skip
    """Three processes ask; what they ask takes effect as it is asked or as it is answered."""
    events: list[Event] = []
    open_at: dict[int, tuple[Event, tuple[EventType, Any] | None]] = {}
    names = [0, 1, 2]
    for _ in range(draw(st.integers(2, 18))):
        slot = draw(st.integers(0, 2))
        process = names[slot]
        if process not in open_at:
            f, asked = ask()
            event = Event(index=len(events), process=process, type=INVOKE, f=f, value=asked,
                          key=draw(st.sampled_from(keys)))  # fmt: skip
            events.append(event)
            open_at[process] = event, apply(states, event) if draw(st.booleans()) else None
            continue
        event, effect = open_at.pop(process)
        kind, answer = effect or apply(states, event)
        fate = draw(st.sampled_from(fates))
        kind = fate if fate is not OK else kind
        if kind is INFO:
            names[slot] = max(names) + 1
        if kind is not OK and event.f in ("read", "get"):
            answer = None
        events.append(replace(event, index=len(events), type=kind, value=answer))
    return History(tuple(events))
