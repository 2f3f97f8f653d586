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
from checker.columns import Ints
from checker.kernels.layout import (
    CALL_COLUMNS,
    CAS,
    CLASS,
    END,
    GIVES,
    INFINITE,
    KIND,
    NEEDS,
    PURE,
    READ,
    REFUSED,
    SLOT,
    START,
    TABLE,
    WRITE,
    assign_slots,
)
from checker.models.model import Action, Model
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
    excludes = getattr(model, "excludes", lambda _: None)(action)
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
        table[:, PURE], table[:, CLASS] = what[:, 3], cls
    start = np.fromiter((call.start for _, call in kept), np.int64, len(kept))
    end = np.fromiter((-1 if call.end is None else call.end for _, call in kept), np.int64, len(kept))
    row = np.fromiter((place for place, _ in kept), np.int32, len(kept))
    return finish(table, start, end, row, states=len(graph.states), initial=graph.initial,
                  classes=max(1, len(numbers)), graph=graph)  # fmt: skip


def finish(
    table: Ints,
    start: np.ndarray,
    end: np.ndarray,
    row: Ints,
    *,
    states: int,
    initial: int,
    classes: int,
    graph: StateGraph | None,
) -> Problem:
    """Number the events and give out slots; `end` is negative for optional calls."""
    count = len(table)
    closes = np.nonzero(end >= 0)[0]
    positions = np.concatenate([start, end[closes]])
    order = np.argsort(positions, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    table[:, START] = rank[:count]
    table[:, END] = INFINITE
    table[closes, END] = rank[count:]
    table[:, SLOT] = -1
    events = np.empty(len(order), np.int32)
    events[table[:, START]] = np.arange(count, dtype=np.int32)
    events[table[closes, END]] = ~closes.astype(np.int32)
    slots = int(assign_slots(table, events))
    optional, members = _optional_classes(table)
    return Problem(
        calls=table,
        events=events,
        row=row,
        optional=optional,
        optional_calls=members,
        slots=slots,
        states=states,
        initial=initial,
        classes=classes,
        graph=graph,
        has_table=bool((table[:, KIND] == TABLE).any()),
    )


def _optional_classes(table: Ints) -> tuple[Ints, tuple[Ints, ...]]:
    """Group the optional calls by what they do and number the groups in `SLOT`."""
    places = np.nonzero(table[:, END] == INFINITE)[0].astype(np.int32)
    if not len(places):
        return np.zeros((0, 3), np.int32), ()
    effects, group = np.unique(table[places][:, [KIND, NEEDS, GIVES]], axis=0, return_inverse=True)
    group = group.reshape(-1)
    table[places, SLOT] = group
    members = tuple(places[group == k] for k in range(len(effects)))
    return effects.astype(np.int32), members
