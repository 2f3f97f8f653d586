"""Whole columns of registers and strings as flat calls: they say what the models say."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from certificates import history
from flat_histories import STRINGS, VALUES, register_histories, string_histories
from hypothesis import given, settings
from hypothesis import strategies as st
from random_events import MEANINGS

from checker import FailedCas, Meaning, NilRead, Verdict, check, model_named
from checker.budget import Budget
from checker.columns import Columns, columns_of
from checker.first_look import look
from checker.flat import FlatCalls
from checker.history import Event, EventType, History, HistoryError
from checker.kernels.layout import CAS, READ, REFUSED, TABLE, WRITE
from checker.models import Model
from checker.models.key_value import KeyValue
from checker.models.model import Action
from checker.models.register import Register
from checker.parts import Part, parts_of
from checker.registers import actions_of, register_calls
from checker.replay import replay
from checker.search import search
from checker.sequential import play
from checker.strings import plain_string_calls, string_calls

CAS_REGISTER = model_named("cas-register")
KEY_VALUE = model_named("key-value")
KINDS = {READ: "read", WRITE: "write", CAS: "cas", REFUSED: "refused", TABLE: "append"}
Row = tuple[str, str | None, str | None, int, int, int]


def expected_row(action: Action, row: int, start: int, end: int | None) -> Row | None:
    """Return what the flat call of a register's action should be."""
    kind, ended = str(action[0]), -1 if end is None else end
    if kind == "cas" and action[1] == action[2]:
        # To a register it is a read; one that crashed says nothing.
        kind, action = "read", ("read", action[1])
        if end is None:
            return None
    needs = None if kind == "write" else str(action[1])
    gives = None if kind == "refused" else str(action[-1])
    return kind, needs, gives, start, ended, row


def by_key(calls: FlatCalls, columns: Columns) -> dict[str | None, list[Row]]:
    """Return the flat calls of each key, with the texts of values."""

    def text(number: int) -> str | None:
        return None if number < 0 else columns.values.text(number)

    found: dict[str | None, list[Row]] = {}
    begin = 0
    for key, stop in zip(columns.keys, calls.stops.tolist(), strict=True):
        found[key] = [
            (
                KINDS[int(calls.kind[at])],
                text(int(calls.needs[at])),
                text(int(calls.gives[at])),
                int(calls.start[at]),
                int(calls.end[at]),
                int(calls.row[at]),
            )
            for at in range(begin, stop)
        ]
        begin = stop
    return found


def initial_number(columns: Columns, model: Model) -> int:
    """Return the number of the initial value, or the next one if nobody names that value."""
    values = columns.values
    texts = {values.text(number): number for number in range(len(values))}
    return texts.get(str(model.initial), len(values))


def parts_by_key(columns: Columns, model: Model, meaning: Meaning) -> dict[str | None, Part]:
    return {part.key: part for part in parts_of(columns, model, meaning)}


@given(register_histories(), st.sampled_from(MEANINGS), VALUES)
@settings(max_examples=150)
def test_flat_calls_of_registers_say_what_the_model_says(
    random: History, meaning: Meaning, initial: Any
) -> None:
    columns = columns_of(random)
    model = model_named("cas-register", initial)
    calls = register_calls(columns, model, meaning)
    assert calls is not None
    expected = {
        key: [
            row
            for call in part.calls
            if (row := expected_row(call.action, call.index, call.start, call.end)) is not None
        ]
        for key, part in parts_by_key(columns, model, meaning).items()
    }
    assert by_key(calls, columns) == expected
    assert set(calls.initial.tolist()) == {initial_number(columns, model)}
    assert len(calls.initial) == len(calls.edge_stops) == len(columns.keys)
    assert max([*calls.needs, *calls.gives, *calls.initial], default=0) < calls.values


@given(register_histories(), st.sampled_from(MEANINGS))
def test_actions_of_flat_calls_are_the_models(random: History, meaning: Meaning) -> None:
    columns = columns_of(random)
    calls = register_calls(columns, CAS_REGISTER, meaning)
    assert calls is not None
    places = np.arange(len(calls.row), dtype=np.int64)
    actions = {
        call.index: call.action
        for part in parts_of(columns, CAS_REGISTER, meaning)
        for call in part.calls
    }
    for row, action in zip(calls.row.tolist(), actions_of(calls, places, columns), strict=True):
        said = actions[row]
        same = ("read", said[1]) if said[0] == "cas" and said[1] == said[2] else said
        assert action == same


def test_a_register_without_cas() -> None:
    columns = columns_of(history("0 write@a 1", "0 ok", "1 read@a", "1 ok 1"))
    calls = register_calls(columns, model_named("register", 3), Meaning())
    assert calls is not None
    assert by_key(calls, columns) == {
        "a": [("write", None, "1", 0, 1, 0), ("read", "1", "1", 2, 3, 1)]
    }
    assert calls.initial.tolist() == [initial_number(columns, model_named("register", 3))]


@given(st.data(), st.sampled_from(STRINGS), st.sampled_from(list(NilRead)))
@settings(max_examples=400)
def test_the_first_look_at_strings_agrees_with_the_plain_search(
    data: st.DataObject, initial: str, nil_read: NilRead
) -> None:
    random, meaning = data.draw(string_histories(initial)), Meaning(nil_read=nil_read)
    model = model_named("key-value", initial)
    agree(random, model, meaning)


@given(register_histories(), st.sampled_from(MEANINGS), VALUES)
@settings(max_examples=150)
def test_the_first_look_at_registers_agrees_with_the_plain_search(
    random: History, meaning: Meaning, initial: Any
) -> None:
    agree(random, model_named("cas-register", initial), meaning)


def agree(random: History, model: Model, meaning: Meaning) -> None:
    """Hold the first look and the plain search together, key by key; replay each order."""
    columns = columns_of(random)
    seen = look(columns, model, meaning, bytes_max=1e9, workers=1)
    assert seen is not None
    parts = parts_by_key(columns, model, meaning)
    for key, found in zip(columns.keys, seen, strict=True):
        part = parts[key]
        slow = search(part.calls, model, Budget.unlimited()).verdict
        assert found is not None  # so short that a first look is enough
        assert (key, found.verdict) == (key, slow)
        if found.order is not None:
            calls = {call.index: call for call in part.calls}
            replay([calls[row] for row in found.order.tolist()], part.calls, model)
        else:
            assert found.until in part.rows.tolist()
            assert set(found.hint) <= set(part.rows.tolist())


@given(st.data(), st.sampled_from(STRINGS), st.sampled_from(list(NilRead)))
@settings(max_examples=400)
def test_the_kernel_for_strings_says_what_its_plain_twin_says(
    data: st.DataObject, initial: str, nil_read: NilRead
) -> None:
    columns = columns_of(data.draw(string_histories(initial)))
    model, meaning = model_named("key-value", initial), Meaning(nil_read=nil_read)
    same_calls(string_calls(columns, model, meaning), plain_string_calls(columns, model, meaning))


@pytest.mark.parametrize("nil_read", list(NilRead))
def test_who_reads_nothing_reads_the_empty_string_or_says_nothing(nil_read: NilRead) -> None:
    columns = columns_of(
        history('0 append "a"', "0 info", "1 get", "1 ok null", "2 get", '2 ok ""')
    )
    calls = string_calls(columns, KEY_VALUE, Meaning(nil_read=nil_read))
    same_calls(calls, plain_string_calls(columns, KEY_VALUE, Meaning(nil_read=nil_read)))
    assert calls is not None
    reads = calls.needs[calls.kind == READ].tolist()
    assert reads == [0] * (1 if nil_read is NilRead.UNKNOWN else 2), "what the key was at first"


@pytest.mark.parametrize("characters_max", [10, 100, 10_000])
def test_the_kernel_and_its_twin_know_the_same_limits(
    monkeypatch: pytest.MonkeyPatch, characters_max: int
) -> None:
    """Also where there is no room at first, characters need four bytes, or are no characters."""
    monkeypatch.setattr("checker.strings._CHARACTERS_MAX", characters_max)
    lines = [line for n in range(8) for line in (f'{n} append@a "{"ab" * n}c"', f"{n} info")]
    lines += ['20 put@b "\\ud800\\u0000"', "21 get@b", '21 ok "\\ud800\\u0000"']
    lines += ['22 append@b "😀"', "23 get@b", '23 ok "\\ud800\\u0000😀😀😀"']
    for n in range(4):
        lines += [f"{30 + n} get@a", f'{30 + n} ok "{"abababababc" * 3}{"abc" * n}"']
    columns = columns_of(history(*lines))
    calls = string_calls(columns, KEY_VALUE, Meaning())
    same_calls(calls, plain_string_calls(columns, KEY_VALUE, Meaning()))
    assert (calls is None) == (characters_max < 10_000)


@pytest.mark.parametrize("longest_append", [1, 5])
def test_a_kernel_without_room_is_given_more(
    monkeypatch: pytest.MonkeyPatch, longest_append: int
) -> None:
    """One string is made of more strings than there are operations, in more ways than strings."""
    lines = [f'{n} append "{"a" * n}"' for n in range(1, longest_append + 1)]
    columns = columns_of(history(*lines, "9 get", f'9 ok "{"a" * 2_000}"'))
    calls = string_calls(columns, KEY_VALUE, Meaning())
    assert calls is not None
    assert len(calls.edges) == sum(2_001 - n for n in range(1, longest_append + 1))
    same_calls(calls, plain_string_calls(columns, KEY_VALUE, Meaning()))
    monkeypatch.setattr("checker.strings._ROOM_MAX", 100)
    assert string_calls(columns, KEY_VALUE, Meaning()) is None


@pytest.mark.parametrize(("other_key", "characters"), [((), 6), (("3 get@b", '3 ok "bbb"'), 9)])
def test_the_kernel_and_its_twin_end_at_the_same_character(
    monkeypatch: pytest.MonkeyPatch, other_key: tuple[str, ...], characters: int
) -> None:
    """ "aaaa" is made of "aaa", "aa" and "a", which are 6; of the other key are "bb" and "b"."""
    lines = ['0 append@a "a"', '1 append@b "b"', "2 get@a", '2 ok "aaaa"', *other_key]
    columns = columns_of(history(*lines))
    for characters_max in (characters - 1, characters):
        monkeypatch.setattr("checker.strings._CHARACTERS_MAX", characters_max)
        calls = string_calls(columns, KEY_VALUE, Meaning())
        same_calls(calls, plain_string_calls(columns, KEY_VALUE, Meaning()))
        assert (calls is None) == (characters_max < characters)


def same_calls(one: FlatCalls | None, other: FlatCalls | None) -> None:
    assert (one is None) == (other is None)
    if one is not None:
        for field in fields(FlatCalls):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@given(st.data(), st.sampled_from(STRINGS), st.sampled_from(list(NilRead)))
@settings(max_examples=200)
def test_one_clients_strings_agree_with_the_plain_search(
    data: st.DataObject, initial: str, nil_read: NilRead
) -> None:
    random, meaning = data.draw(string_histories(initial)), Meaning(nil_read=nil_read)
    model = model_named("key-value", initial)
    # One operation after the other, as if there were one client; the crashed ones are left out.
    alone = [
        replace(event, index=2 * at + half, process=0)
        for at, pair in enumerate(pairs_of(random))
        for half, event in enumerate(pair)
    ]
    columns = columns_of(History(tuple(alone)))
    played = play(columns, model, meaning)
    assert played is not None
    agree(History(tuple(alone)), model, meaning)
    for found in played:
        assert found is not None
        assert found.algorithm == "one-order"
        if found.verdict is Verdict.INVALID:  # nothing before it is wrong
            until = found.until
            assert until is not None
            assert columns.functions[columns.function[until]] == "get"


def pairs_of(random: History) -> list[tuple[Event, Event]]:
    """Return (invocation, completion) of what completed, in order of invocation."""
    pairs, open_ = [], {}
    for event in random.events:
        if event.type is EventType.INVOKE:
            open_[event.process] = event
        elif event.type is not EventType.INFO:
            pairs.append((open_[event.process], event))
    return sorted(pairs, key=lambda pair: pair[0].index)


@pytest.mark.parametrize("together", [("0 put \"a\"", "1 get", "0 ok", "1 ok \"a\""),
                                      ("0 put \"a\"", "0 info")])  # fmt: skip
def test_what_overlaps_has_more_than_one_order(together: tuple[str, ...]) -> None:
    columns = columns_of(history(*together))
    assert play(columns, model_named("key-value", ""), Meaning()) is None


def test_strings_that_are_made_in_two_ways() -> None:
    """Appended values that are each other's ends: "abab" is "ab", "a", "b"."""
    told = ['1 append "a"', "1 info", '0 append "ab"', "0 ok", '2 append "b"', "2 info"]
    for answer, verdict in (
        ("ab", "valid"), ("aab", "valid"), ("abab", "valid"), ("abba", "valid"),
        ("bab", "invalid"), ("b", "invalid"), ("aba", "valid"), ("abbb", "invalid"),
    ):  # fmt: skip
        random = history(*told, "3 get", f'3 ok "{answer}"')
        agree(random, KEY_VALUE, Meaning())
        assert (answer, check(random, KEY_VALUE).verdict) == (answer, verdict)


def long_history(*ending: str, length: int = 2100) -> History:
    """Writes one after the other, more than are replayed as objects, and some more lines."""
    lines = [line for n in range(length) for line in (f"0 write {n}", "0 ok")]
    return history(*lines, *ending)


class TestWhatIsUnusual:
    """It is left to the model, which knows it or names what is wrong."""

    @pytest.mark.parametrize(
        ("model", "lines"),
        [
            ("key-value", ('0 append ""', "1 get", "0 ok", '1 ok ""')),
            ("key-value", ('0 put "a"', "0 ok", "0 delete", "0 ok", "1 get", '1 ok ""')),
            ("key-value", ('0 cas ["","a"]', '0 ok ["","a"]', "1 get", '1 ok "a"')),
            ("counter", ("0 add 1", "0 ok", "1 read", "1 ok 1")),
        ],
    )
    def test_another_way_answers(self, model: str, lines: tuple[str, ...]) -> None:
        random, chosen = history(*lines), model_named(model)
        assert look(columns_of(random), chosen, Meaning(), bytes_max=1e9, workers=1) is None
        assert check(random, chosen).verdict is Verdict.VALID
        wrong = replace(random.events[-1], value="x" if model == "key-value" else 5)
        broken = History((*random.events[:-1], wrong))
        assert check(broken, chosen).verdict is Verdict.INVALID

    @pytest.mark.parametrize(
        ("model", "lines", "why"),
        [
            ("register", ("0 cas [1,2]", "0 ok"), "expected one of the functions read, write"),
            ("cas-register", ("0 fly 1", "0 ok"), "expected one of the functions read, write, cas"),
            ("cas-register", ("0 fly 1", "0 fail"), "expected one of the functions"),
            ("cas-register", ("0 cas 5", "0 ok"), r"expected \[from, to\]"),
            ("cas-register", ("0 cas [1,2,3]", "0 info"), r"expected \[from, to\]"),
            ("cas-register", ("0 cas 5", "0 fail"), r"expected \[from, to\]"),
            ("key-value", ("0 put 5", "0 ok"), "expected a string"),
            ("key-value", ("0 append null", "0 info"), "expected a string"),
            ("key-value", ("0 append 5", "0 fail"), "expected a string"),
            ("key-value", ("0 get", "0 ok 5"), "expected an answer that is a string"),
            ("key-value", ("0 read", "0 ok"), "expected one of the functions get"),
        ],
    )
    @pytest.mark.parametrize("meaning", MEANINGS[::3])
    def test_the_model_says_what_is_wrong(
        self, model: str, lines: tuple[str, ...], why: str, meaning: Meaning
    ) -> None:
        with pytest.raises(HistoryError, match=why):
            check(history(*lines), model_named(model), meaning=meaning)

    @pytest.mark.parametrize("meaning", list(FailedCas))
    def test_a_failed_cas_of_no_pair_is_refused_in_a_long_history_too(
        self, meaning: FailedCas
    ) -> None:
        said = Meaning(failed_cas=meaning)
        for random in (
            long_history("0 cas 5", "0 fail", length=3),
            long_history("0 cas 5", "0 fail"),
        ):
            with pytest.raises(HistoryError, match=r"expected \[from, to\]"):
                check(random, CAS_REGISTER, meaning=said)

    @pytest.mark.parametrize(
        ("model", "lines"),
        [
            (Register(name="register", has_cas=False, keyed=False),
             ("0 write@a 5", "0 ok", "0 read@b", "0 ok 5")),
            (KeyValue(keyed=False), ('0 put@a "x"', "0 ok", "0 get@b", '0 ok "x"')),
        ],
        ids=["register", "key-value"],
    )  # fmt: skip
    def test_a_model_with_one_object_for_all_keys(
        self, model: Model, lines: tuple[str, ...]
    ) -> None:
        result = check(history(*lines), model)
        assert (result.verdict, [key.key for key in result.keys]) == (Verdict.VALID, [None])

    @pytest.mark.parametrize("characters_max", [10, 40])  # too many are given, too many are made
    def test_strings_of_too_many_characters_are_searched(
        self, monkeypatch: pytest.MonkeyPatch, characters_max: int
    ) -> None:
        monkeypatch.setattr("checker.strings._CHARACTERS_MAX", characters_max)
        text = "ab" * 8
        lines = [line for n in range(8) for line in (f'{n} append "ab"', f"{n} ok")]
        random = history(*lines, "9 get", f'9 ok "{text}"')
        assert string_calls(columns_of(random), KEY_VALUE, Meaning()) is None
        assert check(random, KEY_VALUE).verdict is Verdict.VALID


def test_keys_without_a_call_and_no_operations_at_all() -> None:
    failed = history("0 write@a 1", "0 fail", "1 read@b", "1 info", "2 write@c 3", "2 ok")
    agree(failed, CAS_REGISTER, Meaning())
    assert check(failed, CAS_REGISTER).verdict is Verdict.VALID
    empty = columns_of(History(()))
    assert look(empty, CAS_REGISTER, Meaning(), bytes_max=1e9, workers=1) == []
    assert check(History(()), CAS_REGISTER).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_chunks_of_keys_are_looked_at_alike(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """However keys are divided among threads, edges and calls stay with their key."""
    lines = []
    for n in range(7):
        good = "ab" if n != 4 else "ba"
        lines += [f'0 append@k{n} "a"', "0 ok", f'0 append@k{n} "b"', "0 ok", f"1 get@k{n}",
                  f'1 ok "{good}"']  # fmt: skip
    random = history(*lines)
    monkeypatch.setattr("checker.first_look._CHUNK_CALLS", 4)
    result = check(random, KEY_VALUE, workers=workers)
    assert [str(key.verdict) for key in result.keys] == ["valid"] * 4 + ["invalid"] + ["valid"] * 2
