"""Whole runs with damaged data: within what Raft survives they pass, beyond it nobody is accused."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.nemesis.plan import VARIANTS, Fault, Plan
from harness.outcome import Outcome
from harness.run import Result

NODES = ("n1", "n2", "n3", "n4", "n5")
SECOND = 1_000_000_000

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def faults(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result.document["faults"]
    return found


def test_damage_that_shows_is_survived_and_the_node_replaced(
    lab_run: Callable[..., Result],
) -> None:
    result = lab_run(
        nemesis=("damage",),
        nodes=5,
        time_limit=30,
        nemesis_interval=8,
        rate=100,
        seed=1,
    )
    assert result.outcome is Outcome.PASS, result.reasons
    assert result.document["beyond_model"] == []
    assert {fault["name"] for fault in faults(result)} == set(VARIANTS["damage"])
    for fault in faults(result):
        assert fault["evidence"] == "installed", fault
        (said,), (end,) = fault["detail"].values(), fault["detail_stop"].values()
        if fault["name"] == "torn-write":
            assert "started on it, it runs" in said
        else:
            assert "ended with status 3 (damaged data)" in said
            assert "made anew" in end or "recovery" in end or "not removed" in end, end


def strike(number: int, kind: str, name: str, seconds: tuple[int, int], *targets: str) -> Fault:
    return Fault(
        id=number,
        kind=kind,
        name=name,
        start_ns=seconds[0] * SECOND,
        stop_ns=seconds[1] * SECOND,
        targets=targets,
        fallback=NODES,
        parameters={"draw": 5},
    )


def test_a_majority_that_forgets_breaks_the_history_and_it_is_no_violation(
    lab_run: Callable[..., Result],
) -> None:
    """Two nodes look away while the other three acknowledge, and then these forget."""
    plan = Plan(
        seed=1,
        faults=(
            strike(0, "pause", "pause-minority", (2, 11), "n4", "n5"),
            strike(1, "amnesia", "cut-majority", (6, 9), "n1", "n2", "n3"),
        ),
    )
    result = lab_run(
        plan=plan,
        nemesis=("pause", "amnesia"),
        nodes=5,
        time_limit=14,
        recovery_timeout=4,
        seed=1,
    )
    verdicts = {check["name"]: check["verdict"] for check in result.document["checks"]}
    assert verdicts["linearizable"] == "invalid"
    assert result.outcome is Outcome.INCONCLUSIVE, result.reasons
    assert result.reasons[0].startswith(
        "beyond the fault model: amnesia:cut-majority on n1, n2, n3"
    )
    assert (result.path / "certificate.json").is_file(), "the evidence is kept"
