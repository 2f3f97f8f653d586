"""The verifier of anomalies accepts nothing that the history does not show."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from transaction_histories import history_of, simulate

from checker.history import History
from checker.transactions import Anomaly, AnomalyError, Edge, check_transactions, verify_anomaly
from checker.transactions.isolation import IMPLIES

SOURCE = Path(__file__).resolve().parents[2] / "checker/transactions/verify.py"


def refused(history: History, anomaly: Anomaly) -> bool:
    try:
        verify_anomaly(history, anomaly)
    except AnomalyError:
        return True
    return False


def test_it_is_small_and_shares_nothing_with_the_search() -> None:
    text = SOURCE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 250
    ours = {
        part.module
        for part in ast.walk(ast.parse(text))
        if isinstance(part, ast.ImportFrom) and str(part.module).startswith("checker")
    }
    assert ours == {
        "checker.columns",
        "checker.history",
        "checker.transactions.anomaly",
        "checker.values",
    }


@pytest.mark.parametrize("workload", ["list-append", "rw-register"])
def test_no_changed_edge_of_a_cycle_is_believed_unless_it_is_there_too(workload: str) -> None:
    changed = 0
    for seed in range(40):
        rng = Random(seed)
        history = simulate(rng, "chaos", workload, txns=25)
        for anomaly in check_transactions(history, workload).anomalies:
            if not anomaly.edges:
                continue
            edges = list(anomaly.edges)
            place = rng.randrange(len(edges))
            edge = edges[place]
            tampered = [
                replace(edge, source=edge.target),
                replace(edge, kind="ww" if edge.kind == "rw" else "rw"),
                replace(edge, key="q"),
                replace(edge, value=10_000, next_value=10_001),
            ]
            if edge.kind in ("process", "realtime"):
                tampered = [replace(edge, source=edge.target, target=edge.source)]
            for other in tampered:
                edges[place] = other
                assert refused(history, replace(anomaly, edges=tuple(edges)))
                changed += 1
    assert changed > 30


def test_a_cycle_goes_by_its_name_only() -> None:
    history = history_of("0@0-99 rx[] ay1", "1@0-99 ry[] ax1")
    (anomaly,) = check_transactions(history).anomalies
    for name in set(IMPLIES) - {"G2-item"}:
        assert refused(history, replace(anomaly, name=name))
    assert refused(history, replace(anomaly, edges=anomaly.edges[:1]))
    assert refused(history, replace(anomaly, name="G3", edges=()))
    assert refused(history, replace(anomaly, transactions=(77,)))


def test_what_may_not_have_happened_comes_before_nothing() -> None:
    history = history_of("0@0-1 ax1 | info", "1@2-3 rx[] ay1", "2@4-5 ry[]")
    claimed = Edge(source=2, target=0, kind="rw", key="x", value=None, next_value=1)
    back = Edge(source=0, target=2, kind="realtime")
    anomaly = Anomaly(name="G-single-realtime", transactions=(2, 0), edges=(claimed, back))
    with pytest.raises(AnomalyError, match="took no part"):
        verify_anomaly(history, anomaly)


CLAIMS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("G1a", ("0 ax1", "1 rx[1]"), {"transactions": (0, 2), "values": (1,)}),
    ("G1a", ("0 ax1 | fail", "1 rx[]"), {"transactions": (0, 2), "values": (1,)}),
    ("G1b", ("0 ax1 ax2", "1 rx[1 2]"), {"transactions": (0, 2), "values": (1,)}),
    ("G1b", ("0 ax1 ax2", "1 rx[1 2]"), {"transactions": (0, 2), "values": (2,)}),
    ("garbage-read", ("0 ax1", "1 rx[1]"), {"transactions": (2,), "values": (1,)}),
    ("internal", ("0 ax1 rx[1]",), {"transactions": (0,), "values": ([1], ["...", 1])}),
    ("future-read", ("0 ax1 rx[1]",), {"transactions": (0,), "values": (1,)}),
    ("duplicate-elements", ("0 ax1", "1 rx[1]"), {"transactions": (2,), "values": (1,)}),
    (
        "incompatible-order",
        ("0 ax1", "1 ax2", "2 rx[1]", "3 rx[1 2]"),
        {"transactions": (4, 6), "values": ([1], [1, 2])},
    ),
    ("dirty-update", ("0 ax1", "1 ax2", "2 rx[1 2]"), {"transactions": (0, 2), "values": (1, 2)}),
    ("lost-update", ("0 rx[] ax1", "1 rx[1] ax2"), {"transactions": (0, 2), "values": ([],)}),
    ("lost-update", ("0 rx[] ax1",), {"transactions": (0, 0), "values": ([],)}),
    (
        "cyclic-versions",
        ("0 rx1 wx2", "1 wx1"),
        {"transactions": (0, 2), "values": (1, 2), "because": (("wfr",), ("wfr",))},
    ),
]


@pytest.mark.parametrize(("name", "lines", "claim"), CLAIMS)
def test_an_anomaly_that_is_not_there_is_refused(
    name: str, lines: tuple[str, ...], claim: dict[str, Any]
) -> None:
    history = history_of(*lines)
    assert refused(history, Anomaly(name=name, key="x", **claim))
