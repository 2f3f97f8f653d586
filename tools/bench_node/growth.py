"""What a long log costs: recovery at start, a follower that catches up, memory over time.

Rules of this file:
- The log is written by the node's own storage code (`prebuild`).
- `serving` is the first linearizable read that is answered after the process was started, so it
  includes Python's own start, the election and applying the log. Caches are warm.
- `in sync` is a follower that has applied what the leader had committed 100 ms before.
- What could not be measured is a row that says why.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tools.bench_node.cluster import Cluster
from tools.bench_node.lab import Member, Place
from tools.bench_node.load import Plan, Running, run_load
from tools.bench_node.node_command import NodeOptions
from tools.bench_node.processes import Failed, rss_mb, run
from tools.bench_node.servers import Context, Node, ask, get
from tools.bench_node.throughput import addresses
from tools.bench_node.wire import WRITE, key_named

WAIT_S_MAX = 600.0
PREBUILD_S_MAX = 300.0
SYNC_DELAY_S = 0.1
SNAPSHOT_S_MAX, QUIET_S = 120.0, 1.0
RECOVERY_GOAL_S, SNAPSHOT_RECOVERY_GOAL_S, CATCH_UP_GOAL_S = 20.0, 3.0, 60.0
WRITERS, WRITER_PAUSE_MS = 16, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table."""

    what: str
    variant: str
    result: str = ""
    goal: str = ""
    note: str = ""


def variants(snapshot_entries: int) -> list[tuple[str, int]]:
    """Compaction off, and on."""
    return [
        ("compaction off", 0),
        (f"a snapshot every {snapshot_entries:,} entries", snapshot_entries),
    ]


def attempt(finding: Finding, work: Callable[[], Finding]) -> Finding:
    """The finding, or why there is none."""
    try:
        return work()
    except Failed as error:
        return replace(finding, result="not measured", note=str(error))


def recovery(
    context: Context, place: Place, *, entries: int, snapshot_entries: int
) -> list[Finding]:
    """Start of a node with a long log."""
    found = []
    for variant, every in variants(snapshot_entries):
        goal_s = SNAPSHOT_RECOVERY_GOAL_S if every else RECOVERY_GOAL_S
        goal = f"< {goal_s:g} s" if entries >= 1_000_000 else ""
        empty = Finding(what=f"recovery, {entries:,} entries, one node", variant=variant, goal=goal)
        found.append(attempt(empty, lambda empty=empty, every=every: _recovery(  # type: ignore[misc]
            context, place, empty, entries, every)))  # fmt: skip
    return found


def _recovery(context: Context, place: Place, empty: Finding, entries: int, every: int) -> Finding:
    system = Node(NodeOptions(snapshot_entries=every))
    system.version(context)
    with Cluster(context, system, place.members(1)) as cluster:
        member = cluster.members[0]
        system.initialise(context, member, [member], cluster.directory / member.name)
        how = fill(context, cluster, ["n1"], entries)
        cluster.start()
        serving_s(cluster, member)
        if every:
            how += f", entries from {_await_snapshot(cluster, member):,} on are in the log"
        cluster.stop()
        began_s = time.monotonic()
        cluster.start()
        took_s = serving_s(cluster, member, began_s)
        size_mb = _size_mb(cluster.directory / member.name)
        rss = rss_mb(cluster.pids()[0])
        note = f"{size_mb:.0f} MB on disk, {rss:.0f} MB in memory, {how}"
        goal_s = SNAPSHOT_RECOVERY_GOAL_S if every else RECOVERY_GOAL_S
        goal = _judged(empty.goal, met=took_s < goal_s)
        return replace(empty, result=f"{took_s:.2f} s to the first read", goal=goal, note=note)


def _await_snapshot(cluster: Cluster, member: Member) -> int:
    """Ask for a snapshot and wait until the log before it is gone; the first index that is left.

    The node may have made earlier ones by itself: the log must be short, and stay as it is.
    """
    ask(member, "POST", "/v1/admin", b'{"op":"snapshot"}')
    seen: dict[int, float] = {}

    def is_short() -> bool:
        status = get(member, "/status")
        first, last = int(status["first_index"]), int(status["last_index"])
        since_s = seen.setdefault(first, time.monotonic())
        return first > last // 2 and time.monotonic() - since_s > QUIET_S

    _until(cluster, is_short, "snapshot and compaction", SNAPSHOT_S_MAX)
    return max(seen)


def _judged(goal: str, *, met: bool) -> str:
    return f"{goal}: {'met' if met else 'MISSED'}" if goal else ""


def catch_up(
    context: Context, place: Place, *, entries: int, snapshot_entries: int
) -> list[Finding]:
    """A follower with nothing joins two nodes with a long log while clients write."""
    found = []
    for variant, every in variants(snapshot_entries):
        goal = f"< {CATCH_UP_GOAL_S:g} s" if entries >= 1_000_000 else ""
        empty = Finding(what=f"catch-up, {entries:,} entries, 3 nodes", variant=variant, goal=goal)
        found.append(attempt(empty, lambda empty=empty, every=every: _catch_up(  # type: ignore[misc]
            context, place, empty, entries, every)))  # fmt: skip
    return found


def _catch_up(context: Context, place: Place, empty: Finding, entries: int, every: int) -> Finding:
    system = Node(NodeOptions(snapshot_entries=every))
    system.version(context)
    with Cluster(context, system, place.members(3)) as cluster:
        for member in cluster.members:
            system.initialise(context, member, cluster.members, cluster.directory / member.name)
        how = fill(context, cluster, ["n1", "n2"], entries)
        cluster.start(["n1", "n2"])
        leader = cluster.leader()
        serving_s(cluster, leader)
        if every:
            _await_snapshot(cluster, leader)
        plan = Plan(
            system=system.key, kind=WRITE, clients=WRITERS, addresses=addresses([leader]),
            seconds=WAIT_S_MAX, warm_up_s=0.0, pause_ms=WRITER_PAUSE_MS,
        )  # fmt: skip
        writers = Running(context.processes, plan)
        try:
            began_s, before = time.monotonic(), _commit_index(leader)
            cluster.start(["n3"])
            _until(
                cluster, lambda: _in_sync(leader, cluster.member("n3")), "sync of n3", WAIT_S_MAX
            )
            took_s, written = time.monotonic() - began_s, _commit_index(leader) - before
        finally:
            writers.abandon()
        note = f"{written / took_s:,.0f} writes/s meanwhile, {how}"
        goal = _judged(empty.goal, met=took_s < CATCH_UP_GOAL_S)
        return replace(empty, result=f"{took_s:.1f} s until in sync", goal=goal, note=note)


def memory(
    context: Context, place: Place, *, writes: int, snapshot_entries: int, round_s: float
) -> list[Finding]:
    """Memory of three nodes after each round of writes to the same keys."""
    found = []
    for variant, every in variants(snapshot_entries):
        empty = Finding(what=f"memory, {writes:,} writes, 3 nodes", variant=variant,
                        goal="does not grow with writes" if every else "")  # fmt: skip
        found.append(attempt(empty, lambda empty=empty, every=every: _memory(  # type: ignore[misc]
            context, place, empty, writes, every, round_s)))  # fmt: skip
    return found


def _memory(
    context: Context, place: Place, empty: Finding, writes: int, every: int, round_s: float
) -> Finding:
    system = Node(NodeOptions(snapshot_entries=every))
    system.version(context)
    with Cluster(context, system, place.members(3)) as cluster:
        cluster.start()
        leader = cluster.leader()
        plan = Plan(
            system=system.key, kind=WRITE, clients=64, addresses=addresses(cluster.members),
            seconds=round_s, warm_up_s=0.0,
        )  # fmt: skip
        seen = [(0, max(map(rss_mb, cluster.pids())))]
        end_s = time.monotonic() + WAIT_S_MAX
        while (done := _commit_index(leader)) < writes and time.monotonic() < end_s:
            run_load(context.processes, plan)
            cluster.check_alive()
            seen.append((_commit_index(leader), max(map(rss_mb, cluster.pids()))))
        steps = _spread(seen, 8)
        result = ", ".join(f"{count:,}: {size:.0f} MB" for count, size in steps)
        late = seen[len(seen) // 2 :]
        grown = 1e6 * (late[-1][1] - late[0][1]) / max(1, late[-1][0] - late[0][0])
        note = f"second half grew by {grown:.0f} bytes a write" if len(late) > 1 else ""
        if done < writes and time.monotonic() >= end_s:
            note += f"; ended after {WAIT_S_MAX:g} s"
        return replace(empty, result=f"largest node, by entries: {result}", note=note)


def _spread(items: list[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    """First, last and some between."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def fill(context: Context, cluster: Cluster, names: list[str], entries: int) -> str:
    """Give nodes that do not run a log of that many entries; how it was done."""
    system = cluster.system
    assert isinstance(system, Node)
    for name in names:
        where = cluster.directory / name
        system.initialise(context, cluster.member(name), cluster.members, where)
        words = (sys.executable, "-m", "tools.bench_node.prebuild")
        run((*words, str(where), str(entries)), limit_s=PREBUILD_S_MAX)
    return "log written by the storage code"


def serving_s(cluster: Cluster, member: Member, began_s: float | None = None) -> float:
    """Seconds from `began_s` until a linearizable read is answered."""
    began_s = time.monotonic() if began_s is None else began_s
    body = json.dumps({"op": "read", "key": key_named(0)}).encode()
    _until(
        cluster, lambda: ask(member, "POST", "/v1/kv", body).get("ok") is True, "answer", WAIT_S_MAX
    )
    return time.monotonic() - began_s


def _in_sync(leader: Member, follower: Member) -> bool:
    committed = _commit_index(leader)
    time.sleep(SYNC_DELAY_S)
    return int(get(follower, "/status")["applied_index"]) >= committed


def _commit_index(member: Member) -> int:
    try:
        return int(get(member, "/status")["commit_index"])
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        raise Failed(f"{member.name} did not say its commit index: {error!r}") from None


def _until(cluster: Cluster, condition: Callable[[], bool], what: str, limit_s: float) -> None:
    """Ask until it is so; a node that ends, or the limit, is a failure."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        cluster.check_alive()
        try:
            if condition():
                return
        except (Failed, OSError, ValueError, KeyError, http.client.HTTPException):
            pass  # not yet
        time.sleep(0.02)
    raise Failed(f"no {what} within {limit_s:g} s")


def _size_mb(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6
