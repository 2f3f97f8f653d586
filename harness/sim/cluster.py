"""All that makes up one simulated cluster, joined.

Rules of this file: nodes are made here and nowhere else, so that each of them is watched.
"""

from harness.sim.network import Network
from harness.sim.node import SimNode
from harness.sim.shape import Shape
from harness.sim.watch import Observers
from harness.sim.world import World
from node.core.membership import Configuration, configuration_from_text
from node.core.messages import COMMAND, CONFIGURATION
from node.core.settings import Role


class Cluster:
    """The nodes, the network between them, and who watches."""

    def __init__(self, world: World, shape: Shape) -> None:
        self.world = world
        self.shape = shape
        self.observers = Observers()
        self.network = Network(world, shape.weather, 2 * shape.timeout_ns, self.observers.sent)
        self.nodes: dict[str, SimNode] = {}
        self._clocks = world.stream("clocks")
        self._text_of: list[str] = [""]
        voters = tuple(f"n{number}" for number in range(1, shape.nodes + 1))
        self._first = Configuration(voters=voters)
        for name in voters:
            self.add(name).initialise(voters)
        for node in self.nodes.values():
            node.start()

    def add(self, name: str) -> SimNode:
        """Put up a machine, without data."""
        watch = self.observers.node(name)
        node = SimNode(self.world, name, self.network, self.shape.options, watch)
        self.nodes[name] = node
        self.draw_clock(node)
        return node

    def draw_clock(self, node: SimNode) -> None:
        """Let a node's clock go at another rate."""
        ppm = self.shape.clock_ppm
        node.clock.set_rate(self._clocks.randrange(-ppm, ppm + 1) if ppm else 0)

    def names(self) -> list[str]:
        """All machines."""
        return list(self.nodes)

    def running(self) -> list[SimNode]:
        """Those whose process runs, paused ones too."""
        return [node for node in self.nodes.values() if node.process.up]

    def leader(self) -> SimNode | None:
        """Who leads, by its own belief; the newest if several do."""
        leaders = [node for node in self.running() if node.core.role is Role.LEADER]
        return max(leaders, key=lambda node: node.core.term, default=None)

    def configuration(self) -> tuple[Configuration, bool] | None:
        """What the leader says of the members, and whether that is committed."""
        leader = self.leader()
        if leader is None:
            return None
        log = leader.core.log
        return log.configuration, log.configuration_index <= leader.core.commit_index

    def is_out(self, name: str) -> bool:
        """Is a configuration without it committed, and none with it in any log behind that?"""
        index, configuration = self.observers.committed.configuration(self._first)
        return name not in configuration.members and not any(
            name in configuration_from_text(data).members
            for (at, _), (data, kind, _) in self.observers.written.entries.items()
            if at > index and kind == CONFIGURATION
        )

    # What is committed, as text.

    def committed_text(self, index: int, term: int) -> str | None:
        """The operation committed at an index and term; None if none is."""
        committed = self.observers.committed
        if not 0 < index <= committed.last_index or committed.terms[index] != term:
            return None
        return self._text(index, term)

    def committed_texts(self) -> set[str]:
        """All operations that are committed."""
        terms = self.observers.committed.terms
        return {self._text(index, terms[index]) or "" for index in range(1, len(terms))}

    def _text(self, index: int, term: int) -> str | None:
        found = self.observers.written.entries.get((index, term))
        if found is None or found[1] != COMMAND:
            return None
        return found[0].partition(",")[2]
