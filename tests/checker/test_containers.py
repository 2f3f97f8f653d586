"""Collections decided in near-linear time, against every order of tiny histories."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import networkx
import pytest
from brute_force import has_order
from container_histories import VERBS, history, some_calls
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.calls import Call, Calls
from checker.containers import APPLICABLE, Decision, decide, graph, read_line
from checker.containers.outcome import RETURNED_FIRST, returned_before
from checker.models import Model, model_named
from checker.models.model import Action, Elementwise
from checker.replay import replay
from checker.verdict import Verdict

PURE = ("read", "dequeue-empty", "pop-empty")
STARTS: dict[str, list[Any]] = {
    "counter": [0, 3],
    "fifo-queue": [[], [-1, -2]],
    "list-append": [[], [-1, -2]],
    "set": [[], [-1, -2]],
    "stack": [[], [-1, -2]],
    "unordered-queue": [[], [-1, -2]],
}
# Structures whose contradictions need not show a cycle.
SHOWN_BY_CASES = ("counter", "set", "stack")


def memoised(calls: Calls, model: Model) -> bool:
    """`has_order`, but no set of calls with the same state is looked at twice."""
    everything = list(calls)
    needed = sum(1 << n for n, call in enumerate(everything) if not call.optional)
    before = [
        sum(1 << m for m, o in enumerate(everything) if o.end is not None and o.end < call.start)
        for call in everything
    ]
    seen = {(0, model.initial)}
    waiting = [(0, model.initial)]
    while waiting:
        done, state = waiting.pop()
        if done & needed == needed:
            return True
        for n, call in enumerate(everything):
            if done >> n & 1 or before[n] & ~done:
                continue
            after = model.step(state, call.action)
            if after is not None and (done | 1 << n, after) not in seen:
                seen.add((done | 1 << n, after))
                waiting.append((done | 1 << n, after))
    return False


def projected(decision: Decision, model: Model) -> Calls:
    """Return the core as it is about its elements alone."""
    assert decision.core is not None
    if decision.elements is None:
        return decision.core
    assert isinstance(model, Elementwise)
    seen = [(call, model.project(call.action, decision.elements)) for call in decision.core]
    return tuple(replace(call, action=action) for call, action in seen if action is not None)


def agrees(calls: Calls, model: Model) -> str:
    """Check one decision in every way there is; return what it was."""
    decision = decide(calls, model.name, model.initial)
    expected = memoised(calls, model)
    if decision is None:
        return f"none-{expected}"
    assert (decision.verdict is Verdict.VALID) == expected, decision
    if decision.verdict is Verdict.VALID:
        assert model.name != "counter"
        assert decision.order is not None
        replay(decision.order, calls, model)
        return "valid"
    assert decision.core is not None
    begins_empty = model.initial == model_named(model.name).initial
    assert (decision.elements is not None) == (begins_empty and model.name != "counter")
    given_calls = {call.index: call for call in calls}
    for call in decision.core:  # as it was, or made optional
        assert call in (given_calls[call.index], replace(given_calls[call.index], end=None))
    assert len({call.index for call in decision.core}) == len(decision.core)
    assert not memoised(projected(decision, model), model), decision
    _left_out(decision, calls, model)
    drawn = graph(decision)
    assert isinstance(drawn, networkx.DiGraph)
    assert set(drawn) <= {call.index for call in calls}
    assert drawn.number_of_edges() > 0, decision
    for before, after, reason in decision.cycle:
        if reason == RETURNED_FIRST:
            assert returned_before(given_calls[before], given_calls[after]), decision
    if begins_empty and model.name not in SHOWN_BY_CASES:
        assert not networkx.is_directed_acyclic_graph(drawn), decision
    return "invalid"


def _left_out(decision: Decision, calls: Calls, model: Model) -> None:
    """What is not in the core only observes, is about other elements, or came too late."""
    assert decision.core is not None
    there = {call.index for call in decision.core}
    last = max((call.end for call in decision.core if call.end is not None), default=0)
    for call in calls:
        action: Action | None = call.action
        if decision.elements is not None:
            assert isinstance(model, Elementwise)
            action = model.project(call.action, decision.elements)
        assert (
            call.index in there or action is None or model.is_pure(call.action) or call.start > last
        ), (call, decision)


def fuzz(name: str, seed: int, count: int, calls_max: int = 9) -> Counter[str]:
    """Compare on `count` histories; return how often each answer was given."""
    stream = random.Random(seed)
    answers: Counter[str] = Counter()
    for _ in range(count):
        model = model_named(name, stream.choice(STARTS[name]))
        answers[agrees(some_calls(stream, model, calls_max), model)] += 1
    return answers


def is_plain(calls: Calls) -> bool:
    """Whether values are distinct and no take is crashed: then there should be an answer."""
    changes = [call.action for call in calls if call.action[0] not in PURE]
    takes = ("dequeue", "dequeue-unknown", "pop", "pop-unknown")
    put = [action for action in changes if action[0] not in takes]
    return len(set(put)) == len(put) and not any(
        call.optional and call.action[0] in takes for call in calls
    )


@pytest.mark.parametrize("name", APPLICABLE)
def test_decisions_agree_with_every_order(name: str) -> None:
    answers = fuzz(name, seed=1, count=2500)
    assert answers["invalid"] > 500
    if name != "counter":
        assert answers["valid"] > 1000
        assert answers["none-True"] + answers["none-False"] < 150, answers


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(APPLICABLE), stream=st.randoms(use_true_random=False))
def test_decisions_agree_on_what_hypothesis_thinks_of(name: str, stream: random.Random) -> None:
    model = model_named(name, stream.choice(STARTS[name]))
    agrees(some_calls(stream, model, 8), model)


@pytest.mark.parametrize("name", APPLICABLE[1:])
def test_there_is_an_answer_whenever_values_are_distinct(name: str) -> None:
    stream = random.Random(3)
    asked = 0
    while asked < 1000:
        model = model_named(name, stream.choice(STARTS[name]))
        calls = some_calls(stream, model, 9)
        if is_plain(calls):
            asked += 1
            assert decide(calls, name, model.initial) is not None, calls


def test_a_set_whose_search_gives_up_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_line, "_NODES_LEAST", 3)
    monkeypatch.setattr(read_line, "_NODES_PER_READ", 0)
    answers = fuzz("set", seed=5, count=1500)
    assert answers["none-True"] > 10
    assert answers["none-False"] > 10
    assert answers["valid"] > 100


@pytest.mark.parametrize("name", APPLICABLE)
def test_the_memoised_twin_agrees_with_all_orders(name: str) -> None:
    stream = random.Random(2)
    model = model_named(name)
    for _ in range(200):
        calls = some_calls(stream, model, 5)
        assert memoised(calls, model) == has_order(calls, model)


@pytest.mark.parametrize("name", APPLICABLE[1:])
def test_long_histories_of_real_objects_have_an_order(name: str) -> None:
    stream = random.Random(4)
    for attempt in range(24):
        model = model_named(name)
        calls = history(stream, model, calls_max=400, crashes=attempt % 4 > 0)
        decision = decide(calls, name, model.initial)
        assert decision is not None
        assert decision.order is not None
        if name != "unordered-queue" or is_plain(calls):  # else there are too many bags
            replay(decision.order, calls, model)


def calls_of(*told: tuple[Action, int, int | None]) -> Calls:
    calls = [
        Call(index=n, action=action, start=start, end=end)
        for n, (action, start, end) in enumerate(told)
    ]
    return tuple(sorted(calls, key=lambda call: call.start))


def verdict(name: str, *told: tuple[Action, int, int | None], start: Any = None) -> str:
    """Decide, check the answer in every way, and return it."""
    return agrees(calls_of(*told), model_named(name, start or STARTS[name][0]))


def elements(name: str, *told: tuple[Action, int, int | None]) -> set[str]:
    decision = decide(calls_of(*told), name, model_named(name).initial)
    assert decision is not None
    assert decision.elements is not None
    return set(decision.elements)


def test_a_stack_of_three_where_each_two_could_be() -> None:
    """Nobody can be at the bottom of all three, though somebody can of any two."""
    a = ((("push", "a"), 0, 1), (("pop", "a"), 5, 12))
    b = ((("push", "b"), 3, 4), (("pop", "b"), 9, 10))
    c = ((("push", "c"), 2, 8), (("pop", "c"), 13, 14))
    assert verdict("stack", *a, *b, *c) == "invalid"
    assert elements("stack", *a, *b, *c) == {"a", "b", "c"}
    for two in ((*a, *b), (*b, *c), (*a, *c)):
        assert verdict("stack", *two) == "valid"


def test_a_core_has_nobody_it_can_do_without() -> None:
    """The three hold on to each other, but a and b alone are one too many."""
    a = ((("push", "a"), 0, 1), (("pop", "a"), 4, 5))
    b = ((("push", "b"), 2, 3), (("pop", "b"), 10, 11))
    c = ((("push", "c"), 6, 7), (("pop", "c"), 12, 13))
    assert elements("stack", *a, *b, *c) == {"a", "b"}
    assert verdict("stack", *a, *b, *c) == "invalid"


def test_a_stack_whose_bottom_can_only_be_the_last_to_be_pushed() -> None:
    told = (
        (("push", "low"), 0, 9),
        (("push", "one"), 1, 2),
        (("push", "two"), 3, 4),
        (("pop", "two"), 5, 6),
        (("pop", "one"), 10, 11),
        (("pop", "low"), 12, 13),
    )
    assert verdict("stack", *told) == "valid"
    assert verdict("stack", *told, (("pop-empty",), 7, 8)) == "invalid"


def test_an_element_that_stays_in_a_stack_shuts_in_what_is_beneath() -> None:
    told = ((("push", "a"), 0, 1), (("push", "b"), 2, 3), (("pop", "a"), 4, 5))
    assert verdict("stack", *told) == "invalid"
    assert verdict("stack", *told, (("pop-unknown",), 4, None)) == "valid"
    assert verdict("stack", *told, (("pop-unknown",), 6, None)) == "none-False"
    assert verdict("stack", *told, (("pop", "b"), 4, None)) == "valid"


def test_a_queue_is_never_empty_while_elements_relieve_each_other() -> None:
    told = (
        (("enqueue", "a"), 0, 1),
        (("dequeue-empty",), 2, 9),
        (("enqueue", "b"), 3, 4),
        (("dequeue", "a"), 5, 6),
        (("dequeue", "b"), 10, 11),
    )
    for name in ("fifo-queue", "unordered-queue"):
        assert verdict(name, *told) == "invalid"
        assert elements(name, *told) == {"a", "b"}
        later = [*told[:2], (("enqueue", "b"), 3, 7), *told[3:]]
        assert verdict(name, *later) == "valid"


def test_a_crashed_take_may_have_emptied_it() -> None:
    for name, (put, take) in VERBS.items():
        told: list[tuple[Action, int, int | None]] = [
            ((put, "a"), 0, 1),
            ((f"{take}-empty",), 4, 5),
        ]
        assert verdict(name, *told) == "invalid"
        assert verdict(name, *told, ((f"{take}-unknown",), 3, None)) == "valid"
        assert verdict(name, *told, ((take, "a"), 3, None)) == "valid"
        assert verdict(name, *told, ((f"{take}-unknown",), 6, None)) == "none-False"


def test_what_stays_in_the_way_of_three_together_may_have_been_taken() -> None:
    told = (
        (("push", "1"), 4, 12),
        (("push", "2"), 6, 8),
        (("push", "3"), 10, 13),
        (("push", "4"), 11, 20),
        (("pop", "3"), 15, 16),
        (("pop", "2"), 18, 19),
        (("pop", "1"), 22, 24),
    )
    assert verdict("stack", *told) == "invalid"
    assert verdict("stack", *told, (("pop-unknown",), 17, None)) == "valid"


def test_a_dequeue_that_returned_proves_its_enqueue_was_over() -> None:
    """The enqueue of a is still under way, but a was out before b came in: a is first."""
    told = (
        (("enqueue", "a"), 0, 20),
        (("dequeue", "a"), 1, 2),
        (("enqueue", "b"), 3, 4),
        (("dequeue", "b"), 5, 6),
    )
    assert verdict("fifo-queue", *told) == "valid"
    assert verdict("fifo-queue", *told, (("dequeue-empty",), 7, 8)) == "valid"


def test_elements_that_overtake_in_a_queue_but_not_in_a_bag() -> None:
    told = (
        (("enqueue", "a"), 0, 1),
        (("enqueue", "b"), 2, 3),
        (("dequeue", "b"), 4, 5),
        (("dequeue", "a"), 6, 7),
    )
    assert verdict("fifo-queue", *told) == "invalid"
    assert verdict("unordered-queue", *told) == "valid"
    assert verdict("fifo-queue", *told[:3]) == "invalid"  # a stays, in front of b
    assert verdict("fifo-queue", *told[:3], (("dequeue-unknown",), 4, None)) == "valid"


def test_a_crashed_enqueue_happened_if_its_element_was_seen() -> None:
    told = ((("enqueue", "a"), 2, None), (("dequeue", "a"), 3, 4))
    assert verdict("fifo-queue", *told) == "valid"
    assert verdict("fifo-queue", told[0], (("dequeue", "a"), 0, 1)) == "invalid"
    assert verdict("fifo-queue", told[0], (("dequeue-empty",), 3, 4)) == "valid"


def test_a_queue_where_a_moment_must_be_after_the_others_have_left() -> None:
    told = (
        (("enqueue", "a"), 0, 1),
        (("enqueue", "b"), 2, 9),
        (("dequeue", "b"), 3, 10),
        (("dequeue", "a"), 5, 6),
        (("dequeue-empty",), 7, 8),
    )
    assert verdict("fifo-queue", *told) == "valid"


def test_reads_of_a_set_that_disagree_about_the_order_of_two_adds() -> None:
    told = (
        (("add", "1"), 0, 9),
        (("add", "2"), 1, 8),
        (("read", ("1",)), 2, 7),
        (("read", ("2",)), 3, 6),
    )
    assert verdict("set", *told) == "invalid"
    assert elements("set", *told) == {"1", "2"}
    assert verdict("set", *told, (("remove", "1"), 4, 5)) == "valid"


def test_a_lost_element_among_many_is_found() -> None:
    added = [(("add", str(n)), 10 * n, 10 * n + 1) for n in range(30)]
    reads = [
        (("read", tuple(sorted(str(m) for m in range(n + 1) if (n, m) != (20, 7)))),
         10 * n + 2, 10 * n + 3) for n in range(30)
    ]  # fmt: skip
    decision = decide(calls_of(*added, *reads), "set", frozenset())
    assert decision is not None
    assert decision.elements == frozenset({"7"})
    assert decision.core is not None
    assert [call.start for call in decision.core][-1] == 202
    assert len(decision.core) <= 3


def test_a_remove_that_found_nothing() -> None:
    told = (
        (("add", "1"), 0, 5),
        (("remove", "1"), 1, 2),
        (("read", ("1",)), 3, 4),
        (("read", ("1",)), 6, 7),
    )
    assert verdict("set", *told) == "valid"
    assert verdict("set", *told, (("read", ()), 8, 9)) == "invalid"
    swapped = ((("remove", "1"), 0, 1), (("add", "1"), 2, 3), (("read", ()), 4, 5))
    assert verdict("set", *swapped) == "invalid"


def test_a_choice_of_which_goes_first_the_add_or_the_remove() -> None:
    """The read is after the add of x, so the removes, long over, found nothing: up to three."""
    told: list[tuple[Action, int, int | None]] = [(("add", "x"), 50, 51)]
    for count in range(1, 5):
        told.append((("add", str(count)), count, 30 + count))
        told.append((("remove", str(count)), 10 + count, 20 + count))
        seen = ("read", (*map(str, range(1, count + 1)), "x"))
        answer = verdict("set", *told, (seen, 5, 60))
        assert answer == ("valid" if count <= 3 else "none-True")


def test_lists_show_the_order_of_their_appends() -> None:
    told = (
        (("append", "1"), 0, 3),
        (("append", "2"), 1, 2),
        (("read", ("2", "1")), 4, 5),
        (("read", ("2",)), 6, 7),
    )
    assert verdict("list-append", *told[:3]) == "valid"
    assert verdict("list-append", *told) == "invalid"
    assert elements("list-append", *told) == {"1"}
    unread = (("append", "3"), 8, 9)
    assert verdict("list-append", *told[:3], unread) == "valid"
    assert verdict("list-append", *told[:3], unread, (("read", ("2", "1")), 10, 11)) == "invalid"


def test_a_counter_is_only_ever_refuted() -> None:
    told = ((("add", 1), 0, 1), (("add", 2), 2, None), (("read", 3), 3, 4), (("read", 1), 5, 6))
    assert verdict("counter", *told[:3]) == "none-True"
    assert verdict("counter", *told) == "invalid"
    assert verdict("counter", told[0], (("read", 0), 3, 4)) == "invalid"
    assert verdict("counter", told[0], (("read", 2), 3, 4)) == "invalid"


def test_values_that_are_not_distinct_are_left_to_the_search() -> None:
    twice = ((("enqueue", "1"), 0, 1), (("enqueue", "1"), 2, 3))
    assert decide(calls_of(*twice), "fifo-queue", ()) is None
    assert decide(calls_of((("add", "1"), 0, 1)), "set", frozenset({"1"})) is None
    assert decide(calls_of((("append", "1"), 0, 1)), "list-append", ("1",)) is None
    assert decide(calls_of((("push", "1"), 0, 1)), "stack", ("1",)) is None
    assert decide((), "fifo-queue", ("1", "1")) is None
    assert decide((), "list-append", ("1", "1")) is None
    assert decide((), "register", "null") is None


def test_the_contradiction_of_a_queue_is_a_cycle() -> None:
    told = (
        (("enqueue", "a"), 0, 1),
        (("enqueue", "b"), 2, 3),
        (("dequeue", "b"), 4, 5),
        (("dequeue", "a"), 6, 7),
        (("enqueue", "c"), 8, 9),
    )
    decision = decide(calls_of(*told), "fifo-queue", ())
    assert decision is not None
    drawn = graph(decision)
    assert sorted(drawn) == [0, 1, 2, 3]
    assert networkx.find_cycle(drawn)
    assert all(data["reason"] for *_, data in drawn.edges(data=True))
