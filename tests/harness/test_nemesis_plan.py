"""Plans and grudges: pure, seeded, complete."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nemesis import grudges
from harness.nemesis.plan import ADMINISTRATIVE, DAMAGING, LEADER, VARIANTS, Plan, make_plan
from harness.nemesis.swarm import drawn
from harness.spec import FAULTS
from harness.systems import KINDS as KINDS_OF_SYSTEMS
from harness.systems import possible_faults

SECOND = 1_000_000_000
NODES = ("n1", "n2", "n3", "n4", "n5")
KINDS = FAULTS

clusters = st.integers(min_value=1, max_value=9).map(
    lambda count: tuple(f"n{number}" for number in range(1, count + 1))
)


def plan(seed: int, *, seconds: int = 40, nodes: tuple[str, ...] = NODES) -> Plan:
    return make_plan(
        seed=seed,
        kinds=KINDS,
        nodes=nodes,
        time_limit_ns=seconds * SECOND,
        interval_ns=5 * SECOND,
    )


@given(seed=st.integers(min_value=0, max_value=2**63), nodes=clusters)
def test_a_plan_is_a_function_of_its_seed_and_stays_in_its_time(
    seed: int, nodes: tuple[str, ...]
) -> None:
    made = plan(seed, nodes=nodes)
    assert made == plan(seed, nodes=nodes)
    assert [fault.id for fault in made.faults] == list(range(len(made.faults)))
    for fault in made.faults:
        assert 0 <= fault.start_ns < fault.stop_ns < 40 * SECOND
        assert set(fault.targets) <= {*nodes, LEADER}
        assert sorted(fault.fallback) == sorted(nodes)


@given(seed=st.integers(min_value=0, max_value=2**63))
def test_faults_of_one_kind_never_overlap_and_every_variant_comes_before_any_comes_twice(
    seed: int,
) -> None:
    made = plan(seed, seconds=70)
    for kind in KINDS:
        mine = [fault for fault in made.faults if fault.kind == kind]
        assert len(mine) in (13, 14)  # of fourteen intervals, the first one shifted
        for earlier, later in pairwise(mine):
            assert earlier.stop_ns < later.start_ns
        deck = VARIANTS[kind]
        assert {fault.name for fault in mine[: len(deck)]} == set(deck)
        assert mine[0].name == deck[0]


def test_seeds_differ_and_a_kind_does_not_shift_another() -> None:
    assert plan(1) != plan(2)
    alone = make_plan(
        seed=1, kinds=("clock",), nodes=NODES, time_limit_ns=40 * SECOND, interval_ns=5 * SECOND
    )

    def clocks(made: Plan) -> list[tuple[int, str, object]]:
        return [
            (fault.start_ns, fault.name, fault.parameters)
            for fault in made.faults
            if fault.kind == "clock"
        ]

    assert clocks(alone) == clocks(plan(1))


def test_every_kind_of_the_spec_has_variants_and_the_other_way_round() -> None:
    assert tuple(VARIANTS) == FAULTS
    assert {*ADMINISTRATIVE, *DAMAGING} < set(VARIANTS)


@given(seed=st.integers(min_value=0, max_value=2**63))
def test_operators_faults_strike_one_node_but_for_snapshots_everywhere(seed: int) -> None:
    for fault in plan(seed).faults:
        if fault.kind not in ADMINISTRATIVE:
            continue
        if fault.name == "on-all":
            assert fault.targets == NODES
        elif fault.name.endswith("-leader"):
            assert fault.targets == (LEADER,)
        else:
            assert len(fault.targets) == 1
            assert fault.targets[0] in NODES


@given(seed=st.integers(min_value=0, max_value=2**63))
def test_a_swarm_draws_some_of_what_is_possible_in_the_order_of_the_table(seed: int) -> None:
    chosen = drawn(seed, FAULTS)
    assert 2 <= len(chosen) <= len(FAULTS)
    assert chosen == tuple(kind for kind in FAULTS if kind in chosen)
    assert chosen == drawn(seed, FAULTS)
    assert drawn(seed, ("kill",)) == ("kill",)
    assert drawn(seed, ()) == ()


def test_a_thousand_swarms_draw_every_fault_about_half_of_the_time() -> None:
    swarms = [drawn(seed, FAULTS) for seed in range(1000)]
    for kind in FAULTS:
        assert 430 < sum(kind in chosen for chosen in swarms) < 570
    assert len(set(swarms)) > 400


def test_what_a_system_cannot_have_is_never_drawn() -> None:
    assert "member" not in possible_faults(KINDS_OF_SYSTEMS["raft"], 3)
    assert "member" in possible_faults(KINDS_OF_SYSTEMS["raft"], 5)
    possible = possible_faults(KINDS_OF_SYSTEMS["etcd"], 5)
    assert set(possible).isdisjoint({*ADMINISTRATIVE, *DAMAGING})


@given(seed=st.integers(min_value=0, max_value=2**63), nodes=clusters)
def test_minorities_and_majorities_are_what_they_are_called(
    seed: int, nodes: tuple[str, ...]
) -> None:
    for fault in plan(seed, seconds=60, nodes=nodes).faults:
        assert len(set(fault.targets)) == len(fault.targets) > 0
        if fault.name.endswith("minority") and len(nodes) > 2:
            assert len(fault.targets) * 2 < len(nodes)
        if fault.name.endswith("majority"):
            assert len(fault.targets) == len(nodes) // 2 + 1
        if fault.name in ("kill-all", "pause-all", "rolling"):
            assert sorted(fault.targets) == sorted(nodes)
        if fault.name in ("crash-loop", "flapping"):
            assert 200 <= fault.parameters["period_ms"] <= 800


def test_a_run_shorter_than_its_interval_has_no_faults() -> None:
    assert plan(1, seconds=4).faults == ()


def test_the_plan_on_disk_is_plain_data() -> None:
    import json

    document = plan(9).to_json()
    assert json.loads(json.dumps(document)) == document
    assert {"id", "kind", "name", "start_ns", "stop_ns", "targets", "parameters"} <= set(
        document["faults"][0]
    )


@given(nodes=clusters, seed=st.integers(min_value=0, max_value=1000))
def test_a_complete_grudge_is_symmetric_and_spares_ones_own_group(
    nodes: tuple[str, ...], seed: int
) -> None:
    grudge = grudges.halves(nodes, Random(seed))
    assert set(grudge) == set(nodes)
    for node, dropped in grudge.items():
        assert node not in dropped
        for other in dropped:
            assert node in grudge[other]
    sizes = sorted(len(nodes) - len(dropped) for dropped in grudge.values())
    assert sizes[0] >= len(nodes) // 2


@given(nodes=clusters, seed=st.integers(min_value=0, max_value=1000))
def test_in_a_majorities_ring_everyone_hears_a_majority_and_no_two_the_same(
    nodes: tuple[str, ...], seed: int
) -> None:
    grudge = grudges.majorities_ring(nodes, Random(seed))
    heard = {node: frozenset(nodes) - frozenset(grudge[node]) for node in nodes}
    for node, majority in heard.items():
        assert node in majority
        assert len(majority) == len(nodes) // 2 + 1
    if len(nodes) > 2:
        assert len(set(heard.values())) == len(nodes)


@given(nodes=clusters, seed=st.integers(min_value=0, max_value=1000))
def test_a_bridge_is_heard_by_both_halves_and_hears_them(nodes: tuple[str, ...], seed: int) -> None:
    grudge = grudges.bridge(nodes, Random(seed))
    assert set(grudge) == set(nodes)
    bridges = [node for node in nodes if not any(node in dropped for dropped in grudge.values())]
    assert any(not grudge[node] for node in bridges)
    for node, dropped in grudge.items():
        assert node not in dropped
        for other in dropped:
            assert node in grudge[other]
    if len(nodes) >= 4:
        assert len(bridges) == 1


def test_isolation_and_one_way_cuts() -> None:
    assert grudges.isolate(("a", "b", "c"), "b") == {"b": ("a", "c"), "a": ("b",), "c": ("b",)}
    assert grudges.one_way(("a", "b", "c"), "b", deaf=True) == {"b": ("a", "c")}
    assert grudges.one_way(("a", "b", "c"), "b", deaf=False) == {"a": ("b",), "c": ("b",)}


@pytest.mark.parametrize("count", [3, 5])
def test_halves_of_an_odd_cluster_leave_a_majority(count: int) -> None:
    nodes = tuple(f"n{number}" for number in range(count))
    grudge = grudges.halves(nodes, Random(3))
    largest = max(count - len(dropped) for dropped in grudge.values())
    assert largest == count // 2 + 1
