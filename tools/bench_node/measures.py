"""What was measured, and the tables made of it.

Rules of this file:
- Pure: numbers in, text out.
- A percentile is an operation's own latency (nearest rank), never an average of two.
- A result above half of what the same client does against a server that answers at once says as
  much about the client as about the server: it is marked `client-bound`.
- What could not be measured is a row that says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

INSTANT = "instant"
CLIENT_BOUND_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One system under one load. `reason` is set when there was nothing to measure."""

    system: str
    nodes: int
    targets: str
    clients: int
    kind: str
    operations: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    server_cpu_s: float = 0.0
    client_busy: float = 0.0
    errors: int = 0
    reason: str = ""
    note: str = ""

    @property
    def per_second(self) -> float:
        """Operations that ended well in one second."""
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def cpu_s_per_1000(self) -> float:
        """CPU seconds of all servers together for a thousand operations."""
        return 1000 * self.server_cpu_s / self.operations if self.operations else 0.0


@dataclass(frozen=True, slots=True)
class Goal:
    """Ours should be `factor` times theirs, or more, in writes at the most clients."""

    theirs: str
    factor: float


GOALS = (Goal("pysyncobj", 10.0), Goal("pysyncobj-prompt", 10.0), Goal("etcd", 0.6))


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of all values does not exceed; 0 of none."""
    if not ordered:
        return 0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ceiling_of(row: Row, rows: Sequence[Row]) -> float:
    """What the same client did a second against the instant server; 0 when not measured."""
    same = [
        other.per_second
        for other in rows
        if other.system == INSTANT
        and (other.nodes, other.targets, other.clients, other.kind)
        == (row.nodes, row.targets, row.clients, row.kind)
    ]
    return max(same, default=0.0)


def is_client_bound(row: Row, rows: Sequence[Row]) -> bool:
    """Does the result say as much about the client as about the server?"""
    ceiling = ceiling_of(row, rows)
    return row.system != INSTANT and 0 < CLIENT_BOUND_SHARE * ceiling < row.per_second


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell would end it."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    texts = ["| " + " | ".join(line) + " |" for line in [list(header), *rows]]
    return "\n".join([texts[0], "|" + "---|" * len(header), *texts[1:]])


def throughput_table(rows: Sequence[Row]) -> str:
    """Every row, in the order given."""
    header = ("system", "nodes", "sent to", "clients", "operation", "per second", "p50 ms",
              "p99 ms", "server CPU s / 1000", "of client's ceiling", "clients' CPU", "errors",
              "remarks")  # fmt: skip
    return table(header, [_line(row, rows) for row in rows])


def _line(row: Row, rows: Sequence[Row]) -> list[str]:
    numbers = [str(number or "-") for number in (row.nodes, row.clients)]
    key = [row.system, numbers[0], row.targets, numbers[1], row.kind]
    if row.reason:
        return [*key, *["-"] * 7, f"not measured: {row.reason}"]
    ceiling = ceiling_of(row, rows)
    share = "-" if row.system == INSTANT or not ceiling else f"{row.per_second / ceiling:.0%}"
    remarks = ["client-bound"] if is_client_bound(row, rows) else []
    remarks += [row.note] if row.note else []
    return [
        *key,
        f"{row.per_second:,.0f}",
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.cpu_s_per_1000:.3f}",
        share,
        f"{row.client_busy:.0%}",
        str(row.errors),
        ", ".join(remarks),
    ]


def goals_table(rows: Sequence[Row], ours: str = "node") -> str:
    """Our writes beside theirs at the most clients; empty when there is nothing to compare."""
    lines = []
    most = max((row.clients for row in rows), default=0)
    for mine in rows:
        if (mine.system, mine.kind, mine.clients) != (ours, "write", most) or mine.reason:
            continue
        for goal in GOALS:
            other = _beside(mine, goal.theirs, rows)
            if other is not None:
                lines.append(_goal_line(mine, other, goal))
    header = ("writes a second", "nodes", "sent to", "clients", "ours", "theirs", "ratio", "goal",
              "")  # fmt: skip
    return table(header, lines) if lines else ""


def _beside(mine: Row, system: str, rows: Sequence[Row]) -> Row | None:
    for row in rows:
        same = (row.nodes, row.targets, row.clients, row.kind) == (
            mine.nodes, mine.targets, mine.clients, mine.kind)  # fmt: skip
        if row.system == system and same and row.per_second:
            return row
    return None


def _goal_line(mine: Row, other: Row, goal: Goal) -> list[str]:
    ratio = mine.per_second / other.per_second
    met = "met" if ratio >= goal.factor else "MISSED"
    return [f"{mine.system} / {goal.theirs}", str(mine.nodes), mine.targets, str(mine.clients),
            f"{mine.per_second:,.0f}", f"{other.per_second:,.0f}", f"{ratio:.2f}",
            f">= {goal.factor:g}", met]  # fmt: skip
