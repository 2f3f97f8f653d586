"""A made-up cluster's story: faults, leaders, operations and clocks, all from one seed.

Rules of this file:
- It invents what a run would have seen, so that reports can be tested without hosts. The shapes
  are those of ARCHITECTURE.md; the values need only be plausible.
- Operations take effect in one order (`point_ns`), so an honest story is linearizable.
- Pure: values in, values out. `run_folders.py` writes them down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

S = 1_000_000_000
MS = 1_000_000
NODES = ("n1", "n2", "n3", "n4", "n5")
TIMEOUT_NS = S // 2
ELECTION_NS = 7 * S // 10

# (kind, name, evidence): every kind in every variant; two of them did not work.
DECK: tuple[tuple[str, str, str], ...] = (
    ("partition", "isolate-leader", "installed"),
    ("partition", "halves", "installed"),
    ("partition", "majorities-ring", "installed"),
    ("partition", "one-way", "installed"),
    ("partition", "isolate-one", "installed"),
    ("kill", "kill-leader", "installed"),
    ("kill", "kill-one", "installed"),
    ("pause", "pause-leader", "installed"),
    ("pause", "pause-one", "skipped"),
    ("clock", "bump", "installed"),
    ("clock", "strobe", "installed"),
    ("clock", "rate", "indeterminate"),
)


@dataclass(slots=True, kw_only=True)
class Call:
    """One operation of a client; `end_ns` is when it was told, `None` if it never was."""

    process: int
    lane: int
    f: str
    key: str
    node: str
    start_ns: int
    end_ns: int | None
    point_ns: int
    type: str
    error: str | None = None
    input: Any = None
    output: Any = None


@dataclass(slots=True, kw_only=True)
class Story:
    """Everything that happened."""

    duration_ns: int
    concurrency: int
    keys: int
    faults: list[dict[str, Any]] = field(default_factory=list)
    leaders: list[dict[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    status: list[dict[str, Any]] = field(default_factory=list)


def tell(
    *, seed: int, operations: int, seconds: int, concurrency: int = 10, keys: int = 8
) -> Story:
    """Invent a story of about this many operations."""
    random = Random(seed)
    story = Story(duration_ns=seconds * S, concurrency=concurrency, keys=keys)
    story.faults, story.leaders = _faults(random, story.duration_ns)
    story.calls = _calls(random, story, operations)
    _give_values(random, story.calls)
    story.status = _status(random, story)
    return story


def leader_at(story: Story, time_ns: int) -> dict[str, Any]:
    """Return who led at that time."""
    return [change for change in story.leaders if change["time"] <= time_ns][-1]


def _faults(random: Random, duration_ns: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    leaders = [{"time": 4 * MS, "term": 1, "leader": "n1"}]
    faults: list[dict[str, Any]] = []
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for kind, name, evidence in DECK:
        by_kind.setdefault(kind, []).append((name, evidence))
    for kind, cards in by_kind.items():
        span_ns = duration_ns // len(cards)
        for number, (name, evidence) in enumerate(cards):
            start_ns = number * span_ns + int(random.uniform(0.15, 0.4) * span_ns)
            stop_ns = start_ns + int(random.uniform(0.3, 0.45) * span_ns)
            faults.append(
                {"kind": kind, "name": name, "evidence": evidence}
                | {
                    "start_ns": start_ns,
                    "stop_ns": stop_ns,
                    "parameters": _parameters(name, random),
                }
            )
    faults.sort(key=lambda fault: int(fault["start_ns"]))
    for number, fault in enumerate(faults):
        fault["id"] = number
        leader = leaders[-1]["leader"]
        targets = [leader] if "leader" in fault["name"] else [random.choice(NODES)]
        if fault["name"] in ("halves", "majorities-ring"):
            targets = list(NODES)
        fault["targets"] = targets
        fault["detail"] = {node: _seen(fault, random) for node in targets}
        strikes = (
            leader in targets and fault["kind"] != "clock" and fault["evidence"] == "installed"
        )
        if strikes and len(targets) == 1:
            successor = random.choice([node for node in NODES if node != leader])
            elected_ns = fault["start_ns"] + ELECTION_NS
            leaders.append({"time": elected_ns, "term": len(leaders) + 1, "leader": successor})
    return faults, leaders


def _parameters(name: str, random: Random) -> dict[str, Any]:
    if name == "rate":
        return {"rate": 2.0}
    if name == "strobe":
        return {"offset_ms": 4000, "period_ms": 60}
    if name == "bump":
        return {"offset_ms": random.choice((-48_000, 9_000))}
    return {}


def _seen(fault: dict[str, Any], random: Random) -> Any:
    if fault["evidence"] == "skipped":
        return "no such process: it was already dead"
    if fault["evidence"] == "indeterminate":
        return "the agent did not answer within 2 s"
    return {
        "partition": f"nft dropped {random.randint(40, 900)} packets",
        "kill": f"pid {random.randint(300, 900)} gone, exit by SIGKILL",
        "pause": "state T (stopped) in /proc",
        "clock": {"measured_offset_ms": 9000.4, "error_ms": 1.2},
    }[fault["kind"]]


def _calls(random: Random, story: Story, operations: int) -> list[Call]:
    free_ns = [0] * story.concurrency
    process = list(range(story.concurrency))
    calls: list[Call] = []
    for number in range(operations):
        wanted_ns = int(story.duration_ns * number / operations)
        lane = min(
            range(story.concurrency), key=lambda one: (free_ns[one] > wanted_ns, random.random())
        )
        start_ns = max(wanted_ns, free_ns[lane] + 20_000)
        if start_ns > story.duration_ns:
            continue
        call = _call(random, story, lane, process[lane], start_ns)
        calls.append(call)
        free_ns[lane] = (call.end_ns or story.duration_ns) + 10_000
        if call.type == "info":
            process[lane] += story.concurrency
    return sorted(calls, key=lambda call: call.start_ns)


def _call(random: Random, story: Story, lane: int, process: int, start_ns: int) -> Call:
    node = NODES[lane % len(NODES)]
    f = random.choice(("read", "read", "write", "cas"))
    latency_ns = int(random.lognormvariate(1.3, 0.45) * MS)
    kind, error = "ok", None
    trouble = _trouble(story, node, start_ns)
    if trouble == "down":
        kind, error, latency_ns = "fail", "connection-refused", int(random.uniform(0.2, 1) * MS)
    elif trouble == "cut" and random.random() < 0.8:
        if random.random() < 0.3:
            kind, error, latency_ns = "fail", "no-leader", int(random.uniform(1, 400) * MS)
        else:
            kind, error, latency_ns = "info", "timeout", TIMEOUT_NS + random.randint(0, 9 * MS)
    elif trouble is not None:
        latency_ns += int(random.expovariate(1 / 200) * MS)
    if latency_ns > TIMEOUT_NS and kind == "ok":
        kind, error, latency_ns = "info", "timeout", TIMEOUT_NS
    return Call(
        process=process,
        lane=lane,
        f=f,
        key=f"k{random.randrange(story.keys)}",
        node=node,
        start_ns=start_ns,
        end_ns=start_ns + latency_ns,
        point_ns=start_ns + int(latency_ns * random.uniform(0.2, 0.9)),
        type=kind,
        error=error,
    )


def _trouble(story: Story, node: str, time_ns: int) -> str | None:
    for fault in story.faults:
        if fault["evidence"] != "installed" or not fault["start_ns"] <= time_ns < fault["stop_ns"]:
            continue
        if node in fault["targets"] and len(fault["targets"]) == 1 and fault["kind"] != "clock":
            return "down" if fault["kind"] == "kill" else "cut"
        if fault["kind"] == "partition" and time_ns < fault["start_ns"] + ELECTION_NS:
            return "slow"
    return None


def _give_values(random: Random, calls: list[Call]) -> None:
    state: dict[str, Any] = {}
    written: dict[str, int] = {}
    for call in sorted(calls, key=lambda one: one.point_ns):
        now = state.get(call.key)
        if call.f == "read":
            call.output = now if call.type == "ok" else None
            continue
        fresh = written[call.key] = written.get(call.key, 0) + 1
        call.input = fresh
        if call.f == "cas":
            stale = random.random() < 0.2
            call.input = [max(0, fresh - 7) if stale else now, fresh]
            if stale and call.type == "ok":
                call.type, call.error = "fail", "precondition-failed"
        call.output = call.input
        if call.type == "ok" or (call.type == "info" and random.random() < 0.5):
            state[call.key] = fresh


def _status(random: Random, story: Story) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = []
    for tick in range(story.duration_ns // (S // 4)):
        for number, node in enumerate(NODES):
            time_ns = tick * (S // 4) + number * 3 * MS
            trouble = _trouble(story, node, time_ns)
            if trouble == "down":
                samples.append({"time": time_ns, "node": node, "reachable": False})
                continue
            leader = leader_at(story, max(time_ns, 4 * MS))
            leads = leader["leader"] == node
            role = "leader" if leads else "candidate" if trouble == "cut" else "follower"
            samples.append(
                {"time": time_ns, "node": node, "reachable": True, "role": role}
                | {"term": leader["term"], "leader": leader["leader"]}
                | {"commit_index": tick * 40, "applied_index": tick * 40}
                | {"clock_offset_ms": _offset_ms(random, story, node, time_ns)}
                | {"clock_error_ms": round(random.uniform(0.3, 2.5), 3)}
            )
    return samples


def _offset_ms(random: Random, story: Story, node: str, time_ns: int) -> float:
    noise_ms = random.gauss(0, 0.6)
    for fault in story.faults:
        inside = fault["start_ns"] <= time_ns < fault["stop_ns"]
        if fault["kind"] != "clock" or node not in fault["targets"] or not inside:
            continue
        if fault["name"] == "rate":
            return round((time_ns - int(fault["start_ns"])) / MS + noise_ms, 3)
        offset_ms = float(fault["parameters"]["offset_ms"])
        return round(offset_ms * (fault["name"] == "bump" or random.random() < 0.5) + noise_ms, 3)
    return round(noise_ms, 3)
