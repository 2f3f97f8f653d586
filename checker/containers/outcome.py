"""What these checks answer, and how a contradiction becomes a proof.

Rules of this file:
- A `Contradiction` names elements and observing calls. The proof is made of these observing
  calls and of every call that changes one of the elements, projected onto the elements: a
  projection of a linearizable history is linearizable (`Elementwise`), and a call that only
  observes may be left out.
- An object that does not begin empty would have to be projected too; then nothing is projected,
  and the proof has every changing call that began in time.
- Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from checker.calls import Call, Calls, prefix
from checker.models.model import Action
from checker.verdict import Verdict

if TYPE_CHECKING:
    import networkx

# Later than every position.
NEVER = sys.maxsize

# Two calls, by index, and why the first must come before the second.
Edge = tuple[int, int, str]

_OBSERVING = frozenset({"read", "dequeue-empty", "pop-empty"})
_UNKNOWN = frozenset({"dequeue-unknown", "pop-unknown"})

RETURNED_FIRST = "returned before the other was invoked"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An answer that is certain, and what it rests on.

    `order`, if valid: all obligatory calls and those optional ones that are needed, linearized.
    `core`, if invalid: calls that have no order, taken alone and projected onto `elements`
    (`None`: as they are). `cycle` says why, for people.
    """

    verdict: Verdict
    order: tuple[Call, ...] | None = None
    core: tuple[Call, ...] | None = None
    elements: frozenset[str] | None = None
    cycle: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """What cannot be: these elements, as changed by all calls and as seen by the observers."""

    elements: frozenset[str]
    observers: tuple[Call, ...] = ()
    edges: tuple[Edge, ...] = ()


def graph(decision: Decision) -> networkx.DiGraph[int]:
    """Return the contradiction as a graph: calls by index, edges with a `reason`."""
    import networkx  # it is heavy, and only for people

    drawn: networkx.DiGraph[int] = networkx.DiGraph()
    for call in decision.core or ():
        drawn.add_node(call.index, call=call)
    for before, after, reason in decision.cycle:
        drawn.add_edge(before, after, reason=reason)
    return drawn


def valid(order: Sequence[Call]) -> Decision:
    """Return the decision that this order is a linearization."""
    return Decision(verdict=Verdict.VALID, order=tuple(order))


def refuted(
    calls: Calls, found: Contradiction, *, starts_empty: bool, kept: Collection[str] = ()
) -> Decision:
    """Return the decision that the calls have no order, with the calls that prove it.

    `kept` are kinds of observing calls that may not be left out, if they began in time.
    """
    observers = {call.index for call in found.observers}

    def is_about(call: Call) -> bool:
        return call.index in observers or _changed(call.action) in found.elements

    last = max((call.end for call in calls if call.end is not None and is_about(call)), default=0)
    # The contradiction is complete at `last`: what began later comes too late to matter, what
    # returned later need not have happened by then, and is optional.
    in_time = prefix(calls, last)
    if starts_empty:
        core = [call for call in calls if is_about(call)]
        core += [c for c in in_time if c.action[0] in (*_UNKNOWN, *kept) and not is_about(c)]
        core.sort(key=lambda call: call.start)
        return _invalid(core, found.elements, found.edges)
    core = [
        call
        for call in in_time
        if call.index in observers or call.action[0] not in _OBSERVING or call.action[0] in kept
    ]
    return _invalid(core, None, found.edges)


def _invalid(
    core: Sequence[Call], elements: frozenset[str] | None, edges: tuple[Edge, ...]
) -> Decision:
    if not edges:
        seen = next(call for call in core if call.end is not None)
        edges = ((seen.index, seen.index, "contradicts what was there from the beginning"),)
    return Decision(verdict=Verdict.INVALID, core=tuple(core), elements=elements, cycle=edges)


def _changed(action: Action) -> object:
    """Return the element that an action puts in or takes out."""
    return None if action[0] in _OBSERVING or action[0] in _UNKNOWN else action[1]


def edge(before: Call | None, after: Call | None, reason: str = RETURNED_FIRST) -> tuple[Edge, ...]:
    """Return an edge, none if one of its ends is no call (an element of the initial state)."""
    return () if before is None or after is None else ((before.index, after.index, reason),)


def returned_before(before: Call | None, after: Call | None) -> bool:
    """Whether real time puts one call before the other."""
    return (
        before is not None
        and after is not None
        and before.end is not None
        and before.end < after.start
    )


def shrunk(items: Sequence[Item], fails: Callable[[list[Item]], bool]) -> list[Item]:
    """Return few of the items that still fail, given that all do and that more fail more.

    Leaves out halves, quarters, ... (Zeller & Hildebrandt, "Simplifying and isolating
    failure-inducing input", TSE 28(2) 2002, section 3, with complements only).
    """
    kept = list(items)
    size = (len(kept) + 1) // 2
    while size:
        place = 0
        while place < len(kept):
            fewer = kept[:place] + kept[place + size :]
            if fails(fewer):
                kept = fewer
            else:
                place += size
        size //= 2
    return kept
