"""Histories as tables: CSV and Parquet, an event or an operation a row, and our own layout."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from same_columns import described, histories

from checker import EventType, History, HistoryError, detect, load
from checker.columns import columns_of
from checker.formats import load_columns
from checker.formats.parquet_layout import write_parquet

EVENTS = (
    "process,type,f,value,key,time,index,node,error\n"
    '0,invoke,cas,"[1,""a""]",k,1,10,n1,\n'
    "nemesis,info,kill,n1,,2,11,,\n"
    "0,info,cas,,k,3,12,n1,timeout\n"
    "1,invoke,write,plain text,5,4.0,13,,\n"
)


def table(tmp_path: Path, columns: dict[str, Any], name: str = "a.parquet") -> Path:
    path = tmp_path / name
    pq.write_table(pa.table(columns), path)
    return path


def text(tmp_path: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, mapping: dict[str, str] | None = None) -> History:
    """Read both ways, hold them together."""
    history = load(path, mapping=mapping)
    assert described(load_columns(path, mapping=mapping)) == described(columns_of(history))
    return history


def refused(path: Path, mapping: dict[str, str] | None = None) -> str:
    words = []
    for way in (load, load_columns):
        with pytest.raises(HistoryError) as caught:
            way(path, mapping=mapping)
        words.append(str(caught.value))
    assert words[0] == words[1]
    assert words[0].startswith(f"{path}: ")
    return words[0].removeprefix(f"{path}: ")


class TestCsv:
    """Texts, and what they mean."""

    def test_an_event_a_row(self, tmp_path: Path) -> None:
        history = read(text(tmp_path, EVENTS))
        assert history.format == "csv"
        assert [event.index for event in history.events] == [10, 11, 12, 13]
        cas, write = history.operations()
        assert (cas.input, cas.output, cas.type) == ([1, "a"], None, EventType.INFO)
        assert cas.completion is not None
        assert cas.completion.error == "timeout"
        assert (write.input, write.key, write.invocation.time) == ("plain text", "5", 4)
        assert [event.value for event in history.nemesis_events] == ["n1"]

    def test_an_operation_a_row(self, tmp_path: Path) -> None:
        history = read(
            text(
                tmp_path,
                "process,f,input,output,type,start,end,key\n"
                "0,write,1,,ok,5,9,a\n"
                "1,read,,1,,6,7,a\n"
                "0,write,2,,info,10,,a\n"
                "2,write,3,,info,10,12,a\n"
                "3,write,4,,fail,0,4,a\n",
            )
        )
        shown = [
            (o.invocation.process, o.f, o.input, o.output, o.type, o.end is None)
            for o in history.operations()
        ]
        assert shown == [
            (3, "write", 4, None, "fail", False),
            (0, "write", 1, None, "ok", False),
            (1, "read", None, 1, "ok", False),
            (0, "write", 2, None, "info", True),
            (2, "write", 3, None, "info", True),
        ]

    def test_operations_need_little(self, tmp_path: Path) -> None:
        history = read(text(tmp_path, "f,start,end,value\nread,1,,\nwrite,2,3,7\n"))
        first, second = history.operations()
        assert (first.type, first.completion) == (EventType.INFO, None)
        assert (second.type, second.input, second.invocation.process) == (EventType.OK, 7, 1)

    def test_an_operation_that_ended_some_time_keeps_its_error(self, tmp_path: Path) -> None:
        history = read(text(tmp_path, "f,start,end,type,error\nread,1,,info,late\nread,2,8,,\n"))
        completion = history.operations()[0].completion
        assert completion is not None
        assert (completion.error, completion.time) == ("late", 8)

    @pytest.mark.parametrize(
        ("cell", "value"),
        [
            ("", None),
            ("null", None),
            ("5", 5),
            ("-0.5", -0.5),
            ("true", True),
            ('"5"', "5"),
            ("[1, [2]]", [1, [2]]),
            ('{"a": null}', {"a": None}),
            ("nil", "nil"),
            ("NaN", "NaN"),
            ("007", "007"),
            ("[1", "[1"),
            (" x ", " x "),
            ("two\nlines", "two\nlines"),
            ("é\U0001f600", "é\U0001f600"),
            ('"\\ud800"', "\ud800"),
            ("9" * 4000, int("9" * 4000)),
        ],
    )
    def test_a_cell_is_json_or_a_string(self, tmp_path: Path, cell: str, value: Any) -> None:
        path = tmp_path / "a.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(
                [["process", "type", "f", "value"], [0, "invoke", "w", cell]]
            )
        assert read(path).events[0].value == value

    def test_a_mapping_names_their_columns(self, tmp_path: Path) -> None:
        path = text(tmp_path, "client,op,call,return,arg,f\n4,write,1,2,9,x\n")
        mapping = {"process": "client", "f": "op", "start": "call", "end": "return", "input": "arg"}
        (operation,) = read(path, mapping).operations()
        assert (operation.f, operation.input, operation.invocation.process) == ("write", 9, 4)

    @pytest.mark.parametrize(
        ("content", "mapping", "why"),
        [
            ("", None, "expected CSV with a header"),
            ("process,type,f\n0,invoke\n", None, "expected CSV with a header .*Expected 3 columns"),
            (b"process,type,f\n0,invoke,\xff\n", None, "expected CSV with a header"),
            (b"process,type,f,\xff\n0,invoke,r,\n", None, "expected CSV with a header"),
            ("a,b\n", None, "no column 'process'; there are a, b. One event a row needs"),
            ("f,start\n", None, "no column 'end'; there are f, start"),
            ("f,f,process,type\n", None, "2 columns are called 'f'"),
            ("process,type,f\n", {"f": "op"}, "no column 'op'; there are process, type, f"),
            ("process,type,f\n", {"x": "f"}, "the mapping names 'x', expected one of process"),
            ("process,type,f\n0,invoke,r\nx,ok,r\n", None,
             "row 2: column 'process' is 'x', expected an integer or 'nemesis'"),
            ("process,type,f\n1.5,invoke,r\n", None, "row 1: column 'process' is '1.5'"),
            ("process,type,f\n,invoke,r\n", None, "row 1: column 'process' is empty"),
            ("process,type,f\n0,done,r\n", None,
             "row 1: column 'type' is 'done', expected one of invoke, ok, fail, info"),
            ("process,type,f\n0,,r\n", None, "row 1: column 'type' is empty"),
            ("process,type,f\n0,invoke,\n", None, "row 1: column 'f' is empty, expected a string"),
            ("process,type,f,t\n0,invoke,r,soon\n", {"time": "t"},
             "row 1: column 't' is 'soon', expected an integer"),
            ("process,type,f,value\n0,invoke,r,%s\n" % ("9" * 5000), None,
             "row 1: column 'value' is '9999.*expected a JSON value"),
            ("process,type,f,value\n0,invoke,r,%s\n" % ("[" * 100_000), None,
             r"row 1: column 'value' is '\[\[.*expected a JSON value"),
            ("process,type,f,time\n0,invoke,r,1\n0,ok,r,\n", None,
             "event 1 has no time, but others have"),
            ("process,type,f,time\n0,invoke,r,99999999999999999999\n", None,
             "event 0: time is 99999999999999999999"),
            ("process,type,f\n0,ok,r\n", None, r"event 0: process 0 completes \(ok\)"),
            ("f,start,end,type\nr,1,2,invoke\n", None, "row 1: column 'type' is 'invoke'"),
            ("f,start,end,type\nr,1,,ok\n", None, "row 1: column 'end' is empty, expected a time"),
            ("f,start,end\nr,,2\n", None, "row 1: column 'start' is empty"),
            ("f,start,end\nr,1,2\nr,3,2\n", None, "row 2: column 'end' is 2, expected at least"),
        ],
    )  # fmt: skip
    def test_an_error_names_file_row_and_column(
        self, tmp_path: Path, content: str | bytes, mapping: dict[str, str] | None, why: str
    ) -> None:
        path = text(tmp_path, content)
        if "time is 9999" in why or "completes" in why:  # that is for operations to refuse
            with pytest.raises(HistoryError, match=why):
                load_columns(path)
            return
        words = refused(path, mapping)
        assert re.search(why, words), words
        assert len(words) < 600

    def test_windows_writes_it_too(self, tmp_path: Path) -> None:
        path = text(tmp_path, ("\ufeff" + EVENTS).replace("\n", "\r\n"))
        assert described(load_columns(path)) == described(columns_of(read(path)))
        assert len(read(path).events) == 4


class TestParquet:
    """Native types."""

    def test_an_event_a_row(self, tmp_path: Path) -> None:
        path = table(
            tmp_path,
            {
                "process": [0, 0, 1],
                "type": pa.array(["invoke", "ok", "invoke"]).dictionary_encode(),
                "f": ["cas", "cas", "cas"],
                "value": [[1, None], [1, None], None],
                "key": [7, 7, 8],
                "time": [1.0, 2.0, 3.0],
            },
        )
        history = read(path)
        assert history.format == "parquet"
        first, second = history.operations()
        assert (first.input, first.key, first.invocation.time) == ([1, None], "7", 1)
        assert second.type is EventType.INFO

    def test_an_operation_a_row_with_times_of_day(self, tmp_path: Path) -> None:
        at = [datetime(2026, 1, 1, second=s, tzinfo=UTC) for s in (1, 2, 3)]
        path = table(
            tmp_path,
            {
                "client": ["4", "nemesis"][:1] * 2,
                "op": ["write", "read"],
                "value": [{"a": 1.0, "b": [True]}, None],
                "start": [at[0], at[2]],
                "end": [at[1], None],
            },
        )
        first, second = read(path, {"process": "client", "f": "op"}).operations()
        assert first.input == {"a": 1.0, "b": [True]}
        assert first.completion is not None
        assert first.completion.time == int(at[1].timestamp()) * 10**9
        assert second.end is None

    def test_a_string_is_a_string(self, tmp_path: Path) -> None:
        columns = {"process": [0, 1], "type": ["invoke"] * 2, "f": ["w"] * 2, "value": ["5", ""]}
        assert [e.value for e in read(table(tmp_path, columns)).events] == ["5", ""]

    @pytest.mark.parametrize(
        ("columns", "why"),
        [
            ({"process": [0.5], "type": ["ok"], "f": ["r"]}, "row 1: column 'process' is 0.5"),
            ({"process": [True], "type": ["ok"], "f": ["r"]}, "row 1: column 'process' is True"),
            ({"process": [0], "type": [1], "f": ["r"]}, "row 1: column 'type' is 1"),
            ({"process": [0], "type": ["ok"], "f": [None]}, "row 1: column 'f' is empty"),
            ({"process": [0], "type": ["ok"], "f": ["r"], "value": [b"x"]}, "is b'x', expected"),
            ({"process": [0], "type": ["ok"], "f": ["r"], "time": ["x"]}, "column 'time' is 'x'"),
            ({"process": [0], "type": ["ok"]}, "no column 'f'"),
            ({}, "no column 'process'; there are none"),
        ],
    )
    def test_an_error_names_file_row_and_column(
        self, tmp_path: Path, columns: dict[str, Any], why: str
    ) -> None:
        assert why in refused(table(tmp_path, columns))

    def test_what_is_no_parquet(self, tmp_path: Path) -> None:
        for content in (b"", b"PAR1", b"PAR1" * 3, b"hello"):
            assert "expected a Parquet file" in refused(text(tmp_path, content, "a.parquet"))


class TestOurLayout:
    """`write_parquet` and back."""

    @given(history=histories())
    def test_nothing_is_lost(
        self, tmp_path_factory: pytest.TempPathFactory, history: History
    ) -> None:
        path = tmp_path_factory.mktemp("layout") / "a.parquet"
        columns = columns_of(history)
        write_parquet(columns, path)
        assert described(load_columns(path)) == described(columns) | {"source": str(path)}
        assert described(columns_of(load(path))) == described(load_columns(path))

    def test_the_meaning_and_the_tail_come_along(self, tmp_path: Path) -> None:
        event = json.dumps({"process": 0, "type": "invoke", "f": "w", "value": float("nan")})
        source = text(tmp_path, event + "\n" + '{"proc', "a.jsonl")
        path = tmp_path / "a.parquet"
        write_parquet(load_columns(source), path)
        for history in (load(path), load_columns(path)):
            assert (history.format, history.torn_tail) == ("jsonl", '{"proc')
        assert [name.name for name in tmp_path.iterdir() if name.name.startswith(".")] == []

    def test_values_can_be_looked_up_afterwards(self, tmp_path: Path) -> None:
        source = text(tmp_path, EVENTS)
        path = tmp_path / "a.parquet"
        columns = load_columns(source)
        write_parquet(columns, path)
        again = load_columns(path).values
        for value in (1, "a", [1, "a"], "plain text", None, "new"):
            assert again.number(value) == columns.values.number(value)

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        whole = tmp_path / "whole.parquet"
        write_parquet(load_columns(text(tmp_path, EVENTS)), whole)
        content = whole.read_bytes()
        expected = described(load_columns(whole))
        path = tmp_path / "a.parquet"
        for place in range(4, len(content), 37):
            path.write_bytes(
                content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
            )
            try:
                found = described(load_columns(path))
            except HistoryError:
                continue
            # A byte of the footer that says nothing about the operations.
            assert found["values"] == expected["values"]
            assert found["start"] == expected["start"]

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"key": [5, 5]}, "damaged columns .*key out of bounds"),
            ({"type": [3, 3]}, "type out of bounds"),
            ({"names": ["{}", None]}, "damaged columns"),
            ({"names": ["nonsense", None]}, "damaged columns"),
            ({"names": [None, None]}, "damaged columns"),
            ({"start": None}, "damaged columns"),
        ],
    )
    def test_what_does_not_fit_together(
        self, tmp_path: Path, change: dict[str, list[Any] | None], why: str
    ) -> None:
        path = tmp_path / "a.parquet"
        write_parquet(load_columns(text(tmp_path, EVENTS)), path)
        columns = pq.read_table(path)
        for name, cells in change.items():
            place = columns.column_names.index(name)
            columns = columns.remove_column(place)
            if cells is not None:
                columns = columns.append_column(name, [cells])
        pq.write_table(columns, path)
        assert re.search(why, refused(path))

    def test_another_version_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        columns = pa.table({"f": ["r"]}).replace_schema_metadata({b"splitbrain.columns": b"2"})
        pq.write_table(columns, path)
        assert "columns of version '2', expected 1" in refused(path)


class TestDetect:
    """Which files are tables."""

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.csv", "", "csv"),
            ("a.parquet", "", "parquet"),
            ("a", "PAR1", "parquet"),
            ("a", EVENTS, "csv"),
            ("a.txt", '\ufeff"f","start", end\r\n', "csv"),
        ],
    )
    def test_by_name_and_content(
        self, tmp_path: Path, name: str, content: str, expected: str
    ) -> None:
        assert detect(text(tmp_path, content, name)) == expected

    def test_a_mapping_is_for_tables(self, tmp_path: Path) -> None:
        path = text(tmp_path, "", "a.jsonl")
        assert (
            refused(path, {"f": "op"})
            == "a mapping of columns is for csv and parquet, not for jsonl"
        )
