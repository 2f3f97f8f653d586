"""From a file to a verdict: reading, the command's exit codes and output, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from transaction_histories import history_of, simulate

from checker.columns import columns_of
from checker.history import History, HistoryError
from checker.transactions import check_transactions
from checker.transactions.command import run
from checker.transactions.micro import Transactions, transactions_of
from checker.transactions.reading import read_transactions


def written(history: History, path: Path) -> Path:
    lines = [event.to_json() + "\n" for event in history.events]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def plain(txns: Transactions) -> list[object]:
    """What transactions say, without the numbers that keys and values happen to have."""
    micros = []
    for micro, row in enumerate(txns.rows.tolist()):
        said = txns.codes.value(int(txns.code[micro]))
        if txns.workload == "list-append" and txns.length[micro] >= 0:
            said = txns.list_read(micro)
        known = bool(txns.length[micro] >= 0)
        micros.append((row, txns.keys[txns.key[micro]], bool(txns.is_write[micro]), known, said))
    columns = [
        getattr(txns, name).tolist() for name in ("index", "process", "type", "start", "end")
    ]
    return [micros, columns]


@pytest.mark.parametrize("workload", ["list-append", "rw-register"])
def test_the_fast_way_reads_what_the_exact_way_reads(workload: str, tmp_path: Path) -> None:
    for seed in range(12):
        history = simulate(Random(seed), "chaos", workload, txns=40)
        path = written(history, tmp_path / "h.jsonl")
        fast = read_transactions(path, workload)
        exact = transactions_of(columns_of(history), workload)
        assert plain(fast) == plain(exact)
        assert check_transactions(fast, workload) == check_transactions(exact, workload)


def test_keys_and_values_are_told_apart_as_json_does(tmp_path: Path) -> None:
    lines = [
        {"process": 0, "type": "invoke", "f": "txn", "value": [["append", 1, "1"], ["append", "1", 1]]},
        {"process": 0, "type": "ok", "f": "txn", "value": [["append", 1, "1"], ["append", "1", 1]]},
        {"process": "nemesis", "type": "info", "f": "kill", "value": None},
        {"process": 1, "type": "invoke", "f": "txn", "value": [["r", 1.0, None], ["r", True, None]]},
        {"process": 1, "type": "ok", "f": "txn", "value": [["r", 1.0, ["1"]], ["r", True, None]]},
        {"process": 2, "type": "invoke", "f": "txn", "value": [["append", [1], {"a": 2**70}]]},
    ]  # fmt: skip
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    txns = read_transactions(path, "list-append")
    assert txns.keys == (1, "1", True, [1])
    assert txns.key.tolist() == [0, 1, 0, 2, 3]
    assert txns.list_read(2) == ["1"]
    assert txns.codes.value(int(txns.code[4])) == {"a": 2**70}
    assert check_transactions(txns).names == ()


def test_orders_with_times_out_of_line_are_read_alike(tmp_path: Path) -> None:
    history = history_of("0@0-5 ax1", "1@2-3 rx[1]", "2@4-9 rx[] | info", "3@6-7 ax2 | fail")
    path = written(history, tmp_path / "h.jsonl")
    path.write_bytes(path.read_bytes() + b'{"process": 9, "ty')
    assert plain(read_transactions(path, "list-append")) == plain(transactions_of(history, "list-append"))  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([["r", "x"]], "micro-operation"),
        ([["w", "x", 1]], "micro-operation"),
        ([["r", "x", 5]], "micro-operation"),
        ("nonsense", "expected a list"),
        (None, "expected a list"),
        (7, "expected a list"),
        ([["append", "x", None]], "null"),
    ],
)
def test_what_is_no_transaction_is_named_with_its_event(
    value: object, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "h.jsonl"
    ok = [["r", "x", None]]
    rows = [("invoke", ok), ("ok", ok), ("invoke", value), ("ok", value)]
    path.write_text(
        "".join(json.dumps({"process": 0, "type": kind, "f": "txn", "value": v}) + "\n"
                for kind, v in rows), encoding="utf-8",
    )  # fmt: skip
    with pytest.raises(HistoryError, match=f"event 2: .*{said}"):
        read_transactions(path, "list-append")
    code, text = run(path, "list-append", "serializable", False)
    assert code == 2
    assert said in text


def test_other_operations_and_workloads_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"process":0,"type":"invoke","f":"read","value":null}\n', encoding="utf-8")
    with pytest.raises(HistoryError, match="f is 'read', expected 'txn'"):
        read_transactions(path, "list-append")
    with pytest.raises(ValueError, match="list-append, rw-register"):
        read_transactions(path, "bank")
    txns = transactions_of(history_of("0 ax1"), "list-append")
    with pytest.raises(ValueError, match="not of rw-register"):
        check_transactions(txns, "rw-register")


def test_the_command_says_verdict_models_and_cycle(tmp_path: Path) -> None:
    skew = written(history_of("0@0-99 rx[] ay1", "1@0-99 ry[] ax1"), tmp_path / "skew.jsonl")
    code, text = run(skew, "list-append", "serializable", False)
    assert code == 1
    assert "T0 -rw-> T1 -rw-> T0" in text
    assert "remaining: strong-snapshot-isolation" in text
    code, text = run(skew, "list-append", "snapshot-isolation", False)
    assert code == 0
    code, text = run(skew, "list-append", "serializable", True)
    record = json.loads(text)
    assert record["verdict"] == "invalid"
    assert record["anomalies"][0]["edges"][0]["kind"] == "rw"
    assert "repeatable-read" in record["ruled_out"]


def test_the_command_says_what_it_could_not_do(tmp_path: Path) -> None:
    nothing = written(history_of("0 ax1 | info"), tmp_path / "h.jsonl")
    assert run(nothing, "list-append", "serializable", False)[0] == 3
    assert run(nothing, "list-append", "sequential-ish", False)[0] == 2
    assert run(nothing, "banking", "serializable", False)[0] == 2
    code, text = run(tmp_path / "missing.jsonl", "list-append", "serializable", True)
    assert code == 2
    assert json.loads(text)["verdict"] == "unknown"


def test_no_history_is_empty_arrays() -> None:
    txns = transactions_of(History(()), "rw-register")
    assert len(txns) == 0
    assert np.array_equal(txns.first, [0])
    assert check_transactions(txns, "rw-register").names == ()
