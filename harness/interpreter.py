"""Runs a generator against clients: one scheduling thread, a thread for each client.

Rules of this file:
- Order of an operation: stamped, journalled, sent; answered, stamped (in the client's thread),
  journalled. So an interval is never shorter than the truth, and a harness that dies has
  journalled every request that may have had an effect.
- Completions come before new invocations: a wait there would invent concurrency.
- After `info` the process number is retired; the thread goes on as `process + concurrency`, with a
  fresh client, because the old one's request may still be on its way.
- Every wait is bounded. A client that does not answer by its deadline plus a grace is given up:
  its operation becomes `info`, its thread is replaced, and what it says later is not heard.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from checker.history import Event, EventType
from workloads.generator import Context, Generator, Invocation

from .client import Client, Completion
from .journal import Journal

# What a client may take beyond its own timeout before it is given up: scheduling delays of a busy
# machine, not network time.
_GRACE_NS: Final = 2_000_000_000
# The longest single wait; the loop looks at deadlines and at the stop flag this often.
_TICK_NS: Final = 100_000_000

Clock = Callable[[], int]
OpenClient = Callable[[int], Client]


@dataclass(slots=True)
class _Worker:
    """A client thread. `generation` tells the answers of a replaced thread from those that count."""

    thread: int
    process: int
    generation: int = 0
    inbox: queue.Queue[Invocation | None] = field(default_factory=lambda: queue.Queue(1))
    pending: Invocation | None = None
    deadline_ns: int = 0
    node: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    thread: int
    generation: int
    time_ns: int
    completion: Completion


class Interpreter:
    """Drives generators, one after the other, over one journal.

    `open_client(thread)` makes a client for a thread; `clock` gives nanoseconds since the run's
    start; `observe` sees every client event after it was journalled (progress, counters).
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
    ) -> None:
        self._journal = journal
        self._open_client = open_client
        self._clock = clock
        self._observe = observe
        self._concurrency = concurrency
        self._allowance_ns = operation_timeout_ns + _GRACE_NS
        self._answers: queue.Queue[_Answer] = queue.Queue()
        self._stop = threading.Event()
        self._workers = [_Worker(thread=n, process=n) for n in range(concurrency)]
        for worker in self._workers:
            self._start(worker)

    def stop(self) -> None:
        """Ask `run` to end after the operations under way; may be called from any thread."""
        self._stop.set()

    def run(self, generator: Generator) -> None:
        """Perform everything that the generator has, then wait for what is under way.

        Raises `JournalError` when the history cannot be written; nothing more is sent then.
        """
        while not self._stop.is_set():
            generator = self._absorb(generator)
            now_ns = self._clock()
            step = generator.next(self._context(now_ns))
            if step is None:
                break
            if not isinstance(step, tuple):
                generator = self._wait(generator, now_ns + _TICK_NS)
                continue
            invocation, successor = step
            if invocation.at_ns > now_ns:
                # Asked too early: wait, and ask again with what will be known then.
                generator = self._wait(generator, min(invocation.at_ns, now_ns + _TICK_NS))
                continue
            event = self._send(invocation)
            generator = successor.update(event)
        self._drain(generator)

    def close(self) -> None:
        """End the client threads; they are daemons, so one that hangs is left behind."""
        for worker in self._workers:
            with contextlib.suppress(queue.Full):
                worker.inbox.put_nowait(None)

    def _context(self, now_ns: int) -> Context:
        free = tuple(worker.thread for worker in self._workers if worker.pending is None)
        return Context(time_ns=now_ns, free=free, threads=tuple(range(self._concurrency)))

    def _send(self, invocation: Invocation) -> Event:
        worker = self._workers[invocation.thread]
        assert worker.pending is None, "a generator may only use free threads"
        now_ns = self._clock()
        event = self._journal.record(
            time_ns=now_ns,
            process=worker.process,
            type=EventType.INVOKE,
            f=invocation.f,
            key=invocation.key,
            value=invocation.value,
            node=worker.node,
        )
        worker.pending = invocation
        worker.deadline_ns = now_ns + self._allowance_ns
        worker.inbox.put_nowait(invocation)
        self._observe(event)
        return event

    def _wait(self, generator: Generator, until_ns: int) -> Generator:
        """Wait for an answer until a time, and let the generator learn from it."""
        timeout_s = max(0, until_ns - self._clock()) / 1e9
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return self._give_up_late_ones(generator)
        return self._complete(generator, answer)

    def _absorb(self, generator: Generator) -> Generator:
        """Take in every answer that is there already, and give up those that are overdue."""
        with contextlib.suppress(queue.Empty):
            for _ in range(self._concurrency):
                generator = self._complete(generator, self._answers.get_nowait())
        return self._give_up_late_ones(generator)

    def _drain(self, generator: Generator) -> None:
        while any(worker.pending is not None for worker in self._workers):
            generator = self._wait(generator, self._clock() + _TICK_NS)

    def _complete(self, generator: Generator, answer: _Answer) -> Generator:
        worker = self._workers[answer.thread]
        if answer.generation != worker.generation or worker.pending is None:
            return generator
        invocation, completion = worker.pending, answer.completion
        event = self._journal.record(
            time_ns=answer.time_ns,
            process=worker.process,
            type=completion.type,
            f=invocation.f,
            key=invocation.key,
            value=completion.value,
            node=worker.node,
            error=completion.error,
        )
        worker.pending = None
        if completion.type is EventType.INFO:
            self._replace(worker)
        self._observe(event)
        return generator.update(event)

    def _give_up_late_ones(self, generator: Generator) -> Generator:
        now_ns = self._clock()
        for worker in self._workers:
            if worker.pending is not None and now_ns > worker.deadline_ns:
                late = Completion(EventType.INFO, worker.pending.value, "no-answer-by-deadline")
                answer = _Answer(worker.thread, worker.generation, now_ns, late)
                generator = self._complete(generator, answer)
        return generator

    def _replace(self, worker: _Worker) -> None:
        with contextlib.suppress(queue.Full):
            worker.inbox.put_nowait(None)
        worker.process += self._concurrency
        worker.generation += 1
        worker.inbox = queue.Queue(1)
        self._start(worker)

    def _start(self, worker: _Worker) -> None:
        client = self._open_client(worker.thread)
        worker.node = client.node
        threading.Thread(
            target=_serve,
            args=(client, worker.thread, worker.generation, worker.inbox),
            kwargs={"answers": self._answers, "clock": self._clock},
            name=f"client-{worker.thread}.{worker.generation}",
            daemon=True,
        ).start()


def _serve(
    client: Client,
    thread: int,
    generation: int,
    inbox: queue.Queue[Invocation | None],
    *,
    answers: queue.Queue[_Answer],
    clock: Clock,
) -> None:
    """Perform the operations of one client until it is told to end (`None`)."""
    while True:
        invocation = inbox.get()
        if invocation is None:
            break
        try:
            completion = client.invoke(invocation)
        except Exception as error:  # noqa: BLE001  (whatever it was, the outcome is not known)
            completion = Completion(
                EventType.INFO, invocation.value, f"client-error: {type(error).__name__}: {error}"
            )
        answers.put(_Answer(thread, generation, clock(), completion))
    with contextlib.suppress(Exception):
        client.close()
