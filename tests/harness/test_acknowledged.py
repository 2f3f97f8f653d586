"""What was acknowledged around a fault, and when its absence makes a run empty."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from checker.history import Event, EventType, Operation
from harness.acknowledged import Story, Strike

S = 1_000_000_000
NODES = ("n1", "n2", "n3", "n4", "n5")
LOAD_S = 60.0


def operation(
    at_s: float, node: str = "n1", kind: EventType = EventType.OK, took_s: float = 0.01,
    f: str = "write",
) -> Operation:  # fmt: skip
    begin, end = int(at_s * S), int((at_s + took_s) * S)
    invocation = Event(
        index=0, time=begin, process=0, type=EventType.INVOKE, f=f, value=1, key="k0", node=node
    )
    completion = replace(invocation, index=1, time=end, type=kind)
    return Operation(invocation=invocation, completion=completion, start=0, end=1)


def steady(
    *silent: tuple[float, float], nodes: Iterable[str] = NODES, per_s: int = 20, f: str = "write"
) -> list[Operation]:
    """Twenty operations a second, node after node; in the silent spans they fail."""
    places = list(nodes)
    operations = []
    for number in range(int(LOAD_S * per_s)):
        at_s = number / per_s
        lost = any(begin <= at_s < end for begin, end in silent)
        kind = EventType.FAIL if lost else EventType.OK
        operations.append(operation(at_s, places[number % len(places)], kind, f=f))
    return operations


def strike(number: int, start_s: float, stop_s: float, *harmed: str, **changed: object) -> Strike:
    """A fault that takes 0.1 s to apply and to undo."""
    made = Strike(
        fault=number,
        what=f"kill:kill-one (#{number})",
        installed=True,
        harmed=harmed,
        start_ns=int(start_s * S),
        begun_ns=int((start_s + 0.1) * S),
        ending_ns=int((stop_s - 0.1) * S),
        stop_ns=int(stop_s * S),
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def missing(operations: list[Operation], *strikes: Strike, always: bool = False) -> list[str]:
    return story(operations, *strikes).missing(always=always)


def story(operations: list[Operation], *strikes: Strike) -> Story:
    return Story(operations, strikes, nodes=NODES, load_ns=int(LOAD_S * S))


def test_operations_are_counted_where_they_began_and_ended_in_it() -> None:
    operations = [
        operation(1.0),
        operation(9.995),  # under way when the fault began
        operation(12.0),
        operation(13.0, kind=EventType.FAIL),
        operation(14.0, kind=EventType.INFO),
        operation(19.895),  # under way when it was undone
        operation(20.5),
        operation(61.0),  # the load was over
    ]
    seen = story(operations, strike(3, 10, 20, "n2")).measure()[3]
    assert (seen.before, seen.during, seen.after) == (1, 1, 1)
    assert seen.to_json()["acknowledged"] == {"before": 1, "during": 1, "after": 1}


def test_a_run_in_which_clients_get_through_at_all_times_is_not_empty() -> None:
    faults = [strike(0, 10, 20, "n2"), strike(1, 25, 35, *NODES[:3]), strike(2, 40, 45)]
    assert missing(steady((25, 37)), *faults) == []


@pytest.mark.parametrize(
    ("silent", "when", "from_s", "to_s"),
    [
        ((0, 10), "before", "0.0", "10.0"),
        ((10, 20), "during", "10.1", "19.9"),
        ((20, 60), "after", "20.0", "60.0"),
    ],
)
def test_silence_around_a_fault_that_left_a_majority_is_told(
    silent: tuple[float, float], when: str, from_s: str, to_s: str
) -> None:
    [told] = missing(steady(silent), strike(7, 10, 20, "n1", "n2"))
    assert f"{when} the fault kill:kill-one (#7), from {from_s} to {to_s} s, although" in told


def test_nothing_is_demanded_while_a_majority_is_struck() -> None:
    assert missing(steady((10, 22)), strike(0, 10, 20, "n1", "n2", "n3")) == []


def test_all_faults_in_force_are_taken_together() -> None:
    """Two that leave a majority each leave none together; each has nothing to show then."""
    one, other = strike(0, 10, 20, "n1", "n2"), strike(1, 9, 21, "n3")
    assert missing(steady((9, 23)), one, other) == []
    overlapping = strike(1, 9, 21, "n2")
    assert len(missing(steady((9, 23)), one, overlapping)) == 2


def test_a_node_that_was_struck_needs_time_to_come_back() -> None:
    """Who was down until a moment ago is no part of a majority that can be relied on."""
    first, second = strike(0, 9, 15, "n1", "n2", "n3"), strike(1, 15.2, 19, "n4")
    assert missing(steady((9, 19.2)), first, second) == []
    assert len(missing(steady((9, 22)), first, strike(1, 15.2, 21, "n4"))) == 1


def test_a_short_fault_or_one_among_many_demands_nothing() -> None:
    assert missing(steady((10, 12.4)), strike(0, 10, 12.4, "n1")) == []
    # The leader may have been struck each time: there never was time for an election.
    many = [strike(number, 10 + 2 * number, 11.5 + 2 * number, "n1") for number in range(5)]
    assert missing(steady((10, 20)), *many) == []


def test_the_same_fault_at_peace_demands_something() -> None:
    assert len(missing(steady((10, 13)), strike(0, 10, 13, "n1"))) == 1


def test_clients_that_asked_for_little_demand_nothing() -> None:
    """Ten operations through untouched nodes, or silence says nothing."""
    struck = [one for one in steady((10, 20)) if one.invocation.node in ("n1", "n2")]
    others = [operation(second, "n3") for second in (1, 2, 3, 50, 51, 52)]
    assert missing(struck + others, strike(0, 10, 20, "n1", "n2")) == []
    asked = [operation(15 + number / 10, "n3", EventType.FAIL) for number in range(12)]
    assert len(missing(struck + others + asked, strike(0, 10, 20, "n1", "n2"))) == 1


def test_where_a_quorum_is_kept_something_is_demanded_during_every_fault() -> None:
    faults = [strike(0, 10, 14, "n1"), strike(1, 11, 13.5, "n2"), strike(2, 12, 14.5, "n1")]
    silent = steady((10, 15))
    assert missing(silent, *faults) == []
    assert len(missing(silent, *faults, always=True)) == 3
    assert missing(silent, strike(0, 10, 11.9, "n1"), always=True) == [], (
        "too short for an election"
    )


def test_what_was_not_seen_to_work_demands_nothing_but_may_have_harmed() -> None:
    doubtful = strike(0, 10, 20, "n1", "n2", "n3", installed=False)
    assert missing(steady((10, 22)), doubtful) == []
    assert missing(steady((10, 22)), doubtful, strike(1, 12, 18, "n4")) == []


def test_a_member_that_is_not_back_yet_counts_as_struck() -> None:
    out = strike(0, 5, 9, "n1", left=(("n1", 30 * S),))
    two = strike(1, 10, 20, "n2", "n3")
    assert missing(steady((10, 22)), out, two) == []
    assert len(missing(steady((10, 22)), replace(out, left=()), two)) == 1
    another = strike(0, 5, 9, "n5", left=(("n1", 30 * S),))
    assert missing(steady((10, 22)), another, two) == [], "whoever it was that was out"
    later = strike(1, 40, 50, "n2", "n3")
    assert len(missing(steady((40, 52)), out, later)) == 1, "it was back by then"
    assert missing(steady((40, 52)), replace(out, left=(("n1", None),)), later) == []


def test_handing_leadership_over_disturbs_but_strikes_nobody() -> None:
    assert missing(steady((10, 12)), strike(0, 10, 12)) == []
    assert len(missing(steady((10, 20)), strike(0, 10, 20))) == 1
    handed_back = strike(1, 5, 12.1)
    assert missing(steady((10, 14.4)), strike(0, 10, 14.4, "n1"), handed_back) == []
    assert len(missing(steady((10, 14.4)), strike(0, 10, 14.4, "n1"))) == 1


def test_the_time_to_recover_is_that_to_the_next_change() -> None:
    operations = [
        operation(20.1, "n3", f="read"),
        operation(20.2, "n3", EventType.INFO),
        operation(20.4, "n3"),
        operation(21.5, "n2"),
    ]
    seen = story(operations, strike(0, 10, 20, "n1", "n2")).measure()[0]
    assert seen.to_json()["recovered_ms"] == {"cluster": 410.0, "struck": 1510.0}


def test_where_clients_only_look_any_answer_shows_the_recovery() -> None:
    seen = story([operation(20.1, "n1", f="read")], strike(0, 10, 20, "n1")).measure()[0]
    assert seen.struck_ns == seen.cluster_ns == int(0.11 * S)


def test_of_a_fault_that_outlasted_the_load_no_recovery_is_measured() -> None:
    operations = [operation(1.0), operation(62.0)]
    seen = story(operations, strike(0, 50, 61, "n1")).measure()[0]
    assert (seen.cluster_ns, seen.struck_ns) == (None, None)
    never = story(operations, strike(0, 10, 20, "n1")).measure()[0]
    assert (never.cluster_ns, never.after) == (None, 0)
