"""Messages lost by class on a real cluster: what then does not happen, and that it does afterwards."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checker.history import EventType, read_jsonl
from harness.hosts import lab
from harness.nemesis.plan import LEADER, Fault, Plan
from harness.outcome import Outcome
from harness.run import Result, run
from harness.spec import Spec

# Apart from those of the other tests: above theirs, and not every process the same.
LAB = 150 + os.getpid() % 50
NODES = ("n1", "n2", "n3")
SECOND = 1_000_000_000
# More than two election timeouts: whoever could be elected would be.
ELECTION_NS = 3 * SECOND // 2

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture(autouse=True)
def no_lab_left_behind() -> Iterator[None]:
    yield
    assert lab.status(LAB).state == "down", "the run left its lab behind"


def strike(
    number: int, name: str, seconds: tuple[float, float], *targets: str, **parameters: Any
) -> Fault:
    return Fault(
        id=number,
        kind=name.partition("-")[0] if name.startswith("kill") else "partition",
        name=name,
        start_ns=int(seconds[0] * SECOND),
        stop_ns=int(seconds[1] * SECOND),
        targets=targets,
        fallback=NODES,
        parameters=parameters,
    )


def leaders(result: Result, since_ns: int, until_ns: int) -> set[str]:
    """Who said that it leads between two times."""
    lines = (result.path / "status.jsonl").read_text().splitlines()
    said = [json.loads(line) for line in lines]
    times = [one["time"] for one in said if since_ns < one["time"] < until_ns]
    assert len(times) > 5, "nobody looked"
    return {
        one["node"]
        for one in said
        if since_ns < one["time"] < until_ns and one["reachable"] and one["role"] == "leader"
    }


def changed(result: Result, since_ns: int, until_ns: int) -> int:
    """How many writes were invoked and acknowledged between two times."""
    return sum(
        one.type is EventType.OK
        and one.f == "write"
        and since_ns < (one.invocation.time or 0)
        and one.completion is not None
        and (one.completion.time or 0) < until_ns
        for one in read_jsonl(result.path / "history.jsonl").operations()
    )


def test_without_votes_nobody_is_elected_without_appends_nothing_is_committed_until_healed(
    tmp_path: Path,
) -> None:
    spec = Spec(
        nemesis=("partition", "kill"), nodes=3, time_limit=21, seed=1, lab=LAB, store=str(tmp_path)
    )
    behind = {"classes": ["snapshots"], "one": "other", "misses": ["appends"]}
    faults = (
        strike(0, "no-votes", (2, 7), *NODES, classes=["votes"]),
        strike(1, "kill-leader", (2.5, 10), LEADER),
        strike(2, "no-appends", (12, 15), LEADER, classes=["appends"]),
        strike(3, "no-snapshots", (16.5, 19.5), *NODES, **behind),
    )
    result = run(spec, plan=Plan(seed=1, faults=faults))
    assert result.outcome is Outcome.PASS, result.reasons
    by_id = {one["id"]: one for one in result.document["faults"]}
    assert {one["evidence"] for one in by_id.values()} == {"installed"}, by_id
    assert list(result.path.glob("hosts/*/system.log"))

    votes, kill = by_id[0], by_id[1]
    (dead,) = kill["targets"]
    assert kill["start_ns"] + ELECTION_NS < votes["stop_ns"] < kill["stop_ns"]
    assert leaders(result, kill["start_ns"] + SECOND, int(6.9 * SECOND)) == set()
    after = leaders(result, votes["stop_ns"], kill["stop_ns"])
    assert len(after - {dead}) == 1, "the two others elect as soon as they hear votes"
    for node in set(NODES) - {dead}:
        assert "votes from n" in votes["detail_stop"][node]

    appends = by_id[2]
    (leader,) = appends["targets"]
    assert leaders(result, appends["start_ns"] + SECOND, int(14.9 * SECOND)) == {leader}
    assert changed(result, appends["start_ns"] + SECOND // 2, int(14.9 * SECOND)) == 0
    assert changed(result, appends["stop_ns"], int(16.4 * SECOND)) > 0

    said = [text for text in by_id[3]["detail_stop"].values() if "snapshots from" in text]
    assert len(said) == 1, by_id[3]["detail_stop"]
    installed = [
        log for log in result.path.glob("hosts/*/system.log") if "installed snap" in log.read_text()
    ]
    assert installed, "healed, the one that was left behind is sent its snapshot"
