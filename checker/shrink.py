"""From a contradiction to its core: fewer and fewer calls that still have no order.

Rules of this file:
- Every step takes constraints away (`checker.core`), so what still has no order is a proof; a step
  after which an order is found, or the search takes long, is taken back. Sound whatever the search
  thought of: each core is refuted anew.
- Where to begin: calls that a linear check pointed at; elements of a collection; else the past
  before the failing return, as short as it can be.
- Then delta debugging (Zeller & Hildebrandt, "Simplifying and isolating failure-inducing input",
  IEEE TSE 28(2) (2002)) until no single call can be let go.
- Bounded by the budget; what is left then is a core all the same, only larger. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from checker.budget import Budget
from checker.calls import Calls
from checker.core import Core, CoreCall, core_of, settled
from checker.models.model import Coarse, Elementwise, Model, State

_WINDOW_AT_FIRST = 16
_STEPS_A_CALL = 200
_STEPS_AT_LEAST = 20_000
_STEPS_AT_MOST = 1_000_000  # some seconds


@dataclass(slots=True)
class Shrinker:
    """Shrinks the calls on one object that have no order.

    `is_refuted` is that of `checker.core_search`, or its slow twin of `checker.exhaust`.
    """

    model: Model
    budget: Budget
    is_refuted: Callable[..., bool]
    tries: int = 0

    def of_hint(
        self, hint: Calls, *, until: int | None, elements: frozenset[str] | None = None
    ) -> Core | None:
        """Return a core among calls that are said to make the contradiction, `None` if not so."""
        last = _last_end(hint) if until is None else until
        found = self._refuted(core_of(hint, until=last, elements=elements))
        return None if found is None else self._smallest(found)

    def of_core(self, core: Core) -> Core | None:
        """Return the smallest form of something that may be a core, `None` if it has an order."""
        found = self._refuted(core)
        return None if found is None else self._smallest(found)

    def of_window(self, calls: Calls, *, until: int, length_max: int) -> Core | None:
        """Return a core of the calls near the failing return, whatever the state was before."""
        found = self.window(calls, until=until, length_max=length_max)
        return None if found is None else self._smallest(found)

    def of_all(self, calls: Calls, *, until: int | None) -> Core | None:
        """Return a core, `None` if the contradiction could not be found again within the budget.

        `until` is the return that no order comes past.
        """
        until = _last_end(calls) if until is None else until
        whole = core_of(calls, until=until)
        found = self._alone(whole, until) or self.window(calls, until=until, length_max=until)
        if found is None and isinstance(self.model, Elementwise):
            found = self._elements(whole)
        found = found or self._refuted(whole)
        return None if found is None else self._smallest(found)

    def _smallest(self, core: Core) -> Core:
        core = self._freer(self._later(core))
        while True:
            smaller = self._fewer(core)
            if smaller == core:
                return self._later(smaller)
            core = self._freer(smaller)

    def _refuted(self, core: Core) -> Core | None:
        """Return the core without what does not matter in it, if it has no order.

        Jumps in place of calls that lead where nobody looks are freer than those were: a cas does so
        only from one state. Where that is too free the calls stay.
        """
        free = settled(core, self.model)
        found = self._asked(free)
        if found is None and free.wildcard and not core.wildcard:
            found = self._asked(settled(core, self.model, near=False))
        return found

    def _asked(self, core: Core) -> Core | None:
        if self.tries and self.budget.spent(0) is not None:
            return None
        self.tries += 1
        steps = min(max(_STEPS_AT_LEAST, _STEPS_A_CALL * len(core)), _STEPS_AT_MOST)
        return core if self.is_refuted(core, self.model, steps_max=steps) else None

    def window(self, calls: Calls, *, until: int, length_max: int) -> Core | None:
        """Forget the past: windows of doubling length that end at the failing return."""
        if not isinstance(self.model, Coarse):
            return None
        length = _WINDOW_AT_FIRST
        while length < min(until, length_max):
            found = self._refuted(core_of(calls, until=until, since=until - length))
            if found is not None:
                return found
            length *= 2
        return None

    def _alone(self, core: Core, until: int) -> Core | None:
        """Demand nothing but the failing return: it may be what nobody could lead to."""
        alone = tuple(replace(c, required=c.required and c.end == until) for c in core.calls)
        return self._refuted(replace(core, calls=alone))

    def _elements(self, core: Core) -> Core | None:
        """Find few elements of a collection whose calls alone have no order."""
        model = self.model
        assert isinstance(model, Elementwise)
        names = sorted({e for c in core.calls for e in model.elements(c.call.action)})
        if not names or model.initial not in ((), frozenset(), frozenset({()})):
            return None

        def refuted(some: Sequence[str]) -> bool:
            return self._refuted(replace(core, elements=frozenset(some))) is not None

        if not refuted(names):
            return None
        return self._refuted(replace(core, elements=frozenset(_minimal(names, refuted))))

    def _freer(self, core: Core) -> Core:
        """Let the state jump where many calls lead that may have happened, in their place."""
        lead: dict[State, int] = {}
        for call in core.calls:
            given = self.model.gives(call.call.action)
            if isinstance(given, str) and not (
                call.required or self.model.is_pure(call.call.action)
            ):
                lead[given] = lead.get(given, 0) + 1
        for state in sorted(lead, key=lambda state: (-lead[state], str(state))):
            found = self._refuted(replace(core, jumps=(*core.jumps, state)))
            core = core if found is None else found
        return core

    def _later(self, core: Core) -> Core:
        """Forget as much of the past as can be forgotten."""
        if not isinstance(self.model, Coarse) or core.elements is not None:
            return core
        for since in sorted({c.end for c in core.calls if c.end is not None}, reverse=True):
            if core.since is not None and since <= core.since:
                break
            late = [
                replace(c, required=c.required and c.call.start >= since)
                for c in core.calls
                if c.end is None or c.end >= since
            ]
            found = self._refuted(replace(core, calls=tuple(late), since=since))
            if found is not None and len(found) <= len(core):
                return found
        return core

    def _fewer(self, core: Core) -> Core:
        """Let go of chunks of calls, smaller and smaller."""
        size = max(1, len(core) // 2)
        while True:
            at = 0
            while at < len(core):
                found = self._without(core, range(at, min(at + size, len(core))))
                if found is None:
                    at += size
                else:
                    core = found
            if size == 1:
                return core
            size = max(1, size // 2)

    def _without(self, core: Core, places: Iterable[int]) -> Core | None:
        """Let go of some calls: strike who observes, and let the others be optional."""
        chosen = set(places)
        calls: list[CoreCall] = []
        changed = False
        for place, call in enumerate(core.calls):
            if place not in chosen:
                calls.append(call)
            elif self.model.is_pure(call.call.action):
                changed = True
            else:
                changed = changed or call.required
                calls.append(replace(call, required=False))
        return self._refuted(replace(core, calls=tuple(calls))) if changed else None


def _last_end(calls: Calls) -> int:
    return max((call.end for call in calls if call.end is not None), default=-1)


def _minimal(names: Sequence[str], holds: Callable[[Sequence[str]], bool]) -> Sequence[str]:
    """Delta debugging of a list: a part for which `holds`, and for no part without one name."""
    size = max(1, len(names) // 2)
    while True:
        at = 0
        while at < len(names) and len(names) > 1:
            rest = [*names[:at], *names[at + size :]]
            if rest and holds(rest):
                names = rest
            else:
                at += size
        if size == 1:
            return names
        size //= 2
