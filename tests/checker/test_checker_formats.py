"""Reading histories: what comes out, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker import NEMESIS, EventType, History, HistoryError, check, detect, load, model_named
from checker.formats.edn import Keyword, read_edn
from checker.values import canonical

LOG = "INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1\n"


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def one(text: str) -> Any:
    values = [value for _, value in read_edn(text)]
    assert len(values) == 1
    return values[0]


class TestEdn:
    """The notation."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("nil", None),
            ("true", True),
            ("false", False),
            ("42", 42),
            ("-7", -7),
            ("+7", 7),
            ("12345678901234567890N", 12345678901234567890),
            ("1.5", 1.5),
            ("-2e3", -2000.0),
            ("2.50M", 2.5),
            (":timed-out", "timed-out"),
            (":a.b/c", "a.b/c"),
            ("symbol", "symbol"),
            ("+", "+"),
            ("->x", "->x"),
            ('"a b"', "a b"),
            (r'"\n\t\"\\ \u00e9 \101"', '\n\t"\\ é A'),
            ('"two\nlines"', "two\nlines"),
            (r"\a", "a"),
            (r"\newline", "\n"),
            (r"\u0041", "A"),
            (r"\(", "("),
            ("[1 2]", [1, 2]),
            ("(1, 2,)", [1, 2]),
            ("#{1 2}", [1, 2]),
            ("[]", []),
            ('{:a 1, "b" [nil]}', {"a": 1, "b": [None]}),
            ("{1 2}", {"1": 2}),
            ('#inst "2020"', "2020"),
            ("#jepsen.history.Op{:index 1}", {"index": 1}),
            ("[1 #_2 3]", [1, 3]),
            ("[#_#_1 2 3]", [3]),
            ("[#_[a {b c}] 1]", [1]),
            ("[#_#tag 1 2]", [2]),
            ("^{:doc 1} [1]", [1]),
            ("; note\n 1 ; note", 1),
            ("##Inf", float("inf")),
            ("##-Inf", float("-inf")),
        ],
    )
    def test_a_value(self, text: str, value: Any) -> None:
        read = one(text)
        assert read == value
        assert type(read) is type(value) or isinstance(read, Keyword)

    @pytest.mark.parametrize(
        ("text", "line", "why"),
        [
            ("\n[1 2", 2, "never closed"),
            ("[1\n)", 2, r"expected '\]', got '\)'"),
            ("]", 1, "expected a value, got"),
            ("{:a\n1 :b}", 1, "a name and no value"),
            ("{:a 1 :a 2}", 1, "same name twice"),
            ('\n\n"open', 3, "cannot read"),
            (r'"\q"', 1, "unknown escape"),
            (r"\nonsense", 1, "unknown character"),
            ("1/2", 1, "cannot read '1/2'"),
            ("12x", 1, "cannot read"),
            (":", 1, "cannot read"),
            ("##Nope", 1, "cannot read"),
            ("[#_]", 1, "expected a value before"),
            ("#_", 1, "expected a value at the end"),
            ("9" * 5000, 1, "integer"),
            ("[" * 5000, 1, "nested deeper"),
            ("#a " * 5000, 1, "prefixes"),
        ],
    )
    def test_an_error(self, text: str, line: int, why: str) -> None:
        with pytest.raises(HistoryError, match=f"line {line}: .*{why}"):
            list(read_edn(text))

    def test_values_have_the_line_they_start_on(self) -> None:
        assert [line for line, _ in read_edn('{:a\n1}\n\n"x\ny" [\n]')] == [1, 4, 5]

    @settings(max_examples=300, deadline=None)
    @given(text=st.text() | st.text(alphabet='[](){}#_^:"\\;\n a1-+.'))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        refusal = None
        try:
            for _, value in read_edn(text):
                json.dumps(value)
        except HistoryError as error:
            refusal = str(error)
        assert refusal is None or refusal.startswith("line ")

    @settings(max_examples=100, deadline=None)
    @given(
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(alphabet='ab "\\\n'),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(alphabet="xyz", min_size=1), inner, max_size=3)
            ),
            max_leaves=8,
        )
    )
    def test_what_is_written_is_read_back(self, value: Any) -> None:
        assert canonical(one(as_edn(value))) == canonical(value)


def as_edn(value: Any) -> str:
    if value is None:
        return "nil"
    if isinstance(value, list):
        return f"[{' '.join(map(as_edn, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f":{name} {as_edn(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


class TestJepsenEdn:
    """Histories in that notation."""

    def test_a_vector_and_a_map_a_line_are_the_same(self, tmp_path: Path) -> None:
        maps = (
            "{:process 3, :type :invoke, :f :cas, :value [1 2], :key :x, :time 5}\n"
            "{:process :nemesis, :type :info, :f :start, :value nil, :time 6}\n"
            "{:process 3, :type :fail, :f :cas, :value [1 2], :key :x, :time 7, :error :no}\n"
        )
        lines = load(written(tmp_path, "lines.edn", maps))
        vector = load(written(tmp_path, "vector.edn", f"; note\n[{maps}]"))
        assert lines.events == vector.events
        assert lines.format == "edn"
        (operation,) = lines.operations()
        assert (operation.f, operation.key, operation.input) == ("cas", "x", [1, 2])
        assert operation.completion is not None
        assert operation.completion.error == "no"
        assert [event.process for event in lines.nemesis_events] == [NEMESIS]

    def test_their_indexes_are_kept_if_all_have_one(self, tmp_path: Path) -> None:
        text = "{:process 0 :type :invoke :f :read :index 10}"
        assert load(written(tmp_path, "a.edn", text)).events[0].index == 10
        mixed = text + "{:process 1 :type :invoke :f :read}"
        assert [e.index for e in load(written(tmp_path, "b.edn", mixed)).events] == [0, 1]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("[1 2]", "line 1: expected operation maps"),
            ("\n{:process 0 :type :done :f :read}", "line 2: operation 0: type is 'done'"),
            ("{:process 0 :type [] :f :read}", r"type is \[\]"),
            ("{:process x :type :ok :f :read}", "process is 'x'"),
            ("{:process 0 :type :ok :f 1}", "f is 1"),
            ("{:process 0 :type :ok :f :read :time 1.5}", "time is 1.5"),
            ("{:process 0 :type :ok :f :read", "line 1: '{' is never closed"),
            (b"{}\n\n\xff", "line 3: not UTF-8"),
        ],
    )
    def test_an_error_names_file_and_line(
        self, tmp_path: Path, text: str | bytes, why: str
    ) -> None:
        path = written(tmp_path, "bad.edn", text)
        with pytest.raises(HistoryError, match=why) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")

    def test_what_the_nemesis_did_keeps_its_type_if_it_has_one(self, tmp_path: Path) -> None:
        text = "".join(
            f"{{:process :nemesis :type {kind} :f :kill}}\n" for kind in (":ok", ":odd", "1")
        )
        kinds = [event.type for event in load(written(tmp_path, "a.edn", text)).events]
        assert kinds == [EventType.OK, EventType.INFO, EventType.INFO]

    def test_a_byte_order_mark_is_no_value(self, tmp_path: Path) -> None:
        for name, text in (("a.edn", "{:process 0 :type :invoke :f :read}"), ("a.log", LOG)):
            assert load(written(tmp_path, name, "\ufeff" + text)).events[0].process == 0


class TestJepsenLog:
    """Operations in a log."""

    def test_events_among_other_lines(self, tmp_path: Path) -> None:
        text = (
            "INFO  jepsen.core - Everything set up\n"
            "INFO  jepsen.util - 4\t:invoke\t:read\tnil\n"
            "INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n"
            "INFO  jepsen.util - 3   :invoke :cas    [1 2]\n"
            "\n"
            "INFO  jepsen.util - 4\t:fail\t:read\t:timed-out\n"
        )
        history = load(written(tmp_path, "a.log", text))
        assert history.format == "jepsen-log"
        read, cas = history.operations()
        assert (read.type, read.output) == (EventType.FAIL, None)
        assert read.completion is not None
        assert read.completion.error == "timed-out"
        assert (cas.type, cas.input) == (EventType.INFO, [1, 2])

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("garbage", "expected 'INFO  jepsen.util"),
            ("INFO  jepsen.util - hello", "expected 'INFO  jepsen.util"),
            ("INFO  jepsen.util - 0 :ok :read", "expected 'INFO  jepsen.util"),
            ("INFO  jepsen.util - 0 :ok :read 1 2", "expected one value"),
            ("INFO  jepsen.util - 0 :ok :cas [1 2", "never closed"),
        ],
    )
    def test_an_error_names_file_and_line(self, tmp_path: Path, line: str, why: str) -> None:
        path = written(tmp_path, "bad.log", LOG + line + "\n" + LOG)
        with pytest.raises(HistoryError, match=why) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}:3: ")

    def test_what_is_not_text(self, tmp_path: Path) -> None:
        with pytest.raises(HistoryError, match="not UTF-8"):
            load(written(tmp_path, "bad.log", b"\xff"))


class TestLoad:
    """Which reader is chosen."""

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.jsonl", "", "jsonl"),
            ("a.edn", "", "edn"),
            ("a.log", "", "jepsen-log"),
            ("a", '{"process": 0}', "jsonl"),
            ("a", "\n{:process 0}", "edn"),
            ("a.txt", "; note\n[]", "edn"),
            ("a.txt", "({:process 0})", "edn"),
            ("a.txt", LOG, "jepsen-log"),
            ("a", "", "jsonl"),
        ],
    )
    def test_by_name_and_content(
        self, tmp_path: Path, name: str, content: str, expected: str
    ) -> None:
        assert detect(written(tmp_path, name, content)) == expected

    def test_a_named_format_is_believed(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a.txt", LOG)
        assert load(path, "jepsen-log").events == load(path).events
        with pytest.raises(HistoryError, match=r"a\.txt: line 1: expected operation maps"):
            load(path, "edn")

    def test_what_cannot_be_told(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a.bin", b"\x00\x01\x02")
        with pytest.raises(HistoryError, match=r"a\.bin:1: cannot tell the format; choose one of"):
            load(path)
        with pytest.raises(HistoryError, match="no format is called 'xml'; there are auto, jsonl"):
            load(path, "xml")

    @pytest.mark.parametrize(
        "line",
        [
            "garbage",
            "[1]",
            "3",
            "null",
            '{"process":0,"type":["ok"],"f":"read"}',
            '{"process":true,"type":"ok","f":"read"}',
            '{"process":0,"type":"ok","f":"read","index":"x"}',
            "[" * 100_000,
            "9" * 5000,
            "\x00\x00",
        ],
    )
    def test_garbage_in_the_middle_is_named(self, tmp_path: Path, line: str) -> None:
        good = '{"process":0,"type":"invoke","f":"read"}\n'
        path = written(tmp_path, "a.jsonl", good + line + "\n" + good)
        with pytest.raises(HistoryError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}:2: ")
        assert len(str(caught.value)) < 500 + len(str(path))

    def test_garbage_alone_is_no_torn_tail(self, tmp_path: Path) -> None:
        with pytest.raises(HistoryError, match=r"a\.jsonl:1: not JSON"):
            load(written(tmp_path, "a.jsonl", "hello"))

    def test_a_tail_torn_anywhere_leaves_its_operation_open(self, tmp_path: Path) -> None:
        events = [
            {"process": 0, "type": "invoke", "f": "write", "value": "é1"},
            {"process": 1, "type": "invoke", "f": "read"},
            {"process": 1, "type": "ok", "f": "read", "value": "é1"},
            {"process": 0, "type": "ok", "f": "write", "value": "é1"},
        ]
        whole = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events).encode()
        last = whole.rstrip().rindex(b"\n") + 1
        model = model_named("register")
        for cut in range(last, len(whole) + 1):
            history = load(written(tmp_path, "torn.jsonl", whole[:cut]))
            assert (history.torn_tail is not None) == (last < cut < len(whole) - 1)
            assert len(history.events) == (4 if cut >= len(whole) - 1 else 3)
            assert check(history, model).verdict == "valid"


def test_equal_times_overlap(tmp_path: Path) -> None:
    """A write's answer and a read's request at one instant: the read may come first."""
    events = [
        {"process": 0, "type": "invoke", "f": "write", "value": 1, "time": 1},
        {"process": 0, "type": "ok", "f": "write", "value": 1, "time": 5},
        {"process": 1, "type": "invoke", "f": "read", "time": 5},
        {"process": 1, "type": "ok", "f": "read", "value": None, "time": 9},
    ]
    model = model_named("register")

    def verdict(read_at: int) -> str:
        lines = [json.dumps({**e, "time": read_at} if i == 2 else e) for i, e in enumerate(events)]
        return check(load(written(tmp_path, "a.jsonl", "\n".join(lines) + "\n")), model).verdict

    assert verdict(5) == "valid"
    assert verdict(6) == "invalid"


def test_a_history_remembers_its_format() -> None:
    assert History(()).format == "jsonl"
