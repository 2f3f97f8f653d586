"""The kinds of fault that the system carries out itself, or that only it can repair.

Rules of this file:
- A change of members is `installed` when a committed configuration shows it, a transfer when the
  old leader says that the other one leads, a snapshot when the node says at which index it is.
- A system without a quorum cannot do any of it: then it is `skipped` (refused, certainly without
  effect) or `indeterminate`, and nobody is to blame.
- Every wait is bounded and ends when the run's faults end. What is still to be undone then is
  left to the recovery, when all other faults are healed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.nemesis.damage import Damage
from harness.nemesis.faults import Certainty, Crew, FaultKind, Report, Reports, Unable
from harness.nemesis.plan import ADMINISTRATIVE, DAMAGING, Fault
from harness.nemesis.roster import Roster
from harness.remote.agent_client import Agent
from harness.systems.administrated import Ending, Reply
from harness.systems.operator import REQUEST_TIMEOUT_S, Operator

# How long to try. Catching up by snapshot, and a leader to be found first, take a second or two.
_REMOVE_S: Final = 4.0
_JOIN_S: Final = 6.0
_TRANSFER_S: Final = 3.0
_SNAPSHOT_S: Final = 2.0


def make_administrative(crew: Crew, operator: Operator, roster: Roster) -> Mapping[str, FaultKind]:
    """Return these kinds by their names in a plan."""
    return {
        "member": Member(operator, roster),
        "transfer": Transfer(operator),
        "snapshot": Snapshot(crew, operator),
        **dict.fromkeys(DAMAGING, Damage(crew, operator, roster)),
    }


def unable(reason: str) -> Mapping[str, FaultKind]:
    """Return these kinds for a system that takes no orders: each is skipped, with the reason."""
    return dict.fromkeys((*ADMINISTRATIVE, *DAMAGING), Unable(reason))


@dataclass(slots=True)
class Member:
    """Removes a voter and brings it back as a new node, at once (`replace-…`) or at the end.

    A node that is out until the end goes on running: it has to leave the others in peace.
    """

    operator: Operator
    roster: Roster

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Remove; the evidence is a committed configuration."""
        node = targets[0]
        removed = self.roster.take_out(node, self.operator.deadline(_REMOVE_S))
        if removed.certainty is not Certainty.INSTALLED or not fault.name.startswith("replace"):
            return {node: removed}
        back = self.roster.bring_back(node, self.operator.deadline(_JOIN_S))
        return {node: Report(removed.certainty, f"{removed.detail}; then {back.detail}")}

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Bring back whoever is out, also from an earlier time when it could not be done."""
        del fault
        reports: dict[str, Report] = {}
        deadline = self.operator.deadline(_JOIN_S)
        missing = self.roster.out()
        for node in [*targets, *(node for node in missing if node not in targets)]:
            if self.operator.late(deadline):
                reports[node] = Report(
                    Certainty.INDETERMINATE, "left to the recovery", lasting=True
                )
                continue
            back = self.roster.bring_back(node, deadline)
            # That it votes is no evidence that it had been out: that was seen at the start, or not.
            out = back.certainty is not Certainty.INSTALLED
            reports[node] = Report(Certainty.INDETERMINATE, back.detail, lasting=out)
        return reports


@dataclass(slots=True)
class Transfer:
    """Lets another voter lead; `there-and-back` gives it back at the end."""

    operator: Operator
    _led: dict[int, str] = field(default_factory=dict)

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Ask; the evidence is the old leader's word that the other one leads."""
        leader = self.operator.leader()
        report = self._hand_over(targets[0])
        if leader is not None and fault.name == "there-and-back":
            self._led[fault.id] = leader
        return {targets[0]: report}

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Hand it back, where that was planned."""
        leader = self._led.pop(fault.id, None)
        if leader is None:
            return {targets[0]: Report(Certainty.INDETERMINATE, "leads on, if it can")}
        back = self._hand_over(leader)
        return {leader: Report(back.certainty, back.detail)}

    def _hand_over(self, to: str) -> Report:
        led = self.operator.leader()
        if led == to:
            return Report(Certainty.SKIPPED, f"{to} leads already")
        reply = self.operator.transfer(to, self.operator.deadline(_TRANSFER_S))
        text = f"leadership from {led or 'nobody known'} to {to}: {reply.detail}"
        return Report(_certainty(reply), text)


@dataclass(slots=True)
class Snapshot:
    """Takes snapshots now, on some nodes at the same time."""

    crew: Crew
    operator: Operator

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Ask; the evidence is the index that the node names."""
        del fault
        deadline = self.operator.deadline(_SNAPSHOT_S)

        def take(node: str, agent: Agent) -> Report:
            del agent
            while True:
                reply = self.operator.system.snapshot(node, REQUEST_TIMEOUT_S)
                # Another one is being taken, by itself or of the leader's.
                if reply.code != "change-in-progress" or self.operator.late(deadline):
                    return Report(_certainty(reply), f"snapshot: {reply.detail}")
                self.operator.pause()

        return self.crew.on(targets, take)

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """There is nothing to undo."""
        del fault
        return {node: Report(Certainty.INDETERMINATE, "nothing to undo") for node in targets}


def _certainty(reply: Reply) -> Certainty:
    return {
        Ending.DONE: Certainty.INSTALLED,
        Ending.REFUSED: Certainty.SKIPPED,
        Ending.UNKNOWN: Certainty.INDETERMINATE,
    }[reply.ending]
