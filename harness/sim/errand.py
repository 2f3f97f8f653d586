"""One errand of the operator: goals about one or two members, one after the other.

Rules of this file:
- It acts as people do: it looks at what the leader says, asks, looks again, and asks again.
- A member's data are wiped only when it certainly is none: a configuration without it is committed,
  and nobody's log has a newer one with it. Who wipes a voter makes the loss himself.
- What it gives up it undoes: a learner that never catches up is removed again. It is patient where
  giving up would hide what is wrong.
"""

from collections import deque
from collections.abc import Callable
from random import Random

from harness.sim.cluster import Cluster
from harness.sim.node import SimNode, address_of
from node.admin import AdminRequest

PATIENCE = 60
"""Steps that an addition may take."""

Goal = tuple[str, str]
Answered = Callable[[], object]
Ask = Callable[[SimNode, AdminRequest, Answered], object]


class Errand:
    """What is still to be done."""

    def __init__(
        self,
        cluster: Cluster,
        chance: Random,
        ask: Ask,
        goals: tuple[Goal, ...],
        *,
        is_patient: bool,
    ) -> None:
        """`ask` sends a request to a node; `goals` are pairs of what to do and with whom."""
        self.names = {name for _, name in goals}
        self.is_patient = is_patient
        self._cluster = cluster
        self._chance = chance
        self._ask = ask
        self._goals = deque(goals)
        self._steps = 0
        self._asking = False
        self._acts: dict[str, Callable[[str], bool]] = {
            "add": self._add,
            "remove": self._remove,
            "retire": self._retire,
            "linger": lambda name: chance.random() < 0.25,
            "wait": lambda name: self._steps > 4,
            "renew": self._renew,
            "fresh": self._fresh,
        }

    @property
    def is_over(self) -> bool:
        """Is nothing left to do?"""
        return not self._goals

    def step(self) -> None:
        """Do what can be done now."""
        self._steps += 1
        goal, name = self._goals[0]
        if self._acts[goal](name):
            self._cluster.world.note(f"operator: {goal} {name} is done")
            if self._goals:
                self._goals.popleft()
            self._steps = 0

    # Each returns whether it is done.

    def _add(self, name: str) -> bool:
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
        if self._steps > PATIENCE and not self.is_patient:
            self._goals[0] = ("remove", name)
            self._goals.insert(1, ("retire", name))
            self._steps = 0
        elif name not in configuration.members:
            peer, client = address_of(name)
            self._submit(AdminRequest("add_member", name=name, peer=peer, client=client))
        return False

    def _remove(self, name: str) -> bool:
        found = self._cluster.configuration()
        if found is None:
            return False
        configuration, committed = found
        if name not in configuration.members:
            return committed and self._chance.random() < 0.3
        if configuration.voters == (name,):
            self._goals.clear()  # the last one stays
            return True
        self._submit(AdminRequest("remove_member", name=name))
        return False

    def _retire(self, name: str) -> bool:
        """Who is no member any more is stopped some time."""
        node = self._cluster.nodes[name]
        if node.process.up and self._chance.random() < 0.8:
            node.kill()
        return True

    def _renew(self, name: str) -> bool:
        """A machine that was removed becomes a new one, which waits for its cluster to call."""
        if self._cluster.is_out(name):
            self._fresh(name)
            self._cluster.nodes[name].start()
        return True  # or it is let in again as it is

    def _fresh(self, name: str) -> bool:
        """Make an empty disk that of a new node."""
        node = self._cluster.nodes[name]
        node.wipe(lost=False)
        node.strange_to = frozenset()
        node.initialise((), join=True)
        return True

    def _submit(self, request: AdminRequest) -> None:
        leader = self._cluster.leader()
        if leader is None or self._asking:
            return
        self._asking = True
        self._cluster.world.after(2 * self._cluster.shape.timeout_ns, self._forget)
        self._ask(leader, request, self._forget)

    def _forget(self) -> None:
        self._asking = False
