"""Whether what the nodes say of themselves can be true together: one leader a term, one state an index.

Rules of this file:
- Raft promises two things that a bystander can see: at most one leader in a term (Ongaro &
  Ousterhout 2014, section 5.2, election safety), and the same state on all nodes that have applied
  the same index (section 5.4.3, state machine safety).
- Both hold whenever the nodes were asked: two samples that contradict each other are evidence, no
  matter how much time lies between them.
- Only a system that shows a digest of its state is looked at: it vouches that all of a status is of
  one moment. (etcd says who leads before it says in which term: of such a status nothing follows.)
  Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from harness.systems.system import Status

_INDEXES_MAX: Final = 100_000
_TOLD_MAX: Final = 10


class Agreement:
    """Everything that was said so far, and what of it contradicts itself."""

    def __init__(self) -> None:
        self._leaders: dict[int, str] = {}
        self._states: OrderedDict[int, tuple[str, str]] = OrderedDict()
        self.compared = 0
        self.contradictions: list[str] = []

    @property
    def has_states(self) -> bool:
        """Whether any node ever showed a digest of its state."""
        return bool(self._states)

    def note(self, node: str, status: Status) -> None:
        """Take in what a node said."""
        if status.state_hash is None:
            return
        if status.role == "leader":
            other = self._leaders.setdefault(status.term, node)
            if other != node:
                self._tell(f"{other} and {node} both led in term {status.term}")
        self._compare(node, status.applied_index, status.state_hash)

    def _compare(self, node: str, index: int, state: str) -> None:
        known = self._states.get(index)
        if known is None:
            self._states[index] = state, node
            if len(self._states) > _INDEXES_MAX:
                self._states.popitem(last=False)
            return
        other_state, other = known
        self.compared += other != node
        if other_state != state:
            self._tell(
                f"{other} and {node} have different states at index {index}: "
                f"{other_state[:12]} and {state[:12]}"
            )

    def _tell(self, contradiction: str) -> None:
        if contradiction not in self.contradictions and len(self.contradictions) < _TOLD_MAX:
            self.contradictions.append(contradiction)
