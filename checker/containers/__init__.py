"""Collections with distinct values: checked in near-linear time instead of searched.

Rules of this package:
- `decide` either proves its answer or says `None`: not applicable, or it cannot tell.
- `valid` comes with an order to replay, `invalid` with the few calls and elements that contradict
  each other: their projection (`Elementwise`) has no order either.
- Exact where every value is put in at most once (and, in a set, removed at most once): set,
  list-append, fifo-queue, unordered-queue, stack. A counter is only ever refuted.
- Pure. The arguments of correctness stand beside the code.
"""

from __future__ import annotations

from typing import cast

from checker.calls import Calls
from checker.containers.counters import decide_counter
from checker.containers.lists import decide_list
from checker.containers.outcome import Decision, Edge, graph
from checker.containers.queues import decide_bag, decide_fifo
from checker.containers.sets import decide_set
from checker.containers.stacks import decide_stack
from checker.models.model import State

__all__ = ["APPLICABLE", "Decision", "Edge", "decide", "graph"]

APPLICABLE = ("counter", "fifo-queue", "list-append", "set", "stack", "unordered-queue")


def decide(calls: Calls, model_name: str, initial_state: State) -> Decision | None:
    """Decide whether the calls on one object of this model have an order, `None` if unknown.

    `initial_state` is the model's.
    """
    match model_name:
        case "counter":
            return decide_counter(calls, cast("int", initial_state))
        case "fifo-queue":
            return decide_fifo(calls, cast("tuple[str, ...]", initial_state))
        case "list-append":
            return decide_list(calls, cast("tuple[str, ...]", initial_state))
        case "set":
            return decide_set(calls, cast("frozenset[str]", initial_state))
        case "stack":
            return decide_stack(calls, cast("tuple[str, ...]", initial_state))
        case "unordered-queue":
            bags = cast("frozenset[tuple[str, ...]]", initial_state)  # all that are possible
            return decide_bag(calls, next(iter(bags))) if len(bags) == 1 else None
    return None
