"""The data of the plots: counts and quantiles over time, who led, what the clocks said.

Rules of this file:
- An operation counts in the bin in which it completed, one that never did in that of its start:
  every operation is in exactly one bin.
- Quantiles are of acknowledged operations; a bin without any has none (null), not zero.
- Bins are whole, round numbers of milliseconds, and there is a bound on how many there are.
- Pure: frames in, plain values out, ready for JSON.
"""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

OUTCOMES: Final = ("ok", "fail", "info")
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
RATE_BINS_MAX: Final = 160
QUANTILE_BINS_MAX: Final = 64
CLOCK_SAMPLES_MAX: Final = 600

_STEPS_MS: Final = (50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000)
_MINUTE_MS: Final = 60_000


def bin_ms(duration_ns: int, bins_max: int) -> int:
    """Return the shortest round bin with which the run fits into so many bins."""
    for step_ms in _STEPS_MS:
        if duration_ns < step_ms * 1_000_000 * bins_max:
            return step_ms
    minutes = duration_ns // (_MINUTE_MS * 1_000_000 * bins_max) + 1
    return int(minutes) * _MINUTE_MS


def _bins(operations: pd.DataFrame, width_ms: int) -> pd.Series[int]:
    counted_ns = operations["completed_ns"].fillna(operations["start_ns"]).astype("int64")
    return counted_ns.clip(lower=0) // (width_ms * 1_000_000)


def rates(operations: pd.DataFrame, duration_ns: int) -> dict[str, Any]:
    """Count operations by outcome in bins of time; `ok` and its like are counts, not per second."""
    width_ms = bin_ms(duration_ns, RATE_BINS_MAX)
    bins = _bins(operations, width_ms)
    size = int(bins.max()) + 1 if len(bins) else 0
    counts: dict[str, Any] = {"bin_ms": width_ms}
    for outcome in OUTCOMES:
        seen = bins[operations["type"] == outcome].value_counts()
        counts[outcome] = [int(one) for one in seen.reindex(range(size), fill_value=0)]
    return counts


def quantiles(operations: pd.DataFrame, duration_ns: int) -> dict[str, Any]:
    """Latency quantiles (milliseconds) of acknowledged operations in bins of time."""
    width_ms = bin_ms(duration_ns, QUANTILE_BINS_MAX)
    bins = _bins(operations, width_ms)
    size = int(bins.max()) + 1 if len(bins) else 0
    acknowledged = operations["type"] == "ok"
    groups = operations.loc[acknowledged, "latency_ms"].groupby(bins[acknowledged])
    result: dict[str, Any] = {
        "bin_ms": width_ms,
        "count": _filled(groups.size(), size),
        "others": _filled(bins[~acknowledged].value_counts(), size),
    }
    for name, quantile in QUANTILES.items():
        result[name] = _filled(groups.quantile(quantile), size)
    return result


def _filled(values: pd.Series[Any], size: int) -> list[float | None]:
    aligned = values.reindex(range(size))
    return [None if pd.isna(one) else round(float(one), 3) for one in aligned]


def by_function(operations: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts by outcome and latency quantiles (acknowledged) of each function, busiest first."""
    rows = []
    for f, group in operations.groupby("f", sort=False):
        latency_ms = group.loc[group["type"] == "ok", "latency_ms"]
        counts = group["type"].value_counts()
        row = {"f": str(f), "total": len(group)}
        row |= {outcome: int(counts.get(outcome, 0)) for outcome in OUTCOMES}
        spread: dict[str, Any] = {name: latency_ms.quantile(q) for name, q in QUANTILES.items()}
        rows.append(row | spread)
    return sorted(rows, key=lambda row: (-row["total"], row["f"]))


def roles(status: pd.DataFrame, nodes: list[str]) -> dict[str, list[list[Any]]]:
    """Each node's stretches ``[from_us, to_us, role, term]``; role `unreachable` has no term."""
    if status.empty:
        return {}
    step_ns = _usual_step_ns(status)
    stretches: dict[str, list[list[Any]]] = {}
    for node in nodes:
        samples = status[status["node"] == node]
        runs: list[list[Any]] = []
        for time_ns, reachable, role, term in zip(
            samples["time_ns"], samples["reachable"], samples["role"], samples["term"], strict=True
        ):
            name = "unreachable" if not reachable else "unknown" if pd.isna(role) else str(role)
            state = [name, None if not reachable or pd.isna(term) else int(term)]
            time_us, end_us = int(time_ns) // 1000, (int(time_ns) + step_ns) // 1000
            if runs and runs[-1][1] >= time_us - 2 * step_ns // 1000:
                # The stretch before lasts until this sample; a longer silence stays a gap.
                runs[-1][1] = time_us
                if runs[-1][2:] == state:
                    runs[-1][1] = end_us
                    continue
            runs.append([time_us, end_us, *state])
        if runs:
            stretches[node] = runs
    return stretches


def _usual_step_ns(status: pd.DataFrame) -> int:
    steps = status.groupby("node")["time_ns"].diff().dropna()
    return int(steps.median()) if len(steps) else 1_000_000_000


def clocks(status: pd.DataFrame, nodes: list[str]) -> dict[str, dict[str, list[float]]]:
    """Each node's clock offset with its error bar (milliseconds); of many samples the furthest."""
    known = status.dropna(subset=["clock_offset_ms"])
    result: dict[str, dict[str, list[float]]] = {}
    for node in nodes:
        samples = known[known["node"] == node]
        if len(samples) > CLOCK_SAMPLES_MAX:
            group = pd.Series(range(len(samples)), index=samples.index)
            group = group * CLOCK_SAMPLES_MAX // len(samples)
            furthest = samples["clock_offset_ms"].abs().groupby(group).idxmax()
            samples = samples.loc[furthest]
        if samples.empty:
            continue
        result[node] = {
            "time_us": [float(one // 1000) for one in samples["time_ns"]],
            "offset_ms": [round(float(one), 3) for one in samples["clock_offset_ms"]],
            "error_ms": [round(float(one), 3) for one in samples["clock_error_ms"].fillna(0)],
        }
    return result


def leader_changes(status: pd.DataFrame) -> list[dict[str, Any]]:
    """The first sight of a leader of each term, for runs whose outcome does not say it."""
    leading = status[status["role"] == "leader"].drop_duplicates("term")
    return [
        {"time": int(time_ns), "term": int(term), "leader": str(node)}
        for time_ns, term, node in zip(
            leading["time_ns"], leading["term"].fillna(0), leading["node"], strict=True
        )
    ]
