"""Generators run against simulated clients: no threads, no clock, the same every time.

Rules of this file:
- Time is virtual: it jumps to the next thing that happens.
- Completions come before new invocations, as in the interpreter.
- A simulated client is a function of the invocation and of how many operations its thread has
  performed before; what it answers takes effect as it is invoked.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from checker.history import NEMESIS, Event, EventType, History

from .core import LOG, SLEEP, Context, Generator, GeneratorError, Invocation, ask, learn
from .roster import Roster

LATENCY_NS: Final = 10
# How time goes on while a generator waits for nothing but time, and how often in a row.
_TICK_NS: Final = 1_000_000
_TICKS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Reply:
    """How a simulated operation ends, and how long that takes."""

    type: EventType
    value: Any = None
    latency_ns: int = LATENCY_NS
    error: str | None = None


SimulatedClient: TypeAlias = Callable[[Invocation, int], Reply]
Perform: TypeAlias = Callable[[Invocation], tuple[EventType, Any]]


def perfect(latency_ns: int = LATENCY_NS, perform: Perform | None = None) -> SimulatedClient:
    """Return a client whose operations all succeed, or end as `perform` says, in equal time."""

    def reply(invocation: Invocation, number: int) -> Reply:
        del number
        kind, value = (EventType.OK, invocation.value) if perform is None else perform(invocation)
        return Reply(kind, value, latency_ns)

    return reply


def imperfect(latency_ns: int = LATENCY_NS) -> SimulatedClient:
    """Return a client whose operations fail, crash and succeed, in turn on each thread."""
    endings = (EventType.FAIL, EventType.INFO, EventType.OK)
    return lambda invocation, number: Reply(endings[number % 3], invocation.value, latency_ns)


def crashing(latency_ns: int = LATENCY_NS) -> SimulatedClient:
    """Return a client whose every operation ends in doubt."""
    return lambda invocation, _number: Reply(EventType.INFO, invocation.value, latency_ns)


def simulate(
    generator: Generator,
    client: SimulatedClient | None = None,
    *,
    threads: int = 3,
    nemesis: bool = False,
    seed: int = 0,
    steps_max: int = 1_000_000,
) -> History:
    """Run a generator to its end against a simulated client (`perfect()` unless given).

    Raises `GeneratorError` if the generator misbehaves, waits for what can never happen, or has
    more than `steps_max` steps.
    """
    run = _Run(generator, client or perfect(), Roster(threads, nemesis=nemesis, seed=seed))
    for _ in range(steps_max):
        if run.over():
            return History(tuple(run.events))
    raise GeneratorError(f"the generator did not end within {steps_max} steps")


class _Run:
    """A simulation under way."""

    def __init__(self, generator: Generator, client: SimulatedClient, roster: Roster) -> None:
        self.events: list[Event] = []
        self._generator = generator
        self._client = client
        self._roster = roster
        self._now_ns = 0
        self._ended = False
        self._idle_ticks = 0
        # (time, number, invocation, reply): numbers keep equal times in the order of invocation.
        self._under_way: list[tuple[int, int, Invocation, Reply | None]] = []
        self._performed: Counter[int | str] = Counter()
        self._number = 0

    def over(self) -> bool:
        """Do one thing: complete an operation, invoke one, or let time pass. True at the end."""
        if self._under_way and self._under_way[0][0] <= self._now_ns:
            self._complete()
            return False
        wake_ns: int | None = None
        if not self._ended:
            step = ask(self._generator, self._context())
            if step is None:
                self._ended = True
            elif isinstance(step, tuple):
                if step[0].at_ns <= self._now_ns:
                    self._invoke(*step)
                    return False
                wake_ns = step[0].at_ns
        if self._under_way and (wake_ns is None or self._under_way[0][0] <= wake_ns):
            wake_ns = self._under_way[0][0]
        if wake_ns is None:
            if self._ended:
                return True
            self._tick()
            return False
        self._now_ns, self._idle_ticks = wake_ns, 0
        return False

    def _tick(self) -> None:
        self._idle_ticks += 1
        if self._idle_ticks > _TICKS_MAX:
            raise GeneratorError(
                "the generator is pending, nothing is under way and time alone changes nothing: "
                f"it would wait for ever; it is {self._generator!r:.300}"
            )
        self._now_ns += _TICK_NS

    def _context(self) -> Context:
        return self._roster.context(self._now_ns)

    def _invoke(self, invocation: Invocation, successor: Generator) -> None:
        self._idle_ticks = 0
        self._generator = successor
        if invocation.f == LOG:
            return
        thread = invocation.thread
        self._roster.occupy(thread)
        self._number += 1
        if invocation.f == SLEEP:
            self._push(self._now_ns + int(invocation.value), invocation, None)
            return
        self._tell(invocation, EventType.INVOKE, invocation.value, None)
        reply = self._client(invocation, self._performed[thread])
        self._performed[thread] += 1
        self._push(self._now_ns + reply.latency_ns, invocation, reply)

    def _push(self, time_ns: int, invocation: Invocation, reply: Reply | None) -> None:
        heapq.heappush(self._under_way, (time_ns, self._number, invocation, reply))

    def _complete(self) -> None:
        _, _, invocation, reply = heapq.heappop(self._under_way)
        thread = invocation.thread
        self._roster.release(thread)
        if reply is None:
            return
        kind = EventType.INFO if thread == NEMESIS else reply.type
        self._tell(invocation, kind, reply.value, reply.error)
        if kind is EventType.INFO:
            self._roster.retire(thread)

    def _tell(
        self, invocation: Invocation, kind: EventType, value: object, error: str | None
    ) -> None:
        context = self._context()
        event = Event(
            index=len(self.events),
            time=self._now_ns,
            process=context.process_of(invocation.thread),
            type=kind,
            f=invocation.f,
            key=invocation.key,
            value=value,
            error=error,
        )
        self.events.append(event)
        self._generator = learn(self._generator, event, context)
