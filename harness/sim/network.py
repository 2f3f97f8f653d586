"""The network between the nodes: it delays, loses, repeats and reorders.

Rules of this file:
- A link is one direction between two nodes, and a connection on it belongs to one life of each:
  what travels on it is lost when either ends. In a `datagram` world Raft's messages survive that
  and may be repeated and overtake one another; what relies on a connection (`FORWARDS`) does not.
- A cut is one way: two make a partition. What was on its way before a cut arrives behind it.
- Nodes let each other in by their own rule (`Acquaintances`), both at each connection, each in its
  own process; a message of another incarnation than the one that was let in never gets through.
- Chance is in whole numbers, one draw a message: the same on every machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from harness.sim.world import Callback, World

if TYPE_CHECKING:
    from harness.sim.node import SimNode

FORWARDS = ("forward", "forward_reply")
Document = Mapping[str, object]


@dataclass(slots=True)
class Weather:
    """How bad the network is. Chances are in 256ths."""

    delay_ns: int = 500_000
    loss: int = 0
    duplicate: int = 0
    late: int = 0
    late_ns: int = 0
    datagrams: bool = True


class Link:
    """One direction between two nodes."""

    __slots__ = ("chance", "connection", "free_ns", "held", "lives", "source", "target", "tried_ns")

    def __init__(self, source: str, target: str, chance: Random) -> None:
        self.source = source
        self.target = target
        self.chance = chance
        self.lives: tuple[int, int] | None = None
        """Of the two ends of the connection that there is."""
        self.connection = 0
        """Its number."""
        self.free_ns = 0
        self.tried_ns = -1
        self.held: dict[str, list[Document]] = {}

    def disconnect(self) -> None:
        """What is on its way is lost with the connection."""
        self.lives = None
        self.connection += 1


class Network:
    """All links."""

    def __init__(
        self, world: World, weather: Weather, timeout_ns: int, sent: Callable[..., object]
    ) -> None:
        """`timeout_ns`: how long a dead connection goes unnoticed. `sent` sees every message."""
        self.nodes: dict[str, SimNode] = {}
        self.cut: set[tuple[str, str]] = set()
        self.traps: dict[tuple[str, object], Callback] = {}
        """What happens right after a node has sent a message of a type, once."""
        self.weather = weather
        self._world = world
        self._timeout_ns = timeout_ns
        self._sent = sent
        self._links: dict[tuple[str, str], Link] = {}

    def link(self, source: str, target: str) -> Link:
        """One direction between two nodes."""
        link = self._links.get((source, target))
        if link is None:
            chance = self._world.stream(f"net:{source}>{target}")
            link = self._links[source, target] = Link(source, target, chance)
        return link

    def links(self) -> list[Link]:
        """All that were ever used."""
        return list(self._links.values())

    def send(self, source: "SimNode", target: str, document: Document) -> bool:
        """False if there is no connection."""
        node = self.nodes.get(target)
        link = self.link(source.name, target)
        if node is None or not self._is_connected(link, source, node):
            return False
        self._sent(source, target, document)
        if self.traps:
            trap = self.traps.pop((source.name, document["type"]), None)
            if trap is not None:
                self._world.after(0, trap)
        if link.held and document["type"] in link.held:
            link.held[str(document["type"])].append(document)
            return True
        self._carry(link, source, node, document)
        return True

    def hold(self, link: Link, kind: str) -> None:
        """Keep messages of one type back from now on."""
        link.held.setdefault(kind, [])

    def release(self, link: Link, *, lost: bool) -> None:
        """Let what was kept back go, or lose it."""
        held, link.held = link.held, {}
        source, target = self.nodes[link.source], self.nodes[link.target]
        if lost or link.lives != (source.process.life, target.process.life):
            return
        for documents in held.values():
            for document in documents:
                self._carry(link, source, target, document)

    def reset(self, link: Link) -> None:
        """Break the connection: both ends notice."""
        if link.lives is None:
            return
        link.disconnect()
        for name, other in ((link.source, link.target), (link.target, link.source)):
            self.nodes[name].process.later(0, partial(self.nodes[name].lost, other))

    def refused(self, source: str, target: str) -> None:
        """`target` did not let `source` in."""
        link = self.link(source, target)
        link.disconnect()
        link.tried_ns = self._world.now_ns

    def _carry(self, link: Link, source: "SimNode", node: "SimNode", document: Document) -> None:
        if (link.source, link.target) in self.cut:
            return
        weather = self.weather
        bits = link.chance.getrandbits(48)
        if bits & 0xFF < weather.loss:
            return
        at_ns = self._world.now_ns + self._delay_ns(bits >> 8)
        if weather.datagrams:
            if (bits >> 32) & 0xFF < weather.late:
                at_ns += weather.late_ns
        else:
            at_ns = link.free_ns = max(at_ns, link.free_ns)
        incarnations = (source.incarnation, node.incarnation)
        arrive = partial(self._arrive, link, link.connection, incarnations, document)
        self._world.after(at_ns - self._world.now_ns, arrive)
        if weather.datagrams and bits >> 40 < weather.duplicate:
            again_ns = self._delay_ns(link.chance.getrandbits(24))
            self._world.after(at_ns + again_ns - self._world.now_ns, arrive)

    def _delay_ns(self, bits: int) -> int:
        """About exponential: a fair coin each for one mean more, and a part of one."""
        mean_ns = self.weather.delay_ns
        tails = bits & 0xFF
        steps = 0
        while tails & 1 and steps < 8:
            steps += 1
            tails >>= 1
        return mean_ns // 4 + steps * mean_ns + mean_ns * ((bits >> 8) & 0xFFFF) // 0x10000

    def _arrive(
        self,
        link: Link,
        connection: int,
        incarnations: tuple[int, int],
        document: Document,
    ) -> None:
        node, source = self.nodes[link.target], self.nodes[link.source]
        connected = not self.weather.datagrams or document["type"] in FORWARDS
        if connected:
            lives = (source.process.life, node.process.life)
            if link.connection != connection or link.lives != lives:
                return
        if not node.process.up or (source.incarnation, node.incarnation) != incarnations:
            return
        node.process.arrive(
            link.source, partial(node.receive, link.source, incarnations[0], document)
        )

    def _is_connected(self, link: Link, source: "SimNode", node: "SimNode") -> bool:
        lives = (source.process.life, node.process.life)
        if link.lives == lives:
            return True
        if link.lives is not None:
            dead = not node.process.up and node.vanished
            if dead and self._world.now_ns - node.down_since_ns < self._timeout_ns:
                return True  # the power went: nobody has said so
            link.disconnect()
            source.process.later(0, partial(source.lost, node.name))
            return False
        cut = self.cut
        ways = ((link.source, link.target), (link.target, link.source))
        if not node.process.up or node.process.paused or any(way in cut for way in ways):
            return False
        if self._world.now_ns - link.tried_ns < self._timeout_ns // 8 and link.tried_ns >= 0:
            return False
        known = source.may_speak_to(node.name) and node.welcomes(source)
        if not known or not source.admits(node.name, node.incarnation):
            link.tried_ns = self._world.now_ns
            return False
        link.lives = lives
        return True
