"""The plan of a sweep: every combination once, everything touched early, mistakes named."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.spec import Spec
from harness.sweep_plan import FIRST_BEYOND_S, SweepPlan, expected_s, plan_of, spread

LISTS = st.dictionaries(
    st.sampled_from("abcd"), st.integers(1, 5).map(lambda size: list(range(size))), max_size=4
)


def planned(values: dict[str, Any], *, store: str | None = None, seed: int = 40) -> SweepPlan:
    return plan_of(values, file="nightly.toml", store=store, seed=seed)


@given(LISTS)
def test_every_combination_comes_once(matrix: dict[str, list[int]]) -> None:
    chosen = [tuple(sorted(one.items())) for one in spread(matrix)]
    assert len(chosen) == math.prod(len(values) for values in matrix.values())
    assert len(set(chosen)) == len(chosen)
    assert all(value in matrix[name] for one in chosen for name, value in one)


@given(LISTS)
def test_the_first_few_combinations_show_every_value(matrix: dict[str, list[int]]) -> None:
    first = list(spread(matrix))[: max((len(values) for values in matrix.values()), default=1)]
    for name, values in matrix.items():
        assert {one[name] for one in first} == set(values)


def test_seeds_come_last_in_the_order() -> None:
    plan = planned(
        {"matrix": {"workload": ["register", "queue"], "nemesis": ["none", "kill"]}, "seeds": 2}
    )
    assert [(run.number, run.title) for run in plan.runs] == [
        (1, "workload register, nemesis none, seed 40"),
        (2, "workload queue, nemesis kill, seed 40"),
        (3, "workload register, nemesis kill, seed 40"),
        (4, "workload queue, nemesis none, seed 40"),
        (5, "workload register, nemesis none, seed 41"),
        (6, "workload queue, nemesis kill, seed 41"),
        (7, "workload register, nemesis kill, seed 41"),
        (8, "workload queue, nemesis none, seed 41"),
    ]


def test_a_run_has_the_fields_of_the_base_and_of_its_combination() -> None:
    values: dict[str, Any] = {
        "base": {"time_limit": 30, "nodes": 3, "store": "theirs"},
        "matrix": {"nemesis": ["partition,kill", ["pause"]], "mutant": ["", "some-bug"]},
        "budget_s": 600,
        "keep": "all",
    }
    plan = planned(values)
    assert {(run.spec.nemesis, run.spec.mutant) for run in plan.runs} == {
        (("partition", "kill"), ""),
        (("partition", "kill"), "some-bug"),
        (("pause",), ""),
        (("pause",), "some-bug"),
    }
    assert {(run.spec.time_limit, run.spec.nodes) for run in plan.runs} == {(30.0, 3)}
    assert {run.spec.store for run in plan.runs} == {"theirs"}
    assert {run.spec.store for run in planned(values, store="ours").runs} == {"ours"}
    assert (plan.budget_s, plan.keep) == (600.0, "all")
    assert plan.runs[0].varied == {
        "workload": "register",
        "nemesis": "partition,kill",
        "mutant": "none",
        "seed": "40",
    }


@pytest.mark.parametrize(
    ("values", "seeds"),
    [
        ({}, [40]),
        ({"seeds": 3}, [40, 41, 42]),
        ({"seeds": 2, "base": {"seed": 7}}, [7, 8]),
        ({"base": {"seed": 7}}, [7]),
        ({"seeds": "100..102"}, [100, 101, 102]),
        ({"seeds": [9, 3]}, [9, 3]),
        ({"matrix": {"seed": [5, 1]}}, [5, 1]),
    ],
)
def test_seeds_are_a_number_a_range_or_a_list(values: dict[str, Any], seeds: list[int]) -> None:
    assert [run.spec.seed for run in planned(values).runs] == seeds


def test_a_plan_without_a_matrix_is_one_run() -> None:
    (run,) = planned({}).runs
    assert run.spec == Spec(seed=40)
    assert planned({}).budget_s is None
    assert planned({}).keep == "failures"


def test_the_written_plan_says_nothing_of_where_the_store_lies() -> None:
    here, there = (
        [run.to_json() for run in planned({"seeds": 2}, store=name).runs] for name in ("a", "b")
    )
    assert here == there
    assert json.loads(json.dumps(here))[1]["spec"]["seed"] == 41


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"matrx": {}}, "unknown key 'matrx'; known are: base, matrix, seeds"),
        ({"base": 3}, "base is 3, but must be a table: [base]"),
        ({"base": {"nods": 3}}, "[base] has an unknown key 'nods'; known are: system"),
        ({"base": {"test_count": 3}}, "[base] has an unknown key 'test_count'"),
        ({"matrix": {"store": ["a"]}}, "[matrix] has an unknown key 'store'"),
        ({"matrix": {"nodes": 3}}, "[matrix] nodes is 3, but must be a list of values"),
        ({"matrix": {"nodes": []}}, "[matrix] nodes is [], but must be a list of values"),
        ({"base": {"nodes": 3}, "matrix": {"nodes": [3]}}, "nodes is in [base] and in [matrix]"),
        ({"matrix": {"nodes": [3, 5, 3]}}, "runs 1 and 3 are the same (workload register, nem"),
        (
            {"matrix": {"nemesis": ["kill,pause", "pause,kill"]}},
            "runs 1 and 2 are the same (workload register, nemesis kill,pause, seed 40)",
        ),
        (
            {"matrix": {"nodes": [5, 3]}, "base": {"nemesis": "member"}},
            "run 2 (nemesis member, nodes 3, seed 40): nodes is 3, but the nemesis 'member' needs",
        ),
        ({"base": {"workload": "regster"}}, "run 1 (workload regster, seed 40): workload is 'regs"),
        ({"base": {"seed": "x"}}, "seed is 'x', but must be a whole number"),
        ({"base": {"seed": "x"}, "seeds": 2}, "seed is 'x', but must be a whole number"),
        ({"seeds": 0}, "seeds is 0, but must be how many there are"),
        ({"seeds": True}, "seeds is True, but must be"),
        ({"seeds": []}, "seeds is [], but must be"),
        ({"seeds": "5..3"}, "seeds is '5..3', but must be"),
        ({"seeds": "5"}, "seeds is '5', but must be"),
        ({"seeds": "0..99999999999999"}, "but must be how many there are"),
        ({"seeds": [1], "base": {"seed": 3}}, "seeds is [1], and [base] has a seed"),
        ({"seeds": 2, "matrix": {"seed": [3]}}, "seeds is 2, and [matrix] has a seed"),
        ({"seeds": 6000, "matrix": {"nodes": [3, 5]}}, "12000 runs are more than a sweep may have"),
        ({"keep": "some"}, "keep is 'some', but must be one of: failures, all"),
        ({"budget_s": -1}, "budget_s is -1, but must be a number of seconds above 0"),
        ({"budget_s": True}, "budget_s is True, but must be"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_file_and_key(
    values: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        planned(values)
    assert str(caught.value).startswith("nightly.toml: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_how_long_a_run_may_take_is_learnt_from_the_last_ones() -> None:
    spec = Spec(time_limit=60)
    assert expected_s(spec, []) == 60 + FIRST_BEYOND_S
    assert expected_s(spec, [4.0, 9.0, 7.0]) == 69.0
    assert expected_s(spec, [500.0, *[5.0] * 10]) == 65.0
