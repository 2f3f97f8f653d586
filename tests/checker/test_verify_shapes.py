"""What a certificate is about, and that any other JSON in its place is rejected in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from certificates import (
    ABSENT,
    J,
    call,
    counts,
    history,
    judged,
    ordering,
    refuting,
    rejected,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.history import History, HistoryError
from checker.meaning import NilRead
from checker.models import model_from
from checker.verify import verify

TWO = history("0 write 1", "1 read", "0 ok", "1 ok 1", "2 read", "2 ok 1")
STALE = history("0 write 1", "0 ok", "1 read", "1 ok 1", "2 read", "2 ok null")
LONG = history("0 write 5", "0 ok", "1 write 1", "1 ok", "2 write 2", "2 ok", "3 read", "3 ok 1")
WRITE, STALE_READ = call(0, 0, 1), call(4, 4, 5)


def test_the_model_is_the_one_named_unless_one_is_given() -> None:
    rejected(STALE, refuting(WRITE, STALE_READ, model="regster"), "no model is called 'regster'")
    rejected(STALE, refuting(WRITE, STALE_READ, model="mutex"), "model: does not fit the history")
    rejected(STALE, refuting(WRITE, STALE_READ, model="key-value", initial=3), "starts as 3")
    once = refuting(call(0, 0, 1), model="once")
    rejected(history("0 go", "0 ok"), once, "no model is called")
    own = model_from("once", lambda state, f, value, answer: None, 0)
    assert verify(history("0 go", "0 ok"), once, own).model is own
    rejected(STALE, refuting(WRITE, STALE_READ), "is 'cas-register', but once is to be", own)


def test_the_initial_state_is_the_certificates() -> None:
    read = history("0 read", "0 ok 5")
    verify(read, refuting(call(0, 0, 1)))
    verify(read, refuting(call(0, 0, 1), initial=None))
    rejected(read, refuting(call(0, 0, 1), initial=5), "have an order")
    verify(read, ordering((None, [0]), initial=5))


def test_the_meaning_is_the_certificates() -> None:
    read = history("0 write 1", "0 ok", "1 read", "1 ok null")
    verify(read, refuting(call(0, 0, 1), call(2, 2, 3)))
    unknown = {"failed_cas": "absent", "nil_read": "unknown"}
    rejected(read, refuting(call(0, 0, 1), call(2, 2, 3), meaning=unknown), "2 says nothing")
    assert verify(read, ordering((None, [0]), meaning=unknown)).meaning.nil_read is NilRead.UNKNOWN
    missing: list[J] = [{}, {"failed_cas": "absent"}, {"nil_read": "absent"}]
    for wrong in (*missing, ABSENT | {"nil_read": "no"}, ABSENT | {"nil_read": [[]]}):
        rejected(read, refuting(call(0, 0, 1), call(2, 2, 3), meaning=wrong), "model or meaning")


def test_other_versions_and_verdicts_are_rejected() -> None:
    good = refuting(WRITE, STALE_READ)
    rejected(STALE, good | {"certificate": 2}, "only version 1 is known")
    rejected(STALE, good | {"certificate": True}, "expected int, not bool")
    others: list[Any] = ["unknown", "Invalid", None, 1, []]
    for verdict in others:
        rejected(STALE, good | {"verdict": verdict}, "verdict: expected valid or invalid")
    # The one verdict does not pass with the proof of the other.
    rejected(STALE, good | {"verdict": "valid"}, "linearizations: expected list")
    rejected(STALE, good | {"refutation": None}, "refutation: expected dict")


def test_a_history_that_is_none_is_an_error_of_its_own() -> None:
    twice = history("0 write 1", "0 write 2")
    with pytest.raises(HistoryError, match="invokes again"):
        verify(twice, refuting(WRITE, STALE_READ))


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


GOOD = (
    (STALE, refuting(WRITE, STALE_READ, frontier=counts((0, 1), (4, 0)))),
    (LONG, refuting(call(4, 4, 5), call(6, 6, 7), since=4, initial=None)),
    (TWO, ordering((None, [0, 1, 4]), initial=None)),
    (
        history("0 add 1", "0 ok", "1 read", "1 ok []"),
        refuting(call(0, 0, 1), call(2, 2, 3), model="set", elements=["1"], initial=[]),
    ),
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.0, 10**40, 10**5000, float("nan"), "", "x", "\ud800", [], {}, [[]], [{}],
    [None], {"key": None}, {"a": {}}, deep(5), deep(5000),
)  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, name) in a JSON value."""
    found: list[tuple[Any, Any]] = []
    to_do = [value]
    while to_do:
        item = to_do.pop()
        names = list(item) if isinstance(item, dict) else range(len(item))
        for name in names:
            found.append((item, name))
            if isinstance(item[name], dict | list):
                to_do.append(item[name])
    return found


@pytest.mark.parametrize(("past", "good"), GOOD)
def test_odd_values_in_any_place_are_rejected_or_harmless(past: History, good: J) -> None:
    for number in range(len(places(good))):
        for odd in ODD:
            certificate = copy.deepcopy(good)
            container, name = places(certificate)[number]
            container[name] = odd
            judged(past, certificate)
        certificate = copy.deepcopy(good)
        container, name = places(certificate)[number]
        del container[name]
        judged(past, certificate)
    for odd in ODD:
        rejected(
            past, odd, "the certificate: expected dict" if not isinstance(odd, dict) else "cert"
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(certificate=JSON, name=st.sampled_from(sorted({n for _, good in GOOD for n in good})))
def test_any_json_is_rejected_in_words(certificate: Any, name: str) -> None:
    rejected(STALE, certificate, ".")
    for past, good in GOOD:
        if name in good:
            judged(past, good | {name: certificate})
        if "refutation" in good:
            for part in good["refutation"]:
                judged(past, good | {"refutation": good["refutation"] | {part: certificate}})
