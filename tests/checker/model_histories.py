"""A twin of every model, written another way, and tiny histories of it.

A twin says what an object might answer to a request and be like after it: all outcomes, as plain
Python, with nothing of the models' code. It makes histories, about half of them linearizable, and
it judges them by trying every order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from checker.history import Event, EventType, History, Operation
from checker.meaning import Meaning

OK, FAIL, INFO, INVOKE = EventType.OK, EventType.FAIL, EventType.INFO, EventType.INVOKE
# (state, owner, f, value) -> (answer, next state), each possible one.
Outcomes = Callable[[Any, Any, str, Any], list[tuple[Any, Any]]]
Strategy = st.SearchStrategy[Any]


@dataclass(frozen=True)
class Twin:
    """What clients may ask, what they may (also wrongly) be told, and what is right."""

    requests: dict[str, Strategy]
    initial: Any
    outcomes: Outcomes
    answers: dict[str, Strategy] = field(default_factory=dict)


def _register(value: Any, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    if f == "read":
        return [(value, value)]
    if f == "write":
        return [(asked, asked)]
    return [(asked, asked[1])] if value == asked[0] else []


def _key_value(value: str, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    if f == "cas":
        return [(asked, asked[1])] if value == asked[0] else []
    if f == "append":
        return [(asked, value + asked)]
    after = {"get": value, "put": asked, "delete": ""}[f]
    return [(value if f == "get" else asked, after)]


def _multi_register(names: Any, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    now, answer = dict(names), []
    for kind, name, value in asked:
        if kind == "write":
            now[name] = value
        answer.append([kind, name, now.get(name)])
    return [(answer, tuple(sorted(now.items())))]


def _set(elements: frozenset[Any], who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    if f == "read":
        return [(sorted(elements), elements)]
    other = frozenset([asked])
    return [(asked, elements | other if f == "add" else elements - other)]


def _list(elements: tuple[Any, ...], who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    return [(list(elements), elements)] if f == "read" else [(asked, (*elements, asked))]


def _counter(number: int, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    if f == "read":
        return [(number, number)]
    step = 1 if asked is None else asked
    return [(asked, number - step if f == "decrement" else number + step)]


def _taking(places: Callable[[tuple[Any, ...]], list[int]]) -> Outcomes:
    """A container from which the elements in some places may be taken."""

    def outcomes(held: tuple[Any, ...], who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
        if f in ("enqueue", "push"):
            return [(asked, (*held, asked))]
        if not held:
            return [(None, held)]
        return [(held[n], held[:n] + held[n + 1 :]) for n in places(held)]

    return outcomes


def _mutex(free: bool, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    return [(asked, not free)] if free == (f == "acquire") else []


def _owner_mutex(owner: Any, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    if f == "acquire":
        return [(asked, who)] if owner is None else []
    return [(asked, None)] if owner == who else []


def _reentrant(holds: tuple[Any, ...], who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    if any(other != who for other in holds) or (f == "release" and not holds):
        return []
    return [(asked, (*holds, who) if f == "acquire" else holds[1:])]


def _fenced(state: Any, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    owner, last = state
    if f == "acquire":
        # More tokens than there are operations: room for all that crashed.
        more = range(last + 1, last + 8) if owner is None else ()
        return [({"token": token}, (who, token)) for token in more]
    fits = last == asked["token"] if asked and "token" in asked else owner == who
    return [(asked, (None, last))] if owner is not None and fits else []


def _semaphore(taken: int, who: Any, f: str, asked: Any) -> list[tuple[Any, Any]]:
    after = taken + (asked or 1) * (1 if f == "acquire" else -1)
    return [(asked, after)] if 0 <= after <= PERMITS else []


PERMITS = 2
honest_fates = st.sampled_from(("answers", "answers", "answers", "crashes"))
fates = st.sampled_from(("answers", "errs", "answers", "errs", "crashes", "answers", "fails"))
values = st.sampled_from((None, 0, 1, 2))
few = st.integers(0, 2)
texts = st.sampled_from(("", "a", "b", "ab", "ba", "aa"))
lists = st.lists(few, max_size=3)
owners = st.sampled_from((None, {"owner": 0}, {"owner": "b"}))
releases = owners | st.sampled_from(({"token": 1}, {"token": 2}, {"owner": 0, "token": 3}))
permits = st.sampled_from((None, 1, 2))
transactions = st.lists(
    st.tuples(st.sampled_from(("read", "write")), st.sampled_from("xy"), st.integers(0, 1)),
    min_size=1,
    max_size=2,
).map(lambda steps: [[k, name, value if k == "write" else None] for k, name, value in steps])
queue = {"enqueue": few, "dequeue": st.none()}
lock = {"acquire": st.none(), "release": st.none()}
owned = {"acquire": owners, "release": owners}

TWINS: dict[str, Twin] = {
    "register": Twin({"read": st.none(), "write": values}, None, _register, {"read": values}),
    "cas-register": Twin(
        {"read": st.none(), "write": values, "cas": st.lists(values, min_size=2, max_size=2)},
        None,
        _register,
        {"read": values},
    ),
    "key-value": Twin(
        {
            "get": st.none(),
            "put": texts,
            "append": texts,
            "delete": st.none(),
            "cas": st.lists(texts, min_size=2, max_size=2),
        },
        "",
        _key_value,
        {"get": texts},
    ),
    "multi-register": Twin({"txn": transactions}, (), _multi_register),
    "set": Twin({"add": few, "remove": few, "read": st.none()}, frozenset(), _set, {"read": lists}),
    "list-append": Twin({"append": few, "read": st.none()}, (), _list, {"read": lists}),
    "counter": Twin(
        {
            "add": st.integers(-1, 2),
            "increment": st.none() | few,
            "decrement": st.none() | few,
            "read": st.none(),
        },
        0,
        _counter,
        {"read": st.integers(-2, 3)},
    ),
    "fifo-queue": Twin(
        queue, (), _taking(lambda held: [0]), {"dequeue": st.sampled_from((None, 0, 1, 2))}
    ),
    "unordered-queue": Twin(
        queue, (), _taking(lambda held: list(range(len(held)))), {"dequeue": st.none() | few}
    ),
    "stack": Twin(
        {"push": few, "pop": st.none()},
        (),
        _taking(lambda held: [len(held) - 1]),
        {"pop": st.none() | few},
    ),
    "mutex": Twin(lock, True, _mutex),
    "owner-mutex": Twin(owned, None, _owner_mutex),
    "reentrant-mutex": Twin(owned, (), _reentrant),
    "fenced-mutex": Twin(
        {"acquire": owners, "release": releases},
        (None, 0),
        _fenced,
        {"acquire": st.integers(1, 5).map(lambda token: {"token": token})},
    ),
    "semaphore": Twin({"acquire": permits, "release": permits}, 0, _semaphore),
}
# Models that do not start as they do by default.
STARTS: dict[str, Any] = {"semaphore": PERMITS}


def owner_of(process: Any, value: Any) -> Any:
    return value["owner"] if isinstance(value, dict) and "owner" in value else process


def told(twin: Twin, f: str, asked: Any) -> Strategy:
    """Anything that an answer to this request may look like."""
    if f != "txn":
        return twin.answers.get(f, st.just(asked))
    steps = [st.tuples(st.just(kind), st.just(name), st.integers(0, 1) if kind == "read"
             else st.just(value)).map(list) for kind, name, value in asked]  # fmt: skip
    return st.tuples(*steps).map(list)


@st.composite
def histories(draw: st.DrawFn, name: str, *, events_max: int = 13, honest: bool = False) -> History:
    """Answers are those of a simulated twin; unless `honest`, now and then any other."""
    twin = TWINS[name]
    state = twin.initial
    events: list[Event] = []
    open_at: dict[int, tuple[Event, tuple[Any, EventType] | None]] = {}
    names = [0, 1, 2]

    def happen(event: Event) -> tuple[Any, EventType]:
        nonlocal state
        who = owner_of(event.process, event.value)
        possible = twin.outcomes(state, who, event.f, event.value)[:3]
        if not possible:
            return event.value, FAIL
        answer, state = draw(st.sampled_from(possible))
        return answer, OK

    for _ in range(draw(st.integers(events_max // 2, events_max))):
        slot = draw(st.integers(0, len(names) - 1))
        process = names[slot]
        if process not in open_at:
            f = draw(st.sampled_from(sorted(twin.requests)))
            asked = draw(twin.requests[f])
            event = Event(index=len(events), process=process, type=INVOKE, f=f, value=asked)
            # It takes effect as it is invoked or as it returns; if it crashes, or never.
            open_at[process] = event, happen(event) if draw(st.booleans()) else None
            events.append(event)
            continue
        event, effect = open_at.pop(process)
        fate = draw(honest_fates if honest else fates)
        if fate == "crashes":
            answer, kind = event.value, INFO
            names[slot] = max(names) + 1
        else:
            answer, kind = effect or happen(event)
            if fate == "fails":
                kind = FAIL
            elif fate == "errs":
                answer, kind = draw(told(twin, event.f, event.value)), OK
        events.append(Event(index=len(events), process=process, type=kind, f=event.f, value=answer))
    return History(tuple(events))


@st.composite
def operations(draw: st.DrawFn, name: str) -> Operation:
    """Any operation with any answer, alone."""
    twin = TWINS[name]
    f = draw(st.sampled_from(sorted(twin.requests)))
    asked, kind = draw(twin.requests[f]), draw(st.sampled_from((OK, OK, OK, INFO, FAIL)))
    answer = draw(told(twin, f, asked))
    process = draw(st.integers(0, 1))
    invoked = Event(index=0, process=process, type=INVOKE, f=f, value=asked)
    answered = Event(index=1, process=process, type=kind, f=f, value=answer)
    end = None if kind is INFO else 1
    return Operation(invocation=invoked, completion=answered, start=0, end=end)


def twin_has_order(history: History, name: str, meaning: Meaning) -> bool:
    """Whether the twin could have given these answers: every order, every outcome.

    A failed operation did not happen; a crashed one did, whatever it answered, or did not.
    """
    differs, silent = meaning.failed_cas == "differs", meaning.nil_read == "unknown"
    twin = TWINS[name]
    hopeless: set[Any] = set()

    def possible(state: Any, operation: Operation) -> list[Any]:
        who = owner_of(operation.invocation.process, operation.input)
        outcomes = twin.outcomes(state, who, operation.f, operation.input)
        if operation.type is INFO:
            return [after for _, after in outcomes]
        if operation.type is FAIL:
            return [] if outcomes else [state]
        return [after for answer, after in outcomes if fits(operation, answer)]

    def fits(operation: Operation, answer: Any) -> bool:
        said = operation.output
        if silent and operation.f in ("read", "get") and said is None:
            return True
        if silent and operation.f == "txn":
            said = [step if step != [step[0], step[1], None] else true
                    for step, true in zip(said, answer, strict=True)]  # fmt: skip
        return bool(answer == (sorted(said) if name == "set" and operation.f == "read" else said))

    def extend(state: Any, left: tuple[Operation, ...]) -> bool:
        if all(operation.type is INFO for operation in left):
            return True
        if (state, key := tuple(o.start for o in left)) in hopeless:
            return False
        for operation in left:
            if any(o.end is not None and o.end < operation.start for o in left):
                continue
            rest = tuple(o for o in left if o is not operation)
            if any(extend(after, rest) for after in possible(state, operation)):
                return True
        hopeless.add((state, key))
        return False

    return extend(
        twin.initial,
        tuple(o for o in history.operations()
              if o.type is not FAIL or (o.f == "cas" and differs)),
    )  # fmt: skip


def subsets(things: Any) -> list[frozenset[Any]]:
    """All subsets of a few things."""
    listed = sorted(things)
    return [frozenset(some) for size in range(len(listed) + 1)
            for some in itertools.combinations(listed, size)]  # fmt: skip
