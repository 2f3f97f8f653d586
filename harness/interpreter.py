"""Runs a generator against clients: one scheduling thread, a thread for each client.

Rules of this file:
- Order of an operation: stamped, journalled, sent; answered, stamped (in the client's thread),
  journalled. So an interval is never shorter than the truth, and a harness that dies has
  journalled every request that may have had an effect.
- The work is done in turns. A turn takes in the answers that are there, asks the generator for what
  is due, writes all of it at once, and only then sends. A turn is short (`_TURN_MAX`, `_TURN_NS`):
  the first of its invocations waits for the last, and answers wait for Python's lock to be stamped.
- Completions come before new invocations: a wait there would invent concurrency.
- After `info` the process number is retired; the thread goes on as `process + concurrency`, with a
  fresh client, because the old one's request may still be on its way.
- Every wait is bounded. A client that does not answer by its deadline plus a grace is given up:
  its operation becomes `info`, its thread is replaced, and what it says later is not heard.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from checker.history import NEMESIS, Event, EventType
from workloads.generator import (
    LOCAL,
    LOG,
    PENDING,
    Generator,
    GeneratorError,
    Invocation,
    Roster,
    Thread,
    ask,
    learn,
)

from . import client_thread
from .client import Client, Completion
from .client_thread import Answer, Answers, Clock, Inbox, Unopened
from .errors import HarnessError
from .journal import Batch, Journal
from .mailbox import Mailbox
from .rates import Rates

log = logging.getLogger("harness")

# What a client may take beyond its own timeout before it is given up: scheduling delays of a busy
# machine, not network time.
_GRACE_NS: Final = 2_000_000_000
# The longest single wait; the loop looks at deadlines and at the stop flag this often.
_TICK_NS: Final = 100_000_000
# How many operations are invoked, and how many answers are taken in, in one turn at most.
_TURN_MAX: Final = 32
# How long a turn may go on asking: a generator that thinks for long is asked once in a turn.
_TURN_NS: Final = 2_000_000
# Faults take longer than operations.
_NEMESIS_TIMEOUT_NS: Final = 60_000_000_000

OpenClient = Callable[[int], Client]


@dataclass(slots=True, eq=False)
class _Worker:
    """A client thread. `generation` tells the answers of a replaced thread from those that count."""

    thread: Thread
    allowance_ns: int
    inbox: Inbox
    node: str | None
    generation: int = 0
    pending: Invocation | None = None
    deadline_ns: int = 0


class Interpreter:
    """Drives generators, one after the other, over one journal.

    `open_client(thread)` makes a client for a thread, without waiting for the network; `clock`
    gives nanoseconds since the run's start; `observe` sees every event after it was journalled
    (progress, counters). `seed` is what the generators' named streams draw from. `open_nemesis`
    makes the client of the nemesis' thread, for generators with faults of their own.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        open_client: OpenClient,
        concurrency: int,
        operation_timeout_ns: int,
        clock: Clock,
        observe: Callable[[Event], None] = lambda _event: None,
        seed: int = 0,
        open_nemesis: Callable[[], Client] | None = None,
    ) -> None:
        self._journal = journal
        self._open_client = open_client
        self._open_nemesis = open_nemesis
        self._clock = clock
        self._observe = observe
        self._answers: Answers = Mailbox()
        self._stop = threading.Event()
        self._roster = Roster(concurrency, nemesis=open_nemesis is not None, seed=seed)
        self._workers = {
            thread: self._hire(thread, operation_timeout_ns + _GRACE_NS)
            for thread in self._roster.threads
        }
        # Threads whose operation ended in doubt, until they have a new client.
        self._doubtful: list[_Worker] = []
        # Threads that sleep, by the time at which they wake.
        self._asleep: list[tuple[int, int, Thread]] = []
        self._sleeps = 0
        self._next_look_ns = 0
        self._generator: Generator | None = None
        self._rates = Rates(0)

    def stop(self) -> None:
        """Ask `run` to end after the operations under way; may be called from any thread."""
        self._stop.set()

    def run(self, generator: Generator) -> Rates:
        """Perform everything that the generator has, then wait for what is under way.

        Returns what was offered and what was achieved. Raises `JournalError` when the history
        cannot be written and `HarnessError` when the generator misbehaves; nothing more is sent.
        """
        self._generator = generator
        self._rates = Rates(self._clock())
        wake_ns = 0
        try:
            while self._generator is not None or not self._roster.all_free:
                if self._stop.is_set():
                    self._generator = None
                    self._wake(None)
                wake_ns = self._turn(self._take_answers(wake_ns))
        except GeneratorError as error:
            raise HarnessError(f"the workload's generator is at fault: {error}") from error
        return self._rates

    def close(self) -> None:
        """End the client threads; they are daemons, so one that hangs is left behind."""
        for worker in self._workers.values():
            worker.inbox.put(None)

    def _turn(self, answers: list[Answer]) -> int:
        """Do what there is to do; return the time until which there is nothing more."""
        to_send: list[tuple[_Worker, Invocation]] = []
        with self._journal.batch() as batch:
            for answer in answers:
                self._complete(answer, batch)
            now_ns = self._clock()
            if now_ns >= self._next_look_ns:
                self._next_look_ns = now_ns + _TICK_NS
                self._give_up_late_ones(now_ns, batch)
            self._wake(now_ns)
            wake_ns = self._invoke(now_ns, batch, to_send)
        # All of it is written now: not before this line does a request leave.
        for worker, invocation in to_send:
            worker.inbox.put(invocation)
        for event in batch.events:
            self._observe(event)
        while self._doubtful:
            self._replace(self._doubtful.pop())
            wake_ns = 0
        return min(wake_ns, self._asleep[0][0]) if self._asleep else wake_ns

    def _take_answers(self, wake_ns: int) -> list[Answer]:
        """Wait for an answer until a time; return all that are there, up to a turn's worth."""
        answers = self._answers
        taken: list[Answer] = []
        if answers.empty():
            now_ns = self._clock()
            if wake_ns <= now_ns:
                return []
            if not answers.wait(min(wake_ns - now_ns, _TICK_NS) / 1e9):
                return []
        # Nobody else takes answers, so one that is there stays there.
        while len(taken) < _TURN_MAX and not answers.empty():
            taken.append(answers.take())
        return taken

    def _invoke(self, now_ns: int, batch: Batch, to_send: list[tuple[_Worker, Invocation]]) -> int:
        """Invoke what is due, up to a turn's worth; return when to ask again at the latest."""
        roster, clock, rates = self._roster, self._clock, self._rates
        until_ns = now_ns + _TURN_NS
        for _ in range(_TURN_MAX):
            if self._generator is None or not roster.free:
                return now_ns + _TICK_NS
            step = ask(self._generator, roster.context(now_ns))
            if step is PENDING:
                return now_ns + _TICK_NS
            if not isinstance(step, tuple):
                self._generator = None
                return now_ns + _TICK_NS
            invocation, successor = step
            if invocation.at_ns > now_ns:
                # Asked too early: wait, and ask again with what will be known then.
                return invocation.at_ns
            self._generator = successor
            thread = invocation.thread
            if invocation.f in LOCAL:
                self._perform_here(invocation, now_ns)
                continue
            worker = self._workers[thread]
            assert worker.pending is None, "a free thread has nothing under way"
            event = batch.add(
                now_ns,
                roster.processes[thread],
                EventType.INVOKE,
                invocation.f,
                invocation.value,
                invocation.key,
                worker.node,
            )
            roster.occupy(thread)
            worker.pending = invocation
            worker.deadline_ns = now_ns + worker.allowance_ns
            to_send.append((worker, invocation))
            rates.invoked(now_ns, invocation.at_ns, invocation.forgone)
            self._generator = learn(successor, event, roster.context(now_ns))
            now_ns = clock()
            if now_ns >= until_ns:
                break
        return now_ns

    def _complete(self, answer: Answer, batch: Batch) -> None:
        worker = self._workers[answer.thread]
        invocation, completion = worker.pending, answer.completion
        if answer.generation != worker.generation or invocation is None:
            return
        roster, kind = self._roster, completion.type
        if worker.thread == NEMESIS:
            kind = EventType.INFO
        process = roster.processes[worker.thread]
        fields = process, invocation.f, invocation.key, worker.node
        event = _completed(batch, answer.time_ns, kind, completion, fields)
        worker.pending = None
        in_doubt = event.type is EventType.INFO and worker.thread != NEMESIS
        if in_doubt:
            self._doubtful.append(worker)
        else:
            roster.release(worker.thread)
        self._rates.completed[event.type.value] += 1
        if self._generator is not None:
            context = roster.context(answer.time_ns)
            self._generator = learn(self._generator, event, context)
        if in_doubt:
            roster.retire(worker.thread)

    def _give_up_late_ones(self, now_ns: int, batch: Batch) -> None:
        for worker in self._workers.values():
            if worker.pending is not None and now_ns > worker.deadline_ns:
                late = Completion(EventType.INFO, worker.pending.value, "no-answer-by-deadline")
                self._complete(Answer(worker.thread, worker.generation, now_ns, late), batch)
                if worker not in self._doubtful:  # the nemesis: its thread hangs all the same
                    self._roster.occupy(worker.thread)
                    self._doubtful.append(worker)

    def _perform_here(self, invocation: Invocation, now_ns: int) -> None:
        """Perform an operation that is no client's: not in the history."""
        if invocation.f == LOG:
            log.info("%s", invocation.value)
            return
        self._roster.occupy(invocation.thread)
        self._sleeps += 1
        wake_ns = now_ns + int(invocation.value)
        heapq.heappush(self._asleep, (wake_ns, self._sleeps, invocation.thread))

    def _wake(self, now_ns: int | None) -> None:
        """Let threads go on that have slept enough by now, or all of them (`None`)."""
        while self._asleep and (now_ns is None or self._asleep[0][0] <= now_ns):
            self._roster.release(heapq.heappop(self._asleep)[2])

    def _hire(self, thread: Thread, allowance_ns: int) -> _Worker:
        client = self._open(thread)
        inbox = client_thread.start(client, thread, 0, self._answers, self._clock)
        if thread == NEMESIS:
            return _Worker(thread, _NEMESIS_TIMEOUT_NS, inbox, None)
        return _Worker(thread, allowance_ns, inbox, client.node)

    def _open(self, thread: Thread) -> Client:
        if isinstance(thread, int):
            return self._open_client(thread)
        assert self._open_nemesis is not None
        return self._open_nemesis()

    def _replace(self, worker: _Worker) -> None:
        """Give a thread a new client; the old one ends when it has answered, if it ever does."""
        worker.inbox.put(None)
        worker.generation += 1
        client: Client
        try:
            client = self._open(worker.thread)
        except Exception as error:  # noqa: BLE001  (the system may be down; that is no reason to end)
            log.warning("a client of thread %s cannot be opened: %s", worker.thread, error)
            client = Unopened(lambda: self._open(worker.thread), worker.node or "")
        if worker.thread != NEMESIS:
            worker.node = client.node
        worker.inbox = client_thread.start(
            client, worker.thread, worker.generation, self._answers, self._clock
        )
        self._roster.release(worker.thread)


def _completed(
    batch: Batch,
    time_ns: int,
    kind: EventType,
    completion: Completion,
    fields: tuple[int | str, str, str | None, str | None],
) -> Event:
    """Add a completion to a batch; one whose value cannot be written is in doubt."""
    process, f, key, node = fields
    value: Any = completion.value
    try:
        return batch.add(time_ns, process, kind, f, value, key, node, completion.error)
    except (TypeError, ValueError) as error:
        text = f"client-error: the value is not JSON ({error}): {value!r:.80}"
        return batch.add(time_ns, process, EventType.INFO, f, None, key, node, text)
