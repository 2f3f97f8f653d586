"""What operations are made of in etcd's language: conversations, played by hand."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from checker.history import EventType
from harness.client import Completion
from harness.systems.etcd_words import (
    CHANGES,
    COMPARE_FAILED,
    OFFERS,
    TRIES_MAX,
    Answer,
    GarbledAnswer,
    Request,
    converse,
)
from workloads.data import DATA
from workloads.generator import Invocation

HEADER = {"header": {"revision": "9"}}
APPLIED = {**HEADER, "succeeded": True, "responses": [{"response_put": {}}]}


def operation(f: str, value: Any = None) -> Invocation:
    return Invocation(f=f, key="k0", value=value, thread=0)


def text(value: Any) -> str:
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


def held(value: Any, revision: int) -> Answer:
    return {"kvs": [{"value": text(value), "mod_revision": str(revision)}], "count": "1"}


def shown(value: Any, revision: int) -> Answer:
    return {**HEADER, **held(value, revision)}


def refused(value: Any, revision: int) -> Answer:
    return {**HEADER, "responses": [{"response_range": held(value, revision)}]}


def play(
    data: str, invocation: Invocation, answers: Sequence[Answer], *, stale: bool = False
) -> tuple[list[Request], Completion]:
    """Answer a conversation to its end; every answer must be used."""
    conversation = converse(data, invocation, stale=stale)
    asked, left = [next(conversation)], list(answers)
    while True:
        try:
            asked.append(conversation.send(left.pop(0)))
        except StopIteration as end:
            assert left == [], "answers that nobody wanted"
            return asked, end.value


def put_value(request: Request) -> Any:
    (put,) = request.body["success"]
    return json.loads(base64.b64decode(put["request_put"]["value"]))


@pytest.mark.parametrize("data", sorted(OFFERS))
def test_every_word_of_an_offered_kind_has_a_conversation(data: str) -> None:
    for f in DATA[data]:
        value = [1, 2] if f == "cas" else 1
        request = next(converse(data, operation(f, value)))
        assert request.path in ("range", "put", "txn")
        assert request.changes == (request.path != "range")
    assert {f for kind, f in CHANGES if kind == data} <= set(DATA[data])


def test_words_that_nobody_knows_are_an_error() -> None:
    with pytest.raises(ValueError, match="no words for 'lock'"):
        converse("lock", operation("acquire"))
    with pytest.raises(ValueError, match="no word 'cas' for 'list'"):
        converse("list", operation("cas", [1, 2]))


def test_a_read_says_what_is_held_and_null_where_there_is_no_key() -> None:
    asked, done = play("register", operation("read"), [shown(7, 3)])
    assert done == Completion(EventType.OK, 7)
    assert "serializable" not in asked[0].body
    _, done = play("register", operation("read"), [HEADER])
    assert done == Completion(EventType.OK, None)


def test_only_reads_may_be_stale_and_never_the_look_before_a_change() -> None:
    asked, _ = play("list", operation("read"), [shown([1], 3)], stale=True)
    assert asked[0].body["serializable"] is True
    asked, _ = play("list", operation("append", 2), [shown([1], 3), APPLIED], stale=True)
    assert "serializable" not in asked[0].body


def test_a_compare_and_set_compares_the_value_or_that_there_is_none() -> None:
    asked, done = play("register", operation("cas", [4, 5]), [APPLIED])
    assert done == Completion(EventType.OK, [4, 5])
    (compare,) = asked[0].body["compare"]
    assert (compare["target"], compare["value"]) == ("VALUE", text(4))
    asked, _ = play("register", operation("cas", [None, 5]), [APPLIED])
    (compare,) = asked[0].body["compare"]
    assert (compare["target"], compare["mod_revision"]) == ("MOD", "0")
    _, done = play("register", operation("cas", [4, 5]), [refused(6, 8)])
    assert done == Completion(EventType.FAIL, [4, 5], COMPARE_FAILED)


@pytest.mark.parametrize(
    ("data", "f", "before", "asked", "after", "answer"),
    [
        ("list", "append", None, 3, [3], 3),
        ("list", "append", [1, 2], 3, [1, 2, 3], 3),
        ("set", "add", [1], 2, [1, 2], 2),
        ("set", "remove", [1, 2, 3], 2, [1, 3], 2),
        ("counter", "add", None, -2, -2, -2),
        ("counter", "add", 5, 2, 7, 2),
        ("queue", "enqueue", [1], 2, [1, 2], 2),
        ("queue", "dequeue", [1, 2], None, [2], 1),
    ],
)
def test_a_change_looks_and_then_swaps(
    data: str, f: str, before: Any, asked: Any, after: Any, answer: Any
) -> None:
    look = HEADER if before is None else shown(before, 6)
    requests, done = play(data, operation(f, asked), [look, APPLIED])
    assert done == Completion(EventType.OK, answer)
    assert [request.path for request in requests] == ["range", "txn"]
    assert put_value(requests[1]) == after
    (compare,) = requests[1].body["compare"]
    assert compare["mod_revision"] == ("0" if before is None else "6")


@pytest.mark.parametrize(
    ("data", "f", "before", "asked", "answer"),
    [
        ("set", "add", [1, 2], 2, 2),
        ("set", "remove", [1], 2, 2),
        ("queue", "dequeue", [], None, None),
        ("queue", "length", [1, 2], None, 2),
    ],
)
def test_what_changes_nothing_is_known_after_one_look(
    data: str, f: str, before: Any, asked: Any, answer: Any
) -> None:
    requests, done = play(data, operation(f, asked), [shown(before, 6)])
    assert done == Completion(EventType.OK, answer)
    assert len(requests) == 1


def test_a_change_that_others_came_before_is_made_of_what_they_left() -> None:
    asked, done = play("list", operation("append", 3), [shown([1], 4), refused([1, 2], 5), APPLIED])
    assert done == Completion(EventType.OK, 3)
    assert put_value(asked[2]) == [1, 2, 3]
    assert asked[2].body["compare"][0]["mod_revision"] == "5"


def test_a_change_is_tried_a_bounded_number_of_times_and_has_then_not_happened() -> None:
    answers = [shown([], 1), *(refused([], 2 + one) for one in range(TRIES_MAX))]
    asked, done = play("list", operation("append", 3), answers)
    assert done == Completion(EventType.FAIL, 3, COMPARE_FAILED)
    assert len(asked) == 1 + TRIES_MAX


@pytest.mark.parametrize(
    ("invocation", "answer"),
    [
        (operation("read"), {}),
        (operation("read"), {"header": {}}),
        (operation("read"), {**HEADER, "kvs": []}),
        (operation("read"), {**HEADER, "count": "1"}),
        (operation("read"), {**HEADER, "kvs": [{"value": "!!", "mod_revision": "1"}]}),
        (operation("read"), {**HEADER, "kvs": [{"value": "e30"}]}),
        (operation("write", 4), {}),
        (operation("write", 4), {"header": {"revision": None}}),
        # A refusal must be seen: what is left out may have been cut off.
        (operation("cas", [4, 5]), HEADER),
        (operation("cas", [4, 5]), {**HEADER, "responses": []}),
        (operation("cas", [4, 5]), {**HEADER, "succeeded": True, "responses": []}),
        (operation("cas", [4, 5]), {**HEADER, "responses": [{"response_put": {}}]}),
        (operation("cas", [4, 5]), {**refused(4, 8), "succeeded": True}),
        (operation("cas", [4, 5]), {**APPLIED, "succeeded": "no"}),
        (operation("cas", [4, 5]), {**APPLIED, "header": {}}),
    ],
)
def test_an_answer_that_is_not_whole_is_not_believed(
    invocation: Invocation, answer: Answer
) -> None:
    with pytest.raises(GarbledAnswer):
        play("register", invocation, [answer])
