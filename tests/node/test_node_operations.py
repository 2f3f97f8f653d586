"""Operations, values and the state machine: what is equal, what is let in, what is refused."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.messages import Entry, Malformed
from node.operations import (
    DEPTH_MAX,
    FAILURES,
    BadRequest,
    Operation,
    answer_from_list,
    operation_from_text,
    parse,
)
from node.state_machine import StateMachine

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def run(state: StateMachine, *operations: Operation) -> list[tuple[str, str]]:
    return [
        state.apply(Entry(state.applied_index + 1, 1, operation.to_text()))
        for operation in operations
    ]


@given(json_values)
def test_a_value_comes_back_as_it_was_written(value: object) -> None:
    operation = parse(body(op="write", key="k", value=value))
    assert operation_from_text(operation.to_text()) == operation
    state = StateMachine()
    run(state, operation)
    assert json.loads(state.get("k")) == value


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, True, False),
        (0, False, False),
        (1, 1.0, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
        (None, None, True),
        ("1", 1, False),
    ],
)
def test_json_equality(one: object, other: object, equal: bool) -> None:
    state = StateMachine()
    write = parse(body(op="write", key="k", value=one))
    cas = parse(body(op="cas", key="k", **{"from": other, "to": 7}))
    _, (error, value) = run(state, write, cas)
    assert (error == "") is equal
    assert value == ("7" if equal else write.value)


def test_a_missing_key_has_the_value_null() -> None:
    state = StateMachine()
    assert state.get("k") == "null"
    assert run(state, parse(body(op="cas", key="k", **{"from": None, "to": 1}))) == [("", "1")]
    assert run(state, parse(body(op="cas", key="k", **{"from": None, "to": 2}))) == [
        ("precondition-failed", "1")
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"1", b"null", b'"x"', b"\xff\xfe", b"{}",
        b'{"op":"delete","key":"k"}', b'{"op":"read"}', b'{"op":"read","key":""}',
        b'{"op":"read","key":1}', b'{"op":["read"],"key":"k"}', b'{"op":"write","key":"k"}',
        b'{"op":"cas","key":"k","from":1}', b'{"op":"cas","key":"k","to":1}',
        b'{"op":"write","key":"k","value":NaN}', b'{"op":"write","key":"k","value":1e999}',
        b'{"op":"write","key":"k","value":-Infinity}',
        b'{"op":"write","key":"k","value":' + b"9" * 5000 + b"}",
        b'{"op":"write","key":"k","value":' + b"[" * 90_000,
        b'{"op":"write","key":"k","value":' + b"[" * 65 + b"]" * 65 + b"}",
        json.dumps({"op": "read", "key": "k" * 257}).encode(),
        json.dumps({"op": "write", "key": "k", "value": "v" * 65_536}).encode(),
    ],
    ids=range(24),
)  # fmt: skip
def test_what_is_not_an_operation_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(raw)


def test_the_largest_things_let_in() -> None:
    deep = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX
    parse(b'{"op":"write","key":"k","value":' + deep + b"}")
    parse(body(op="write", key="k" * 256, value="v" * 65_534))
    parse(b'{"op":"write","key":"\\ud800","value":"\\udfff"}')


@given(st.binary(max_size=60))
def test_any_bytes_are_an_operation_or_a_bad_request(raw: bytes) -> None:
    try:
        parse(raw)
    except BadRequest:
        return


@given(st.text(max_size=40) | json_values.map(json.dumps))
def test_any_entry_can_be_applied(data: str) -> None:
    first, second = StateMachine(), StateMachine()
    assert first.apply(Entry(1, 1, data)) == second.apply(Entry(1, 1, data))
    assert first.state_hash() == second.state_hash()


@pytest.mark.parametrize(
    "parts",
    [
        ["precondition-failed", "nonsense", 1, 1, "n1"],
        ["", "\u00e9", 1, 1, "n1"],
        ["", "1", -5, 1, "n1"],
        ["", "1", 1, True, "n1"],
        ["", "[" * 90_000, 1, 1, "n1"],
    ],
)
def test_an_answer_that_could_not_be_rendered_is_malformed(parts: list[object]) -> None:
    with pytest.raises(Malformed):
        answer_from_list(parts)


@pytest.mark.parametrize("value", ["nonsense", "\u00e9", "", "[" * 90_000])
def test_an_operation_whose_value_is_no_json_is_malformed(value: str) -> None:
    for place in (2, 3):
        parts = ["cas", "k", "1", "2"]
        parts[place] = value
        with pytest.raises(Malformed):
            operation_from_text(json.dumps(parts))


@given(json_values)
def test_any_value_is_an_answer_or_malformed(value: object) -> None:
    try:
        answer_from_list(value)
    except Malformed:
        return


@given(st.integers(0, 1000))
def test_the_state_hash_is_that_of_the_state_however_it_came_about(seed: int) -> None:
    chance = random.Random(seed)
    state = StateMachine()
    for _ in range(30):
        key, value = chance.choice("abc"), str(chance.randrange(4))
        kind = chance.choice(("write", "cas"))
        run(state, Operation(kind, key, value, str(chance.randrange(4))))
    again = StateMachine()
    for key in "cba":
        if state.get(key) != "null":
            run(again, Operation("write", key, state.get(key)))
    assert again.state_hash() == state.state_hash()
    run(again, Operation("write", "a", "99"))
    assert again.state_hash() != state.state_hash()


def test_only_doubt_is_indefinite() -> None:
    assert [code for code, failure in FAILURES.items() if not failure.definite] == [
        "outcome-unknown"
    ]
