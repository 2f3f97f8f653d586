"""What is written as EDN is read back as the same history."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from same_columns import anything, described, histories

from checker.columns import columns_of
from checker.formats import load, load_columns
from checker.formats.edn import read_edn
from checker.formats.edn_writer import write_edn
from checker.history import NEMESIS, Event, EventType, History, HistoryError
from checker.values import canonical

LINES = (
    '{:index 0, :time 5, :process 3, :type :invoke, :f :cas, :key "k0", :value [1 nil], :node "n1"}\n'
    "{:index 1, :time 6, :process :nemesis, :type :invoke, :f :kill, "
    ':value {:n1 "say \\"hi\\"", "a b" [true 1.5]}}\n'
    '{:index 2, :time 7, :process 3, :type :info, :f :cas, :key "k0", :value nil, :error :timeout}\n'
)


def text_of(history: History) -> str:
    stream = io.StringIO()
    write_edn(history, stream)
    return stream.getvalue()


def test_it_looks_like_jepsens(tmp_path: Path) -> None:
    path = tmp_path / "a.edn"
    path.write_text(LINES)
    history = load(path)
    assert [event.process for event in history.events] == [3, NEMESIS, 3]
    assert text_of(history) == LINES
    again = tmp_path / "b.edn"
    write_edn(history, again)
    assert again.read_text() == LINES


@given(history=histories())
def test_every_event_comes_back(tmp_path_factory: pytest.TempPathFactory, history: History) -> None:
    path = tmp_path_factory.mktemp("edn") / "a.edn"
    write_edn(history, path)
    events = load(path).events
    assert len(events) == len(history.events)
    for found, event in zip(events, history.events, strict=True):
        assert canonical(found.value) == canonical(event.value)
        for name in ("index", "process", "type", "f", "key", "time", "node", "error"):
            assert getattr(found, name) == getattr(event, name), name


@given(history=histories())
def test_columns_come_back(tmp_path_factory: pytest.TempPathFactory, history: History) -> None:
    path = tmp_path_factory.mktemp("edn") / "a.edn"
    columns = columns_of(history)
    write_edn(columns, path)
    expected = described(columns) | {"source": str(path), "format": "edn"}
    assert described(load_columns(path)) == expected


@given(value=anything)
def test_every_value_comes_back(value: Any) -> None:
    event = Event(index=0, process=0, type=EventType.INVOKE, f="f", value=value)
    ((_, record),) = read_edn(text_of(History((event,))))
    assert canonical(record["value"]) == canonical(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"',
        "\\",
        "\n\r\t",
        "\x00\x1f\x7f",
        "\u2028",
        "\ud800",
        "\U0001f600",
        "nil",
        ":a",
    ],
)
def test_every_text_comes_back_wherever_it_stands(text: str) -> None:
    event = Event(
        index=0,
        process=0,
        type=EventType.OK,
        f=text,
        key=text,
        node=text,
        error=text,
        value={text: [text]},
    )
    ((_, record),) = read_edn(text_of(History((event,))))
    assert {record[name] for name in ("f", "key", "node", "error")} == {text}
    assert record["value"] == {text: [text]}


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 1e22, 1e-7, 10**30])
def test_every_number_comes_back(number: float) -> None:
    event = Event(index=0, process=0, type=EventType.OK, f="f", value=number)
    ((_, record),) = read_edn(text_of(History((event,))))
    assert repr(record["value"]) == repr(number)


def test_what_edn_has_no_word_for_is_refused() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    for value in (deep, object(), 10**5000):
        event = Event(index=7, process=0, type=EventType.OK, f="f", value=value)
        with pytest.raises(HistoryError, match=r"^event 7: "):
            text_of(History((event,)))
