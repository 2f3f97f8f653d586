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

from checker import core_search as core_search  # proofs search fast once the kernels are here
from checker.budget import Budget, Spent
from checker.columns import Columns
from checker.containers import decide as decide_container
from checker.first_look import look
from checker.meaning import Meaning
from checker.models.model import Model
from checker.parts import Found, Part
from checker.portfolio import Answer, Race
from checker.problem import problem_of
from checker.verdict import Verdict

# Of a budget's memory, what the first look may take for one object.
_FIRST_SHARE = 0.25


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
    if not any(part.found is not None for part in parts):
        seen = look(columns, model, meaning,
                    bytes_max=_FIRST_SHARE * budget.memory_bytes, workers=workers)  # fmt: skip
        if seen is not None:
            by_key = dict(zip(columns.keys, seen[1], strict=True))
            for part in parts:
                part.found = by_key[part.key]
    for part in parts:
        if _is_open(part):
            part.found = _collection(part, model) or part.found
    races: dict[int, Race] = {}
    for _ in range(2):
        still_open = [part for part in parts if _is_open(part)]
        for place, part in enumerate(still_open):
            share = budget.share(len(still_open) - place)
            if part.found is not None and share.spent(0) is not None and id_of(part) in races:
                continue
            race = races.pop(id_of(part), None) or Race(problem_of(part.calls, model))
            # Races that wait for their second turn keep what they have.
            kept = sum(waiting.kept_bytes for waiting in races.values())
            share = replace(share, memory_bytes=share.memory_bytes - kept)
            part.found = _of_answer(part, race.run(share))
            if _is_open(part):
                races[id_of(part)] = race


def id_of(part: Part) -> int:
    """Return a number that no other part of the history has: its first row."""
    return int(part.rows[0])


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
