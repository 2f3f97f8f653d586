"""Strategies for tiny histories, about half of them linearizable."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from checker.history import Event, EventType, History

OK, FAIL, INFO, INVOKE = EventType.OK, EventType.FAIL, EventType.INFO, EventType.INVOKE
VALUES = st.sampled_from((None, 0, 1, 2))


@st.composite
def register_histories(draw: st.DrawFn, *, events_max: int = 14, processes: int = 4) -> History:
    """Reads, writes and cas of few values: answers are those of a simulated register, or any."""
    events: list[Event] = []
    open_at: dict[int, tuple[Event, Any]] = {}
    names = list(range(processes))
    value: Any = None

    def apply(event: Event) -> Any:
        nonlocal value
        if event.f == "read":
            return OK, value
        if event.f == "write":
            value = event.value
            return OK, value
        expected, new = event.value
        if value == expected:
            value = new
            return OK, event.value
        return FAIL, event.value

    for _ in range(draw(st.integers(2, events_max))):
        slot = draw(st.integers(0, processes - 1))
        process = names[slot]
        if process not in open_at:
            f = draw(st.sampled_from(("read", "write", "cas")))
            asked = {"read": None, "write": draw(VALUES), "cas": [draw(VALUES), draw(VALUES)]}[f]
            event = Event(index=len(events), process=process, type=INVOKE, f=f, value=asked)
            # It takes effect as it is invoked or as it returns, and now and then its answer is
            # not what happened.
            open_at[process] = event, apply(event) if draw(st.booleans()) else None
            events.append(event)
            continue
        event, effect = open_at.pop(process)
        kind, answer = effect or apply(event)
        fate = draw(st.integers(0, 9))
        if fate <= 1:
            kind = INFO
            names[slot] = max(names) + 1
        elif fate == 2:
            kind = FAIL
        elif fate == 3 and event.f == "read":
            answer = draw(VALUES)
        if kind is not OK and event.f == "read":
            answer = None
        events.append(Event(index=len(events), process=process, type=kind, f=event.f, value=answer))
    return History(tuple(events))


@st.composite
def histories_of(
    draw: st.DrawFn, requests: dict[str, st.SearchStrategy[Any]], answers: st.SearchStrategy[Any]
) -> History:
    """Any requests with any answers, for models whose answers are only now and then right."""
    events: list[Event] = []
    open_at: dict[int, Event] = {}
    names = [0, 1, 2]
    for _ in range(draw(st.integers(2, 12))):
        slot = draw(st.integers(0, 2))
        process = names[slot]
        if process not in open_at:
            f = draw(st.sampled_from(sorted(requests)))
            asked = draw(requests[f])
            event = Event(index=len(events), process=process, type=INVOKE, f=f, value=asked)
            open_at[process] = event
        else:
            begun = open_at.pop(process)
            kind = draw(st.sampled_from((OK, OK, OK, FAIL, INFO)))
            if kind is INFO:
                names[slot] = max(names) + 1
            answer = draw(answers) if begun.f in ("get", "txn") else begun.value
            event = Event(index=len(events), process=process, type=kind, f=begun.f, value=answer)
        events.append(event)
    return History(tuple(events))
