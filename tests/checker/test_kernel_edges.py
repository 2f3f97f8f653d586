"""The kernels at their edges: the first event, the first call, tables that are full, one kind alone.

Rules of this file:
- Each test is here because a change of one sign or number in a kernel went unnoticed without it
  (``tools/mutate_checker.py``). What kernels do otherwise is in ``test_kernels.py``.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from certificates import history
from random_calls import calls_from

from checker import FailedCas, Meaning, NilRead, Verdict, model_named
from checker.columns import columns_of
from checker.first_look import look
from checker.kernels import fronts, layout
from checker.kernels.arrange import arrange
from checker.kernels.chains import chains
from checker.kernels.layout import END, START
from checker.kernels.refute import CHAIN_ORDER, CHAINS_CROSS, NOTHING, refute
from checker.models import Model
from checker.parts import Found
from checker.problem import Problem, problem_of
from checker.race import BreadthFirst, DepthFirst, Transitions

CAS_REGISTER = model_named("cas-register")
Told = tuple[tuple[Any, ...], int, int | None]

FOUND: dict[str, tuple[int, tuple[Told, ...]]] = {
    "read after its successor returned, which was read later": (
        CHAIN_ORDER,
        ((("write", "1"), 0, 9), (("cas", "1", "2"), 1, 3), (("read", "1"), 4, 5),
         (("read", "2"), 6, 7)),
    ),
    "read before its successor returned, which was read later": (
        NOTHING,
        ((("write", "1"), 0, 9), (("cas", "1", "2"), 1, 5), (("read", "1"), 3, 4),
         (("read", "2"), 6, 7)),
    ),
    "new, old, new, and the first of all calls wrote the old one": (
        CHAINS_CROSS,
        ((("write", "2"), 0, 13), (("write", "1"), 1, 12), (("read", "1"), 2, 3),
         (("read", "2"), 4, 5), (("read", "1"), 6, 7)),
    ),
    "the initial one after another, which the first of all calls read": (
        CHAINS_CROSS,
        ((("read", "1"), 0, 3), (("write", "1"), 1, 9), (("read", "null"), 4, 5)),
    ),
    "the initial one before another, which the first of all calls read": (
        NOTHING,
        ((("read", "1"), 0, 4), (("write", "1"), 1, 9), (("read", "null"), 3, 5)),
    ),
    "the initial one, which the first of all calls read, before another": (
        NOTHING,
        ((("read", "null"), 0, 3), (("write", "1"), 1, 2), (("read", "1"), 4, 5)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_at_the_first_event_and_of_the_first_call(name: str) -> None:
    expected, told = FOUND[name]
    made = problem_of(calls_from(*told), CAS_REGISTER)
    tied = chains(made.calls, made.states + 1, made.initial)
    assert refute(made.calls, made.events, made.states + 1, made.initial, *tied)[0] == expected


@pytest.mark.parametrize("far", [1, 1000])
def test_a_return_at_position_0_is_a_return(far: int) -> None:
    """Only negative ends are none; starts may be any number."""
    table = np.zeros((2, layout.CALL_COLUMNS), np.int32)
    start, end = np.array([-far, 3 * far], np.int64), np.array([0, 5 * far], np.int64)
    assert arrange(table, start, end).tolist() == [0, ~0, 1, ~1]
    assert table[:, [START, END]].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("reads", [1, 2])
@pytest.mark.parametrize("search", [DepthFirst, BreadthFirst])
def test_tables_that_grow_in_the_middle_forget_nothing(
    monkeypatch: pytest.MonkeyPatch, search: type[DepthFirst] | type[BreadthFirst], reads: int
) -> None:
    """With little room at first: the same way in the same number of steps as with plenty."""
    together: list[tuple[str, ...]] = [("write", "0"), ("write", "1")]
    for one, other in (("0", "1"), ("1", "2"), ("2", "3"), ("3", "0")):
        together += [("cas", one, other), ("cas", other, one)]
    told: list[Told] = [(action, at, 20 + at) for at, action in enumerate(together)]
    told += [(("read", str(n)), 40 + 2 * n, 41 + 2 * n) for n in range(reads)]
    ways = []
    for room in (16, 4096):
        monkeypatch.setattr("checker.race._ROOM_AT_FIRST", room)
        made = problem_of(calls_from(*told), CAS_REGISTER)
        going = search(made, Transitions(made))
        begun = rows_of(going)
        code = going.advance(10**9, 1e9)
        assert (rows_of(going) > begun) == (room == 16)
        order = going.linearization() if code == layout.VALID else None
        ways.append((code, going.steps, going.furthest, order))
    assert ways[0] == ways[1]
    assert ways[0][0] == (layout.VALID if reads == 1 else layout.INVALID)


def rows_of(search: DepthFirst | BreadthFirst) -> int:
    """Return how many rows the memory of a search has room for."""
    return len(search.visited if isinstance(search, DepthFirst) else search.seen)


# Calls, whether they have an order, and in how many steps a search finds out.
SPARED: dict[str, tuple[tuple[Told, ...], int, int]] = {
    "(d) a state that two more calls wait for is not left": (
        ((("cas", "null", "1"), 0, 4), (("read", "null"), 1, 3), (("cas", "null", "2"), 2, 5)),
        layout.INVALID, 1,
    ),
    "(e) a state does not come to stay while another must come and go": (
        ((("read", "0"), 0, 3), (("write", "1"), 1, 2), (("write", "0"), 4, 5),
         (("read", "1"), 6, 7)),
        layout.INVALID, 1,
    ),
    "(f) the last write of what is needed is not absorbed": (
        ((("write", "1"), 0, 2), (("write", "2"), 1, 4), (("read", "2"), 3, 6),
         (("read", "2"), 5, 7)),
        layout.VALID, 2,
    ),
    "(e) nor while one that crashed must, though it is the only one of its class": (
        ((("cas", "null", "1"), 0, None), (("cas", "null", "2"), 1, None), (("write", "3"), 3, 4),
         (("read", "2"), 5, 6), (("read", "3"), 7, 8), (("read", "2"), 9, 10)),
        layout.INVALID, 1,
    ),
    "deep first: (d) a cas that was tried gives nothing more": (
        ((("write", "1"), 0, 1), (("cas", "0", "2"), 2, 5), (("cas", "1", "0"), 3, 7),
         (("read", "2"), 4, 6), (("cas", "0", "1"), 8, 9)),
        layout.INVALID, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPARED)
def test_what_leads_nowhere_is_not_tried(name: str) -> None:
    """Each by its letter in `checker.kernels.depth_first`: without it a step more is made."""
    told, code, steps = SPARED[name]
    made = problem_of(calls_from(*told), CAS_REGISTER)
    search, careless = (searching(made, deep=name.startswith("deep")) for _ in range(2))
    assert (search.advance(1000, 1e9), search.steps) == (code, steps)
    careless.has_reigns = False
    assert (careless.advance(1000, 1e9), careless.steps > steps) == (code, True)


def searching(made: Problem, *, deep: bool) -> DepthFirst | BreadthFirst:
    """Return a search of one sort or the other that counts optional calls exactly."""
    if deep:
        return DepthFirst(made, Transitions(made))
    return BreadthFirst(made, Transitions(made), tracked=range(len(made.optional_calls)))


# A chain from the initial state, which is number 0, as it may be tied.
TIED: dict[str, tuple[Told, ...]] = {
    "by who is open": (
        (("read", "null"), 0, 1), (("cas", "null", "1"), 2, 20), (("cas", "1", "2"), 3, 21),
        (("read", "2"), 4, 5), (("read", "2"), 6, 7),
    ),
    "by who crashed": (
        (("read", "null"), 0, 1), (("cas", "null", "1"), 2, None), (("cas", "1", "2"), 3, None),
        (("read", "2"), 4, 5), (("read", "2"), 6, 7),
    ),
    "by who comes later": (
        (("read", "null"), 0, 1), (("cas", "null", "1"), 2, 9), (("read", "1"), 3, 4),
        (("cas", "1", "2"), 5, 10), (("read", "2"), 6, 7), (("read", "2"), 8, 11),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TIED)
def test_the_calls_of_a_chain_do_not_come_too_early_for_each_other(name: str) -> None:
    made = problem_of(calls_from(*TIED[name]), CAS_REGISTER)
    assert made.initial == 0
    for deep in (True, False):
        assert searching(made, deep=deep).advance(1000, 1e9) == layout.VALID


def test_a_cas_that_is_taken_back_gives_its_state_again() -> None:
    """Some ways fail here, and the one that does not comes late."""
    made = problem_of(calls_from(
        (("cas", "0", "1"), 0, 8), (("cas", "0", "1"), 1, 10), (("cas", "1", "0"), 2, 9),
        (("cas", "null", "0"), 3, 6), (("write", "0"), 4, 7), (("cas", "0", "1"), 5, 11),
    ), CAS_REGISTER)  # fmt: skip
    assert searching(made, deep=True).advance(1000, 1e9) == layout.VALID


def test_ways_that_can_absorb_other_writes_are_not_the_same() -> None:
    """The same calls done and the same state, but the last write was before or after another."""
    made = problem_of(calls_from(
        (("write", "0"), 0, 4), (("write", "0"), 1, 2), (("write", "1"), 3, 5), (("read", "0"), 6, 7),
    ), CAS_REGISTER)  # fmt: skip
    for deep in (True, False):
        assert searching(made, deep=deep).advance(1000, 1e9) == layout.VALID


def test_a_beam_counts_every_bit_of_a_word() -> None:
    """The rows with the most duties done are kept, in whatever bits those are."""
    stream = Random("bits")
    done = [stream.getrandbits(64) & stream.getrandbits(64) for _ in range(40)]
    made = np.zeros((40, 1 + fronts.EXTRA_WORDS), np.uint64)
    made[:, 0] = done
    masks = np.array([[2**64 - 1], [0], [0]], np.uint64)
    optional = np.zeros((0, layout.OPTIONAL_COLUMNS), np.int32)
    assert fronts.narrow(made, 40, 10, masks, optional, 1, 1) == 10
    counts = sorted(row.bit_count() for row in made[:10, 0].tolist())
    assert counts == sorted(bits.bit_count() for bits in done)[-10:]


def seen(*lines: str, meaning: Meaning, model: Model = CAS_REGISTER) -> Found:
    """Return what the first look finds of a history of one object, which must be something."""
    found = look(columns_of(history(*lines)), model, meaning, bytes_max=1e9, workers=1)
    assert found is not None
    assert found[0] is not None
    return found[0]


def test_a_crashed_write_explains_what_was_refused_though_nobody_read_it() -> None:
    """The refused cas is the only call that returned: it looks at all values but one."""
    meaning = Meaning(failed_cas=FailedCas.DIFFERS)
    refused = ("1 cas [null,1]", "1 fail")
    assert seen("0 write 5", "0 info", *refused, meaning=meaning).verdict is Verdict.VALID
    assert seen("0 read", "0 info", *refused, meaning=meaning).verdict is Verdict.INVALID


def test_only_reads_say_nothing_with_a_null() -> None:
    """A write of null, or one that was never answered, is a write whatever a null read means."""
    meaning = Meaning(nil_read=NilRead.UNKNOWN)
    silent = ("0 write 1", "0 ok", "1 read", "1 ok null")
    assert seen(*silent, meaning=meaning).verdict is Verdict.VALID
    late = ("0 write 1", "0 ok", "1 write null", "1 ok", "3 read", "3 ok 1")
    assert seen(*late, meaning=meaning).verdict is Verdict.INVALID
    unanswered = ("1 write 7", "3 read", "3 ok 7")
    assert seen(*unanswered, meaning=meaning).verdict is Verdict.VALID


def test_what_says_nothing_is_no_reason_to_look_elsewhere() -> None:
    """Failed writes, and reads that crashed or failed, are left out of the first look, not odd."""
    told = ("0 write 1", "0 fail", "1 read", "1 info", "2 read", "2 fail", "3 write 2", "0 read")
    assert seen(*told, "0 ok 2", "3 ok", meaning=Meaning()).verdict is Verdict.VALID
    assert seen(*told, "0 ok 1", "3 ok", meaning=Meaning()).verdict is Verdict.INVALID


def test_a_contradiction_names_all_calls_that_it_is_made_of() -> None:
    """Who gives the states is among them: without those nothing is shown."""
    stale = ("3 write 9", "3 ok", "0 write 1", "0 ok", "0 write 2", "0 ok", "0 read", "0 ok 1")
    assert seen(*stale, meaning=Meaning()).hint == (1, 2, 3)
    crossing = ("3 write 9", "3 ok", "0 write 1", "1 write 2", "2 read", "2 ok 1", "2 read", "2 ok 2",
                "2 read", "2 ok 1", "0 ok", "1 ok")  # fmt: skip
    assert seen(*crossing, meaning=Meaning()).hint == (1, 2, 3, 4, 5)


def test_a_value_that_only_a_cas_gives_again_may_be_left() -> None:
    """It is needed later, and whoever gives it then is counted: a write or a cas."""
    told = ("0 write 1", "0 ok", "0 write 2", "0 ok", "0 cas [2,1]", "0 ok", "0 cas [1,3]",
            "1 read", "0 ok")  # fmt: skip
    assert seen(*told, "1 ok 3", meaning=Meaning()).verdict is Verdict.VALID
    assert seen(*told, "1 ok 2", meaning=Meaning()).verdict is Verdict.INVALID


def test_a_string_of_many_parts_has_room_for_all_its_transitions() -> None:
    """More than the smallest table holds: a search in a table that is full would not end."""
    appends = [line for _ in range(100) for line in ('0 append "a"', "0 ok")]
    told = ("1 get", *appends, '1 ok "' + 100 * "a" + '"')
    model = model_named("key-value")
    assert seen(*told, meaning=Meaning(), model=model).verdict is Verdict.VALID
