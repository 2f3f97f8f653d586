"""Every search against brute force on thousands of tiny histories; `tools/fuzz_checker.py` goes on.

Each history has a seed of its own: a failure names the algorithm and the seed, and prints the calls.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from brute_force import has_order
from differential import ALGORITHMS, tried
from random_calls import (
    TRICKY,
    calls_from,
    can_be_ordered,
    history_of,
    register_calls,
    register_step,
)
from random_events import MEANINGS, REQUESTS, calls_in, model_of, random_history
from test_fuzz_looks import LOOKS

from checker.kernels import layout
from checker.kernels.breadth_first import GAVE_UP
from checker.meaning import FailedCas, Meaning
from checker.models import MODELS, model_named
from checker.problem import problem_of
from checker.race import BreadthFirst, DepthFirst, Transitions
from checker.replay import replay

# How many histories of each, and which answers must be among them, each this often.
SEARCHES: dict[str, tuple[int, dict[str, int]]] = {
    "plain": (1500, {"valid": 500, "invalid": 300}),
    "depth-first": (4000, {"valid": 1500, "invalid": 900}),
    "just-in-time": (
        4000,
        {"valid": 1500, "invalid": 900, "valid, refined": 2, "invalid, refined": 2},
    ),
    "without-log": (2000, {"valid": 800, "invalid": 400}),
    "beam-1": (2000, {"valid": 800, "invalid": 400, "gave up": 30}),
    "beam-3": (2000, {"valid": 800, "invalid": 400, "gave up": 5}),
    "race": (
        3000,
        {
            "valid by depth-first": 100,
            "valid by just-in-time": 10,
            "valid by beam-8": 100,
            "invalid by depth-first": 100,
            "invalid by just-in-time": 100,
            "invalid by beam-8": 50,
        },
    ),
}


def test_every_algorithm_is_tried_here_or_in_the_file_beside() -> None:
    assert {*SEARCHES, *LOOKS} == set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", SEARCHES)
def test_answers_are_those_of_brute_force(algorithm: str) -> None:
    tried(algorithm, *SEARCHES[algorithm])


@pytest.mark.parametrize("name", TRICKY)
def test_no_search_misses_what_is_tricky(name: str) -> None:
    has_order, told = TRICKY[name]
    calls, register = calls_from(*told), model_named("cas-register")
    assert can_be_ordered(calls, register_step) == has_order
    made = problem_of(calls, register)
    every = range(len(made.optional_calls))
    searches: list[DepthFirst | BreadthFirst] = [
        DepthFirst(made, Transitions(made)),
        BreadthFirst(made, Transitions(made), tracked=every),
        BreadthFirst(made, Transitions(made), tracked=every, beam=3),
    ]
    for search in searches:
        code = search.advance(10**6, 1e9)
        assert code != layout.VALID if not has_order else code in (layout.VALID, GAVE_UP)
        if code == layout.VALID:
            order = search.linearization()
            assert order is not None
            replay([calls[place] for place in order], calls, register)
    assert searches[0].furthest == len(made.events) or not has_order


def test_the_judge_agrees_with_all_orders_of_registers() -> None:
    register = model_named("cas-register")
    answers: Counter[bool] = Counter()
    for seed in range(1500):
        calls = register_calls(Random(f"judge {seed}"), calls_max=6)
        expected = has_order(calls, register)
        assert can_be_ordered(calls, register_step) == expected, seed
        answers[expected] += 1
    assert min(answers.values()) > 300


@pytest.mark.parametrize("name", MODELS)
def test_the_judge_agrees_with_all_orders_of_every_model(name: str) -> None:
    model = model_of(name)
    for seed in range(60):
        stream = Random(f"judge {name} {seed}")
        past = random_history(stream, name, operations_max=5)
        calls = calls_in(past, model, stream.choice(MEANINGS))
        assert can_be_ordered(calls, model.step, model.initial) == has_order(calls, model), seed


def test_every_model_is_fuzzed() -> None:
    assert set(REQUESTS) == set(MODELS)


def test_generated_histories_are_deep_broken_and_many_sided() -> None:
    """What the generator promises: overlap, crashes, faults, few values and many."""
    depths: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    distinct: Counter[bool] = Counter()
    invalid = crashed = 0
    for seed in range(1500):
        calls = register_calls(Random(f"shape {seed}"))
        sizes[len(calls)] += 1
        events = [(call.start, 1) for call in calls]
        events += [(call.end, -1) for call in calls if call.end is not None]
        depth = deepest = 0
        for _, side in sorted(events):
            depth += side
            deepest = max(deepest, depth)
        depths[deepest] += 1
        crashed += sum(call.end is None for call in calls)
        writes = [call.action[1] for call in calls if call.action[0] == "write"]
        if len(writes) > 2:
            distinct[len(set(writes)) == len(writes)] += 1
        invalid += not can_be_ordered(calls, register_step)
    assert 0.3 <= invalid / 1500 <= 0.5
    assert {2, 8, 14} <= set(sizes)
    assert sum(depths[depth] for depth in range(6, 15)) > 200
    assert crashed > 1500
    assert min(distinct.values()) > 200


def test_calls_and_the_history_that_has_them_are_the_same() -> None:
    model, differs = model_named("cas-register"), Meaning(failed_cas=FailedCas.DIFFERS)
    for seed in range(100):
        calls = register_calls(Random(f"back {seed}"))
        back = calls_in(history_of(calls), model, differs)
        assert [call.action for call in back] == [call.action for call in calls]
        positions = sorted(
            [call.start for call in calls] + [call.end for call in calls if call.end is not None]
        )
        place = {position: n for n, position in enumerate(positions)}
        assert [(c.start, c.end) for c in back] == [
            (place[c.start], None if c.end is None else place[c.end]) for c in calls
        ]


def test_printed_calls_can_be_pasted() -> None:
    assert calls_from((("read", "1"), 2, 3), (("write", "1"), 0, None))[0].action == ("write", "1")
