"""The verifier at random: whatever it accepts is what trying all orders says.

Histories are tiny and of every model that lets a certificate leave operations out. Certificates
are random relaxations of them, half of them by the rules and half as a cheat would make them.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from brute_force import has_order
from certificates import J, call, judged, ordering, refuting

from checker.calls import calls_of
from checker.history import Event, EventType, History, Operation
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models import DEFAULT, Coarse, Elementwise, Model, model_named

VALUES = (None, 1, 2)
TEXTS = ("", "a", "b", "ab")
SETS: tuple[list[int], ...] = ([], [1], [2], [1, 2])
# For each model what clients ask, and for what they are told something else what that is.
ASKED: dict[str, dict[str, tuple[Any, ...]]] = {
    "register": {"read": (None,), "write": VALUES},
    "cas-register": {"read": (None,), "write": VALUES, "cas": ([1, 2], [2, 1], [None, 1], [2, 2])},
    "key-value": {
        "get": (None,),
        "put": TEXTS,
        "append": TEXTS,
        "delete": (None,),
        "cas": (["", "a"], ["a", "ab"], ["ab", ""], ["b", "b"]),
    },
    "set": {"add": (1, 2), "remove": (1, 2), "read": (None,)},
    "list-append": {"append": (1, 2), "read": (None,)},
    "counter": {"add": (0, 1), "read": (None,)},
    "fifo-queue": {"enqueue": (1, 2), "dequeue": (None,)},
    "unordered-queue": {"enqueue": (1, 2), "dequeue": (None,)},
    "stack": {"push": (1, 2), "pop": (None,)},
    "mutex": {"acquire": (None,), "release": (None,)},
    "owner-mutex": {"acquire": (None,), "release": (None,)},
}
TOLD: dict[str, dict[str, tuple[Any, ...]]] = {
    "register": {"read": VALUES},
    "cas-register": {"read": VALUES},
    "key-value": {"get": TEXTS},
    "set": {"read": SETS},
    "list-append": {"read": (*SETS, [2, 1])},
    "counter": {"read": (0, 1, 2)},
    "fifo-queue": {"dequeue": VALUES},
    "unordered-queue": {"dequeue": VALUES},
    "stack": {"pop": VALUES},
}
INITIAL: dict[str, tuple[Any, ...]] = {
    "register": (1, None),
    "cas-register": (1, None),
    "set": ([], [], [1]),
    "list-append": ([], [], [1]),
    "fifo-queue": ([], [], [1]),
    "unordered-queue": ([], [], [1]),
    "stack": ([], [], [1]),
}
# States to which calls may lead in place of all that lead there.
JUMPS: dict[str, tuple[str, ...]] = {
    "register": ("null", "1", "2"),
    "cas-register": ("null", "1", "2"),
    "key-value": TEXTS,
    "mutex": ("free", "held"),
    "owner-mutex": ("free", "0", "1"),
}
MEANINGS = [Meaning(failed_cas=cas, nil_read=nil) for cas in FailedCas for nil in NilRead]


def random_history(random: Random, name: str) -> History:
    """Any few operations with any answers; most overlap, some crash or fail."""
    events: list[Event] = []
    begun: dict[int, Event] = {}
    processes = [0, 1, 2]
    for _ in range(random.randint(3, 11)):
        slot = random.randrange(len(processes))
        process = processes[slot]
        if process not in begun:
            f = random.choice(sorted(ASKED[name]))
            kind, value = EventType.INVOKE, random.choice(ASKED[name][f])
        else:
            invoked = begun.pop(process)
            f, value = invoked.f, invoked.value
            kind = random.choice([EventType.OK] * 6 + [EventType.FAIL, EventType.INFO])
            if kind is EventType.OK and f in TOLD.get(name, {}):
                value = random.choice(TOLD[name][f])
            if kind is EventType.INFO:
                processes[slot] = max(processes) + 1
        event = Event(index=len(events), process=process, type=kind, f=f, value=value)
        if kind is EventType.INVOKE:
            begun[process] = event
        events.append(event)
    return History(tuple(events))


def random_core(
    random: Random, operations: list[Operation], model: Model, meaning: Meaning, *, honest: bool
) -> J:
    """Relax a history at random: by the rules if `honest`, else now and then as a cheat would."""
    refutation: J = {"key": None, "from": None, "elements": None}
    span = [end for o in operations if (end := o.end) is not None] or [0]
    if isinstance(model, Coarse) and random.random() < 0.5:
        refutation["from"] = random.randint(0, random.choice(span))
    elif isinstance(model, Elementwise) and random.random() < 0.6:
        refutation["elements"] = random.sample(["1", "2"], random.randint(1, 2))
    since = -1 if refutation["from"] is None else refutation["from"]
    jumps = JUMPS.get(model.name, ())
    if jumps and random.random() < 0.4:
        refutation["jumps"] = random.sample(jumps, random.randint(1, 2))
    calls = []
    last = random.choice([*span, *span, max(span), max(span)])
    for operation in operations:
        action = model.action(operation, meaning)
        if action is not None and refutation["elements"] is not None:
            assert isinstance(model, Elementwise)
            action = model.project(action, frozenset(refutation["elements"]))
        lies = not honest and random.random() < 0.15
        if action is None or (operation.start > last and not lies):
            continue
        jumped = not model.is_pure(action) and model.gives(action) in refutation.get("jumps", ())
        if jumped and random.random() < 0.6:
            continue
        if random.random() < (0.2 if model.is_pure(action) or not honest else 0.05):
            continue
        start, end = operation.start, operation.end
        if end is not None and end < since and not lies:
            continue
        if random.random() < 0.2:
            start -= random.randint(0, 3)
        if end is not None and random.random() < 0.2:
            end = random.choice([None, end + random.randint(0, 3)])
        required = operation.end is not None and operation.start >= since and random.random() < 0.95
        if end is not None and end > last and random.random() < 0.7:
            required, end = False, None
        if lies:
            required = random.random() < 0.7
            start += random.randint(0, 2)
            end = (max(span) if end is None else end) - random.randint(0, 2)
            end = None if random.random() < 0.1 else end
        calls.append(call(operation.invocation.index, start, end, required=required))
    random.shuffle(calls)
    return refutation | {"calls": calls}


@pytest.mark.parametrize("name", sorted(ASKED))
def test_no_history_that_has_an_order_is_ever_refuted(name: str) -> None:
    """The important one. Brute force has the last word on everything that is accepted."""
    random = Random(f"refuted {name}")
    found: Counter[str] = Counter()
    for _ in range(1200):
        past = random_history(random, name)
        meaning = random.choice(MEANINGS)
        initial = random.choice(INITIAL.get(name, (DEFAULT,)))
        model = model_named(name, initial)
        operations = past.operations()
        truth: bool | None = None
        for attempt in range(6):
            core = random_core(random, operations, model, meaning, honest=attempt % 2 == 0)
            certificate = refuting(model=name, meaning=meaning_json(meaning))
            certificate["refutation"] = core
            if initial is not DEFAULT:
                certificate["initial"] = initial
            accepted = judged(past, certificate) is not None
            if accepted:
                if truth is None:
                    truth = has_order(calls_of(enumerate(operations), model, meaning), model)
                assert not truth, (past.events, certificate)
            found["jumps"] += accepted and "jumps" in core
            kind = "from" if core["from"] is not None else "elements" if core["elements"] else "all"
            found[kind] += accepted
    enough = {"all": 150}
    enough |= {"from": 20} if isinstance(model, Coarse) else {}
    enough |= {"jumps": 30} if name in JUMPS else {}
    enough |= {"elements": 150} if isinstance(model, Elementwise) else {}
    assert all(found[kind] >= least for kind, least in enough.items()), found


COARSE = [name for name in sorted(ASKED) if isinstance(model_named(name), Coarse)]


@pytest.mark.parametrize("name", COARSE)
def test_a_past_that_is_forgotten_too_soon_refutes_nothing_that_has_an_order(name: str) -> None:
    """All is honest but two limits: what counts as ended before `from`, and as begun after it."""
    random = Random(f"forgotten {name}")
    accepted = 0
    for _ in range(800):
        past = random_history(random, name)
        model, operations = model_named(name), past.operations()
        truth = has_order(calls_of(enumerate(operations), model, Meaning()), model)
        for _ in range(8):
            since = random.randint(1, 9)
            forgotten = since + random.choice((0, 0, 1, 2))
            certain = since - random.choice((0, 0, 1, 9))
            core = [
                call(
                    operation.invocation.index,
                    operation.start,
                    operation.end,
                    required=operation.end is not None and operation.start >= certain,
                )
                for operation in operations
                if model.action(operation, Meaning()) is not None
                and (operation.end is None or operation.end >= forgotten)
            ]
            if judged(past, refuting(*core, model=name, since=since)) is not None:
                assert not truth, (past.events, core, since)
                accepted += 1
    assert accepted >= 40, accepted


@pytest.mark.parametrize("name", sorted(ASKED))
def test_the_whole_history_is_refuted_exactly_if_it_has_no_order(name: str) -> None:
    random = Random(f"whole {name}")
    found: Counter[bool] = Counter()
    for _ in range(500):
        past = random_history(random, name)
        meaning = random.choice(MEANINGS)
        model = model_named(name)
        calls = calls_of(enumerate(past.operations()), model, meaning)
        core = [
            call(
                past.operations()[c.index].invocation.index, c.start, c.end, required=not c.optional
            )
            for c in calls
        ]
        certificate = refuting(*core, model=name, meaning=meaning_json(meaning))
        possible = has_order(calls, model)
        assert (judged(past, certificate) is None) == possible
        found[possible] += 1
    assert min(found[True], found[False]) >= 60, found


@pytest.mark.parametrize("name", sorted(ASKED))
def test_exactly_the_orders_that_brute_force_finds_are_accepted(name: str) -> None:
    random = Random(f"orders {name}")
    found: Counter[bool] = Counter()
    for _ in range(700):
        past = random_history(random, name)
        meaning = random.choice(MEANINGS)
        model = model_named(name)
        operations = past.operations()
        order = [o for o in operations if model.action(o, meaning) is not None]
        if random.random() < 0.7:
            random.shuffle(order)
        else:  # nearly in order
            order.sort(key=lambda o: o.start + random.randint(0, 4))
        order = [o for o in order if o.end is not None or random.random() < 0.6]
        if random.random() < 0.1 and order:
            order.pop(random.randrange(len(order)))
        certificate = ordering((None, [o.invocation.index for o in order]), model=name)
        certificate["meaning"] = meaning_json(meaning)
        accepted = judged(past, certificate) is not None
        assert accepted == is_order(order, operations, model, meaning)
        found[accepted] += 1
    assert found[True] >= 35, found


def is_order(
    order: list[Operation], operations: list[Operation], model: Model, meaning: Meaning
) -> bool:
    """Whether this is a linearization, by the definition: all pairs, every step."""
    for operation in operations:
        says = model.action(operation, meaning) is not None
        if says and operation.end is not None and operation not in order:
            return False
    for place, later in enumerate(order):
        if any(later.end is not None and later.end < first.start for first in order[:place]):
            return False
    state = model.initial
    for operation in order:
        action = model.action(operation, meaning)
        assert action is not None
        after = model.step(state, action)
        if after is None:
            return False
        state = after
    return True


def meaning_json(meaning: Meaning) -> J:
    return {"failed_cas": meaning.failed_cas.value, "nil_read": meaning.nil_read.value}
