"""Locks and leases: played against a correct store, and against stores that are not."""

from typing import Any

import pytest
from transaction_store import MS, SETTING, Answer, Store, invalid, play, reliable, unreliable

from checker.budget import Budget
from checker.history import Event, EventType, History, HistoryError
from checker.verdict import Verdict
from workloads.catalogue import workload_named
from workloads.checks.leases import with_ends_of_leases
from workloads.generator import Invocation, crashing, imperfect, limit, simulate
from workloads.workload import Setting

LOCKS = ("lock", "fenced-lock")


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("client", [reliable, unreliable])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_correct_store_is_valid_and_everything_is_done(name: str, client: Any, seed: int) -> None:
    setting = Setting(seed=seed, keys=3, threads=6, nodes=3)
    history = play(name, client(Store(), seed), setting=setting)
    assert invalid(name, history) == []
    done = {one.f for one in history.operations() if one.type is EventType.OK}
    assert done == set(workload_named(name).functions)
    assert play(name, client(Store(), seed), setting=setting) == history


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("client", [imperfect(MS), crashing(MS)])
def test_bad_answers_do_not_stop_the_load(name: str, client: Any) -> None:
    history = simulate(limit(200, workload_named(name).load(SETTING)), client, threads=6)
    assert 190 <= len(history.operations()) <= 200  # but for the sleeps


class GrantedTwice(Store):
    """Does not see now and then that a lock is held."""

    asked = 0

    def held(self, lock: str | None) -> bool:
        self.asked += 1
        return super().held(lock) and self.asked % 40 != 0


class StandingTokens(Store):
    """Every so often the same token twice."""

    def token(self, lock: str | None) -> int:
        return super().token(lock) // 5 * 5 + 1


class ShortLeases(Store):
    """Leases end too early."""

    def lasts_ns(self, asked: dict[str, Any]) -> float:
        return super().lasts_ns(asked) / 10


class AnybodyReleases(Store):
    """A late release takes the lock from whoever holds it now."""

    def release(self, invocation: Invocation) -> Answer:
        if not self.held(invocation.key):
            return EventType.FAIL, invocation.value
        del self.locks[invocation.key]
        return EventType.OK, invocation.value


@pytest.mark.parametrize(
    ("name", "store"),
    [
        ("lock", GrantedTwice),
        ("fenced-lock", GrantedTwice),
        ("fenced-lock", StandingTokens),
        ("fenced-lock", ShortLeases),
        ("fenced-lock", AnybodyReleases),
    ],
)
@pytest.mark.parametrize("client", [reliable, unreliable])
def test_a_store_that_is_wrong_is_found(name: str, store: type[Store], client: Any) -> None:
    assert invalid(name, play(name, client(store()), operations=800)) == ["linearizable"]


def test_every_thread_ends_by_taking_every_recent_lock() -> None:
    for name in LOCKS:
        source = workload_named(name).final(SETTING)
        history = simulate(source, reliable(Store()), threads=SETTING.threads)
        taken = [
            (one.invocation.process, one.key)
            for one in history.operations()
            if one.f == "acquire" and one.type is EventType.OK
        ]
        assert len(taken) == len(set(taken)) == SETTING.threads * 3
        assert invalid(name, history) == []


def test_a_lock_that_was_lost_to_a_late_acquire_is_released_again() -> None:
    """The first acquire is in doubt and happens after the release that looked for it."""
    store, waiting = Store(), [True]

    def perform(invocation: Invocation) -> Answer:
        answer = store(invocation)
        if invocation.f == "release" and waiting and answer[0] is EventType.FAIL:
            waiting.clear()
            store(Invocation(f="acquire", key=invocation.key, value=invocation.value, thread=0))
        return answer

    client = reliable(perform)

    def crashing_once(invocation: Invocation, number: int) -> Any:
        if number == 0:
            return crashing(MS)(invocation, number)
        return client(invocation, number)

    setting = Setting(seed=1, keys=1, threads=1, nodes=1)
    history = simulate(limit(20, workload_named("lock").load(setting)), crashing_once, threads=1)
    done = [one for one in history.operations() if one.type is EventType.OK]
    assert not waiting
    assert {one.f for one in done} == {"acquire", "release"}, "it never got the lock again"


# Hand-made histories of leases: (process, type, f, owner, ms, token).
Line = tuple[int, EventType, str, str, int, int | None]
INVOKE, OK, FAIL, INFO = EventType.INVOKE, EventType.OK, EventType.FAIL, EventType.INFO


def told(*lines: Line) -> History:
    events = []
    for index, (process, kind, f, owner, ms, token) in enumerate(lines):
        value: dict[str, Any] = {"owner": owner}
        if f == "acquire":
            value["ttl_ms"] = 1000
        if token is not None:
            value = {"owner": owner, "token": token}
        events.append(Event(index=index, process=process, type=kind, f=f, key="l",
                            value=value, time=ms * MS))  # fmt: skip
    return History(tuple(events))


def held(process: int, owner: str, begin: int, end: int, token: int) -> tuple[Line, Line]:
    """An acquire that is acknowledged."""
    return (
        (process, INVOKE, "acquire", owner, begin, None),
        (process, OK, "acquire", owner, end, token),
    )


def released(process: int, owner: str, begin: int, end: int, kind: EventType) -> tuple[Line, Line]:
    return (
        (process, INVOKE, "release", owner, begin, None),
        (process, kind, "release", owner, end, None),
    )


def verdict(history: History) -> Verdict:
    (check,) = workload_named("fenced-lock").checks
    return check.judge(history, Budget.unlimited()).verdict


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # A lease ends by itself, but not before its time, counted from the invocation.
        ((*held(0, "a", 0, 500, 1), *held(1, "b", 998, 999, 2)), Verdict.INVALID),
        ((*held(0, "a", 0, 500, 1), *held(1, "b", 998, 1000, 2)), Verdict.VALID),
        ((*held(0, "a", 0, 500, 1), *held(1, "b", 1400, 1401, 2)), Verdict.VALID),
        # Only once, and only its own: b's lease is not ended by what a left.
        (
            (*held(0, "a", 0, 1, 1), *held(1, "b", 1100, 1101, 2), *held(2, "c", 1200, 1201, 3)),
            Verdict.INVALID,
        ),
        # The token has to grow.
        ((*held(0, "a", 0, 1, 2), *held(1, "b", 1100, 1101, 2)), Verdict.INVALID),
        # A release that is acknowledged: it was held until then.
        (
            (
                *held(0, "a", 0, 1, 1),
                *held(1, "b", 1100, 1101, 2),
                *released(0, "a", 1102, 1103, OK),
            ),
            Verdict.INVALID,
        ),
        (
            (
                *held(0, "a", 0, 1, 1),
                *held(1, "b", 1100, 1101, 2),
                *released(0, "a", 1102, 1103, FAIL),
            ),
            Verdict.VALID,
        ),
        # A release in doubt frees it before its time, or does not, but not before it was sent.
        (
            (*held(0, "a", 0, 1, 1), *released(0, "a", 2, 3, INFO), *held(1, "b", 4, 5, 2)),
            Verdict.VALID,
        ),
        (
            (*held(0, "a", 0, 1, 1), *held(1, "b", 2, 3, 2), *released(0, "a", 4, 5, INFO)),
            Verdict.INVALID,
        ),
        # Of several releases in doubt the first counts, unless one was acknowledged.
        (
            (
                *held(0, "a", 0, 1, 1),
                *released(0, "a", 2, 3, INFO),
                *held(1, "b", 4, 5, 2),
                *released(6, "a", 6, 7, INFO),
            ),
            Verdict.VALID,
        ),
        (
            (
                *held(0, "a", 0, 1, 1),
                *released(0, "a", 2, 3, INFO),
                *released(6, "a", 4, 5, INFO),
                *released(12, "a", 6, 7, INFO),
                *held(1, "b", 8, 9, 2),
                *released(18, "a", 10, 11, OK),
            ),
            Verdict.INVALID,
        ),
        # An acquire in doubt that was released did happen: somewhere there is room for it.
        (
            (
                (0, INVOKE, "acquire", "a", 0, None),
                (0, INFO, "acquire", "a", 1, None),
                *held(1, "b", 2, 3, 1),
                *released(6, "a", 4, 5, OK),
            ),
            Verdict.INVALID,
        ),
        (
            (
                (0, INVOKE, "acquire", "a", 0, None),
                (0, INFO, "acquire", "a", 1, None),
                *released(6, "a", 2, 3, OK),
                *held(1, "b", 4, 5, 2),
            ),
            Verdict.VALID,
        ),
        (
            (
                (0, INVOKE, "acquire", "a", 0, None),
                (0, INFO, "acquire", "a", 1, None),
                *released(6, "a", 2, 3, INFO),
                *released(12, "a", 4, 5, OK),
            ),
            Verdict.VALID,
        ),
        # Its token is gone, though nobody knows it.
        (
            (
                *held(1, "b", 0, 1, 1),
                *released(1, "b", 2, 3, OK),
                (0, INVOKE, "acquire", "a", 4, None),
                (0, INFO, "acquire", "a", 5, None),
                *released(6, "a", 6, 7, OK),
                *held(1, "c", 8, 9, 2),
            ),
            Verdict.INVALID,
        ),
        # One that was never released may have happened, and may be over, or not.
        (
            (
                (0, INVOKE, "acquire", "a", 0, None),
                (0, INFO, "acquire", "a", 1, None),
                *held(1, "b", 2, 3, 1),
            ),
            Verdict.VALID,
        ),
    ],
)
def test_leases_end_by_themselves_and_never_too_early(
    lines: tuple[Line, ...], expected: Verdict
) -> None:
    assert verdict(told(*lines)) is expected


def test_what_is_added_is_above_and_in_order_of_time() -> None:
    history = told(*held(0, "a", 0, 1, 1), *held(1, "b", 1500, 1501, 2))
    prepared = with_ends_of_leases(history)
    added = [event for event in prepared.events if event not in history.events]
    assert [(event.index, event.time, event.process) for event in added] == [
        (4, 1000 * MS, 2),
        (5, 2500 * MS, 3),
    ]
    assert [event.time for event in prepared.events] == [
        at * MS for at in (0, 1, 1000, 1500, 1501, 2500)
    ]
    assert [event for event in prepared.events if event in history.events] == list(history.events)


def test_leases_that_cannot_be_judged_are_told() -> None:
    again = told(*held(0, "a", 0, 1, 1), *held(0, "a", 2, 3, 2))
    with pytest.raises(HistoryError, match=r"event 2: .*another name for every acquire"):
        with_ends_of_leases(again)
    untimed = History((Event(index=7, process=0, type=INVOKE, f="acquire", key="l",
                             value={"owner": "a", "ttl_ms": 5}),
                       Event(index=8, process=0, type=OK, f="acquire", key="l",
                             value={"owner": "a", "token": 1})))  # fmt: skip
    with pytest.raises(HistoryError, match=r"event 7 .*no time"):
        with_ends_of_leases(untimed)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("store", [Store, ShortLeases, StandingTokens, AnybodyReleases])
def test_leaving_out_what_says_nothing_changes_no_verdict(seed: int, store: type[Store]) -> None:
    """The short history against the plain one: every acquire, release and end that may have been."""
    setting = Setting(seed=seed, keys=1, threads=3, nodes=1)
    source = limit(100, workload_named("fenced-lock").load(setting))
    history = simulate(source, unreliable(store(), seed), threads=3, seed=seed)
    assert verdict(history) is plain_verdict(history)


def plain_verdict(history: History) -> Verdict:
    """Add one optional release for every acquire that was not refused, and leave nothing out."""
    from checker.history import in_order
    from checker.linearizable import check
    from checker.models import model_named

    ends = [
        Event(index=10_000 + place, process=10_000 + place, type=INVOKE, f="release", key=one.key,
              value={"owner": one.input["owner"]},
              time=(one.invocation.time or 0) + one.input["ttl_ms"] * MS)
        for place, one in enumerate(history.operations())
        if one.f == "acquire" and one.type is not FAIL
    ]  # fmt: skip
    whole = History(in_order((*history.events, *ends)))
    return check(whole, model_named("fenced-mutex")).verdict
