"""Session guarantees: played against stores that keep them or break some, and small histories."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from transaction_store import MS, SETTING, Answer, Store, invalid, play, reliable, unreliable

from checker.history import Event, EventType, History, HistoryError, Operation
from workloads.catalogue import workload_named
from workloads.checks import Finding
from workloads.checks.guarantees import (
    monotonic_reads,
    monotonic_writes,
    read_your_writes,
    writes_follow_reads,
)
from workloads.generator import Invocation, crashing, imperfect, limit, simulate
from workloads.randomness import Stream
from workloads.workload import Setting

NAMES = ("read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads")


@pytest.mark.parametrize("client", [reliable, unreliable])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_correct_store_is_valid_and_everything_is_done(client: Any, seed: int) -> None:
    setting = Setting(seed=seed, keys=3, threads=6, nodes=3)
    history = play("sessions", client(Store(), seed), setting=setting)
    assert invalid("sessions", history) == []
    done = {one.f for one in history.operations() if one.type is EventType.OK}
    assert done == {"append", "read"}
    assert play("sessions", client(Store(), seed), setting=setting) == history


class OwnPace(Store):
    """Every client sees the lists as they were some time ago, but its own appends at once.

    Not linearizable, and no guarantee of a session is broken: each client's view only grows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[tuple[Any, str | None], int] = {}
        self.asked = 0

    def append(self, invocation: Invocation) -> Answer:
        answer = super().append(invocation)
        self.shown[invocation.thread, invocation.key] = len(self.lists[invocation.key])
        return answer

    def read(self, invocation: Invocation) -> Answer:
        self.asked += 1
        whole = self.lists.get(invocation.key, [])
        client = invocation.thread, invocation.key
        if self.asked % 4 == 0:
            self.shown[client] = len(whole)
        return EventType.OK, whole[: self.shown.get(client, 0)] or None


class OldReads(Store):
    """A read may answer what was there three appends ago."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def read(self, invocation: Invocation) -> Answer:
        self.asked += 1
        whole = self.lists.get(invocation.key, [])
        return EventType.OK, whole[: -3 if self.asked % 5 == 0 else None]


class Overtaken(Store):
    """An append now and then comes to stand at the front, before what its client has read."""

    def append(self, invocation: Invocation) -> Answer:
        answer = super().append(invocation)
        values = self.lists[invocation.key]
        if invocation.value % 10 == 0:
            self.lists[invocation.key] = [values[-1], *values[:-1]]
        return answer


class LostAppends(Store):
    """An acknowledged append now and then is nowhere."""

    def append(self, invocation: Invocation) -> Answer:
        if Stream(1, "lost").below(invocation.value, 20) == 0:
            return EventType.OK, invocation.value
        return super().append(invocation)


@pytest.mark.parametrize(
    ("store", "broken"),
    [
        (OwnPace, ()),
        (OldReads, ("read-your-writes", "monotonic-reads")),
        (Overtaken, ("monotonic-reads", "monotonic-writes", "writes-follow-reads")),
        (LostAppends, ("read-your-writes", "monotonic-writes")),
    ],
)
@pytest.mark.parametrize("client", [reliable, unreliable])
def test_a_store_breaks_the_guarantees_that_it_does_not_keep(
    store: type[Store], broken: tuple[str, ...], client: Any
) -> None:
    history = play("sessions", client(store()), operations=800)
    if store is OwnPace:
        assert sees_old_data(history), "it would show nothing that these checks do not mind"
    assert tuple(invalid("sessions", history)) == broken


def sees_old_data(history: History) -> bool:
    """Whether a read misses an append that somebody else was told of before it began."""
    operations = [one for one in history.operations() if one.type is EventType.OK]
    appends = [(one.end or 0, one.key, one.input) for one in operations if one.f == "append"]
    return any(
        end < read.start and key == read.key and value not in (read.output or ())
        for read in operations
        if read.f == "read"
        for end, key, value in appends
    )


@pytest.mark.parametrize("client", [imperfect(MS), crashing(MS)])
def test_bad_answers_do_not_stop_the_load(client: Any) -> None:
    history = simulate(limit(200, workload_named("sessions").load(SETTING)), client, threads=6)
    assert len(history.operations()) == 200


def test_lists_stay_short_and_all_of_them_are_read_through_every_node() -> None:
    store = Store()
    operations = play("sessions", reliable(store), operations=800).operations()
    assert 10 < len(store.lists) < 40
    assert max(map(len, store.lists.values())) <= 24 + SETTING.threads
    for node in range(SETTING.nodes):
        final = [one for one in operations[800:] if one.invocation.process == node]
        assert {one.key for one in final} >= set(store.lists)


# Small histories: (process, what is appended, or the list that is read), one after the other.
Line = tuple[int, int | list[int]] | tuple[int, int | list[int], EventType]
FAIL, INFO = EventType.FAIL, EventType.INFO


def told(*lines: Line, key: str = "k") -> list[Operation]:
    events: list[Event] = []
    for process, value, *ends in lines:
        f = "append" if isinstance(value, int) else "read"
        for kind in (EventType.INVOKE, *(ends or (EventType.OK,))):
            place = len(events)
            events.append(
                Event(
                    index=place, process=process, type=kind, f=f, key=key, value=value, time=place
                )
            )
    return History(tuple(events)).operations()


@pytest.mark.parametrize(
    ("find", "lines", "evidence"),
    [
        (read_your_writes, ((0, 1), (0, [1])), None),
        (read_your_writes, ((0, 1), (0, [])), 2),
        (read_your_writes, ((0, 1), (1, [])), None),
        (read_your_writes, ((0, 1, FAIL), (0, [])), None),
        (read_your_writes, ((0, [2]), (0, 1), (0, 2), (0, [2])), 2),
        (read_your_writes, ((0, []), (0, 1), (0, [], FAIL)), None),
        (monotonic_reads, ((0, [1]), (1, []), (0, [1, 2])), None),
        (monotonic_reads, ((0, [1, 2]), (0, [1])), 2),
        (monotonic_reads, ((0, [1, 2]), (0, [2, 1, 3])), 2),
        (monotonic_reads, ((0, [1, 2]), (1, [1])), None),
        (monotonic_reads, ((0, [1, 2]), (0, [], FAIL), (0, [1, 2])), None),
        (monotonic_writes, ((0, 1), (0, 2), (1, [1, 2])), None),
        (monotonic_writes, ((0, 1), (0, 2), (1, [1])), None),
        (monotonic_writes, ((0, 1), (0, 2), (1, [2, 1])), 3),
        (monotonic_writes, ((0, 1), (0, 2), (1, [2])), 3),
        (monotonic_writes, ((0, 1), (0, 9), (0, 2), (1, [1, 2])), 3),
        (monotonic_writes, ((0, 1), (1, 2), (2, [2, 1])), None),
        (monotonic_writes, ((0, 1, FAIL), (0, 2), (1, [2])), None),
        (monotonic_writes, ((0, 1), (0, 2, INFO), (1, [1])), None),
        (monotonic_writes, ((0, 1), (0, 2, INFO), (1, [2])), 3),
        (monotonic_writes, ((1, [2]), (0, 1), (0, 2), (1, [1, 2])), 3),
        (writes_follow_reads, ((0, [1]), (0, 2), (1, [1, 2])), None),
        (writes_follow_reads, ((0, [1]), (0, 2), (1, [1, 3, 2])), None),
        (writes_follow_reads, ((0, [1]), (0, 2), (1, [3, 2])), 3),
        (writes_follow_reads, ((0, [1]), (0, 2), (1, [2, 1])), 3),
        (writes_follow_reads, ((0, [1]), (0, 2), (1, [3])), None),
        (writes_follow_reads, ((0, [1]), (0, 2, INFO), (1, [2])), 3),
        (writes_follow_reads, ((0, [1]), (0, 2, FAIL), (1, [2])), None),
        (writes_follow_reads, ((0, [1], FAIL), (0, 2), (1, [2])), None),
        (writes_follow_reads, ((1, [1]), (0, 2), (1, [2])), None),
        (writes_follow_reads, ((0, []), (0, 1), (0, [1]), (0, 2), (1, [2])), 3),
        # Lists that no order of appends explains: each check looks only at its own business.
        (monotonic_writes, ((0, 1), (0, 2), (1, [1, 2, 1])), None),
        (writes_follow_reads, ((0, [2]), (0, 2), (0, [2])), 3),
    ],
)
def test_a_check_finds_what_its_guarantee_forbids_and_nothing_else(
    find: Callable[[Sequence[Operation]], Finding | None],
    lines: tuple[Line, ...],
    evidence: int | None,
) -> None:
    finding = find(told(*lines))
    assert (None if finding is None else len(finding.operations)) == evidence
    if finding is not None:
        assert finding.key == "k"
        assert find(sorted(finding.operations, key=lambda one: one.start)) is not None


def test_keys_are_sessions_of_their_own() -> None:
    both = [*told((0, 1), key="x"), *told((0, []), key="y")]
    assert read_your_writes(both) is None


def test_what_is_no_list_is_told() -> None:
    wrong = History(
        (
            Event(index=0, process=0, type=EventType.INVOKE, f="read", key="k"),
            Event(index=1, process=0, type=EventType.OK, f="read", key="k", value=3),
        )
    )
    with pytest.raises(HistoryError, match="event 0: a read answers 3, expected a list"):
        invalid("sessions", wrong)
