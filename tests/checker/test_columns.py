"""Histories as columns say what histories as events say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from same_columns import anything, described, histories, plain

from checker.columns import NEVER, Names, Values, columns_of, events_of
from checker.formats.interning import ValueDraft
from checker.history import Event, EventType, History, HistoryError
from checker.values import canonical

INVOKE, OK, INFO = EventType.INVOKE, EventType.OK, EventType.INFO


def one(**changed: Any) -> Event:
    return Event(**{"index": 0, "process": 0, "type": INVOKE, "f": "read", **changed})


class TestColumns:
    """Rows and operations."""

    @given(history=histories())
    def test_rows_are_operations(self, history: History) -> None:
        columns = columns_of(history)
        operations = history.operations()
        assert len(columns) == len(operations)
        for row, expected in enumerate(operations):
            found = columns.operation(row)
            assert (found.start, found.end, found.type) == (
                expected.start,
                expected.end,
                expected.type,
            )
            assert canonical(found.input) == canonical(expected.input)
            assert canonical(found.output) == canonical(expected.output)
            assert (found.f, found.key) == (expected.f, expected.key)
            assert (found.completion is None) == (expected.completion is None)
            for ours, theirs in (
                (found.invocation, expected.invocation),
                (found.completion, expected.completion),
            ):
                if ours is None or theirs is None:
                    continue
                assert (ours.index, ours.time, ours.process, ours.type, ours.error) == (
                    theirs.index,
                    theirs.time,
                    theirs.process,
                    theirs.type,
                    theirs.error,
                )
            assert found.invocation.node == expected.invocation.node

    @given(history=histories())
    def test_events_give_the_same_columns_again(self, history: History) -> None:
        columns = columns_of(history)
        again = columns_of(History(tuple(events_of(columns))))
        assert described(again) == described(columns)

    @pytest.mark.parametrize(
        ("event", "why"),
        [
            (one(process=2**63), f"event 0: process is {2**63}, expected an integer of 64 bits"),
            (one(process=-(2**63) - 1), "process is -9223372036854775809"),
            (one(index=2**63), "index is 9223372036854775808"),
            (one(index=-1), r"index is -1, expected 0 to 2\^63 - 1"),
            (one(time=2**63), "time is 9223372036854775808"),
            (one(time=-5), "time is -5"),
            (one(process="other"), "process is 'other'"),
            (one(value=object()), "event 0: value is not usable"),
        ],
    )
    def test_what_does_not_fit_is_named(self, event: Event, why: str) -> None:
        with pytest.raises(HistoryError, match=f"^<memory>: .*{why}"):
            columns_of(History((event,)))

    def test_what_is_nested_too_deeply_is_named(self) -> None:
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        pairs: Any = []
        for _ in range(100_000):
            pairs = [pairs, 1]
        for value in (deep, pairs):
            with pytest.raises(HistoryError, match=r"event 0: value is not usable: .*too deeply"):
                columns_of(History((one(value=value),)))

    def test_what_misbehaves_is_refused_as_ever(self) -> None:
        with pytest.raises(HistoryError, match="process 0 invokes again"):
            columns_of(History((one(), one(index=1))))

    def test_extremes_fit(self) -> None:
        most = 2**63 - 1
        columns = columns_of(History((one(process=-(2**63), index=most, time=most),)))
        assert columns.operation(0).invocation == one(process=-(2**63), index=most, time=most)


class TestValues:
    """Equal numbers exactly when the values are the same."""

    @given(values=st.lists(anything, max_size=12))
    def test_numbers_stand_for_canonical_texts(self, values: list[Any]) -> None:
        table = Values()
        numbers = [table.number(value) for value in values]
        texts = [canonical(value) for value in values]
        assert [table.text(number) for number in numbers] == texts
        assert len(set(numbers)) == len(set(texts))
        assert len({table.text(number) for number in range(len(table))}) == len(table)
        for number in range(len(table)):
            decoded = table.decoded[number]
            if isinstance(decoded, list) and len(decoded) == 2:
                assert table.first[number] == table.number(decoded[0])
                assert table.second[number] == table.number(decoded[1])
                assert max(table.first[number], table.second[number]) < number
            else:
                assert (table.first[number], table.second[number]) == (NEVER, NEVER)
        assert table.firsts.tolist() == table.first
        assert table.seconds.tolist() == table.second

    @given(values=st.lists(anything, max_size=12), more=st.lists(anything, max_size=4))
    def test_many_at_once_are_one_after_another(self, values: list[Any], more: list[Any]) -> None:
        once, each = Values(), Values()
        assert once.numbers(values).tolist() == [each.number(value) for value in values]
        again = Values.restored(list(once.decoded), once.firsts, once.seconds)
        assert again.numbers(more + values).tolist() == once.numbers(more + values).tolist()
        assert list(map(canonical, again.decoded)) == list(map(canonical, once.decoded))

    @given(
        blocks=st.lists(st.lists(plain, max_size=6), max_size=4)
        | st.lists(st.lists(anything, max_size=4), max_size=4),
        data=st.data(),
    )
    def test_by_sorting_the_numbers_are_the_same(
        self, blocks: list[list[Any]], data: st.DataObject
    ) -> None:
        draft = ValueDraft()
        for block in blocks:
            draft.add(block)
        values = [value for block in blocks for value in block]
        places = st.lists(st.integers(-1, len(values) - 1), max_size=12)
        asked, answered = data.draw(places), data.draw(places)
        found, inputs, outputs = draft.numbers(
            np.array(asked, dtype=np.int64), np.array(answered, dtype=np.int64)
        )
        values.append(None)
        expected = Values()
        assert inputs.tolist() == [expected.number(values[place]) for place in asked]
        assert outputs.tolist() == [expected.number(values[place]) for place in answered]
        assert list(map(canonical, found.decoded)) == list(map(canonical, expected.decoded))
        assert (found.first, found.second) == (expected.first, expected.second)
        assert found.numbers(values).tolist() == expected.numbers(values).tolist()

    def test_far_apart_integers_are_numbered_too(self) -> None:
        draft = ValueDraft()
        draft.add([2**62, -(2**62), 0, [2**63 - 1, -(2**63)], 2**70])
        found, numbers, _ = draft.numbers(np.arange(5), np.zeros(0, np.int64))
        assert numbers.tolist() == [1, 2, 3, 6, 7]
        assert found.decoded[1:] == [2**62, -(2**62), 0, 2**63 - 1, -(2**63),
                                     [2**63 - 1, -(2**63)], 2**70]  # fmt: skip


def test_names_are_numbered_in_order_of_appearance() -> None:
    names = Names()
    assert [names[name] for name in ("b", None, 5, "a", "5", "b")] == [0, 1, 2, 3, 2, 0]
    assert names.listed == ["b", None, "5", "a"]
