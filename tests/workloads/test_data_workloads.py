"""The workloads of single objects, played against a store that does right or wrong."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from object_store import Store, reliable, unreliable

from checker.budget import Budget
from checker.history import Event, EventType, History
from checker.verdict import Verdict
from workloads.catalogue import workload_named
from workloads.data import changes
from workloads.fresh_keys import GENERATION
from workloads.generator import (
    Generator,
    SimulatedClient,
    crashing,
    imperfect,
    limit,
    phases,
    simulate,
)
from workloads.workload import Setting

OK, INVOKE = EventType.OK, EventType.INVOKE
NAMES = ("register", "key-value", "list-append", "set", "counter", "queue")
LATENCY_NS = 10_000_000
every_workload = pytest.mark.parametrize("name", NAMES)


def played(
    name: str,
    client: Callable[[Store], SimulatedClient] = lambda store: reliable(store, LATENCY_NS),
    *,
    bug: str = "",
    operations: int = 900,
    seed: int = 1,
    keys: int = 2,
) -> History:
    """The load, then the final phase, of six threads on three nodes."""
    workload = workload_named(name)
    setting = Setting(seed=seed, keys=keys, threads=6, nodes=3)
    whole: Generator = phases(limit(operations, workload.load(setting)), workload.final(setting))
    return simulate(whole, client(Store(workload.data, bug)), threads=6, seed=seed)


def verdicts(name: str, history: History) -> set[Verdict]:
    checks = workload_named(name).checks
    return {check.judge(history, Budget.unlimited()).verdict for check in checks}


def acknowledged(history: History) -> Counter[str]:
    return Counter(event.f for event in history.events if event.type is OK)


def asked(history: History, *functions: str) -> list[Event]:
    return [e for e in history.events if e.type is INVOKE and e.f in functions]


@every_workload
def test_a_store_that_does_right_is_valid_and_everything_is_tried(name: str) -> None:
    history = played(name)
    assert verdicts(name, history) == {Verdict.VALID}
    assert acknowledged(history).keys() == set(workload_named(name).functions)
    assert min(acknowledged(history).values()) > 20


@every_workload
def test_so_is_one_whose_clients_are_in_doubt(name: str) -> None:
    history = played(name, lambda store: unreliable(store, LATENCY_NS), operations=600)
    assert verdicts(name, history) == {Verdict.VALID}
    assert acknowledged(history).keys() == set(workload_named(name).functions)


@every_workload
def test_clients_of_which_all_crash_show_nothing(name: str) -> None:
    history = played(name, lambda _: crashing(), operations=200)
    assert verdicts(name, history) == {Verdict.VALID}
    assert not acknowledged(history)


@every_workload
def test_answers_that_nobody_thought_of_end_no_generator(name: str) -> None:
    """All reads of this client answer nothing: lost updates, and generators that go on."""
    history = played(name, lambda _: imperfect(), operations=300)
    assert verdicts(name, history) == {Verdict.INVALID}


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("register", "a write is lost"),
        ("register", "a cas does not compare"),
        ("key-value", "a write is lost"),
        ("key-value", "a cas does not compare"),
        ("key-value", "an append is lost"),
        ("key-value", "a delete is forgotten"),
        ("key-value", "keys vanish early"),
        ("list-append", "an append is lost"),
        ("set", "an add is lost"),
        ("set", "a remove is forgotten"),
        ("counter", "an add is lost"),
        ("queue", "a value is handed out twice"),
        ("queue", "the newest is handed out first"),
        ("queue", "an enqueue is lost"),
    ],
)
def test_a_store_with_a_bug_is_invalid(name: str, bug: str) -> None:
    # Busy keys are changed before they can vanish.
    keys = 8 if bug == "keys vanish early" else 2
    history = played(name, bug=bug, keys=keys)
    (check,) = workload_named(name).checks
    result = check.judge(history, Budget.unlimited())
    assert result.verdict is Verdict.INVALID
    assert result.counterexample is not None
    assert result.certificate is not None


@every_workload
def test_the_same_seed_makes_the_same_history_and_another_does_not(name: str) -> None:
    assert played(name, operations=200).events == played(name, operations=200).events
    assert played(name, operations=200).events != played(name, operations=200, seed=2).events


@pytest.mark.parametrize(
    ("name", "gives"),
    [
        ("register", ("write",)),
        ("key-value", ("put", "append", "cas")),
        ("list-append", ("append",)),
        ("set", ("add",)),
        ("queue", ("enqueue",)),
    ],
)
def test_what_is_given_is_unique_in_the_run(name: str, gives: tuple[str, ...]) -> None:
    def given(value: Any) -> Any:
        if isinstance(value, dict):
            return value["value"]
        return value[1] if isinstance(value, list) else value

    values = [given(event.value) for event in asked(played(name), *gives)]
    assert len(set(values)) == len(values) > 100


@every_workload
def test_in_the_end_keys_are_changed_and_every_node_is_asked_for_every_key(name: str) -> None:
    operations = 2 * GENERATION * 2 + 100
    invoked = [event for event in played(name, operations=operations).events
               if event.type is INVOKE]  # fmt: skip
    load, last = invoked[:operations], invoked[operations:]
    changed = [event for event in last if changes(event.f, event.value) and event.f != "dequeue"]
    looks = last[len(changed) :]
    assert last[: len(changed)] == changed, "looks come after all the changes"
    assert {event.f for event in looks} <= {"read", "get", "dequeue"}
    assert {event.key for event in load} <= {event.key for event in looks}
    for key in {event.key for event in load}:
        assert {event.process for event in looks if event.key == key} >= {0, 1, 2}
    # Of keys that are given up for fresh ones the first are changed: all were in use once.
    first = {
        key for key in {event.key for event in load} if str(key).partition(".")[2] in ("", "0")
    }
    assert Counter(event.key for event in changed) == Counter(dict.fromkeys(first, 1))


@pytest.mark.parametrize("name", ["list-append", "set"])
def test_keys_are_given_up_for_fresh_ones(name: str) -> None:
    history = played(name, operations=2 * GENERATION * 2 + 100)
    load = asked(history, "append", "add", "remove", "read")[: 2 * GENERATION * 2]
    generations = [int(str(event.key).partition(".")[2]) for event in load]
    assert {*generations} == {0, 1}
    half = len(generations) // 2
    assert set(generations[: half - 10]) == {0}
    assert set(generations[half + 10 :]) == {1}
    longest = max(len(event.value or ()) for event in history.events
                  if event.f == "read" and event.type is OK)  # fmt: skip
    assert GENERATION / 4 < longest < GENERATION


def test_a_removed_value_was_added_to_the_same_key_and_is_removed_once() -> None:
    history = played("set")
    added = {event.value: event.key for event in asked(history, "add")}
    removed = {event.value: event.key for event in asked(history, "remove")}
    assert len(removed) == len(asked(history, "remove")) > 50
    assert all(added[value] == key for value, key in removed.items())


def test_queues_are_short_often_empty_and_drained_in_the_end() -> None:
    history = played("queue", lambda store: unreliable(store, LATENCY_NS))
    taken = [event.value for event in history.events if event.f == "dequeue" and event.type is OK]
    assert taken.count(None) > 20
    assert taken[-1] is None
    store = Store("queue")
    history = played("queue", lambda _: reliable(store, LATENCY_NS))
    assert not any(store.held.values())
    assert len(history.events) < 2 * 900 + 2 * 100


def test_a_compare_and_set_mostly_meets_what_it_expects_and_sometimes_not() -> None:
    history = played("key-value", operations=2000)
    ends = Counter(e.type for e in history.events if e.f == "cas" and e.type is not INVOKE)
    assert ends[OK] > ends[EventType.FAIL] > 20


def test_keys_with_a_time_to_live_are_never_appended_to_and_do_expire() -> None:
    history = played("key-value", operations=2000)
    assert not [e for e in asked(history, "append") if str(e.key).startswith("t")]
    assert not [e for e in asked(history, "put") if str(e.key).startswith("k")
                and isinstance(e.value, dict)]  # fmt: skip
    puts = [isinstance(e.value, dict) for e in asked(history, "put") if str(e.key).startswith("t")]
    assert puts.count(True) > puts.count(False) > 5
    store = Store("key-value")
    history = played("key-value", lambda _: reliable(store, LATENCY_NS), operations=2500, keys=8)
    assert verdicts("key-value", history) == {Verdict.VALID}
    assert store.expired > 20
