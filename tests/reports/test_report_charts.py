"""What the plots show: bins and quantiles that add up to what happened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.spec import FAULTS
from reports import charts, timeline, words
from reports.load import load

Folder = Callable[[str], Path]
KINDS = ["pass", "violation", "vacuous", "unfinished", "failed"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_is_in_exactly_one_bin(runs: Folder, kind: str) -> None:
    run = load(runs(kind))
    rates = charts.rates(run.operations, run.duration_ns)
    counted = run.operations["type"].value_counts()
    for outcome in charts.OUTCOMES:
        assert sum(rates[outcome]) == int(counted.get(outcome, 0))
        assert len(rates[outcome]) <= charts.RATE_BINS_MAX + 1
    spread = charts.quantiles(run.operations, run.duration_ns)
    assert sum(count or 0 for count in spread["count"]) == int(counted.get("ok", 0))
    others = sum(count or 0 for count in spread["others"])
    assert others == len(run.operations) - int(counted.get("ok", 0))


def test_what_never_completed_counts_where_it_began(runs: Folder) -> None:
    run = load(runs("pass"))
    late = run.operations[run.operations["start_ns"] > 20_000_000_000].copy()
    late["completed_ns"] = pd.NA
    late["type"] = "info"
    rates = charts.rates(late, run.duration_ns)
    first = 20_000 // rates["bin_ms"]
    assert sum(rates["info"][:first]) == 0
    assert sum(rates["info"][first:]) == len(late) > 0


def test_quantiles_of_a_bin_are_those_of_its_operations(runs: Folder) -> None:
    run = load(runs("pass"))
    spread = charts.quantiles(run.operations, run.duration_ns)
    width_ns = spread["bin_ms"] * 1_000_000
    acknowledged = run.operations[run.operations["type"] == "ok"]
    for number in (0, 5, len(spread["p50"]) - 1):
        completed = acknowledged["completed_ns"].astype("int64")
        inside = acknowledged[completed // width_ns == number]["latency_ms"]
        assert spread["p50"][number] == pytest.approx(inside.median(), abs=0.001)
        assert spread["max"][number] == pytest.approx(inside.max(), abs=0.001)


def test_a_bin_without_acknowledged_operations_has_no_quantile(runs: Folder) -> None:
    run = load(runs("pass"))
    early = run.operations[run.operations["start_ns"] < 20_000_000_000].copy()
    silent = early["completed_ns"].astype("int64").between(5_000_000_000, 7_999_999_999)
    early.loc[silent, "type"] = "fail"
    spread = charts.quantiles(early, run.duration_ns)
    hole = range(5000 // spread["bin_ms"], 8000 // spread["bin_ms"])
    assert [spread["p99"][number] for number in hole] == [None] * len(hole)
    assert all((spread["others"][number] or 0) > 0 for number in hole)


@pytest.mark.parametrize("seconds", [0, 0.001, 7.9, 30, 61, 3600, 86_400, 10_000_000])
def test_bins_are_bounded(seconds: float) -> None:
    duration_ns = int(seconds * 1e9)
    width_ms = charts.bin_ms(duration_ns, 64)
    assert duration_ns // (width_ms * 1_000_000) < 64
    assert width_ms == 50 or duration_ns >= width_ms * 1_000_000 * 64 / 3


def test_by_function_adds_up(runs: Folder) -> None:
    run = load(runs("pass"))
    rows = charts.by_function(run.operations)
    assert {row["f"] for row in rows} == {"read", "write", "cas"}
    for row in rows:
        assert row["ok"] + row["fail"] + row["info"] == row["total"]
        assert row["p50"] <= row["p95"] <= row["p99"] <= row["max"]
    assert sum(row["total"] for row in rows) == len(run.operations)


def samples(*rows: tuple[int, bool, str | None, int | None]) -> pd.DataFrame:
    from reports.frames import metrics_frame

    return metrics_frame(
        {"time": time, "node": "n1", "reachable": up, "role": role, "term": term}
        for time, up, role, term in rows
    )


def test_roles_become_stretches_with_gaps_where_nobody_looked() -> None:
    s = 1_000_000_000
    status = samples(
        (0, True, "follower", 1),
        (s, True, "follower", 1),
        (2 * s, True, "leader", 2),
        (3 * s, False, None, None),
        (4 * s, True, "follower", 3),
        (20 * s, True, "follower", 3),
    )
    us = 1_000_000
    assert charts.roles(status, ["n1", "n2"]) == {
        "n1": [
            [0, 2 * us, "follower", 1],
            [2 * us, 3 * us, "leader", 2],
            [3 * us, 4 * us, "unreachable", None],
            [4 * us, 5 * us, "follower", 3],
            [20 * us, 21 * us, "follower", 3],
        ]
    }
    assert charts.leader_changes(status) == [{"time": 2 * s, "term": 2, "leader": "n1"}]


def test_clocks_are_thinned_to_their_extremes() -> None:
    from reports.frames import metrics_frame

    far = 1234
    status = metrics_frame(
        {"time": n * 1000, "node": "n1", "clock_offset_ms": 9000.0 if n == far else 0.1}
        for n in range(5 * charts.CLOCK_SAMPLES_MAX)
    )
    clock = charts.clocks(status, ["n1"])["n1"]
    assert len(clock["offset_ms"]) == charts.CLOCK_SAMPLES_MAX
    assert max(clock["offset_ms"]) == 9000.0
    assert clock["time_us"][clock["offset_ms"].index(9000.0)] == far


def unpacked(packed: dict[str, Any], name: str) -> list[Any]:
    """Read a column back as the page's script does."""
    column = packed[name]
    codes = column["codes"]
    if isinstance(codes, str):
        codes = [timeline._ALPHABET.index(letter) for letter in codes]
    return [column["names"][code] for code in codes]


def test_packed_operations_say_what_the_frame_says(runs: Folder) -> None:
    run = load(runs("pass"))
    packed = timeline.operations(run)
    frame = run.operations
    assert (packed["count"], packed["dropped"]) == (len(frame), 0)
    assert list(accumulate(packed["index"])) == frame["index"].tolist()
    assert list(accumulate(packed["start_us"])) == (frame["start_ns"] // 1000).tolist()
    for name in ("f", "type", "key", "node"):
        assert unpacked(packed, name) == frame[name].tolist()
    errors = [None if pd.isna(one) else one for one in frame["error"]]
    assert unpacked(packed, "error") == errors
    words_ = packed["words"]
    for row, value, output in zip(
        frame.to_dict("records"), packed["value"], packed["output"], strict=True
    ):
        assert words_[value] == words.argument(row["f"], row["value"])
        if output >= 0:
            assert words_[output] == words.shown(row["output"])
        else:
            assert row["output"] == row["value"]


def test_an_operation_that_never_completed_has_no_length(runs: Folder) -> None:
    run = load(runs("unfinished"))
    packed = timeline.operations(run)
    never = run.operations["completed_ns"].isna().tolist()
    assert [took < 0 for took in packed["took_us"]] == never
    assert any(never)


def test_many_operations_are_thinned_but_never_what_matters(
    runs: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "OPERATIONS_MAX", 2000)
    run = load(runs("violation"))
    marked = int(run.operations[run.operations["type"] == "ok"].iloc[1233]["index"])
    packed = timeline.operations(run, keep=[marked])
    kinds = pd.Series(unpacked(packed, "type")).value_counts()
    counted = run.operations["type"].value_counts()
    assert (kinds["fail"], kinds["info"]) == (counted["fail"], counted["info"])
    assert kinds["ok"] <= 2000
    assert marked in set(accumulate(packed["index"]))
    assert packed["count"] + packed["dropped"] == len(run.operations)
    assert min(packed["start_us"]) >= 0


def test_a_planned_fault_has_no_band(runs: Folder) -> None:
    run = load(runs("unfinished"))
    planned = set(run.faults[run.faults["evidence"] == "planned"]["id"])
    drawn = {band["id"] for band in timeline.bands(run)}
    assert planned
    assert drawn == set(run.faults["id"]) - planned
    assert all(band["start_us"] <= band["stop_us"] for band in timeline.bands(run))


def test_every_kind_of_fault_has_a_colour_of_its_own_by_day_and_by_night() -> None:
    static = Path(timeline.__file__).parent / "static"
    style = (static / "base.css").read_text(encoding="utf-8")
    listed = re.search(
        r"const KINDS = (\[.*?\]);", (static / "view.js").read_text(encoding="utf-8")
    )
    assert listed is not None
    assert tuple(json.loads(listed[1])) == FAULTS
    for kind in FAULTS:
        assert style.count(f"--{kind}: #") == 2, kind


def test_ten_thousand_operations_stay_small(runs: Folder) -> None:
    run = load(runs("pass"))
    packed = json.dumps(timeline.operations(run), separators=(",", ":"))
    assert len(packed) / len(run.operations) < 35


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\u202eb", '"a\\u202eb"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        ("x" * 500, '"' + "x" * 159 + "…"),
    ],
)
def test_values_are_shown_without_tricks(value: Any, text: str) -> None:
    assert words.shown(value) == text


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [(0.1234, "0.12 ms"), (3.81, "3.8 ms"), (217.4, "217 ms"), (1234.0, "1.23 s"), (None, "–")],  # noqa: RUF001
)
def test_latencies_are_readable(value_ms: float | None, text: str) -> None:
    assert words.milliseconds(value_ms).replace(words.NARROW, " ") == text
