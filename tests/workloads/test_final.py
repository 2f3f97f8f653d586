"""The last changes: each key's turn comes, a few tries each, never the same value twice."""

from collections import Counter

import pytest

from checker.history import EventType
from workloads.catalogue import WORKLOADS, workload_named
from workloads.data import changes, objects_of
from workloads.final import Change, change_each
from workloads.generator import Invocation, Reply, SimulatedClient, perfect, simulate
from workloads.workload import Setting

MS = 1_000_000
SETTING = Setting(seed=1, keys=7, threads=3, nodes=3)
# Those whose changes depend on what is there: a transfer, an insert, a key that is written once.
WITHOUT = {"bank", "long-fork", "write-skew"}


def last_changes(client: SimulatedClient) -> list[tuple[str | None, object]]:
    source = change_each(SETTING, 7, lambda number, value: Change("write", value, f"k{number}"))
    operations = simulate(source, client, threads=3).operations()
    return [(one.key, one.input) for one in operations]


def test_every_key_is_changed_once_if_all_goes_well() -> None:
    made = last_changes(perfect(MS))
    assert Counter(key for key, _ in made) == dict.fromkeys((f"k{n}" for n in range(7)), 1)


@pytest.mark.parametrize("kind", [EventType.FAIL, EventType.INFO])
def test_what_is_refused_or_in_doubt_is_tried_again_with_another_value(kind: EventType) -> None:
    asked = []

    def stubborn(invocation: Invocation, _number: int) -> Reply:
        asked.append(invocation)
        good = len(asked) > 9
        return Reply(EventType.OK if good else kind, invocation.value, MS)

    made = last_changes(stubborn)
    assert len(made) == 7 + 9
    assert len({value for _, value in made}) == len(made)
    assert all(isinstance(value, int) and value < 0 for _, value in made)


def test_a_store_that_never_answers_is_not_asked_for_ever() -> None:
    made = last_changes(lambda invocation, _: Reply(EventType.INFO, invocation.value, MS))
    assert Counter(key for key, _ in made) == dict.fromkeys((f"k{n}" for n in range(7)), 5)


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - WITHOUT))
def test_a_workload_changes_something_last_and_every_node_can_be_asked_to(name: str) -> None:
    workload = workload_named(name)
    operations = simulate(workload.final(SETTING), perfect(MS), threads=3).operations()
    assert any(changes(one.f, one.input) for one in operations)
    assert workload.change is not None
    assert changes(workload.change.f, workload.change.value)
    assert name == "unique-ids" or not changes(workload.probe.f, workload.probe.value)


def test_a_transaction_changes_what_its_steps_change() -> None:
    steps = [["r", "a", None], ["compare", "b", 1], ["w", "c", 2], ["r", "c", None]]
    assert changes("txn", steps)
    assert objects_of("txn", None, steps) == {"a": False, "b": False, "c": True}
    assert not changes("txn", steps[:2])
    assert objects_of("read", "k0", None) == {"k0": False}
    assert objects_of("generate", None, None) == {"generate": True}
