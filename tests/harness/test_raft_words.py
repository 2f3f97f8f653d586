"""The words of our node: what is asked for each function, and what its answers are taken to mean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.systems import KINDS
from harness.systems.raft_words import WORDS, Garbled, only_reads
from workloads.data import DATA
from workloads.generator import Invocation

TXN = [["r", "a", None], ["w", "b", 1], ["append", "c", 2], ["compare", "d", None]]
TXN_ASKED = [["read", "a"], ["write", "b", 1], ["append", "c", 2], ["compare", "d", None]]
OWNER = {"owner": "t1"}

# kind, function, value, the request without its key, a good answer, the value it makes, bad answers
CASES: list[tuple[str, str, Any, dict[str, Any], Any, Any, list[Any]]] = [
    ("register", "read", None, {"op": "read"}, {"any": [1]}, {"any": [1]}, []),
    ("register", "write", 1, {"op": "write", "value": 1}, 1, 1, [2, True, None, "1"]),
    ("register", "cas", [1, 2], {"op": "cas", "from": 1, "to": 2}, 2, [1, 2], [1, True, None]),
    ("key-value", "get", None, {"op": "read"}, ["1", "7", "."], "17.", ["17.", ["17", "."], [1]]),
    ("key-value", "get", None, {"op": "read"}, None, None, [[], 17, True, [[]], [None]]),
    ("key-value", "put", "7.", {"op": "write", "value": ["7", "."]}, ["7", "."], "7.",
     ["7.", None, ["7"]]),
    ("key-value", "put", "", {"op": "write", "value": None}, None, "", ["", []]),
    ("key-value", "put", {"value": "7.", "ttl_ms": 40},
     {"op": "write", "value": ["7", "."], "ttl_ms": 40}, ["7", "."], {"value": "7.", "ttl_ms": 40},
     ["7.", None]),
    ("key-value", "append", "7.", {"op": "txn", "ops": [["append", "k", "7"], ["append", "k", "."]]},
     [None, None], "7.", [[None], [None, 1], [None] * 3, 2, None]),
    ("key-value", "append", "", {"op": "txn", "ops": [["read", "k"]]}, [["1"]], "",
     [[], [1, 2], None]),
    ("key-value", "delete", None, {"op": "delete"}, True, None, [None, 1, "true"]),
    ("key-value", "cas", ["1.", "2."], {"op": "cas", "from": ["1", "."], "to": ["2", "."]},
     ["2", "."], ["1.", "2."], ["2.", ["1", "."], None]),
    ("key-value", "cas", ["", "2"], {"op": "cas", "from": None, "to": ["2"]}, ["2"], ["", "2"], [None]),
    ("key-value", "cas", ["2", ""], {"op": "cas", "from": ["2"], "to": None}, None, ["2", ""], [[]]),
    ("list", "append", 5, {"op": "append", "value": 5}, 3, 5, [0, True, None, "3", [5]]),
    ("list", "read", None, {"op": "read"}, [1, 2], [1, 2], [1, {}, "12", False]),
    ("list", "read", None, {"op": "read"}, None, None, [0]),
    ("set", "add", 5, {"op": "set_add", "value": 5}, False, 5, [None, 1, 5, "true"]),
    ("set", "remove", 5, {"op": "set_remove", "value": 5}, True, 5, [None, 0, 5]),
    ("set", "read", None, {"op": "set_members"}, [], [], [None, {}, 1]),
    ("counter", "add", -3, {"op": "increment", "by": -3}, 12, -3, [True, None, "12", 1.5]),
    ("counter", "read", None, {"op": "read"}, 12, 12, [True, "12", 1.5, [12]]),
    ("counter", "read", None, {"op": "read"}, None, None, [False]),
    ("queue", "enqueue", 5, {"op": "enqueue", "value": 5}, 1, 5, [0, None, True, "1"]),
    ("queue", "dequeue", None, {"op": "dequeue"}, 5, 5, [None]),
    ("queue", "length", None, {"op": "queue_length"}, 0, 0, [-1, None, False, "0"]),
    ("lock", "acquire", OWNER, {"op": "lock_acquire", "owner": "t1"}, 7,
     {"owner": "t1", "token": 7}, [0, True, None, "7", {"token": 7}]),
    ("lock", "acquire", {"owner": "t1", "ttl_ms": 40},
     {"op": "lock_acquire", "owner": "t1", "ttl_ms": 40}, 7, {"owner": "t1", "token": 7}, [0]),
    ("lock", "acquire", {"owner": "t1", "ttl_ms": None}, {"op": "lock_acquire", "owner": "t1"}, 7,
     {"owner": "t1", "token": 7}, [0]),
    ("lock", "release", OWNER, {"op": "lock_release", "owner": "t1"}, True, OWNER,
     [False, None, 1, "t1"]),
    ("lock", "holder", None, {"op": "lock_holder"}, {"owner": "t1", "token": 7},
     {"owner": "t1", "token": 7},
     ["t1", {"owner": "t1"}, {"owner": 1, "token": 7}, {"owner": "t1", "token": True}, []]),
    ("lock", "holder", None, {"op": "lock_holder"}, None, None, [False]),
    ("transactions", "txn", TXN, {"op": "txn", "ops": TXN_ASKED}, [9, None, None, None],
     [["r", "a", 9], *TXN[1:]],
     [None, [9], [9, None, None, None, None], [9, 1, None, None], [9, None, None, 1]]),
]  # fmt: skip


def test_the_kinds_and_functions_are_those_of_the_data() -> None:
    assert {kind: set(words) for kind, words in WORDS.items()} == {
        kind: set(functions) for kind, functions in DATA.items()
    }
    assert KINDS["raft"].offers == set(DATA)


def test_every_function_has_an_example() -> None:
    shown = {(kind, f) for kind, f, *_ in CASES} | {("ids", "generate")}
    assert shown == {(kind, f) for kind, words in WORDS.items() for f in words}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]} {case[2]}")
def test_what_is_asked_and_what_the_answer_means(case: tuple[Any, ...]) -> None:
    kind, f, value, asked, answer, meaning, garbled = case
    word = WORDS[kind][f]
    invocation = Invocation(f=f, key="k", value=value, thread=0)
    expected = asked if asked["op"] == "txn" else {"key": "k", **asked}
    assert word.ask(invocation) == expected
    heard = word.hear(invocation, answer)
    assert (heard, type(heard)) == (meaning, type(meaning))
    for other in garbled:
        with pytest.raises(Garbled):
            word.hear(invocation, other)


def test_ids_are_unique_whatever_key_is_named() -> None:
    word = WORDS["ids"]["generate"]
    asked = [word.ask(Invocation(f="generate", key=key, thread=0)) for key in ("a", "b", None)]
    assert asked == [{"op": "unique_id", "key": "ids"}] * 3
    assert word.hear(Invocation(f="generate", thread=0), 7) == 7
    for garbled in (0, True, None, "7"):
        with pytest.raises(Garbled):
            word.hear(Invocation(f="generate", thread=0), garbled)


def test_only_the_empty_queue_is_an_error_that_is_an_answer() -> None:
    instead = {(kind, f): word.instead for kind in WORDS for f, word in WORDS[kind].items()}
    assert {name: codes for name, codes in instead.items() if codes} == {
        ("queue", "dequeue"): {"empty": None}
    }


def test_what_only_reads() -> None:
    reading = {
        (kind, f)
        for kind, f, value, *_ in CASES
        if only_reads(WORDS[kind][f].ask(Invocation(f=f, key="k", value=value, thread=0)))
        and value != ""
    }
    assert reading == {
        (kind, f) for kind in WORDS for f in WORDS[kind] if f in ("read", "get", "length", "holder")
    }
    word = WORDS["transactions"]["txn"]
    for steps, reads in (
        ([["r", "a", None], ["r", "b", None]], True),
        ([["r", "a", None], ["compare", "b", 1]], True),
        ([["r", "a", None], ["append", "b", 1]], False),
        ([["w", "b", 1]], False),
    ):
        assert only_reads(word.ask(Invocation(f="txn", value=steps, thread=0))) is reads


@given(st.lists(st.tuples(st.sampled_from(("put", "append", "cas")), st.text(max_size=9))))
def test_a_string_has_one_form_however_it_came_about(done: list[tuple[str, str]]) -> None:
    """Play the requests against lists, and the operations against a string."""
    words, text, held = WORDS["key-value"], "", None
    for f, value in done:
        asked = [text, value] if f == "cas" else value
        body = words[f].ask(Invocation(f=f, key="k", value=asked, thread=0))
        if body["op"] == "txn":
            for step in body["ops"]:
                if step[0] == "append":
                    held = [*(held or []), step[2]]
        elif body["op"] == "cas":
            assert body["from"] == held, "compares with what is there"
            held = body["to"]
        else:
            held = body["value"]
        text = text + value if f == "append" else value
        got = words["get"].hear(Invocation(f="get", key="k", thread=0), held)
        assert (got or "") == text
