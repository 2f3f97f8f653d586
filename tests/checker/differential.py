"""Every algorithm of the checker against brute force, one random history at a time.

Rules of this file:
- `ALGORITHMS` is the list: each takes a stream, makes a history, compares, and returns what the
  answer was, to be counted. A disagreement is a `Disagreement` that prints the history.
- An answer counts only if it is one: `GAVE_UP`, `LOOK` and `None` never do.
- Orders are replayed through the plain model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from container_histories import some_calls
from random_calls import (
    NULL,
    can_be_ordered,
    described,
    history_of,
    perturbed_calls,
    puzzle_calls,
    register_calls,
    register_step,
    some_order,
)
from random_events import MEANINGS, REQUESTS, calls_in, model_of, random_history

from checker import core_search, exhaust, first_look, portfolio, race, shrink
from checker import decide as compiled
from checker.budget import Budget
from checker.calls import Calls, prefix
from checker.columns import columns_of
from checker.containers import APPLICABLE
from checker.containers import decide as decide_container
from checker.core import Core, core_of, projected, settled
from checker.history import Event, History
from checker.kernels import layout
from checker.kernels.breadth_first import GAVE_UP
from checker.kernels.chains import chains
from checker.kernels.refute import NOTHING, refute
from checker.meaning import FailedCas, Meaning
from checker.models import Coarse, Elementwise, Model, model_named
from checker.parts import parts_of
from checker.portfolio import Race
from checker.problem import Problem, problem_of
from checker.race import ALL, BreadthFirst, DepthFirst, Transitions
from checker.replay import replay
from checker.search import search
from checker.verdict import Verdict

BYTES_MAX = 1e9
UNLIMITED = Budget.unlimited()
DIFFERS = Meaning(failed_cas=FailedCas.DIFFERS)
_WORDS = {layout.VALID: "valid", layout.INVALID: "invalid", layout.LOOK: "look", GAVE_UP: "gave up"}


class Disagreement(AssertionError):
    """An algorithm said something else than brute force; the message prints the history."""


@dataclass(frozen=True, slots=True)
class Case:
    """Calls, their model, and whether they have an order."""

    calls: Calls
    model: Model
    has_order: bool

    def expect(self, condition: bool, what: str) -> None:
        """Raise unless the condition holds."""
        if not condition:
            raise Disagreement(
                f"{what}; brute force: has_order={self.has_order}, {self.model.name} from "
                f"{self.model.initial!r}\n{described(self.calls)}"
            )

    def is_ordered(self, order: list[int] | None) -> None:
        """Replay the places of calls in an order."""
        self.expect(order is not None, "no order")
        try:
            replay([self.calls[place] for place in order or ()], self.calls, self.model)
        except AssertionError as error:
            self.expect(condition=False, what=f"the order is none: {error}")

    def is_refuted_at(self, place: int) -> None:
        """Check an `INVALID`, and that it names a call that has to return."""
        self.expect(not self.has_order, "said invalid")
        self.expect(self.calls[place].end is not None, f"stuck at {place}, which never returns")


def ordered(calls: Calls, model: Model) -> bool:
    """Ask brute force; of registers it has its own idea."""
    is_register = model.name in ("register", "cas-register")
    step = register_step if is_register else model.step
    return can_be_ordered(calls, step, model.initial)


def a_register(stream: Random) -> Case:
    """Calls on a register that starts as null, or as one of the values that are written."""
    initial = stream.choice((NULL, NULL, NULL, "0"))
    match stream.randrange(5):
        case 0:
            calls = puzzle_calls(stream, initial=initial)
        case 1 if initial == NULL:
            calls = perturbed_calls(stream)
        case _:
            calls = register_calls(stream, initial=initial)
    model = model_named("cas-register", None if initial == NULL else int(initial))
    return Case(calls, model, ordered(calls, model))


def anything(stream: Random) -> Case:
    """Calls on a register, or on some other object whose steps have to be asked for."""
    if stream.random() < 0.6:
        return a_register(stream)
    name = stream.choice(sorted(REQUESTS))
    model = model_of(name)
    calls = calls_in(
        random_history(stream, name, operations_max=10), model, stream.choice(MEANINGS)
    )
    return Case(calls, model, ordered(calls, model))


@contextmanager
def set_to(module: Any, name: str, value: Any) -> Iterator[None]:
    """Let a module's constant have another value."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def rooms(size: int) -> Iterator[None]:
    """Let searches begin with so little room that it has to grow.

    Breadth first takes 16 at least: `fronts.thin` begins with 64 buckets, and there are four a row.
    """
    with set_to(race, "_ROOM_AT_FIRST", size), set_to(race, "_TRANSITIONS_AT_FIRST", min(size, 64)):
        yield


def _answer(search: DepthFirst | BreadthFirst, stream: Random) -> int:
    """Go on in slices, often tiny ones, until there is an answer."""
    steps = stream.choice((1, 2, 7, 10**9))
    while (code := search.advance(steps, BYTES_MAX)) == layout.LOOK:
        pass
    return code


def _is_endless(problem: Problem) -> bool:
    """Whether crashed calls in unlimited supply may lead to more and more states."""
    return any(kind == layout.TABLE for kind in problem.optional[:, 0].tolist())


def _check_refuted(case: Case, problem: Problem, search: DepthFirst | BreadthFirst) -> None:
    case.is_refuted_at(int(problem.row[~problem.events[search.furthest]]))


def depth_first(stream: Random) -> str:
    """`DepthFirst`, in slices, with little room."""
    case = anything(stream)
    problem = problem_of(case.calls, case.model)
    with rooms(stream.choice((4, 256))):
        search = DepthFirst(problem, Transitions(problem))
        code = _answer(search, stream)
    if code == layout.VALID:
        case.expect(case.has_order, "said valid")
        case.is_ordered(search.linearization())
    else:
        _check_refuted(case, problem, search)
    return _WORDS[code]


def breadth_first(stream: Random, *, beam: int = ALL) -> str:
    """`BreadthFirst`: crashed calls without end at first, those overdrawn counted after that."""
    case = anything(stream)
    problem = problem_of(case.calls, case.model)
    transitions = Transitions(problem)
    every = set(range(len(problem.optional_calls)))
    tracked = every if _is_endless(problem) or stream.random() < 0.3 else set()
    refined = ""
    while True:
        with rooms(stream.choice((16, 256))):
            search = BreadthFirst(problem, transitions, beam=beam, tracked=tracked)
            code = _answer(search, stream)
        if code == GAVE_UP:
            case.expect(beam != ALL, "gave up though it was not narrowed")
            return _WORDS[code]
        if code == layout.INVALID:
            _check_refuted(case, problem, search)
            return _WORDS[code] + refined
        over = search.overused()
        if not over:
            break
        case.expect(not set(over) & tracked, "overdrew what was counted")
        tracked, refined = tracked | set(over), ", refined"
    case.expect(case.has_order, "said valid")
    case.is_ordered(search.linearization())
    return _WORDS[code] + refined


def without_log(stream: Random) -> str:
    """The same without a log: `INVALID` is certain, `VALID` only says that it may be."""
    case = anything(stream)
    problem = problem_of(case.calls, case.model)
    every = range(len(problem.optional_calls))
    if not _is_endless(problem) and stream.random() < 0.5:
        every = range(0)
    search = BreadthFirst(problem, Transitions(problem), tracked=every, keep_log=False)
    code = _answer(search, stream)
    if code == layout.INVALID:
        _check_refuted(case, problem, search)
    else:
        case.expect(case.has_order or not every or not case.calls, "said valid")
    return _WORDS[code]


def whole_race(stream: Random) -> str:
    """`Race`, with turns so short that whoever is good at it wins."""
    case = anything(stream)
    problem = problem_of(case.calls, case.model)
    steps = stream.choice((1, 3, 50))
    with rooms(stream.choice((16, 256))), set_to(portfolio, "_SLICE_MAX", steps):
        running = Race(problem)
        stream.shuffle(running.runners)
        for runner in running.runners:
            runner.turn, runner.growth = stream.randint(1, 5), 1.5
        answer = running.run(UNLIMITED)
    if answer.verdict is Verdict.VALID:
        case.expect(case.has_order, f"{answer.algorithm} said valid")
        case.is_ordered(answer.order)
    else:
        case.expect(answer.verdict is Verdict.INVALID, "does not know")
        assert answer.until is not None
        case.is_refuted_at(answer.until)
    return f"{answer.verdict} by {answer.algorithm}"


def plain_search(stream: Random) -> str:
    """`checker.search`, the slow readable one."""
    case = anything(stream)
    found = search(case.calls, case.model, UNLIMITED)
    case.expect((found.verdict is Verdict.VALID) == case.has_order, f"said {found.verdict}")
    if found.linearization is not None:
        replay(found.linearization, case.calls, case.model)
    return str(found.verdict)


def contradictions(stream: Random) -> str:
    """`refute` with `chains`: what is found is certain, nothing says nothing."""
    case = a_register(stream)
    problem = problem_of(case.calls, case.model)
    states = problem.states + 1
    found, _, _ = refute(
        problem.calls, problem.events, states, problem.initial,
        *chains(problem.calls, states, problem.initial),
    )  # fmt: skip
    case.expect(found == NOTHING or not case.has_order, f"found {found}")
    return f"found {found}" if found else f"nothing, {'' if case.has_order else 'in'}valid"


# Of strings: mostly what a first look takes, but it has to know what it does not take.
LEFT_OUT = (("delete", "cas"), ("delete", "cas"), ("delete", "cas"), ("delete",), ("cas",), ())
# Ways that say where it ends, and not which calls make the contradiction.
UNPOINTED = ("depth-first", "one-order")


def first_looks(stream: Random) -> str:
    """`first_look`, with `alone` behind it: one of a few objects that are looked at in one call."""
    if stream.random() < 0.6:
        initial = stream.choice((NULL, "0"))
        model = model_named("cas-register", None if initial == NULL else int(initial))
        many = [
            history_of(
                stream.choice((register_calls, puzzle_calls))(stream, initial=initial), key=f"k{n}"
            )
            for n in range(stream.randint(1, 3))
        ]
        past, meaning = merged(many, stream), DIFFERS
    else:
        model, meaning = model_of("key-value"), stream.choice(MEANINGS)
        past = random_history(stream, "key-value", operations_max=14, keys=("k0", "k1"),
                              leave_out=stream.choice(LEFT_OUT))  # fmt: skip
    columns = columns_of(past)
    steps = stream.choice((8, 8, 8, 8, -(10**6)))
    with set_to(first_look, "STEPS_A_CALL", steps):
        looked = first_look.look(columns, model, meaning, bytes_max=BYTES_MAX, workers=1)
    if looked is None:
        return "not for it"
    part = stream.choice(parts_of(columns, model, meaning))
    found = looked[columns.keys.index(part.key)]
    places = {call.index: place for place, call in enumerate(part.calls)}
    case = Case(part.calls, model, ordered(part.calls, model))
    if found is None:
        case.expect(steps < 0, "not decided")
        return "look"
    case.expect((found.verdict is Verdict.VALID) == case.has_order, f"said {found.verdict}")
    if found.order is not None:
        case.is_ordered([places[row] for row in found.order.tolist()])
    else:
        assert found.until is not None
        case.is_refuted_at(places[found.until])
        case.expect(bool(found.hint) == (found.algorithm not in UNPOINTED), "no hint")
    return f"{found.verdict} by {found.algorithm}"


def merged(histories: list[History], stream: Random) -> History:
    """Return the events of several histories, those of each in their order, with other processes."""
    events: list[Event] = []
    left = [list(reversed(history.events)) for history in histories]
    while any(left):
        n = stream.choice([n for n, some in enumerate(left) if some])
        event = left[n].pop()
        process = int(event.process) * len(left) + n
        events.append(replace(event, index=len(events), process=process))
    return History(tuple(events))


def collections(stream: Random) -> str:
    """`containers.decide`: what it decides is so."""
    model = model_of(stream.choice(APPLICABLE))
    calls = some_calls(stream, model, 10)
    case = Case(calls, model, ordered(calls, model))
    decision = decide_container(calls, model.name, model.initial)
    if decision is None:
        return f"none, {'' if case.has_order else 'in'}valid"
    case.expect((decision.verdict is Verdict.VALID) == case.has_order, f"said {decision.verdict}")
    if decision.order is not None:
        replay(decision.order, calls, model)
    return str(decision.verdict)


def random_core(stream: Random, calls: Calls, model: Model) -> Core:
    """A relaxation of calls, more or less as a shrinker makes it."""
    ends = [call.end for call in calls if call.end is not None] or [0]
    until = stream.choice((max(ends), max(ends), stream.choice(ends)))
    since, elements = None, None
    if isinstance(model, Coarse) and stream.random() < 0.5:
        since = stream.randint(0, until)
    elif isinstance(model, Elementwise) and stream.random() < 0.5:
        some = sorted({e for call in calls for e in model.elements(call.action)})
        elements = frozenset(stream.sample(some, stream.randint(0, len(some))))
    core = core_of(calls, until=until, since=since, elements=elements)
    rate = stream.choice((0.0, 0.1, 0.4))
    wildcard = isinstance(model, Coarse) and elements is None and stream.random() < 0.3
    relaxed = [
        replace(
            one,
            required=one.required and stream.random() >= rate,
            end=None if not one.required and stream.random() < 0.3 else one.end,
        )
        for one in core.calls
        if not (model.is_pure(one.call.action) and stream.random() < rate)
    ]
    given = {model.gives(one.call.action) for one in core.calls} - {None}
    jumps = stream.sample(sorted(given, key=str), len(given) // 2) if stream.random() < 0.3 else []
    core = replace(core, calls=tuple(relaxed), wildcard=wildcard, jumps=tuple(jumps))
    return settled(core, model) if stream.random() < 0.3 else core


def windows(stream: Random) -> str:
    """What a race is told of the calls near some return: none there means none up to there."""
    name = stream.choice(("cas-register", "cas-register", *_COARSE))
    model, meaning = model_of(name), stream.choice(MEANINGS)
    if name == "cas-register" and stream.random() < 0.7:
        past, meaning = history_of(register_calls(stream, calls_max=16)), DIFFERS
    else:
        past = random_history(stream, name, operations_max=14)
    part = parts_of(columns_of(past), model, meaning)[0]
    places = [place for place, call in enumerate(part.calls) if call.end is not None]
    if not places:
        return "nothing returns"
    place = stream.choice(places)
    cut = prefix(part.calls, part.calls[place].end or 0)
    case = Case(cut, model, ordered(cut, model))
    with set_to(shrink, "_WINDOW_AT_FIRST", stream.choice((1, 2, 3, 5, 16))):
        found = compiled._near(part, place, UNLIMITED)
    case.expect(not (found and case.has_order), "said that there is a contradiction near")
    return "contradiction" if found else f"nothing, {'' if case.has_order else 'in'}valid"


def core_has_order(core: Core, model: Model) -> bool:
    """Brute force for cores: jumps at any time, and any state at first, if so said."""
    actions = [one.call.action for one in core.calls]
    if core.elements is not None:
        assert isinstance(model, Elementwise)
        actions = [model.project(action, core.elements) or () for action in actions]
    kept = [n for n, action in enumerate(actions) if action]
    universe: list[Any] = []
    if isinstance(model, Coarse):
        universe = list(model.universe(frozenset(actions[n] for n in kept)))

    def after(n: int, state: Any) -> list[Any]:
        if n < 0:
            return [*core.jumps, *(universe[-1:] if core.wildcard else ())]
        then = model.step(state, actions[kept[n]])
        return [] if then is None else [then]

    spans = [(core.calls[n].start, core.calls[n].end, core.calls[n].required) for n in kept]
    return some_order(spans, after, [model.initial] if core.since is None else universe)


def cores(stream: Random) -> str:
    """`core_search` and `exhaust` on relaxations of calls."""
    name = stream.choice(("cas-register", *_CORE_MODELS))
    model = model_of(name)
    if name == "cas-register" and stream.random() < 0.8:
        calls = register_calls(stream, calls_max=10)
    elif name in APPLICABLE and stream.random() < 0.5:
        calls = some_calls(stream, model, 8)
    else:
        past = random_history(stream, name, operations_max=9)
        calls = calls_in(past, model, stream.choice(MEANINGS))
    core = random_core(stream, calls, model)
    if not projected(core, model):
        return "nothing left"
    refuted = not core_has_order(core, model)
    fast = core_search.is_refuted(core, model, steps_max=10**9)
    with set_to(exhaust, "_TRIED_MAX", 10**6):
        slow = exhaust.is_refuted(core, model, steps_max=10**6)
    if (fast, slow) != (refuted, refuted):
        told = "\n".join(f"    {one.call.action}, {one.start}, {one.end}, {one.required}"
                         for one in core.calls)  # fmt: skip
        raise Disagreement(
            f"core refuted: brute force {refuted}, core_search {fast}, exhaust {slow}; {name}, "
            f"since={core.since}, elements={core.elements}, wildcard={core.wildcard}, "
            f"jumps={core.jumps}\n{told}"
        )
    return "refuted" if refuted else "has an order"


_CORE_MODELS = [name for name in REQUESTS if isinstance(model_of(name), Coarse | Elementwise)]
_COARSE = [name for name in REQUESTS if isinstance(model_of(name), Coarse)]


ALGORITHMS: dict[str, Callable[[Random], str]] = {
    "plain": plain_search,
    "first-look": first_looks,
    "contradictions": contradictions,
    "depth-first": depth_first,
    "just-in-time": breadth_first,
    "without-log": without_log,
    "beam-1": partial(breadth_first, beam=1),
    "beam-3": partial(breadth_first, beam=3),
    "race": whole_race,
    "containers": collections,
    "cores": cores,
    "windows": windows,
}


def tried(algorithm: str, count: int, least: dict[str, int]) -> Counter[str]:
    """Try so many seeds; return how often which answer came, each of some at least so often."""
    answers: Counter[str] = Counter()
    for seed in range(count):
        try:
            answers[ALGORITHMS[algorithm](Random(f"{algorithm} {seed}"))] += 1
        except Disagreement as error:
            raise Disagreement(f"{algorithm}, seed {seed}: {error}") from error
    rare = {answer: answers[answer] for answer, often in least.items() if answers[answer] < often}
    assert not rare, f"the generator has lost its bite: {answers}"
    return answers
