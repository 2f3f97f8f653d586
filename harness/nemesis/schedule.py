"""When faults come: how often those of a kind, how long each, how many at once.

Rules of this file:
- Pure. Times are nanoseconds since the run's start, and those of a plan: what takes long to be
  undone may be in force a little longer than that.
- A fault that would be one too many waits for a place, until the next one of its kind comes to take
  its turn. The kind that was struck with least goes first, so that none is starved because of its
  moment in the interval. Faults of one kind never overlap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from harness.nemesis.plan import Fault

# Of an interval, so that a time without the fault follows it.
_LASTING_MAX: Final = 0.9
_NS_PER_S: Final = 1_000_000_000
_EXAMPLE: Final = "'kill=20,clock=30/10': KIND=INTERVAL or KIND=INTERVAL/DURATION, in seconds"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One fault in each interval. Without `duration_ns` it lasts a third to a half of it."""

    interval_ns: int
    duration_ns: int | None = None

    def draw(self, begin_ns: int, random: Random) -> tuple[int, int]:
        """Return when the fault of the interval from `begin_ns` on starts and stops."""
        share, lasting = random.uniform(0.02, 0.33), random.uniform(0.33, 0.55)
        if self.duration_ns is None:
            start_ns = begin_ns + int(share * self.interval_ns)
            return start_ns, start_ns + int(lasting * self.interval_ns)
        start_ns = begin_ns + int(share * (self.interval_ns - self.duration_ns))
        return start_ns, start_ns + self.duration_ns


def schedules_from(text: str, kinds: Sequence[str]) -> dict[str, Schedule]:
    """Read the schedules of single kinds. Raises `ValueError` saying which part is wrong and why."""
    schedules: dict[str, Schedule] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, times = part.partition("=")
        if kind not in kinds:
            raise ValueError(f"{part!r} names no kind of fault; known are: {', '.join(kinds)}")
        if kind in schedules:
            raise ValueError(f"{kind!r} is there twice")
        interval, slash, duration = times.partition("/")
        try:
            interval_s, duration_s = float(interval), float(duration) if slash else None
        except ValueError:
            raise ValueError(f"{part!r} is not like {_EXAMPLE}") from None
        if not 1 <= interval_s <= 3600:
            raise ValueError(f"the interval of {part!r} must be from 1 to 3600 seconds")
        if duration_s is not None and not 0.1 <= duration_s <= _LASTING_MAX * interval_s:
            raise ValueError(
                f"the duration of {part!r} must be from 0.1 seconds to {_LASTING_MAX:g} of the "
                f"interval, {_LASTING_MAX * interval_s:g} seconds"
            )
        schedules[kind] = Schedule(
            int(interval_s * _NS_PER_S),
            None if duration_s is None else int(duration_s * _NS_PER_S),
        )
    return schedules


def at_most(count: int, faults: Sequence[Fault], end_ns: int) -> tuple[list[Fault], list[Fault]]:
    """Move faults so that never more than `count` of them are in force at once, and none after `end_ns`.

    `faults` are in the order of their starts. Returns those that found a place, and the others.
    """
    kept: list[Fault] = []
    left_out: list[Fault] = []
    waiting: dict[str, Fault] = {}  # of each kind one
    struck: Counter[str] = Counter()
    over_ns: dict[str, int] = {}  # when the last fault of a kind ends
    free_ns = [0] * count  # from when on each place is free
    now_ns = came = 0
    while waiting or came < len(faults):
        now_ns = max(now_ns, min(free_ns))
        if not waiting:
            now_ns = max(now_ns, faults[came].start_ns)
        while came < len(faults) and faults[came].start_ns <= now_ns:
            if (older := waiting.get(faults[came].kind)) is not None:
                left_out.append(older)
            waiting[faults[came].kind] = faults[came]
            came += 1
        late = [one for one in waiting.values() if now_ns + _lasting_ns(one) > end_ns]
        left_out += late
        for one in late:
            del waiting[one.kind]
        ready = [one for one in waiting.values() if over_ns.get(one.kind, 0) <= now_ns]
        if not ready:
            moments = [over_ns[kind] for kind in waiting]
            moments += [faults[came].start_ns] if came < len(faults) else []
            now_ns = min(moments, default=now_ns)
            continue
        chosen = min(ready, key=lambda one: (struck[one.kind], one.start_ns, one.kind))
        del waiting[chosen.kind]
        struck[chosen.kind] += 1
        stop_ns = over_ns[chosen.kind] = now_ns + _lasting_ns(chosen)
        kept.append(replace(chosen, start_ns=now_ns, stop_ns=stop_ns))
        free_ns[free_ns.index(min(free_ns))] = stop_ns
    return kept, left_out


def _lasting_ns(fault: Fault) -> int:
    return fault.stop_ns - fault.start_ns
