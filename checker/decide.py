"""Verdicts by the compiled searches: the first look, checks of collections, the race.

Rules of this file:
- Fills in `Part.found` where it is not certain yet, and claims nothing it cannot show.
- Each open part gets an equal share of the time that is left, so what easy ones leave over goes to
  those after them; then those still open get all the rest, and their races go on where they were.
- Pure: the clock is the budget's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from checker import core_search
from checker.budget import Budget, Spent
from checker.columns import Columns
from checker.containers import decide as decide_container
from checker.first_look import look
from checker.meaning import Meaning
from checker.models.model import Model
from checker.parts import Found, Part
from checker.portfolio import Answer, Race
from checker.problem import problem_of
from checker.shrink import Shrinker
from checker.verdict import Verdict

# Of a budget's memory, what the first look may take for one object.
_FIRST_SHARE = 0.25
# How many positions before a return are near it.
_NEAR_POSITIONS = 1024


def decide(
    parts: list[Part],
    columns: Columns,
    model: Model,
    meaning: Meaning,
    budget: Budget,
    *,
    workers: int,
) -> None:
    """Find a verdict for every part that has none."""
    if budget.spent(0) is Spent.TIME:
        return
    if not any(part.found is not None for part in parts):
        seen = look(columns, model, meaning,
                    bytes_max=_FIRST_SHARE * budget.memory_bytes, workers=workers)  # fmt: skip
        if seen is not None:
            by_key = dict(zip(columns.keys, seen, strict=True))
            for part in parts:
                part.found = by_key[part.key]
    for part in parts:
        if _is_open(part):
            part.found = _collection(part, model) or part.found
    for _ in range(2):
        still_open = [part for part in parts if _is_open(part)]
        for place, part in enumerate(still_open):
            share = budget.share(len(still_open) - place)
            if part.race is not None and share.spent(0) is not None:
                continue
            _race(part, parts, share)


def _race(part: Part, parts: list[Part], budget: Budget) -> None:
    """Race for one part, from where an earlier race of it stood."""
    race = part.race
    if race is None:
        race = Race(problem_of(part.calls, part.model), lambda place: _near(part, place, budget))
        if part.saved is not None:
            race.restore(part.saved)
            part.saved = None
    # Races that wait for their second turn keep what they have.
    kept = sum(other.race.kept_bytes for other in parts if other.race and other is not part)
    answer = race.run(replace(budget, memory_bytes=budget.memory_bytes - kept))
    part.found = _of_answer(part, answer)
    part.race = race if _is_open(part) else None


def _near(part: Part, place: int, budget: Budget) -> bool:
    """Whether the calls shortly before a return have no order, whatever the state was before."""
    until = part.calls[place].end
    assert until is not None
    near = part.calls_at(part.rows_before(until, until - _NEAR_POSITIONS))
    shrinker = Shrinker(part.model, budget, core_search.is_refuted)
    return shrinker.window(near, until=until, length_max=_NEAR_POSITIONS) is not None


def _is_open(part: Part) -> bool:
    """Whether a verdict may still be found: not where the memory ran out."""
    found = part.found
    return found is None or (found.verdict is Verdict.UNKNOWN and found.spent is not Spent.MEMORY)


def _collection(part: Part, model: Model) -> Found | None:
    """Ask the checks of collections with distinct elements."""
    decision = decide_container(part.calls, model.name, model.initial)
    if decision is None:
        return None
    if decision.verdict is Verdict.VALID:
        assert decision.order is not None
        order = np.array([call.index for call in decision.order], np.int64)
        return Found(verdict=Verdict.VALID, algorithm="containers", order=order)
    core = decision.core or ()
    last = max(core, key=lambda call: -1 if call.end is None else call.end)
    return Found(
        verdict=Verdict.INVALID,
        algorithm="containers",
        until=last.index,
        hint=tuple(call.index for call in core),
        elements=decision.elements,
        cycle=decision.cycle,
    )


def _of_answer(part: Part, answer: Answer) -> Found:
    calls = part.calls
    order = None
    if answer.order is not None:
        order = np.array([calls[place].index for place in answer.order], np.int64)
    return Found(
        verdict=answer.verdict,
        algorithm=answer.algorithm,
        order=order,
        until=None if answer.until is None else calls[answer.until].index,
        spent=answer.spent,
        steps=answer.steps,
        kept_bytes=answer.kept_bytes,
    )
