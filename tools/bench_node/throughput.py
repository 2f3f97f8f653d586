"""Committed writes and linearizable reads a second: every system, size and number of clients.

Rules of this file:
- A cluster is new for each system and size, and serves all loads of that size in turn: writes
  before reads, so that there is something to read.
- `all`: each client takes the nodes in turn. `leader`: all clients go to the leader.
- The instant server comes first, so that a broken client is seen before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tools.bench_node.cluster import Cluster
from tools.bench_node.lab import Member, Place
from tools.bench_node.load import Plan, row_of, run_load
from tools.bench_node.measures import Row
from tools.bench_node.processes import Failed
from tools.bench_node.servers import SYSTEMS, Context, System
from tools.bench_node.wire import KINDS, WRITE

ALL, LEADER = "all", "leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """What is measured."""

    systems: Sequence[str]
    nodes: Sequence[int]
    clients: Sequence[int]
    targets: Sequence[str]
    seconds: float
    warm_up_s: float
    workers: int


def measure(
    context: Context, place: Place, matrix: Matrix, progress: Callable[[Row], None]
) -> tuple[list[Row], list[tuple[str, str]]]:
    """All rows, and of each system what it was and what it made durable."""
    rows: list[Row] = []
    described: list[tuple[str, str]] = []
    for key in matrix.systems:
        system = SYSTEMS[key]()
        try:
            described.append((key, f"{system.version(context)}; {system.durability}"))
        except Failed as error:
            described.append((key, f"not measured: {error}"))
            rows.append(
                Row(system=key, nodes=0, targets="-", clients=0, kind="-", reason=str(error))
            )
            progress(rows[-1])
            continue
        for nodes in matrix.nodes:
            for row in _of_size(context, place, system, nodes, matrix):
                rows.append(row)
                progress(row)
    return rows, described


def _empty_rows(key: str, matrix: Matrix, nodes: int) -> list[Row]:
    return [
        Row(system=key, nodes=nodes, targets=targets, clients=clients, kind=kind)
        for targets in matrix.targets
        for clients in matrix.clients
        for kind in KINDS
    ]


def _of_size(
    context: Context, place: Place, system: System, nodes: int, matrix: Matrix
) -> Iterator[Row]:
    """One cluster under all loads. What fails is said in its row; the next is tried."""
    wanted = _empty_rows(system.key, matrix, nodes)
    members = place.members(nodes)
    with Cluster(context, system, members) as cluster:
        try:
            cluster.start()
            cluster.settle()
            _fill(context, cluster)
        except Failed as error:
            yield from (replace(row, reason=str(error)) for row in wanted)
            return
        for row in wanted:
            try:
                yield _one(context, cluster, row, matrix)
            except Failed as error:
                yield replace(row, reason=str(error))


def _fill(context: Context, cluster: Cluster) -> None:
    """Write for a moment, until every key has surely been written and every path is warm."""
    plan = Plan(
        system=cluster.system.key, kind=WRITE, clients=64, addresses=addresses(cluster.members),
        seconds=1.0, warm_up_s=0.2,
    )  # fmt: skip
    seen = run_load(context.processes, plan)
    if not seen.latencies_ns:
        raise Failed(f"nothing could be written: {dict(seen.errors)}")


def _one(context: Context, cluster: Cluster, row: Row, matrix: Matrix) -> Row:
    leader = cluster.leader()
    plan = Plan(
        system=row.system,
        kind=row.kind,
        clients=row.clients,
        addresses=addresses([leader] if row.targets == LEADER else cluster.members),
        seconds=matrix.seconds,
        warm_up_s=matrix.warm_up_s,
        workers=matrix.workers,
    )
    seen = run_load(context.processes, plan, cluster.pids())
    measured = row_of(row, plan, seen)
    cluster.check_alive()
    if cluster.leader() != leader:
        note = f"{measured.note}, " if measured.note else ""
        measured = replace(measured, note=f"{note}the leader changed")
    return measured


def addresses(members: Sequence[Member]) -> list[tuple[str, int]]:
    """Where clients reach them."""
    return [(member.host, member.client_port) for member in members]
