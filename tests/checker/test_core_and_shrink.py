"""Cores: refuted by whoever is asked, verified, none of their calls to be spared, and small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random

import pytest
from container_histories import some_calls
from differential import DIFFERS, core_has_order, ordered, set_to
from random_calls import calls_from, history_of, register_calls
from random_events import MEANINGS, calls_in, model_of, random_history

from checker import core_search, exhaust
from checker.budget import Budget
from checker.calls import Calls
from checker.certificate import of_invalid
from checker.columns import columns_of
from checker.containers import APPLICABLE, decide
from checker.core import Core, CoreCall, core_of, settled
from checker.hard_histories import SUITE, Recipe
from checker.history import History
from checker.linearizable import check
from checker.meaning import Meaning
from checker.models import Coarse, Elementwise, Model, model_named
from checker.shrink import Shrinker, _minimal
from checker.verdict import Verdict
from checker.verify import verify

UNLIMITED = Budget.unlimited()
CAS = model_named("cas-register")
REFUTERS = {"compiled": core_search.is_refuted, "plain": exhaust.is_refuted}
every_refuter = pytest.mark.parametrize("refuter", REFUTERS)


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """The slow twin looks at as much as it takes."""
    with set_to(exhaust, "_TRIED_MAX", 10**6):
        yield


def without_order(name: str, count: int) -> Iterator[tuple[History, Calls, Model, Meaning]]:
    """Yield histories that have no order, each with its calls."""
    found = seed = 0
    model = model_of(name)
    while found < count:
        seed += 1
        stream = Random(f"core {name} {seed}")
        meaning = stream.choice(MEANINGS)
        if name == "cas-register" and stream.random() < 0.7:
            past, meaning = history_of(register_calls(stream, calls_max=10)), DIFFERS
        elif name in APPLICABLE and stream.random() < 0.5:
            past = history_of(some_calls(stream, model, 8))
        else:
            past = random_history(stream, name, operations_max=8)
        calls = calls_in(past, model, meaning)
        if not ordered(calls, model):
            found += 1
            yield past, calls, model, meaning


def spared(core: Core, model: Model) -> Iterator[Core]:
    """Yield the core without one of its calls: struck if it observes, else optional."""
    for n, one in enumerate(core.calls):
        rest = core.calls[:n] + core.calls[n + 1 :]
        if model.is_pure(one.call.action):
            yield replace(core, calls=rest)
        elif one.required:
            yield replace(core, calls=(*rest, replace(one, required=False)))


def holds(core: Core, past: History, model: Model, meaning: Meaning) -> None:
    """Check a core in every way there is."""
    assert not core_has_order(core, model)
    for is_refuted in REFUTERS.values():
        assert is_refuted(core, model, steps_max=10**6)
    certificate = of_invalid(model, meaning, None, core, columns_of(past))
    assert verify(past, certificate).verdict is Verdict.INVALID
    for less in spared(core, model):
        assert core_has_order(settled(less, model), model), core


@every_refuter
@pytest.mark.parametrize("name", ["cas-register", "mutex", "owner-mutex", "stack", "set",
                                  "unordered-queue", "key-value", "semaphore"])  # fmt: skip
def test_cores_are_refuted_verified_and_minimal(name: str, refuter: str) -> None:
    sizes: Counter[int] = Counter()
    for past, calls, model, meaning in without_order(name, 40):
        core = Shrinker(model, UNLIMITED, REFUTERS[refuter]).of_all(calls, until=None)
        assert core is not None
        holds(core, past, model, meaning)
        sizes[len(core)] += 1
    assert max(sizes) <= 8
    assert sum(n for size, n in sizes.items() if size <= 3) > 15


@every_refuter
def test_where_to_end_is_found_or_told(refuter: str) -> None:
    """Told where no order comes past, the calls after it are not looked at."""
    shrinker = Shrinker(CAS, UNLIMITED, REFUTERS[refuter])
    calls = calls_from(
        (("write", "1"), 0, 1), (("read", "2"), 2, 3), (("read", "3"), 4, 5), (("write", "2"), 6, 7)
    )
    early, late = shrinker.of_all(calls, until=3), shrinker.of_all(calls, until=7)
    assert early is not None
    assert [one.call.action for one in early.calls] == [("read", "2")]
    assert late is not None
    assert {one.call.action[0] for one in late.calls} == {"read"}
    assert shrinker.of_all(calls, until=1) is None
    assert shrinker.of_all(calls_from((("write", "1"), 0, 1)), until=None) is None
    assert shrinker.of_all((), until=None) is None


@pytest.mark.parametrize("name", APPLICABLE)
def test_contradictions_of_collections_shrink_to_their_elements(name: str) -> None:
    model, found, seed = model_of(name), 0, 0
    while found < 60:
        seed += 1
        calls = some_calls(Random(f"hint {name} {seed}"), model, 9)
        decision = decide(calls, name, model.initial)
        if decision is None or decision.core is None:
            continue
        found += 1
        hint = tuple(sorted(decision.core, key=lambda call: call.start))
        shrinker = Shrinker(model, UNLIMITED, core_search.is_refuted)
        core = shrinker.of_hint(hint, until=None, elements=decision.elements)
        assert core is not None
        assert not core_has_order(core, model)
        assert core.elements == decision.elements
        assert {one.call for one in core.calls} <= set(hint)


def test_a_hint_that_is_no_contradiction_is_no_core() -> None:
    shrinker = Shrinker(CAS, UNLIMITED, core_search.is_refuted)
    calls = calls_from((("write", "1"), 0, 1), (("read", "1"), 2, 3))
    assert shrinker.of_hint(calls, until=None) is None


def test_the_past_is_forgotten_as_far_as_it_can_be() -> None:
    """Long before it anything may have happened: two reads are what is left."""
    told = [(("write", str(n)), 2 * n, 2 * n + 1) for n in range(40)]
    told += [(("read", "39"), 80, 81), (("read", "7"), 82, 83)]
    calls = calls_from(*told)
    for window in (False, True):
        shrinker = Shrinker(CAS, UNLIMITED, core_search.is_refuted)
        core = (
            shrinker.of_window(calls, until=83, length_max=83)
            if window
            else shrinker.of_all(calls, until=None)
        )
        assert core is not None
        assert core.since == 79
        # The write of 39 is open at that time: it may come, or come again, and does not help.
        assert [one.call.action for one in core.calls] == [("read", "39"), ("read", "7")]
        assert core.jumps == ("39",)
    assert shrinker.of_window(calls, until=79, length_max=79) is None
    assert Shrinker(model_of("stack"), UNLIMITED, core_search.is_refuted).of_window(
        calls, until=83, length_max=83
    ) is None  # fmt: skip


def test_a_spent_budget_leaves_a_larger_core_all_the_same() -> None:
    asked = iter([0.0] * 6)
    budget = Budget(clock=lambda: next(asked, 9.0), deadline=5.0, memory_bytes=1e9)
    told = [(("write", str(n)), 2 * n, 2 * n + 1) for n in range(5)]
    calls = calls_from(*told, (("read", "9"), 12, 13))
    shrinker = Shrinker(CAS, budget, core_search.is_refuted)
    core = shrinker.of_all(calls, until=None)
    assert core is not None
    assert not core_has_order(core, CAS)
    spent = Budget(clock=lambda: 9.0, deadline=5.0, memory_bytes=1e9)
    first = Shrinker(CAS, spent, core_search.is_refuted)
    assert first.of_all(calls, until=None) is not None, "the first question is always asked"
    assert first.tries == 1


def of(*told: tuple[tuple[str, ...], int, int | None, bool]) -> tuple[CoreCall, ...]:
    calls = calls_from(*[(action, start, end) for action, start, end, _ in told])
    return tuple(
        CoreCall(call=call, end=call.end, required=one[3])
        for call, one in zip(calls, sorted(told, key=lambda one: one[1]), strict=True)
    )


CORES: dict[str, tuple[bool, Core]] = {
    "nothing has to happen": (False, Core(calls=of((("read", "1"), 0, 1, False)))),
    "what was never written": (True, Core(calls=of((("read", "1"), 0, 1, True)))),
    "a return at position 0": (
        False,
        Core(calls=of((("write", "1"), -1, 0, True), (("read", "1"), 1, 2, True))),
    ),
    "positions below 0": (True, Core(calls=of((("read", "1"), -3, -2, True)))),
    "an optional write helps": (
        False,
        Core(calls=of((("write", "1"), 0, None, False), (("read", "1"), 1, 2, True))),
    ),
    "an optional write that comes too late": (
        True,
        Core(calls=of((("read", "1"), 0, 1, True), (("write", "1"), 2, None, False))),
    ),
    "an optional write whose time is over": (
        True,
        Core(calls=of((("write", "1"), 0, 1, False), (("write", "2"), 2, 3, True),
                      (("read", "1"), 4, 5, True))),
    ),
    "an optional write between two returns": (
        False,
        Core(calls=of((("write", "2"), 0, 1, True), (("write", "1"), 2, 3, False),
                      (("read", "1"), 4, 5, True))),
    ),
    "one optional write is used once": (
        True,
        Core(calls=of((("write", "1"), 0, None, False), (("read", "1"), 1, 2, True),
                      (("write", "2"), 3, 4, True), (("read", "1"), 5, 6, True))),
    ),
    "any past will do": (
        False,
        Core(calls=of((("read", "1"), 5, 6, True)), since=3),
    ),
    "no past will do": (
        True,
        Core(calls=of((("read", "1"), 5, 6, True), (("read", "2"), 7, 8, True)), since=3),
    ),
    "elsewhere is no value that is read": (
        True,
        Core(calls=of((("read", "1"), 0, 1, True)), wildcard=True),
    ),
    "elsewhere a refusal is right": (
        False,
        Core(calls=of((("refused", "null"), 0, 1, True)), wildcard=True),
    ),
    "where it may jump is read": (
        False,
        Core(calls=of((("read", "1"), 0, 1, True)), jumps=("1",)),
    ),
    "where it may jump twice": (
        False,
        Core(calls=of((("read", "1"), 0, 1, True), (("write", "2"), 2, 3, True),
                      (("read", "2"), 4, 5, True), (("read", "1"), 6, 7, True)), jumps=("1",)),
    ),
    "where it may jump is not what is read": (
        True,
        Core(calls=of((("read", "1"), 0, 1, True)), jumps=("2", "3"), wildcard=True),
    ),
    "nobody went elsewhere": (
        True,
        Core(calls=of((("refused", "null"), 0, 1, True))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CORES)
def test_what_a_core_says(name: str) -> None:
    expected, core = CORES[name]
    assert core_has_order(core, CAS) is not expected
    for is_refuted in REFUTERS.values():
        assert is_refuted(core, CAS, steps_max=10**6) is expected


def test_nobody_is_refuted_in_too_few_steps() -> None:
    _, core = CORES["one optional write is used once"]
    assert not core_search.is_refuted(core, CAS, steps_max=0)
    assert not exhaust.is_refuted(core, CAS, steps_max=0)


def test_what_is_open_at_the_end_or_at_the_beginning_is_optional() -> None:
    calls = calls_from(
        (("write", "1"), 0, 3), (("write", "2"), 1, 9), (("read", "1"), 4, 6), (("read", "2"), 7, 8),
        (("write", "3"), 2, None),
    )  # fmt: skip
    plain = {one.call.action: one.required for one in core_of(calls, until=6).calls}
    assert plain == {("write", "1"): True, ("write", "2"): False, ("write", "3"): False,
                     ("read", "1"): True}  # fmt: skip
    late = {one.call.action: one.required for one in core_of(calls, until=8, since=4).calls}
    assert late == {("write", "2"): False, ("write", "3"): False, ("read", "1"): True,
                    ("read", "2"): True}  # fmt: skip
    assert {one.call.action for one in core_of(calls, until=8, since=3).calls} > {("write", "1")}


def test_settled_leaves_out_what_does_not_matter() -> None:
    core = Core(calls=of(
        (("write", "7"), 0, None, False),  # nobody looks at 7
        (("read", "5"), 1, 2, False),  # only observes, and need not
        (("write", "5"), 3, 4, True),
        (("cas", "5", "6"), 5, 9, False),
        (("read", "6"), 6, 7, True),
        (("write", "6"), 8, None, False),  # too late
    ))  # fmt: skip
    rest = settled(core, CAS)
    assert [one.call.action[0] for one in rest.calls] == ["write", "cas", "read"]
    assert rest.wildcard
    jumps = settled(replace(core, jumps=("6",)), CAS)
    assert [one.call.action for one in jumps.calls] == [("write", "5"), ("read", "6")]
    stack = Core(calls=of((("push", "1"), 0, 1, True), (("pop", "2"), 2, 3, True)),
                 elements=frozenset({"2"}))  # fmt: skip
    assert [one.call.action for one in settled(stack, model_of("stack")).calls] == [("pop", "2")]
    assert not settled(stack, model_of("stack")).wildcard


def test_delta_debugging_finds_every_name_that_is_needed() -> None:
    names = [str(n) for n in range(20)]
    for needed in ({"3"}, {"0", "19"}, {"4", "5", "11"}, set(names)):

        def holds_for(some: Sequence[str], needed: set[str] = needed) -> bool:
            return needed <= set(some)

        assert set(_minimal(names, holds_for)) == needed


BAD: list[Recipe] = [row for row in SUITE if row.shape.operations == 1000 and row.fault is not None]


@pytest.mark.parametrize("row", BAD, ids=lambda row: row.name)
def test_hard_histories_shrink_to_something_to_look_at(row: Recipe) -> None:
    hard = row.generate()
    result = check(hard.columns, CAS, meaning=DIFFERS)
    if hard.expected is Verdict.INVALID:
        assert result.verdict is Verdict.INVALID
    if result.verdict is Verdict.INVALID:
        assert result.certificate is not None
        assert len(result.certificate["refutation"]["calls"]) <= 20


def _protocols() -> list[Callable[..., bool]]:
    return [lambda model: isinstance(model, Coarse), lambda model: isinstance(model, Elementwise)]


def test_the_models_here_are_of_every_sort() -> None:
    """Coarse, elementwise and neither: shrinking goes other ways with each."""
    sorts = {
        tuple(is_one(model_of(name)) for is_one in _protocols())
        for name in ("cas-register", "stack", "key-value", "semaphore")
    }
    assert len(sorts) >= 3
