"""Both ways to read a file, as events and as columns, give one result and one error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from same_columns import described, histories, misbehaved

from checker import READERS, History, HistoryError, load
from checker.columns import Columns, columns_of
from checker.formats import draft, edn_columns, jsonl, load_columns
from checker.formats.edn_writer import write_edn
from checker.formats.jepsen_edn import read_jepsen_edn

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
CORPUS = sorted(path for path in DATA.glob("*/*") if path.suffix in (".edn", ".log"))
IN = '{"process":0,"type":"invoke","f":"read"'
OUT = '{"process":0,"type":"ok","f":"read","value":1'


def outcome(read: Any) -> Any:
    """What was read, or the words of the refusal."""
    try:
        return described(read())
    except HistoryError as error:
        return str(error)


def both(path: Path, format: str = "auto") -> Any:  # noqa: A002
    """Read both ways, hold them together, return what was read."""
    exact = outcome(lambda: columns_of(load(path, format)))
    fast = outcome(lambda: load_columns(path, format))
    assert fast == exact
    return fast


def written(content: str | bytes, name: str = "a.jsonl") -> Path:
    path = Path(tempfile.mkdtemp(prefix="columns-", dir=FOLDER)) / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


FOLDER = tempfile.gettempdir()


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    global FOLDER
    FOLDER = str(tmp_path_factory.mktemp("histories"))


@pytest.fixture(autouse=True)
def _small_files_go_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edn_columns, "_SMALL_BYTES", 0)


def as_lines(history: History) -> str:
    return "".join(event.to_json() + "\n" for event in history.events)


def fast_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid the way out, so that a test fails where the fast way gave up."""

    def refuse(path: Path) -> History:
        raise AssertionError(f"{path}: the exact reader was asked")

    monkeypatch.setattr(jsonl, "read_jsonl", refuse)
    monkeypatch.setattr(edn_columns, "read_jepsen_edn", refuse)


@pytest.mark.skipif(not CORPUS, reason=f"no recorded histories in {DATA}")
def test_recorded_histories_are_read_alike() -> None:
    for path in CORPUS:
        assert isinstance(both(path), dict), path


class TestJsonl:
    """Our own format."""

    @given(history=histories())
    def test_any_history(self, history: History) -> None:
        path = written(as_lines(history))
        assert isinstance(both(path), dict)

    @settings(max_examples=100)
    @given(records=misbehaved())
    def test_any_misbehaviour(self, records: list[dict[str, Any]]) -> None:
        both(written("".join(json.dumps(record) + "\n" for record in records)))

    @settings(max_examples=100)
    @given(
        history=histories(),
        place=st.integers(0, 400),
        junk=st.sampled_from((b"", b"\n", b" ", b"\r\n", b"\x00", b"\xff", b"}\n{", b"\\", b'"')),
        cut=st.integers(0, 3),
    )
    def test_any_damage(self, history: History, place: int, junk: bytes, cut: int) -> None:
        content = as_lines(history).encode()
        both(written(content[:place] + junk + content[place + cut :]))

    def test_the_fast_way_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fast_only(monkeypatch)
        lines = [
            IN + ',"index":5,"time":1,"key":7,"node":"n1","value":[1,"a"]}',
            '{"process":"nemesis","type":"info","f":"kill","index":6,"time":2,"value":{"a":[true]}}',
            OUT + ',"index":7,"time":2,"error":["x",1],"other":{"deep":[[1.5]]}}',
        ]
        for end, mark in (("\n", ""), ("\r\n", ""), ("\n", '{"process":')):
            columns = load_columns(written(end.join((*lines, mark))))
            assert len(columns) == 1
            assert (columns.keys, columns.errors) == (("7",), ('["x",1]',))
            assert columns.torn_tail == (mark or None)
            assert columns.values.decoded[columns.input[0]] == [1, "a"]

    def test_blocks_meet_anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fast_only(monkeypatch)
        events = [
            {"process": p, "type": kind, "f": "read", "value": [p, n], "key": f"k{n}", "time": n}
            for n in range(40)
            for kind in ("invoke", "ok")
            for p in (0, 1, 2)
        ]
        path = written("".join(json.dumps(event) + "\n" for event in events))
        whole = described(load_columns(path))
        for size in (1, 7, 100, 1000):
            monkeypatch.setattr(jsonl, "_BLOCK_BYTES", size)
            assert described(load_columns(path)) == whole

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "\n",
            " \n\r\n\t",
            IN + "}",
            IN + "}\n",
            IN + "}\n\n" + OUT + "}\n",
            IN + "}" + OUT + "}\n",
            IN + "}" + OUT + "}\n\n",
            IN + "}" + OUT + "\n}\n",
            IN + "}\n" + IN + "}\n",
            IN + "}\n" + OUT,
            IN + "}\n" + OUT + ',"value":"é'.encode().decode()[:-1],
            IN + "}\n[",
            IN + "}\n" + '{"process":0} x',
            IN + "}\r" + OUT + "}\r",
            IN + "}\r\n" + OUT + "}\r\n",
            "\ufeff" + IN + "}\n" + OUT + "}\n",
            "\ufeff",
            IN + ',"value":NaN}\n',
            IN + ',"value":1e400}\n',
            IN + ',"value":-0}\n' + OUT + ',"value":-0.0}\n',
            IN + ',"value":"\\ud800"}\n' + OUT + ',"value":"\\ud83d\\ude00"}\n',
            IN + ',"x":"\\ud800"}\n',
            IN + f',"x":{"9" * 5000}}}\n',
            IN + f',"value":{"9" * 5000}}}\n',
            IN + f',"value":{"9" * 4000}}}\n',
            IN + f',"value":{"[" * 100_000}}}\n',
            IN + f',"value":{"[" * 100_000}{"]" * 100_000}}}\n',
            IN + f',"value":{"[" * 600}{"]" * 600}}}\n',
            IN + f',"x":{"[" * 100_000}{"]" * 100_000}}}\n',
            IN + ',"value":1,"value":2}\n',
            IN + ',"process":"x","process":1}\n',
            IN + ',"process":1,"process":"x"}\n',
            IN + ',"index":1}\n' + OUT + "}\n",
            IN + ',"index":1}\n' + OUT + ',"index":1}\n',
            IN + ',"index":9}\n' + OUT + ',"index":1}\n',
            IN + ',"time":9}\n' + OUT + ',"time":1}\n',
            IN + ',"time":9}\n' + OUT + "}\n",
            IN + ',"time":null}\n' + OUT + ',"time":null}\n',
            IN + ',"index":null}\n',
            IN + ',"time":9223372036854775808}\n',
            IN + ',"index":9223372036854775808}\n',
            IN + ',"value":{"a":1,"a":2}}\n',
            '{"process":"nemesis","type":"invoke","f":"x","time":1}\n' + IN + "}\n",
            '{"process":"nemesis","type":"invoke","f":"x"}\n',
            b'{"process":0,"type":"ok","f":"\xff"}\n',
            b'{"process":0,"type":"ok","f":"r","x":"\xff"}\n',
            b'{"process":0,"type":"ok","f":"r","x":"\xed\xa0\x80"}\n',
            IN + ',"value":"\x00"}\n',
            "\x00" * 50,
            (IN + "}\n").encode("utf-16"),
            (IN + "}").encode("utf-16-le"),
        ],
    )
    def test_the_unusual(self, content: str | bytes) -> None:
        both(written(content))


class TestEdn:
    """Jepsen's histories."""

    @given(history=histories(), brackets=st.sampled_from(("", "[]", "()")))
    def test_any_history(self, history: History, brackets: str) -> None:
        path = written("", "a.edn")
        write_edn(history, path)
        text = path.read_text()
        opener, closer = brackets[:1], brackets[1:]
        path.write_text(f"; note\n{opener}{text.rstrip()}{closer}\n")
        assert isinstance(both(path), dict)

    @settings(max_examples=100)
    @given(
        history=histories(),
        place=st.integers(0, 400),
        junk=st.sampled_from(
            (
                "",
                "\n",
                "#_",
                "#_ ",
                "^",
                ";",
                '"',
                "\\",
                "[",
                "]",
                "{",
                "}",
                ")",
                "nil ",
                ":a ",
                "\r",
            )
        ),
        cut=st.integers(0, 3),
        around=st.booleans(),
    )
    def test_any_damage(
        self, history: History, place: int, junk: str, cut: int, *, around: bool
    ) -> None:
        path = written("", "a.edn")
        write_edn(history, path)
        text = path.read_text()
        text = text[:place] + junk + text[place + cut :]
        path.write_text(f"[{text.rstrip()}]" if around else text)
        both(path)

    def test_the_fast_way_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fast_only(monkeypatch)
        maps = (
            '{:process 0, :type :invoke, :f :cas, :value [1 2], :key "k", :time 5, :mine {:a 1}}\n'
            "{:process :nemesis, :type :info, :f :kill, :value {:n1 :killed}, :time 6}\n"
            "#jepsen.history.Op{:time 7 :process 0 :type :fail :f :cas :value [1 2] :error [:no 1]}\n"
            '{:process 2, :type :invoke, :f :append, :value [[:r :x nil] [:w "y" 1]], :time 8}\n'
            '{:process 3, :type :invoke, :f :append, :value "\\"", :time 9}\n'
            "{:process 2, :type :ok, :f :append, :value [1_0 x], :time 9}\n"
        )
        maps = maps.replace("1_0", "1")
        for text in (
            maps,
            f"[{maps}]",
            f"; a note\n\n( {maps.replace(chr(10), chr(13) + chr(10))} )\n",
        ):
            path = written(text, "a.edn")
            with monkeypatch.context() as allowed:
                allowed.setattr(edn_columns, "read_jepsen_edn", read_jepsen_edn)
                exact = described(columns_of(load(path)))
            assert described(load_columns(path)) == exact
            assert exact["keys"] == ["k", None] or exact["keys"] == ("k", None)

    def test_a_small_file_is_read_without_a_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = written("{:process 0, :type :invoke, :f :read}\n", "a.edn")
        exact = described(columns_of(load(path)))
        monkeypatch.setattr(edn_columns, "_SMALL_BYTES", path.stat().st_size + 1)
        monkeypatch.setattr(edn_columns, "_Reader", None)
        assert described(load_columns(path)) == exact

    def test_too_many_odd_lines_go_the_exact_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edn_columns, "_EXACT_MAX", 3)
        line = '{{:process {}, :type :invoke, :f :w, :value "\\"{}"}}\n'
        both(written("".join(line.format(n, n) for n in range(9)), "a.edn"))

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "[]",
            "[\n]\n",
            "; note",
            "{:process 0 :type :invoke :f :read} {:process 1 :type :invoke :f :read}",
            "[{:process 0 :type :invoke :f :read} {:process 1 :type :invoke :f :read}]",
            "[{:process 0 :type :invoke :f :read}\n] {:process 1 :type :invoke :f :read}",
            "[{:process 0 :type :invoke :f :read}\n]\n{:process 1 :type :invoke :f :read}\n",
            "[{:process 0 :type :invoke :f :read}\n]\n]",
            "[{:process 0 :type :invoke :f :read}\n",
            "[{:process 0 :type :invoke :f :read}\n; the end ]",
            "[{:process 0 :type :invoke :f :read}\n #_]",
            "[{:process 0 :type :invoke :f :read}\n \\]",
            "{:process 0 :type :invoke :f :read}\n#_\n{:process 1 :type :invoke :f :read}\n",
            '{:process 0 :type :invoke :f :read :value "two\nlines"}',
            '{:process 0 :type :invoke :f :read :value "\r\n"}',
            "{:process 0 :type :invoke :f :read :f :read}",
            "{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :f :read}",
            "{:process 0 :type :invoke :f :read :value [1_0 2]}\n" * 2,
            "{:process 0 :type :invoke :f :read :value [12x]}\n" * 2,
            "{:process 0 :type :invoke :f :read :value [+1 2N 3.0 ##NaN]}\n",
            "{:process 0 :type :invoke :f :read :value 1/2}\n",
            "{:process 0 :type :invoke :f :read :value #{1 2}}\n",
            "{:process 0 :type :invoke :f :read :value ::a}\n" * 2,
            "{:process 0 :type :invoke :f :read :mine 1 :mine 2}\n",
            '{:process 0 :type :invoke :f :read :mine 1 :yours [2 [3 "]"]]}\n',
            "{:process 0 :type :invoke :f :read :mine [2 [3 [4]]]}\n",
            "{:process 0 :type :invoke :f :read " + "".join(f":m{n} {n} " for n in range(12)) + "}",
            "{:process 007 :type :invoke :f :read :value -0}\n",
            "{:process 0 :type invoke :f :read}\n",
            "{:process 0 :type :invokes :f :read}\n",
            "{:process 0 :type :invoke}\n",
            "{:type :invoke :f :read}\n",
            "{:process :nemesi :type :invoke :f :read}\n",
            "{:process :nemesiss :type :info :f :read}\n",
            "{:process 0:type :invoke :f :read}\n",
            "{:process 0 :type :invoke :f :read}}\n",
            "{:process 0 :type :invoke :f :read} x\n",
            "#jepsen.history.Op {:process 0 :type :invoke :f :read}\n#jepsen.history.O{:process 1}",
            '{:process 0\r :type :invoke :f :read :value "a\rb"}\r\n',
            "{:process 0 :type :invoke :f :read :value truex}\n",
            "{:process 0 :type :invoke :f :read :value - :key :}\n",
            "{:process 0 :type :invoke :f 4}\n",
            '{:process 0 :type :invoke :f :read :value :\u00e9 :key "\u00e9"}\n',
            '{:process 0 :type :invoke :f :read :key [1 :a "b c"]}\n' * 2,
            "{:process 0 :type :invoke :f :read :value nilx}\n" * 2,
            "{:process 0 :type :invoke :f :read :index 4}\n{:process 0 :type :ok :f :read}",
            "{:process 0 :type :invoke :f :read :index nil}",
            "{:process 0 :type :invoke :f :read :time nil}",
            "{:process 0 :type :invoke :f :read :time 99999999999999999999}",
            "{:process 99999999999999999999 :type :invoke :f :read}",
            "{:process 0 :type :invoke :f nil}\n" * 2,
            '{:process 0 :type :invoke :f "a read" :key true :error 4}\n',
            "{:process :nemesis :type :strange :f :read}\n",
            f"{{:process 0 :type :invoke :f :read :value {'[' * 99}{']' * 99}}}",
            f"[{{:process 0 :type :invoke :f :read :value {'[' * 99}{']' * 99}}}]",
            f"[{{:process 0 :type :invoke :f :read :value {'[' * 98}{']' * 98}}}]",
            f"{{:process 0 :type :invoke :f :read :value {'9' * 5000}}}",
            "\ufeff{:process 0 :type :invoke :f :read}",
            b"{:process 0 :type :invoke :f :read}\n\xff",
            "\x00",
            "{:process 0 :type :invoke :f :read :key \x00}",
            "{:process 0 :type :invoke :f :read :value ٣ :time ٤}\n" * 2,
        ],
    )
    def test_the_unusual(self, content: str | bytes) -> None:
        both(written(content, "a.edn"))


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=st.binary(max_size=60)
    | st.text(alphabet='{}[]()":,;#\\\n\r\x00 01eaft\ufeff').map(str.encode)
    | st.sampled_from((b"PAR1", b"PAR1PAR1", b"PAR1" + b"\x00" * 40 + b"PAR1")),
)
@example(content=b"")
@example(content=b"PAR1\x10\x00\x00\x00PAR1")
@example(content=b"process,type,f\n0,invoke,read\n0")
@example(content=b"a,a\n1,2\n")
@example(content=b'a,"b\n')
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for format in READERS:  # noqa: A001
        path = written(content, "a.bin")
        found = both(path, format)
        assert isinstance(found, dict) or found.startswith(f"{path}:"), found
    with_suffix = written(content, "a")
    found = both(with_suffix)
    assert isinstance(found, dict) or found.startswith(f"{with_suffix}:")


def test_the_collector_comes_back() -> None:
    import gc

    assert gc.isenabled()
    with draft.uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with draft.uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_no_file_is_an_os_error(tmp_path: Path) -> None:
    for format in READERS:  # noqa: A001
        for path in (tmp_path, tmp_path / "absent"):
            for read in (load, load_columns):
                with pytest.raises(OSError, match=path.name):
                    read(path, format)


def test_columns_are_what_is_promised() -> None:
    assert isinstance(load_columns(written(IN + "}\n")), Columns)
