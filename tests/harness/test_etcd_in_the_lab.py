"""Whole runs of etcd in the lab: it passes under faults, and stale reads are caught."""

import json
import shutil
from collections.abc import Callable

import pytest

from harness.cli import main
from harness.nemesis.plan import make_plan
from harness.outcome import Outcome
from harness.run import Result

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("etcd") is None, reason="etcd is not installed: apt-get install etcd-server"
    ),
]
KINDS = ("partition", "kill", "pause")


def seed_with_a_leader_killed_alone(*, time_limit_s: int, interval_s: int) -> int:
    """Plans are pure: look for one in which nothing else is wrong while a leader is killed. Two of
    three nodes are left then, and have to elect another."""
    for seed in range(1, 1000):
        faults = make_plan(
            seed=seed,
            kinds=KINDS,
            nodes=("n1", "n2", "n3"),
            time_limit_ns=time_limit_s * 1_000_000_000,
            interval_ns=interval_s * 1_000_000_000,
        ).faults
        for one in faults:
            others = [other for other in faults if other is not one]
            if one.name == "kill-leader" and all(
                other.stop_ns < one.start_ns or other.start_ns > one.stop_ns for other in others
            ):
                return seed
    raise AssertionError("no seed has that")


def test_etcd_passes_under_partitions_kills_and_pauses(lab_run: Callable[..., Result]) -> None:
    result = lab_run(
        system="etcd",
        nemesis=KINDS,
        nodes=3,
        time_limit=15,
        nemesis_interval=5,
        seed=seed_with_a_leader_killed_alone(time_limit_s=15, interval_s=5),
    )
    assert result.outcome is Outcome.PASS, result.reasons
    document = json.loads((result.path / "outcome.json").read_text())
    installed = {fault["kind"] for fault in document["faults"] if fault["evidence"] == "installed"}
    assert installed == set(KINDS)
    assert document["leader_changes"][0]["leader"] in ("n1", "n2", "n3")
    assert "--system etcd" in document["repeat"]
    for node in ("n1", "n2", "n3"):
        log = (result.path / "hosts" / node / "system.log").read_text()
        assert '"starting an etcd server"' in log
    assert main(["check", str(result.path)]) == 0


def test_stale_reads_of_etcd_are_caught(lab_run: Callable[..., Result]) -> None:
    """A node that is cut off serves what it has: a few writes are enough to show it.

    The clients of that node must not all wait for a write of theirs, or nobody reads through it.
    """
    for seed in (1, 2):
        result = lab_run(
            system="etcd",
            reads="stale",
            nemesis=("partition",),
            nodes=3,
            concurrency=15,
            operation_timeout=1,
            time_limit=16,
            nemesis_interval=4,
            seed=seed,
        )
        if result.outcome is Outcome.VIOLATION:
            break
    assert result.outcome is Outcome.VIOLATION, result.reasons
    (check,) = [one for one in result.document["checks"] if one["verdict"] == "invalid"]
    assert check["name"] == "linearizable"
    assert any(one["f"] == "read" for one in check["counterexample"]["operations"])
