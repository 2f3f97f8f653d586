"""The search against its dumb twin, and what must not change its answer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from brute_force import has_order, register_has_order
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_histories import histories_of, register_histories

from checker.budget import Budget
from checker.calls import Calls, calls_of, prefix, without_idle
from checker.history import Event, EventType, History
from checker.linearizable import check
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models import Model, model_named
from checker.reigns import contradiction, reigns
from checker.replay import ReplayError, replay
from checker.search import Found, search
from checker.verdict import Verdict

MEANINGS = [
    Meaning(failed_cas=failed, nil_read=nil)
    for failed, nil in itertools.product(FailedCas, NilRead)
]
BUDGET = Budget.unlimited()
CAS = model_named("cas-register")
meanings = st.sampled_from(MEANINGS)
more = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def calls_in(history: History, model: Model, meaning: Meaning) -> Calls:
    return calls_of(enumerate(history.operations()), model, meaning)


@more
@given(history=register_histories(), meaning=meanings)
def test_it_agrees_with_every_order_of_a_register(history: History, meaning: Meaning) -> None:
    expected = register_has_order(
        history.operations(),
        initial=None,
        failed_cas=meaning.failed_cas,
        nil_read=meaning.nil_read,
    )
    assert check(history, CAS, meaning=meaning).verdict == ("valid" if expected else "invalid")


strings = st.sampled_from(("", "a", "b", "ab", "ba", "aa"))
kv = histories_of({"get": st.none(), "put": strings, "append": strings}, strings)
locks = histories_of({"acquire": st.none(), "release": st.none()}, st.none())
steps = st.lists(
    st.tuples(st.sampled_from(("read", "write")), st.sampled_from("xy"), st.integers(0, 1)),
    min_size=1,
    max_size=2,
)
transactions = histories_of({"txn": steps}, steps)


@pytest.mark.parametrize(
    ("name", "histories"), [("key-value", kv), ("mutex", locks), ("multi-register", transactions)]
)
def test_it_agrees_with_every_order_of_other_models(
    name: str, histories: st.SearchStrategy[History]
) -> None:
    model = model_named(name)
    seen: set[Verdict] = set()

    @settings(max_examples=250, deadline=None, derandomize=True,
              suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
    @given(history=histories, meaning=meanings)
    def agrees(history: History, meaning: Meaning) -> None:
        calls = calls_in(history, model, meaning)
        found = search(calls, model, BUDGET)
        assert (found.verdict is Verdict.VALID) == has_order(calls, model)
        if found.linearization is not None:
            replay(found.linearization, calls, model)
        seen.add(found.verdict)

    agrees()
    assert seen == {Verdict.VALID, Verdict.INVALID}


@more
@given(history=register_histories(), meaning=meanings)
def test_leaving_idle_calls_out_changes_nothing(history: History, meaning: Meaning) -> None:
    calls = calls_in(history, CAS, meaning)
    assert has_order(without_idle(calls, CAS), CAS) == has_order(calls, CAS)


@more
@given(history=register_histories(), meaning=meanings)
def test_what_is_contradicted_has_no_order(history: History, meaning: Meaning) -> None:
    calls = calls_in(history, CAS, meaning)
    parts = ([c for c in calls if not c.optional], [c for c in calls if c.optional])
    assert reigns(*parts, CAS, lambda state: state) is not None
    if contradiction(*parts, CAS, lambda state: state):
        assert not has_order(calls, CAS)


@more
@given(history=register_histories(), meaning=meanings)
def test_what_was_reached_could_be_ordered(history: History, meaning: Meaning) -> None:
    calls = calls_in(history, CAS, meaning)
    found = search(calls, CAS, BUDGET)
    if found.reached is not None:
        assert has_order(prefix(calls, found.reached - 1), CAS)


@more
@given(history=register_histories(), meaning=meanings)
def test_a_prefix_of_what_is_valid_is_valid(history: History, meaning: Meaning) -> None:
    calls = calls_in(history, CAS, meaning)
    answers = [has_order(prefix(calls, place), CAS) for place in range(len(history.events))]
    assert answers == sorted(answers, reverse=True)
    assert answers[-1] == has_order(calls, CAS)


@more
@given(history=register_histories(), meaning=meanings, shift=st.integers(3, 10**20))
def test_names_of_values_and_processes_do_not_matter(
    history: History, meaning: Meaning, shift: int
) -> None:
    def renamed(value: object) -> object:
        if isinstance(value, list):
            return [renamed(item) for item in value]
        return None if value is None else {"v": [value, shift]}

    events = tuple(
        replace(e, value=renamed(e.value), process=int(e.process) * 7 + 1) for e in history.events
    )
    before = check(history, CAS, meaning=meaning).verdict
    assert check(History(events), CAS, meaning=meaning).verdict is before


@more
@given(history=register_histories(), meaning=meanings, data=st.data())
def test_taking_a_constraint_away_never_makes_it_invalid(
    history: History, meaning: Meaning, data: st.DataObject
) -> None:
    calls = calls_in(history, CAS, meaning)
    if not calls or search(calls, CAS, BUDGET).verdict is not Verdict.VALID:
        return
    place = data.draw(st.integers(0, len(calls) - 1))
    call = calls[place]
    wider = data.draw(st.sampled_from(("earlier", "later", "optional")))
    if wider == "earlier":
        changed = replace(call, start=data.draw(st.integers(-1, call.start)))
    elif wider == "later" and call.end is not None:
        changed = replace(call, end=call.end + 100)
    else:
        changed = replace(call, end=None)
    relaxed = tuple(sorted((*calls[:place], changed, *calls[place + 1 :]), key=lambda c: c.start))
    assert search(relaxed, CAS, BUDGET).verdict is Verdict.VALID


@more
@given(history=register_histories(), meaning=meanings, data=st.data())
def test_crashed_operations_and_pure_ones_may_be_struck(
    history: History, meaning: Meaning, data: st.DataObject
) -> None:
    """An operation that never answered, or that changed nothing, can only have been in the way."""
    calls = calls_in(history, CAS, meaning)
    found = search(calls, CAS, BUDGET)
    if found.linearization is None:
        return
    unused = {c.index for c in calls} - {c.index for c in found.linearization}
    idle = [c.index for c in calls if c.index in unused or CAS.is_pure(c.action)]
    if idle:
        struck = data.draw(st.sampled_from(idle))
        rest = tuple(c for c in calls if c.index != struck)
        assert search(rest, CAS, BUDGET).verdict is Verdict.VALID


def test_a_write_that_changes_nothing_is_not_taken_at_once() -> None:
    """The trap of the pure-first rule: the second write of 1 is wanted after the write of 2."""
    history = history_of("0 i write 1", "0 ok write 1", "1 i write 1", "2 i write 2",
                         "2 ok write 2", "3 i read", "3 ok read 1", "1 ok write 1")  # fmt: skip
    assert check(history, CAS).verdict is Verdict.VALID


def test_a_crashed_write_is_wanted_by_a_refused_cas_alone() -> None:
    history = history_of("0 i write 1", "1 i cas 0 5", "1 fail cas 0 5")
    start = model_named("cas-register", 0)
    differs = Meaning(failed_cas=FailedCas.DIFFERS)
    assert check(history, start, meaning=differs).verdict is Verdict.VALID
    alone = History(history.events[1:])
    assert check(alone, start, meaning=differs).verdict is Verdict.INVALID
    assert check(alone, start).verdict is Verdict.VALID


def test_a_chain_of_crashed_cas_is_wanted_by_its_last_value() -> None:
    history = history_of("0 i write 1", "1 i cas 1 2", "2 i cas 2 3", "3 i read", "3 ok read 3")
    result = check(history, CAS)
    assert result.verdict is Verdict.VALID
    assert result.keys[0].linearization == (0, 1, 2, 3)


def test_which_crashed_write_was_spent_makes_a_difference() -> None:
    """Both crashed calls lead from 0 to 2, but only the write does so from 1 too."""
    history = history_of("0 i write 0", "0 ok write 0", "1 i cas 0 2", "2 i write 2",
                         "3 i read", "3 ok read 2", "3 i write 1", "3 ok write 1",
                         "3 i read", "3 ok read 2")  # fmt: skip
    result = check(history, CAS)
    assert result.verdict is Verdict.VALID
    assert result.keys[0].linearization == (0, 2, 4, 6, 3, 8)


def test_a_spent_crashed_write_may_be_missed_later() -> None:
    """Having spent fewer crashed calls is better, never worse, also where it is tried second."""
    history = history_of("0 i write 0", "0 ok write 0", "1 i cas 7 1", "2 i write 2",
                         "3 i write 1", "4 i read", "4 ok read 2", "4 i read",
                         "4 ok read 1")  # fmt: skip
    result = check(history, CAS)
    assert result.verdict is Verdict.VALID
    assert result.keys[0].linearization == (0, 3, 5, 4, 7)


def test_a_nil_read_means_what_it_is_said_to_mean() -> None:
    history = history_of("0 i write 1", "0 ok write 1", "0 i read", "0 ok read")
    assert check(history, CAS).verdict is Verdict.INVALID
    assert check(history, CAS, meaning=Meaning(nil_read=NilRead.UNKNOWN)).verdict is Verdict.VALID
    assert check(replace(history, format="edn"), CAS).verdict is Verdict.VALID


def test_true_is_not_one() -> None:
    written = history_of("0 i write 1", "0 ok write 1", "0 i read", "0 ok read 1")
    events = (*written.events[:3], replace(written.events[3], value=True))
    assert check(History(events), CAS).verdict is Verdict.INVALID
    events = (*written.events[:3], replace(written.events[3], value=1.0))
    assert check(History(events), CAS).verdict is Verdict.VALID


def history_of(*lines: str) -> History:
    """Read ``PROCESS i|ok|fail|info F [VALUE...]``, one event each."""
    events = []
    for index, line in enumerate(lines):
        process, kind, f, *values = line.split()
        numbers = [int(value) for value in values]
        value = numbers if f == "cas" else numbers[0] if numbers else None
        named = EventType("invoke" if kind == "i" else kind)
        events.append(Event(index=index, process=int(process), type=named, f=f, value=value))
    return History(tuple(events))


class TestReplay:
    """What is answered `valid` was replayed; a wrong order is found out."""

    history = history_of("0 i write 1", "0 ok write 1", "1 i read", "1 ok read 1", "2 i write 2")
    calls = calls_of(enumerate(history.operations()), CAS, Meaning())

    def test_an_order_that_is_right(self) -> None:
        write, read, crashed = self.calls
        assert replay((write, read), self.calls, CAS) == "1"
        assert replay((write, read, crashed), self.calls, CAS) == "2"

    @pytest.mark.parametrize(
        ("order", "why"),
        [
            ((2, 0, 1), "ended before"),
            ((1, 0), "would need the value 1, but it is null"),
            ((0,), "are not ordered"),
            ((0, 0, 1), "twice"),
            ((0, 2, 1), "ended before"),
        ],
    )
    def test_an_order_that_is_wrong(self, order: tuple[int, ...], why: str) -> None:
        with pytest.raises(ReplayError, match=why):
            replay([self.calls[place] for place in order], self.calls, CAS)

    def test_a_step_that_the_model_refuses(self) -> None:
        write, read, _ = self.calls
        lying = replace(read, action=("read", "7"))
        with pytest.raises(ReplayError, match="would need the value 7, but it is 1"):
            replay((write, lying), (write, lying), CAS)

    def test_a_call_from_elsewhere(self) -> None:
        other = replace(self.calls[0], index=9)
        with pytest.raises(ReplayError, match="not one of those"):
            replay((other,), self.calls, CAS)

    def test_a_search_that_errs_gives_no_valid(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def erring(calls: Calls, model: Model, budget: Budget, **_: Any) -> Found:
            return Found(verdict=Verdict.VALID, linearization=tuple(reversed(calls)))

        monkeypatch.setattr("checker.linearizable.are_kernels_loaded", lambda: False)
        monkeypatch.setattr("checker.linearizable.search", erring)
        with pytest.raises(ReplayError, match="ended before"):
            check(self.history, CAS)
