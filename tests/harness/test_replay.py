"""A run again: its plan is read back, and what differed is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness import store
from harness.errors import UsageError
from harness.nemesis.plan import VARIANTS, Plan, make_plan
from harness.replay import differences, spec_and_plan
from harness.spec import Spec

NODES = ("n1", "n2", "n3", "n4", "n5")


def plan(seed: int = 3) -> Plan:
    return make_plan(
        seed=seed,
        kinds=tuple(VARIANTS),
        nodes=NODES,
        time_limit_ns=60_000_000_000,
        interval_ns=5_000_000_000,
    )


def test_a_plan_that_was_written_is_read_back_the_same() -> None:
    written = json.dumps(plan().to_json())
    assert Plan.from_json(json.loads(written)) == plan()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "version 1"),
        ({"version": 2, "seed": 1, "faults": []}, "version 1"),
        ({"version": 1, "faults": []}, "'seed'"),
        ({"version": 1, "seed": 1, "faults": [3]}, "as this program writes them"),
        ({"version": 1, "seed": 1, "faults": [{"kind": "fire"}]}, "'fire' is not known"),
    ],
)
def test_what_is_no_plan_is_told(content: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Plan.from_json(content)


def test_a_run_is_repeated_with_its_own_faults_and_its_own_copy_of_the_workload(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("WORKLOAD = 1\n")
    folder = store.create(Spec(workload=f"{mine}:OTHER", store=str(tmp_path / "store"), seed=5))
    store.write_json(folder / store.PLAN, plan().to_json())
    mine.unlink()
    spec, repeated = spec_and_plan(folder)
    assert repeated == plan()
    assert spec.seed == 5
    assert spec.workload == f"{folder / 'workload.py'}:OTHER"


def test_a_folder_without_a_plan_is_told(tmp_path: Path) -> None:
    folder = store.create(Spec(store=str(tmp_path)))
    with pytest.raises(UsageError, match=r"plan.json: cannot be read"):
        spec_and_plan(folder)
    (folder / store.PLAN).write_text("{")
    with pytest.raises(UsageError, match="no plan that can be repeated"):
        spec_and_plan(folder)


def outcome(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "splitbrain": "1",
        "outcome": "pass",
        "checks": [{"name": "linearizable", "verdict": "valid"}],
        "faults": [{"id": 0, "kind": "kill", "name": "kill-one", "evidence": "installed"}],
        "leader_changes": [{}],
        "operations": {"ok": 1000, "info": 10},
    }
    return {**known, **changes}


def test_what_differs_is_said_and_what_does_not_is_not() -> None:
    assert differences(outcome(), outcome(operations={"ok": 1050, "info": 10})) == []
    told = differences(
        outcome(),
        outcome(
            outcome="violation",
            checks=[{"name": "linearizable", "verdict": "invalid"}],
            faults=[{"id": 0, "kind": "kill", "name": "kill-one", "evidence": "indeterminate"}],
            leader_changes=[{}, {}],
            operations={"ok": 800, "info": 10},
        ),
    )
    assert told == [
        "outcome: pass before, violation now",
        "check linearizable: valid before, invalid now",
        "fault 0 (kill:kill-one): installed before, indeterminate now",
        "leaders seen: 1 before, 2 now",
        "operations, ok: 1000 before, 800 now",
    ]


def test_a_run_without_an_outcome_cannot_be_compared() -> None:
    assert differences({}, outcome()) == ["the first run has no outcome to compare with"]
