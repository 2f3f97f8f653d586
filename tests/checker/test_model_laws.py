"""What every model promises, tried on every model: the list of models decides which.

A new model needs a twin in `model_histories`, then all of this holds it to its word.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial

import pytest
from brute_force import has_order
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_histories import (
    INFO,
    STARTS,
    TWINS,
    histories,
    operations,
    subsets,
    twin_has_order,
)

from checker.budget import Budget
from checker.calls import Call, Calls, calls_of
from checker.history import History, Operation
from checker.linearizable import check
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models import DEFAULT, MODELS, Coarse, Elementwise, Model, model_named
from checker.models.model import Action, Excluding, State
from checker.search import search
from checker.verdict import Verdict

BUDGET = Budget.unlimited()
MEANINGS = [Meaning(failed_cas=f, nil_read=n) for f in FailedCas for n in NilRead]
meanings = st.sampled_from(MEANINGS)
every_model = pytest.mark.parametrize("name", MODELS)
some = partial(
    settings,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def built(name: str) -> Model:
    return model_named(name, STARTS.get(name, DEFAULT))


def models_with(protocol: type) -> list[str]:
    return [name for name in MODELS if isinstance(built(name), protocol)]


@cache
def pool(name: str) -> list[Action]:
    """Distinct actions: what the model makes of any operations under any meaning."""
    model = built(name)
    found: set[Action] = set()

    @some(max_examples=150, derandomize=True, database=None)
    @given(operation=operations(name), meaning=meanings)
    def gather(operation: Operation, meaning: Meaning) -> None:
        action = model.action(operation, meaning)
        if action is not None:
            found.add(action)

    gather()
    return sorted(found, key=repr)


def actions(name: str) -> st.SearchStrategy[Action]:
    return st.sampled_from(pool(name))


def walk(model: Model, state: State, steps: Iterable[Action]) -> State:
    """Do the actions that are allowed, leave out the others."""
    for action in steps:
        after = model.step(state, action)
        state = state if after is None else after
    return state


def allows(model: Model, state: State | None, steps: Iterable[Action]) -> bool:
    for action in steps:
        state = model.step(state, action)
        if state is None:
            return False
    return True


def calls_in(history: History, model: Model, meaning: Meaning) -> Calls:
    return calls_of(enumerate(history.operations()), model, meaning)


def test_every_model_has_a_twin_and_nobody_else_has() -> None:
    assert set(TWINS) == set(MODELS)


@every_model
@some(max_examples=40)
@given(data=st.data())
def test_what_a_twin_did_is_linearizable(name: str, data: st.DataObject) -> None:
    history = data.draw(histories(name, honest=True))
    assert twin_has_order(history, name, Meaning())
    assert check(history, built(name)).verdict is Verdict.VALID


@every_model
def test_verdicts_are_those_of_the_twin_and_of_every_order(name: str) -> None:
    model = built(name)
    seen: set[bool] = set()

    @some(max_examples=100, derandomize=True)
    @given(history=histories(name), meaning=meanings)
    def agrees(history: History, meaning: Meaning) -> None:
        expected = twin_has_order(history, name, meaning)
        seen.add(expected)
        calls = calls_in(history, model, meaning)
        assert has_order(calls, model) == expected
        assert (search(calls, model, BUDGET).verdict is Verdict.VALID) == expected

    agrees()
    assert seen == {True, False}


@every_model
def test_what_a_model_says_of_one_action(name: str) -> None:
    """`step` is a function of hashable things; `is_pure`, `needs` and `gives` are true."""
    model, any_action = built(name), actions(name)

    @some(max_examples=100)
    @given(before=st.lists(any_action, max_size=6), action=any_action)
    def holds(before: list[Action], action: Action) -> None:
        state = walk(model, model.initial, before)
        after = model.step(state, action)
        assert after == model.step(state, action)
        assert len({state, after, action}) <= 3
        excluded = model.excludes(action) if isinstance(model, Excluding) else None
        if excluded is not None:
            assert model.is_pure(action)
            assert (after is None) == (state == excluded)
        assert model.describe(action)
        assert model.describe_state(state)
        needed, given_state = model.needs(action), model.gives(action)
        if after is None:
            assert needed != state
            assert needed is not None or given_state is None, "what is allowed in all states is"
            assert model.refusal(state, action).startswith(("would need", "was refused"))
            return
        assert needed is None or needed == state
        assert given_state is None or given_state == after
        assert not model.is_pure(action) or after == state

    holds()


def alike(model: Model, one: State, other: State, kept: frozenset[Action], depth: int) -> bool:
    """Whether the same sequences of kept actions, up to a length, are allowed in both states."""
    if depth == 0 or one == other:
        return True
    for action in kept:
        after, otherwise = model.step(one, action), model.step(other, action)
        if (after is None) != (otherwise is None):
            return False
        if (
            after is not None
            and otherwise is not None
            and not alike(model, after, otherwise, kept, depth - 1)
        ):
            return False
    return True


@every_model
def test_merged_states_cannot_be_told_apart(name: str) -> None:
    """A state and what it is merged to allow the same from then on, also merged at every step."""
    model, any_action = built(name), actions(name)

    @some(max_examples=150)
    @given(known=st.frozensets(any_action, min_size=1, max_size=4), data=st.data())
    def holds(known: frozenset[Action], data: st.DataObject) -> None:
        merge = model.merged(known)
        steps = st.lists(any_action | st.sampled_from(sorted(known, key=repr)), max_size=6)
        state = walk(model, model.initial, data.draw(steps))
        merged = merge(state)
        assert merge(merged) == merged
        assert alike(model, state, merged, known, 4)
        for action in known:
            after, otherwise = model.step(state, action), model.step(merged, action)
            if after is not None and otherwise is not None:
                assert merge(after) == merge(otherwise)

    holds()


# --- Coarse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models_with(Coarse))
def test_every_state_is_like_one_of_the_universe(name: str) -> None:
    model, any_action = built(name), actions(name)
    assert isinstance(model, Coarse)
    led: set[bool] = set()

    @some(max_examples=300, derandomize=True)
    @given(
        before=st.lists(any_action, max_size=5),
        kept=st.frozensets(any_action, max_size=3),
        action=any_action,
    )
    def holds(before: list[Action], kept: frozenset[Action], action: Action) -> None:
        universe = model.universe(kept)
        state = walk(model, model.initial, before)
        assert any(alike(model, state, like, kept, 4) for like in universe)
        after = model.step(state, action)
        leads = model.leads_elsewhere(action, kept)
        led.add(leads)
        if leads and after is not None:
            assert alike(model, after, universe[-1], kept, 4)

    holds()
    assert len(led) == 2 or name == "mutex"


def relaxed_has_order(calls: Calls, model: Model, starts: Iterable[State], wild: State) -> bool:
    """Every order of the calls, from any start, going elsewhere whenever one likes."""

    def extend(state: State, left: list[Call]) -> bool:
        if all(call.optional for call in left):
            return True
        for call in left:
            if any(other.end is not None and other.end < call.start for other in left):
                continue
            rest = [other for other in left if other != call]
            for now in (state, wild):
                after = model.step(now, call.action)
                if after is not None and extend(after, rest):
                    return True
        return False

    return any(extend(start, list(calls)) for start in starts)


def without_elsewhere(calls: Calls, struck: set[int], model: Coarse) -> Calls:
    """Return the calls without as many of those struck as lead where the others see elsewhere."""
    while True:
        core = tuple(call for call in calls if call.index not in struck)
        kept = frozenset(call.action for call in core)
        gone = {call.index: call.action for call in calls if call.index in struck}
        stay = {index for index, a in gone.items() if not model.leads_elsewhere(a, kept)}
        if not stay:
            return core
        struck = struck - stay


def relaxations(calls: Calls, model: Coarse, position: int | None) -> Iterable[tuple[Calls, bool]]:
    """Forget the past before a position, if any, strike up to two calls or as many as one can.

    What was open when the past ended may have happened in it. Also returns whether calls that
    lead elsewhere were struck.
    """
    assert isinstance(model, Model)
    later = tuple(
        replace(call, end=None) if position is not None and call.start < position else call
        for call in calls
        if position is None
        or ((call.end is None or call.end >= position)
            and (call.start >= position or not model.is_pure(call.action)))
    )  # fmt: skip
    indexes = [call.index for call in later]
    for struck in ([], [(n,) for n in indexes], itertools.combinations(indexes, 2), [indexes]):
        for some_of_them in struck or [()]:
            core = without_elsewhere(later, set(some_of_them), model)
            yield core, len(core) < len(later)


@pytest.mark.parametrize("name", models_with(Coarse))
def test_a_relaxed_core_without_order_refutes_the_whole(name: str) -> None:
    """What had an order has one, whatever past is forgotten and whichever calls are struck."""
    model = built(name)
    assert isinstance(model, Coarse)
    refuted: set[tuple[bool, bool]] = set()

    @some(max_examples=120, derandomize=True)
    @given(history=histories(name), meaning=meanings)
    def holds(history: History, meaning: Meaning) -> None:
        calls = calls_in(history, model, meaning)
        whole = has_order(calls, model)
        for position in (None, *range(1, 7)):
            for core, struck in relaxations(calls, model, position):
                universe = model.universe(frozenset(call.action for call in core))
                starts = [model.initial] if position is None else universe
                ordered = relaxed_has_order(core, model, starts, universe[-1])
                assert ordered or not whole
                if not ordered:
                    refuted.add((position is None, struck))

    holds()
    # Not in vain: without and with a forgotten past, and having struck something.
    assert {(True, name != "mutex"), (False, False)} <= refuted


# --- Elementwise ------------------------------------------------------------------------------


def is_unknown(action: Action) -> bool:
    return str(action[0]).endswith("-unknown")


@pytest.mark.parametrize("name", models_with(Elementwise))
def test_a_legal_sequence_projected_is_legal(name: str) -> None:
    model = built(name)
    assert isinstance(model, Elementwise)

    @some(max_examples=120)
    @given(sequence=st.lists(actions(name), max_size=10))
    def holds(sequence: list[Action]) -> None:
        state, legal = model.initial, []
        for action in sequence:
            after = model.step(state, action)
            if after is not None:
                state = after
                legal.append(action)
        everything = frozenset[str]().union(*map(model.elements, legal))
        for part in subsets(everything):
            states = {model.initial}
            for action in legal:
                projected = model.project(action, part)
                if projected is None:
                    assert not model.elements(action) & part
                    continue
                assert model.elements(projected) <= part
                afters = {model.step(state, projected) for state in states} - {None}
                # What took out nobody knows what may be left out: its operation crashed.
                states = afters | states if is_unknown(projected) else afters
                assert states, (part, projected)

    holds()


@pytest.mark.parametrize("name", models_with(Elementwise))
def test_a_projection_without_order_refutes_the_whole(name: str) -> None:
    model = built(name)
    assert isinstance(model, Elementwise)
    refuted = False

    @some(max_examples=100, derandomize=True)
    @given(history=histories(name), meaning=meanings)
    def holds(history: History, meaning: Meaning) -> None:
        nonlocal refuted
        calls = calls_in(history, model, meaning)
        whole = has_order(calls, model)
        everything = frozenset[str]().union(*(model.elements(call.action) for call in calls))
        for part in subsets(everything):
            projected = [(call, model.project(call.action, part)) for call in calls]
            core = tuple(replace(call, action=a) for call, a in projected if a is not None)
            ordered = has_order(core, model)
            assert ordered or not whole
            assert not whole or search(core, model, BUDGET).verdict is Verdict.VALID
            refuted |= not ordered and part != everything
        assert has_order(calls, model) == whole

    holds()
    assert refuted


@pytest.mark.parametrize("name", models_with(Elementwise))
def test_only_crashed_operations_took_out_nobody_knows_what(name: str) -> None:
    @given(operation=operations(name), meaning=meanings)
    def holds(operation: Operation, meaning: Meaning) -> None:
        action = built(name).action(operation, meaning)
        if action is not None and is_unknown(action):
            assert operation.type is INFO
            assert operation.end is None

    holds()
