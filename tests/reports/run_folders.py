"""Writes made-up runs into folders: a pass, a violation, a vacuous one, and broken ones.

Rules of this file:
- Each function makes one folder in the shape of ARCHITECTURE.md and returns it.
- What is not named in a test's arguments is the same for all of them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cluster_story import MS, NODES, Call, S, Story, leader_at, tell

STARTED = datetime(2026, 11, 23, 21, 0, 0, tzinfo=UTC)
HOSTILE = "\"'></script><script>alert(1)</script><img src=x onerror=alert(2)>"


def passing(folder: Path, *, operations: int = 6000, seconds: int = 30, seed: int = 7) -> Path:
    """A run that held what it promised."""
    story = tell(seed=seed, operations=operations, seconds=seconds)
    return write(folder, story, seed=seed)


def violating(folder: Path, *, operations: int = 6000, seconds: int = 30, seed: int = 11) -> Path:
    """A run with a stale read; the counterexample tells of it."""
    story = tell(seed=seed, operations=operations, seconds=seconds)
    counterexample = plant_stale_read(story)
    check = {
        "name": "linearizable",
        "verdict": "invalid",
        "reason": counterexample["summary"],
        "operations": len(story.calls),
        "keys": story.keys,
        "seconds": 0.71,
        "counterexample": counterexample,
    }
    reasons = [f"linearizable: invalid ({counterexample['summary']})"]
    return write(folder, story, seed=seed, result="violation", code=1, check=check, reasons=reasons)


def vacuous(folder: Path) -> Path:
    """A run that proved nothing: too few operations."""
    story = tell(seed=3, operations=40, seconds=10)
    reasons = [
        "only 31 operations were acknowledged, at least 1000 are needed for this load",
        "the fault pause-one was never installed (skipped)",
    ]
    return write(folder, story, seed=3, result="vacuous", code=3, reasons=reasons)


def unfinished(folder: Path) -> Path:
    """A run whose harness was killed: no outcome, a torn last line."""
    run = write(folder, tell(seed=5, operations=2500, seconds=14), seed=5)
    (run / "outcome.json").unlink()
    history = (run / "history.jsonl").read_bytes()
    (run / "history.jsonl").write_bytes(history[: int(len(history) * 0.7)] + b'{"index":99')
    return run


def failed_harness(folder: Path) -> Path:
    """A run that never began: no operations, no logs, no samples."""
    folder.mkdir(parents=True)
    outcome = {
        "splitbrain": "0.1.0",
        "name": "register",
        "outcome": "harness-failure",
        "exit_code": 4,
        "reasons": ["n4: sshd refused the key; see hosts/n4/sshd.log"],
        "started_at": "2026-11-23T21:00:00Z",
        "seed": 9,
        "repeat": "splitbrain test --system raft --workload register --seed 9",
        "spec": spec_of(9),
        "checks": [],
        "phases": [{"name": "lab up", "seconds": 2.5}],
    }
    (folder / "outcome.json").write_text(json.dumps(outcome))
    (folder / "spec.toml").write_text(toml_of(spec_of(9)))
    (folder / "history.jsonl").write_text("")
    return folder


def hostile(folder: Path) -> Path:
    """A run in which every text that may come from outside attacks the page."""
    story = tell(seed=2, operations=900, seconds=6)
    for call in story.calls[::7]:
        call.error, call.type = HOSTILE, "fail"
    for call in story.calls[3::7]:
        call.key = call.node = HOSTILE
        call.input = {HOSTILE: HOSTILE}
    counterexample = plant_stale_read(story)
    for fault in story.faults:
        fault["detail"] = {HOSTILE: HOSTILE, "n1": {"<b>": HOSTILE}}
        fault["name"] = HOSTILE
    counterexample["summary"] = counterexample["key"] = HOSTILE
    for operation in counterexample["operations"]:
        operation["why_not"] = operation["node"] = operation["value"] = HOSTILE
        operation["process"] = HOSTILE
    for state in counterexample["final_states"]:
        state["state"] = state["why_not"] = HOSTILE
    for sample in story.status:
        if sample["reachable"] and sample["node"] == "n2":
            sample["role"] = sample["leader"] = HOSTILE
    check: dict[str, Any] = {"name": HOSTILE, "verdict": "invalid", "reason": HOSTILE}
    check = {**check, "counterexample": counterexample}
    run = write(
        folder, story, seed=2, result="violation", code=1, check=check, reasons=[HOSTILE, "<b>"]
    )
    outcome = json.loads((run / "outcome.json").read_text())
    outcome["repeat"] = outcome["name"] = HOSTILE
    outcome["spec"][HOSTILE] = HOSTILE
    outcome["phases"][0]["name"] = HOSTILE
    (run / "outcome.json").write_text(json.dumps(outcome))
    with (run / "hosts" / "n1" / "node.log").open("a") as log:
        log.write(f"2026-11-23T21:00:03.000Z {HOSTILE} \x1b[31mred\x00\n")
    return run


def plant_stale_read(story: Story) -> dict[str, Any]:
    """Make one late read return an old value, and explain it as the checker would."""
    calls, index_of = story.calls, {id(call): 2 * n for n, call in enumerate(story.calls)}
    fault = next(one for one in story.faults if one["name"] == "halves")
    moment_ns = (fault["start_ns"] + fault["stop_ns"]) // 2
    late = [call for call in calls if call.f == "read" and call.type == "ok"]
    late = [call for call in late if call.start_ns > moment_ns and len(_before(calls, call)) > 1]
    # The best one to look at has company: something open, something at the same time.
    stale = max(late[:200], key=lambda call: min(2, len(_company(calls, call))))
    before = _before(calls, stale)
    old, newest = before[-2:]
    stale.output = _after(old)
    company = _company(calls, stale)
    pending = [call for call in company if call.type == "info"]
    overlapping = [call for call in company if call.type == "ok"]
    state = json.dumps(_after(newest))
    why = f"would need the value {json.dumps(stale.output)}, but it is {state}"
    shown = [(old, None), (newest, None), (stale, why)]
    shown += [
        (call, f"would leave {json.dumps(_after(call))} behind, not {json.dumps(stale.output)}")
        for call in pending[-1:]
    ]
    shown += [(call, None) for call in overlapping[:2]]
    return {
        "key": stale.key,
        "summary": f"a read of {stale.key} through {stale.node} returned {json.dumps(stale.output)}, "
        f"although {state} had been acknowledged before it began",
        "last_valid_operations": len(before),
        "final_states": [
            {
                "state": state,
                "why_not": why,
                "linearized": [index_of[id(newest)]],
                "pending": [index_of[id(call)] for call in pending[-1:]],
            }
        ],
        "operations": [
            {
                "index": index_of[id(call)],
                "process": call.process,
                "f": call.f,
                "key": call.key,
                "value": call.output if call.f == "read" else call.input,
                "type": call.type,
                "start_ns": call.start_ns,
                "end_ns": None if call.type == "info" else call.end_ns,
                "node": call.node,
                "why_not": reason,
            }
            for call, reason in sorted(shown, key=lambda pair: pair[0].start_ns)
        ],
    }


def _before(calls: list[Call], read: Call) -> list[Call]:
    """The acknowledged changes of its key that ended before this read began."""
    same = [call for call in calls if call.key == read.key and call.f != "read"]
    done = [call for call in same if call.type == "ok" and (call.end_ns or 0) < read.start_ns]
    return sorted(done, key=lambda call: call.point_ns)


def _company(calls: list[Call], read: Call) -> list[Call]:
    """What is open on its key while this read runs, changes that nobody knows of included."""
    end_ns = read.end_ns or 0
    same = [call for call in calls if call.key == read.key and call is not read]
    return [
        call
        for call in same
        if call.start_ns < end_ns
        and (
            (call.type == "info" and call.f != "read" and call.start_ns > end_ns - S)
            or (call.type == "ok" and (call.end_ns or 0) > read.start_ns)
        )
    ]


def _after(call: Call) -> Any:
    return call.input[1] if call.f == "cas" else call.input


def write(
    folder: Path,
    story: Story,
    *,
    seed: int,
    result: str = "pass",
    code: int = 0,
    check: dict[str, Any] | None = None,
    reasons: list[str] | None = None,
) -> Path:
    """Write a whole run's folder."""
    folder.mkdir(parents=True)
    spec = {**spec_of(seed), "concurrency": story.concurrency, "keys": story.keys}
    (folder / "spec.toml").write_text(toml_of(spec))
    _write_lines(folder / "history.jsonl", history_of(story))
    _write_lines(folder / "status.jsonl", story.status)
    plan = {"version": 1, "seed": seed, "faults": [_planned(fault) for fault in story.faults]}
    (folder / "plan.json").write_text(json.dumps(plan))
    types = [call.type for call in story.calls]
    valid: dict[str, Any] = {
        "name": "linearizable",
        "verdict": "valid",
        "reason": None,
        "keys": story.keys,
    }
    valid |= {"operations": len(types), "seconds": 0.42, "counterexample": None}
    outcome = {
        "splitbrain": "0.1.0",
        "name": "register",
        "outcome": result,
        "exit_code": code,
        "reasons": reasons or ["linearizable: valid"],
        "started_at": "2026-11-23T21:00:00Z",
        "seed": seed,
        "repeat": f"splitbrain test --system raft --workload register --nemesis partition,kill,pause,clock "
        f"--hosts lab --nodes 5 --time-limit {story.duration_ns // S} --seed {seed}",
        "spec": spec,
        "checks": [check or valid],
        "operations": {
            "invoke": len(types),
            **{kind: types.count(kind) for kind in ("ok", "fail", "info")},
        },
        "rates": {
            "seconds": 30.0,
            "sent": 5900,
            "forgone": 41,
            "offered_per_s": 198.03,
            "achieved_per_s": 196.67,
            "late_ms_max": 12.5,
            "completed": {"ok": 5500, "fail": 300, "info": 100},
        },
        "leader_changes": story.leaders,
        "faults": story.faults,
        "phases": [
            {"name": "lab up", "seconds": 0.6},
            {"name": "deploy", "seconds": 2.1},
            {"name": "load and faults", "seconds": story.duration_ns / S},
            {"name": "recovery", "seconds": 0.8},
            {"name": "check", "seconds": 0.42},
        ],
        "recovery": {
            "recovered": True,
            "seconds": 0.8,
            "deadline_s": 20.0,
            "detail": "every node served a read",
        },
    }
    (folder / "outcome.json").write_text(json.dumps(outcome))
    _write_logs(folder, story)
    return folder


def spec_of(seed: int) -> dict[str, Any]:
    """The spec as a table."""
    return {
        "system": "raft",
        "workload": "register",
        "nemesis": ["partition", "kill", "pause", "clock"],
        "hosts": "lab",
        "nodes": 5,
        "concurrency": 10,
        "rate": 200.0,
        "keys": 8,
        "time_limit": 30.0,
        "operation_timeout": 0.5,
        "seed": seed,
    }


def toml_of(spec: dict[str, Any]) -> str:
    """JSON scalars and lists of texts are TOML, too."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in spec.items())


def history_of(story: Story) -> list[dict[str, Any]]:
    """Every event: clients and nemesis. The call number n has the indexes 2n and 2n+1."""
    events: list[dict[str, Any]] = []
    for number, call in enumerate(story.calls):
        base = {"process": call.process, "f": call.f, "key": call.key, "node": call.node}
        start = {"index": 2 * number, "time": call.start_ns, "type": "invoke"}
        events.append({**start, **base, "value": call.input})
        if call.end_ns is None:
            continue
        end = {"index": 2 * number + 1, "time": call.end_ns, "type": call.type}
        events.append({**end, **base, "value": call.output, "error": call.error})
    index = 2 * len(story.calls)
    for fault in story.faults:
        for phase, time_ns in (("start", fault["start_ns"]), ("stop", fault["stop_ns"])):
            value = {"fault": fault["id"], "phase": phase, "name": fault["name"]}
            value |= {"targets": fault["targets"], "parameters": fault["parameters"]}
            evidence = {"evidence": fault["evidence"], "detail": fault["detail"]}
            for kind, moment_ns, seen in (
                ("invoke", time_ns - 9 * MS, {}),
                ("info", time_ns, evidence),
            ):
                event = {"index": index, "time": moment_ns, "process": "nemesis", "type": kind}
                events.append({**event, "f": fault["kind"], "value": {**value, **seen}})
                index += 1
    events.sort(key=lambda event: (event["time"], event["type"] != "invoke"))
    return events


def _planned(fault: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fault.items() if name not in ("evidence", "detail")}


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def _write_logs(folder: Path, story: Story) -> None:
    for number, node in enumerate(NODES):
        host = folder / "hosts" / node
        host.mkdir(parents=True)
        lines = []
        for tick in range(story.duration_ns // (S // 5)):
            time_ns = tick * (S // 5) + number * 11 * MS
            leader = leader_at(story, max(time_ns, 4 * MS))
            level = "WARN" if tick % 17 == 3 else "INFO"
            what = f"term={leader['term']} leader={leader['leader']} commit={tick * 40}"
            lines.append(f"{stamp(time_ns)} {level} {node} heartbeat {what}\n")
        (host / "node.log").write_text("".join(lines))
    harness = [
        f"{stamp(n * S)} INFO second {n} of the load\n" for n in range(story.duration_ns // S)
    ]
    (folder / "harness.log").write_text("".join(harness))


def stamp(time_ns: int) -> str:
    """The wall clock of a moment of the run."""
    moment = STARTED + timedelta(microseconds=time_ns // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
