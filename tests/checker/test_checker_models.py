"""The models one by one: names, initial values, what they do not know, and their finer points.

What holds for all of them is in `test_model_laws`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checker import (
    MODELS,
    Event,
    EventType,
    FailedCas,
    History,
    HistoryError,
    Meaning,
    ModelError,
    NilRead,
    check,
    model_named,
)
from checker.models import (
    ALIASES,
    DEFAULT,
    Action,
    Coarse,
    Elementwise,
    Startable,
    State,
    initial_of,
    model_from,
)
from checker.models.table import COLUMNS, row, table
from checker.values import canonical


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no model is called 'queue'; there are register, cas-"):
        model_named("queue")
    for alias, name in ALIASES.items():
        assert model_named(alias) == model_named(name)
        assert alias not in MODELS


@pytest.mark.parametrize(
    ("name", "initial"),
    [
        ("mutex", "open"),
        ("mutex", []),
        ("key-value", 1),
        ("multi-register", 0),
        ("set", None),
        ("set", "ab"),
        ("list-append", {}),
        ("counter", "1"),
        ("counter", True),
        ("counter", 1.5),
        ("fifo-queue", 1),
        ("fifo-queue", [1, None]),
        ("unordered-queue", {"a": 1}),
        ("stack", None),
        ("owner-mutex", "held"),
        ("owner-mutex", {"who": 1}),
        ("reentrant-mutex", "held"),
        ("reentrant-mutex", {"owner": 1, "count": 0}),
        ("reentrant-mutex", {"owner": 1, "counts": 1}),
        ("fenced-mutex", "free"),
        ("semaphore", 0),
        ("semaphore", None),
    ],
)
def test_impossible_initial_values(name: str, initial: Any) -> None:
    with pytest.raises(ModelError, match=f"{name} starts as .*, expected [^e]"):
        model_named(name, initial)


def test_initial_values() -> None:
    assert model_named("register").initial == model_named("register", None).initial == "null"
    assert model_named("cas-register", {"b": 1, "a": 2.0}).initial == '{"a":2,"b":1}'
    assert model_named("mutex", "held").initial == "held"
    assert model_named("key-value", "x").initial == "x"
    assert model_named("multi-register", {"y": 0, "x": None}).initial == (
        ('"x"', "null"), ('"y"', "0"),
    )  # fmt: skip
    assert model_named("set", [2, 1, 2.0]).initial == frozenset({"1", "2"})
    assert model_named("list-append", [1, 1]).initial == ("1", "1")
    assert model_named("counter", 3.0).initial == 3
    assert model_named("fifo-queue", ["a", 1]).initial == model_named("stack", ["a", 1]).initial
    assert model_named("bag", [2, 1]).initial == frozenset({("1", "2")})
    assert model_named("owner-mutex", {"owner": "c"}).initial == '"c"'
    assert model_named("reentrant-mutex", {"owner": 1, "count": 2}).initial == ("1", 2)
    assert model_named("reentrant-mutex", {"owner": 1}).initial == ("1", 1)
    assert model_named("fenced-mutex", 7).initial == ("free", 7, True)
    assert model_named("semaphore", 5).initial == 5


@pytest.mark.parametrize(
    ("name", "initial"),
    [
        ("register", {"a": [1]}),
        ("cas-register", "1"),
        ("key-value", "1"),
        ("multi-register", {"y": 0, "x": None}),
        ("set", [1, "a"]),
        ("list-append", [1, [2], "3"]),
        ("counter", -3),
        ("fifo-queue", ["b", "a"]),
        ("unordered-queue", [1, 1, "a"]),
        ("stack", ["b", "a"]),
        ("mutex", "held"),
        ("owner-mutex", {"owner": "free"}),
        ("reentrant-mutex", {"owner": 1, "count": 2}),
        ("fenced-mutex", 7),
        ("semaphore", 5),
    ],
)
def test_a_model_knows_what_it_was_built_from(name: str, initial: Any) -> None:
    usual, model = model_named(name), model_named(name, initial)
    assert initial_of(usual) is DEFAULT
    assert isinstance(usual, Startable)
    assert model_named(name, usual.starts_as()) == usual
    assert model != usual
    assert model_named(name, initial_of(model)) == model
    json.dumps(initial_of(model))


def test_what_a_model_of_somebodys_own_was_built_from_is_not_json() -> None:
    own = model_from("mutex", lambda state, f, value, answer: state, 0)
    assert initial_of(own) is DEFAULT


@pytest.mark.parametrize(
    ("model", "f", "value", "answer", "why"),
    [
        ("register", "cas", [1, 2], [1, 2], "functions read, write"),
        ("cas-register", "cas", 1, 1, r"expected \[from, to\]"),
        ("cas-register", "append", 1, 1, "functions read, write, cas"),
        ("key-value", "put", 1, 1, "expected a string"),
        ("key-value", "get", None, 1, "an answer that is a string"),
        ("key-value", "cas", "ab", "ab", r"expected \[from, to\], strings"),
        ("key-value", "cas", [None, "b"], [None, "b"], r"expected \[from, to\], strings"),
        ("mutex", "lock", None, None, "functions acquire, release"),
        ("set", "insert", 1, 1, "functions add, remove, read"),
        ("set", "read", None, 1, "an answer that is a list"),
        ("list-append", "add", 1, 1, "functions append, read"),
        ("list-append", "read", None, {}, "an answer that is a list"),
        ("counter", "dec", 1, 1, "functions add, increment"),
        ("counter", "add", None, None, "a whole number"),
        ("counter", "increment", True, True, "a whole number"),
        ("counter", "read", None, "1", "an answer that is a whole number"),
        ("fifo-queue", "push", 1, 1, "functions enqueue, dequeue"),
        ("unordered-queue", "enqueue", None, None, "an element that is not nil"),
        ("stack", "enqueue", 1, 1, "functions push, pop"),
        ("owner-mutex", "lock", None, None, "functions acquire, release"),
        ("owner-mutex", "acquire", "c", "c", "an object like"),
        ("fenced-mutex", "acquire", None, None, "a fencing token"),
        ("fenced-mutex", "release", {"token": "x"}, None, "a fencing token"),
        ("semaphore", "acquire", 0, 0, "a number of permits"),
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


def history_of(*lines: tuple[int, str, str, Any]) -> History:
    """Events given as (process, type, f, value)."""
    return History(tuple(
        Event(index=n, process=process, type=EventType(kind), f=f, value=value)
        for n, (process, kind, f, value) in enumerate(lines)
    ))  # fmt: skip


def one_by_one(*asked: tuple[str, Any, Any]) -> History:
    """Operations of one process given as (f, value, answer)."""
    events: list[tuple[int, str, str, Any]] = []
    for f, value, answer in asked:
        events += [(0, "invoke", f, value), (0, "ok", f, answer)]
    return history_of(*events)


def verdict(name: str, history: History, initial: Any = DEFAULT, **meaning: Any) -> str:
    model = model_named(name, initial)
    result = check(history, model, meaning=Meaning(**meaning))
    if result.counterexample is not None:
        said = str(result.counterexample["operations"])
        assert "would need" in said or "was refused" in said
    return str(result.verdict)


def test_a_set_that_answers_twice_the_same_is_wrong() -> None:
    assert verdict("set", one_by_one(("add", 1, 1), ("read", None, [1]))) == "valid"
    assert verdict("set", one_by_one(("add", 1, 1), ("read", None, [1, 1]))) == "invalid"
    model = model_named("set")
    assert model.gives(("read", ("1",))) == frozenset({"1"})
    assert model.gives(("read", ("1", "1"))) is None, "what it needs is no state"


@pytest.mark.parametrize("name", ["set", "list-append"])
def test_a_read_of_nil_is_of_an_empty_collection_or_says_nothing(name: str) -> None:
    put = "add" if name == "set" else "append"
    history = one_by_one((put, 1, 1), ("read", None, None))
    assert verdict(name, one_by_one(("read", None, None))) == "valid"
    assert verdict(name, history) == "invalid"
    assert verdict(name, history, nil_read=NilRead.UNKNOWN) == "valid"


def test_a_counter_counts() -> None:
    counted = (("add", 3, 3), ("increment", None, None), ("decrement", 2, 2), ("add", -1, -1))
    assert verdict("counter", one_by_one(*counted, ("read", None, 1))) == "valid"
    assert verdict("counter", one_by_one(*counted, ("read", None, 2))) == "invalid"
    assert verdict("counter", one_by_one(*counted, ("read", None, 2)), 1) == "valid"
    assert verdict("counter", one_by_one(("read", None, None))) == "valid"


def crashed_take(name: str, *answers: Any, put: tuple[int, ...] = (1, 2, 3)) -> str:
    """Put some elements in, crash while taking one out, take out the rest."""
    model = model_named(name)
    assert isinstance(model, Elementwise)
    into, out = ("push", "pop") if name == "stack" else ("enqueue", "dequeue")
    lines: list[tuple[int, str, str, Any]] = []
    for value in put:
        lines += [(0, "invoke", into, value), (0, "ok", into, value)]
    lines += [(1, "invoke", out, None), (1, "info", out, None)]
    for answer in answers:
        lines += [(0, "invoke", out, None), (0, "ok", out, answer)]
    return verdict(name, history_of(*lines))


def test_a_crashed_dequeue_took_the_first_the_last_or_any() -> None:
    assert crashed_take("fifo-queue", 1, 2, 3, None) == "valid"
    assert crashed_take("fifo-queue", 2, 3, None) == "valid"
    assert crashed_take("fifo-queue", 1, 3, None) == "valid"
    assert crashed_take("fifo-queue", 3, None) == "invalid"
    assert crashed_take("stack", 2, 1, None) == "valid"
    assert crashed_take("stack", 1, None) == "invalid"
    assert crashed_take("unordered-queue", 3, 1, None) == "valid"
    assert crashed_take("unordered-queue", 3, None) == "invalid"
    assert crashed_take("unordered-queue", 3, 1, 2, None) == "valid"
    assert crashed_take("unordered-queue", 3, 3) == "invalid"


def test_a_bag_knows_all_that_a_crashed_dequeue_may_have_taken() -> None:
    model = model_named("bag", [1, 2])
    state = model.step(model.initial, ("dequeue-unknown",))
    assert state == frozenset({("1",), ("2",)})
    assert model.step(model.step(state, ("dequeue", "1")), ("dequeue-empty",)) is not None
    assert model.describe_state(state) == "[1] or [2]"


def test_only_the_owner_releases() -> None:
    alice, bob = {"owner": "alice"}, {"owner": "bob"}
    right = [("acquire", alice, None), ("release", alice, None), ("acquire", bob, None)]
    assert verdict("owner-mutex", one_by_one(*right)) == "valid"
    assert verdict("owner-mutex", one_by_one(*right, ("release", alice, None))) == "invalid"
    assert verdict("owner-mutex", one_by_one(*right), alice) == "invalid"
    again = [("acquire", alice, None), ("acquire", alice, None), ("release", alice, None)]
    assert verdict("owner-mutex", one_by_one(*again)) == "invalid"
    assert verdict("reentrant-mutex", one_by_one(*again)) == "valid"
    assert verdict("reentrant-mutex", one_by_one(*again, ("acquire", bob, None))) == "invalid"
    again.append(("release", alice, None))
    assert verdict("reentrant-mutex", one_by_one(*again, ("acquire", bob, None))) == "valid"
    assert verdict("reentrant-mutex", one_by_one(*again, ("release", alice, None))) == "invalid"


def test_an_owner_outlives_a_crash_if_the_history_names_it() -> None:
    """A crashed client goes on as process 7: only its name says that it is the same."""

    def history(value: Any) -> History:
        return history_of(
            (0, "invoke", "acquire", value), (0, "info", "acquire", value),
            (7, "invoke", "release", value), (7, "ok", "release", value),
        )  # fmt: skip

    for name in ("owner-mutex", "reentrant-mutex", "fenced-mutex"):
        assert verdict(name, history({"owner": "c"})) == "valid"
        assert verdict(name, history(None)) == "invalid"


def test_fencing_tokens_grow() -> None:
    def history(*tokens: Any) -> History:
        asked: list[tuple[str, Any, Any]] = []
        for token in tokens:
            asked += [("acquire", None, token), ("release", None, None)]
        return one_by_one(*asked)

    assert verdict("fenced-mutex", history(1, {"token": 2}, 9)) == "valid"
    assert verdict("fenced-mutex", history(1, 3, 3)) == "invalid"
    assert verdict("fenced-mutex", history(1, 3), 1) == "invalid"
    named = one_by_one(("acquire", None, 5), ("release", {"token": 5}, None))
    assert verdict("fenced-mutex", named) == "valid"
    named = one_by_one(("acquire", None, 5), ("release", {"token": 4}, None))
    assert verdict("fenced-mutex", named) == "invalid"


@pytest.mark.parametrize(("after", "expected"), [(7, "valid"), (6, "invalid")])
def test_a_token_that_nobody_saw_was_handed_out_all_the_same(after: int, expected: str) -> None:
    """5, then a crashed acquire that was released: it had 6 at least, so the next has 7."""
    c = {"owner": "c"}
    history = history_of(
        (0, "invoke", "acquire", c), (0, "ok", "acquire", 5),
        (0, "invoke", "release", c), (0, "ok", "release", c),
        (1, "invoke", "acquire", c), (1, "info", "acquire", c),
        (2, "invoke", "release", c), (2, "ok", "release", c),
        (2, "invoke", "acquire", c), (2, "ok", "acquire", after),
    )  # fmt: skip
    assert verdict("fenced-mutex", history) == expected


@pytest.mark.parametrize(
    ("last", "released", "after", "expected"),
    [(5, 6, 7, "valid"), (5, 5, 7, "invalid"), (5, 8, 9, "valid"), (5, 8, 8, "invalid")],
)
def test_a_release_may_name_the_token_that_nobody_saw(
    last: int, released: int, after: int, expected: str
) -> None:
    token = {"token": released}
    history = history_of(
        (1, "invoke", "acquire", None), (1, "info", "acquire", None),
        (2, "invoke", "release", token), (2, "ok", "release", token),
        (2, "invoke", "acquire", None), (2, "ok", "acquire", after),
    )  # fmt: skip
    assert verdict("fenced-mutex", history, last) == expected


def test_a_semaphore_has_so_many_permits() -> None:
    taken = [("acquire", 2, None), ("acquire", None, None)]
    assert verdict("semaphore", one_by_one(*taken), 3) == "valid"
    assert verdict("semaphore", one_by_one(*taken), 2) == "invalid"
    assert verdict("semaphore", one_by_one(*taken, ("release", 3, None)), 3) == "valid"
    assert verdict("semaphore", one_by_one(*taken, ("release", 4, None)), 3) == "invalid"


def test_a_deleted_key_holds_the_empty_string() -> None:
    asked = [("put", "x", None), ("delete", None, None), ("append", "a", None)]
    assert verdict("key-value", one_by_one(*asked, ("get", None, "a"))) == "valid"
    assert verdict("key-value", one_by_one(*asked, ("get", None, "xa"))) == "invalid"
    assert verdict("key-value", one_by_one(*asked[:2], ("get", None, None))) == "valid"


def test_a_string_is_set_if_it_is_what_was_expected() -> None:
    asked = [("put", "a", None), ("cas", ["a", "b"], ["a", "b"])]
    assert verdict("key-value", one_by_one(*asked, ("get", None, "b"))) == "valid"
    assert verdict("key-value", one_by_one(*asked, ("get", None, "a"))) == "invalid"
    assert verdict("key-value", one_by_one(*asked, asked[1])) == "invalid"
    assert verdict("key-value", one_by_one(("cas", ["", "b"], ["", "b"]))) == "valid"


def test_a_refused_cas_of_strings_says_what_it_did_not_meet_where_it_ran() -> None:
    refused = history_of(
        (0, "invoke", "put", "a"), (0, "ok", "put", "a"),
        (0, "invoke", "cas", ["a", "b"]), (0, "fail", "cas", ["a", "b"]),
    )  # fmt: skip
    assert verdict("key-value", refused, failed_cas=FailedCas.ABSENT) == "valid"
    assert verdict("key-value", refused, failed_cas=FailedCas.DIFFERS) == "invalid"


def test_key_value_looks_at_what_a_cas_expects() -> None:
    """Refused or not: so that string, and what appends make it of, are no longer elsewhere."""
    model = model_named("key-value")
    assert isinstance(model, Coarse)
    for looks in (("cas", "ab", "z"), ("refused", "ab")):
        kept: list[Action] = [looks, ("append", "b")]
        *looked_at, elsewhere = model.universe(kept)
        assert looked_at == ["a", "ab"]
        assert not model.leads_elsewhere(("cas", "z", "a"), kept)
        assert model.leads_elsewhere(("cas", "a", "z"), kept)
        assert not model.leads_elsewhere(("refused", "q"), kept)
        merge = model.merged(kept)
        assert merge("a") == "a" != merge("b") == elsewhere


def test_key_value_elsewhere_is_as_large_as_it_may_be() -> None:
    """Strings that no appends can make one that was got are elsewhere, though they begin one."""
    model = model_named("key-value")
    assert isinstance(model, Coarse)
    kept: list[Action] = [("get", "abc"), ("append", "c"), ("append", "x")]
    *looked_at, elsewhere = model.universe(kept)
    assert looked_at == ["ab", "abc"]
    assert model.leads_elsewhere(("put", "a"), kept)
    assert model.leads_elsewhere(("append", "a"), kept)
    assert model.leads_elsewhere(("delete",), kept)
    assert not model.leads_elsewhere(("put", "ab"), kept)
    assert not model.leads_elsewhere(("append", "b"), kept)
    assert not model.leads_elsewhere(("append", ""), kept)
    state: State | None = elsewhere
    for action in (("append", "c"), ("append", "c")):
        state = model.step(state, action)
        assert state not in looked_at


def test_which_optional_protocols_there_are() -> None:
    coarse = {name for name in MODELS if isinstance(model_named(name), Coarse)}
    assert coarse == {"register", "cas-register", "key-value", "mutex", "owner-mutex"}
    elementwise = {name for name in MODELS if isinstance(model_named(name), Elementwise)}
    assert elementwise == {"set", "list-append", "fifo-queue", "unordered-queue", "stack"}


def test_the_table_in_the_docs_is_what_the_code_says() -> None:
    text = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- made by checker/models/table.py: table() -->\n")
    assert rest.partition("<!-- end -->")[0] == table()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_what_its_operations_look_like(name: str) -> None:
    cells = row(name)
    assert len(cells) == len(COLUMNS) + 2
    assert all(cells)
    assert not any("|" in cell for cell in cells)
