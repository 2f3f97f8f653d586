"""One seed: faults for a while, then none. Everything must be safe always, and work in the end.

Rules of this file:
- The safety phase ends with everything healed; from then on deadlines count (G15): a leader, a write
  and a read through every member, equal states everywhere, no change of members left half done.
- Whatever the node's code raises is a violation of its own kind: nothing that happens here is a
  reason for it to end.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from harness.sim.clients import Call, Clients
from harness.sim.cluster import Cluster
from harness.sim.faults import Faults
from harness.sim.node import SimNode
from harness.sim.operator import Operator
from harness.sim.shape import Shape, shape_of
from harness.sim.violation import Violation
from harness.sim.world import World
from node.operations import Operation

SAFETY_TIMEOUTS = 30
"""How long things go wrong, in election timeouts."""
LIVENESS_TIMEOUTS = 60


@dataclass(frozen=True, slots=True)
class Result:
    """What one seed came to."""

    seed: int
    shape: Shape
    violation: Violation | None
    digest: str
    last: list[str]
    events: int
    virtual_ns: int
    committed: int
    succeeded: int
    reads: int
    terms: int
    injected: dict[str, int]


def simulate(
    seed: int, *, length: int = SAFETY_TIMEOUTS, sink: Callable[[str], object] | None = None
) -> Result:
    """Run one seed; `sink` is given every line of the trace."""
    world = World(seed, sink)
    shape = shape_of(world.stream("shape"))
    run = _Run(world, shape)
    violation: Violation | None = None
    try:
        run.all(length)
    except Violation as found:
        violation = found
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what was looked for)
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno} {place.line})"
        violation = Violation("crash", type(error).__name__, text)
        violation.__cause__ = error
    if violation is not None:
        world.note(f"violation {violation}" if violation.oracle != "crash" else "crash")
    return Result(
        seed=seed,
        shape=shape,
        violation=violation,
        digest=world.trace.digest(),
        last=world.trace.tail(),
        events=world.events,
        virtual_ns=world.now_ns,
        committed=run.committed,
        succeeded=run.succeeded,
        reads=run.reads,
        terms=run.terms,
        injected=run.injected,
    )


class _Run:
    """The phases of a simulation."""

    def __init__(self, world: World, shape: Shape) -> None:
        self._world = world
        self._shape = shape
        self.committed = self.succeeded = self.reads = self.terms = 0
        self.injected: dict[str, int] = {}

    def all(self, length: int) -> None:
        """Safety, then liveness."""
        world, shape = self._world, self._shape
        cluster = Cluster(world, shape)
        operator = Operator(cluster, world.stream("operator"))
        clients = Clients(cluster, shape.work, shape.client_timeout_ns)
        faults = Faults(cluster, operator, clients, world.stream("faults"))
        clients.answers_lost = shape.answers_lost
        self.injected = faults.injected
        clients.begin()
        try:
            world.run(3 * shape.timeout_ns)
            faults.begin()
            world.run(length * shape.timeout_ns)
            world.note("heal")
            clients.stop()
            clients.answers_lost = 0
            faults.heal()
            operator.heal()
            _Liveness(cluster, operator, clients).all()
            clients.check_failures()
        finally:
            observers = cluster.observers
            self.committed = observers.committed.last_index
            self.succeeded, self.reads = clients.succeeded, clients.reads
            self.terms = len(observers.elections.leader_of)


class _Liveness:
    """G15: what must happen once nothing is wrong any more."""

    def __init__(self, cluster: Cluster, operator: Operator, clients: Clients) -> None:
        self._cluster = cluster
        self._operator = operator
        self._clients = clients
        self._step_ns = cluster.shape.timeout_ns // 2

    def all(self) -> None:
        """One after the other."""
        self._within("a settled leader and its members", self._is_settled)
        members = self._members()
        lists = [f"list{key}" for key in range(self._cluster.shape.work.keys)]
        waiting: dict[tuple[str, str], Operation] = {}
        for node in members:
            waiting[node.name, ""] = Operation("append", lists[0])
            waiting.update({(node.name, key): Operation("read", key) for key in lists})
        for node_and_key in list(waiting):
            self._ask(waiting, node_and_key)
        self._within("a write and reads at every member", lambda: not waiting)
        self._within("equal states", lambda: self._is_even(members))
        self._within("members that let each other in", lambda: _are_acquainted(members))
        for node in members:
            if node.core.violations:
                text = f"{node.name} met {node.core.violations} messages that cannot be"
                raise Violation("invariant", "violations", text)

    def _ask(self, waiting: dict[tuple[str, str], Operation], whom: tuple[str, str]) -> None:
        """Ask one member until it answers. An answer may yet be lost, if it was asked too soon."""
        operation = waiting[whom]
        if not operation.reads_only:
            operation = operation._replace(value=str(len(self._clients.calls)))

        def answered(call: Call) -> None:
            if call.value is not None and not call.value[0]:
                del waiting[whom]
            else:
                self._cluster.world.after(self._step_ns, lambda: self._ask(waiting, whom))

        self._clients.call(operation, answered, whom[0])

    def _within(self, what: str, holds: Callable[[], bool]) -> None:
        for _ in range(2 * LIVENESS_TIMEOUTS):
            if holds():
                return
            self._cluster.world.run(self._step_ns)
        if not holds():
            raise Violation("liveness", "G15", f"no {what}: {self._shown()}")

    def _is_settled(self) -> bool:
        cluster = self._cluster
        for node in cluster.running():
            if node.disk is not None and node.disk.stalled:
                return False
        found = cluster.configuration()
        if not self._operator.is_idle or found is None:
            return False
        configuration, committed = found
        return committed and not configuration.outgoing and not configuration.promotable

    def _members(self) -> list[SimNode]:
        found = self._cluster.configuration()
        assert found is not None
        members = [self._cluster.nodes[name] for name in found[0].members]
        for node in members:
            if not node.process.up:
                raise Violation("liveness", "G15", f"{node.name} does not start")
        return members

    def _is_even(self, members: list[SimNode]) -> bool:
        states = [node.replica.state for node in members if node.replica is not None]
        return len({(state.applied_index, state.state_hash()) for state in states}) == 1

    def _shown(self) -> str:
        shown = []
        for node in self._cluster.nodes.values():
            if node.replica is None:
                shown.append(f"{node.name} down")
                continue
            core = node.core
            log = core.log
            shown.append(
                f"{node.name} {core.role.value} t{core.term} leader={core.leader}"
                f" commit={core.commit_index} last={log.last_index}"
                f" applied={node.replica.state.applied_index} {log.configuration.voters}"
                f"{log.configuration.outgoing}{log.configuration.learners}"
            )
        return "; ".join(shown)


def _are_acquainted(members: list[SimNode]) -> bool:
    """Does each let the others in? Who does not leads without them one day."""
    return all(
        node is other or node.admits(other.name, other.incarnation)
        for node in members
        for other in members
    )
