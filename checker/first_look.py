"""The first look: all objects of a history in a few calls of one kernel.

Rules of this file:
- Decides nearly all objects of nearly all histories; what it does not decide is raced for.
- Pure but for the threads of `checker.parallel`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from checker.columns import Columns
from checker.flat import FlatCalls
from checker.kernels import alone, layout
from checker.kernels.refute import NOTHING, STALE
from checker.meaning import Meaning
from checker.models.model import Model
from checker.parallel import in_threads
from checker.parts import Found
from checker.registers import register_calls
from checker.sequential import play
from checker.strings import string_calls
from checker.verdict import Verdict

STEPS_A_CALL = 8
_CHUNK_CALLS = 100_000


def look(
    columns: Columns, model: Model, meaning: Meaning, *, bytes_max: float, workers: int
) -> list[Found | None] | None:
    """Look at each key; a `None` is undecided. `None` for all if this is neither a register nor a string."""
    if not model.keyed:  # all keys are one object: somebody's own variant
        return None
    if (played := play(columns, model, meaning)) is not None:
        return played
    calls = register_calls(columns, model, meaning) or string_calls(columns, model, meaning)
    if calls is None:
        return None
    order = np.empty(len(calls.row), np.int32)
    marks = np.zeros(len(calls.row), np.int8)
    answers = np.zeros((len(calls.stops), alone.ANSWER_COLUMNS), np.int64)
    bounds = _chunks(calls.stops)

    def some(bound: tuple[int, int]) -> None:
        first, last = bound
        begin = 0 if first == 0 else int(calls.stops[first - 1])
        end = int(calls.stops[last - 1])
        edge = 0 if first == 0 else int(calls.edge_stops[first - 1])
        alone.look_at_all(
            calls.kind[begin:end], calls.needs[begin:end], calls.gives[begin:end],
            calls.start[begin:end], calls.end[begin:end], calls.stops[first:last] - begin,
            calls.initial[first:last], calls.values, calls.edges[edge:],
            calls.edge_stops[first:last] - edge, calls.classes, STEPS_A_CALL, bytes_max,
            order[begin:end], marks[begin:end], answers[first:last],
        )  # fmt: skip

    in_threads(some, bounds, workers=workers)
    begin, found = 0, []
    for stop, answer in zip(calls.stops.tolist(), answers.tolist(), strict=True):
        found.append(_found(calls, begin, stop, order, marks, answer))
        begin = stop
    return found


def _chunks(stops: Any) -> list[tuple[int, int]]:
    """Divide the keys into runs of about as many calls."""
    bounds, first, begin = [], 0, 0
    for k, stop in enumerate(stops.tolist()):
        if stop - begin >= _CHUNK_CALLS or k == len(stops) - 1:
            bounds.append((first, k + 1))
            first, begin = k + 1, stop
    return bounds


def _found(
    calls: FlatCalls, begin: int, stop: int, order: Any, marks: Any, answer: list[int]
) -> Found | None:
    code = answer[alone.CODE]
    if code == layout.VALID:
        placed = order[begin : begin + answer[alone.ORDERED]]
        return Found(
            verdict=Verdict.VALID,
            algorithm="depth-first",
            order=calls.row[begin + placed],
            steps=answer[alone.STEPS],
        )
    if code != layout.INVALID:
        return None
    if answer[alone.FOUND] == NOTHING:
        return Found(
            verdict=Verdict.INVALID,
            algorithm="depth-first",
            until=int(calls.row[begin + answer[alone.FURTHEST]]),
            steps=answer[alone.STEPS],
        )
    pointed = begin + np.nonzero(marks[begin:stop])[0]
    # The call that cannot be is known, or is among those that make the contradiction.
    between = None
    if answer[alone.FOUND] == STALE and answer[alone.ORDERED] >= 0:
        between = int(calls.row[begin + answer[alone.ORDERED]])
    last = begin + answer[alone.FURTHEST]
    if answer[alone.FURTHEST] < 0:
        last = int(pointed[np.argmax(calls.end[pointed])])
    return Found(
        verdict=Verdict.INVALID,
        algorithm="stale" if answer[alone.FOUND] == STALE else "zones",
        until=int(calls.row[last]),
        hint=tuple(calls.row[pointed].tolist()),
        between=between,
    )
