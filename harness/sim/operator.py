"""The operator: lets members in and out, replaces machines, moves the leadership.

Rules of this file:
- It acts as people do: it looks at what the leader says, asks, looks again, and asks again.
- One change at a time. A machine whose disk was wiped is removed before it comes back as a new one,
  and no other machine is wiped meanwhile: two lost disks of three would be a loss that nobody can
  make good.
- What it gives up it undoes: a learner that never catches up is removed again.
"""

from collections import deque
from functools import partial
from random import Random

from harness.sim.cluster import Cluster
from harness.sim.node import SimNode, address_of
from node.admin import AdminRequest
from node.operations import Answer

MACHINES_MAX = 9
PATIENCE = 60
"""Steps that an addition may take."""


class Operator:
    """Carries out goals, one after the other."""

    def __init__(self, cluster: Cluster, chance: Random) -> None:
        self.wiped: str | None = None
        self.done = 0
        self._cluster = cluster
        self._chance = chance
        self._goals: deque[tuple[str, str]] = deque()
        self._steps = 0
        self._asking = False
        self._interval_ns = cluster.shape.timeout_ns // 2
        self._step()

    @property
    def is_idle(self) -> bool:
        """Is there nothing to do?"""
        return not self._goals

    def request(self, op: str, name: str = "") -> None:
        """Ask the leader once, and do not care for the answer."""
        leader = self._cluster.leader()
        if leader is not None:
            self._ask(leader, AdminRequest(op, to=name), lambda answer: None)

    def remove_at(self, node: SimNode, name: str) -> None:
        """Ask one node once to remove a member, and do not care for the answer."""
        if node.replica is None or self._goals:
            return
        voters = node.core.log.configuration.voters
        if len(voters) > 3 and name in voters:
            self._ask(node, AdminRequest("remove_member", name=name), lambda answer: None)

    def add(self) -> None:
        """Put up a new machine."""
        cluster = self._cluster
        if self._goals or len(cluster.nodes) >= MACHINES_MAX:
            return
        self._goals.append(("add", f"n{len(cluster.nodes) + 1}"))

    def remove(self, name: str) -> None:
        """Take a member out."""
        found = self._cluster.configuration()
        if not self._goals and found is not None and len(found[0].voters) > 1:
            self._goals.append(("remove", name))

    def replace(self, name: str) -> None:
        """One in, one out."""
        self.add()
        if self._goals:
            self._goals.append(("remove", name))

    def rejoin(self, name: str) -> None:
        """Take a member out, and in again with the data it has."""
        self.remove(name)
        if self._goals:
            self._goals.append(("add", name))

    def wipe(self, name: str, *, reinitialise: bool) -> None:
        """A disk is lost. `reinitialise`: somebody runs `init` on the empty one as if it were new."""
        cluster = self._cluster
        node = cluster.nodes[name]
        if self._goals or not self._may_wipe(node):
            return
        found = cluster.configuration()
        assert found is not None
        voters = found[0].voters
        cluster.world.note(f"wipe {name}")
        self.wiped = name
        node.wipe()
        if reinitialise:
            node.strange_to = frozenset(found[0].members)
            node.initialise(tuple(cluster.names()[: cluster.shape.nodes]))
            node.start()
        else:
            assert not node.start(), "a node starts without data"
        if name in voters:
            self._goals.append(("wait", name))
            self._goals.append(("remove", name))
        self._goals.append(("fresh", name))
        self._goals.append(("add", name))

    def _may_wipe(self, node: SimNode) -> bool:
        found = self._cluster.configuration()
        if self.wiped is not None or found is None or not found[1] or found[0].outgoing:
            return False
        configuration = found[0]
        if node.name not in configuration.voters or len(configuration.voters) < 3:
            return False
        # A node that never met the old life could not tell that the new one is another.
        others = [self._cluster.nodes[name] for name in configuration.members if name != node.name]
        return all(other.replica is not None and other.knows(node.name) for other in others)

    # Steps.

    def _step(self) -> None:
        self._cluster.world.after(self._interval_ns, self._step)
        if not self._goals:
            return
        self._steps += 1
        goal, name = self._goals[0]
        step = {
            "add": self._adding,
            "remove": self._removing,
            "wait": self._waiting,
            "fresh": self._freshening,
        }[goal]
        if step(name):
            self._cluster.world.note(f"operator: {goal} {name} is done")
            self._goals.popleft()
            self._steps = 0
            self.done += 1
            if self.wiped == name and goal in ("add", "remove") and not self._goals:
                self.wiped = None

    def _waiting(self, name: str) -> bool:
        return self._steps > 4

    def _freshening(self, name: str) -> bool:
        """An empty disk, made that of a new node."""
        node = self._cluster.nodes[name]
        node.wipe()
        node.strange_to = frozenset()
        node.initialise((), join=True)
        return True

    def _adding(self, name: str) -> bool:
        cluster = self._cluster
        found = cluster.configuration()
        if found is None:
            return False
        configuration, committed = found
        node = cluster.nodes.get(name)
        if node is None:
            node = cluster.add(name)
            node.initialise((), join=True)
        node.start()
        if name in configuration.voters and committed and not configuration.outgoing:
            return True
        if self._steps > PATIENCE and self.wiped != name:
            self._goals[0] = ("remove", name)
            self._steps = 0
        elif name not in configuration.members:
            peer, client = address_of(name)
            self._submit(AdminRequest("add_member", name=name, peer=peer, client=client))
        return False

    def _removing(self, name: str) -> bool:
        found = self._cluster.configuration()
        if found is None:
            return False
        configuration, committed = found
        if name not in configuration.members:
            if committed and self._chance.random() < 0.3:
                self._retire(name)
                return True
            return False
        if len(configuration.voters) < 2:
            return True  # the last one stays
        self._submit(AdminRequest("remove_member", name=name))
        return False

    def _retire(self, name: str) -> None:
        """Who is no member any more is stopped some time."""
        node = self._cluster.nodes[name]
        if node.process.up and self._chance.random() < 0.8:
            node.kill()

    def _submit(self, request: AdminRequest) -> None:
        leader = self._cluster.leader()
        if leader is None or self._asking:
            return
        self._asking = True
        self._cluster.world.after(4 * self._interval_ns, self._forget)
        self._ask(leader, request, lambda answer: self._forget())

    def _forget(self) -> None:
        self._asking = False

    def _ask(self, leader: SimNode, request: AdminRequest, reply: object) -> None:
        self._cluster.world.note(f"admin {leader.name} {request.op} {request.name}{request.to}")
        leader.process.arrive("operator", partial(_submit, leader, request, reply))


def _submit(node: SimNode, request: AdminRequest, reply: object) -> None:
    if node.replica is not None:
        assert callable(reply)
        node.replica.submit_admin(request, lambda answer: _pass(answer, reply))


def _pass(answer: Answer, reply: object) -> None:
    assert callable(reply)
    reply(answer)
