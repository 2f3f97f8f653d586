"""What must not change a verdict, and what may change it in one direction only.

No judge is needed here, so histories can be larger than what brute force can take, and the laws hold
for whatever search answers. Everything is seeded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from differential import DIFFERS, merged, rooms, set_to
from random_calls import history_of, register_calls
from random_events import MEANINGS, REQUESTS, model_of, of_key, random_history

from checker import first_look, portfolio
from checker.calls import Call
from checker.columns import columns_of
from checker.hard_histories import Fault, Shape, generate
from checker.hard_histories import history_of as events_of
from checker.history import Event, EventType, History
from checker.linearizable import check
from checker.meaning import Meaning
from checker.models import MODELS, model_named
from checker.verdict import Verdict

OK, FAIL, INFO, INVOKE = EventType.OK, EventType.FAIL, EventType.INFO, EventType.INVOKE
VALID, INVALID = Verdict.VALID, Verdict.INVALID
CAS = model_named("cas-register")
ELEMENTWISE = ("set", "list-append", "fifo-queue", "unordered-queue", "stack")
every_model = pytest.mark.parametrize("name", MODELS)
# To a lock that knows its owner, another process is somebody else.
OWNED = ("owner-mutex", "reentrant-mutex", "fenced-mutex")
without_owners = pytest.mark.parametrize("name", [name for name in MODELS if name not in OWNED])


def verdict(past: Any, name: str, meaning: Meaning = DIFFERS) -> Verdict:
    return check(past, model_of(name), meaning=meaning).verdict


def numbered(events: list[Event]) -> History:
    return History(tuple(replace(event, index=n) for n, event in enumerate(events)))


def some(name: str, count: int, **wants: Any) -> list[tuple[Random, History, Meaning]]:
    """Random histories, each with a stream to go on with."""
    found = []
    for seed in range(count):
        stream = Random(f"law {name} {seed}")
        meaning = stream.choice(MEANINGS)
        if name == "cas-register" and not wants and stream.random() < 0.5:
            found.append((stream, history_of(register_calls(stream, calls_max=20)), DIFFERS))
        else:
            found.append(
                (stream, random_history(stream, name, operations_max=14, **wants), meaning)
            )
    return found


def places_of(past: History) -> list[tuple[int, int | None]]:
    """Where each operation's two events are."""
    pairs: list[tuple[int, int | None]] = []
    open_at: dict[Any, int] = {}
    for n, event in enumerate(past.events):
        if event.type is INVOKE:
            open_at[event.process] = n
        else:
            pairs.append((open_at.pop(event.process), n))
    return pairs + [(n, None) for n in open_at.values()]


def alone(past: History) -> list[Event]:
    """Give every operation a process of its own, so that its events can be moved freely.

    Owners of locks would be other ones then: for models without owners only.
    """
    events = list(past.events)
    for name, (begun, ended) in enumerate(places_of(past)):
        for place in (begun, ended):
            if place is not None:
                events[place] = replace(events[place], process=name)
    return events


OBSERVERS = {"read", "get"}


@every_model
def test_a_valid_history_stays_valid_without_what_was_observed(name: str) -> None:
    tried = 0
    for stream, past, meaning in some(name, 60):
        reads = [pair for pair in places_of(past) if past.events[pair[0]].f in OBSERVERS
                 or (past.events[pair[0]].f == "cas" and pair[1] is not None
                     and past.events[pair[1]].type is FAIL)]  # fmt: skip
        if not reads or verdict(past, name, meaning) is INVALID:
            continue
        tried += 1
        gone = set(stream.choice(reads))
        rest = numbered([event for n, event in enumerate(past.events) if n not in gone])
        assert not rest.events or verdict(rest, name, meaning) is VALID
    assert tried or not OBSERVERS & set(REQUESTS[name])


@without_owners
def test_a_valid_history_stays_valid_where_an_acknowledgement_is_lost(name: str) -> None:
    tried = 0
    for stream, past, meaning in some(name, 60):
        ended = [
            end for _, end in places_of(past) if end is not None and past.events[end].type is OK
        ]
        if not ended or verdict(past, name, meaning) is INVALID:
            continue
        tried += 1
        events = list(past.events)
        place = stream.choice(ended)
        lost = events[place]
        value = next(e.value for e in reversed(events[:place]) if e.process == lost.process)
        events[place] = replace(lost, type=INFO, value=value)
        # Its process is gone; what it did afterwards is done by another one.
        for n in range(place + 1, len(events)):
            if events[n].process == lost.process:
                events[n] = replace(events[n], process=int(lost.process) + 1000)
        assert verdict(History(tuple(events)), name, meaning) is VALID
    assert tried > 10


@without_owners
def test_a_wider_interval_never_makes_a_history_invalid(name: str) -> None:
    tried = 0
    for stream, past, meaning in some(name, 60):
        if verdict(past, name, meaning) is INVALID:
            continue
        tried += 1
        events = alone(past)
        for _ in range(stream.randint(1, 3)):
            place = stream.randrange(len(events))
            event = events.pop(place)
            to = (
                stream.randint(0, place)
                if event.type is INVOKE
                else stream.randint(place, len(events))
            )
            events.insert(to, event)
        assert verdict(numbered(events), name, meaning) is VALID
    assert tried > 10


def swapped(value: Any, by: Callable[[Any], Any]) -> Any:
    """Rename every value inside of a value."""
    return [swapped(part, by) for part in value] if isinstance(value, list) else by(value)


@pytest.mark.parametrize("name", ["register", "cas-register", *ELEMENTWISE])
def test_the_names_of_values_do_not_matter(name: str) -> None:
    for _, past, meaning in some(name, 60):
        events = [
            replace(event, value=swapped(event.value, lambda v: v if v is None else f"v{v}"))
            for event in past.events
        ]
        assert verdict(past, name, meaning) is verdict(History(tuple(events)), name, meaning)


@without_owners
def test_processes_and_times_do_not_matter(name: str) -> None:
    for stream, past, meaning in some(name, 40):
        at, events = stream.randrange(10**12), []
        for event in alone(past):
            at += stream.choice((1, 1000, 10**9))
            events.append(replace(event, process=int(event.process) * 7 + 3, time=at))
        assert verdict(past, name, meaning) is verdict(numbered(events), name, meaning)


KEYED = ("register", "cas-register", "key-value")


@pytest.mark.parametrize("name", KEYED)
def test_keys_are_checked_as_if_each_were_alone(name: str) -> None:
    seen = set()
    for stream, past, meaning in some(name, 60, keys=("a", "b", None)):
        result = check(past, model_of(name), meaning=meaning)
        for one in result.keys:
            assert one.verdict is verdict(of_key(past, one.key), name, meaning)
        seen.add(tuple(sorted(str(one.verdict) for one in result.keys)))
        # Nor do their names and their order matter, nor how they are interleaved.
        names = {"a": "z", "b": None, None: "y"}
        renamed = [replace(event, key=names[event.key]) for event in past.events]
        again = check(History(tuple(renamed)), model_of(name), meaning=meaning)
        assert {(names[one.key], one.verdict) for one in result.keys} == {
            (one.key, one.verdict) for one in again.keys
        }
        keys = [of_key(past, key) for key in dict.fromkeys(event.key for event in past.events)]
        stream.shuffle(keys)
        other = check(merged(keys, stream), model_of(name), meaning=meaning)
        assert {(one.key, one.verdict) for one in other.keys} == {
            (one.key, one.verdict) for one in result.keys
        }
    assert ("invalid", "valid", "valid") in seen


def test_valid_histories_one_after_the_other_stay_valid() -> None:
    """With an acknowledged write of the initial value between, or on other keys."""
    valid = [past for _, past, _ in some("cas-register", 120)
             if verdict(past, "cas-register") is VALID]  # fmt: skip
    assert len(valid) > 40
    for one, other in pairwise(valid):
        between = Event(index=0, process=0, type=INVOKE, f="write", value=None)
        parts = [one.events, (between, replace(between, type=OK)), other.events]
        events = [
            replace(event, process=int(event.process) + 1000 * n)
            for n, part in enumerate(parts)
            for event in part
        ]
        assert verdict(numbered(events), "cas-register") is VALID
        keyed = [replace(event, key=f"k{int(event.process) // 1000}") for event in events]
        assert verdict(numbered(keyed), "cas-register") is VALID


@every_model
def test_events_and_columns_get_the_same_answer(name: str) -> None:
    for _, past, meaning in some(name, 30):
        one = check(past, model_of(name), meaning=meaning)
        other = check(columns_of(past), model_of(name), meaning=meaning)
        assert one == replace(other, seconds=one.seconds)


def hard(seed: int) -> History:
    """A history that is worth a search, with or without a fault."""
    stream = Random(f"hard {seed}")
    shape = Shape(
        operations=stream.choice((30, 60, 120)),
        clients=stream.choice((5, 10, 20)),
        crashed=stream.choice((0, 4, 12)),
        values=stream.choice((None, 2, 5)),
    )
    fault = stream.choice((None, *Fault))
    return events_of(generate(shape, seed=seed, fault=fault).columns)


@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("room", [16, 64])
def test_neither_slices_nor_room_matter(steps: int, room: int) -> None:
    seen = set()
    for seed in range(25):
        past = hard(seed)
        expected = check(past, CAS, meaning=DIFFERS)
        # Every search has to be entered many times: nothing is decided at first sight.
        with (
            set_to(first_look, "STEPS_A_CALL", -(10**6)),
            set_to(portfolio, "_SLICE_MAX", steps),
            rooms(room),
        ):
            again = check(past, CAS, meaning=DIFFERS)
        assert again.verdict is expected.verdict, seed
        seen.add(again.verdict)
    assert seen == {VALID, INVALID}


def test_a_call_that_crashed_before_all_others_may_be_left_out_or_not() -> None:
    """A write that nobody saw and that may never have happened changes no verdict."""
    for seed in range(150):
        calls = register_calls(Random(f"idle {seed}"))
        idle = Call(index=0, action=("write", "-5"), start=-1, end=None)
        more = (idle, *(replace(call, index=call.index + 1) for call in calls))
        one, other = (verdict(history_of(c), "cas-register") for c in (calls, more))
        assert one is other
