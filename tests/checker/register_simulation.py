"""Histories that are linearizable by construction, and ways to break them.

A simulated register applies each operation at one instant inside its interval, so the history has
a linearization. A crashed operation takes effect at some instant after its invocation, possibly
long after, or never. Everything follows from one seed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from checker.history import Event, EventType, History, in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What kind of history to simulate."""

    operations: int = 1000
    keys: int = 1
    clients: int = 10
    crashes: int = 0
    values: int | None = None  # None: every written value is unique
    failed_cas: bool = True


def simulate(seed: int, shape: Shape) -> History:
    """Return a linearizable history of reads, writes and compare-and-sets; all keys start null."""
    rng = random.Random(seed)
    state: dict[str, Any] = {}
    events: list[Event] = []
    # What happens next: (time, tie-breaker, what to do then).
    agenda: list[tuple[int, int, Callable[[int], None]]] = []
    counter = iter(range(1 << 60))
    crashing = set(rng.sample(range(shape.operations), shape.crashes))
    left = iter(range(shape.operations))
    processes = iter(range(shape.clients, 1 << 60))

    def at(time: int, action: Callable[[int], None]) -> None:
        heapq.heappush(agenda, (time, next(counter), action))

    def fresh_value() -> int:
        return next(counter) if shape.values is None else rng.randrange(shape.values)

    def invoke(process: int, now: int) -> None:
        number = next(left, None)
        if number is None:
            return
        key = f"k{rng.randrange(shape.keys)}"
        f = rng.choice(("read", "write", "cas"))
        value: Any = None
        if f == "write":
            value = fresh_value()
        elif f == "cas":
            value = [state.get(key) if rng.random() < 0.7 else fresh_value(), fresh_value()]
        start = Event(index=0, time=now, process=process, type=EventType.INVOKE, f=f, key=key,
                      value=value)  # fmt: skip
        events.append(start)
        crashes = number in crashing and f != "read"
        effect_after = rng.randrange(1, 50) if not crashes else rng.randrange(1, 20_000)
        outcome: list[Any] = [EventType.INFO, None]

        def take_effect(_: int) -> None:
            outcome[:] = [EventType.OK, value]
            if f == "read":
                outcome[1] = state.get(key)
            elif f == "write":
                state[key] = value
            elif state.get(key) == value[0]:
                state[key] = value[1]
            else:
                outcome[0] = EventType.FAIL

        def complete(then: int) -> None:
            kind, answer = (EventType.INFO, None) if crashes else outcome
            events.append(replace(start, time=then, type=kind, value=answer))
            successor = next(processes) if crashes else process
            at(then + rng.randrange(1, 20), lambda later: invoke(successor, later))

        if not crashes or rng.random() < 0.5:
            at(now + effect_after, take_effect)
        at(now + (60 if crashes else effect_after + rng.randrange(1, 50)), complete)

    for process in range(shape.clients):
        at(rng.randrange(20), lambda now, process=process: invoke(process, now))  # type: ignore[misc]
    while agenda:
        now, _, action = heapq.heappop(agenda)
        action(now)
    kept = events if shape.failed_cas else _without_failed(events)
    return History(tuple(replace(e, index=i) for i, e in enumerate(in_order(kept))))


def with_stale_read(history: History, seed: int) -> History | None:
    """Return the history with one late read of a value that was overwritten long before.

    `None` if there is no such read. The result is not linearizable where values are unique.
    """
    rng = random.Random(seed)
    events = list(history.events)
    answers = [i for i, e in enumerate(events) if e.f == "read" and e.type is EventType.OK]
    rng.shuffle(answers)
    for place in answers:
        read = events[place]
        written = [e.value for e in events[: place // 2]
                   if e.f == "write" and e.type is EventType.OK and e.key == read.key]  # fmt: skip
        later = [e for e in events[place // 2 : place]
                 if e.f == "write" and e.type is EventType.OK and e.key == read.key]  # fmt: skip
        if place > len(events) // 2 and len(written) > 2 and len(later) > 20:
            events[place] = replace(read, value=rng.choice(written))
            return History(tuple(events))
    return None


def with_answers_swapped(history: History, seed: int) -> History:
    """Return the history with two answers of reads of one key swapped: rarely still right."""
    rng = random.Random(seed)
    events = list(history.events)
    reads = [i for i, e in enumerate(events) if e.f == "read" and e.type is EventType.OK]
    one = rng.choice(reads)
    others = [i for i in reads if events[i].key == events[one].key
              and events[i].value != events[one].value]  # fmt: skip
    if others:
        # The nearest other answer: a fault of a moment, the hardest kind to see.
        other = min(others, key=lambda i: (abs(i - one), i))
        first, second = events[one], events[other]
        events[one] = replace(first, value=second.value)
        events[other] = replace(second, value=first.value)
    return History(tuple(events))


def _without_failed(events: list[Event]) -> list[Event]:
    failed = set()
    opened: dict[Any, Event] = {}
    for event in events:
        if event.type is EventType.INVOKE:
            opened[event.process] = event
        elif event.type is EventType.FAIL:
            failed.add(id(event))
            failed.add(id(opened[event.process]))
    return [event for event in events if id(event) not in failed]
