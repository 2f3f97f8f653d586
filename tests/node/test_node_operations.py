"""Operations, values and answers as text: what is equal, what is let in, what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.command import Command, command_from_text, stamped
from node.core.messages import Malformed
from node.json_text import HELD_BYTES_MAX
from node.operations import (
    DEPTH_MAX,
    FAILURES,
    SHAPES,
    STEPS_MAX,
    TICK,
    TTL_MS_MAX,
    BadRequest,
    Operation,
    Session,
    Step,
    answer_from_list,
    operation_from_text,
    parse,
)

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
keys = st.text(min_size=1, max_size=8)
naturals = st.integers(1, 2**40)
SESSION = {"id": 7, "seq": 3, "ack": 2}
EXAMPLES: dict[str, object] = {
    "key": "k", "value": [1, "x"], "from": None, "to": 2, "owner": "me", "by": -4, "ttl_ms": 1000,
    "id": 9, "session": SESSION, "mode": "stale", "ops": [["read", "a"], ["compare", "b", 1]],
}  # fmt: skip
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "key": keys,
    "value": json_values,
    "from": json_values,
    "to": json_values,
    "owner": keys,
    "by": st.integers(-(2**63) + 1, 2**63 - 1),
    "ttl_ms": st.integers(1, TTL_MS_MAX),
    "id": naturals,
    "session": st.fixed_dictionaries({"id": naturals, "seq": naturals, "ack": st.integers(0, 9)}),
    "ops": st.lists(
        st.tuples(st.sampled_from(("read", "delete")), keys)
        | st.tuples(st.sampled_from(("write", "append", "compare")), keys, json_values),
        min_size=1,
        max_size=4,
    ),
}
PUBLIC = [op for op, shape in SHAPES.items() if not shape.internal]


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, object]:
    """A valid body of any operation, with any of its optional fields but the mode."""
    op = draw(st.sampled_from(PUBLIC))
    names = list(SHAPES[op].fields)
    names += [name for name in SHAPES[op].optional if name != "mode" and draw(st.booleans())]
    return {"op": op} | {name: draw(FIELDS[name]) for name in names}


@given(bodies(), st.integers(0, 2**62))
def test_every_valid_body_survives_the_log(document: dict[str, object], time_ms: int) -> None:
    operation = parse(body(**document))
    assert operation_from_text(operation.to_text()) == operation
    command = Command(time_ms, operation)
    assert command_from_text(command.to_text()) == command
    assert stamped(time_ms, operation.to_text()) == command.to_text()


@given(json_values)
def test_a_value_comes_back_as_it_was_written(value: object) -> None:
    operation = parse(body(op="write", key="k", value=value))
    assert json.loads(operation.value) == value
    assert parse(body(op="write", key="k", value=json.loads(operation.value))) == operation


@pytest.mark.parametrize("op", PUBLIC)
def test_each_field_of_each_operation_is_needed_or_optional_and_is_checked(op: str) -> None:
    """Against the table: leaving one out, and giving one of the wrong kind."""
    shape = SHAPES[op]
    whole = {"op": op} | {name: EXAMPLES[name] for name in shape.fields}
    parse(body(**whole))
    for name in shape.fields:
        with pytest.raises(BadRequest, match=name):
            parse(body(**{other: value for other, value in whole.items() if other != name}))
    for name in shape.optional:
        assert parse(body(**whole, **{name: None})) == parse(body(**whole))
        parse(body(**whole, **{name: EXAMPLES[name]}))
    for name in (*shape.fields, *shape.optional):
        if name not in ("value", "from", "to"):
            with pytest.raises(BadRequest, match=name):
                parse(body(**{**whole, name: {"not": "this"}}))


def test_a_tick_is_not_for_clients_and_goes_through_the_log() -> None:
    with pytest.raises(BadRequest, match="op must be one of"):
        parse(b'{"op":"tick"}')
    assert command_from_text(Command(5, TICK).to_text()) == (5, TICK)


def test_what_may_be_answered_without_a_log_entry() -> None:
    reads = [op for op in PUBLIC if op != "txn" and SHAPES[op].reads]
    assert reads == ["read", "set_members", "queue_length", "lock_holder"]
    looking = [["read", "a"], ["compare", "a", 1]]
    assert parse(body(op="txn", ops=looking)).reads_only
    assert parse(body(op="txn", ops=looking, mode="lease")).mode == "lease"
    assert not parse(body(op="txn", ops=looking, session=SESSION)).reads_only
    for step in (["write", "a", 1], ["append", "a", 1], ["delete", "a"]):
        assert not parse(body(op="txn", ops=[*looking, step])).reads_only
        with pytest.raises(BadRequest, match="mode"):
            parse(body(op="txn", ops=[step], mode="stale"))


def test_the_mode_is_not_logged() -> None:
    stale = parse(body(op="read", key="k", mode="stale"))
    assert stale.mode == "stale"
    assert operation_from_text(stale.to_text()).mode == "linear"


def test_the_log_form_is_short_where_it_matters() -> None:
    assert Operation("write", "k", '"v"').to_text() == '["write","k","\\"v\\""]'
    once = Operation("append", "k", "1", session=Session(7, 3, 2))
    assert once.to_text() == '["append","k","1","null",[7,3,2]]'
    step = Operation("txn", ops=(Step("write", "k", "1"),))
    assert step.to_text() == '["txn","","null","null",null,0,0,0,[["write","k","1"]]]'


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"1", b"null", b'"x"', b"\xff\xfe", b"{}",
        b'{"op":"remove","key":"k"}', b'{"op":"read"}', b'{"op":"read","key":""}',
        b'{"op":"read","key":1}', b'{"op":["read"],"key":"k"}', b'{"op":"write","key":"k"}',
        b'{"op":"cas","key":"k","from":1}', b'{"op":"cas","key":"k","to":1}',
        b'{"op":"write","key":"k","value":NaN}', b'{"op":"write","key":"k","value":1e999}',
        b'{"op":"write","key":"k","value":-Infinity}',
        b'{"op":"write","key":"k","value":' + b"9" * 5000 + b"}",
        b'{"op":"write","key":"k","value":' + b"[" * 90_000,
        b'{"op":"write","key":"k","value":' + b"[" * 65 + b"]" * 65 + b"}",
        json.dumps({"op": "read", "key": "k" * 257}).encode(),
        json.dumps({"op": "write", "key": "k", "value": "v" * 65_536}).encode(),
        body(op="write", key="k", value=1, ttl_ms=0), body(op="write", key="k", value=1, ttl_ms=1.0),
        body(op="write", key="k", value=1, ttl_ms=True),
        body(op="write", key="k", value=1, ttl_ms=TTL_MS_MAX + 1),
        body(op="increment", key="k", by=2**63), body(op="increment", key="k", by=True),
        body(op="increment", key="k", by="1"), body(op="lock_acquire", key="k", owner=""),
        body(op="lock_acquire", key="k", owner=5), body(op="read", key="k", mode="fast"),
        body(op="write", key="k", value=1, session=7),
        body(op="write", key="k", value=1, session={"id": 0, "seq": 1, "ack": 0}),
        body(op="write", key="k", value=1, session={"id": 1, "seq": 0, "ack": 0}),
        body(op="write", key="k", value=1, session={"id": 1, "seq": 1}),
        body(op="write", key="k", value=1, session={"id": 1, "seq": 1, "ack": -1}),
        body(op="close_session", id=-1), body(op="keep_alive"), body(op="txn", ops=[]),
        body(op="txn", ops={}), body(op="txn", ops=["read"]), body(op="txn", ops=[[]]),
        body(op="txn", ops=[["read"]]), body(op="txn", ops=[["read", "k", 1]]),
        body(op="txn", ops=[["write", "k"]]), body(op="txn", ops=[["cas", "k", 1]]),
        body(op="txn", ops=[["read", ""]]), body(op="txn", ops=[[["read"], "k"]]),
        body(op="txn", ops=[["read", "k"]] * (STEPS_MAX + 1)),
    ],
)  # fmt: skip
def test_what_is_not_an_operation_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(raw)


def test_the_largest_things_let_in() -> None:
    deep = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX
    nested = parse(b'{"op":"write","key":"k","value":' + deep + b"}")
    assert operation_from_text(nested.to_text()) == nested
    large = parse(body(op="write", key="k" * 256, value="v" * 65_534))
    assert operation_from_text(large.to_text()) == large
    surrogates = parse(b'{"op":"write","key":"\\ud800","value":"\\udfff"}')
    assert operation_from_text(surrogates.to_text()) == surrogates
    steps = parse(body(op="txn", ops=[["read", "k"]] * STEPS_MAX))
    assert operation_from_text(steps.to_text()) == steps


@given(st.binary(max_size=60) | bodies().map(lambda document: body(**document)[:-3]))
def test_any_bytes_are_an_operation_or_a_bad_request(raw: bytes) -> None:
    try:
        parse(raw)
    except BadRequest:
        return


@given(bodies(), st.data())
def test_any_damage_to_a_body_is_an_operation_or_a_bad_request(
    document: dict[str, object], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(document)))
    document[name] = data.draw(json_values)
    try:
        operation = parse(body(**document))
    except BadRequest:
        return
    assert operation_from_text(operation.to_text())[:-1] == operation[:-1]


@given(bodies(), st.data())
def test_any_damage_to_a_logged_operation_is_an_operation_or_malformed(
    document: dict[str, object], data: st.DataObject
) -> None:
    parts = json.loads(parse(body(**document)).to_text())
    place = data.draw(st.integers(0, len(parts) - 1))
    parts[place] = data.draw(json_values | st.text(max_size=4).map(json.dumps))
    try:
        operation = operation_from_text(json.dumps(parts, separators=(",", ":")))
    except Malformed:
        return
    assert operation_from_text(operation.to_text()) == operation


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", "[[]]", '["read"]', '["read",""]', '["tock"]', '["tick","k"]',
        '["read","k"] ', ' ["read","k"]', '["read","k"][]', '["txn"]', '["txn","","null"]',
        '["txn","","null","null",null,0,0,0,[]]', '["keep_alive"]', '["write","k","1","1",[1,2]]',
        '["write","k","1","1",[1,2,true]]', '["open_session","","null","null",[1,2,3]]',
        '["read","k","null","null",[1,2,3]]', '["write","k","1","1",null,-1]',
        '["increment","k","null","null",null,0,9223372036854775808]',
        '["lock_acquire","k","5"]', '["lock_acquire","k","\\"\\""]', '["lock_release","k"]',
        '["write","k","1","1",null,0,0,0,[],1]', "[" * 90_000,
    ],
)  # fmt: skip
def test_what_is_not_a_logged_operation_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        operation_from_text(text)
    with pytest.raises(Malformed):
        command_from_text(f"[5,{text[1:]}" if text else "")


@pytest.mark.parametrize("text", ['["tick"]', '[-1,"tick"]', '[1.0,"tick"]', '[true,"tick"]', "[]"])
def test_a_command_has_a_time(text: str) -> None:
    with pytest.raises(Malformed):
        command_from_text(text)


@pytest.mark.parametrize(
    "value",
    [
        "nonsense", "\u00e9", "", "[" * 90_000, "[" * 65 + "]" * 65, "1 ", " 1", "NaN", "1e999",
        "[1e999]", '"' + "x" * 65_535 + '"', "1,2",
    ],
)  # fmt: skip
def test_an_operation_whose_value_is_no_json_is_malformed(value: str) -> None:
    for place in (2, 3):
        parts = ["cas", "k", "1", "2"]
        parts[place] = value
        with pytest.raises(Malformed):
            operation_from_text(json.dumps(parts))
    step = ["txn", "", "null", "null", None, 0, 0, 0, [["write", "k", value]]]
    with pytest.raises(Malformed):
        operation_from_text(json.dumps(step))


def test_nesting_is_counted_and_not_left_to_the_stack() -> None:
    """All nodes must agree on a log entry, however deep the stack of the one that reads it is."""
    texts = ["[" * DEPTH_MAX + "]" * DEPTH_MAX, "[" * 65 + "]" * 65, "[" * 800 + "]" * 800]

    def verdicts(depth: int) -> list[bool]:
        if depth:
            return verdicts(depth - 1)
        found = []
        for text in texts:
            try:
                operation_from_text(json.dumps(["write", "k", text], separators=(",", ":")))
                found.append(True)
            except Malformed:
                found.append(False)
        return found

    assert verdicts(0) == verdicts(500) == [True, False, False]


@pytest.mark.parametrize(
    "parts",
    [
        ["precondition-failed", "nonsense", 1, 1, "n1"],
        ["", "\u00e9", 1, 1, "n1"],
        ["", "1", -5, 1, "n1"],
        ["", "1", 1, True, "n1"],
        ["", "1", 1, 1, None],
        ["no-such-code", "1", 1, 1, "n1"],
        ["", "[" * 90_000, 1, 1, "n1"],
        ["", '"' + "x" * HELD_BYTES_MAX + '"', 1, 1, "n1"],
    ],
)
def test_an_answer_that_could_not_be_rendered_is_malformed(parts: list[object]) -> None:
    with pytest.raises(Malformed):
        answer_from_list(parts)


@given(json_values)
def test_any_value_is_an_answer_or_malformed(value: object) -> None:
    try:
        answer_from_list(value)
    except Malformed:
        return


def test_the_table_of_failures_keeps_what_it_promises() -> None:
    """What is in doubt, which answers carry a value, and the HTTP statuses that are published."""
    assert {code for code, failure in FAILURES.items() if not failure.definite} == {
        "outcome-unknown", "session-stale", "session-expired",
    }  # fmt: skip
    assert {code for code, failure in FAILURES.items() if failure.has_value} == {
        "precondition-failed", "held",
    }  # fmt: skip
    statuses: dict[int, set[str]] = {}
    for code, failure in FAILURES.items():
        statuses.setdefault(failure.http_status, set()).add(code)
    assert statuses == {
        400: {"bad-request"},
        403: {"not-authorised"},
        404: {"not-found", "unknown-member"},
        409: {
            "wrong-type", "out-of-range", "empty", "held", "not-held", "session-full",
            "session-stale", "session-expired", "change-in-progress",
        },
        412: {"precondition-failed"},
        413: {"too-large"},
        503: {
            "no-leader", "not-leader", "transferring", "overloaded", "shutting-down",
            "not-committed",
        },
        504: {"outcome-unknown"},
    }  # fmt: skip
