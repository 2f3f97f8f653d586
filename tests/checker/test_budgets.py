"""Budgets are kept: bytes, seconds, and what an `unknown` says of how far it came."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from certificates import history
from hard_cases import few_values, hard_calls
from random_calls import history_of
from register_simulation import Shape, simulate, with_stale_read

from checker import Budget, Meaning, Spent, Verdict, check, model_named
from checker import decide as decide  # the kernels are in memory, whatever else was run
from checker.calls import Calls
from checker.columns import columns_of
from checker.hard_histories import suite_row
from checker.history import History, in_order
from checker.kernels import layout
from checker.kernels.breadth_first import GAVE_UP
from checker.models import Model
from checker.parts import parts_of
from checker.portfolio import Race
from checker.problem import problem_of
from checker.race import ALL, BreadthFirst, DepthFirst, OutOfMemory, Transitions
from checker.verdict import CheckResult

CAS = model_named("cas-register")
MEANING = Meaning()
MB = 1024 * 1024
Search = DepthFirst | BreadthFirst


def few_values_calls() -> Calls:
    columns = columns_of(few_values())
    return next(p.calls for p in parts_of(columns, CAS, MEANING) if p.key == "k1")


def fifty_clients() -> Calls:
    columns = suite_row("n_1e3_50_0_ok").generate().columns
    return parts_of(columns, CAS, MEANING)[0].calls


def depth_first(calls: Calls, model: Model) -> DepthFirst:
    problem = problem_of(calls, model)
    return DepthFirst(problem, Transitions(problem))


def breadth_first(calls: Calls, model: Model, *, beam: int, keep_log: bool) -> BreadthFirst:
    problem = problem_of(calls, model)
    return BreadthFirst(problem, Transitions(problem), beam=beam, keep_log=keep_log,
                        tracked=range(len(problem.optional_calls)))  # fmt: skip


SEARCHES: dict[str, Callable[[Calls, Model], Search]] = {
    "depth-first": depth_first,
    "just-in-time": partial(breadth_first, beam=ALL, keep_log=False),
    "logged": partial(breadth_first, beam=ALL, keep_log=True),
    "beam": partial(breadth_first, beam=512, keep_log=True),
}
REGISTERS = {"few-values": few_values_calls, "fifty-clients": fifty_clients}


class Used:
    """What a search said it kept, and what it really kept, both at most and at the end.

    What is made once is not the search's, such as machine code that is compiled or loaded when it
    is first needed: the second of two equal runs is measured.
    """

    def __init__(self, make: Callable[[], Search], bytes_max: float, steps_max: int) -> None:
        for _ in range(2):
            self.run(make, bytes_max, steps_max)

    def run(self, make: Callable[[], Search], bytes_max: float, steps_max: int) -> None:
        tracemalloc.start()
        try:
            search = make()
            tracemalloc.reset_peak()
            self.estimated, self.ran_out = search.kept_bytes, False
            code = layout.LOOK
            while code == layout.LOOK and search.steps < steps_max:
                try:
                    code = search.advance(2000, bytes_max)
                except OutOfMemory:
                    self.ran_out = True
                    break
                finally:
                    self.estimated = max(self.estimated, search.kept_bytes)
            self.at_end = search.kept_bytes
            self.kept, self.peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.is_over = code in (layout.VALID, layout.INVALID, GAVE_UP)


@pytest.mark.parametrize("kind", REGISTERS)
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("budget_mb", [1, 3, 7])
class TestBytesOfASearch:
    """`kept_bytes` is what a search really keeps, and stays within what it was given."""

    def used(self, kind: str, search: str, budget_mb: float) -> Used:
        calls = REGISTERS[kind]()
        return Used(lambda: SEARCHES[search](calls, CAS), budget_mb * MB, 200_000)

    def test_the_estimate_is_no_underestimate(
        self, kind: str, search: str, budget_mb: float
    ) -> None:
        used = self.used(kind, search, budget_mb)
        # The problem is shared by all searches of a race and as long as the history.
        assert used.kept < 1.1 * used.at_end + 0.4 * MB

    def test_it_keeps_no_more_than_it_was_given(
        self, kind: str, search: str, budget_mb: float
    ) -> None:
        used = self.used(kind, search, budget_mb)
        assert used.ran_out or used.is_over or used.at_end > 0
        assert used.estimated <= budget_mb * MB

    def test_it_takes_little_more_while_it_grows(
        self, kind: str, search: str, budget_mb: float
    ) -> None:
        used = self.used(kind, search, budget_mb)
        assert used.peak < 2.5 * budget_mb * MB + 0.4 * MB


@pytest.mark.parametrize("name", ["stack", "fifo-queue"])
@pytest.mark.parametrize("search", ["depth-first", "logged"])
def test_states_that_a_model_was_asked_for_count_too(name: str, search: str) -> None:
    """A queue of two values goes through many thousands of states, each a tuple of its own."""
    model = model_named(name)
    calls = hard_calls(name, seed=5, count=300, width=12)
    used = Used(lambda: SEARCHES[search](calls, model), 100 * MB, 12_000)
    assert used.kept < 1.2 * used.at_end + 0.4 * MB


def test_the_race_stays_within_its_bytes() -> None:
    for budget_mb in (0.3, 2, 5, 8):
        race = Race(problem_of(few_values_calls(), CAS))
        budget = Budget.of(seconds=1, memory_mb=budget_mb, clock=lambda: 0.0)
        answer = race.run(budget)
        assert (answer.verdict, answer.spent) == (Verdict.UNKNOWN, Spent.MEMORY)
        assert race.peak_bytes <= budget_mb * MB


class Slices:
    """Counts the slices of races; as a clock, a slice takes a second."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.problems: list[int] = []

    def __call__(self) -> float:
        return float(len(self.names))


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> Slices:
    counted = Slices()
    run_slice = Race._slice

    def spy(race: Race, runner: object, steps: int, budget: Budget) -> object:
        counted.names.append(str(getattr(runner, "name", "")))
        counted.problems.append(len(race.problem.calls))
        return run_slice(race, runner, steps, budget)  # type: ignore[arg-type]

    monkeypatch.setattr(Race, "_slice", spy)
    return counted


@pytest.mark.parametrize("memory_mb", [5, 8.1, 200])
@pytest.mark.parametrize("seconds", [1, 2, 5, 8])
def test_a_race_ends_at_its_deadline(slices: Slices, memory_mb: float, seconds: float) -> None:
    """Whatever else is short: no slice begins after the deadline."""
    race = Race(problem_of(few_values_calls(), CAS))
    answer = race.run(Budget.of(seconds=seconds, memory_mb=memory_mb, clock=slices))
    assert answer.verdict is Verdict.UNKNOWN
    assert len(slices.names) <= seconds


def test_a_check_ends_at_its_deadline(slices: Slices) -> None:
    for seconds in (0, 3, 6, 9):
        slices.names.clear()
        result = check(
            few_values(), CAS, budget=Budget.of(seconds=seconds, memory_mb=200, clock=slices)
        )
        assert len(slices.names) <= seconds
        assert result.verdict is Verdict.UNKNOWN
        assert result.certificate is None
        assert result.counterexample is None


_ORDERED = re.compile(r"\((\d+) of (\d+) operations ordered, (\d+) steps\)")


def ordered(result: CheckResult) -> tuple[int, int, int]:
    """Return how many operations of how many an `unknown` says were ordered, and the steps."""
    found = _ORDERED.search(result.reason or "")
    assert found is not None, result.reason
    return int(found[1]), int(found[2]), int(found[3])


class TestHowFar:
    """An `unknown` says how far some order came, and how many keys are valid."""

    def test_nothing_was_ordered_before_the_first_step(self, slices: Slices) -> None:
        budget = Budget.of(seconds=0, memory_mb=200, clock=slices)
        calls = few_values_calls()
        answer = Race(problem_of(calls, CAS)).run(budget)
        assert answer.steps == 0
        first = min(
            (call for call in calls if call.end is not None), key=lambda call: call.end or 0
        )
        assert answer.until in (None, calls.index(first))

    def test_more_time_never_orders_less(self, slices: Slices) -> None:
        told = []
        for seconds in (1, 2, 3, 4, 6, 8, 10, 13, 16):
            slices.names.clear()
            budget = Budget.of(seconds=seconds, memory_mb=200, clock=slices)
            result = check(few_values(), CAS, budget=budget)
            assert result.verdict is Verdict.UNKNOWN
            assert "1 of 2 keys valid" in str(result.reason)
            told.append(ordered(result))
        assert [of for _, of, _ in told] == [1520] * len(told)
        assert [steps for *_, steps in told] == sorted(steps for *_, steps in told)
        assert [count for count, *_ in told] == sorted(count for count, *_ in told)
        assert told[0][0] > 0  # a depth-first slice orders most of it

    @pytest.mark.parametrize("which", range(5), ids=["depth", "just-in-time", "8", "64", "512"])
    def test_what_was_ordered_can_be(
        self, slices: Slices, monkeypatch: pytest.MonkeyPatch, which: int
    ) -> None:
        """A crashed write took effect once at most: no order comes past the second read of it."""
        monkeypatch.setattr("checker.portfolio._SLICE_MAX", 30)
        lines = ["9 write 1", "9 info"]
        for value in (1, 1, *(3 + n % 2 for n in range(300))):
            lines += [f"0 write {max(2, value)}", "0 ok", "1 read", f"1 ok {value}"]
        random = history(*lines)
        calls = parts_of(columns_of(random), CAS, MEANING)[0].calls
        second = [call for call in calls if call.action == ("read", "1")][1]
        for seconds in (1, 2, 4, 8):
            slices.names.clear()
            race = Race(problem_of(calls, CAS))
            race.runners = [race.runners[which]]
            answer = race.run(Budget.of(seconds=seconds, memory_mb=100, clock=slices))
            assert answer.verdict is not Verdict.VALID
            assert answer.until is not None
            assert (calls[answer.until].end or 0) <= (second.end or 0)

    def test_keys_that_are_decided_are_told(self) -> None:
        """A key that is invalid is told although another is not decided."""
        stale = with_stale_read(simulate(1, Shape(operations=300, keys=1)), 1)
        assert stale is not None
        both = joined([few_values(), renamed(stale, "wrong", 5000)])
        budget = Budget.of(seconds=1e9, memory_mb=1, clock=lambda: 0.0)
        result = check(both, CAS, budget=budget)
        assert result.verdict is Verdict.INVALID
        assert "1 of 3 keys valid, 1 invalid (wrong k0), 1 unknown, the first is k1: memory" in (
            str(result.reason)
        )
        assert result.certificate is not None


def renamed(history: History, prefix: str, processes: int) -> History:
    """Return the history on other keys and by other processes."""
    return History(tuple(
        replace(e, process=int(e.process) + processes, key=f"{prefix} {e.key}")
        for e in history.events
    ))  # fmt: skip


def joined(histories: list[History]) -> History:
    events = in_order(event for history in histories for event in history.events)
    return History(tuple(replace(event, index=n) for n, event in enumerate(events)))


class TestShares:
    """A hard key leaves the others their share, and gets what they leave over."""

    def test_hard_keys_share_and_easy_ones_are_decided(self, slices: Slices) -> None:
        """Two hard keys of 12 slices: half of it each, none of it for the easy keys."""
        easy = simulate(1, Shape(operations=60, keys=3, clients=2))
        hard = few_values()
        both = joined([hard, renamed(hard, "twin", 9000), renamed(easy, "easy", 50_000)])
        result = check(both, CAS, budget=Budget.of(seconds=12, memory_mb=200, clock=slices))
        verdicts = {key.key: key.verdict for key in result.keys}
        unknown = {key for key, verdict in verdicts.items() if verdict is Verdict.UNKNOWN}
        assert unknown == {"k1", "twin k1"}
        assert "5 of 7 keys valid, 2 unknown" in str(result.reason)
        steps = {key.key: key.steps for key in result.keys}
        assert steps["k1"] == steps["twin k1"] > 0
        assert len(slices.names) <= 12

    def test_what_one_leaves_over_the_other_gets(self, slices: Slices) -> None:
        """A queue that is soon decided, then a second turn for the one that is not."""
        model = model_named("cas-register")
        soon = parts_of(columns_of(few_values()), CAS, MEANING)
        lengths = {part.key: len(problem_of(part.calls, CAS).calls) for part in soon}
        result = check(
            few_values(), model, budget=Budget.of(seconds=40, memory_mb=200, clock=slices)
        )
        assert result.verdict is Verdict.VALID
        assert set(slices.problems) == {lengths["k1"]}

    def test_keys_without_memory_are_told(self, slices: Slices) -> None:
        both = joined([few_values(), renamed(few_values(), "twin", 9000)])
        budget = Budget.of(seconds=1e9, memory_mb=1, clock=slices)
        result = check(both, CAS, budget=budget)
        assert "2 of 4 keys valid, 2 unknown, the first is k1: memory" in str(result.reason)

    def test_races_that_wait_do_not_take_the_memory_of_others(self) -> None:
        for budget_mb in (1, 4, 10):
            both = joined([few_values(), renamed(few_values(), "twin", 9000)])
            budget = Budget.of(seconds=1e9, memory_mb=budget_mb, clock=lambda: 0.0)
            assert check(both, CAS, budget=budget).peak_mb <= budget_mb


def test_a_small_history_of_a_hard_model_keeps_its_deadline(slices: Slices) -> None:
    calls = hard_calls("fifo-queue", seed=5, count=60, width=8, broken=True)
    budget = Budget.of(seconds=2, memory_mb=200, clock=slices)
    result = check(history_of(calls), model_named("fifo-queue"), budget=budget)
    assert result.verdict is Verdict.UNKNOWN
    assert len(slices.names) <= 2
    assert str(result.reason).startswith("time ran out (")
