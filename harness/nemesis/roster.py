"""Takes nodes out of the cluster and brings them back as new ones, at any time of a run.

Rules of this file:
- A node's data goes only when a committed configuration without the node was seen that is newer
  than every one with it: who wipes a voter makes the loss that he then blames on the system.
- A node is made anew once for each removal. As long as it has not voted since, it may have been
  let in without anybody's knowing, and another new life of the same name would be refused.
- A condemned node lost what it had promised to keep. It is out as soon as it can be removed, and
  then made anew like any other.
- A node that another fault holds down is not helped up: who killed it starts it again.
- What cannot be done now (no quorum, no leader, no time) is a step that says so, never an error;
  a host that fails is a `HostError`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from harness.nemesis.faults import Certainty, Report
from harness.systems.administrated import Ending, Members, Reply
from harness.systems.operator import Operator

VOTERS_MIN: Final = 3
# A change that was begun may need this long before asking again makes sense.
_PATIENCE_S: Final = 2.0
# How long one node is tried while others wait.
_TURN_S: Final = 5.0


class Hosts(Protocol):
    """What the roster does to hosts; a `Cluster` can."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node of the run."""
        ...

    def start_anew(self, node: str) -> str:
        """Stop the system, wipe its data, make it anew to join, and start it."""
        ...


@dataclass(slots=True)
class Roster:
    """The members of a run. Thread-safe: one change at a time."""

    hosts: Hosts
    operator: Operator
    _fresh: set[str] = field(default_factory=set)
    # Removals that may still take effect: node -> the configuration that they were asked of.
    _doubts: dict[str, int] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)
    _condemned: set[str] = field(default_factory=set)
    # Nodes that were to be replaced, and have not been seen to vote since.
    _owed: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take_out(self, node: str, deadline: float) -> Report:
        """Have a voter removed. `installed` when a committed configuration is without it."""
        with self._lock:
            return self._take_out(node, deadline)

    def bring_back(self, node: str, deadline: float) -> Report:
        """Make sure that a node votes: made anew if it is out. `installed` when it votes."""
        with self._lock:
            return self._bring_back(node, deadline)

    def unfit(self, nodes: Sequence[str]) -> dict[str, str]:
        """Return which of these nodes must not lose data now, and why."""
        members = self.operator.look()
        if members is None:
            return dict.fromkeys(nodes, "no node said who the members are")
        if self._condemned:
            why = f"{', '.join(sorted(self._condemned))} is still to be replaced"
            return dict.fromkeys(nodes, why)
        return {
            node: f"{node} is no voter ({members.detail})"
            for node in nodes
            if not members.votes(node)
        }

    def condemn(self, node: str) -> None:
        """From now on a new node has to take its place."""
        self._condemned.add(node)
        self._fresh.discard(node)

    def is_condemned(self, node: str) -> bool:
        """Say whether a new node still has to take its place."""
        return node in self._condemned

    def replace(self, node: str, deadline: float) -> Report:
        """Have a condemned node removed and a new one let in. `installed` when it votes."""
        with self._lock:
            self._owed.add(node)
            return self._replace(node, deadline)

    def owed(self) -> list[str]:
        """Return who was to be replaced and does not vote yet, whoever brings it back."""
        with self._lock:
            return sorted(self._owed)

    def out(self) -> list[str]:
        """Return the nodes of the run that do not vote, as far as is known."""
        members = self.operator.look()
        return [] if members is None else self._missing(members)

    def restore(self, deadline: float) -> str:
        """Bring back whoever is out; return an empty string, or who is not back and why."""
        operator = self.operator
        with self._lock:
            while True:
                problems = self._problems()
                if not problems or operator.late(deadline):
                    return "; ".join(dict.fromkeys(problems.values()))
                members = operator.look()
                missing = self._missing(members) if members is not None else []
                for node in dict.fromkeys([*sorted(self._condemned), *missing]):
                    # In turns: one that cannot be brought back must not keep the others out.
                    turn = min(deadline, operator.deadline(_TURN_S))
                    self._said[node] = self._replace(node, turn).detail
                operator.pause()

    def _problems(self) -> dict[str, str]:
        """Who is out, or knows other members than the rest: a change may still be under way there."""
        members = self.operator.look()
        if members is None:
            return dict.fromkeys(self.hosts.nodes, "no node said who the members are")
        missing = self._missing(members)
        problems = {node: self._said.get(node, f"{node} does not vote") for node in missing}
        for node in sorted(self._condemned):
            problems.setdefault(node, self._said.get(node, f"{node} is to be replaced"))
        for node in self.operator.differing():
            problems.setdefault(node, f"{node} knows nothing of {members.detail}")
        return problems

    def _missing(self, members: Members) -> list[str]:
        return [node for node in self.hosts.nodes if not members.votes(node)]

    def _take_out(self, node: str, deadline: float) -> Report:
        operator = self.operator
        before = operator.look()
        if before is None:
            return Report(Certainty.SKIPPED, "no node said who the members are")
        # A condemned one may have been struck on its way from voter to learner: it has to go as well.
        removable = before.includes(node) if node in self._condemned else node in before.voters
        if not removable:
            return Report(Certainty.SKIPPED, f"{node} is no voter ({before.detail})")
        self._fresh.discard(node)  # it votes, though nobody may have waited for it any more
        for other in [other for other, index in self._doubts.items() if index < before.index]:
            del self._doubts[other]  # what was asked before that has happened, or never will
        if len({*before.voters} - {*self._doubts} - {node}) < VOTERS_MIN:
            return Report(
                Certainty.SKIPPED, f"fewer than {VOTERS_MIN} voters would be left ({before.detail})"
            )

        def gone(members: Members) -> bool:
            return members.index > before.index and not members.includes(node)

        replies: list[Reply] = []
        while True:
            replies.append(operator.remove(node, deadline))
            reached, after = operator.await_members(gone, _soon(operator, replies[-1], deadline))
            if reached and after is not None:
                text = f"removed: {after.detail} (before: {before.detail})"
                return Report(Certainty.INSTALLED, text)
            if operator.late(deadline):
                break
            operator.pause()
        said = f"not removed: {replies[-1].detail} ({before.detail})"
        if all(reply.ending is Ending.REFUSED for reply in replies):
            return Report(Certainty.SKIPPED, said)
        self._doubts[node] = before.index
        return Report(Certainty.INDETERMINATE, said)

    def _replace(self, node: str, deadline: float) -> Report:
        """Bring a node back; one that is condemned has to go first, if it is a member."""
        if node in self._condemned:
            members = self.operator.look()
            if members is None or members.includes(node):
                removed = self._take_out(node, deadline)
                if removed.certainty is not Certainty.INSTALLED:
                    return removed
        return self._bring_back(node, deadline)

    def _bring_back(self, node: str, deadline: float) -> Report:
        operator = self.operator
        members = operator.look()
        reply: Reply | None = None
        made = ""
        while members is not None and not members.votes(node):
            if not members.includes(node) and node not in self._fresh:
                made = f", made anew: {self.hosts.start_anew(node)}"
                self._fresh.add(node)
                self._condemned.discard(node)
            if not members.includes(node):
                reply = operator.add(node, deadline)
            until = deadline if reply is None else _soon(operator, reply, deadline)
            reached, members = operator.await_members(lambda now: now.votes(node), until)
            if reached or operator.late(deadline):
                break
            operator.pause()
        if members is not None and members.votes(node):
            self._fresh.discard(node)
            self._owed.discard(node)
            return Report(Certainty.INSTALLED, f"{node} votes{made} ({members.detail})")
        seen = "no node said who the members are" if members is None else members.detail
        asked = "" if reply is None else f"; add_member: {reply.detail}"
        return Report(Certainty.INDETERMINATE, f"{node} does not vote{made} ({seen}{asked})")


def _soon(operator: Operator, reply: Reply, deadline: float) -> float:
    """How long to look for a request's effect before it is asked again."""
    if reply.ending is Ending.REFUSED:
        return min(deadline, operator.deadline(0))
    return min(deadline, operator.deadline(_PATIENCE_S))
