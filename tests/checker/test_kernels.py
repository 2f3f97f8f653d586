"""The kernels one by one, against what they are said to do, on arrays small enough to see through."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from differential import a_register
from random_calls import (
    calls_from,
    register_calls,
)

from checker.kernels import fronts, layout, retell, visited
from checker.kernels.arrange import arrange, assign_slots, group_optional
from checker.kernels.chains import NOBODY, SEVERAL, chains, soon_of
from checker.kernels.layout import (
    CAS,
    CHAIN,
    DEADLINE,
    END,
    GIVES,
    INFINITE,
    KIND,
    NEEDS,
    NOT_ALLOWED,
    READ,
    REFUSED,
    SLOT,
    START,
    TABLE,
    UNKNOWN,
    WRITE,
)
from checker.kernels.refute import (
    CHAIN_ORDER,
    CHAINS_CROSS,
    NEVER_GIVEN,
    NOTHING,
    STALE,
    TWO_CAS,
    refute,
)
from checker.models import model_named
from checker.problem import Problem, problem_of
from checker.race import BreadthFirst, DepthFirst, Transitions

CAS_REGISTER = model_named("cas-register")
Told = tuple[tuple[Any, ...], int, int | None]


def problem(*told: Told) -> Problem:
    return problem_of(calls_from(*told), CAS_REGISTER)


# Events, slots, classes.


@pytest.mark.parametrize("far", [1, 1000])
def test_events_are_positions_without_gaps(far: int) -> None:
    for seed in range(60):
        calls = register_calls(Random(f"arrange {seed}"))
        table = np.zeros((len(calls), layout.CALL_COLUMNS), np.int32)
        start = np.array([5 + far * call.start for call in calls], np.int64)
        end = np.array([-1 if c.end is None else 5 + far * c.end for c in calls], np.int64)
        events = arrange(table, start, end)
        told = sorted([(int(at), n) for n, at in enumerate(start)]
                      + [(int(at), ~n) for n, at in enumerate(end) if at >= 0])  # fmt: skip
        assert events.tolist() == [event for _, event in told]
        for n, call in enumerate(calls):
            assert events[table[n, START]] == n
            assert table[n, END] == INFINITE if call.end is None else events[table[n, END]] == ~n


def test_no_calls_have_no_events() -> None:
    nothing = np.zeros((0, layout.CALL_COLUMNS), np.int32)
    assert len(arrange(nothing, np.zeros(0, np.int64), np.zeros(0, np.int64))) == 0
    assert len(group_optional(nothing)[0]) == 0
    assert assign_slots(nothing, np.zeros(0, np.int32)) == 0


def test_open_calls_have_different_slots_and_no_more_than_needed() -> None:
    for seed in range(60):
        made = problem_of(register_calls(Random(f"slots {seed}")), CAS_REGISTER)
        held: dict[int, int] = {}
        most = 0
        for event in made.events.tolist():
            if event >= 0 and made.calls[event, END] != INFINITE:
                slot = int(made.calls[event, SLOT])
                assert slot not in held
                held[slot] = event
                most = max(most, len(held))
            elif event < 0:
                assert held.pop(int(made.calls[~event, SLOT])) == ~event
        assert made.slots == most


def test_optional_calls_that_do_the_same_are_one_class() -> None:
    made = problem(
        (("write", "1"), 0, None), (("write", "2"), 1, None), (("write", "1"), 2, None),
        (("cas", "1", "2"), 3, None), (("cas", "2", "1"), 4, None), (("cas", "1", "2"), 5, None),
        (("read", "1"), 6, 7), (("read", "2"), 8, 9),
    )  # fmt: skip
    members = sorted(some.tolist() for some in made.optional_calls)
    assert members == [[0, 2], [1], [3, 5], [4]]
    for k, some in enumerate(made.optional_calls):
        for call in some.tolist():
            assert made.calls[call, SLOT] == k
            assert made.calls[call, [KIND, NEEDS, GIVES]].tolist() == made.optional[k].tolist()


# Steps and transitions.


def test_what_each_kind_does() -> None:
    keys, values = np.full(8, layout.EMPTY, np.int64), np.zeros(8, np.int32)
    layout.enter(keys, values, 3, 5, 2, 7)
    layout.enter(keys, values, 3, 6, 2, NOT_ALLOWED)

    def step(kind: int, needs: int, gives: int, state: int) -> int:
        return int(layout.step(kind, needs, gives, state, keys, values, 3))

    assert [step(READ, 4, 4, state) for state in (4, 5)] == [4, NOT_ALLOWED]
    assert [step(WRITE, -1, 4, state) for state in (4, 5)] == [4, 4]
    assert [step(CAS, 4, 5, state) for state in (4, 5)] == [5, NOT_ALLOWED]
    assert [step(REFUSED, 4, -1, state) for state in (4, 5)] == [NOT_ALLOWED, 5]
    assert [step(TABLE, 2, -1, state) for state in (5, 6, 7)] == [7, NOT_ALLOWED, UNKNOWN]
    assert step(TABLE, 1, -1, 5) == UNKNOWN


def test_transitions_are_found_again_however_full_the_table_is() -> None:
    known: dict[tuple[int, int], int] = {}
    keys, values = np.full(4, layout.EMPTY, np.int64), np.zeros(4, np.int32)
    stream = Random("transitions")
    for _ in range(200):
        if 2 * (len(known) + 1) > len(keys):
            more, more_values = (
                np.full(4 * len(keys), layout.EMPTY, np.int64),
                np.zeros(4 * len(keys), np.int32),
            )
            layout.rehash(keys, values, more, more_values)
            keys, values = more, more_values
        at = stream.randrange(30), stream.randrange(5)
        known[at] = stream.randrange(-1, 30)
        layout.enter(keys, values, 5, *at, known[at])
    for state in range(30):
        for cls in range(5):
            assert layout.look_up(keys, values, 5, state, cls) == known.get((state, cls), UNKNOWN)


def test_bits_are_those_that_were_set() -> None:
    words = np.zeros(3, np.uint64)
    for bit in (0, 63, 64, 130):
        layout.put(words, bit)
    assert [bit for bit in range(192) if layout.has(words, bit)] == [0, 63, 64, 130]
    layout.drop(words, 64)
    layout.drop(words, 65)
    assert [bit for bit in range(192) if layout.has(words, bit)] == [0, 63, 130]


def test_configurations_that_were_entered_are_known_and_no_others() -> None:
    table = np.zeros((8, 4), np.uint64)
    seen: set[tuple[int, ...]] = set()
    stream = Random("visited")
    again = 0
    for _ in range(400):
        if 2 * (len(seen) + 1) > len(table):
            larger = np.zeros((4 * len(table), 4), np.uint64)
            visited.rehash_visited(table, larger)
            table = larger
        words = np.array([stream.randrange(3), stream.randrange(2) << 63], np.uint64)
        at = (*words.tolist(), stream.randrange(4), stream.randrange(3), stream.randrange(3))
        known = visited.is_known(table, words, at[2], at[3], at[4])
        assert known == (at in seen)
        again += known
        seen.add(at)
    assert again > 100


# Chains, and contradictions without a search.


def chained(made: Problem) -> tuple[Any, ...]:
    return tuple(chains(made.calls, made.states + 1, made.initial))


def state_of(made: Problem, text: str) -> int:
    assert made.graph is not None
    return made.graph.number(text)


def test_who_alone_gives_a_state_and_until_when_it_must_stay() -> None:
    made = problem(
        (("write", "1"), 0, 9), (("read", "1"), 2, 5), (("read", "1"), 6, 8), (("write", "2"), 1, 3),
        (("write", "2"), 10, 11), (("read", "2"), 12, 13),
    )  # fmt: skip
    sole, first_end, last_start, following = chained(made)
    one, two = state_of(made, "1"), state_of(made, "2")
    assert made.calls[sole[one], GIVES] == one
    assert sole[two] == SEVERAL
    assert sole[made.initial] == NOBODY
    assert first_end[one] == 4  # before the first read of it returns
    assert last_start[one] == 5  # until the last one is invoked
    assert set(following.tolist()) == {-1}
    assert made.calls[sole[one], DEADLINE] == 4
    assert made.calls[sole[one], CHAIN] == one
    assert {int(call[CHAIN]) for call in made.calls if call[GIVES] == two} == {-1}


def test_a_cas_ties_two_reigns_to_a_chain() -> None:
    made = problem(
        (("write", "1"), 0, 12), (("cas", "1", "2"), 1, 13), (("cas", "2", "3"), 2, 14),
        (("read", "3"), 3, 4), (("read", "3"), 10, 11),
    )  # fmt: skip
    sole, first_end, last_start, following = chained(made)
    one, two, three = (state_of(made, text) for text in "123")
    assert (following[one], following[two], following[three]) == (two, three, -1)
    assert [first_end[v] for v in (one, two, three)] == [4, 4, 4]
    # Of its last reads, and of the ties: the chain is not over before they are invoked.
    assert [last_start[v] for v in (one, two, three)] == [5, 5, 5]
    assert {int(made.calls[sole[v], CHAIN]) for v in (one, two, three)} == {one}
    assert {int(made.calls[sole[v], DEADLINE]) for v in (one, two, three)} == {4}


def test_a_cas_that_nobody_saw_ties_nothing() -> None:
    made = problem((("write", "1"), 0, 1), (("cas", "1", "2"), 2, None), (("read", "1"), 3, 4),
                   (("cas", "2", "3"), 5, None))  # fmt: skip
    _, _, _, following = chained(made)
    assert set(following.tolist()) == {-1}


def test_the_initial_state_reigns_once_if_nobody_gives_it() -> None:
    made = problem((("cas", "null", "1"), 0, 1), (("read", "1"), 2, 3))
    assert chained(made)[3][made.initial] == state_of(made, "1")
    again = problem((("cas", "null", "1"), 0, 1), (("write", "null"), 2, 3), (("read", "1"), 4, 5))
    assert set(chained(again)[3].tolist()) == {-1}


def test_the_earliest_deadlines_still_to_come() -> None:
    """Slowly: of all changes invoked at an event or later, and of those of other chains."""
    for seed in range(200):
        case = a_register(Random(f"soon {seed}"))
        made = problem_of(case.calls, case.model)
        chained(made)
        soon = soon_of(made.calls, len(made.events))
        changes = [(int(c[START]), int(c[DEADLINE]), int(c[CHAIN])) for c in made.calls
                   if c[KIND] in (WRITE, CAS) and c[DEADLINE] != INFINITE]  # fmt: skip
        for event in range(len(made.events) + 1):
            later = [(deadline, chain) for start, deadline, chain in changes if start >= event]
            first = min((deadline for deadline, _ in later), default=INFINITE)
            assert soon[event, 0] == first
            if later:
                assert (first, soon[event, 1]) in later
                others = list(later)
                others.remove((first, int(soon[event, 1])))
                if soon[event, 1] >= 0:
                    others = [pair for pair in others if pair[1] != soon[event, 1]]
                assert soon[event, 2] <= min((d for d, _ in others), default=INFINITE)


FOUND: dict[str, tuple[int, tuple[Told, ...]]] = {
    "nothing": (NOTHING, ((("write", "1"), 0, 1), (("read", "1"), 2, 3))),
    "nobody gives it": (NEVER_GIVEN, ((("read", "1"), 0, 1),)),
    "given too late": (STALE, ((("read", "1"), 0, 1), (("write", "1"), 2, 3))),
    "given just in time": (NOTHING, ((("read", "1"), 0, 2), (("write", "1"), 1, 3))),
    "overwritten long ago": (
        STALE,
        ((("write", "1"), 0, 1), (("write", "2"), 2, 3), (("read", "1"), 4, 5)),
    ),
    "overwritten at the same time": (
        NOTHING,
        ((("write", "1"), 0, 2), (("write", "2"), 1, 3), (("read", "1"), 4, 5)),
    ),
    "overwritten by itself": (
        NOTHING,
        ((("write", "1"), 0, 1), (("write", "1"), 2, 3), (("read", "1"), 4, 5)),
    ),
    "overwritten, but the read was open": (
        NOTHING,
        ((("write", "1"), 0, 1), (("read", "1"), 2, 6), (("write", "2"), 3, 5)),
    ),
    "the initial one, overwritten": (
        STALE,
        ((("write", "1"), 0, 1), (("read", "null"), 2, 3)),
    ),
    "two of three overwrite it": (
        STALE,
        ((("write", "2"), 0, 1), (("write", "1"), 2, 3), (("write", "2"), 4, 5),
         (("write", "1"), 6, 7), (("write", "3"), 8, 9), (("write", "1"), 10, 11),
         (("read", "3"), 12, 13)),
    ),
    "who overwrites may have crashed": (
        NOTHING,
        ((("write", "1"), 0, 1), (("write", "2"), 2, None), (("read", "1"), 4, 5)),
    ),
    "who gives it may have crashed": (
        NOTHING,
        ((("write", "1"), 0, None), (("write", "2"), 2, 3), (("read", "1"), 4, 5)),
    ),
    "one value, two of its only takers": (
        TWO_CAS,
        ((("write", "1"), 0, 1), (("cas", "1", "2"), 2, 4), (("cas", "1", "3"), 3, 5)),
    ),
    "two takers, but it was written twice": (
        NOTHING,
        ((("write", "1"), 0, 1), (("cas", "1", "2"), 2, 4), (("cas", "1", "3"), 3, 5),
         (("write", "1"), 6, 7)),
    ),
    "two takers, one of which crashed": (
        NOTHING,
        ((("write", "1"), 0, 1), (("cas", "1", "2"), 2, None), (("cas", "1", "3"), 3, 5)),
    ),
    "two take the initial one": (
        TWO_CAS,
        ((("cas", "null", "2"), 2, 4), (("cas", "null", "3"), 3, 5)),
    ),
    "read after its successor was": (
        CHAIN_ORDER,
        ((("write", "1"), 0, 9), (("cas", "1", "2"), 1, 8), (("read", "2"), 2, 3),
         (("read", "1"), 4, 5)),
    ),
    "read before its successor was": (
        NOTHING,
        ((("write", "1"), 0, 9), (("cas", "1", "2"), 1, 8), (("read", "2"), 2, 4),
         (("read", "1"), 3, 5)),
    ),
    "new, old, new": (
        CHAINS_CROSS,
        ((("write", "1"), 0, 12), (("write", "2"), 1, 13), (("read", "1"), 2, 3),
         (("read", "2"), 4, 5), (("read", "1"), 6, 7)),
    ),
    "both must last": (
        CHAINS_CROSS,
        ((("write", "1"), 0, 12), (("write", "2"), 1, 13), (("read", "1"), 2, 3),
         (("read", "2"), 4, 5), (("read", "1"), 6, 7), (("read", "2"), 8, 9)),
    ),
    "one just after the other": (
        NOTHING,
        ((("write", "1"), 0, 12), (("write", "2"), 1, 13), (("read", "1"), 2, 3),
         (("read", "2"), 4, 6), (("read", "1"), 5, 7), (("read", "2"), 8, 9)),
    ),
    "one within the other, just so": (
        NOTHING,
        ((("write", "1"), 0, 12), (("write", "2"), 1, 13), (("read", "1"), 2, 3),
         (("read", "2"), 4, 7), (("read", "1"), 5, 6)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_without_a_search(name: str) -> None:
    expected, told = FOUND[name]
    made = problem(*told)
    found, x, y = refute(made.calls, made.events, made.states + 1, made.initial, *chained(made))
    assert found == expected
    if found == STALE:
        assert made.calls[x, KIND] == READ
        assert y == -1 or made.calls[y, KIND] == WRITE


# Sets of configurations.


def rows(*told: tuple[int, int, int]) -> np.ndarray:
    """Configurations of one word: its bits, state, last write."""
    made = np.zeros((len(told), 1 + fronts.EXTRA_WORDS), np.uint64)
    for n, (bits, state, last_write) in enumerate(told):
        made[n, 0] = bits
        made[n, 1 + fronts.AT_STATE] = state
        made[n, 1 + fronts.AT_LAST_WRITE] = last_write
        made[n, 1 + fronts.AT_LOG] = n
    return made


NO_OPTIONAL = np.zeros((0, layout.OPTIONAL_COLUMNS), np.int32)
# Bit 0: a cas; bit 1: a read; bit 2: a write.
MASKS = np.array([[1], [2], [4]], np.uint64)


def thinned(*told: tuple[int, int, int], optional: np.ndarray = NO_OPTIONAL) -> list[int]:
    made = rows(*told)
    heads, links = np.zeros(64, np.int64), np.zeros(64, np.int64)
    left = fronts.thin(made, len(told), MASKS, heads, links, optional, 1, 1)
    return [int(n) for n in made[:left, 1 + fronts.AT_LOG]]


def test_who_can_do_all_that_another_can_is_kept_alone() -> None:
    assert thinned((0b000, 1, 0), (0b000, 2, 0)) == [0, 1]  # other states
    assert thinned((0b001, 1, 0), (0b000, 1, 0)) == [0, 1]  # a cas done or not
    assert thinned((0b010, 1, 0), (0b000, 1, 0)) == [0]  # a read done is better
    assert thinned((0b000, 1, 0), (0b010, 1, 0)) == [1]
    assert thinned((0b100, 1, 0), (0b000, 1, 0)) == [1]  # a write in hand is better
    assert thinned((0b000, 1, 0), (0b100, 1, 0)) == [0]
    assert thinned((0b110, 1, 0), (0b000, 1, 0)) == [0, 1]  # each has something
    assert thinned((0b000, 1, 3), (0b000, 1, 4)) == [1]  # a later last write absorbs more
    assert thinned((0b010, 1, 3), (0b000, 1, 4)) == [0, 1]
    assert thinned((0b000, 1, 0), (0b100, 1, 0), (0b010, 1, 0), (0b110, 1, 0)) == [2]
    assert thinned((0b100, 1, 0), (0b110, 1, 0), (0b000, 1, 0), (0b001, 1, 0)) == [1, 2, 3]


def test_optional_calls_that_are_counted_count() -> None:
    optional = np.zeros((1, layout.OPTIONAL_COLUMNS), np.int32)
    optional[0, layout.OPT_SHIFT], optional[0, layout.OPT_MASK] = 4, 3
    more, fewer = (0b100000, 1, 0), (0b010000, 1, 0)
    assert thinned(more, fewer, optional=optional) == [0]  # not counted: of no interest
    optional[0, layout.OPT_TRACKED] = 1
    assert thinned(more, fewer, optional=optional) == [1]
    assert thinned(fewer, more, optional=optional) == [0]
    assert layout.used_of(rows(more)[0], optional, 0) == 2


def test_a_beam_keeps_the_most_promising() -> None:
    made = rows((0b000, 1, 0), (0b001, 1, 0), (0b011, 1, 0), (0b100, 1, 0), (0b010, 2, 0))
    for beam, best in ((1, {2}), (3, {1, 2, 4}), (4, {0, 1, 2, 4})):
        some = made.copy()
        left = fronts.narrow(some, len(some), beam, MASKS, NO_OPTIONAL, 1, 1)
        assert {int(n) for n in some[:left, 1 + fronts.AT_LOG]} == best
    tied = rows(*[(0, n, 0) for n in range(6)])
    assert fronts.narrow(tied, 6, 2, MASKS, NO_OPTIONAL, 1, 1) == 2


def test_one_row_of_a_kind_and_that_with_the_latest_write() -> None:
    table, front = np.zeros((16, 2), np.int64), np.zeros((8, 4), np.uint64)
    control = np.zeros(4, np.int64)
    for row in rows((1, 1, 5), (1, 1, 3), (2, 1, 0), (1, 1, 9), (1, 2, 0)):
        fronts.emit(table, front, control, row, 1, 7)
    assert control[fronts.NEXT_FRONT] == 3
    assert [tuple(int(x) for x in row[:3]) for row in front[:3]] == [
        (1, 1, 9),
        (2, 1, 0),
        (1, 2, 0),
    ]
    larger = np.zeros((32, 2), np.int64)
    fronts.rebuild(larger, front, 3, 1, 7)
    for n in range(3):
        place = fronts.find(larger, front, front[n], 1, 7)
        assert larger[place].tolist() == [7, n]
    assert larger[fronts.find(larger, front, rows((9, 9, 0))[0], 1, 7), 0] == 0
    assert table[fronts.find(table, front, front[0], 1, 8), 0] != 8  # another epoch


# Orders told again.


def test_absorbed_writes_take_effect_before_the_write_that_absorbed_them() -> None:
    made = problem((("write", "1"), 0, 9), (("write", "2"), 1, 8), (("read", "2"), 2, 7),
                   (("write", "3"), 3, 6))  # fmt: skip
    total = len(made.calls)
    logged = np.array([1, 2, total + 0, total + 3], np.int32)
    told = np.empty(4, np.int32)
    optional = np.zeros((0, layout.OPTIONAL_COLUMNS), np.int32)
    assert retell.unfolded(logged, made.calls, optional, told) == 0
    assert sorted(told.tolist()[:2]) == [0, 3]
    assert told.tolist()[2:] == [1, 2]


def test_a_search_begun_again_in_the_middle_goes_the_same_way() -> None:
    """Step by step or at once: the same answer after the same number of steps."""
    steps: Counter[bool] = Counter()
    for seed in range(150):
        case = a_register(Random(f"resume {seed}"))
        made = problem_of(case.calls, case.model)
        for search in (DepthFirst, BreadthFirst):
            at_once, in_steps = search(made, Transitions(made)), search(made, Transitions(made))
            code = at_once.advance(10**9, 1e9)
            while (again := in_steps.advance(1, 1e9)) == layout.LOOK:
                pass
            assert (again, in_steps.steps, in_steps.furthest) == (
                code, at_once.steps, at_once.furthest,
            )  # fmt: skip
            if code == layout.VALID:
                assert in_steps.linearization() == at_once.linearization()
            steps[at_once.steps > 3] += 1
    assert min(steps.values()) > 20


@pytest.mark.parametrize("kept", ["depth-first", "just-in-time", "logged"])
def test_a_write_that_is_the_first_of_all_events_can_be_absorbed(kept: str) -> None:
    """Event 0 is a time like any other, and no write has been before it."""
    told = problem_of(
        calls_from(
            (("write", "1"), 0, 9),
            (("cas", "0", "3"), 1, 5),
            (("write", "0"), 2, None),
            (("read", "3"), 13, 17),
        ),
        model_named("cas-register", 0),
    )
    if kept == "depth-first":
        search: DepthFirst | BreadthFirst = DepthFirst(told, Transitions(told))
    else:
        search = BreadthFirst(told, Transitions(told), keep_log=kept == "logged")
    assert search.advance(1000, 1e9) == layout.VALID
