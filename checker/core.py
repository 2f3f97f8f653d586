"""The core of a contradiction: a few calls, each with at least the freedom it had, and no order.

Rules of this file:
- A core is a relaxation of a history: what has no order here has none there. Which relaxations
  there are, and why they are sound, is said in docs/certificates.md and held by `checker.verify`,
  which shares no code with this file.
- Whether it has an order is asked of `checker.exhaust` or its fast twin `checker.core_search`.
- Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from checker.calls import Call
from checker.models.model import Action, Coarse, Elementwise, Model, State


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreCall:
    """One call of a core: `call` with the freedom it is given here.

    It takes effect in [start, end] (`None`: at any time after `start`); if not `required`, maybe
    never.
    """

    call: Call
    end: int | None
    required: bool

    @property
    def start(self) -> int:
        """The position from which it may take effect."""
        return self.call.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Calls without an order. `since`: the past before that position is forgotten, and the state
    then is any. `elements`: of each action only what it does to these (`Elementwise`). `wildcard`:
    calls were left out that lead *elsewhere* (`Coarse`), so the state may jump there at any time.
    `jumps`: calls were left out that lead to these states, so it may jump to these as well.
    """

    calls: tuple[CoreCall, ...]
    since: int | None = None
    elements: frozenset[str] | None = None
    wildcard: bool = False
    jumps: tuple[State, ...] = ()

    def __len__(self) -> int:
        return len(self.calls)


def core_of(
    calls: Iterable[Call], *, until: int, since: int | None = None,
    elements: frozenset[str] | None = None,
) -> Core:  # fmt: skip
    """Return the calls up to the return at `until`; what is open then, or at `since`, is optional."""
    kept = [
        CoreCall(
            call=call,
            end=call.end,
            required=call.end is not None
            and call.end <= until
            and (since is None or call.start >= since),
        )
        for call in calls
        if call.start <= until and (since is None or call.end is None or call.end >= since)
    ]
    return Core(calls=tuple(kept), since=since, elements=elements)


def settled(core: Core, model: Model, *, near: bool = True) -> Core:
    """Leave out what can be left out: who only observes and need not, who comes too late, and (with
    `near`) who leads where nobody looks: the state may jump there at any time instead."""
    calls, wildcard = list(core.calls), core.wildcard
    if core.elements is not None:
        calls = [c for c, _ in projected(core, model)]
    if core.jumps:
        calls = [c for c in calls if c.required or model.gives(c.call.action) not in core.jumps]
    while True:
        last = max((c.end for c in calls if c.required and c.end is not None), default=-1)
        kept = [
            c for c in calls
            if c.required or (c.start <= last and not model.is_pure(c.call.action))
        ]  # fmt: skip
        if near and isinstance(model, Coarse) and core.elements is None:
            actions = frozenset(c.call.action for c in kept)
            leads = {a for a in actions if model.leads_elsewhere(a, actions)}
            those_near = [c for c in kept if c.required or c.call.action not in leads]
            wildcard = wildcard or len(those_near) < len(kept)
            kept = those_near
        if len(kept) == len(calls):
            return replace(core, calls=tuple(kept), wildcard=wildcard)
        calls = kept


def projected(core: Core, model: Model) -> list[tuple[CoreCall, Action]]:
    """Return each call with what it does, or with what of that is about the core's elements."""
    if core.elements is None:
        return [(c, c.call.action) for c in core.calls]
    assert isinstance(model, Elementwise)
    reduced = [(c, model.project(c.call.action, core.elements)) for c in core.calls]
    return [(c, action) for c, action in reduced if action is not None]
