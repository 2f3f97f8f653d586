"""Locks that are held until they are released: no two owners hold one at the same time.

Rules of this file:
- The owner is the thread ("t3"), not the process: the successor of a process that crashed releases
  what that one may hold. A thread never asks for a second lock while it may hold one.
- An acquire in doubt may still happen after the release that looked for it. So a thread that is
  refused a lock about which it was once in doubt releases it: it may be the holder itself, and
  nobody else could ever free it.
- Few locks at a time, so that clients meet. Every five seconds they are left for new ones: what is
  in doubt about a lock stays in doubt for ever, and a few hundred such operations of one lock are
  more than any search for an order can take on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from checker.history import Event, EventType

from .checks import Linearizable
from .generator import (
    PENDING,
    Context,
    Generator,
    Invocation,
    PerThread,
    Step,
    Thread,
    calls,
    each_thread,
    phases,
)
from .randomness import Stream
from .workload import Probe, Setting, Workload

_LOCKS_MAX: Final = 3
_SPAN_NS: Final = 5_000_000_000
# How many spans back from the end the locks are looked at once more.
_SPANS_FINAL: Final = 5


@dataclass(frozen=True, slots=True)
class Owner:
    """What one thread does, for ever: acquire a lock, release it.

    `held` is the lock that it may hold; `doubted` are those of which an acquire ended in doubt.
    """

    stream: Stream
    locks: tuple[str, ...]
    held: str | None = None
    doubted: frozenset[str] = frozenset()
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return the release of what may be held, or else the acquire of a random lock."""
        if not context.free:
            return PENDING
        thread = context.free[0]
        f = "acquire" if self.held is None else "release"
        now_ns = context.time_ns
        lock = self.held or draw_lock(
            context.stream(self.stream), self.position, self.locks, now_ns
        )
        invocation = request(f, lock, thread, at_ns=now_ns)
        return invocation, replace(self, position=self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Note what may be held now."""
        del context
        assert event.key is not None, event
        if event.type is EventType.INVOKE:
            return self
        alone = frozenset((event.key,))
        if event.f == "release":
            if event.type is EventType.INFO:
                return self  # once more, until the answer is certain
            released = event.type is EventType.OK
            return replace(
                self, held=None, doubted=self.doubted - alone if released else self.doubted
            )
        if event.type is EventType.FAIL:
            return replace(self, held=event.key if event.key in self.doubted else None)
        doubted = self.doubted | alone if event.type is EventType.INFO else self.doubted
        return replace(self, held=event.key, doubted=doubted)


def request(f: str, lock: str, thread: Thread, *, at_ns: int = 0) -> Invocation:
    """Return an acquire or a release by a thread."""
    return Invocation(f=f, key=lock, value={"owner": f"t{thread}"}, thread=thread, at_ns=at_ns)


def locks_of(setting: Setting) -> tuple[str, ...]:
    """Return the names of the locks, without the number of a span."""
    return setting.names("lock")[:_LOCKS_MAX]


def draw_lock(stream: Stream, position: int, locks: tuple[str, ...], now_ns: int) -> str:
    """Return one of the locks that are in use now."""
    return f"{stream.choice(position, locks)}.{now_ns // _SPAN_NS}"


def last_locks(setting: Setting, now_ns: int) -> list[str]:
    """Return the locks that were in use of late, those of now included."""
    span = now_ns // _SPAN_NS
    spans = range(max(0, span - _SPANS_FINAL), span + 1)
    return [f"{lock}.{one}" for one in spans for lock in locks_of(setting)]


def load(setting: Setting) -> Generator:
    """Return an owner on every thread."""
    return each_thread(Owner(Stream(setting.seed, "lock"), locks_of(setting)))


def final(setting: Setting) -> Generator:
    """Release whatever is still held; then each thread takes every lock once, alone."""
    return calls(lambda context, made: _last_turns(setting, context) if made == 0 else None)


def _last_turns(setting: Setting, context: Context) -> Generator:
    locks, threads = last_locks(setting, context.time_ns), range(setting.threads)
    left = {one: tuple(request("release", lock, one) for lock in locks) for one in threads}
    turns = [
        PerThread({one: tuple(request(f, lock, one) for lock in locks for f in WORKLOAD.functions)})
        for one in threads
    ]
    return phases(PerThread(left), *turns)


WORKLOAD = Workload(
    name="lock",
    summary="locks are acquired and released by their owners",
    data="lock",
    functions=("acquire", "release"),
    load=load,
    final=final,
    checks=(Linearizable("owner-mutex"),),
    probe=Probe(f="holder", key="probe"),
    change=Probe(f="acquire", value={"owner": "probe"}, key="probe"),
)
