"""Ids, bank, transactions, long fork, write skew: correct stores, wrong ones, and small histories."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from transaction_store import (
    MS,
    SETTING,
    Answer,
    Store,
    invalid,
    judge,
    play,
    reliable,
    unreliable,
)

from checker.history import Event, EventType, History, Operation
from checker.verdict import Verdict
from workloads.catalogue import workload_named
from workloads.checks import Finding
from workloads.checks.forks import long_fork
from workloads.checks.skew import write_skew
from workloads.checks.totals import wrong_balances
from workloads.checks.unique import answered_twice
from workloads.generator import Invocation, crashing, imperfect, limit, simulate
from workloads.randomness import Stream
from workloads.transactions import saw_something
from workloads.workload import Setting

NAMES = ("unique-ids", "bank", "append-transactions", "register-transactions", "long-fork",
         "write-skew")  # fmt: skip
TRANSACTIONS = NAMES[1:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("client", [reliable, unreliable])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_correct_store_is_valid_and_everything_is_done(name: str, client: Any, seed: int) -> None:
    setting = Setting(seed=seed, keys=3, threads=6, nodes=3)
    history = play(name, client(Store(), seed), setting=setting)
    assert invalid(name, history) == []
    done = {one.f for one in history.operations() if one.type is EventType.OK}
    assert done == set(workload_named(name).functions)
    assert play(name, client(Store(), seed), setting=setting) == history


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("client", [imperfect(MS), crashing(MS)])
def test_bad_answers_do_not_stop_the_load(name: str, client: Any) -> None:
    history = simulate(limit(200, workload_named(name).load(SETTING)), client, threads=6)
    assert len(history.operations()) == 200


@pytest.mark.parametrize("name", NAMES)
def test_an_end_with_a_silent_store_is_an_end(name: str) -> None:
    history = simulate(workload_named(name).final(SETTING), crashing(MS), threads=6)
    assert 0 < len(history.operations()) < 100
    results = judge(name, history).values()
    assert {one.verdict for one in results} == {Verdict.UNKNOWN}


class IdsAgain(Store):
    """Forgets a few of the ids that it gave, once."""

    def generate(self, invocation: Invocation) -> Answer:
        if self.last_id == 100:
            self.last_id = 97
            self.generate = super().generate  # type: ignore[method-assign]
        return super().generate(invocation)


class BlindCompares(Store):
    """Compares are not looked at, when several of them are at stake at once, now and then."""

    asked = 0

    def agrees(self, found: Any, expected: Any) -> bool:
        self.asked += 1
        return super().agrees(found, expected) or self.asked % 3 == 0


class HalfTransfers(Store):
    """Now and then the last write of a transaction is lost."""

    asked = 0

    def txn(self, invocation: Invocation) -> Answer:
        self.asked += 1
        steps = invocation.value
        if self.asked % 20 or steps[-1][0] == "r":
            return super().txn(invocation)
        kind, answer = super().txn(Invocation(f="txn", value=steps[:-1], thread=0))
        return kind, steps if kind is EventType.FAIL else [*answer, steps[-1]]


class TornReads(Store):
    """A transaction of several steps reads some keys as they were a few transactions ago."""

    def __init__(self) -> None:
        super().__init__()
        self.past: list[dict[str, Any]] = []
        self.stream = Stream(7, "torn")

    def txn(self, invocation: Invocation) -> Answer:
        self.past.append(self.values)
        kind, answer = super().txn(invocation)
        if kind is EventType.OK and len(answer) > 1:
            old = self.past[-4:][0]
            draw = len(self.past) * 8
            answer = [
                [f, key, old.get(key)] if f == "r" and self.stream.below(draw + place, 2) else one
                for place, one in enumerate(answer)
                for f, key, _ in [one]
            ]
        return kind, answer


@pytest.mark.parametrize(
    ("name", "store", "check"),
    [
        ("unique-ids", IdsAgain, "unique"),
        ("bank", HalfTransfers, "totals"),
        ("bank", TornReads, "totals"),
        ("append-transactions", HalfTransfers, "transactions"),
        ("append-transactions", TornReads, "transactions"),
        ("register-transactions", HalfTransfers, "transactions"),
        ("register-transactions", TornReads, "transactions"),
        ("long-fork", TornReads, "long-fork"),
        ("write-skew", BlindCompares, "write-skew"),
    ],
)
@pytest.mark.parametrize("client", [reliable, unreliable])
def test_a_store_that_is_wrong_is_found(
    name: str, store: type[Store], check: str, client: Any
) -> None:
    assert invalid(name, play(name, client(store()))) == [check]


def test_a_bank_is_opened_once_however_often_that_is_tried() -> None:
    store = Store()
    history = play("bank", unreliable(store, 5))
    openings = [
        one
        for one in history.operations()
        if one.type is EventType.OK and one.input[0] == ["compare", "a0", None]
    ]
    assert len(openings) <= 1
    assert sum(store.values.values()) == 40
    assert any(one.input[0][2] is not None for one in history.operations()), "no transfer at all"


def test_a_bank_that_is_seen_to_be_missing_is_opened_later() -> None:
    """The first openings are refused, and reads between them say that nothing is there."""
    store, refused = Store(), iter(range(5))

    def perform(invocation: Invocation) -> Answer:
        if invocation.value[0][0] == "compare" and next(refused, None) is not None:
            return EventType.FAIL, invocation.value
        return store(invocation)

    play("bank", reliable(perform))
    assert sum(store.values.values()) == 40


@pytest.mark.parametrize("name", ["append-transactions", "register-transactions"])
def test_transactions_are_of_one_to_four_steps_and_write_unique_values(name: str) -> None:
    history = play(name, reliable(Store()), operations=1000)
    steps = [one.input for one in history.operations()]
    assert {len(one) for one in steps[:1000]} == {1, 2, 3, 4}
    written = [value for one in steps for f, _, value in one if f != "r"]
    assert len(written) == len(set(written)) > 500


def test_lists_stay_short_and_all_of_them_are_read_through_every_node() -> None:
    store = Store()
    history = play("append-transactions", reliable(store), operations=1000)
    assert 10 < len(store.values) < 100
    assert max(map(len, store.values.values())) <= 32 + 4 * SETTING.threads
    final = history.operations()[1000:]
    for node in range(SETTING.nodes):
        read = {key for one in final if one.invocation.process == node for _, key, _ in one.input}
        assert read >= set(store.values)


@pytest.mark.parametrize("name", ["append-transactions", "sessions"])
def test_a_store_that_refuses_uses_up_no_keys(name: str) -> None:
    """They would stay empty, and who looks at all keys in the end would stop too early."""

    def refuse(invocation: Invocation) -> Answer:
        return EventType.FAIL, invocation.value

    source = limit(1000, workload_named(name).load(SETTING))
    asked = [one.invocation for one in simulate(source, reliable(refuse)).operations()]
    keys = {one.key for one in asked if one.key} | {
        key for one in asked if one.f == "txn" for _, key, _ in one.value
    }
    assert keys == {"k0", "k1", "k2"}


def test_write_skew_has_two_inserts_at_the_same_time_for_every_pair() -> None:
    for threads in (1, 5, 6):
        setting = Setting(seed=1, keys=3, threads=threads, nodes=1)
        source = limit(300, workload_named("write-skew").load(setting))
        operations = simulate(source, reliable(Store()), threads=threads).operations()
        assert {one.invocation.process for one in operations} == set(range(threads))
        pairs: dict[str, list[Operation]] = {}
        for one in operations:
            assert one.key is None
            if one.input[0][0] == "compare":
                pairs.setdefault(one.input[0][1], []).append(one)
        for first, *rest in pairs.values():
            for second in rest:
                assert first.end is not None
                assert second.start < first.end
        assert len(pairs) > 20 or threads == 1


def test_groups_of_a_long_fork_are_read_while_they_are_written() -> None:
    history = play("long-fork", reliable(Store()))
    reads = [one for one in history.operations() if one.input[0][0] == "r"]
    partly = [
        one
        for one in reads
        if saw_something(one.output) and any(seen is None for _, _, seen in one.output)
    ]
    assert len(partly) > 20


# Small histories: what each transaction did, one after the other, all acknowledged.


def told(*operations: Any, f: str = "txn", types: Sequence[EventType] = ()) -> list[Operation]:
    events = []
    for number, value in enumerate(operations):
        kind = types[number] if types else EventType.OK
        for place, each in enumerate((EventType.INVOKE, kind)):
            events.append(
                Event(index=number * 2 + place, process=number, type=each, f=f, value=value,
                      time=number * 2 + place)
            )  # fmt: skip
    return History(tuple(events)).operations()


def r(**seen: Any) -> list[list[Any]]:
    return [["r", key, value] for key, value in seen.items()]


def w(**written: Any) -> list[list[Any]]:
    return [["w", key, value] for key, value in written.items()]


def opened(*accounts: str) -> list[list[Any]]:
    return [*(["compare", one, None] for one in accounts), *(["w", one, 10] for one in accounts)]


def insert(mine: str, *pair: str) -> list[list[Any]]:
    return [*(["compare", one, None] for one in pair), ["w", mine, 1]]


OK, FAIL, INFO = EventType.OK, EventType.FAIL, EventType.INFO
Find = Callable[[Sequence[Operation]], Finding | None]


@pytest.mark.parametrize(
    ("find", "operations", "evidence"),
    [
        (wrong_balances, told(opened("a", "b"), r(a=7, b=13)), None),
        (wrong_balances, told(opened("a", "b"), r(a=7, b=12)), 2),
        (wrong_balances, told(opened("a", "b"), r(a=11, b=10)), 2),
        (wrong_balances, told(opened("a", "b"), r(a=None, b=None)), None),
        (wrong_balances, told(opened("a", "b"), r(a=20, b=None)), 1),
        (wrong_balances, told(opened("a", "b"), r(a=-1, b=21)), 1),
        (wrong_balances, told(opened("a", "b"), r(a="10", b=10)), 1),
        (wrong_balances, told(opened("a", "b", "c"), r(a=30, b=30)), None),
        (wrong_balances, told(opened("a", "b"), r(a=9, b=9), types=(OK, FAIL)), None),
        (wrong_balances, told(opened("a", "b"), r(a=9, b=9), types=(INFO, OK)), 2),
        (long_fork, told(r(x=1, y=None), r(x=1, y=2), r(x=None, y=None)), None),
        (long_fork, told(r(x=1, y=None), r(y=2, x=None)), 2),
        (long_fork, told(w(x=1), w(y=2), w(z=3), r(x=1, y=None), r(y=2, x=None)), 4),
        (long_fork, told(r(x=1, y=None), r(y=2, z=None)), None),
        (long_fork, told(r(x=1, y=None, z=3), r(x=1, y=2, z=None)), 2),
        (long_fork, told(r(x=1, y=None), r(y=2, x=None), types=(OK, INFO)), None),
        (long_fork, told(r(x=1, y=2), r(x=3, y=2)), 2),
        (write_skew, told(insert("a", "a", "b"), insert("b", "a", "b")), 2),
        (write_skew, told(insert("a", "a", "b"), insert("a", "a", "b")), 2),
        (write_skew, told(insert("a", "a", "b"), insert("c", "c", "d")), None),
        (write_skew, told(insert("a", "a", "b"), insert("b", "a", "b"), types=(OK, INFO)), None),
        (
            write_skew,
            told(insert("a", "a", "b"), insert("b", "a", "b"), r(a=1, b=1), types=(OK, INFO, OK)),
            3,
        ),
        (
            write_skew,
            told(
                insert("a", "a", "b"), insert("b", "a", "b"), r(a=None, b=1), types=(FAIL, INFO, OK)
            ),
            None,
        ),
        (answered_twice, told(1, 2, 1, f="generate"), 2),
        (answered_twice, told(1, 2, "1", f="generate"), None),
        (answered_twice, told(1, 2, 1, f="generate", types=(OK, OK, INFO)), None),
        (answered_twice, told([1], [1], f="generate"), 2),
    ],
)
def test_a_check_finds_what_must_not_be_and_nothing_else(
    find: Find, operations: list[Operation], evidence: int | None
) -> None:
    finding = find(operations)
    assert (None if finding is None else len(finding.operations)) == evidence
    if finding is not None:
        assert find(sorted(finding.operations, key=lambda one: one.start)) is not None
