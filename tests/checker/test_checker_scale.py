"""Histories as large as runs make them, simulated from seeds: the right verdict within bounds.

Bounds are numbers of steps, the same on every machine; nothing here looks at a clock.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest
from register_simulation import Shape, simulate, with_answers_swapped, with_stale_read

from checker import Budget, FailedCas, Meaning, Spent, Verdict, check, model_named
from checker.calls import calls_of
from checker.history import History, in_order
from checker.portfolio import Answer, Race
from checker.search import search

CAS = model_named("cas-register")
RUN = Shape(operations=10_000, keys=8, clients=10, crashes=200)
ONE_KEY = Shape(operations=3000, keys=1, clients=10, crashes=60)
FEW_VALUES = Shape(operations=3000, keys=2, clients=10, crashes=60, values=5)
MEANINGS = [Meaning(failed_cas=FailedCas.ABSENT), Meaning(failed_cas=FailedCas.DIFFERS)]


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: str(meaning.failed_cas))
@pytest.mark.parametrize(
    ("shape", "steps_an_operation"),
    # Few values make a search go wrong and back: seed 2 takes 500 steps an operation.
    [(RUN, 20), (ONE_KEY, 20), (FEW_VALUES, 600)],
    ids=["run", "one-key", "few-values"],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_history_valid_by_construction_is_valid(
    shape: Shape, steps_an_operation: int, seed: int, meaning: Meaning
) -> None:
    result = check(simulate(seed, shape), CAS, meaning=meaning)
    assert result.verdict is Verdict.VALID
    assert result.operations == shape.operations
    assert sum(key.steps for key in result.keys) < steps_an_operation * shape.operations


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: str(meaning.failed_cas))
@pytest.mark.parametrize("shape", [RUN, ONE_KEY], ids=["run", "one-key"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_stale_read_is_found_and_shown(shape: Shape, seed: int, meaning: Meaning) -> None:
    history = simulate(seed, shape)
    stale = with_stale_read(history, seed)
    assert stale is not None
    changed = next(a for a, b in zip(stale.events, history.events, strict=True) if a != b)
    result = check(stale, CAS, meaning=meaning)
    assert result.verdict is Verdict.INVALID
    assert [key.key for key in result.keys if key.verdict is Verdict.INVALID] == [changed.key]
    shown = result.counterexample
    assert shown is not None
    blamed = [operation for operation in shown["operations"] if operation["why_not"]]
    assert [operation["end_ns"] for operation in blamed] == [changed.time]
    assert f"would need the value {changed.value}" in blamed[0]["why_not"]
    # The write of the stale value is among what people are shown.
    writes = [o for o in shown["operations"] if o["f"] == "write"]
    assert changed.value in [o["value"] for o in writes]
    assert len(shown["operations"]) <= 20


def test_swapped_answers_are_found_where_they_are_wrong() -> None:
    shape = Shape(operations=2000, keys=4, clients=10, crashes=40)
    verdicts = []
    for seed in range(6):
        history: History = simulate(seed, shape)
        for swap in range(3):
            history = with_answers_swapped(history, 10 * seed + swap)
        verdicts.append(check(history, CAS).verdict)
    assert Verdict.INVALID in verdicts
    assert Verdict.UNKNOWN not in verdicts


class Clock:
    """A clock that advances by a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class TestBudget:
    """A budget that is spent gives `unknown` and says what was spent and how far it came."""

    # Few values and crashed writes: the first look decides one key of it, not the other.
    history = simulate(2, FEW_VALUES)

    def test_time(self) -> None:
        budget = Budget.of(seconds=4, memory_mb=100, clock=Clock())
        result = check(self.history, CAS, budget=budget)
        assert result.verdict is Verdict.UNKNOWN
        assert result.reason is not None
        assert "time" in result.reason
        assert "operations ordered" in result.reason

    def test_memory(self) -> None:
        budget = Budget.of(seconds=1e9, memory_mb=0.3, clock=lambda: 0.0)
        result = check(self.history, CAS, budget=budget)
        assert result.verdict is Verdict.UNKNOWN
        assert Verdict.INVALID not in {key.verdict for key in result.keys}
        assert result.reason is not None
        assert "of 2 keys valid" in result.reason
        assert "memory" in result.reason
        assert result.counterexample is None
        assert result.certificate is None
        assert result.peak_mb <= 0.3

    def test_a_hard_key_leaves_the_others_their_share(self) -> None:
        hard = Shape(operations=400, keys=1, clients=40, values=3)
        events = simulate(3, hard).events
        easy = simulate(1, Shape(operations=50, keys=3, clients=2)).events
        moved = [replace(e, process=int(e.process) + 1000, key="easy " + str(e.key)) for e in easy]
        both = [replace(e, index=i) for i, e in enumerate(in_order([*events, *moved]))]
        history = History(tuple(both))
        budget = Budget.of(seconds=8, memory_mb=1000, clock=Clock())
        result = check(history, CAS, budget=budget)
        easy_keys = [key for key in result.keys if str(key.key).startswith("easy")]
        assert {key.verdict for key in easy_keys} == {Verdict.VALID}

    def test_the_estimate_of_memory_is_no_underestimate(self) -> None:
        shape = Shape(operations=1500, keys=1, clients=30, crashes=0)
        history = with_answers_swapped(simulate(1, shape), 1)
        calls = calls_of(enumerate(history.operations()), CAS, Meaning())
        tracemalloc.start()
        try:
            found = search(calls, CAS, Budget.unlimited(), steps_max=60_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found.kept_bytes > 0.8 * peak


class TestShares:
    """How a budget's time is divided."""

    def test_each_gets_the_same_of_what_is_left(self) -> None:
        budget = Budget(clock=lambda: 10.0, deadline=40.0, memory_bytes=1.0)
        assert budget.share(3).deadline == 20.0
        assert budget.share(1).deadline == 40.0
        assert Budget(clock=lambda: 50.0, deadline=40.0, memory_bytes=1.0).share(3).deadline == 50.0

    def test_no_limit_has_no_shares(self) -> None:
        budget = Budget.unlimited()
        assert budget.share(7) is budget
        assert budget.spent(1e18) is None

    def test_what_ran_out_is_named(self) -> None:
        budget = Budget.of(seconds=1, memory_mb=1, clock=lambda: 0.0)
        assert budget.spent(0) is None
        assert budget.spent(2**20 + 1) is Spent.MEMORY
        assert Budget.of(seconds=0, memory_mb=1, clock=lambda: 0.0).spent(0) is Spent.TIME

    def test_memory_that_ran_out_is_not_tried_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Race] = []

        def counted(race: Race, budget: Budget) -> Answer:
            asked.append(race)
            return Answer(verdict=Verdict.UNKNOWN, algorithm="none", spent=Spent.MEMORY)

        monkeypatch.setattr(Race, "run", counted)
        result = check(simulate(2, FEW_VALUES), CAS)
        assert result.verdict is Verdict.UNKNOWN
        assert len(asked) == 1
