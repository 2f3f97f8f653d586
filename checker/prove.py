"""The proofs of verdicts: orders are played again, contradictions shrunk, certified and told.

Rules of this file:
- A `valid` whose order does not play through the plain model is a mistake of ours and raised as
  such (`ReplayError`); a verdict never passes unproved.
- An `invalid` is certified by a core that the independent verifier's exhaustion accepts. Where the
  budget ends before one is found the verdict stands (it was found by an exhaustive search) without
  a certificate, and the reason says so.
- The story (`counterexample`) is a help: one that fails must not take the verdict with it.
- Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from checker import exhaust
from checker.budget import Budget
from checker.certificate import of_invalid
from checker.columns import NEVER, Columns, Longs
from checker.core import Core, CoreCall
from checker.explain import explain
from checker.kernel_cache import are_compiled
from checker.meaning import Meaning
from checker.models.model import Model
from checker.parts import Found, Part
from checker.replay import ReplayError, replay, replay_actions
from checker.shrink import Shrinker
from checker.verdict import Verdict

if TYPE_CHECKING:
    from checker.flat import FlatCalls

# So many calls are replayed as objects; longer ones without (the same plain model).
OBJECTS_MAX = 2000
_NEAR_POSITIONS = 8000
_HINT_MAX = 2000
_PROOF_S = 15.0


Edge = tuple[int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What a result rests on besides the orders of its keys: of the first invalid key."""

    counterexample: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None


def prove(
    parts: list[Part], columns: Columns, model: Model, meaning: Meaning, budget: Budget
) -> Proofs:
    """Replay every order; certify and tell the first contradiction."""
    proofs = Proofs()
    replayer = Replayer(columns, model, meaning)
    first = True
    for part in parts:
        found = part.found
        if found is None:
            continue
        if found.verdict is Verdict.VALID:
            replayer.replay(part, found)
        elif found.verdict is Verdict.INVALID and first:
            first = False
            proofs = _refuted(part, found, replayer, budget)
    return proofs


class Replayer:
    """Plays orders through the plain model, without an object for each call where it can."""

    def __init__(self, columns: Columns, model: Model, meaning: Meaning) -> None:
        self.columns = columns
        self.model = model
        self.meaning = meaning

    @cached_property
    def registers(self) -> tuple[FlatCalls, Longs] | None:
        """The calls of all registers and, for each row, where among them its call is (or -1)."""
        from checker.registers import register_calls

        if not self.model.keyed:
            return None
        calls = register_calls(self.columns, self.model, self.meaning)
        if calls is None:
            return None
        place = np.full(len(self.columns), -1, np.int64)
        place[calls.row] = np.arange(len(calls.row))
        return calls, place

    def replay(self, part: Part, found: Found) -> None:
        """Raise `ReplayError` if the order that was found is none."""
        assert found.order is not None
        if len(part) > OBJECTS_MAX and self.registers is not None:
            self._replay_register(part, found.order, *self.registers)
            return
        calls = {call.index: call for call in part.calls}
        unknown = [row for row in found.order.tolist() if row not in calls]
        if unknown:
            raise ReplayError(f"operation {unknown[0]} is not one of those to be ordered")
        replay([calls[row] for row in found.order.tolist()], part.calls, self.model)

    def _replay_register(self, part: Part, order: Longs, calls: FlatCalls, place: Longs) -> None:
        from checker.registers import actions_of

        mine = place[part.rows]
        mine = mine[mine >= 0]
        asked = calls.row[mine[calls.end[mine] != NEVER]]
        if len(np.unique(order)) != len(order) or not np.isin(order, calls.row[mine]).all():
            raise ReplayError("an operation is in an order twice, or is not one to be ordered")
        if not np.isin(asked, order).all():
            raise ReplayError("an operation is not ordered")
        placed = place[order]
        replay_actions(actions_of(calls, placed, self.columns), calls.start[placed].tolist(),
                       calls.end[placed].tolist(), self.model)  # fmt: skip


def _refuted(part: Part, found: Found, replayer: Replayer, budget: Budget) -> Proofs:
    columns, model, meaning = replayer.columns, replayer.model, replayer.meaning
    core = _core(part, found, replayer, budget)
    certificate = None
    edges: tuple[Edge, ...] = ()
    if core is not None:
        edges = found.cycle or _circle(core, model)
        certificate = of_invalid(model, meaning, part.key, core, columns, edges)
    try:
        counterexample = explain(part, found, core, columns, model, budget)
        counterexample["cycle"] = _in_words(edges, columns, model, meaning)
    except Exception as error:  # noqa: BLE001  (whatever it is, the verdict stands)
        counterexample = {
            "key": part.key,
            "summary": f"No order explains all of {part.key or 'the'} operations "
            f"(the explanation failed: {type(error).__name__}: {error}).",
            "last_valid_operations": 0,
            "final_states": [],
            "operations": [],
            "cycle": [],
        }
    return Proofs(counterexample=counterexample, certificate=certificate)


def _circle(core: Core, model: Model) -> tuple[Edge, ...]:
    """Return a circle for people; one that cannot be drawn must not take the verdict with it."""
    from checker.cycle import cycle_of  # networkx takes a while to load

    try:
        return cycle_of(core, model)
    except Exception:  # noqa: BLE001  (whatever it is, the verdict stands)
        return ()


def _in_words(
    edges: tuple[Edge, ...], columns: Columns, model: Model, meaning: Meaning
) -> list[str]:
    """Tell a circle of operations each of which must come before the next."""
    from checker.cycle import START, in_words

    def said(row: int) -> str:
        if row == START:
            return "what was before"
        operation = columns.operation(row)
        action = model.action(operation, meaning)
        what = operation.f if action is None else model.describe(action)
        return f"{what} (event {operation.invocation.index})"

    return in_words(edges, said)


def _refuter() -> Callable[..., bool]:
    """Return the compiled search if nobody has to wait for a compiler, else its slow twin."""
    if "checker.core_search" in sys.modules or are_compiled():
        from checker import core_search

        return core_search.is_refuted
    return exhaust.is_refuted


def _core(part: Part, found: Found, replayer: Replayer, budget: Budget) -> Core | None:
    """Shrink the contradiction: at first with the calls near it, where there are many, then all."""
    columns, model = replayer.columns, replayer.model
    # Half of what is left, but not for ever: the verdict is there.
    share = budget.share(2)
    share = replace(share, deadline=min(share.deadline, budget.clock() + _PROOF_S))
    shrinker = Shrinker(model, share, _refuter())
    until = None if found.until is None else int(columns.end[found.until])
    stale = _stale_core(part, found, columns, model)
    core = None if stale is None else shrinker.of_core(stale)
    if core is not None:
        return core
    hint = _hint(part, found, replayer)
    if len(hint):
        core = shrinker.of_hint(part.calls_at(hint), until=until, elements=found.elements)
        if core is not None:
            return core
    for return_ in _returns_from(part, until):
        core = _core_before(part, return_, shrinker)
        if core is not None:
            return core
    return None


def _stale_core(part: Part, found: Found, columns: Columns, model: Model) -> Core | None:
    """Return what proves a stale read: it, the change between, and who gave its value and was open.

    The past before that change is forgotten; of all other states that these calls look at, jumps
    stand for whoever leads there.
    """
    if found.between is None or found.until is None:
        return None
    since, until = int(columns.start[found.between]), int(columns.end[found.until])
    must = (found.between, found.until)
    # Without a hint the history is short, and whoever gives that value is looked for.
    rows = np.array(found.hint or [*must, *_givers(part, found.until)], np.int64)
    ends = columns.end[rows]
    rows = rows[((ends < 0) | (ends >= since)) & (columns.start[rows] <= until)]
    if len(rows) > _HINT_MAX:
        return None
    calls = part.calls_at(np.unique(rows))
    needed = next(model.needs(c.action) for c in calls if c.index == found.until)
    looked_at = {model.needs(c.action) for c in calls} - {needed, None}
    return Core(
        calls=tuple(CoreCall(call=c, end=c.end, required=c.index in must) for c in calls),
        since=since,
        jumps=tuple(sorted(state for state in looked_at if isinstance(state, str))),
    )


def _givers(part: Part, row: int) -> list[int]:
    """Return the rows of all calls that lead to the state that a call needs."""
    model = part.model
    needed = next(model.needs(call.action) for call in part.calls if call.index == row)
    return [call.index for call in part.calls if model.gives(call.action) == needed]


def _core_before(part: Part, until: int, shrinker: Shrinker) -> Core | None:
    """Return a core of the calls up to a return: of those near it where there are many, or all."""
    if len(part) > OBJECTS_MAX:
        near = part.calls_at(part.rows_before(until, until - _NEAR_POSITIONS))
        core = shrinker.of_window(near, until=until, length_max=_NEAR_POSITIONS)
        if core is not None:
            return core
    return shrinker.of_all(part.calls_at(part.rows_before(until)), until=until)


def _returns_from(part: Part, until: int | None) -> list[int]:
    """Return positions of returns: the one where a search failed, and later ones.

    Searches look ahead (a value that somebody will need), so what they fail at may be proved only by
    calls that return later: steps of doubling length, and the last return of all.
    """
    ends = np.sort(part.columns.end[part.rows])
    ends = ends[ends >= (0 if until is None else until)]
    if not len(ends):
        return []
    if until is None:
        return [int(ends[-1])]
    places = [0] + [2**k for k in range(len(ends).bit_length()) if 2**k < len(ends) - 1]
    return [int(ends[place]) for place in [*places, len(ends) - 1]]


def _hint(part: Part, found: Found, replayer: Replayer) -> Longs:
    """Return the rows that make a contradiction, with all that leads to a state they look at.

    Nothing that might help may be left out of a core, only what leads where nobody looks. None
    where that would be too many. Checks of collections say which elements they are about, and have
    all calls of these already.
    """
    rows = np.array(sorted(found.hint), np.int64)
    registers = replayer.registers if found.elements is None and len(rows) else None
    if registers is None:
        return rows[: len(rows) if found.elements is not None and len(rows) <= _HINT_MAX else 0]
    from checker.kernels.layout import CAS, WRITE  # in memory already: kernels made the hint

    calls, place = registers
    mine = place[part.rows]
    mine = mine[mine >= 0]
    kind, needs, gives = calls.kind[mine], calls.needs[mine], calls.gives[mine]
    chosen = np.isin(calls.row[mine], rows)
    changes = (kind == WRITE) | (kind == CAS)
    changes &= calls.start[mine] <= int(calls.end[mine][chosen].max())
    while int(chosen.sum()) <= _HINT_MAX:
        looked_at = np.unique(needs[chosen & (kind != WRITE)])
        fresh = changes & ~chosen & np.isin(gives, looked_at)
        if not fresh.any():
            return np.sort(calls.row[mine[chosen]])
        chosen |= fresh
    return rows[:0]
