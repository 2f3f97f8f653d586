"""Counterexamples: small, true, and in the shape that ARCHITECTURE.md promises."""

from __future__ import annotations

import itertools

from brute_force import has_order
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiny_histories import register_histories

from checker import Event, EventType, FailedCas, History, Meaning, NilRead, check, model_named
from checker.calls import calls_of, prefix
from checker.explain import OPERATIONS_MAX

CAS = model_named("cas-register")
MEANINGS = [Meaning(failed_cas=f, nil_read=n) for f, n in itertools.product(FailedCas, NilRead)]
NAMES = {"key", "summary", "last_valid_operations", "final_states", "operations", "cycle"}
OPERATION_NAMES = {
    "index", "process", "f", "key", "value", "type", "start_ns", "end_ns", "node", "why_not",
}  # fmt: skip


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(history=register_histories(), meaning=st.sampled_from(MEANINGS))
def test_what_is_blamed_ends_the_shortest_failing_prefix(
    history: History, meaning: Meaning
) -> None:
    result = check(history, CAS, meaning=meaning)
    shown = result.counterexample
    assert (shown is not None) == (result.verdict == "invalid")
    assume(shown is not None)
    assert shown is not None
    assert set(shown) == NAMES
    operations = history.operations()
    calls = calls_of(enumerate(operations), CAS, meaning)
    (blamed,) = [listed for listed in shown["operations"] if listed["why_not"]]
    stuck = next(c for c in calls if operations[c.index].invocation.index == blamed["index"])
    assert stuck.end is not None
    assert not has_order(prefix(calls, stuck.end), CAS)
    assert has_order(prefix(calls, stuck.end - 1), CAS)
    before = [c for c in calls if c.end is not None and c.end < stuck.end]
    assert shown["last_valid_operations"] == len(before)
    assert shown["final_states"]
    for final in shown["final_states"]:
        assert set(final) == {"state", "why_not", "linearized", "pending"}
        assert final["why_not"]
        assert CAS.step(final["state"], stuck.action) is None
    listed = [operation["index"] for operation in shown["operations"]]
    assert listed == sorted(set(listed))
    assert len(listed) <= OPERATIONS_MAX
    assert all(set(operation) == OPERATION_NAMES for operation in shown["operations"])
    for final in shown["final_states"]:
        assert set(final["linearized"][-1:]) <= set(listed)
        assert set(final["pending"]) <= set(listed)


def test_many_crashed_operations_do_not_crowd_it() -> None:
    """Crashed writes that nobody could have seen are not shown; the write that was lost is."""
    events: list[Event] = []

    def add(process: int, kind: EventType, f: str, value: int | None = None) -> None:
        events.append(Event(index=len(events), process=process, type=kind, f=f, value=value))

    for crashed in range(100, 160):
        add(crashed, EventType.INVOKE, "write", crashed)
        add(crashed, EventType.INFO, "write", crashed)
    for value in (1, 2):
        add(0, EventType.INVOKE, "write", value)
        add(0, EventType.OK, "write", value)
    add(1, EventType.INVOKE, "read")
    add(1, EventType.OK, "read", 1)
    shown = check(History(tuple(events)), CAS).counterexample
    assert shown is not None
    assert [operation["value"] for operation in shown["operations"]] == [1, 2, 1]
    why = "would need the value 1, but it is 2"
    assert shown["final_states"] == [
        {"state": "2", "why_not": why, "linearized": [120, 122], "pending": []}
    ]
    assert why in shown["summary"]


def test_it_is_about_the_first_invalid_key_and_names_the_others() -> None:
    events: list[Event] = []
    for number, (key, answer) in enumerate((("a", None), ("b", 7), ("c", 8))):
        for kind, value in ((EventType.INVOKE, None), (EventType.OK, answer)):
            events.append(
                Event(index=len(events), process=number, type=kind, f="read", key=key, value=value)
            )
    result = check(History(tuple(events)), CAS)
    assert result.counterexample is not None
    assert result.counterexample["key"] == "b"
    assert result.reason == "1 of 3 keys valid, 2 invalid (b, c)"


def test_without_time_to_explain_it_is_still_invalid() -> None:
    """The refusal is found at once, without a step; then the clock runs out."""
    from checker import Budget

    events: list[Event] = []
    for number in range(400):
        for kind in (EventType.INVOKE, EventType.OK):
            f, value = ("read", 5) if number == 399 else ("write", number % 5)
            events.append(Event(index=len(events), process=0, type=kind, f=f, value=value))
    ticks = iter(range(10**6))
    budget = Budget(clock=lambda: float(next(ticks)), deadline=6.0, memory_bytes=1e9)
    result = check(History(tuple(events)), CAS, budget=budget)
    assert result.verdict == "invalid"
    assert result.counterexample is not None
    (blamed,) = [o for o in result.counterexample["operations"] if o["why_not"]]
    assert blamed["value"] == 5
