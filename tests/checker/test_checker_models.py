"""The models: what they allow, what they say, what they refuse to start with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker import (
    MODELS,
    Event,
    EventType,
    History,
    HistoryError,
    Meaning,
    ModelError,
    NilRead,
    check,
    model_named,
)
from checker.models.model import Action
from checker.values import canonical

VALUES = st.sampled_from(('"a"', "1", "null", "true"))
STRINGS = st.sampled_from(("", "a", "ab", "b"))
STEPS = st.tuples(st.sampled_from(("read", "write")), st.sampled_from(('"x"', '"y"')), VALUES)
ACTIONS: dict[str, st.SearchStrategy[Action]] = {
    "register": st.tuples(st.sampled_from(("read", "write")), VALUES),
    "cas-register": st.tuples(st.just("cas"), VALUES, VALUES)
    | st.tuples(st.sampled_from(("read", "write", "refused")), VALUES),
    "key-value": st.tuples(st.sampled_from(("get", "put", "append")), STRINGS),
    "multi-register": st.lists(STEPS, min_size=1, max_size=3).map(tuple),
    "mutex": st.sampled_from((("acquire",), ("release",))),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_says_of_its_actions_is_true(name: str) -> None:
    """`needs`, `gives`, `is_pure` and `merged` against `step`, in states that can be reached."""
    model = model_named(name)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(ACTIONS[name], max_size=6), ACTIONS[name], st.lists(ACTIONS[name], max_size=4))
    def holds(before: list[Action], action: Action, following: list[Action]) -> None:
        state = model.initial
        for earlier in before:
            after = model.step(state, earlier)
            state = state if after is None else after
        after = model.step(state, action)
        needed, given_state = model.needs(action), model.gives(action)
        if after is None:
            assert needed != state
            assert model.refusal(state, action).startswith(("would need", "was refused"))
        else:
            assert needed is None or needed == state
            assert given_state is None or given_state == after
            assert not model.is_pure(action) or after == state
        # Merging changes nothing that the actions can see.
        merge = model.merged([action, *following])
        merged = merge(state)
        real = state
        for later in (action, *following):
            one, other = model.step(real, later), model.step(merged, later)
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                real, merged = one, merge(other)
        assert model.describe(action)
        assert model.describe_state(state)

    holds()


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no model is called 'stack'; there are register, cas-"):
        model_named("stack")
    assert model_named("kv-append") == model_named("key-value")


@pytest.mark.parametrize(
    ("name", "initial"), [("mutex", "open"), ("mutex", []), ("key-value", 1), ("multi-register", 0)]
)
def test_impossible_initial_values(name: str, initial: Any) -> None:
    with pytest.raises(ModelError, match="expected"):
        model_named(name, initial)


def test_initial_values() -> None:
    assert model_named("register").initial == model_named("register", None).initial == "null"
    assert model_named("cas-register", {"b": 1, "a": 2.0}).initial == '{"a":2,"b":1}'
    assert model_named("mutex", "held").initial == "held"
    assert model_named("key-value", "x").initial == "x"
    assert model_named("multi-register", {"y": 0, "x": None}).initial == (
        ('"x"', "null"), ('"y"', "0"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "f", "value", "answer", "why"),
    [
        ("register", "cas", [1, 2], [1, 2], "functions read, write"),
        ("cas-register", "cas", 1, 1, r"expected \[from, to\]"),
        ("cas-register", "append", 1, 1, "functions read, write, cas"),
        ("key-value", "put", 1, 1, "expected a string"),
        ("key-value", "get", None, 1, "an answer that is a string"),
        ("mutex", "lock", None, None, "functions acquire, release"),
        ("multi-register", "txn", 1, 1, "a list of"),
        ("multi-register", "txn", [["read", "x"]], [["read", "x"]], "steps like"),
        ("multi-register", "txn", [[[], "x", 1]], [[[], "x", 1]], "steps like"),
    ],
)
def test_operations_that_a_model_does_not_know(
    model: str, f: str, value: Any, answer: Any, why: str
) -> None:
    invoked = Event(index=7, process=0, type=EventType.INVOKE, f=f, value=value)
    answered = Event(index=8, process=0, type=EventType.OK, f=f, value=answer)
    with pytest.raises(HistoryError, match=f"<memory>: model {model}: event 7: {f}.*{why}"):
        check(History((invoked, answered)), model_named(model))


def test_a_get_of_nothing_is_the_empty_string_or_says_nothing() -> None:
    model = model_named("key-value")
    put = [Event(index=i, process=0, type=kind, f="put", value="a")
           for i, kind in enumerate((EventType.INVOKE, EventType.OK))]  # fmt: skip
    get = [Event(index=i, process=1, type=kind, f="get")
           for i, kind in enumerate((EventType.INVOKE, EventType.OK), start=2)]  # fmt: skip
    assert check(History(tuple(get)), model).verdict == "valid"
    assert check(History((*put, *get)), model).verdict == "invalid"
    unknown = Meaning(nil_read=NilRead.UNKNOWN)
    assert check(History((*put, *get)), model, meaning=unknown).verdict == "valid"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, True, False),
        (0, False, False),
        (1, 1.0, True),
        ("1", 1, False),
        (None, "null", False),
        ([1, [True]], [1, [1]], False),
        ([1, 2.0], (1, 2), True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (1e20, 10**20, True),
    ],
)
def test_values_are_equal_as_json_says(one: Any, other: Any, same: bool) -> None:
    assert (canonical(one) == canonical(other)) is same
