"""Schedules: what text means, how many faults are in force at once, and that nobody starves."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.nemesis.plan import Fault, Plan, make_plan
from harness.nemesis.schedule import Schedule, at_most, schedules_from
from harness.spec import FAULTS, Spec

SECOND = 1_000_000_000
NODES = ("n1", "n2", "n3", "n4", "n5")
seeds = st.integers(min_value=0, max_value=2**63)


def plan(
    seed: int,
    *,
    schedules: Mapping[str, Schedule] | None = None,
    at_once: int = 0,
    seconds: int = 60,
) -> Plan:
    return make_plan(
        seed=seed,
        kinds=FAULTS,
        nodes=NODES,
        time_limit_ns=seconds * SECOND,
        interval_ns=5 * SECOND,
        schedules=schedules,
        at_once=at_once,
    )


def most_at_once(made: Plan) -> int:
    """Count at every start: more can be in force at no other moment."""
    return max(
        sum(other.start_ns <= fault.start_ns < other.stop_ns for other in made.faults)
        for fault in made.faults
    )


def test_text_gives_intervals_and_durations() -> None:
    assert schedules_from("", FAULTS) == {}
    assert schedules_from("kill=20, clock=30/10", FAULTS) == {
        "kill": Schedule(20 * SECOND),
        "clock": Schedule(30 * SECOND, 10 * SECOND),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kil=20", "names no kind"),
        ("kill", "is not like"),
        ("kill=soon", "is not like"),
        ("kill=20/", "is not like"),
        ("kill=nan", "from 1 to 3600"),
        ("kill=0.5", "from 1 to 3600"),
        ("kill=20/19", "18 seconds"),
        ("kill=20/nan", "18 seconds"),
        ("kill=20,kill=30", "twice"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error_that_names_the_part(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="nemesis_schedule is") as raised:
        Spec(nemesis_schedule=text)
    assert said in str(raised.value)


@given(seed=seeds)
def test_a_kind_keeps_its_own_interval_and_duration_and_changes_no_other(seed: int) -> None:
    made = plan(seed, schedules={"kill": Schedule(20 * SECOND, 7 * SECOND)}, seconds=120)
    plain = plan(seed, seconds=120)
    kills = [fault for fault in made.faults if fault.kind == "kill"]
    assert len(kills) in (5, 6)
    assert all(fault.stop_ns - fault.start_ns == 7 * SECOND for fault in kills)
    assert all(earlier.stop_ns < later.start_ns for earlier, later in pairwise(kills))

    def others(made: Plan) -> list[tuple[str, str, int]]:
        return [(f.kind, f.name, f.start_ns) for f in made.faults if f.kind != "kill"]

    assert others(made) == others(plain)


@given(seed=seeds, at_once=st.integers(min_value=1, max_value=5))
def test_never_more_faults_than_allowed_and_none_of_a_kind_overlap(seed: int, at_once: int) -> None:
    made = plan(seed, at_once=at_once)
    assert most_at_once(made) <= at_once
    assert [fault.id for fault in made.faults] == list(range(len(made.faults)))
    assert all(0 <= fault.start_ns < fault.stop_ns <= 60 * SECOND for fault in made.faults)
    for kind in FAULTS:
        mine = [fault for fault in made.faults if fault.kind == kind]
        assert all(earlier.stop_ns <= later.start_ns for earlier, later in pairwise(mine))


@given(seed=seeds)
def test_no_kind_starves(seed: int) -> None:
    counts = Counter(fault.kind for fault in plan(seed, at_once=1, seconds=120).faults)
    assert set(counts) == set(FAULTS)
    assert max(counts.values()) - min(counts.values()) <= 2


@given(seed=seeds)
def test_room_for_all_changes_nothing(seed: int) -> None:
    assert plan(seed, at_once=len(FAULTS)) == plan(seed)


def fault(number: int, kind: str, start: int, stop: int) -> Fault:
    return Fault(id=number, kind=kind, name="", start_ns=start, stop_ns=stop, targets=(), fallback=())  # fmt: skip


def test_who_is_one_too_many_waits_until_the_next_of_its_kind_comes_or_the_end() -> None:
    faults = [fault(0, "kill", 0, 10), fault(1, "pause", 2, 6), fault(2, "pause", 8, 13),
              fault(3, "clock", 9, 15)]  # fmt: skip
    kept, left_out = at_most(1, faults, 20)
    assert [(f.id, f.start_ns, f.stop_ns) for f in kept] == [(0, 0, 10), (2, 10, 15)]
    assert [f.id for f in left_out] == [1, 3], "its successor came, and its time was over"


def test_two_of_a_kind_wait_for_each_other_though_there_is_room() -> None:
    faults = [fault(0, "kill", 0, 4), fault(1, "disk", 0, 4), fault(2, "kill", 3, 9)]
    kept, left_out = at_most(2, faults, 20)
    assert {(f.id, f.start_ns, f.stop_ns) for f in kept} == {(0, 0, 4), (1, 0, 4), (2, 4, 10)}
    late = [fault(0, "kill", 0, 8), fault(1, "kill", 3, 9)]
    kept, left_out = at_most(2, late, 20)
    assert [(f.id, f.start_ns) for f in kept] == [(0, 0), (1, 8)]
    assert left_out == []


def test_the_kind_that_was_struck_with_least_goes_first() -> None:
    faults = [fault(0, "kill", 0, 5), fault(1, "disk", 6, 24), fault(2, "kill", 21, 25),
              fault(3, "pause", 22, 26)]  # fmt: skip
    kept, left_out = at_most(1, faults, 100)
    assert [f.kind for f in kept] == ["kill", "disk", "pause", "kill"]
    assert left_out == []
