"""Times to live, as a model without time is told of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from object_store import Store, unreliable

from checker.budget import Budget
from checker.certificate import of_valid
from checker.history import Event, EventType, History, HistoryError, in_order, read_jsonl
from checker.meaning import Meaning
from checker.verdict import CheckResult, Verdict
from checker.verify import verify
from workloads.checks import Linearizable
from workloads.checks.expiry import with_expiry
from workloads.generator import limit, simulate
from workloads.key_value import load
from workloads.workload import Setting

CHECK = Linearizable("key-value", prepare=with_expiry)
MORTAL = {"value": "v", "ttl_ms": 10}
MS = 1_000_000


def history_of(*lines: tuple[int, int, str, str, Any]) -> History:
    """Events of one key given as (time in ms, process, type, f, value)."""
    return History(tuple(
        Event(index=index, time=ms * MS, process=process, type=EventType(kind), f=f, key="t0",
              value=value)
        for index, (ms, process, kind, f, value) in enumerate(lines)
    ))  # fmt: skip


def judged(history: History) -> CheckResult:
    return CHECK.judge(history, Budget.unlimited())


def put_then(*lines: tuple[int, int, str, str, Any], ends: str = "ok") -> Verdict:
    """The verdict on a put that is invoked at 100, to live for 10 ms, and ends at 105."""
    put = (100, 0, "invoke", "put", MORTAL), (105, 0, ends, "put", MORTAL)
    return judged(history_of(*put, *lines)).verdict


def got(begin_ms: int, end_ms: int, answer: str | None) -> list[tuple[int, int, str, str, Any]]:
    return [(begin_ms, 1, "invoke", "get", None), (end_ms, 1, "ok", "get", answer)]


def test_a_key_is_there_for_its_time_to_live() -> None:
    assert put_then(*got(106, 107, "v")) is Verdict.VALID
    assert put_then(*got(106, 107, None)) is Verdict.INVALID
    assert put_then(*got(106, 109, "")) is Verdict.INVALID


def test_it_may_be_gone_when_that_is_over_since_the_put_was_invoked() -> None:
    assert put_then(*got(106, 110, None)) is Verdict.VALID
    assert put_then(*got(111, 112, None)) is Verdict.VALID


def test_it_may_stay_longer() -> None:
    assert put_then(*got(500, 501, "v")) is Verdict.VALID


def test_what_has_vanished_does_not_come_back() -> None:
    assert put_then(*got(120, 121, None), *got(122, 123, None)) is Verdict.VALID
    assert put_then(*got(120, 121, None), *got(122, 123, "v")) is Verdict.INVALID


def test_a_later_put_without_a_time_to_live_stays() -> None:
    plain = (106, 2, "invoke", "put", "w"), (107, 2, "ok", "put", "w")
    assert put_then(*plain, *got(500, 501, "w")) is Verdict.VALID
    assert put_then(*plain, *got(500, 501, None)) is Verdict.INVALID


def test_a_swapped_string_does_not_vanish() -> None:
    swap = (106, 2, "invoke", "cas", ["v", "w"]), (107, 2, "ok", "cas", ["v", "w"])
    assert put_then(*swap, *got(500, 501, "w")) is Verdict.VALID
    assert put_then(*swap, *got(500, 501, None)) is Verdict.INVALID


def test_a_put_in_doubt_may_have_been_and_may_have_vanished() -> None:
    assert put_then(*got(106, 107, None), *got(108, 109, "v"), ends="info") is Verdict.VALID
    late = (*got(106, 107, "v"), *got(120, 121, None))
    assert put_then(*late, ends="info") is Verdict.VALID
    assert put_then(*got(106, 107, "v"), *got(108, 109, None), ends="info") is Verdict.INVALID


def test_the_counterexample_speaks_of_the_events_of_the_run() -> None:
    history = history_of(
        (100, 0, "invoke", "put", MORTAL), (105, 0, "ok", "put", MORTAL), *got(106, 107, None)
    )
    counterexample = judged(history).counterexample
    assert counterexample is not None
    listed = {one["index"]: one["f"] for one in counterexample["operations"]}
    assert listed == {0: "put", 2: "get"}


def test_events_keep_their_order_and_their_indexes() -> None:
    setting = Setting(seed=3, keys=2, threads=5, nodes=3)
    client = unreliable(Store("key-value"), 10 * MS)
    history = simulate(limit(1200, load(setting)), client, threads=5)
    prepared = with_expiry(history)
    times = [event.time or 0 for event in prepared.events]
    assert times == sorted(times)
    highest = max(event.index for event in history.events)
    kept = tuple(event for event in prepared.events if event.index <= highest)
    assert [replace(event, value=None) for event in kept] == [
        replace(event, value=None) for event in history.events
    ]
    added = [event for event in prepared.events if event.index > highest]
    mortal = [event for event in history.events
              if event.type is EventType.INVOKE and isinstance(event.value, dict)]  # fmt: skip
    assert len(added) == len(mortal) > 50
    assert len({event.process for event in added}) == len(added)
    assert {e.process for e in added}.isdisjoint(e.process for e in history.events)
    assert len({event.index for event in prepared.events}) == len(prepared.events)
    prepared.operations()  # which is lawful


@pytest.mark.parametrize("bug", ["", "keys vanish early"])
def test_what_proves_a_verdict_is_of_the_prepared_history(bug: str, tmp_path: Path) -> None:
    setting = Setting(seed=3, keys=8, threads=5, nodes=3)
    client = unreliable(Store("key-value", bug), 10 * MS)
    played = simulate(limit(1200, load(setting)), client, threads=5)
    history = History(in_order(played.events))
    result = judged(history)
    assert result.verdict is (Verdict.INVALID if bug else Verdict.VALID)
    proof = result.certificate or of_valid(CHECK.model, Meaning(), result.keys)
    path = tmp_path / "prepared.jsonl"
    path.write_text("".join(f"{e.to_json()}\n" for e in CHECK.prepared(history).events))
    assert verify(read_jsonl(path), proof).verdict is result.verdict


def test_a_history_without_times_to_live_stays_as_it_is() -> None:
    history = History((Event(index=0, process=0, type=EventType.INVOKE, f="put", value="a"),))
    assert with_expiry(history) == history


def test_a_history_without_times_is_refused() -> None:
    history = history_of((1, 0, "invoke", "put", MORTAL))
    untimed = History(tuple(replace(event, time=None) for event in history.events))
    with pytest.raises(HistoryError, match="event 0 has no time"):
        judged(untimed)


@given(st.data())
def test_verdicts_are_those_of_trying_every_moment_of_expiry(data: st.DataObject) -> None:
    """One put with a time to live, and gets one after the other: there is little to think about."""
    ttl_ms = data.draw(st.integers(1, 12))
    moments = sorted(data.draw(st.lists(st.integers(1, 20), min_size=6, max_size=6, unique=True)))
    answers = data.draw(st.lists(st.sampled_from(("v", None)), min_size=3, max_size=3))
    value = {"value": "v", "ttl_ms": ttl_ms}
    lines: list[tuple[int, int, str, str, Any]] = [
        (0, 0, "invoke", "put", value), (0, 0, "ok", "put", value)
    ]  # fmt: skip
    for begin_ms, end_ms, answer in zip(moments[::2], moments[1::2], answers, strict=True):
        lines += got(begin_ms, end_ms, answer)
    # All "there" come before all "gone", and the first "gone" ends when it may be so.
    there = answers.index(None) if None in answers else 3
    right = "v" not in answers[there:] and (there == 3 or moments[2 * there + 1] >= ttl_ms)
    expected = Verdict.VALID if right else Verdict.INVALID
    assert judged(history_of(*lines)).verdict is expected
