"""``splitbrain check`` as people and scripts see it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from checker.command import Request, run_check
from checker.verify_command import run_verify

VALID = [
    {"process": 0, "type": "invoke", "f": "write", "key": "a", "value": 1, "time": 1_000_000},
    {"process": 0, "type": "ok", "f": "write", "key": "a", "value": 1, "time": 2_000_000},
    {"process": 1, "type": "invoke", "f": "read", "key": "a", "time": 3_000_000, "node": "n2"},
    {"process": 1, "type": "ok", "f": "read", "key": "a", "value": 1, "time": 4_000_000},
]
STALE = [*VALID[:3], {**VALID[3], "value": None}]
JSON_NAMES = {
    "path", "verdict", "operations", "keys", "algorithm", "seconds", "peak_mb", "counterexample",
    "certificate", "reason",
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_histories_are_for_the_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh process: which tests ran before must not decide which search answers."""
    monkeypatch.setattr("checker.linearizable.are_kernels_loaded", lambda: False)


def saved(tmp_path: Path, name: str, events: list[dict[str, Any]] | str) -> Path:
    path = tmp_path / name
    text = events if isinstance(events, str) else "".join(json.dumps(e) + "\n" for e in events)
    path.write_text(text, encoding="utf-8")
    return path


def run(*paths: Path, **options: Any) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    options.setdefault("model", "cas-register")
    code = run_check(paths, Request(**options), out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def test_valid(tmp_path: Path) -> None:
    code, out, err = run(saved(tmp_path, "h.jsonl", VALID))
    assert (code, err) == (0, "")
    assert "h.jsonl: valid\n" in out
    assert "2 operations, 1 keys, wing-gong-lowe" in out


def test_invalid_shows_what_to_look_at(tmp_path: Path) -> None:
    code, out, _ = run(saved(tmp_path, "h.jsonl", STALE))
    assert code == 1
    assert "h.jsonl: invalid" in out
    assert "process 1's read null (event 2)" in out
    assert "^ would need the value null, but it is 1" in out
    assert "3.000     4.000   1        read null" in out


def test_json_is_one_line_a_file_and_nothing_else(tmp_path: Path) -> None:
    good, bad = saved(tmp_path, "a.jsonl", VALID), saved(tmp_path, "b.jsonl", STALE)
    code, out, err = run(good, bad, as_json=True)
    assert (code, err) == (1, "")
    first, second = (json.loads(line) for line in out.splitlines())
    assert set(first) == set(second) == JSON_NAMES
    assert (first["path"], first["verdict"]) == (str(good), "valid")
    assert first["counterexample"] is first["certificate"] is first["reason"] is None
    assert (second["operations"], second["keys"], second["algorithm"]) == (2, 1, "wing-gong-lowe")
    assert second["peak_mb"] > 1
    assert second["counterexample"] == {
        "key": "a",
        "summary": "All operations that returned before process 1's read null (event 2) can be "
        "ordered, but after no order of them can it take effect: it would need the value null, "
        "but it is 1.",
        "last_valid_operations": 1,
        "final_states": [
            {"state": "1", "why_not": "would need the value null, but it is 1", "linearized": [0],
             "pending": []},
        ],
        "operations": [
            {"index": 0, "process": 0, "f": "write", "key": "a", "value": 1, "type": "ok",
             "start_ns": 1_000_000, "end_ns": 2_000_000, "node": None, "why_not": None},
            {"index": 2, "process": 1, "f": "read", "key": "a", "value": None, "type": "ok",
             "start_ns": 3_000_000, "end_ns": 4_000_000, "node": "n2",
             "why_not": "would need the value null, but it is 1"},
        ],
        "cycle": [
            "read null (event 2) saw a value that write 1 (event 0) changed, so it came before",
            "write 1 (event 0) returned before read null (event 2) was invoked",
        ],
    }  # fmt: skip
    proof = tmp_path / "proof.json"
    proof.write_text(json.dumps(second["certificate"]), encoding="utf-8")
    assert run_verify(bad, proof, out=io.StringIO()) == 0


def test_no_operations_show_nothing(tmp_path: Path) -> None:
    nemesis = [{"process": "nemesis", "type": "info", "f": "partition"}]
    for events in ([], nemesis):
        code, out, _ = run(saved(tmp_path, "h.jsonl", events), as_json=True)
        assert code == 3
        assert json.loads(out)["verdict"] == "unknown"
        assert json.loads(out)["reason"] == "no operations"


def test_a_spent_budget_is_unknown(tmp_path: Path) -> None:
    code, out, _ = run(saved(tmp_path, "h.jsonl", VALID * 400), budget_s=0)
    assert code == 3
    assert "unknown (time ran out (" in " ".join(out.split())


def test_a_bad_file_is_named_and_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = saved(tmp_path, "bad.jsonl", json.dumps(VALID[0]) + "\ngarbage\n")
    code, out, err = run(bad, saved(tmp_path, "h.jsonl", VALID), as_json=True)
    assert code == 2
    assert f"{bad}:2: not JSON" in err
    assert [json.loads(line)["verdict"] for line in out.splitlines()] == ["unknown", "valid"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["valid"], 0),
        (["valid", "empty"], 3),
        (["empty", "bad"], 2),
        (["missing", "empty"], 2),
        (["bad", "stale", "empty"], 1),
    ],
)
def test_the_worst_file_decides(tmp_path: Path, names: list[str], expected: int) -> None:
    saved(tmp_path, "valid.jsonl", VALID)
    saved(tmp_path, "stale.jsonl", STALE)
    saved(tmp_path, "empty.jsonl", [])
    saved(tmp_path, "bad.jsonl", "garbage\n")
    assert run(*(tmp_path / f"{name}.jsonl" for name in names))[0] == expected


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"model": None}, "Choose one with --model: register, cas-register"),
        ({"model": "heap"}, "no model is called 'heap'; there are register"),
        ({"model": "mutex", "initial": 3}, "mutex starts as 3"),
        ({"failed_cas": "maybe"}, "maybe"),
        ({"format": "xml"}, "no format is called 'xml'"),
    ],
)
def test_bad_usage(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    code, out, err = run(saved(tmp_path, "h.jsonl", VALID), **options)
    assert (code, out) == (2, "")
    assert why in err


def test_no_files_is_bad_usage() -> None:
    assert run()[0] == 2


def test_meanings_can_be_overridden(tmp_path: Path) -> None:
    path = saved(tmp_path, "h.jsonl", STALE)
    assert run(path, nil_read="unknown")[0] == 0
    refused = [*VALID[:2], {**VALID[2], "f": "cas", "value": [1, 2]},
               {**VALID[3], "f": "cas", "type": "fail", "value": [1, 2]}]  # fmt: skip
    path = saved(tmp_path, "cas.jsonl", refused)
    assert run(path)[0] == 0
    assert run(path, failed_cas="differs")[0] == 1
    assert run(path, failed_cas="absent")[0] == 0


def test_the_initial_value_counts(tmp_path: Path) -> None:
    path = saved(tmp_path, "h.jsonl", VALID[2:])
    assert run(path)[0] == 1
    assert run(path, initial=1)[0] == 0
    assert run(path, initial=True)[0] == 1


def test_a_torn_tail_is_reported(tmp_path: Path) -> None:
    text = "".join(json.dumps(event) + "\n" for event in VALID)[:-9]
    code, out, err = run(saved(tmp_path, "h.jsonl", text), as_json=True)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "dropped a torn last line" in err


def test_operations_that_do_not_pair_up_are_bad_input(tmp_path: Path) -> None:
    code, _, err = run(saved(tmp_path, "h.jsonl", VALID[1:]))
    assert code == 2
    assert "completes (ok) an operation it never invoked" in err


def test_text_that_no_terminal_can_show(tmp_path: Path) -> None:
    events = [{**event, "value": "\ud800"} if event["f"] == "write" else event for event in STALE]
    code, out, _ = run(saved(tmp_path, "h.jsonl", events))
    assert code == 1
    out.encode("utf-8")
    assert "\\ud800" in out


def test_a_deeply_nested_value_is_bad_input_or_checked(tmp_path: Path) -> None:
    value = "[" * 900 + "]" * 900
    lines = [json.dumps(event).replace('"value": 1', f'"value": {value}') for event in VALID]
    assert run(saved(tmp_path, "h.jsonl", "\n".join(lines) + "\n"))[0] in (0, 2)
