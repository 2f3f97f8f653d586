"""Random histories of transactions: systems of known isolation, and a judge that tries all orders."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from transaction_histories import (
    has_order,
    history_of,
    in_no_order,
    in_process,
    in_real_time,
    mutated,
    simulate,
)

from checker.budget import Budget
from checker.columns import columns_of
from checker.history import History
from checker.transactions import check_transactions, verify_anomaly
from checker.transactions.check import TransactionResult
from checker.verdict import Verdict

WORKLOADS = ("list-append", "rw-register")
ORDERS = (
    ("serializable", in_no_order),
    ("strong-session-serializable", in_process),
    ("strict-serializable", in_real_time),
)
# Beginnings of the names of what a system may show, however unlucky the run.
MAY_SHOW = {
    "serial": (),
    "stale": ("-realtime",),
    "snapshot": ("G2-item",),
    "read-committed": ("internal", "lost-update", "G-single", "G-nonadjacent", "G2-item"),
}


def verified(history: History, result: TransactionResult) -> TransactionResult:
    for anomaly in result.anomalies:
        verify_anomaly(history, anomaly)
    return result


@pytest.mark.parametrize("workload", WORKLOADS)
def test_an_anomaly_means_that_no_order_exists_and_of_lists_the_converse(workload: str) -> None:
    seen: Counter[tuple[str, bool]] = Counter()
    for seed in range(800):
        rng = Random(seed)
        isolation = rng.choice(["serial", "stale", "snapshot", "read-committed", "chaos"])
        history = simulate(
            rng, isolation, workload, txns=rng.randint(2, 7), keys="xyz"[: rng.randint(1, 3)],
            length=rng.randint(1, 4),
        )  # fmt: skip
        if rng.random() < 0.5:
            history = mutated(rng, history)
        result = verified(history, check_transactions(history, workload))
        for model, before in ORDERS:
            is_out = model in result.ruled_out
            exists = has_order(history, before)
            assert not (is_out and exists), f"seed {seed}: {model} has an order, {result.names}"
            if workload == "list-append" and result.verdict is not Verdict.UNKNOWN:
                assert is_out or exists, f"seed {seed}: {model} has no order, {result.names}"
            seen[model, is_out] += 1
    assert min(seen.values()) > 80, "the judge must have seen both sides often"


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("isolation", MAY_SHOW)
def test_a_system_shows_what_its_isolation_allows_and_nothing_else(
    isolation: str, workload: str
) -> None:
    shown: Counter[str] = Counter()
    for seed in range(15):
        history = simulate(Random(seed), isolation, workload, txns=120, processes=5, keys="vwxyz",
                           length=4)  # fmt: skip
        result = verified(history, check_transactions(history, workload))
        shown.update(result.names)
        if isolation == "stale":
            assert "serializable" in result.remaining
            assert "strong-session-serializable" in result.remaining
        if isolation == "snapshot":
            assert "strong-snapshot-isolation" in result.remaining
    for name in shown:
        fits = name.endswith("-realtime") if isolation == "stale" else (
            name.startswith(MAY_SHOW[isolation]))  # fmt: skip
        assert fits, f"{isolation} cannot show {name}"
    # And it does show it: the test of power.
    expected = {"stale": "G-single-realtime", "snapshot": "G2-item", "read-committed": "G-single"}
    assert isolation == "serial" or expected[isolation] in shown


def test_the_same_history_gives_the_same_answer_as_events_and_as_columns() -> None:
    history = simulate(Random(5), "chaos", "list-append", txns=60)
    once, again = check_transactions(history), check_transactions(columns_of(history))
    assert once == again
    assert once.names


def test_compiled_walks_find_what_the_plain_ones_find(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        (simulate(Random(seed), isolation, workload, txns=60, keys="vwxyz"), workload)
        for seed in range(3)
        for isolation in ("chaos", "stale", "snapshot")
        for workload in WORKLOADS
    ]
    plain = [check_transactions(*case) for case in cases]
    monkeypatch.setattr("checker.transactions.walks.SMALL_WORK", -1)
    compiled = [check_transactions(*case) for case in cases]
    assert compiled == plain
    assert any(result.names for result in plain)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_many_readers_and_writers_of_one_version_meet_in_a_hub(workload: str) -> None:
    # Everybody reads the initial state of x, and everybody writes it, all at once.
    write = "ax" if workload == "list-append" else "wx"
    read = "rx[]" if workload == "list-append" else "rx_"
    lines = [f"{n}@0-999 {read}" for n in range(40)]
    lines += [f"{n}@0-999 {write}{n}" for n in range(40, 80)]
    assert check_transactions(history_of(*lines), workload).names == ()
    # One that does both is before no other one; and not before itself.
    both = [*lines, f"80@0-999 {read} {write}80"]
    assert check_transactions(history_of(*both), workload).names == ()
    two = [*both, f"81@0-999 {read} {write}81"]
    history = history_of(*two)
    result = verified(history, check_transactions(history, workload))
    assert result.names == ("lost-update", "G2-item")
    assert len(result.anomalies[-1].edges) == 2
    # Through the hub to a writer, and from there in time to a reader that began later.
    late = history_of(*lines[:-1], f"79@0-500 {write}79", f"90@600-999 {read}")
    result = verified(late, check_transactions(late, workload))
    assert result.names == ("G-single-realtime",)
    assert len(result.anomalies[0].edges) == 2


def test_real_time_costs_no_more_where_all_overlap() -> None:
    # Half of them end, then the other half begin: a quarter of a million pairs of one before another.
    count = 1000
    lines = [f"{n}@{n}-{count + n} a{'abcdefgh'[n % 8]}{n}" for n in range(count // 2)]
    lines += [
        f"{n}@{2 * count + n}-{4 * count} r{'abcdefgh'[n % 8]}[]" for n in range(count // 2, count)
    ]
    result = check_transactions(history_of(*lines))
    assert result.names == ("G-single-realtime",)
    whole = check_transactions(history_of(*lines), steps_max=10**12)
    assert whole.steps < 60 * count * 100


def test_the_work_grows_with_the_history_and_no_faster() -> None:
    steps = []
    for txns in (500, 1000, 2000, 4000):
        history = simulate(Random(3), "serial", "list-append", txns=txns, processes=5,
                           keys="abcdefghijklmnopqrstuvwxyz", crashes=0.0)  # fmt: skip
        result = check_transactions(history)
        assert result.verdict is Verdict.VALID
        steps.append(result.steps / txns)
    assert max(steps) < 1.5 * min(steps)


def test_the_search_is_bounded_and_says_when_it_was_cut_short() -> None:
    history = simulate(Random(1), "stale", "list-append", txns=80)
    whole = check_transactions(history)
    assert whole.names
    short = check_transactions(history, steps_max=1)
    assert short.verdict is not Verdict.VALID
    assert set(short.names) <= set(whole.names)
    clock = iter(np.arange(0, 1000, 0.5).tolist())
    spent = Budget.of(seconds=0.1, memory_mb=100, clock=lambda: float(next(clock)))
    over = check_transactions(history, budget=spent)
    assert over.verdict is Verdict.UNKNOWN
    assert "budget" in str(over.reason)


def test_a_search_that_was_cut_short_elsewhere_leaves_the_answer_alone() -> None:
    # Only real time is broken, and only looking for that takes long.
    history = simulate(Random(1), "stale", "list-append", txns=300)
    assert check_transactions(history).verdict is Verdict.INVALID
    short = check_transactions(history, isolation="serializable", steps_max=1)
    assert short.verdict is Verdict.VALID
    assert short.reason is None
    assert check_transactions(history, steps_max=1).verdict is not Verdict.VALID
