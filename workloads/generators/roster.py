"""Who is free, who is busy, and as which process: the state of a run that contexts are made of.

Rules of this file:
- A thread begins as the process of its own number. When its operation ends in doubt (`info`) that
  number is retired, and it goes on as `process + concurrency`. The nemesis never changes.
- The thread that has waited longest is the first of the free ones.
- One owner, no locks: the interpreter's scheduling thread, or a simulation.
"""

from __future__ import annotations

from checker.history import NEMESIS

from .core import Context, Process, Thread


class Roster:
    """The threads of a run."""

    def __init__(self, concurrency: int, *, nemesis: bool = False, seed: int = 0) -> None:
        clients: tuple[Thread, ...] = tuple(range(concurrency))
        self.concurrency = concurrency
        self.seed = seed
        self.threads = (*clients, NEMESIS) if nemesis else clients
        self.free = self.threads
        # Replaced, never changed: contexts hold on to it.
        self.processes: dict[Thread, Process] = {thread: thread for thread in self.threads}

    def context(self, time_ns: int) -> Context:
        """Return what a generator may know now."""
        return Context(
            time_ns, self.free, self.threads, self.processes, self.concurrency, self.seed, ""
        )

    def occupy(self, thread: Thread) -> None:
        """Note that a free thread has work now."""
        place = self.free.index(thread)
        self.free = self.free[:place] + self.free[place + 1 :]

    def release(self, thread: Thread) -> None:
        """Note that a busy thread waits for work again."""
        assert thread not in self.free, thread
        self.free = (*self.free, thread)

    def retire(self, thread: Thread) -> None:
        """Give a thread its next process number."""
        process = self.processes[thread]
        if isinstance(process, int):
            self.processes = {**self.processes, thread: process + self.concurrency}

    @property
    def all_free(self) -> bool:
        """Whether nobody has work."""
        return len(self.free) == len(self.threads)
