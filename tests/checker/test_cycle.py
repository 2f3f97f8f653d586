"""Circles of what must come before what: those that people know, and that no edge is made up."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import networkx as nx
import pytest
from certificates import history
from random_calls import can_be_ordered
from random_events import MEANINGS, REQUESTS, calls_in, model_of, random_history

from checker import Verdict, check, model_named
from checker import decide as decide  # the kernels are in memory, whatever else was run
from checker.calls import Call, Calls
from checker.core import Core, core_of, settled
from checker.cycle import START, Edge, cycle_of, graph_of, in_words
from checker.models import Coarse, Model
from checker.verify import verify

CAS = model_named("cas-register")
Plan = tuple[tuple[Any, ...], int, int | None]


def core(*plans: Plan, since: int | None = None) -> Core:
    """Return the core of calls (action, start, end), numbered as they are written."""
    calls = tuple(
        Call(index=n, action=action, start=start, end=end)
        for n, (action, start, end) in enumerate(plans)
    )
    last = max(call.end for call in calls if call.end is not None)
    return core_of(calls, until=last, since=since)


def write(value: int, start: int, end: int | None) -> Plan:
    return ("write", str(value)), start, end


def read(value: int | None, start: int, end: int) -> Plan:
    return ("read", "null" if value is None else str(value)), start, end


def cas(old: int | None, new: int, start: int, end: int) -> Plan:
    return ("cas", "null" if old is None else str(old), str(new)), start, end


# What people call it: the core, how long the shortest circle is, and edges that have to be known.
KNOWN: dict[str, tuple[Core, int, set[tuple[int, int, str]]]] = {
    "stale read": (
        core(write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)),
        2, {(0, 1, "rt"), (1, 2, "rt"), (2, 1, "rw")},
    ),
    "stale read of what was before": (
        core(write(1, 0, 1), read(None, 2, 3)), 2, {(0, 1, "rt"), (1, 0, "rw")},
    ),
    "a read from the future": (
        core(read(1, 0, 1), write(1, 2, 3)), 2, {(0, 1, "rt"), (1, 0, "wr")},
    ),
    "lost update": (
        core(cas(None, 1, 0, 5), cas(None, 2, 1, 4)), 2, {(0, 1, "rw"), (1, 0, "rw")},
    ),
    "lost write": (
        core(write(1, 0, 1), cas(1, 2, 2, 9), cas(1, 3, 3, 8)), 2, {(1, 2, "rw"), (2, 1, "rw")},
    ),
    "new, old, new": (
        core(write(1, 0, 20), write(2, 1, 19), read(1, 2, 3), read(2, 4, 5), read(1, 6, 7)),
        2, {(0, 1, "ww"), (1, 0, "ww"), (2, 3, "rt"), (1, 3, "wr"), (0, 4, "wr")},
    ),
    "fractured order": (
        core(write(1, 0, 20), write(2, 1, 19), read(1, 2, 6), read(2, 3, 7), read(2, 8, 12),
             read(1, 9, 13)),
        2, {(1, 0, "ww"), (0, 1, "ww")},
    ),
    "an own write that is not seen any more": (
        core(write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6)),
        2, {(0, 1, "rt"), (1, 2, "wr"), (2, 3, "rt"), (1, 0, "ww")},
    ),
    "a crashed write that was seen and then not": (
        core(write(1, 0, None), read(1, 1, 2), read(None, 3, 4)),
        2, {(0, 1, "wr"), (1, 2, "rt"), (2, 0, "rw")},
    ),
    "three writes that three readers saw in a ring": (
        core(write(1, 0, 30), write(2, 1, 31), write(3, 2, 32),
             read(1, 3, 6), read(2, 7, 9), read(2, 4, 10), read(3, 11, 14),
             read(3, 5, 15), read(1, 16, 18)),
        2, {(0, 1, "ww"), (1, 2, "ww"), (2, 0, "ww")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_what_people_know_by_name(name: str) -> None:
    known, length, edges = KNOWN[name]
    drawn, found = graph_of(known, CAS), cycle_of(known, CAS)
    assert isinstance(drawn, nx.DiGraph)
    assert edges <= set(drawn.edges(data="reason"))
    assert set(found) <= set(drawn.edges(data="reason"))
    assert [after for _, after, _ in found] == [before for before, *_ in (*found[1:], found[0])]
    assert len({before for before, *_ in found}) == len(found) == length
    assert min(map(len, nx.simple_cycles(drawn, length_bound=4))) == length


def test_a_core_without_a_circle() -> None:
    for none in (
        core(read(9, 0, 1)),  # written by nobody
        core(write(1, 0, 9), write(2, 1, 8), read(1, 2, 7)),  # fine
        core(write(1, 0, 9), write(1, 1, 8), read(1, 10, 11)),  # one of two
        core(read(None, 0, 1)),
    ):
        assert cycle_of(none, CAS) == ()


def test_a_forgotten_past_may_have_given_any_value() -> None:
    calls = (write(1, 0, 5), read(2, 4, 7), read(1, 8, 9))
    assert cycle_of(core(*calls, since=3), CAS) == ()
    stale = (write(1, 0, 1), write(2, 4, 5), read(1, 6, 7))
    # Nobody gave the 1 after that, so it was there before, and before the write of 2.
    assert set(cycle_of(core(*stale, since=3), CAS)) in (
        {(1, 2, "rt"), (2, 1, "rw")},
        {(START, 1, "rt"), (1, START, "ww")},
    )


def test_a_large_core_is_not_drawn() -> None:
    many = core(*(write(n, 2 * n, 2 * n + 1) for n in range(70)), read(1, 500, 501))
    assert graph_of(many, CAS).number_of_edges() == 0
    assert cycle_of(many, CAS) == ()


def test_in_words() -> None:
    said = in_words(
        [(0, 1, "rt"), (1, 2, "wr"), (2, 3, "rw"), (3, 0, "ww"), (0, START, "odd")],
        lambda index: {START: "before"}.get(index, "abcd"[index]),
    )
    assert said == [
        "a returned before b was invoked",
        "c saw what b gave",
        "c saw a value that d changed, so it came before",
        "d came before the value that a gave was seen, so before a",
        "a must come before before (odd)",
    ]


def orders(calls: Calls, model: Model) -> Iterator[tuple[int, ...]]:
    """Yield every legal order of all required calls and any of the others."""

    def extend(state: Any, left: list[Call], so_far: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if all(call.optional for call in left):
            yield so_far
        for call in left:
            if any(other.end is not None and other.end < call.start for other in left):
                continue
            after = model.step(state, call.action)
            if after is not None:
                others = [other for other in left if other is not call]
                yield from extend(after, others, (*so_far, call.index))

    return extend(model.initial, list(calls), ())


@pytest.mark.parametrize("name", REQUESTS)
def test_every_edge_holds_in_every_legal_order(name: str) -> None:
    """Of tiny histories that have orders: no circle, and no edge that an order contradicts."""
    model, looked = model_of(name), 0
    for seed in range(150):
        stream = Random(f"{name} {seed}")
        meaning = stream.choice(MEANINGS)
        calls = calls_in(random_history(stream, name, operations_max=5), model, meaning)
        if not any(call.end for call in calls):
            continue
        legal = list(orders(calls, model))
        if not legal:
            continue
        looked += 1
        drawn = graph_of(core_of(calls, until=max(c.end or 0 for c in calls)), model)
        assert nx.is_directed_acyclic_graph(drawn), calls
        edges: list[Edge] = list(drawn.edges(data="reason"))
        for before, after, reason in edges:
            for order in legal:
                if after == START:
                    pytest.fail(f"{before} before the beginning ({reason}): {calls}")
                if before != START and before in order and after in order:
                    assert order.index(before) < order.index(after), (reason, calls)
    assert looked > 30


@pytest.mark.parametrize("name", REQUESTS)
def test_what_can_be_ordered_has_no_circle_whatever_is_left_out(name: str) -> None:
    """Nor with a forgotten past, nor without those who lead where nobody looks."""
    model = model_of(name)
    for seed in range(150):
        stream = Random(f"{name} {seed}")
        calls = calls_in(random_history(stream, name, operations_max=7), model, MEANINGS[0])
        ends = sorted(call.end for call in calls if call.end is not None)
        if not ends or not can_be_ordered(calls, model.step, model.initial):
            continue
        cores = [core_of(calls, until=until) for until in (ends[-1], stream.choice(ends))]
        if isinstance(model, Coarse):
            cores.append(core_of(calls, until=ends[-1], since=stream.choice(ends)))
        for whole in cores:
            for some in (whole, settled(whole, model)):
                assert cycle_of(some, model) == (), (some, calls)


def test_a_circle_of_a_check_is_in_its_certificate_and_in_its_story() -> None:
    random = history("0 write 1", "0 ok", "0 write 2", "0 ok", "1 read", "1 ok 1")
    result = check(random, CAS)
    assert result.verdict is Verdict.INVALID
    assert result.certificate is not None
    assert result.counterexample is not None
    circle = result.certificate["refutation"]["cycle"]
    assert circle is not None
    assert sorted(circle) == [[2, 4, "rt"], [4, 2, "rw"]]
    assert sorted(result.counterexample["cycle"]) == [
        "read 1 (event 4) saw a value that write 2 (event 2) changed, so it came before",
        "write 2 (event 2) returned before read 1 (event 4) was invoked",
    ]
    assert verify(random, result.certificate).verdict is Verdict.INVALID
