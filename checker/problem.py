"""The calls on one object as integer arrays: what the compiled searches look at.

Rules of this file:
- The meaning of the arrays is in `checker.kernels.layout`. Every action becomes a kind there: from
  what the model says about it (`needs`, `gives`, `is_pure`), else by its transitions.
- Events are renumbered without gaps: only their order counts.
- Nothing is left out but what `checker.calls.without_idle` argues for. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checker.calls import Calls, without_idle
from checker.columns import Ints, Longs
from checker.kernels.arrange import arrange, assign_slots, group_optional
from checker.kernels.layout import (
    CALL_COLUMNS,
    CAS,
    GIVES,
    KIND,
    NEEDS,
    PURE,
    READ,
    REFUSED,
    REQUIRED,
    TABLE,
    WRITE,
)
from checker.models.model import Action, Excluding, Model
from checker.state_graph import StateGraph


@dataclass(slots=True, kw_only=True, eq=False)
class Problem:
    """Arrays of `n` calls and their events; see `checker.kernels.layout`.

    `calls` has a row a call, in order of invocation; `row[i]` is the call's place in what the
    problem was made from. `optional` has a row a class of optional calls (kind, needs, gives) and
    `optional_calls` the calls of each, in order of invocation. `slots` is how many calls that
    return are open at once at most. `states` is how many states are known by now; `graph` the
    states behind the numbers, where the model has to be asked (`has_table`).
    """

    calls: Ints
    events: Ints
    row: Ints
    optional: Ints
    optional_calls: tuple[Ints, ...]
    slots: int
    states: int
    initial: int
    classes: int
    graph: StateGraph | None
    has_table: bool


def kind_of(action: Action, model: Model, graph: StateGraph, cls: int) -> tuple[int, int, int, int]:
    """Return kind, needs, gives and pureness of an action."""
    needs, gives, pure = model.needs(action), model.gives(action), model.is_pure(action)
    excludes = model.excludes(action) if isinstance(model, Excluding) else None
    if pure and needs is not None:
        number = graph.number(needs)
        return READ, number, number, 1
    if pure and excludes is not None:
        return REFUSED, graph.number(excludes), -1, 1
    if not pure and gives is not None:
        if needs is None:
            return WRITE, -1, graph.number(gives), 0
        before, after = graph.number(needs), graph.number(gives)
        return (CAS, before, after, 0) if before != after else (READ, before, before, 1)
    return TABLE, cls, -1, int(pure)


def problem_of(calls: Calls, model: Model) -> Problem:
    """Return the arrays for calls on one object."""
    useful = {call.index for call in without_idle(calls, model)}
    kept = [(place, call) for place, call in enumerate(calls) if call.index in useful]
    numbers: dict[Action, int] = {}
    for _, call in kept:
        numbers.setdefault(call.action, len(numbers))
    graph = StateGraph(model, list(numbers))
    kinds = [kind_of(action, model, graph, cls) for cls, action in enumerate(numbers)]
    table = np.zeros((len(kept), CALL_COLUMNS), np.int32)
    if kept:
        cls = np.fromiter((numbers[call.action] for _, call in kept), np.int32, len(kept))
        what = np.array(kinds, np.int32)[cls]
        table[:, KIND], table[:, NEEDS], table[:, GIVES] = what[:, 0], what[:, 1], what[:, 2]
        table[:, PURE] = what[:, 3]
    start = np.fromiter((call.start for _, call in kept), np.int64, len(kept))
    end = np.fromiter(
        (-1 if call.end is None else call.end for _, call in kept), np.int64, len(kept)
    )
    row = np.fromiter((place for place, _ in kept), np.int32, len(kept))
    return finish(table, start, end, row, states=len(graph.states), initial=graph.initial,
                  classes=max(1, len(numbers)), graph=graph)  # fmt: skip


def finish(
    table: Ints,
    start: Longs,
    end: Longs,
    row: Ints,
    *,
    states: int,
    initial: int,
    classes: int,
    graph: StateGraph | None,
    required: Ints | None = None,
) -> Problem:
    """Number the events and give out slots; a negative `end` is none, and such calls optional.

    `required` tells which calls must take effect where that is not just those with an end.
    """
    table[:, REQUIRED] = end >= 0 if required is None else required
    events = arrange(table, start, end)
    slots = int(assign_slots(table, events))
    optional, members, stops = group_optional(table)
    return Problem(
        calls=table,
        events=events,
        row=row,
        optional=optional,
        optional_calls=tuple(np.split(members, stops[:-1])) if len(stops) else (),
        slots=slots,
        states=states,
        initial=initial,
        classes=classes,
        graph=graph,
        has_table=bool((table[:, KIND] == TABLE).any()),
    )
