"""The simulated world itself: time, clocks, processes, links, promises of disks."""

from collections.abc import Mapping
from functools import partial
from random import Random

import pytest

from harness.sim.answers import Answers
from harness.sim.clock import Clock, Process
from harness.sim.cluster import Cluster
from harness.sim.durable import DurableLog
from harness.sim.invariants import is_quorum
from harness.sim.node import address_of
from harness.sim.operator import Operator
from harness.sim.shape import FAULTS, OVERTAKING, shape_of
from harness.sim.violation import Violation
from harness.sim.world import MS, World
from node.admin import AdminRequest
from node.core.membership import Configuration
from node.core.messages import Entry, HardState
from node.operations import Answer, Operation
from node.storage.snapshots import SnapshotMeta
from node.storage.store import Recovered
from node.storage.wal import Batch


def test_equal_times_happen_in_the_order_they_were_asked_for() -> None:
    world = World(1)
    seen: list[int] = []
    for number in range(5):
        world.after(MS, partial(seen.append, number))
    world.after(0, partial(seen.append, -1))
    world.run(2 * MS)
    assert seen == [-1, 0, 1, 2, 3, 4]
    assert world.now_ns == 2 * MS


def test_a_clock_has_its_rate_and_never_jumps() -> None:
    world = World(1)
    clock = Clock(world, 1000, 100_000)
    world.run(10 * MS)
    assert clock.now_ns() == 1000 + 11 * MS
    before = clock.now_ns()
    clock.set_rate(-100_000)
    assert clock.now_ns() == before
    world.run(10 * MS)
    assert clock.now_ns() == before + 9 * MS


def test_a_stopped_process_loses_nothing_and_a_dead_one_everything() -> None:
    world = World(1)
    seen: list[str] = []
    process = Process(world, lambda callback: callback(), Random(1))
    process.begin()
    process.later(MS, partial(seen.append, "timer"))
    process.pause()
    for number in range(3):
        process.arrive("socket", partial(seen.append, str(number)))
    world.run(2 * MS)
    assert seen == []
    process.resume()
    assert sorted(seen) == ["0", "1", "2", "timer"]
    assert [one for one in seen if one != "timer"] == ["0", "1", "2"]
    process.later(MS, partial(seen.append, "never"))
    process.end()
    process.begin()
    world.run(2 * MS)
    assert "never" not in seen


def test_the_same_seed_draws_the_same_world_and_many_draw_every_fault() -> None:
    shapes = [shape_of(World(seed).stream("shape")) for seed in range(60)]
    assert shapes == [shape_of(World(seed).stream("shape")) for seed in range(60)]
    assert {kind for shape in shapes for kind in shape.faults} == {*FAULTS, *OVERTAKING}
    assert {shape.nodes for shape in shapes} == {1, 2, 3, 4, 5, 7}


def cluster_of(seed: int, *, datagrams: bool) -> Cluster:
    """Three nodes that lose nothing."""
    world = World(seed)
    numbers = iter(range(seed, seed + 1000))
    while True:
        shape = shape_of(World(next(numbers)).stream("shape"))
        if shape.nodes == 3 and shape.weather.datagrams is datagrams and not shape.weather.loss:
            shape.weather.duplicate = shape.weather.late = 0
            return Cluster(world, shape)


class Inbox:
    """Takes what comes to a node."""

    def __init__(self) -> None:
        self.documents: list[Mapping[str, object]] = []

    def receive(self, source: str, incarnation: int, document: Mapping[str, object]) -> None:
        self.documents.append(document)


@pytest.mark.parametrize("datagrams", [False, True])
def test_what_was_forwarded_dies_with_the_connection(datagrams: bool) -> None:
    cluster = cluster_of(1, datagrams=datagrams)
    cluster.world.run(cluster.shape.timeout_ns)
    came = Inbox()
    first, second = cluster.nodes["n1"], cluster.nodes["n2"]
    second.receive = came.receive  # type: ignore[method-assign]
    network = cluster.network
    assert network.send(first, "n2", {"type": "forward"})
    network.reset(network.link("n1", "n2"))
    cluster.world.run(50 * MS)
    assert [one for one in came.documents if one["type"] == "forward"] == []
    assert network.send(first, "n2", {"type": "forward"})
    cluster.world.run(50 * MS)
    assert len([one for one in came.documents if one["type"] == "forward"]) == 1


def test_a_connection_keeps_order_and_datagrams_do_not() -> None:
    orders = set()
    for datagrams in (False, True):
        cluster = cluster_of(7, datagrams=datagrams)
        cluster.world.run(cluster.shape.timeout_ns)
        came = Inbox()
        second = cluster.nodes["n2"]
        second.receive = came.receive  # type: ignore[method-assign]
        for number in range(100):
            cluster.network.send(cluster.nodes["n1"], "n2", {"type": "test", "n": number})
        cluster.world.run(200 * MS)
        numbers = [int(str(one["n"])) for one in came.documents if "n" in one]
        orders.add((datagrams, sorted(numbers) == numbers))
        assert len(numbers) >= 100
    assert orders == {(False, True), (True, False)}


def settle(cluster: Cluster) -> None:
    """Until everybody has heard the leader."""
    cluster.world.run(12 * cluster.shape.timeout_ns)
    assert cluster.leader() is not None


def test_the_dialled_one_decides_first_and_remembers_whom_the_other_one_refuses() -> None:
    cluster = cluster_of(1, datagrams=False)
    settle(cluster)
    first, second = cluster.nodes["n1"], cluster.nodes["n2"]
    second.wipe(lost=False)
    second.initialise(("n1", "n2", "n3"))
    second.start()
    assert not second.knows("n1")
    assert not cluster.network.send(first, "n2", {"type": "test"})  # the old connection is gone
    cluster.world.run(2 * cluster.shape.timeout_ns)
    assert not cluster.network.send(first, "n2", {"type": "test"})  # another life is not let in
    assert second.knows("n1")


def test_a_member_is_out_when_that_is_committed_and_nobody_has_it_in_again() -> None:
    cluster = cluster_of(1, datagrams=False)
    settle(cluster)
    leader = cluster.leader()
    assert leader is not None
    name = next(name for name in cluster.names() if name != leader.name)

    def ask(request: AdminRequest) -> None:
        assert leader is not None
        assert leader.replica is not None
        leader.replica.submit_admin(request, lambda answer: None)

    assert not cluster.is_out(name)
    ask(AdminRequest("remove_member", name=name))
    assert not cluster.is_out(name), "it is asked for, no more"
    cluster.world.run(4 * cluster.shape.timeout_ns)
    assert cluster.is_out(name)
    cluster.network.cut = {(leader.name, other) for other in cluster.names()}
    ask(AdminRequest("add_member", name, *address_of(name)))
    cluster.world.run(cluster.shape.timeout_ns // 4)
    assert not cluster.is_out(name), "one log has it in again, though nobody else heard of it"


def test_several_are_made_anew_at_once_and_are_members_in_the_end() -> None:
    cluster = cluster_of(1, datagrams=False)
    operator = Operator(cluster, cluster.world.stream("operator"))
    settle(cluster)
    before = {name: node.incarnation for name, node in cluster.nodes.items()}
    operator.renew("n1")
    operator.renew("n1")  # it is busy with that one
    operator.renew("n2")
    at_once = 0
    for _ in range(400):
        cluster.world.run(cluster.shape.timeout_ns)
        found = cluster.configuration()
        assert found is not None or not operator.is_idle
        at_once = max(at_once, 3 - len(found[0].voters) if found is not None else 0)
        if operator.is_idle:
            break
    assert operator.is_idle
    assert at_once == 2, "both were out together"
    changed = {name for name, node in cluster.nodes.items() if node.incarnation != before[name]}
    assert changed == {"n1", "n2"}
    found = cluster.configuration()
    assert found is not None
    assert found[0].voters == ("n1", "n2", "n3")


def test_quorums_are_counted_in_both_halves() -> None:
    joint = Configuration(voters=("a", "b", "c"), outgoing=("a", "d", "e"))
    assert not is_quorum(joint, ["a", "b"])
    assert is_quorum(joint, ["a", "b", "d"])
    assert not is_quorum(Configuration(voters=("a", "b", "c", "d")), ["a", "b"])
    assert is_quorum(Configuration(voters=("a",)), ["a"])


def entries(first: int, *terms: int) -> tuple[Entry, ...]:
    return tuple(Entry(first + at, term, "") for at, term in enumerate(terms))


def promised() -> DurableLog:
    log = DurableLog("n1")
    log.written(Batch(hard_state=HardState(2, "n1"), entries=entries(1, 1, 1, 2)))
    log.synced()
    log.written(Batch(truncate_from=3, entries=entries(3, 3, 3)))
    return log


@pytest.mark.parametrize("terms", [(1, 1, 2), (1, 1, 3, 3)])
def test_a_crash_may_leave_what_was_synced_or_what_followed(terms: tuple[int, ...]) -> None:
    log = promised()
    log.found(Recovered(HardState(2, "n1"), list(entries(1, *terms))))
    assert log.holds(len(terms), terms[-1])


@pytest.mark.parametrize(
    "found",
    [
        Recovered(HardState(2, "n1"), list(entries(1, 1, 1))),
        Recovered(HardState(2, "n1"), list(entries(1, 1, 1, 3))),
        Recovered(HardState(2, None), list(entries(1, 1, 1, 2))),
        Recovered(HardState(1, None), list(entries(1, 1, 1, 2))),
    ],
)
def test_less_or_a_mixture_is_found_out(found: Recovered) -> None:
    with pytest.raises(Violation, match="G14"):
        promised().found(found)


def test_a_snapshot_keeps_the_suffix_that_agrees_with_it() -> None:
    log = promised()
    log.snapshot_placed(SnapshotMeta(3, 3, ""))
    recovered = Recovered(HardState(2, "n1"), list(entries(4, 3)), base_index=3, base_term=3)
    log.found(recovered)
    assert log.holds(2, 9)  # in the snapshot, whatever its term was
    with pytest.raises(Violation, match="G14"):
        log.found(Recovered(HardState(2, "n1"), list(entries(1, 1, 1, 3, 3))))


def answer(value: str, index: int = 1) -> Answer:
    return Answer("", value, index, 1, "n1")


def test_lists_show_what_is_lost_twice_or_out_of_order() -> None:
    answers = Answers()
    read = Operation("read", "list0")
    for number in (1, 2):
        operation = Operation("append", "list0", str(number))
        answers.succeeded(number, operation, answer(str(number), number), once=True)
    floor = answers.floor()
    answers.read(read, answer("[1,2]", 2), floor)
    for value, rule in (("[1]", "lost"), ("[1,2,1]", "twice"), ("[2,1]", "order")):
        with pytest.raises(Violation, match=rule):
            answers.read(read, answer(value, 2), floor)
    with pytest.raises(Violation, match="failed-yet-there"):
        answers.never([("list0", "2")])


def test_a_register_shows_a_stale_read_and_an_id_that_came_twice() -> None:
    answers = Answers()
    for number in (1, 2):
        operation = Operation("write", "register0", str(number))
        answers.succeeded(number, operation, answer(str(number), number), once=True)
    with pytest.raises(Violation, match="stale"):
        answers.read(Operation("read", "register0"), answer("1", 2), answers.floor())
    answers.succeeded(3, Operation("unique_id", "ids"), answer("7", 3), once=True)
    with pytest.raises(Violation, match="not-unique"):
        answers.succeeded(4, Operation("unique_id", "ids"), answer("7", 4), once=True)
