"""Seeded tiny histories of every model: simulated by its twin, then answered wrongly here and there.

Rules of this file:
- Everything comes from one `Random`. The twins of `model_histories` say what is right, and judge.
- A model that is not in `REQUESTS` fails a test: a new one has to be fuzzed as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from random import Random
from typing import Any

from model_histories import STARTS, TWINS, owner_of, twin_has_order

from checker.calls import Calls, calls_of
from checker.history import Event, EventType, History
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models import DEFAULT, Model, model_named

OK, FAIL, INFO, INVOKE = EventType.OK, EventType.FAIL, EventType.INFO, EventType.INVOKE
MEANINGS = [Meaning(failed_cas=f, nil_read=n) for f in FailedCas for n in NilRead]

_VALUES = (None, 0, 1, 2)
_PAIRS = tuple([one, other] for one in _VALUES for other in _VALUES)
_NOTHING = (None,)
_TEXTS = ("", "a", "b", "ab")
_TEXT_PAIRS = tuple([one, other] for one in _TEXTS for other in _TEXTS)
_OWNERS = (None, None, {"owner": 0}, {"owner": 1})
_STEPS: tuple[list[Any], ...] = (
    ["read", "x", None], ["read", "y", None], ["write", "x", 1], ["write", "x", 2],
    ["write", "y", 1],
)  # fmt: skip
_TXNS = tuple([one] for one in _STEPS) + tuple([one, two] for one in _STEPS for two in _STEPS)
_FRESH = ("fresh",)  # stands for a value that nobody else puts in, or for few values

# What clients may ask of each model; a request that is there twice is asked more often.
REQUESTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "register": {"read": _NOTHING, "write": _VALUES},
    "cas-register": {"read": _NOTHING, "write": _VALUES, "cas": _PAIRS},
    "key-value": {
        "get": _NOTHING, "put": _TEXTS, "append": _TEXTS, "delete": _NOTHING, "cas": _TEXT_PAIRS,
    },
    "multi-register": {"txn": _TXNS},
    "set": {"add": _FRESH, "remove": (0, 1, 2, 3), "read": _NOTHING},
    "list-append": {"append": _FRESH, "read": _NOTHING},
    "counter": {"add": (-1, 1, 2), "increment": (None, 1), "decrement": (None,), "read": _NOTHING},
    "fifo-queue": {"enqueue": _FRESH, "dequeue": _NOTHING},
    "unordered-queue": {"enqueue": _FRESH, "dequeue": _NOTHING},
    "stack": {"push": _FRESH, "pop": _NOTHING},
    "mutex": {"acquire": _NOTHING, "release": _NOTHING},
    "owner-mutex": {"acquire": _OWNERS, "release": _OWNERS},
    "reentrant-mutex": {"acquire": _OWNERS, "release": _OWNERS},
    "fenced-mutex": {
        "acquire": _OWNERS,
        "release": (*_OWNERS, *_OWNERS, {"token": 1}, {"token": 2}),
    },
    "semaphore": {"acquire": (None, 1, 2), "release": (None, 1, 2)},
}  # fmt: skip
# What clients may wrongly be told, where that is something else than what they asked.
_TAKEN = (None, 0, 1, 2, 3)
ANSWERS: dict[str, dict[str, tuple[Any, ...]]] = {
    "key-value": {"get": _TEXTS},
    "fifo-queue": {"dequeue": _TAKEN},
    "unordered-queue": {"dequeue": _TAKEN},
    "stack": {"pop": _TAKEN},
    "register": {"read": _VALUES},
    "cas-register": {"read": _VALUES},
    "set": {"read": ([], [0], [1], [2], [1, 2], [1, 3])},
    "list-append": {"read": ([], [0], [1], [2], [1, 2], [2, 1], [1, 3])},
    "counter": {"read": (-1, 0, 1, 2, 3)},
    "fenced-mutex": {"acquire": ({"token": 1}, {"token": 2}, {"token": 3})},
}


def model_of(name: str) -> Model:
    """Return the model as its twin starts."""
    return model_named(name, STARTS.get(name, DEFAULT))


def random_history(
    stream: Random, name: str, *, operations_max: int = 9,
    keys: tuple[str | None, ...] = (None,), leave_out: Collection[str] = (),
) -> History:  # fmt: skip
    """A few operations of up to eight processes at once; some crash, some get a wrong answer."""
    twin = TWINS[name]
    count = max(stream.randint(2, operations_max), stream.randint(2, operations_max))
    names = list(range(stream.choice((1, 2, 3, 3, 4, 8))))
    crashes = stream.choice((0.0, 0.05, 0.2, 0.5))
    errs = stream.choice((0.0, 0.1, 0.3, 0.6))
    is_fresh = stream.random() < 0.6
    eager = stream.choice((0.3, 0.5, 0.8))  # to begin something rather than to end something
    states: dict[str | None, Any] = dict.fromkeys(keys, twin.initial)
    events: list[Event] = []
    open_at: dict[int, tuple[Event, tuple[Any, EventType] | None]] = {}
    late: list[tuple[str | None, Event]] = []  # crashed, and yet to take effect
    said: list[tuple[str, Any]] = []
    begun = 0

    def happen(event: Event) -> tuple[Any, EventType]:
        who = owner_of(event.process, event.value)
        possible = twin.outcomes(states[event.key], who, event.f, event.value)[:3]
        if not possible:
            return event.value, FAIL
        answer, states[event.key] = stream.choice(possible)
        return answer, OK

    while begun < count or open_at:
        if late and stream.random() < 0.1:
            happen(late.pop(stream.randrange(len(late)))[1])
        slot = stream.randrange(len(names))
        process = names[slot]
        if process not in open_at:
            if begun == count or stream.random() > eager:
                continue
            begun += 1
            f = stream.choice(sorted(REQUESTS[name].keys() - leave_out))
            asked = stream.choice(REQUESTS[name][f])
            if asked == "fresh":
                asked = begun if is_fresh else stream.randrange(4)
            event = Event(index=len(events), process=process, type=INVOKE, f=f, value=asked,
                          key=stream.choice(keys))  # fmt: skip
            # It takes effect as it is invoked, or as it returns; crashed, at any time or never.
            open_at[process] = event, happen(event) if stream.random() < 0.5 else None
            events.append(event)
            continue
        if stream.random() < 0.2:
            continue
        event, effect = open_at.pop(process)
        if stream.random() < crashes:
            answer, kind = event.value, INFO
            names[slot] = max(names) + 1
            if effect is None and stream.random() < 0.6:
                late.append((event.key, event))
        else:
            answer, kind = effect or happen(event)
            if stream.random() < errs:
                answer, kind = _erred(stream, name, event, answer, said)
            if kind is OK:
                said.append((event.f, answer))
        if kind is not INFO or stream.random() < 0.8:  # else it never completes at all
            events.append(replace(event, index=len(events), type=kind, value=answer))
    for _ in range(stream.choice((0, 0, 1, 2, 4))):
        events = _hurried(stream, events)
    return History(tuple(replace(event, index=n) for n, event in enumerate(events)))


def _erred(
    stream: Random, name: str, event: Event, answer: Any, said: list[tuple[str, Any]]
) -> tuple[Any, EventType]:
    """Answer with what somebody else was told, or with anything; now and then deny it."""
    if stream.random() < 0.1:
        return event.value, FAIL
    if event.f == "txn":
        return [[kind, x, stream.choice((None, 1, 2)) if kind == "read" else value]
                for kind, x, value in answer], OK  # fmt: skip
    others = [told for f, told in said if f == event.f]
    answers = ANSWERS.get(name, {}).get(event.f)
    if answers is None:
        return event.value, OK
    if others and stream.random() < 0.6:
        return stream.choice(others), OK
    return stream.choice(answers), OK


def _hurried(stream: Random, events: list[Event]) -> list[Event]:
    """Claim of one operation that it began later, or was over earlier, than it was."""
    events = list(events)
    place = stream.randrange(len(events))
    event = events.pop(place)
    mine = [n for n, other in enumerate(events) if other.process == event.process]
    if event.type is INVOKE:
        ends = [n for n in mine if n >= place]
        events.insert(stream.randint(place, min(ends, default=place)), event)
    else:
        begun = max(n for n in mine if n < place)
        events.insert(stream.randint(begun + 1, place), event)
    return events


def of_key(history: History, key: str | None) -> History:
    """Return one key's events, numbered anew."""
    events = [event for event in history.events if event.key == key]
    return History(tuple(replace(event, index=n) for n, event in enumerate(events)))


def twin_says(history: History, name: str, meaning: Meaning) -> dict[str | None, bool]:
    """Return for each key, or for all as one where the model has none, whether it has an order."""
    if not model_of(name).keyed:
        return {None: twin_has_order(history, name, meaning)}
    keys = dict.fromkeys(event.key for event in history.events)
    return {key: twin_has_order(of_key(history, key), name, meaning) for key in keys}


def calls_in(history: History, model: Model, meaning: Meaning) -> Calls:
    """Return the calls of a history with one object."""
    return calls_of(list(enumerate(history.operations())), model, meaning)


def printed(events: Iterable[Event]) -> str:
    """Return events as a history file has them."""
    return "\n".join(event.to_json() for event in events)
