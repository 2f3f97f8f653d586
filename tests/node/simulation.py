"""A cluster of replicas in one thread and virtual time, with everything that can go wrong.

Rules of this file:
- One seed decides everything. What runs is `node.replica` with the real write-ahead log; only the
  clock, the network and the file below the log are simulated.
- Raft's properties are checked at every event (`ghosts.py`), and what clients may conclude here.
- It can be run by itself against another copy of the node: `python simulation.py FIRST LAST`.
"""

import heapq
import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ghosts import Ghosts, GhostState, Violation, check

from node.core.log import RaftLog
from node.core.messages import Json
from node.core.raft import Raft
from node.core.settings import MS, Role, Settings
from node.operations import FAILURES, Answer, Operation
from node.replica import Replica
from node.storage.wal import Batch, Wal

TICK_NS = 5 * MS
SETTINGS = Settings(
    election_timeout_ns=100 * MS,
    heartbeat_interval_ns=20 * MS,
    append_entries_max=4,
    inflight_max=4,
)
KEYS = ("x", "y")


class SimFile:
    """A file whose bytes are lost at a crash, in part, unless they were synced."""

    def __init__(self) -> None:
        self.content = b""
        self.durable_bytes = 0

    def read(self) -> bytes:
        return self.content

    def append(self, data: bytes) -> None:
        self.content += data

    def truncate(self, size: int) -> None:
        self.content = self.content[:size]
        self.durable_bytes = min(self.durable_bytes, size)

    def sync(self) -> None:
        self.durable_bytes = len(self.content)

    def crash(self, chance: random.Random) -> None:
        """Keep a part of what was not synced, sometimes damaged."""
        kept = chance.randrange(self.durable_bytes, len(self.content) + 1)
        content = bytearray(self.content[:kept])
        if kept > self.durable_bytes and chance.random() < 0.3:
            content[chance.randrange(self.durable_bytes, kept)] ^= 1 << chance.randrange(8)
        self.content = bytes(content)


class SimNode:
    """One member: its file survives, the rest is made anew at each start."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.file = SimFile()
        self.life = 0
        self.up = False
        self.paused = False
        self.held: list[Callable[[], None]] = []
        self.socket: list[Callable[[], None]] = []
        self.replica: Replica | None = None
        self.wal: Wal | None = None
        self.disk_free_ns = 0

    def start(self) -> None:
        world = self.world
        self.life += 1
        self.up = True
        self.paused = False
        self.held = []
        self.socket = []
        self.wal = Wal(self.file, name=self.name, members=world.names)
        recovered = self.wal.recovered
        acknowledged = world.ghosts.durable.get(self.name, [])
        check(
            recovered.entries[: len(acknowledged)] == acknowledged,
            f"{self.name} restarted without entries it had made durable",
        )
        world.ghosts.durable[self.name] = list(recovered.entries)
        core = Raft(
            name=self.name,
            members=world.names,
            settings=SETTINGS,
            random=world.chance_of(f"election:{self.name}:{self.life}"),
            hard_state=recovered.hard_state,
            log=RaftLog(recovered.entries),
            now_ns=world.now_ns,
        )
        self.replica = Replica(
            core=core,
            state=GhostState(world.ghosts, core),
            disk=self,
            network=SimLink(world, self.name),
            clock_ns=lambda: world.now_ns,
            wake=partial(self.later, 0, self.pump),
            request_timeout_ns=600 * MS,
            incarnation=world.now_ns,
            event=lambda text: None,
        )
        self.later(0, self.tick)

    def crash(self) -> None:
        self.up = False
        self.life += 1
        self.replica = None
        self.file.crash(self.world.disk_chance)

    def later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        """Run in this life, and not while stopped."""
        life = self.life

        def run() -> None:
            if life != self.life:
                return
            if self.paused:
                self.held.append(run)
            else:
                callback()

        self.world.after(delay_ns, run)

    def arrive(self, callback: Callable[[], None]) -> None:
        """Something came through a socket."""
        if self.paused:
            self.socket.append(partial(self.later, 0, callback))
        else:
            self.later(0, callback)

    def resume(self) -> None:
        """What came while the process was stopped waits in many sockets: any of them comes first."""
        self.paused = False
        held, self.held = self.held, []
        socket, self.socket = self.socket, []
        self.world.net_chance.shuffle(socket)
        for run in [*held, *socket]:
            run()

    def tick(self) -> None:
        assert self.replica is not None
        self.later(TICK_NS, self.tick)
        self.replica.tick()

    def pump(self) -> None:
        if self.replica is not None:
            self.replica.pump()
            self.observe()

    def observe(self) -> None:
        assert self.replica is not None
        if self.replica.core.role is Role.LEADER:
            self.world.ghosts.on_leader(self.replica.core)

    def submit(self, batch: Batch, done: Callable[[], None]) -> None:
        """The disk of the replica."""
        world, wal, replica = self.world, self.wal, self.replica
        assert wal is not None
        assert replica is not None
        for position, entry in enumerate(batch.entries):
            before = (
                replica.core.log.term(entry.index - 1)
                if position == 0
                else batch.entries[position - 1].term
            )
            world.ghosts.on_append(entry, before)
        if not batch.is_empty():
            wal.append(batch)
        latency_ns = world.disk_chance.choice((1, 2, 3, 30)) * MS
        self.disk_free_ns = max(self.disk_free_ns, world.now_ns) + latency_ns

        def durable() -> None:
            if self.wal is wal:
                if not batch.is_empty():
                    wal.sync()
                world.ghosts.on_durable(self.name, batch)
                done()

        self.later(self.disk_free_ns - world.now_ns, durable)


@dataclass
class SimLink:
    """The sending side of one node."""

    world: "World"
    name: str

    def send(self, target: str, document: Mapping[str, Json]) -> bool:
        world, chance = self.world, self.world.net_chance
        if document.get("type") == "vote_reply" and document["granted"]:
            term = document["term"]
            assert isinstance(term, int)
            world.ghosts.on_vote(self.name, term, target)
        copies = 2 if chance.random() < world.duplicate else 1
        receive = partial(self.arrive, target, json.dumps(document))
        if document.get("type") == "forward":
            # Raft bears everything; forwards rely on a connection, which a restart breaks.
            receive = partial(self.arrive_in_life, target, world.nodes[target].life, receive)
        for _ in range(copies):
            if chance.random() >= world.loss:
                delay_ns = chance.randrange(1, 8) * MS
                if chance.random() < 0.02:
                    delay_ns *= 20  # late enough to come from another leadership
                world.after(delay_ns, receive)
        return True

    def arrive_in_life(self, target: str, life: int, receive: Callable[[], None]) -> None:
        if self.world.nodes[target].life == life:
            receive()

    def arrive(self, target: str, text: str) -> None:
        node = self.world.nodes[target]
        if node.up and (self.name, target) not in self.world.cut:
            node.arrive(partial(self.receive, node, text))

    def receive(self, node: SimNode, text: str) -> None:
        assert node.replica is not None
        node.replica.receive(self.name, json.loads(text))


class World:
    """Virtual time, the network, the nodes, and the clients."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ns = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        chance = self.chance_of("shape")
        self.names = tuple(f"n{i}" for i in range(1, 1 + chance.choice((3, 3, 5))))
        self.loss = chance.choice((0.0, 0.02, 0.1))
        self.duplicate = chance.choice((0.0, 0.05))
        self.net_chance = self.chance_of("net")
        self.disk_chance = self.chance_of("disk")
        self.cut: set[tuple[str, str]] = set()
        self.ghosts = Ghosts(len(self.names))
        self.nodes = {name: SimNode(self, name) for name in self.names}
        self.clients = Clients(self)
        for node in self.nodes.values():
            node.start()

    def chance_of(self, purpose: str) -> random.Random:
        return random.Random(f"{self.seed}:{purpose}")

    def after(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now_ns + delay_ns, self._count, callback))

    def run(self, duration_ns: int) -> None:
        end_ns = self.now_ns + duration_ns
        while self._events and self._events[0][0] <= end_ns:
            self.now_ns, _, callback = heapq.heappop(self._events)
            callback()
        self.now_ns = end_ns

    def fault(self, chance: random.Random) -> None:
        """Let one thing go wrong, or right again."""
        nodes = list(self.nodes.values())
        leader = next((n for n in nodes if n.replica and n.replica.core.role is Role.LEADER), None)
        node = leader if leader is not None and chance.random() < 0.4 else chance.choice(nodes)
        kind = chance.choice(("isolate", "halves", "one-way", "heal", "crash", "pause", "start"))
        if kind == "isolate":
            self.cut = {(a, b) for a in self.names for b in self.names if node.name in (a, b)}
        elif kind == "halves":
            side = set(chance.sample(self.names, len(self.names) // 2))
            self.cut = {
                (a, b) for a in self.names for b in self.names if (a in side) != (b in side)
            }
        elif kind == "one-way":
            self.cut = {(node.name, other) for other in self.names}
            if chance.random() < 0.5:
                self.cut = {(b, a) for a, b in self.cut}
        elif kind == "heal":
            self.cut = set()
        elif kind == "crash" and node.up:
            node.crash()
            # Often back before anybody has missed it.
            self.after(chance.choice((1, 20, 300)) * MS, partial(self._restart, node))
        elif kind == "pause" and node.up and not node.paused:
            node.paused = True
            self.after(chance.choice((50, 150, 400)) * MS, partial(self._resume, node, node.life))

    def _restart(self, node: SimNode) -> None:
        if not node.up:
            node.start()

    def _resume(self, node: SimNode, life: int) -> None:
        if node.life == life:
            node.resume()

    def heal(self) -> None:
        self.cut = set()
        self.loss = 0.0
        for node in self.nodes.values():
            self._restart(node)
            if node.paused:
                node.resume()


@dataclass
class Call:
    """One operation of a client."""

    operation: Operation
    invoked_ns: int
    floor: int
    answer: Answer | None = None


class Clients:
    """Operations on a few keys, each value written once, checked against the order of the log."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance_of("clients")
        self.calls: list[Call] = []
        self.floor = dict.fromkeys(KEYS, 0)
        self.completed = 0

    def call(self, node: SimNode, op: str = "") -> Call | None:
        if not node.up or node.replica is None:
            return None
        key = self.chance.choice(KEYS)
        value = str(len(self.calls))
        op = op or self.chance.choice(("read", "write"))
        operation = Operation(op, key, value) if op == "write" else Operation(op, key)
        call = Call(operation, self.world.now_ns, self.floor[key])
        self.calls.append(call)
        node.arrive(partial(self._submit, node, call))
        return call

    def _submit(self, node: SimNode, call: Call) -> None:
        assert node.replica is not None
        node.replica.submit(call.operation, partial(self._answered, call))

    def _answered(self, call: Call, answer: Answer) -> None:
        check(call.answer is None, "an operation was answered twice")
        call.answer = answer
        if answer.error:
            return
        self.completed += 1
        key = call.operation.key
        committed = self.world.ghosts.committed
        if call.operation.op == "write":
            entry = committed.get(answer.index)
            check(
                entry is not None
                and entry.term == answer.term
                and entry.data == call.operation.to_text(),
                f"acknowledged at {answer.index}, but that is not what was committed there",
            )
            at = answer.index
            check(at > call.floor, f"write at {at} although {call.floor} was done before it began")
        else:
            at = self._index_of(key, answer.value)
            check(
                at >= call.floor,
                f"stale read of {key}: {answer.value}, written at {at}, not {call.floor}",
            )
        self.floor[key] = max(self.floor[key], at)

    def _index_of(self, key: str, value: str) -> int:
        """Where the value that was read had been committed."""
        if value == "null":
            return 0
        text = Operation("write", key, value).to_text()
        for index, entry in self.world.ghosts.committed.items():
            if entry.data == text:
                return index
        raise Violation(f"{key} was read as {value}, which was never committed")

    def check_definite(self) -> None:
        """What was said not to happen did not happen, and nothing happened twice."""
        committed = [entry.data for entry in self.world.ghosts.committed.values() if entry.data]
        check(len(committed) == len(set(committed)), "an operation was carried out twice")
        for call in self.calls:
            if call.answer is not None and call.answer.error and call.operation.op == "write":
                definite = FAILURES[call.answer.error].definite
                happened = call.operation.to_text() in committed
                check(not (definite and happened), f"{call.answer.error}, yet it was committed")


def simulate(seed: int, *, steps: int = 60) -> World:
    """Faults for a while, then none: everything must be safe always and work in the end."""
    world = World(seed)
    chance = world.chance_of("faults")
    world.run(250 * MS)
    for _ in range(steps):
        if chance.random() < 0.25:
            world.fault(chance)
        for _ in range(chance.randrange(4)):
            world.clients.call(chance.choice(list(world.nodes.values())))
        world.run(chance.choice((5, 20, 60)) * MS)
    world.heal()
    world.run(1200 * MS)
    final = [
        world.clients.call(node, op) for op in ("write", "read") for node in world.nodes.values()
    ]
    world.run(800 * MS)
    for call in final:
        check(
            call is not None and call.answer is not None and call.answer.error == "",
            f"after healing: {call}",
        )
    states = {n.replica.status().state_hash for n in world.nodes.values() if n.replica}
    applied = {n.replica.status().applied_index for n in world.nodes.values() if n.replica}
    check(len(states) == 1 and len(applied) == 1, f"no convergence: {applied}")
    check(
        all(n.replica is not None and n.replica.core.violations == 0 for n in world.nodes.values()),
        "a node met a message that cannot be",
    )
    world.clients.check_definite()
    return world


def main() -> int:
    """Run seeds; print the first violation."""
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            simulate(seed)
        except AssertionError as error:
            sys.stdout.write(f"seed {seed}: {type(error).__name__}: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
