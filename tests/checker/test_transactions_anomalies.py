"""Hand-made histories, one for each anomaly and variant: exactly what is there is found and verified."""

from __future__ import annotations

import networkx as nx
import pytest
from transaction_histories import history_of

from checker.transactions import (
    check_transactions,
    graph_of_anomalies,
    picture,
    report,
    to_dot,
    verify_anomaly,
)
from checker.transactions.isolation import IMPLIES, strongest
from checker.verdict import Verdict

# name: (all anomalies there are, the strongest models that remain, the transactions).
# Times 0-99 overlap everything: then neither a process nor real time orders anything.
LISTS: dict[str, tuple[set[str], set[str], tuple[str, ...]]] = {
    "G0": (
        {"G0"},
        set(),
        ("0@0-99 ax1 ay2", "1@0-99 ax2 ay1", "2@0-99 rx[1 2] ry[1 2]"),
    ),
    "G0-process": (
        {"G0-process"},
        {"serializable"},
        ("0@0-1 ax1", "0@2-3 ax2", "2@0-99 rx[2 1]"),
    ),
    "G0-realtime": (
        {"G0-realtime"},
        {"strong-session-serializable"},
        ("0@0-1 ax1", "1@2-3 ax2", "2@0-99 rx[2 1]"),
    ),
    "G1c": (
        {"G1c"},
        {"strong-read-uncommitted"},
        ("0@0-99 ax1 ry[1]", "1@0-99 ay1 rx[1]"),
    ),
    "G1c-process": (
        {"G1c-process"},
        {"serializable", "strong-read-uncommitted"},
        ("0@0-1 rx[1]", "0@2-3 ax1"),
    ),
    "G1c-realtime": (
        {"G1c-realtime"},
        {"strong-session-serializable", "strong-read-uncommitted"},
        ("0@0-1 rx[1]", "1@2-3 ax1"),
    ),
    "G-single": (
        {"G-single"},
        {"strong-read-committed", "parallel-snapshot-isolation", "cursor-stability"},
        ("0@0-99 ax1 ay1", "1@0-99 rx[] ry[1]"),
    ),
    "G-single-process": (
        {"G-single-process"},
        {"serializable", "strong-read-committed"},
        ("0@0-1 ax1", "0@2-3 rx[]"),
    ),
    "G-single-realtime": (
        {"G-single-realtime"},
        {"strong-session-serializable", "strong-read-committed"},
        ("0@0-1 ax1", "1@2-3 rx[]"),
    ),
    "G-nonadjacent": (
        {"G-nonadjacent"},
        {"strong-read-committed", "parallel-snapshot-isolation", "consistent-view"},
        ("0@0-99 ax1", "1@0-99 ay1", "2@0-99 rx[] ry[1]", "3@0-99 rx[1] ry[]"),
    ),
    "G-nonadjacent-process": (
        {"G-nonadjacent-process"},
        {"serializable", "strong-read-committed"},
        ("0@0-1 ax1", "0@2-3 ry[]", "1@0-99 ay1", "2@0-99 rx[] ry[1]"),
    ),
    "G-nonadjacent-realtime": (
        {"G-nonadjacent-realtime"},
        {"strong-session-serializable", "strong-read-committed"},
        ("0@0-1 ax1", "3@2-3 ry[]", "1@0-99 ay1", "2@0-99 rx[] ry[1]"),
    ),
    "G2-item": (
        {"G2-item"},
        {"strong-snapshot-isolation"},
        ("0@0-99 rx[] ay1", "1@0-99 ry[] ax1"),
    ),
    "G2-item-process": (
        {"G2-item-process"},
        {"serializable", "strong-snapshot-isolation"},
        ("0@0-1 ay1", "0@2-3 rx[]", "1@0-99 ax1 ry[]"),
    ),
    "G2-item-realtime": (
        {"G2-item-realtime"},
        {"strong-session-serializable", "strong-snapshot-isolation"},
        ("0@0-1 ay1", "2@2-3 rx[]", "1@0-99 ax1 ry[]"),
    ),
    "G1a": ({"G1a"}, {"strong-read-uncommitted"}, ("0 ax1 | fail", "1 rx[1]")),
    "G1b": (
        {"G1b", "G-single"},
        {"strong-read-uncommitted"},
        ("0@0-99 ax1 ax2", "1@0-99 rx[1]"),
    ),
    "internal": (
        {"internal"},
        {"strong-read-committed", "repeatable-read", "consistent-view"},
        ("0 ax1 rx[]",),
    ),
    "dirty-update": (
        {"dirty-update", "G1a"},
        {"strong-read-uncommitted"},
        ("0 ax1 | fail", "1 ax2", "2 rx[1 2]"),
    ),
    "incompatible-order": (
        {"incompatible-order"},
        {"strong-read-uncommitted"},
        ("0@0-99 ax1", "1@0-99 ax2", "2@0-99 rx[1]", "3@0-99 rx[2]"),
    ),
    "duplicate-elements": ({"duplicate-elements"}, set(), ("0 ax1", "1 rx[1 1]")),
    "future-read": ({"future-read"}, {"strong-read-uncommitted"}, ("0 rx[1] ax1",)),
    "lost-update": (
        {"lost-update", "G2-item"},
        {"strong-read-committed", "read-atomic"},
        ("0@0-99 rx[] ax1", "1@0-99 rx[] ax2"),
    ),
    "garbage-read": ({"garbage-read"}, {"strong-read-uncommitted"}, ("0 rx[9]",)),
}

REGISTERS: dict[str, tuple[set[str], tuple[str, ...]]] = {
    "G0": (
        {"G0"},
        # What was overwritten was read first, so these are also wr edges.
        ("0@0-99 wx1 ry2 wy3", "1@0-99 rx1 wx2 wy2"),
    ),
    "G0-process": ({"G0-process"}, ("0@0-1 rx1 wx2", "0@2-3 wx1")),
    "G0-realtime": ({"G0-realtime"}, ("0@0-1 rx1 wx2", "1@2-3 wx1")),
    "G1c": ({"G1c"}, ("0@0-99 wx1 ry1", "1@0-99 wy1 rx1")),
    "G1c-process": ({"G1c-process"}, ("0@0-1 rx1", "0@2-3 wx1")),
    "G1c-realtime": ({"G1c-realtime"}, ("0@0-1 rx1", "1@2-3 wx1")),
    "G-single": ({"G-single"}, ("0@0-99 wx1 wy1", "1@0-99 rx_ ry1")),
    "G-single-process": ({"G-single-process"}, ("0@0-1 wx1", "0@2-3 rx_")),
    "G-single-realtime": ({"G-single-realtime"}, ("0@0-1 wx1", "1@2-3 rx_")),
    "G-nonadjacent": (
        {"G-nonadjacent"},
        ("0@0-99 wx1", "1@0-99 wy1", "2@0-99 rx_ ry1", "3@0-99 rx1 ry_"),
    ),
    "G-nonadjacent-process": (
        {"G-nonadjacent-process"},
        ("0@0-1 wx1", "0@2-3 ry_", "1@0-99 wy1", "2@0-99 rx_ ry1"),
    ),
    "G-nonadjacent-realtime": (
        {"G-nonadjacent-realtime"},
        ("0@0-1 wx1", "3@2-3 ry_", "1@0-99 wy1", "2@0-99 rx_ ry1"),
    ),
    "G2-item": ({"G2-item"}, ("0@0-99 rx_ wy1", "1@0-99 ry_ wx1")),
    "G2-item-process": ({"G2-item-process"}, ("0@0-1 wy1", "0@2-3 rx_", "1@0-99 wx1 ry_")),
    "G2-item-realtime": ({"G2-item-realtime"}, ("0@0-1 wy1", "2@2-3 rx_", "1@0-99 wx1 ry_")),
    "G1a": ({"G1a"}, ("0 wx1 | fail", "1 rx1")),
    "G1b": ({"G1b"}, ("0@0-99 wx1 wx2", "1@0-99 rx1")),
    "internal": ({"internal"}, ("0 wx1 rx2", "1 wx2")),
    "future-read": ({"future-read"}, ("0 rx1 wx1",)),
    "lost-update": ({"lost-update", "G2-item"}, ("0@0-99 rx_ wx1", "1@0-99 rx_ wx2")),
    "garbage-read": ({"garbage-read"}, ("0 rx9",)),
    "cyclic-versions": ({"cyclic-versions", "G1c"}, ("0@0-99 rx1 wx2", "1@0-99 rx2 wx1")),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_show_exactly_this(name: str) -> None:
    names, left, lines = LISTS[name]
    history = history_of(*lines)
    result = check_transactions(history)
    assert name in names
    assert set(result.names) == names
    assert set(strongest(result.remaining)) == left
    assert result.verdict is Verdict.INVALID
    for anomaly in result.anomalies:
        verify_anomaly(history, anomaly)
        assert len(anomaly.in_words()) >= 1
        assert picture(anomaly) in report(result, "h")


@pytest.mark.parametrize("name", REGISTERS)
def test_registers_show_exactly_this(name: str) -> None:
    names, lines = REGISTERS[name]
    history = history_of(*lines)
    result = check_transactions(history, "rw-register")
    assert set(result.names) == names
    for anomaly in result.anomalies:
        verify_anomaly(history, anomaly)


def test_every_anomaly_there_is_has_its_histories() -> None:
    assert set(LISTS) | {"cyclic-versions"} >= set(IMPLIES)
    only_of_lists = {"incompatible-order", "duplicate-elements", "dirty-update"}
    assert set(REGISTERS) == set(LISTS) - only_of_lists | {"cyclic-versions"}


def test_the_model_asked_for_decides_the_verdict() -> None:
    history = history_of(*LISTS["G2-item"][2])
    verdicts = {
        model: check_transactions(history, isolation=model).verdict
        for model in ("read-committed", "snapshot-isolation", "repeatable-read", "PL-3")
    }
    assert verdicts == {
        "read-committed": Verdict.VALID,
        "snapshot-isolation": Verdict.VALID,
        "repeatable-read": Verdict.INVALID,
        "PL-3": Verdict.INVALID,
    }


def test_what_is_not_known_to_have_happened_proves_nothing() -> None:
    # The append may be lost, or not have taken effect yet.
    unseen = history_of("0 ax1 | info", "1 rx[]")
    assert check_transactions(unseen).verdict is Verdict.VALID
    # Seen by one, it took effect: then the other, later, must see it too.
    seen = history_of("0 ax1 | info", "1 rx[1]", "2 rx[]")
    assert check_transactions(seen).names == ("G-single-realtime",)
    # All of it took effect, not only what was seen.
    half = history_of("0 ax1 ay1 | info", "1@0-99 rx[1] ry[]")
    assert check_transactions(half).names == ("G-single",)


def test_a_value_tried_again_after_a_failure_is_that_of_the_later_attempt() -> None:
    assert check_transactions(history_of("0 ax1 | fail", "0 ax1", "1 rx[1]")).names == ()


def test_a_value_written_twice_leaves_its_key_out_and_says_so() -> None:
    result = check_transactions(history_of("0 ax1", "1 ax1", "2 rx[1]"))
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason is not None
    assert "'x'" in result.reason
    # What other keys show counts all the same.
    both = history_of("0 ax1", "1 ax1", "0@9-10 ay1", "1@11-12 ry[]")
    assert check_transactions(both).verdict is Verdict.INVALID


def test_nothing_completed_is_no_pass() -> None:
    assert check_transactions(history_of("0 ax1 | info")).verdict is Verdict.UNKNOWN
    assert check_transactions(history_of()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("option", ["linearizable_keys", "sequential_keys"])
def test_orders_of_registers_that_are_assumed_only_if_asked_for(option: str) -> None:
    process = "0" if option == "sequential_keys" else "1"
    history = history_of("0@0-1 wx1", f"{process}@2-3 wx2 wy1", "3@0-99 rx1 ry1")
    assert check_transactions(history, "rw-register").names == ()
    result = check_transactions(history, "rw-register", **{option: True})  # type: ignore[arg-type]
    assert result.names == ("G-single",)
    for anomaly in result.anomalies:
        verify_anomaly(history, anomaly)
        assert option.removesuffix("_keys") in " ".join(anomaly.in_words())


def test_versions_in_a_circle_by_time_are_reported_with_their_reasons() -> None:
    history = history_of("0 wx1", "1 wx2", "2 rx1")
    result = check_transactions(history, "rw-register", linearizable_keys=True)
    assert "cyclic-versions" in result.names
    for anomaly in result.anomalies:
        verify_anomaly(history, anomaly)


def test_the_shortest_cycle_is_told() -> None:
    # A circle of four, and across it one of two.
    history = history_of(
        "0@0-99 ra[] ab1 rd[] ad9", "1@0-99 rb[] ac1", "2@0-99 rc[] ad1", "3@0-99 rd[] aa1",
        "4@0-99 rp[] aq1", "5@0-99 rq[] ap1",
    )  # fmt: skip
    result = check_transactions(history)
    cycles = [anomaly for anomaly in result.anomalies if anomaly.name == "G2-item"]
    assert len(cycles[0].edges) == 2
    assert all(cycle.is_shortest for cycle in cycles)


def test_a_cycle_is_drawn_as_a_graph_that_has_it() -> None:
    result = check_transactions(history_of(*LISTS["G-nonadjacent"][2]))
    (anomaly,) = result.anomalies
    drawn = graph_of_anomalies([anomaly])
    cycle = [edge[:2] for edge in nx.find_cycle(drawn, anomaly.transactions[0])]
    assert len(cycle) == len(anomaly.edges) == 4
    assert sorted(str(about["kind"]) for _, _, about in drawn.edges(data=True)) == [
        "rw",
        "rw",
        "wr",
        "wr",
    ]
    dot = to_dot(anomaly)
    assert dot.count("->") == 4
    assert dot.startswith('digraph "G-nonadjacent"')
