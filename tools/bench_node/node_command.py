"""The command line of our node, as node/PROTOCOL.md has it: the one place that knows it.

Rules of this file:
- `commands` is all that the benchmark knows of how a node is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench_node.lab import Member

CLUSTER = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a measurement asks of a node. `None`: as the node has it by itself."""

    snapshot_entries: int | None = None
    election_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Commands:
    """What is run to its end before the first start on a directory, and what serves."""

    before: tuple[tuple[str, ...], ...]
    serve: tuple[str, ...]


def commands(
    program: Sequence[str],
    member: Member,
    members: Sequence[Member],
    data: Path,
    options: NodeOptions,
) -> Commands:
    """How to start a node. `program` is `python3 node.pyz`, or the same under a profiler."""
    addresses: list[str] = []
    for other in members:
        addresses += ["--peer", f"{other.name}={other.peer}"]
        addresses += ["--client", f"{other.name}={other.client}"]
    whose = ["--data", str(data), "--name", member.name, "--cluster", CLUSTER]
    settings: list[str] = []
    if options.election_timeout_ms is not None:
        settings += ["--election-timeout-ms", str(options.election_timeout_ms)]
    if options.snapshot_entries is not None:
        settings += ["--snapshot-entries", str(options.snapshot_entries)]
    made = (*program, "init", *whose, *addresses)
    return Commands((made,), (*program, "run", "--data", str(data), *settings))
