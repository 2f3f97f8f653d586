"""Where the time goes: one node of a cluster under cProfile while clients write.

Rules of this file:
- The other nodes run as they are; they start elections later, so that the profiled one leads (or,
  for a follower, it starts them later).
- cProfile sees the thread of the event loop, not that of the disk, and makes every call slower:
  shares are to be read, seconds are not. What the loop waited is told apart.
"""

from __future__ import annotations

import pstats
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.bench_node.cluster import Cluster
from tools.bench_node.lab import Place
from tools.bench_node.load import Plan, run_load
from tools.bench_node.measures import table
from tools.bench_node.node_command import NodeOptions
from tools.bench_node.processes import Failed
from tools.bench_node.servers import Context, Node, archive
from tools.bench_node.throughput import addresses

TOP = 25
PROFILED = "n1"
SLOWER_ELECTION_MS = 3000
_IDLE = ("'poll' of 'select.epoll'", "'poll' of 'select.poll'", "built-in method select.select")

Function = tuple[str, int, str]


class _Profiled(Node):
    """Our node, one member of which runs under cProfile."""

    def __init__(self, output: Path, *, leads: bool) -> None:
        super().__init__()
        self._output = output
        self._leads = leads

    def start(self, context, member, members, directory):  # type: ignore[no-untyped-def]
        slow = (member.name == PROFILED) != self._leads
        self.options = NodeOptions(election_timeout_ms=SLOWER_ELECTION_MS if slow else None)
        # cProfile cannot run an archive, but a package that lies in one.
        self.environment = {"PYTHONPATH": str(archive(context))}
        words = (sys.executable, "-m", "cProfile", "-o", str(self._output), "-m", "node")
        self.program = {PROFILED: words}
        return super().start(context, member, members, directory)


def profile(
    context: Context,
    place: Place,
    *,
    kind: str,
    role: str,
    nodes: int,
    clients: int,
    seconds: float,
) -> str:
    """The table; raises `Failed`."""
    output = context.directory / f"{kind}-{role}.profile"
    system = _Profiled(output, leads=role == "leader")
    system.version(context)
    with Cluster(context, system, place.members(nodes)) as cluster:
        cluster.start()
        leader = cluster.leader()
        if (leader.name == PROFILED) != (role == "leader"):
            raise Failed(f"{leader.name} leads, so {PROFILED} could not be profiled as {role}")
        plan = Plan(
            system=system.key, kind=kind, clients=clients, addresses=addresses(cluster.members),
            seconds=seconds, warm_up_s=0.5,
        )  # fmt: skip
        seen = run_load(context.processes, plan, cluster.pids())
        cluster.stop_one(PROFILED)
    if not output.exists():
        raise Failed("the profiled node wrote no profile")
    rate = len(seen.latencies_ns) / seconds
    title = (
        f"{kind}s at {clients} clients, {nodes} nodes, the {role}: {rate:,.0f}/s under the profiler"
    )
    stats: Any = pstats.Stats(str(output))
    return f"{title}\n\n{profile_table(stats.stats)}"


def profile_table(stats: Mapping[Function, tuple[int, int, float, float, Any]]) -> str:
    """The functions with most time of their own, as shares of the time that was not waited."""
    idle_s = sum(entry[2] for function, entry in stats.items() if _is_idle(function))
    busy_s = sum(entry[2] for entry in stats.values()) - idle_s
    ordered = sorted(
        ((entry[2], entry[1], function) for function, entry in stats.items()
         if not _is_idle(function)),
        key=lambda item: (-item[0], item[2]),
    )  # fmt: skip
    lines = [
        [f"{own_s / busy_s:.1%}" if busy_s else "-", f"{own_s:.2f}", f"{calls:,}", _named(function)]
        for own_s, calls, function in ordered[:TOP]
    ]
    text = table(("of busy time", "own s", "calls", "function"), lines)
    shares: dict[str, float] = {}
    for own_s, _, function in ordered:
        part = _part(function)
        shares[part] = shares.get(part, 0.0) + (own_s / busy_s if busy_s else 0.0)
    parts = ", ".join(
        f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda item: -item[1])
    )
    return f"{text}\n\nBy part: {parts}.\n\nBusy {busy_s:.2f} s, waiting {idle_s:.2f} s (cProfile's seconds)."


def _is_idle(function: Function) -> bool:
    return any(name in function[2] for name in _IDLE)


def _part(function: Function) -> str:
    """The package of a function; what is written in C goes by its own type or module."""
    path, _, name = function
    if path == "~":
        if "_socket" in name:
            return "sockets"
        return "json" if "_json" in name else "built-in functions"
    folders = Path(path).parts
    for name in ("h11", "asyncio", "json", "node"):
        if name in folders:
            return name
    return "the rest of Python"


def _named(function: Function) -> str:
    path, line, name = function
    if path == "~":
        return name.strip("<>").replace("built-in method ", "")
    parts = Path(path).parts
    return f"{'/'.join(parts[-2:])}:{line} {name}"
