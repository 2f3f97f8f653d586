"""What the final phase asked for has to have been served, each key of it."""

from dataclasses import replace

from checker.history import Event, EventType, Operation
from harness.served_last import FINAL_S_MAX, unserved


def operation(
    f: str, key: str | None, kind: EventType, value: object = None, time: int = 100
) -> Operation:
    invocation = Event(
        index=0, time=time, process=0, type=EventType.INVOKE, f=f, value=value, key=key
    )
    completion = replace(invocation, index=1, time=time + 1, type=kind)
    return Operation(invocation=invocation, completion=completion, start=0, end=1)


OK, FAIL, INFO = EventType.OK, EventType.FAIL, EventType.INFO


def test_one_look_and_one_change_of_each_key_are_enough() -> None:
    operations = [
        operation("write", "k0", INFO),
        operation("write", "k0", OK),
        operation("read", "k0", FAIL),
        operation("read", "k0", OK),
        operation("read", "k0", INFO),
    ]
    assert unserved(operations, 100) == []


def test_keys_that_were_not_served_are_named() -> None:
    operations = [operation("read", f"k{number}", FAIL) for number in range(7)]
    operations += [operation("write", "k0", INFO), operation("write", "k1", OK)]
    assert unserved(operations, 100) == [
        "no last change was acknowledged of k0",
        "no last look was acknowledged of k0, k1, k2, k3, k4 and 2 more",
    ]


def test_what_came_before_shows_nothing() -> None:
    early = operation("read", "k0", OK, time=99)
    assert unserved([early, operation("read", "k0", FAIL)], 100) == [
        "no last look was acknowledged of k0"
    ]
    assert unserved([early], 100) == ["nothing was asked for after the faults"]


def test_a_transaction_serves_all_its_keys() -> None:
    steps = [["r", "a", None], ["append", "b", 1]]
    assert unserved([operation("txn", None, OK, steps)], 100) == []
    assert unserved([operation("txn", None, FAIL, steps)], 100) == [
        "no last change was acknowledged of b",
        "no last look was acknowledged of a",
    ]


def test_a_final_phase_that_was_cut_off_may_have_left_keys_out() -> None:
    end = int(FINAL_S_MAX * 1e9)
    whole = [operation("read", "k0", OK, time=100), operation("read", "k1", OK, time=end + 98)]
    assert unserved(whole, 100) == []
    assert unserved([*whole, operation("read", "k0", INFO, time=end + 99)], 100) == [
        "what is done last was not over within 120 s: keys may have been left out"
    ]
