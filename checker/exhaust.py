"""All orders of a core, plainly: the slow twin of the compiled search, and what stories are made of.

Rules of this file:
- Event by event over the ends of all calls (Lowe, CCPE 29(4) (2017), section 4), all configurations
  (state, calls that took effect) kept with one way there. One reduction: of calls that never end
  and do the same, the first invoked takes effect first.
- Gives up beyond a number of configurations and says so. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from checker.calls import Call
from checker.core import Core, CoreCall, projected
from checker.models.model import Action, Coarse, Model, State

CONFIGURATIONS_MAX = 5000  # for a story, told once
_TRIED_MAX = 20_000  # for one of the many questions of a shrinker
_STATES_MAX = 6

# (state, calls that took effect) -> one way there.
Front = dict[tuple[State, frozenset[int]], tuple[Call, ...]]


def is_refuted(core: Core, model: Model, *, steps_max: int) -> bool:
    """Whether the core certainly has no order; `False` also where that took too long."""
    front = _front_at(core, model, None, min(steps_max, _TRIED_MAX))
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
    if isinstance(model, Coarse) and (core.wildcard or core.since is not None):
        universe = model.universe(frozenset(action for _, action in calls))
    starts = universe if core.since is not None else [model.initial]
    front: Front = {(state, frozenset()): () for state in starts}
    jumps = (*core.jumps, *(universe[-1:] if core.wildcard else ()))
    others = [(c, action) for c, action in calls if stuck is None or c is not stuck]
    for barrier in sorted((c for c, _ in calls if c.end is not None), key=_end):
        grown = _extended(front, others, _end(barrier), model, jumps, most)
        if grown is None:
            return None
        if barrier is stuck:
            return grown
        if barrier.required:
            grown = {at: path for at, path in grown.items() if barrier.call.index in at[1]}
        # What is past is the same for all, or does not count any more.
        past = frozenset({barrier.call.index})
        front = {}
        for (state, done), path in grown.items():
            front.setdefault((state, done - past), path)
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
    jumps: Sequence[State],
    most: int,
) -> Front | None:
    """Let calls that are open before `end` take effect, in every order; `None` if too many."""
    grown = dict(front)
    waiting = list(front.items())
    is_open: list[tuple[Call, Action, frozenset[int]]] = []
    alike: dict[Action, int] = {}  # of calls that never end: the one before this that does the same
    for c, action in sorted(calls, key=lambda pair: pair[0].start):
        if c.start < end and (c.end is None or c.end >= end):
            first = frozenset({alike[action]} if c.end is None and action in alike else ())
            is_open.append((c.call, action, first))
            if c.end is None:
                alike[action] = c.call.index
    while waiting:
        (state, done), path = waiting.pop()
        reached: list[tuple[State, frozenset[int], tuple[Call, ...]]] = [
            (jump, done, path) for jump in jumps
        ]
        for call, action, first in is_open:
            if call.index in done or not first <= done:
                continue
            after = model.step(state, action)
            if after is not None:
                reached.append((after, done | {call.index}, (*path, call)))
        for after, doing, way in reached:
            if (after, doing) not in grown:
                grown[after, doing] = way
                waiting.append(((after, doing), way))
        if len(grown) > most:
            return None
    return grown
