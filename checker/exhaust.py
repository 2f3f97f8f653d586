"""All orders of a core, plainly: the slow twin of the compiled search, and what stories are made of.

Rules of this file:
- Event by event over the returns (Lowe, CCPE 29(4) (2017), section 4), all configurations (state,
  calls that took effect) kept with one way there. No reductions but those of the core.
- Gives up beyond a number of configurations and says so. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from checker.calls import Call
from checker.core import Core, CoreCall, projected
from checker.models.model import Action, Coarse, Model, State

CONFIGURATIONS_MAX = 5000
_STATES_MAX = 6

# (state, calls that took effect) -> one way there.
Front = dict[tuple[State, frozenset[int]], tuple[Call, ...]]


def is_refuted(core: Core, model: Model, *, steps_max: int) -> bool:
    """Whether the core certainly has no order; `False` also where that took too long."""
    front = _front_at(core, model, None, min(steps_max, CONFIGURATIONS_MAX))
    return front is not None and not front


def stuck_call(core: Core) -> Call:
    """Return the call whose return no order of the core comes past: the last that must return."""
    return _last_required(core).call


def endings(core: Core, model: Model) -> list[tuple[State, tuple[Call, ...]]]:
    """Return states in which a core can be when the stuck call returns, each with a way there.

    The longest ways first, a few at most; none if there are too many to look at.
    """
    front = _front_at(core, model, _last_required(core), CONFIGURATIONS_MAX)
    by_state: dict[State, tuple[Call, ...]] = {}
    for (state, _), path in (front or {}).items():
        if state not in by_state or len(path) < len(by_state[state]):
            by_state[state] = path
    ordered = sorted(by_state.items(), key=lambda pair: (-len(pair[1]), str(pair[0])))
    return ordered[:_STATES_MAX]


def _last_required(core: Core) -> CoreCall:
    return max((c for c in core.calls if c.required), key=lambda c: -1 if c.end is None else c.end)


def _front_at(core: Core, model: Model, stuck: CoreCall | None, most: int) -> Front | None:
    """Return the configurations after the last return, or (with `stuck`) when that one returns.

    `None` if there are more than `most`.
    """
    calls = projected(core, model)
    universe: Sequence[State] = ()
    if isinstance(model, Coarse):
        universe = model.universe(frozenset(action for _, action in calls))
    starts = universe if core.since is not None else [model.initial]
    front: Front = {(state, frozenset()): () for state in starts}
    returns = sorted((c for c, _ in calls if c.required and c.end is not None), key=_end)
    for barrier in returns:
        others = [(c, action) for c, action in calls if stuck is None or c is not stuck]
        grown = _extended(front, others, _end(barrier), model, universe[-1:], most)
        if grown is None:
            return None
        if barrier is stuck:
            return grown
        front = {at: path for at, path in grown.items() if barrier.call.index in at[1]}
        if not front:
            break
    return front


def _end(call: CoreCall) -> int:
    assert call.end is not None
    return call.end


def _extended(
    front: Front,
    calls: Sequence[tuple[CoreCall, Action]],
    end: int,
    model: Model,
    elsewhere: Sequence[State],
    most: int,
) -> Front | None:
    """Let calls that are open before `end` take effect, in every order; `None` if too many."""
    grown = dict(front)
    waiting = list(front.items())
    is_open = [(c.call, a) for c, a in calls if c.start < end and (c.end is None or c.end >= end)]
    while waiting:
        (state, done), path = waiting.pop()
        reached: list[tuple[State, frozenset[int], tuple[Call, ...]]] = [
            (jump, done, path) for jump in elsewhere
        ]
        for call, action in is_open:
            after = model.step(state, action) if call.index not in done else None
            if after is not None:
                reached.append((after, done | {call.index}, (*path, call)))
        for after, doing, way in reached:
            if (after, doing) not in grown:
                grown[after, doing] = way
                waiting.append(((after, doing), way))
        if len(grown) > most:
            return None
    return grown
