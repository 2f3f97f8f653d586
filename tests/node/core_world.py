"""Several pure cores under a random schedule: what Raft itself decides, without server and storage.

Rules of this file:
- One seed decides everything: sizes, faults, and the order of all events.
- Everything that Raft allows may happen: any server may stand at any time, messages come late, twice
  or never, clocks differ, nodes stop, crash and start again with what is durable.
- In the end there is a calm, in which everything must come right.
- By itself: `python core_world.py FIRST LAST` runs seeds and prints those that fail.
"""

import heapq
import random
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

from core_node import Node
from core_observer import Observer, check

from node.core.membership import Configuration, NotAllowed
from node.core.messages import Message
from node.core.settings import MS, Role, Settings


class World:
    """The cluster, its network, and what goes wrong."""

    def __init__(self, seed: int, calm_after_ms: int = 1500) -> None:
        chance = self.chance = random.Random(seed)
        self.now_ns = 0
        self.calm = False
        self.observer = Observer()
        self.count: Counter[str] = Counter()
        self.floors: dict[int, int] = {}
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._events = 0
        self._proposed = 0
        self._calm_after_ns = calm_after_ms * MS
        leases = chance.random() < 0.5
        self.drift = chance.random() < 0.5
        self.lazy = chance.random() < 0.4
        self.settings = Settings(
            election_timeout_ns=100 * MS,
            heartbeat_interval_ns=20 * MS,
            append_entries_max=chance.choice((1, 2, 8)),
            inflight_max=chance.choice((1, 3, 8)),
            leases=leases,
        )
        self.disk_delay_ns = chance.choice((0, 1, 5, 30)) * MS
        self.net_delay_ns = chance.choice((1, 5, 20, 60)) * MS
        self.loss = chance.choice((0.0, 0.02, 0.1, 0.25))
        self.duplication = chance.choice((0.0, 0.05, 0.2))
        self.late = chance.choice((0.0, 0.02, 0.1))
        kinds = ("crash", "cut", "member", "oneway", "pause", "snapshot", "stand", "transfer")
        self.faults = chance.sample(kinds, chance.randint(1, len(kinds)))
        self.pace_ms = chance.choice((8, 20, 50))
        self.cut: set[tuple[str, str]] = set()
        voters = tuple("abcde"[: chance.choice((1, 2, 3, 3, 4, 5))])
        addresses = {name: (f"{name}:1", f"{name}:2") for name in voters}
        first = Configuration(voters, addresses=addresses)
        strangers = "fgh"[: chance.choice((1, 2, 3))] if "member" in self.faults else ""
        self.nodes: dict[str, Node] = {}
        for name in (*voters, *strangers):
            self.nodes[name] = Node(self, name, first if name in voters else Configuration())
        self.at(MS, self._clients)
        self.at(30 * MS, self._nemesis)
        self.at(self._calm_after_ns, self._heal)

    # Time and messages.

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        self._events += 1
        heapq.heappush(self._heap, (when_ns, self._events, action))

    def run(self, until_ms: int) -> None:
        while self._heap and self._heap[0][0] <= until_ms * MS:
            self.now_ns, _, action = heapq.heappop(self._heap)
            action()

    def send(self, message: Message) -> None:
        self.count["messages"] += 1
        if (message.source, message.target) in self.cut:
            return  # what left before the cut still arrives, perhaps late
        if self.calm:
            self._deliver_in(MS, message)
            return
        chance = self.chance
        for _ in range(2 if chance.random() < self.duplication else 1):
            if chance.random() >= self.loss:
                late_ns = 400 * MS if chance.random() < self.late else 0
                self._deliver_in(
                    chance.randrange(self.net_delay_ns + 1) + late_ns * chance.random(), message
                )

    def _deliver_in(self, delay_ns: float, message: Message) -> None:
        def arrive() -> None:
            node = self.nodes[message.target]
            if node.up:
                node.later(0, partial(node.receive, message))

        self.at(self.now_ns + int(delay_ns), arrive)

    # Clients.

    def _clients(self) -> None:
        for node in self.nodes.values():
            if not node.up or self.now_ns < node.paused_until_ns:
                continue
            core = node.core
            if core.has_lease(node.clock_ns()):
                self.count["leases"] += 1
                check(
                    core.commit_index >= self.observer.top,
                    f"{node.name} has a lease at {core.commit_index}, not {self.observer.top}",
                )
            if core.role is Role.LEADER and self.chance.random() < 0.7:
                for _ in range(1 if self.calm else self.chance.randrange(1, 4)):
                    self._proposed += 1
                    core.propose(f"p{self._proposed}")
                node.pump()
            if self.chance.random() < (0.5 if core.role is Role.LEADER else 0.1):
                context = len(self.floors) + self._events
                self.floors[context] = self.observer.top
                core.read(context)
                node.pump()
        rest_ms = 40 if self.calm else self.chance.randrange(5, 25)
        self.at(self.now_ns + rest_ms * MS, self._clients)

    # What goes wrong.

    def _nemesis(self) -> None:
        if self.calm:
            return
        if self.faults:
            getattr(self, "_" + self.chance.choice(self.faults))()
        self.at(self.now_ns + self.chance.randrange(2, 2 * self.pace_ms) * MS, self._nemesis)

    def _some(self) -> Node:
        return self.nodes[self.chance.choice(sorted(self.nodes))]

    def _leader(self) -> Node | None:
        leaders = [n for n in self.nodes.values() if n.up and n.core.role is Role.LEADER]
        return self.chance.choice(leaders) if leaders else None

    def _crash(self) -> None:
        node = self._some()
        if node.up:
            node.crash()
            self.count["crashes"] += 1
            delay_ns = self.chance.choice((0, 1, 20, 200)) * MS
            self.at(self.now_ns + delay_ns, lambda: None if node.up else node.start())
            leader = self._leader()
            if leader is not None:
                self._part_soon({leader.name})

    def _pause(self) -> None:
        node = self._leader() or self._some()
        node.paused_until_ns = self.now_ns + self.chance.choice((20, 120, 300)) * MS

    def _cut(self) -> None:
        """Two sides, often with a leader alone on one, or none again."""
        leader = self._leader()
        if self.chance.random() < 0.4:
            self.cut = set()
        elif leader is not None and self.chance.random() < 0.5:
            self._part({leader.name})
        else:
            self._part({name for name in sorted(self.nodes) if self.chance.random() < 0.5})

    def _part(self, side: set[str]) -> None:
        names = sorted(self.nodes)
        self.cut = {(a, b) for a in names for b in names if (a in side) != (b in side)}

    def _part_soon(self, side: set[str]) -> None:
        """Some trouble needs a cut at the right moment."""
        if self.chance.random() < 0.4 and not {"cut", "oneway"}.isdisjoint(self.faults):
            delay_ns = self.chance.randrange(2 * self.net_delay_ns + 1)
            self.at(self.now_ns + delay_ns, lambda: None if self.calm else self._part(side))

    def _oneway(self) -> None:
        one, other = self._some(), self._some()
        self.cut ^= {(one.name, other.name)}

    def _stand(self) -> None:
        """Raft is safe whenever anybody's time is up; pre-vote hides much of that.

        Only with leases is a server bound to the leader that it heard.
        """
        for node in (self._some(), self._some()):
            core = node.core
            loyal = self.settings.leases and core._hears_leader(core.name)
            patient = loyal or core.role is not Role.FOLLOWER
            if node.up and not patient and core._may_stand():
                core._campaign(Role.CANDIDATE)
                self.count["stands"] += 1
                node.pump()

    def _member(self) -> None:
        node = self._leader()
        if node is None or not node.core.may_change():
            return
        configuration, name = node.core.log.configuration, self._some().name
        others = sorted(self.nodes)
        try:
            if self.chance.random() < 0.5:
                to = _replacing(configuration, self.chance.sample(others, min(3, len(others))))
            elif name in configuration.members:
                to = configuration.without(name)
            else:
                to = configuration.with_member(name, f"{name}:1", f"{name}:2")
        except NotAllowed:
            return
        check(node.core.change(to) is not None, f"{node.name} may change and cannot")
        self.count["changes"] += 1
        node.pump()
        away = {name for name in others if name not in to.voters or self.chance.random() < 0.2}
        self._part_soon(away - {node.name})

    def _transfer(self) -> None:
        node = self._leader()
        if node is not None and node.core.transfer(self._some().name):
            self.count["transfers"] += 1
            node.pump()
            self._part_soon({node.name})

    def _snapshot(self) -> None:
        for node in (self._some(), self._leader()):
            if node is not None and node.up:
                node.snapshot()
                node.pump()

    # The end: nothing goes wrong any more, so everything must come right.

    def _heal(self) -> None:
        self.calm = True
        self.cut = set()
        for node in self.nodes.values():
            node.paused_until_ns = 0
            if not node.up:
                node.start()

    def finish(self) -> None:
        """Run to the calm, then ask for a leader, commits, and equal states everywhere."""
        self.run(self._calm_after_ns // MS + 400)
        before = self.observer.top
        self.run(self._calm_after_ns // MS + 1500)
        leaders = [n for n in self.nodes.values() if n.core.role is Role.LEADER]
        check(bool(leaders), "no leader in the calm")
        leader = max(leaders, key=lambda node: node.core.term)
        configuration = leader.core.log.configuration
        check(self.observer.top > before, "nothing commits in the calm")
        check(not configuration.is_joint, "a joint configuration is never left")
        check(not configuration.promotable, f"{configuration.promotable} never became voters")
        for name in configuration.members:
            behind = self.observer.top - self.nodes[name].applied
            check(behind < 20, f"{name} is {behind} entries behind in the calm")
        self.count["committed"] = self.observer.top
        self.count["violations"] = sum(n.core.violations for n in self.nodes.values())
        check(self.count["violations"] == 0, "a core saw what cannot be")


def _replacing(now: Configuration, voters: list[str]) -> Configuration:
    """All voters at once, whether they hold anything or not: only both majorities make that safe."""
    learners = tuple(name for name in now.learners if name not in voters)
    return Configuration(tuple(sorted(voters)), now.voters, learners, (), now.addresses)


def run_seed(seed: int) -> Counter[str]:
    """A whole story; raises `Violation` if a promise was broken."""
    world = World(seed)
    try:
        world.finish()
    except (AssertionError, LookupError) as error:
        error.add_note(f"seed {seed} at {world.now_ns / MS:.1f} ms")
        raise
    return world.count


def main(first: int, last: int) -> int:
    """Print the failing seeds and what was seen in all."""
    total: Counter[str] = Counter()
    failed = 0
    for seed in range(first, last):
        try:
            total += run_seed(seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            failed += 1
            sys.stdout.write(f"seed {seed}: {type(error).__name__}: {error}\n")
    sys.stdout.write(f"{failed} of {last - first} failed; {dict(total)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
