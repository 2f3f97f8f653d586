"""The states of an object as a graph: the memoised model of Knossos, grown as it is needed.

Rules of this file:
- States and classes of actions are numbered, so that a search handles integers and asks the model
  once about each (state, class): Knossos' `model.memo`, but without a limit on states, because
  only what a search asks for is ever looked at.
- States are kept as the model merges them: those that no action here can tell apart are one.
- For people it is a networkx graph. Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from checker.models.model import Action, Merge, Model, State

if TYPE_CHECKING:
    import networkx as nx

NOT_ALLOWED = -1
# A state's places in a list and a dictionary, and its number.
_STATE_BYTES = 150


class StateGraph:
    """Numbers for the states and actions of one object, and the steps between them."""

    def __init__(self, model: Model, actions: Sequence[Action]) -> None:
        self.model = model
        self.actions = tuple(actions)
        self.merge: Merge = model.merged(self.actions)
        self.states: list[State] = []
        self._numbers: dict[State, int] = {}
        self.kept_bytes = 0
        self.initial = self.number(model.initial)

    def number(self, state: State) -> int:
        """Return the number of a state, a new one if it is new."""
        merged = self.merge(state)
        known = self._numbers.get(merged)
        if known is None:
            known = self._numbers[merged] = len(self.states)
            self.states.append(merged)
            self.kept_bytes += sys.getsizeof(merged) + _STATE_BYTES
        return known

    def step(self, state: int, cls: int) -> int:
        """Return the state after an action of a class, `NOT_ALLOWED` if it is not allowed."""
        after = self.model.step(self.states[state], self.actions[cls])
        return NOT_ALLOWED if after is None else self.number(after)

    def graph(self, states_max: int = 1000) -> nx.MultiDiGraph[int]:
        """Return what can be reached as a graph: a node a state, an edge an action.

        At most `states_max` states are looked at; the graph's attribute `complete` says whether
        that was all of them.
        """
        import networkx as nx  # heavy, and only for people

        drawn: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        waiting, seen = [self.initial], {self.initial}
        complete = True
        while waiting:
            state = waiting.pop()
            drawn.add_node(state, label=self.model.describe_state(self.states[state]))
            for cls, action in enumerate(self.actions):
                after = self.step(state, cls)
                if after == NOT_ALLOWED:
                    continue
                if after not in seen:
                    if len(seen) >= states_max:
                        complete = False
                        continue
                    seen.add(after)
                    waiting.append(after)
                drawn.add_edge(state, after, label=self.model.describe(action))
        drawn.graph["complete"] = complete
        return drawn
