"""The verifier, rule by rule: what proves its verdict passes, every way to cheat is found out."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from certificates import (
    DIFFERS,
    J,
    call,
    counts,
    history,
    ordering,
    refuting,
    rejected,
)

import checker.verify
from checker.history import Event, EventType, History
from checker.models import Action, State
from checker.models.set import Set
from checker.verdict import Verdict
from checker.verify import verify

# --- valid ---------------------------------------------------------------------------------------

TWO = history("0 write 1", "1 read", "0 ok", "1 ok 1", "2 read", "2 ok 1")
CRASHED = history("0 write 1", "0 info", "1 read", "1 ok 1", "2 write 2", "2 info")


def test_an_order_that_explains_everything_is_accepted() -> None:
    proved = verify(TWO, ordering((None, [0, 1, 4])))
    assert (proved.verdict, proved.keys, proved.operations) == (Verdict.VALID, (None,), 3)
    assert (proved.configurations, proved.model.name) == (0, "cas-register")


def test_what_crashed_may_be_in_the_order_or_not() -> None:
    verify(CRASHED, ordering((None, [0, 2])))
    verify(CRASHED, ordering((None, [0, 2, 4])))
    rejected(CRASHED, ordering((None, [2])), "would need the value 1")


def test_an_order_holds_everything_that_completed() -> None:
    rejected(TWO, ordering((None, [0, 1])), "4 completed but is missing")


def test_an_order_holds_nothing_twice() -> None:
    rejected(TWO, ordering((None, [0, 1, 1, 4])), r"order\[2\]: 1 says nothing.* or comes twice")


def test_an_order_respects_real_time() -> None:
    past = history("0 write 1", "0 ok", "1 write 2", "1 ok", "2 read", "2 ok 1")
    rejected(past, ordering((None, [2, 0, 4])), "0 ended before one that it follows was invoked")
    # Not only the one just before counts.
    past = history(
        "1 write 0", "0 write 1", "0 ok", "2 write 2", "2 ok", "1 ok", "2 read", "2 ok 1"
    )
    rejected(past, ordering((None, [3, 0, 1, 6])), "1 ended before")


def test_an_order_also_respects_when_a_crashed_one_was_invoked() -> None:
    past = history("0 read", "0 ok 1", "1 write 1", "1 info")
    rejected(past, ordering((None, [2, 0])), "0 ended before one that it follows was invoked")


def test_every_step_has_to_be_allowed() -> None:
    rejected(TWO, ordering((None, [1, 0, 4])), r"linearizations\[0\].order\[0\]: 1 would need")


def test_an_order_has_no_place_for_what_says_nothing() -> None:
    past = history("0 write 1", "0 fail", "1 read", "1 ok")
    verify(past, ordering((None, [2])))
    rejected(past, ordering((None, [0, 2])), "0 says nothing")
    # Under another meaning the refused cas says something and has to be placed.
    past = history("0 cas [1,2]", "0 fail")
    verify(past, ordering((None, [])))
    rejected(past, ordering((None, []), meaning=DIFFERS), "0 completed but is missing")
    verify(past, ordering((None, [0]), meaning=DIFFERS))


def test_every_key_needs_its_own_order() -> None:
    past = history("0 write@a 1", "0 ok", "1 write@b 2", "1 ok", "2 read@a", "2 ok 1")
    proved = verify(past, ordering(("b", [2]), ("a", [0, 4])))
    assert (set(proved.keys), proved.operations) == ({"a", "b"}, 3)
    rejected(past, ordering(("a", [0, 4])), "no order for the keys .*b")
    rejected(past, ordering(("a", [0, 4]), ("a", [0, 4])), "or an order already")
    rejected(past, ordering(("a", [0, 2, 4]), ("b", [2])), "2 says nothing, is of another key")
    rejected(past, ordering(("a", [0, 4]), ("b", [2]), ("c", [])), "no operations of 'c'")


def test_a_model_without_keys_has_one_order() -> None:
    past = history('0 txn@a [["w","x",1]]', "0 ok", '1 txn@b [["r","x",1]]', "1 ok")
    verify(past, ordering((None, [0, 2]), model="multi-register"))
    rejected(past, ordering(("a", [0]), ("b", [2]), model="multi-register"), "no operations of 'a'")


def test_nothing_is_proved_of_an_empty_history() -> None:
    rejected(history(), ordering(), "no order for the keys")


# --- invalid: the core ---------------------------------------------------------------------------

# Positions:      0            1       2         3          4         5
STALE = history("0 write 1", "0 ok", "1 read", "1 ok 1", "2 read", "2 ok null")
WRITE, STALE_READ = call(0, 0, 1), call(4, 4, 5)


def test_a_core_that_no_order_explains_is_accepted() -> None:
    proved = verify(STALE, refuting(WRITE, STALE_READ))
    assert (proved.verdict, proved.keys, proved.operations) == (Verdict.INVALID, (None,), 2)
    assert proved.configurations == 3  # null and 1 at the write's return; 1 at the read's
    verify(STALE, refuting(WRITE, call(2, 2, 3), STALE_READ))


def test_a_core_that_has_an_order_is_rejected() -> None:
    rejected(STALE, refuting(WRITE, call(2, 2, 3)), "have an order, 1 configurations left")


def test_wider_intervals_are_accepted_and_narrower_ones_rejected() -> None:
    verify(STALE, refuting(call(0, -3, 2), call(4, 3, 9)))
    rejected(STALE, refuting(call(0, -3, 3), call(4, 2, 9)), "have an order")
    late = "0 may take effect outside of"
    rejected(STALE, refuting(call(0, 1, 1), STALE_READ), late)
    rejected(STALE, refuting(call(0, 0, 0), STALE_READ), late)
    overlapping = history("0 write 1", "1 read", "0 ok", "1 ok null")
    rejected(overlapping, refuting(call(0, 0, 1), call(1, 1, 3)), late)
    rejected(overlapping, refuting(call(0, -1, 0), call(1, 1, 3)), late)
    rejected(overlapping, refuting(call(0, 0, 2), call(1, 3, 3)), "1 may take effect outside of")


def test_what_crashed_has_no_end_and_is_not_required() -> None:
    past = history("0 write 1", "0 info", "1 read", "1 ok null")
    rejected(past, refuting(call(0, 0, 1), call(2, 2, 3)), "0 may take effect outside of")
    rejected(past, refuting(call(0, 0, 1, required=False), call(2, 2, 3)), "0 may take effect outs")
    rejected(past, refuting(call(0, 0, None, required=True), call(2, 2, 3)), "cannot be required")
    rejected(past, refuting(call(0, 0, None), call(2, 2, 3)), "have an order")
    never = history("0 write 1", "0 info", "1 read", "1 ok 2")
    verify(never, refuting(call(0, 0, None), call(2, 2, 3)))


def test_what_completed_may_be_treated_as_if_it_never_returned() -> None:
    rejected(STALE, refuting(call(0, 0, None, required=True), STALE_READ), "have an order")
    rejected(STALE, refuting(call(0, 0, 1, required=False), STALE_READ), "have an order")


def test_who_need_not_take_effect_may_do_so_until_its_own_end() -> None:
    """The end of a call that is not required lies before the next return, and after its chance."""
    past = history("0 write 1", "0 ok", "1 read", "1 ok 1")
    rejected(past, refuting(call(0, 0, 1, required=False), call(2, 2, 3)), "have an order")
    # But not after it: the 1 has to be there before the 2, which has to be there before the read.
    past = history("0 write 1", "0 ok", "1 write 2", "1 ok", "2 read", "2 ok 1")
    verify(past, refuting(call(0, 0, 1, required=False), call(2, 2, 3), call(4, 4, 5)))


def test_core_calls_are_operations_of_that_key_and_come_once() -> None:
    past = history("0 write@a 1", "0 ok", "1 read@b", "1 ok null", "2 read@a", "2 ok null")
    verify(past, refuting(call(0, 0, 1), call(4, 4, 5), key="a"))
    there = "says nothing, is of another key or comes twice"
    rejected(past, refuting(call(0, 0, 1), call(2, 2, 3), key="b"), f"0 {there}")
    rejected(past, refuting(WRITE, WRITE, STALE_READ, key="a"), f"0 {there}")
    rejected(past, refuting(WRITE, call(99, 4, 5), key="a"), f"99 {there}")
    rejected(past, refuting(WRITE, STALE_READ, key="c"), "no operations of 'c'")
    rejected(past, refuting(WRITE, STALE_READ), "no operations of None")
    failed = history("0 write 1", "0 fail", "1 read", "1 ok null")
    rejected(failed, refuting(call(0, 0, 1), call(2, 2, 3)), f"0 {there}")


def test_two_invocations_with_one_index_cannot_hide_behind_each_other() -> None:
    events = list(history("0 write 1", "0 ok", "1 write 2", "1 ok", "2 read", "2 ok 2").events)
    events[2] = Event(index=0, process=1, type=EventType.INVOKE, f="write", value=2)
    rejected(
        History(tuple(events)), refuting(WRITE, STALE_READ), "two invocations with the index 0"
    )


# --- invalid: what may be left out ---------------------------------------------------------------


def test_what_only_observes_may_be_left_out() -> None:
    verify(STALE, refuting(WRITE, STALE_READ))
    past = history("0 cas [2,2]", "1 read", "1 ok 2", "0 ok")
    verify(past, refuting(call(1, 1, 2)))
    past = history("0 cas [null,2]", "1 read", "1 ok 2", "0 ok")
    rejected(past, refuting(call(1, 1, 2)), "0 is left out, but may matter")


def test_what_was_invoked_too_late_may_be_left_out() -> None:
    past = history("0 read", "0 ok 1", "1 write 1", "1 ok")
    verify(past, refuting(call(0, 0, 1)))
    rejected(past, refuting(call(0, 0, 3)), "2 is left out, but may matter")
    past = history("0 read", "1 write 1", "0 ok 1", "1 ok")
    rejected(past, refuting(call(0, 0, 2)), "1 is left out, but may matter")
    crashed = history("0 read", "1 write 1", "0 ok 1", "1 info")
    rejected(crashed, refuting(call(0, 0, 2)), "1 is left out, but may matter")
    # Only returns that are required count as an end.
    past = history("0 read", "1 write 1", "0 ok 1", "1 ok")
    rejected(past, refuting(call(0, 0, 2, required=False)), "have an order")


def test_nothing_required_refutes_nothing() -> None:
    rejected(STALE, refuting(), "have an order")
    rejected(STALE, refuting(call(0, 0, None)), "have an order")


def test_what_leads_elsewhere_may_be_left_out_and_leads_there_at_any_time() -> None:
    past = history("0 write 1", "0 ok", "1 write 9", "1 ok", "2 read", "2 ok 2")
    verify(past, refuting(call(4, 4, 5)))
    looked_at = history("0 write 1", "0 ok", "1 write 2", "1 ok", "2 read", "2 ok 2")
    rejected(looked_at, refuting(call(4, 4, 5)), "2 is left out, but may matter")
    # The wildcard: the write of 9 is gone, but a refusal of null needs what it did.
    past = history("0 write 9", "0 ok", "1 cas [null,1]", "1 fail")
    rejected(past, refuting(call(2, 2, 3), meaning=DIFFERS), "have an order")
    past = history("0 write 9", "1 cas [null,1]", "1 fail", "0 info")
    rejected(past, refuting(call(1, 1, 2), meaning=DIFFERS), "have an order")


def test_calls_that_lead_to_one_state_may_become_jumps_there() -> None:
    """Write 3 and write 3, crashed or not, are left out; the state may jump to 3 instead."""
    past = history(
        "0 write 3", "0 ok", "1 write 3", "1 ok", "2 cas [3,4]", "2 ok", "3 read", "3 ok 5"
    )
    core = (call(4, 4, 5), call(6, 6, 7))
    verify(past, jumping(["3"], *core))
    rejected(past, jumping([], *core), "0 is left out, but may matter")
    rejected(past, jumping(["4"], *core), "0 is left out, but may matter")
    # The jump gives what the read needs: it is no proof any more.
    seen = history("0 write 3", "0 ok", "1 write 4", "1 ok", "2 read", "2 ok 3")
    rejected(seen, jumping(["3"], call(2, 2, 3), call(4, 4, 5)), "have an order")
    verify(seen, jumping(["4"], call(0, 0, 1), call(2, 2, 3), call(4, 4, 5)))
    garbage: list[Any]
    for garbage in ([3], [None], [["3"]], [{}]):
        rejected(past, jumping(garbage, *core), "0 is left out, but may matter")
    rejected(past, jumping("3", *core), "expected list, not str")


def jumping(jumps: Any, *core: J) -> J:
    certificate = refuting(*core)
    certificate["refutation"]["jumps"] = jumps
    return certificate


def test_there_is_no_wildcard_where_nothing_left_out_needs_it() -> None:
    """Else nobody could refute that a cas was refused although nothing ever changed the value."""
    past = history("0 cas [null,1]", "0 fail")
    verify(past, refuting(call(0, 0, 1), meaning=DIFFERS))
    late = history("0 cas [null,1]", "0 fail", "1 write 9", "1 ok")
    verify(late, refuting(call(0, 0, 1), meaning=DIFFERS))


def test_appends_lead_elsewhere_if_nobody_got_a_string_with_them() -> None:
    past = history('0 append "x"', "0 ok", '1 append "y"', "1 ok", "2 get", '2 ok "zy"')
    verify(past, refuting(call(2, 2, 3), call(4, 4, 5), model="key-value"))
    # The x may become what was got.
    past = history('0 append "x"', "0 ok", '1 append "y"', "1 ok", "2 get", '2 ok "xy"')
    rejected(past, refuting(call(2, 2, 3), call(4, 4, 5), model="key-value"), "0 is left out")
    rejected(past, refuting(call(4, 4, 5), model="key-value"), "2 is left out")


def test_a_model_that_says_nothing_of_states_leaves_nothing_out() -> None:
    past = history("0 add 5", "0 ok", "1 read", "1 ok 1")
    rejected(past, refuting(call(2, 2, 3), model="counter"), "0 is left out, but may matter")
    verify(past, refuting(call(0, 0, 1), call(2, 2, 3), model="counter"))


# --- invalid: a forgotten past -------------------------------------------------------------------

# Positions:       0            1       2            3       4            5       6         7
LONG = history("0 write 5", "0 ok", "1 write 1", "1 ok", "2 write 2", "2 ok", "3 read", "3 ok 1")


def test_what_ended_before_from_is_forgotten() -> None:
    verify(LONG, refuting(call(4, 4, 5), call(6, 6, 7), since=4))
    verify(LONG, refuting(call(2, 2, 3), call(4, 4, 5), call(6, 6, 7), since=2))
    rejected(LONG, refuting(call(4, 4, 5), call(6, 6, 7), since=3), "2 is left out")
    # After the write of 1 began nothing is known: it may be 1.
    rejected(LONG, refuting(call(6, 6, 7), since=6), "have an order")


def test_from_begins_in_every_state_and_not_in_the_first() -> None:
    past = history("0 write 1", "0 ok", "1 read", "1 ok 1")
    rejected(past, refuting(call(2, 2, 3), since=2), "have an order")
    past = history("0 write 1", "0 ok", "1 cas [null,1]", "1 fail")
    rejected(past, refuting(call(2, 2, 3), meaning=DIFFERS, since=2), "have an order")


def test_what_spans_from_may_have_taken_effect_before_it() -> None:
    # The write of 1 ends after 4 but may have come before the write of 2, or never again.
    past = history("0 write 1", "1 write 2", "1 ok", "2 read", "0 ok", "2 ok 1", "3 read", "3 ok 2")
    spanning = call(0, 0, 4, required=False)
    reads = call(3, 3, 5), call(6, 6, 7)
    rejected(past, refuting(call(0, 0, 4), *reads, since=3), "0 may not take effect")
    rejected(past, refuting(*reads, since=3), "0 is left out, but may matter")
    verify(past, refuting(spanning, *reads, since=3))
    # A read that spans it may have been before it.
    past = history("0 read", "1 write 1", "1 ok", "2 read", "0 ok 0", "2 ok 1", "3 read", "3 ok 1")
    cheat = call(0, 0, 4), call(3, 3, 5)
    rejected(past, refuting(*cheat, since=3), "0 may not take effect")


def test_what_crashed_before_from_may_still_take_effect() -> None:
    past = history("0 write 1", "0 info", "1 write 2", "1 ok", "2 read", "2 ok 1")
    core = call(2, 2, 3), call(4, 4, 5)
    rejected(past, refuting(*core, since=2), "0 is left out, but may matter")
    rejected(past, refuting(call(0, 0, None), *core, since=2), "have an order")


def test_from_may_be_the_very_position_of_an_invocation() -> None:
    verify(LONG, refuting(call(4, 4, 5), call(6, 6, 7), since=4))
    rejected(LONG, refuting(call(4, 4, 5), call(6, 6, 7), since=5), "4 may not take effect")


def test_from_needs_a_model_that_knows_all_its_states() -> None:
    past = history("0 add 5", "0 ok", "1 read", "1 ok 1")
    certificate = refuting(call(2, 2, 3), model="counter", since=2)
    rejected(past, certificate, "nor for counter")


# --- invalid: elements ---------------------------------------------------------------------------


def test_only_some_elements_are_looked_at() -> None:
    past = history("0 add 1", "0 ok", "1 add 2", "1 ok", "2 read", "2 ok [2]")
    verify(past, refuting(call(0, 0, 1), call(4, 4, 5), model="set", elements=["1"]))
    lost = refuting(call(4, 4, 5), model="set", elements=["1"])
    rejected(past, lost, "0 is left out, but may matter")
    unharmed = refuting(call(2, 2, 3), call(4, 4, 5), model="set", elements=["2"])
    rejected(past, unharmed, "have an order")
    rejected(past, refuting(call(0, 0, 1), call(4, 4, 5), model="set"), "2 is left out")
    says_nothing = refuting(call(2, 2, 3), call(0, 0, 1), model="set", elements=["1"])
    rejected(past, says_nothing, "2 says nothing")


class CoarseSet(Set):
    """Knows elements and all its states: enough to ask for both."""

    def universe(self, actions: Collection[Action]) -> Sequence[State]:
        return [frozenset(), frozenset(["1"]), frozenset(["elsewhere"])]

    def leads_elsewhere(self, action: Action, actions: Collection[Action]) -> bool:
        return False


def test_elements_and_from_are_not_combined() -> None:
    past = history("0 add 1", "0 ok", "1 read", "1 ok []")
    core = call(0, 0, 1), call(2, 2, 3)
    verify(past, refuting(*core, model="set", elements=["1"]), CoarseSet())
    verify(past, refuting(*core, model="set", since=0), CoarseSet())
    both = refuting(*core, model="set", elements=["1"], since=0)
    rejected(past, both, "not with `elements`", CoarseSet())


@pytest.mark.parametrize(
    ("model", "initial", "lines"),
    [
        ("fifo-queue", [7, 8], ("0 dequeue", "0 ok 7", "1 dequeue", "1 ok 8")),
        ("stack", [8, 7], ("0 pop", "0 ok 7", "1 pop", "1 ok 8")),
        ("list-append", [7, 8], ("0 read", "0 ok [7,8]", "1 read", "1 ok [7,8]")),
        ("set", [7, 8], ("0 read", "0 ok [7,8]", "1 read", "1 ok [7,8]")),
    ],
)
def test_what_does_not_begin_empty_has_no_projection(
    model: str, initial: list[int], lines: tuple[str, ...]
) -> None:
    """The 7 is gone from the actions and still in the state: that refutes nothing."""
    past = history(*lines)
    certificate = refuting(call(2, 2, 3), model=model, initial=initial, elements=["8"])
    verify(past, ordering((None, [0, 2]), model=model, initial=initial))
    rejected(past, certificate, "only for a collection that begins empty")


def test_every_collection_has_a_projection_if_it_begins_empty() -> None:
    for name, lines in {
        "fifo-queue": ("0 enqueue 1", "0 ok", "1 dequeue", "1 ok 8"),
        "unordered-queue": ("0 enqueue 1", "0 ok", "1 dequeue", "1 ok 8"),
        "stack": ("0 push 1", "0 ok", "1 pop", "1 ok 8"),
        "list-append": ("0 append 1", "0 ok", "1 read", "1 ok [8]"),
    }.items():
        verify(history(*lines), refuting(call(2, 2, 3), model=name, elements=["8"]))
    rejected(STALE, refuting(WRITE, STALE_READ, elements=["1"]), "only for a collection")
    transaction = history('0 txn [["r","x",1]]', "0 ok")  # begins as (), and is no collection
    certificate = refuting(call(0, 0, 1), model="multi-register")
    verify(transaction, certificate)
    certificate["refutation"]["elements"] = ["1"]
    rejected(transaction, certificate, "only for a collection")


# --- invalid: the exhaustion ---------------------------------------------------------------------


def test_the_numbers_listed_have_to_be_right() -> None:
    right = counts((0, 1), (4, 0))
    verify(STALE, refuting(WRITE, STALE_READ, frontier=right))
    verify(STALE, refuting(WRITE, STALE_READ, frontier=None))
    for wrong in ([], right[:1], counts((0, 2), (4, 0)), counts((4, 1), (0, 0)), [*right, *right]):
        rejected(STALE, refuting(WRITE, STALE_READ, frontier=wrong), "frontier: found")


def test_configurations_are_states_and_what_open_calls_did() -> None:
    # While 0 returns, 1 and the crashed 2 are open: {0}, {0,1} twice, {0,2} twice, {0,1,2} thrice;
    # by the order of the last two, and of the write of 0, ends differ.
    past = history(
        "0 write 1", "1 write 2", "2 write 3", "0 ok", "1 ok", "3 read", "3 ok 4", "2 info"
    )
    core = call(0, 0, 3), call(1, 1, 4), call(2, 2, None), call(5, 5, 6)
    # Return of 0: {}: 1; {1}: 1, 2; {2}: 1, 3; {1,2}: 1, 2, 3. Of 1: {}: 1, 2; {2}: 1, 2, 3.
    verify(past, refuting(*core, frontier=counts((0, 8), (1, 5), (5, 0))))


def test_a_call_that_is_past_is_no_part_of_a_configuration() -> None:
    past = history("0 write 1", "0 ok", "1 write 2", "1 ok", "2 read", "2 ok 3")
    core = call(0, 0, 1, required=False), call(2, 2, 3), call(4, 4, 5)
    verify(past, refuting(*core, frontier=counts((2, 1), (4, 0))))


def test_what_is_too_large_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    verify(STALE, refuting(WRITE, STALE_READ))
    monkeypatch.setattr(checker.verify, "CONFIGURATIONS_MAX", 2)
    rejected(STALE, refuting(WRITE, STALE_READ), "too large to verify")
    monkeypatch.setattr(checker.verify, "CONFIGURATIONS_MAX", 3)
    verify(STALE, refuting(WRITE, STALE_READ))


def test_long_cores_are_walked_in_little_memory() -> None:
    lines = [f"0 {line}" for n in range(3000) for line in (f"write {n}", "ok")]
    past = history(*lines, "0 read", "0 ok 1")
    core = [call(index, index, index + 1) for index in range(0, 6002, 2)]
    proved = verify(past, refuting(*core))
    assert proved.configurations == 2 * 3000 + 1


# --- the file itself ------------------------------------------------------------------------------


def test_the_verifier_imports_no_search() -> None:
    path = Path(checker.verify.__file__)
    allowed = {"history", "meaning", "models", "models.model", "values", "verdict"}
    imported = set()
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Import):
            imported |= {alias.name for alias in part.names}
        if isinstance(part, ast.ImportFrom):
            assert part.level == 0
            imported.add(str(part.module))
    ours = {name.removeprefix("checker.") for name in imported if name.startswith("checker")}
    assert ours <= allowed
    standard = {name for name in imported if not name.startswith("checker")}
    assert standard <= {"__future__", "collections.abc", "dataclasses", "types", "typing"}
    assert len(path.read_text(encoding="utf-8").splitlines()) < 300
