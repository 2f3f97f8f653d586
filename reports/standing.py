"""Where the nodes stood at one moment: role, term, indexes, clock, and what was being done to them.

Rules of this file:
- Of each node the sample nearest to the moment is shown, with how far from it that was taken: a
  node changes its mind between two samples, and nobody saw when.
- What nodes said is repeated, not judged; two that took themselves for leader are pointed out.
- Pure: a run and a moment in, plain texts out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from . import summary
from .load import Run
from .words import NOTHING, clean, milliseconds, moment, number

# A sample from further away says nothing about the moment.
_NEAR_NS: Final = 2_000_000_000
_LISTED_MAX: Final = 50


def at(run: Run, moment_ns: int) -> dict[str, Any] | None:
    """Tell how the nodes stood at a moment of the run; `None` without any sample near it."""
    near = run.metrics[(run.metrics["time_ns"] - moment_ns).abs() <= _NEAR_NS]
    if near.empty:
        return None
    away_ns = (near["time_ns"] - moment_ns).abs()
    nearest = {
        str(node): near.loc[place] for node, place in away_ns.groupby(near["node"]).idxmin().items()
    }
    struck = _struck(run.faults, moment_ns)
    nodes = [_node(node, nearest.get(node), moment_ns, struck) for node in run.nodes[:_LISTED_MAX]]
    return {
        "moment": moment(moment_ns),
        "nodes": nodes,
        "sentence": _sentence(run, nodes, moment_ns),
    }


def _node(
    node: str, sample: pd.Series[Any] | None, moment_ns: int, struck: Mapping[str, list[str]]
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "node": clean(node, limit=40),
        "role": "not asked",
        "leads": False,
        "faults": ", ".join(struck.get(node, [])) or NOTHING,
    }
    told |= dict.fromkeys(
        ("term", "leader", "commit_index", "applied_index", "clock", "asked"), NOTHING
    )
    if sample is None:
        return told
    told["asked"] = _when(int(sample["time_ns"]) - moment_ns)
    if not sample["reachable"]:
        return told | {"role": "did not answer"}
    role = sample["role"]
    return told | {
        "role": "unknown" if pd.isna(role) else clean(str(role), limit=20),
        "leads": not pd.isna(role) and role == "leader",
        "term": _whole(sample["term"]),
        "leader": NOTHING if pd.isna(sample["leader"]) else clean(str(sample["leader"]), limit=40),
        "commit_index": _whole(sample["commit_index"]),
        "applied_index": _whole(sample["applied_index"]),
        "clock": _clock(sample["clock_offset_ms"], sample["clock_error_ms"]),
    }


def _whole(value: Any) -> str:
    return NOTHING if pd.isna(value) else number(int(value))


def _clock(offset_ms: Any, error_ms: Any) -> str:
    """The offset with its error; zero where the error is larger than it."""
    if pd.isna(offset_ms):
        return NOTHING
    sign = "\N{MINUS SIGN}" if offset_ms < 0 else "+"
    error = "" if pd.isna(error_ms) else f" \N{PLUS-MINUS SIGN} {milliseconds(float(error_ms))}"
    return f"{sign}{milliseconds(abs(float(offset_ms)))}{error}"


def _when(away_ns: int) -> str:
    if abs(away_ns) < 500_000:
        return "then"
    return f"{milliseconds(abs(away_ns) / 1e6)} {'later' if away_ns > 0 else 'before'}"


def _struck(faults: pd.DataFrame, moment_ns: int) -> dict[str, list[str]]:
    """What was being done to each node: the names of the faults in force on it."""
    struck: dict[str, list[str]] = {}
    for fault in faults.to_dict("records"):
        over = not pd.isna(fault["stop_ns"]) and fault["stop_ns"] < moment_ns
        if over or fault["start_ns"] > moment_ns or fault["evidence"] in ("planned", "skipped"):
            continue
        name = clean(f"{fault['name']} ({fault['kind']})", limit=80)
        for node in fault["targets"]:
            struck.setdefault(node, []).append(name)
    return struck


def _sentence(run: Run, nodes: list[dict[str, Any]], moment_ns: int) -> str:
    """Who led: as the nodes said, and since when as the run saw it."""
    leaders = [f"{node['node']} (term {node['term']})" for node in nodes if node["leads"]]
    seen = [one for one in summary.leader_changes(run) if one["time"] <= moment_ns]
    since = ""
    if seen:
        leader = clean(str(seen[-1]["leader"]), limit=40)
        since = f" The newest leader seen by then was {leader}, term {seen[-1]['term']}, since {moment(seen[-1]['time'])}."
    if len(leaders) > 1:
        return f"{len(leaders)} nodes took themselves for leader: {', '.join(leaders)}.{since}"
    if leaders:
        return f"{leaders[0]} led.{since}"
    return f"No node said that it led.{since}"
