"""The front door against the twin of every model: verdicts, orders, certificates, both ways in."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from differential import DIFFERS, Disagreement
from differential_check import FRONT_DOORS, agreed, without_kernels
from random_calls import calls_from, history_of
from random_events import REQUESTS

from checker.linearizable import check
from checker.models import model_named
from checker.verdict import Verdict

SEEDS = 110


@pytest.mark.parametrize("door", FRONT_DOORS)
def test_verdicts_are_those_of_the_twin_and_proved(door: str) -> None:
    answers: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            answers[FRONT_DOORS[door](Random(f"{door} {seed}"))] += 1
        except Disagreement as error:
            pytest.fail(f"{door}, seed {seed}: {error}")
    assert set(answers) - {"invalid, window"} == {"valid", "invalid"}
    assert min(answers["valid"], answers["invalid"]) >= 9, answers


def test_every_model_has_both_doors() -> None:
    assert len(FRONT_DOORS) == 2 * len(REQUESTS)


# Histories on which a mistake was once found, or on which one would show.
WITHOUT_ORDER = {
    # A search that looks ahead knows already at the first return that there is no order; the
    # contradiction needs the later calls as well.
    "looking ahead": (
        (("write", "0"), 0, None),
        (("read", "0"), 1, 2),
        (("write", "0"), 3, None),
        (("write", "0"), 4, None),
        (("read", "null"), 5, 6),
    ),
    "taken twice": (
        (("write", "1"), 0, 3),
        (("cas", "1", "2"), 1, 6),
        (("cas", "1", "3"), 2, 7),
        (("read", "3"), 8, 9),
    ),
}


@pytest.mark.parametrize("name", WITHOUT_ORDER)
def test_contradictions_are_certified_whoever_finds_them(name: str) -> None:
    past = history_of(calls_from(*WITHOUT_ORDER[name]))
    model = model_named("cas-register")
    result = check(past, model, meaning=DIFFERS)
    assert result.verdict is Verdict.INVALID
    agreed(past, result, model, DIFFERS)
    with without_kernels():
        agreed(past, check(past, model, meaning=DIFFERS), model, DIFFERS)
