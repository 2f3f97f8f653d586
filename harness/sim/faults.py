"""What goes wrong: one fault after the other, of the kinds that the seed has drawn.

Rules of this file:
- A fault ends by itself, by another one, or when everything is healed.
- Often it hits the leader, and often what it broke is back before anybody has missed it.
"""

from collections.abc import Callable
from functools import partial
from random import Random

from harness.sim.clients import Clients
from harness.sim.cluster import Cluster
from harness.sim.node import SimNode
from harness.sim.operator import Operator

HELD_KINDS = (
    "vote_request",
    "append_request", "append_reply", "heartbeat", "heartbeat_reply", "vote_reply", "snapshot_chunk",
    "read_index_reply", "forward_reply", "timeout_now",
)  # fmt: skip


class Faults:
    """The nemesis."""

    def __init__(
        self, cluster: Cluster, operator: Operator, clients: Clients, chance: Random
    ) -> None:
        self.injected: dict[str, int] = {}
        self._cluster = cluster
        self._operator = operator
        self._clients = clients
        self._chance = chance
        self._stopped = False
        self._quiet_until_ns = 0
        self._timeout_ns = cluster.shape.timeout_ns
        self._held: list[Callable[[], None]] = []
        self._acts: dict[str, Callable[[SimNode], object]] = {
            "depose": self._depose,
            "isolate": self._isolate,
            "freeze": self._freeze,
            "unheard": self._unheard,
            "forget": self._forget,
            "hand-over": self._hand_over,
            "succession": self._succession,
            "halves": self._halves,
            "one-way": self._one_way,
            "bridge": self._bridge,
            "hold": self._hold,
            "reset": self._reset,
            "kill": lambda node: self._end(node, node.kill),
            "power": lambda node: self._end(node, node.power_off),
            "torn": self._torn,
            "kill-all": lambda node: self._end_all(power=False),
            "power-all": lambda node: self._end_all(power=True),
            "pause": self._pause,
            "pause-two": self._pause_two,
            "stall": self._stall,
            "slow-disk": self._slow,
            "clock": lambda node: cluster.draw_clock(node),
            "snapshot": operator.snapshot_at,
            "transfer": lambda node: operator.transfer(self._other(node).name),
            "add": lambda node: operator.add(),
            "remove": lambda node: operator.remove(node.name),
            "replace": lambda node: operator.replace(node.name),
            "rejoin": lambda node: operator.rejoin(node.name),
            "renew": lambda node: operator.renew(node.name),
            "churn": self._churn,
            "wipe": lambda node: operator.wipe(node.name, reinitialise=False),
            "reinit": lambda node: operator.wipe(node.name, reinitialise=True),
            "heal": lambda node: self._cut(set()),
        }

    def begin(self) -> None:
        """Let things go wrong."""
        self._next()

    def heal(self) -> None:
        """Nothing is wrong any more, and nothing goes wrong again."""
        cluster = self._cluster
        self._stopped = True
        self._cut(set())
        cluster.network.traps.clear()
        for link in cluster.network.links():
            cluster.network.release(link, lost=False)
        weather = cluster.network.weather
        weather.loss = weather.duplicate = weather.late = 0
        weather.delay_ns = min(weather.delay_ns, self._timeout_ns // 60)
        for node in cluster.nodes.values():
            node.directory.crash_at = None
            node.slow_disk = 1
            node.spread = 1
            node.snapshot_ns = 0
            if node.process.paused:
                node.process.resume()
            self._release(node)
            self._start(node)

    def _next(self) -> None:
        if self._stopped:
            return
        cluster, chance = self._cluster, self._chance
        pause_ns = chance.randrange(1, 2 * cluster.shape.fault_pause_ns)
        cluster.world.after(pause_ns, self._next)
        faults = cluster.shape.faults
        kinds = (*faults, *(["heal"] * (1 + len(faults) // 4)))
        if cluster.world.now_ns < self._quiet_until_ns:
            return  # a story is being told that another fault would spoil
        kind = kinds[chance.randrange(len(kinds))]
        leader = cluster.leader()
        nodes = list(cluster.nodes.values())
        node = leader if leader is not None and chance.random() < 0.45 else chance.choice(nodes)
        self.injected[kind] = self.injected.get(kind, 0) + 1
        cluster.world.note(f"fault {kind} {node.name}")
        self._acts[kind](node)
        if chance.random() < 0.6:
            self._clients.burst(node.name, 2 * self._timeout_ns)

    def _after(self, shortest: int, longest: int, act: Callable[[], object]) -> None:
        """In so many hundredths of an election timeout."""
        share = self._chance.randrange(shortest, longest)
        self._cluster.world.after(share * self._timeout_ns // 100, act)

    # The network.

    def _cut(self, cut: set[tuple[str, str]]) -> None:
        self._cluster.network.cut = cut

    def _apart(self, side: list[str], *, ways: int = 3) -> None:
        names = self._cluster.names()
        cut = set()
        for a in side:
            for b in names:
                if b not in side:
                    if ways & 1:
                        cut.add((a, b))
                    if ways & 2:
                        cut.add((b, a))
        self._cut(cut)

    def _back_after(self, shortest: int, longest: int) -> None:
        """What is cut now comes back, unless something else is cut by then."""
        cut = self._cluster.network.cut

        def back() -> None:
            if self._cluster.network.cut is cut:
                self._cut(set())

        self._after(shortest, longest, back)

    def _isolate(self, node: SimNode) -> None:
        side = [node.name]
        if self._chance.random() < 0.3:
            side.append(self._chance.choice(self._cluster.names()))
        self._apart(side)

    def _halves(self, node: SimNode) -> None:
        names = self._cluster.names()
        self._apart(self._chance.sample(names, len(names) // 2))

    def _one_way(self, node: SimNode) -> None:
        self._apart([node.name], ways=self._chance.choice((1, 2)))

    def _bridge(self, node: SimNode) -> None:
        """Two halves that both reach this node, and not each other."""
        others = [name for name in self._cluster.names() if name != node.name]
        self._chance.shuffle(others)
        half = len(others) // 2
        left, right = others[:half], others[half:]
        self._cut({pair for a in left for b in right for pair in ((a, b), (b, a))})

    def _hold(self, node: SimNode) -> None:
        """Keep back one type of message to or from a node, then let it go or lose it."""
        network, kind = self._cluster.network, self._chance.choice(HELD_KINDS)
        outwards = self._chance.random() < 0.5
        links = [
            link
            for link in network.links()
            if (link.source if outwards else link.target) == node.name
        ]
        lost = self._chance.random() < 0.4
        for link in links:
            network.hold(link, kind)
            self._after(20, 300, partial(network.release, link, lost=lost))

    def _reset(self, node: SimNode) -> None:
        network = self._cluster.network
        for link in network.links():
            if node.name in (link.source, link.target) and self._chance.random() < 0.5:
                network.reset(link)

    # Stories: several things that are only wrong together.

    def _other(self, node: SimNode) -> SimNode:
        """Another one that runs, if there is one."""
        others = [one for one in self._cluster.running() if one is not node]
        return self._chance.choice(others) if others else node

    def _leader_or(self, node: SimNode) -> SimNode:
        return self._cluster.leader() or node

    def _depose(self, node: SimNode) -> None:
        """The leader goes on among few, is asked for much, and comes back when another leads."""
        node = self._leader_or(node)
        self._isolate(node)
        self._clients.burst(node.name, self._timeout_ns // 2)
        if self._chance.random() < 0.4:
            self._operator.remove_at(node, self._other(node).name)
        self._back_after(200, 500)

    def _freeze(self, node: SimNode) -> None:
        """The leader is stopped for long, the answers to its heartbeats wait in its sockets."""
        node = self._leader_or(node)
        life = node.process.life

        def freeze() -> None:
            if not self._stopped and node.process.life == life and not node.process.paused:
                node.process.pause()
                self._clients.burst(node.name, 3 * self._timeout_ns)
                self._after(150, 450, partial(self._resume, node, life))

        self._cluster.network.traps[node.name, "heartbeat"] = freeze

    def _unheard(self, node: SimNode) -> None:
        """What the leader says is lost, and it hears what others said before."""
        leader = self._leader_or(node)
        self._apart([leader.name], ways=1)
        self._clients.burst(leader.name, 2 * self._timeout_ns)
        self._clients.burst(leader.name, 2 * self._timeout_ns)
        self._clients.burst(self._other(leader).name, 2 * self._timeout_ns)

    def _forget(self, node: SimNode) -> None:
        """One follower misses the leader, the others restart, and then the leader is alone."""
        leader = self._leader_or(node)
        misses = self._other(leader)
        names = (leader.name, misses.name)
        self._cut({names, names[::-1]})

        def restart() -> None:
            if self._stopped:
                return
            for other in self._cluster.running():
                if other not in (leader, misses):
                    other.kill()
                    self._after(1, 5, partial(self._start, other))
            self._apart([leader.name])
            self._clients.burst(leader.name, self._timeout_ns)
            self._clients.burst(misses.name, self._timeout_ns)

        self._after(120, 250, restart)

    def _hand_over(self, node: SimNode) -> None:
        """The leader hands over, and is cut off right then."""
        leader = self._leader_or(node)
        other = self._other(leader)

        def alone() -> None:
            if self._stopped:
                return
            self._apart([leader.name])
            self._clients.burst(leader.name, self._timeout_ns)
            self._clients.burst(other.name, self._timeout_ns // 2)

        self._cluster.network.traps[leader.name, "timeout_now"] = alone
        self._operator.transfer(other.name)

    def _succession(self, node: SimNode) -> None:
        """A late follower makes a leader's snapshot durable while the next one comes to lead, who
        has an older one."""
        leader = self._leader_or(node)
        late = self._other(leader)
        self._quiet_until_ns = self._cluster.world.now_ns + 6 * self._timeout_ns
        self._apart([late.name])
        self._clients.burst(leader.name, self._timeout_ns)

        def others() -> None:
            for other in self._cluster.running():
                if other not in (leader, late):
                    self._operator.snapshot_at(other)
            self._clients.burst(leader.name, self._timeout_ns // 4)

        def newest() -> None:
            if not self._stopped:
                self._operator.snapshot_at(leader)
                late.snapshot_ns = 4 * self._timeout_ns
                self._cut(set())
                self._when_adopting(late, partial(self._isolate_only, leader), 200)

        self._after(80, 120, others)
        self._after(130, 200, newest)

    def _when_adopting(self, node: SimNode, act: Callable[[], object], looks: int) -> None:
        """As soon as a node has got a snapshot whole; it is looked so often."""
        if self._stopped or not looks:
            return
        if node.disk is not None and node.disk.adopts:
            act()
        else:
            self._after(1, 2, partial(self._when_adopting, node, act, looks - 1))

    def _isolate_only(self, node: SimNode) -> None:
        """For a while."""
        self._apart([node.name])
        self._back_after(200, 500)

    # Processes and power.

    def _end(self, node: SimNode, end: Callable[[], object]) -> None:
        if node.process.up:
            end()
            self._restart(node)

    def _restart(self, node: SimNode) -> None:
        longest = self._chance.choice((2, 40, 400))
        self._after(1, longest, partial(self._start, node))

    def _start(self, node: SimNode) -> None:
        if not node.process.up:
            node.start()
            if not node.process.up and node.vanished and not self._is_wiped(node):
                self._restart(node)  # the power went again, while it started

    def _is_wiped(self, node: SimNode) -> bool:
        return not node.directory.files

    def _end_all(self, *, power: bool) -> None:
        for node in self._cluster.running():
            self._end(node, node.power_off if power else node.kill)

    def _torn(self, node: SimNode) -> None:
        """The power goes between two steps of what the disk is about to do."""
        if not node.process.up:
            return
        life = node.process.life
        node.directory.crash_at = node.directory.operations + self._chance.randrange(1, 12)

        def back() -> None:
            if node.process.life == life and self._stopped:
                return  # all is healed
            if node.process.life == life:  # it has written less than that
                node.directory.crash_at = None
                node.power_off()
            self._restart(node)

        self._after(20, 200, back)

    def _pause(self, node: SimNode) -> None:
        if node.process.up and not node.process.paused:
            node.process.pause()
            self._after(20, 350, partial(self._resume, node, node.process.life))

    def _pause_two(self, node: SimNode) -> None:
        self._pause(node)
        self._pause(self._chance.choice(self._cluster.running() or [node]))

    def _resume(self, node: SimNode, life: int) -> None:
        if node.process.life == life and node.process.paused:
            self._cluster.world.note(f"{node.name} goes on")
            node.process.resume()

    # Members.

    def _churn(self, node: SimNode) -> None:
        """Several are made anew at once: none of them knows what became of the others."""
        names = self._cluster.names()
        for name in self._chance.sample(names, min(len(names), self._chance.randrange(2, 4))):
            self._operator.renew(name)
        for _ in range(4):
            self._after(50, 800, lambda: self._operator.snapshot_at(self._leader_or(node)))

    # Disks.

    def _stall(self, node: SimNode) -> None:
        if node.disk is not None:
            node.disk.stall(stalled=True)
            self._after(20, 400, partial(self._release, node))

    def _release(self, node: SimNode) -> None:
        if node.disk is not None and node.disk.stalled:
            node.disk.stall(stalled=False)

    def _slow(self, node: SimNode) -> None:
        node.slow_disk = self._chance.choice((1, 5, 20))
