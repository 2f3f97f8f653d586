"""One member: its data directory survives, the rest is made anew at each start.

Rules of this file:
- What is put together here is what `node.server` puts together; the clock, the process, the disk
  and the network are simulated, nothing else is.
- A node starts only on a directory that `init` made, exactly as the real one.
- Whatever the node's code raises is a finding, but for the end of the power.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Protocol

from harness.sim.clock import Clock, Process
from harness.sim.commit import DiskWatch, SimDisk
from harness.sim.disk import PowerLoss, SimDirectory
from harness.sim.network import Network
from harness.sim.violation import Violation
from harness.sim.world import Callback, World
from node.acquaintances import Acquaintances
from node.core.log import RaftLog
from node.core.membership import Configuration, configuration_from_text
from node.core.messages import Entry
from node.core.raft import Raft
from node.core.settings import Settings
from node.operations import Operation, Result
from node.replica import Replica
from node.state_machine import StateMachine
from node.storage.errors import NotInitialised
from node.storage.identity import Identity, init, load
from node.storage.store import Recovered, Store

CONFIGURATION, CLUSTER = "configuration", "sim"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of every node."""

    settings: Settings
    request_timeout_ns: int
    snapshot_entries: int
    chunk_bytes: int
    segment_bytes: int
    tick_ns: int
    turn_ns: int
    sync_ns: int
    spread: int
    """Election timeouts are drawn from one such part of their range: then elections are contested."""
    snapshot_ns: int = 0
    """A snapshot takes up to so long to be made durable; meanwhile leaders may change."""


class Narrow:
    """A stream of chance that draws from the beginning of a range only."""

    def __init__(self, chance: Random, share: Callable[[], int]) -> None:
        self._chance = chance
        self._share = share

    def randrange(self, start: int, stop: int, /) -> int:
        """An int from the first part of the range."""
        return self._chance.randrange(start, start + max(1, (stop - start) // self._share()))


class NodeWatch(DiskWatch, Protocol):
    """Told all that one node does."""

    def started(self, node: "SimNode", recovered: Recovered) -> None:
        """It found that on its disk."""
        ...

    def applied(self, node: "SimNode", state: StateMachine, entry: Entry) -> None:
        """It applied an entry."""
        ...

    def executed(self, state: StateMachine, operation: Operation) -> None:
        """An operation really was carried out on a state."""
        ...

    def look(self, node: "SimNode") -> None:
        """Something happened in it."""
        ...

    def wiped(self, *, lost: bool) -> None:
        """Its disk is empty; `lost`: though it was a member."""
        ...


class WatchedState(StateMachine):
    """The node's state machine, and who watches it."""

    __slots__ = ("on_applied", "on_executed")

    on_applied: Callable[["WatchedState", Entry], None]
    on_executed: Callable[["WatchedState", Operation], None]

    def apply(self, entry: Entry) -> Result:
        """Carry out the next entry."""
        result = super().apply(entry)
        self.on_applied(self, entry)
        return result

    def _execute(self, operation: Operation) -> Result:
        self.on_executed(self, operation)
        return super()._execute(operation)


class SimNode:
    """A machine with a disk, a clock, and perhaps a process."""

    def __init__(
        self, world: World, name: str, network: Network, options: Options, watch: NodeWatch
    ) -> None:
        self.name = name
        self.chance = world.stream(f"node:{name}")
        self.process = Process(world, self._carry_out, self.chance)
        self.clock = Clock(world, self.chance.randrange(10**9, 10**12), 0)
        self.directory = SimDirectory()
        self.incarnation = 0
        self.vanished = False
        self.down_since_ns = 0
        self.replica: Replica | None = None
        self.disk: SimDisk | None = None
        self.slow_disk = 1
        self.snapshot_ns = options.snapshot_ns
        self.spread = options.spread
        self.strange_to: frozenset[str] = frozenset()
        """Who must not let it in: it lost its disk, was made anew, and they knew the old one."""
        self._world = world
        self._network = network
        self._options = options
        self._watch = watch
        self._woken = False
        self._members: Mapping[str, tuple[str, str]] = {}
        self._guests: dict[str, None] = {}
        self._let_in: dict[str, int] = {}
        self._acquaintances: Acquaintances | None = None
        network.nodes[name] = self

    @property
    def core(self) -> Raft:
        """The consensus module of the present life."""
        assert self.replica is not None
        return self.replica.core

    # Its life.

    def initialise(self, voters: tuple[str, ...], *, join: bool = False) -> None:
        """What `init` does; `join`: of a cluster that exists."""
        names = (self.name,) if join else voters
        start = Configuration(
            voters=() if join else voters, addresses={name: address_of(name) for name in names}
        )
        self.incarnation = self.chance.getrandbits(62)
        self.directory.write_whole(CONFIGURATION, start.to_text().encode("ascii"))
        init(self.directory, Identity(CLUSTER, self.name, self.incarnation))

    def start(self) -> bool:
        """Start the process; False if it refuses, because there are no data."""
        if self.process.up:
            return True
        self.process.begin()
        try:
            self._open()
        except NotInitialised:
            self.process.end()
            return False
        except PowerLoss:
            self.power_off()
            return False
        self._world.note(f"{self.name} starts, life {self.process.life}")
        self.process.later(self.chance.randrange(self._options.tick_ns), self._tick)
        return True

    def kill(self) -> None:
        """SIGKILL: what was written stays in the page cache."""
        self._end(vanished=False, policy="process")

    def power_off(self, policy: str = "") -> None:
        """The power goes: what was not synced may be lost."""
        policies = ("nothing", "all", "prefix", "torn", "names", "anything")
        self._end(vanished=True, policy=policy or self.chance.choice(policies))

    def wipe(self, *, lost: bool) -> None:
        """The machine comes back with an empty disk; `lost`: though it is a member."""
        self._end(vanished=True, policy="nothing")
        self.directory = SimDirectory()
        self._watch.wiped(lost=lost)

    def _end(self, *, vanished: bool, policy: str) -> None:
        self._world.note(f"{self.name} ends: {policy}")
        self.process.end()
        self.vanished = vanished
        self.down_since_ns = self._world.now_ns
        self.replica = None
        self.disk = None
        self.directory = self.directory.after_crash(policy, self.chance)

    def _open(self) -> None:
        options, directory = self._options, self.directory
        identity = load(directory)
        start = configuration_from_text(directory.read(CONFIGURATION).decode("ascii"))
        store = Store.opened(directory, identity, options.segment_bytes)
        recovered = store.recovered
        self._watch.started(self, recovered)
        state, configuration = WatchedState(), start
        if recovered.snapshot is not None:
            assert recovered.image is not None
            state = self._state_of(recovered.image)
            configuration = configuration_from_text(recovered.snapshot.configuration)
        self._watch_state(state)
        now_ns = self.clock.now_ns()
        core = Raft(
            name=self.name,
            settings=options.settings,
            random=Narrow(self._stream("election"), lambda: self.spread),
            hard_state=recovered.hard_state,
            log=RaftLog(
                recovered.entries, recovered.base_index, recovered.base_term, configuration
            ),
            now_ns=now_ns,
        )
        store.release_recovered()
        self._acquaintances = Acquaintances(directory, core, self._event)
        self._members, self._guests, self._let_in = {}, {}, {}
        self._woken = False
        self.disk = SimDisk(
            store=store,
            watch=self._watch,
            state_of=self._state_of,
            later=self.process.later,
            latency_ns=self._sync_ns,
            aside_ns=self._aside_ns,
        )
        self.replica = Replica(
            core=core,
            state=state,
            disk=self.disk,
            network=self,
            clock_ns=self.clock.now_ns,
            wake=self._wake,
            request_timeout_ns=options.request_timeout_ns,
            incarnation=now_ns,
            event=self._event,
            snapshot_entries=options.snapshot_entries,
            chunk_bytes=options.chunk_bytes,
        )

    def _stream(self, purpose: str) -> Random:
        return self._world.stream(f"{purpose}:{self.name}:{self.process.life}")

    def _state_of(self, image: bytes) -> WatchedState:
        state = WatchedState.from_image(image)
        assert isinstance(state, WatchedState)
        self._watch_state(state)
        return state

    def _watch_state(self, state: WatchedState) -> None:
        state.on_applied = partial(self._watch.applied, self)
        state.on_executed = self._watch.executed

    def _sync_ns(self) -> int:
        bits = self.chance.getrandbits(16)
        slow = 8 if bits & 15 == 0 else 1
        return self._options.sync_ns * self.slow_disk * slow * (1 + (bits >> 4 & 3)) // 2

    def _aside_ns(self) -> int:
        more_ns = self.snapshot_ns // 2
        return 2 * self._sync_ns() + more_ns + (self.chance.randrange(more_ns) if more_ns else 0)

    def _event(self, text: str) -> None:
        self._world.note(f"{self.name} {text}")

    # Its turns.

    def _carry_out(self, callback: Callback) -> None:
        try:
            callback()
        except PowerLoss:
            self.power_off()
        else:
            if self.replica is not None:
                self._watch.look(self)

    def _tick(self) -> None:
        assert self.replica is not None
        self.process.later(self.clock.world_ns(self._options.tick_ns), self._tick)
        self.replica.tick()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self.process.later(self._options.turn_ns, self._pump)

    def _pump(self) -> None:
        self._woken = False
        assert self.replica is not None
        self.replica.pump()

    # Its network.

    def send(self, target: str, document: Mapping[str, object]) -> bool:
        """False if it certainly was not sent."""
        return self._network.send(self, target, document)

    def set_members(self, addresses: Mapping[str, tuple[str, str]]) -> None:
        """Speak to these."""
        self._members = addresses

    def may_speak_to(self, name: str) -> bool:
        """Members, and who has spoken to it."""
        return name in self._members or name in self._guests

    def welcomes(self, stranger: "SimNode") -> bool:
        """Another node dials this one. Who is let in and is no member is called back.

        The dialled one decides first, as in the transport: it may remember whom it welcomes though
        the other one refuses it then.
        """
        welcomed: list[str] = []

        def decide() -> None:
            if self.admits(stranger.name, stranger.incarnation):
                welcomed.append(stranger.name)
                if stranger.name not in self._members:
                    self._guests[stranger.name] = None

        self.process.arrive(stranger.name, decide)  # here its power may fail
        return bool(welcomed)

    def admits(self, name: str, incarnation: int) -> bool:
        """Is that life of another node let in? Asked at each connection."""
        assert self._acquaintances is not None
        admitted = self._acquaintances.admit(name, incarnation)
        if admitted:
            self._let_in[name] = incarnation
        else:
            self._let_in.pop(name, None)
        return admitted

    def knows(self, name: str) -> bool:
        """Has it met a life of that member, as the member that it is now?"""
        if self.replica is None or self._acquaintances is None:
            return False
        generation = self.core.log.configuration.generations.get(name, 0)
        return f"{name}@{generation}" in self._acquaintances._known

    def receive(self, source: str, incarnation: int, document: Mapping[str, object]) -> None:
        """A message of another node came."""
        if self.replica is None:
            return
        if self._let_in.get(source) != incarnation and not self.admits(source, incarnation):
            self._network.refused(source, self.name)
            return
        stranger = self._network.nodes[source]
        if (
            self.name in stranger.strange_to
            and incarnation == stranger.incarnation
            and source in self.core.log.configuration.members
        ):
            text = f"{self.name} lets {source} in, which has lost its disk"
            raise Violation("invariant", "G14", text)
        if source not in self._members:
            self._guests[source] = None
        self._world.note(_shown(source, self.name, document))
        self.replica.receive(source, document)

    def peer(self, name: str) -> "SimNode | None":
        """Another node, if it runs."""
        node = self._network.nodes.get(name)
        return node if node is not None and node.replica is not None else None

    def lost(self, other: str) -> None:
        """The connection to another node broke."""
        if self.replica is not None:
            self.replica.peer_lost(other)


def address_of(name: str) -> tuple[str, str]:
    """Peer and client address of a node."""
    return f"{name}:1", f"{name}:2"


def _shown(source: str, target: str, document: Mapping[str, object]) -> str:
    shown = []
    for value in document.values():
        kind = type(value)
        if kind is list:
            shown.append(f"[{len(value)}]")  # type: ignore[arg-type]
        elif kind is not str or len(value) < 20:  # type: ignore[arg-type]
            shown.append(str(value))
    return f"{source}>{target} {' '.join(shown)}"
