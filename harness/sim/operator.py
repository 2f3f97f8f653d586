"""The operator: lets members in and out, replaces and renews machines, moves the leadership.

Rules of this file:
- Several errands at once, about different members: what one of them waits for, another one changes.
- While a disk is lost there is only the errand that makes it good, and no other machine is wiped:
  two lost disks of three would be a loss that nobody can make good.
"""

from functools import partial
from random import Random

from harness.sim.cluster import Cluster
from harness.sim.errand import Answered, Errand, Goal
from harness.sim.node import SimNode
from node.admin import AdminRequest
from node.operations import Answer

MACHINES_MAX = 9
ERRANDS_MAX = 3


class Operator:
    """Begins errands, and lets each of them take its steps."""

    def __init__(self, cluster: Cluster, chance: Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self._errands: list[Errand] = []
        self._interval_ns = cluster.shape.timeout_ns // 2
        self._healed = False
        self._step()

    @property
    def is_idle(self) -> bool:
        """Is there nothing to do?"""
        return not self._errands

    def heal(self) -> None:
        """Nothing is wrong any more: from now on nothing may take so long that it is given up."""
        self._healed = True
        for errand in self._errands:
            errand.is_patient = True

    # What is asked once, whatever the answer.

    def transfer(self, name: str) -> None:
        """Ask the leader to hand over."""
        leader = self._cluster.leader()
        if leader is not None:
            self._ask(leader, AdminRequest("transfer", to=name), lambda: None)

    def snapshot_at(self, node: SimNode) -> None:
        """Ask a node for a snapshot: then it has another one than the others."""
        self._ask(node, AdminRequest("snapshot"), lambda: None)

    def remove_at(self, node: SimNode, name: str) -> None:
        """Ask one node to remove a member."""
        if node.replica is None or self._errands:
            return
        voters = node.core.log.configuration.voters
        if len(voters) > 3 and name in voters:
            self._ask(node, AdminRequest("remove_member", name=name), lambda: None)

    # Errands.

    def add(self) -> None:
        """Put up a new machine."""
        name = self._new_name()
        if name is not None:
            self._begin(("add", name))

    def remove(self, name: str) -> None:
        """Take a member out."""
        if self._may_leave():
            self._begin(("remove", name), ("retire", name))

    def replace(self, name: str) -> None:
        """One in, one out."""
        new = self._new_name()
        if new is not None:
            self._begin(("add", new), ("remove", name), ("retire", name))

    def rejoin(self, name: str) -> None:
        """Take a member out, and in again with the data it has."""
        if self._may_leave():
            self._begin(("remove", name), ("retire", name), ("add", name))

    def renew(self, name: str) -> None:
        """Take a member out, which runs on and does not know, and in again without its data."""
        if self._may_leave():
            remove, linger = ("remove", name), ("linger", name)
            self._begin(remove, linger, ("renew", name), linger, ("add", name))

    def wipe(self, name: str, *, reinitialise: bool) -> None:
        """A disk is lost. `reinitialise`: somebody runs `init` on the empty one as if it were new."""
        cluster = self._cluster
        node = cluster.nodes[name]
        if not self._may_wipe(node):
            return
        found = cluster.configuration()
        assert found is not None
        cluster.world.note(f"wipe {name}")
        node.wipe(lost=True)
        if reinitialise:
            node.strange_to = frozenset(found[0].members)
            node.initialise(tuple(cluster.names()[: cluster.shape.nodes]))
            node.start()
        else:
            assert not node.start(), "a node starts without data"
        goals = (("wait", name), ("remove", name), ("retire", name), ("fresh", name), ("add", name))
        self._begin(*goals, lost=True)

    def _new_name(self) -> str | None:
        busy = {name for errand in self._errands for name in errand.names}
        names = {*self._cluster.nodes, *busy}
        return f"n{len(names) + 1}" if len(names) < MACHINES_MAX else None

    def _may_leave(self) -> bool:
        found = self._cluster.configuration()
        return found is not None and len(found[0].voters) > 1

    def _may_wipe(self, node: SimNode) -> bool:
        found = self._cluster.configuration()
        if self._errands or found is None or not found[1] or found[0].outgoing:
            return False
        configuration = found[0]
        if node.name not in configuration.voters or len(configuration.voters) < 3:
            return False
        # A node that never met the old life could not tell that the new one is another.
        others = [self._cluster.nodes[name] for name in configuration.members if name != node.name]
        return all(other.replica is not None and other.knows(node.name) for other in others)

    def _begin(self, *goals: Goal, lost: bool = False) -> None:
        """Begin an errand, unless one is about the same member, or there are enough."""
        names = {name for _, name in goals}
        if len(self._errands) >= ERRANDS_MAX:
            return
        if any(errand.is_patient or names & errand.names for errand in self._errands):
            return
        ask = self._ask
        errand = Errand(self._cluster, self._chance, ask, goals, is_patient=lost or self._healed)
        self._errands.append(errand)

    def _step(self) -> None:
        self._cluster.world.after(self._interval_ns, self._step)
        for errand in list(self._errands):
            errand.step()
            if errand.is_over:
                self._errands.remove(errand)

    def _ask(self, node: SimNode, request: AdminRequest, answered: Answered) -> None:
        self._cluster.world.note(f"admin {node.name} {request.op} {request.name}{request.to}")
        node.process.arrive("operator", partial(_submit, node, request, answered))


def _submit(node: SimNode, request: AdminRequest, answered: Answered) -> None:
    if node.replica is not None:
        node.replica.submit_admin(request, lambda answer: _hear(answer, answered))


def _hear(answer: Answer, answered: Answered) -> None:
    del answer  # the next look at the configuration says more
    answered()
