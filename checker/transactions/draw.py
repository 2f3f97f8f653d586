"""Anomalies for people: a graph (networkx), a drawing (graphviz, text), a report.

Rules of this file:
- Draws what an anomaly says and looks at nothing else. What came from a history is quoted. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import networkx as nx

from checker.transactions.anomaly import Anomaly
from checker.transactions.check import TransactionResult, meanings
from checker.transactions.isolation import MODELS, strongest, weakest
from checker.verdict import Verdict

_COLOURS = {"ww": "#1f5fbf", "wr": "#1a7f37", "rw": "#b00020", "process": "#777777",
            "realtime": "#777777"}  # fmt: skip
_TOLD_MAX = 3  # examples of each anomaly that a report in text has


def graph_of_anomalies(anomalies: Iterable[Anomaly]) -> nx.MultiDiGraph[int]:
    """Return the cycles of anomalies as one graph: nodes are the indexes of invocations, edges have a
    `kind` and a `reason`."""
    drawn: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    for anomaly in anomalies:
        drawn.add_nodes_from(anomaly.transactions)
        for edge in anomaly.edges:
            drawn.add_edge(edge.source, edge.target, key=edge.kind, kind=edge.kind,
                           reason=edge.in_words())  # fmt: skip
    return drawn


def to_dot(anomaly: Anomaly) -> str:
    """Return an anomaly's cycle for graphviz."""
    drawn = graph_of_anomalies([anomaly])
    lines = [f"digraph {json.dumps(anomaly.name)} {{", "  rankdir=LR; node [shape=box];"]
    lines += [f'  T{node} [label="T{node}"];' for node in drawn.nodes]
    for source, target, about in drawn.edges(data=True):
        kind, reason = str(about["kind"]), json.dumps(str(about["reason"]))
        lines.append(
            f'  T{source} -> T{target} [label="{kind}", color="{_COLOURS[kind]}", tooltip={reason}];'
        )
    return "\n".join([*lines, "}"])


def picture(anomaly: Anomaly) -> str:
    """Return an anomaly's cycle in one line: ``T1 -ww-> T4 -rw-> T1``."""
    if not anomaly.edges:
        return ", ".join(f"T{index}" for index in anomaly.transactions)
    steps = "".join(f"T{edge.source} -{edge.kind}-> " for edge in anomaly.edges)
    return f"{steps}T{anomaly.edges[0].source}"


def report(result: TransactionResult, label: str) -> str:
    """Return a result as text: the verdict, the models, and each anomaly in words."""
    lines = [f"{label}: {result.verdict} for {result.isolation} "
             f"({result.transactions} transactions, {result.workload})"]  # fmt: skip
    if result.reason:
        lines.append(f"  {result.reason}")
    if result.ruled_out:
        lines.append(
            f"  ruled out: {', '.join(weakest(result.ruled_out))} and all that is stronger"
        )
        left = strongest(result.remaining)
        lines.append(f"  remaining: {', '.join(left) if left else 'none'}")
    elif result.verdict is not Verdict.UNKNOWN:
        lines.append("  no anomaly was found; all models remain")
    for name, meaning in meanings(result.names).items():
        found = [anomaly for anomaly in result.anomalies if anomaly.name == name]
        lines += ["", f"  {name} ({result.counts[name]}): {meaning}"]
        for anomaly in found[:_TOLD_MAX]:
            lines.append(f"    {picture(anomaly)}")
            lines += [f"      {sentence}" for sentence in anomaly.in_words()]
    return "\n".join(lines)


def models_table(result: TransactionResult) -> str:
    """Return the models, one a line, each with whether it remains."""
    width = max(map(len, MODELS))
    out = set(result.ruled_out)
    return "\n".join(
        f"{model:<{width}}  {'ruled out' if model in out else 'remains'}" for model in MODELS
    )
