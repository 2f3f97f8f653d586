"""Locks with a time to live and fencing tokens: no two owners at once, and tokens that grow.

Rules of this file:
- Every acquire is of an owner of its own ("t3.17"), so that a release, or the end of a lease,
  belongs to that acquire alone.
- A release is sent once. If it is lost the lease ends by itself.
- Some owners hold a lock beyond its time to live, on purpose: somebody else gets it, and the
  late release must not take it from them.
- Few locks at a time, left for new ones as in `workloads.lock`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from checker.history import Event, EventType

from .checks import Linearizable
from .checks.leases import with_ends_of_leases
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
    sleep,
)
from .lock import draw_lock, last_locks, locks_of
from .randomness import Stream
from .workload import Probe, Setting, Workload

TTL_MS: Final = 1500
_OVERSTAY_S: Final = 2.0
_OVERSTAYS_ONE_IN: Final = 20


@dataclass(frozen=True, slots=True)
class Leaseholder:
    """What one thread does, for ever: acquire a lock, now and then sleep on it, release it.

    `held` is the lock that it may hold, `count` how many acquires it has sent.
    """

    stream: Stream
    locks: tuple[str, ...]
    held: str | None = None
    slept: bool = False
    count: int = 0

    def next(self, context: Context) -> Step:
        """Return an acquire of a random lock, or, after it, a sleep or the release."""
        if not context.free:
            return PENDING
        thread, now_ns = context.free[0], context.time_ns
        stream = context.stream(self.stream)
        draw = self.count * 2
        if self.held is None:
            lock = draw_lock(stream, draw, self.locks, now_ns)
            count = self.count + 1
            return acquire(lock, thread, f"{count}", at_ns=now_ns), replace(self, count=count)
        if not self.slept and stream.below(draw + 1, _OVERSTAYS_ONE_IN) == 0:
            step = sleep(_OVERSTAY_S).next(context)
            assert isinstance(step, tuple)
            return step[0], replace(self, slept=True)
        released = release(self.held, thread, f"{self.count}", at_ns=now_ns)
        return released, replace(self, held=None, slept=False)

    def update(self, event: Event, context: Context) -> Generator:
        """Note what may be held now."""
        del context
        if event.f == "acquire" and event.type in (EventType.OK, EventType.INFO):
            return replace(self, held=event.key)
        return self


def acquire(lock: str, thread: Thread, suffix: str, *, at_ns: int = 0) -> Invocation:
    """Return an acquire, by an owner whose name no other acquire has."""
    value = {"owner": f"t{thread}.{suffix}", "ttl_ms": TTL_MS}
    return Invocation(f="acquire", key=lock, value=value, thread=thread, at_ns=at_ns)


def release(lock: str, thread: Thread, suffix: str, *, at_ns: int = 0) -> Invocation:
    """Return the release that belongs to an acquire."""
    value = {"owner": f"t{thread}.{suffix}"}
    return Invocation(f="release", key=lock, value=value, thread=thread, at_ns=at_ns)


def load(setting: Setting) -> Generator:
    """Return a leaseholder on every thread."""
    return each_thread(Leaseholder(Stream(setting.seed, "fenced-lock"), locks_of(setting)))


def final(setting: Setting) -> Generator:
    """Wait until all leases have ended; then each thread takes every lock once, alone."""
    turns = calls(lambda context, made: _last_turns(setting, context) if made == 0 else None)
    return phases(each_thread(sleep(_OVERSTAY_S)), turns)


def _last_turns(setting: Setting, context: Context) -> Generator:
    turns = []
    for thread in range(setting.threads):
        script = []
        for lock in last_locks(setting, context.time_ns):
            script += [acquire(lock, thread, "final"), release(lock, thread, "final")]
        turns.append(PerThread({thread: tuple(script)}))
    return phases(*turns)


WORKLOAD = Workload(
    name="fenced-lock",
    summary="locks with a time to live and growing tokens are acquired, overstayed and released",
    data="lock",
    functions=("acquire", "release"),
    load=load,
    final=final,
    checks=(Linearizable("fenced-mutex", prepare=with_ends_of_leases),),
    probe=Probe(f="holder", key="probe"),
    change=Probe(f="acquire", value={"owner": "probe", "ttl_ms": TTL_MS}, key="probe"),
)
