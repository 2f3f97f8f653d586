"""Which states can still come: what can be said about a history without searching it.

Rules of this file:
- Works where every call that changes the state says which state it leads to (`Model.gives`), so
  that the ways to each state can be listed. A state then *reigns* from a call that gives it to the
  next change; a call that needs a state must fall into one of its reigns.
- Only ever rules out what is impossible: a wrong "cannot be" would be a false `invalid`.
- Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checker.calls import Call
from checker.models.model import Merge, Model, State


@dataclass(frozen=True, slots=True)
class Reigns:
    """Which obligatory calls wait for a state, and which calls can still bring it about.

    The values of the tables are bits that number the obligatory and the optional calls apart.
    """

    waiting: dict[State, int]
    givers: dict[State, int]
    optional_givers: dict[State, int]

    def is_missed(self, state: State, *, done: int, used: int) -> bool:
        """Whether somebody waits for a state that, if it is left now, cannot come back.

        So it is when all calls that can give it are behind us, and one that needs it is not. With
        unique values this alone makes a search nearly straight.
        """
        waiting = self.waiting.get(state, 0)
        return (
            waiting & ~done != 0
            and self.givers.get(state, 0) & ~done == 0
            and self.optional_givers.get(state, 0) & ~used == 0
        )


def reigns(
    obligatory: Sequence[Call], optional: Sequence[Call], model: Model, merge: Merge
) -> Reigns | None:
    """Build the tables, `None` if some call leads to states that cannot be told beforehand."""
    found = Reigns({}, {}, {})
    for calls, givers in ((obligatory, found.givers), (optional, found.optional_givers)):
        for bit, call in enumerate(calls):
            needed = model.needs(call.action)
            if needed is not None and not call.optional:
                state = merge(needed)
                found.waiting[state] = found.waiting.get(state, 0) | 1 << bit
            if model.is_pure(call.action):
                continue
            given = model.gives(call.action)
            if given is None:
                return None
            state = merge(given)
            givers[state] = givers.get(state, 0) | 1 << bit
    return found


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A call that certainly falls into no reign: who gives what it needs, and what lies `between`.

    With nothing between, nobody gave it in time.
    """

    call: Call
    between: Call | None
    givers: tuple[Call, ...]


def contradiction(
    obligatory: Sequence[Call], optional: Sequence[Call], model: Model, merge: Merge
) -> Contradiction | None:
    """Find a call that needs a state that certainly does not reign at any time in its interval.

    Needs `reigns` to be known. A giver p of state v is no help to a call r that needs v if p was
    invoked after r returned, or if some obligatory call w that gives another state lies between:
    p returned before w was invoked, and w returned before r was invoked. If nothing is of help
    then r is stale, or read what was never written. Linear but for the sorting.
    """
    changes = [call for call in (*obligatory, *optional) if not model.is_pure(call.action)]
    given = {call.index: merge(model.gives(call.action)) for call in changes}
    sources: dict[State, list[Call]] = {}
    for call in changes:
        sources.setdefault(given[call.index], []).append(call)
    first = merge(model.initial)  # is given before everything else
    returned = sorted(
        (call for call in changes if call.end is not None), key=lambda call: call.end or 0
    )
    latest: Call | None = (
        None  # of the changes that returned so far, that with the latest invocation
    )
    place = 0
    for call in obligatory:  # in order of invocation
        while place < len(returned) and (returned[place].end or 0) < call.start:
            change = returned[place]
            place += 1
            if latest is None or change.start > latest.start:
                latest = change
        needed = model.needs(call.action)
        if needed is None or call.end is None:
            continue
        reigning = first if latest is None else given[latest.index]
        if reigning == merge(needed):
            continue  # the latest one is itself a giver that nothing lies behind
        since = -1 if latest is None else latest.start
        givers = tuple(sources.get(merge(needed), ()))
        if not any(p.start < call.end and (p.end is None or p.end >= since) for p in givers):
            return Contradiction(call, latest, givers)
    return None
