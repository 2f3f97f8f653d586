"""Keys with a time to live, told to a model that knows no time: what may vanish, and from when on.

Rules of this file:
- A put with a time to live becomes a plain put, and one more operation that may happen or not: from
  the moment that the time to live is over, a compare-and-set of the put string to the empty one.
- The moment is counted from the put's *invocation*. A system that counts by a time that runs no
  faster than ours and begins no earlier than the invocation lets the key vanish no sooner. So a
  key that is gone too soon is a violation; one that stays longer is none here.
- Every string that is put with a time to live must be unique in the run, and nothing is ever
  appended to it: then it is in the key only by that put, and only the next change ends it.
- The events keep their indexes and their order. The added ones have indexes above all others and
  processes of their own, and none of them has a completion.
- Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from heapq import merge
from typing import Final

from checker.history import Event, EventType, History, HistoryError

_NS_PER_MS: Final = 1_000_000


def with_expiry(history: History) -> History:
    """Return the history in plain strings, with what may expire. Raises `HistoryError`.

    For `Linearizable("key-value", prepare=with_expiry)`.
    """
    plain = [_plain(event) for event in history.events]
    index = 1 + max((event.index for event in plain), default=-1)
    process = 1 + max((e.process for e in plain if isinstance(e.process, int)), default=-1)
    over = sorted(
        (_time_ns(event) + event.value["ttl_ms"] * _NS_PER_MS, place)
        for place, event in enumerate(history.events)
        if _may_expire(event) and event.type is EventType.INVOKE
    )
    expiries = [
        replace(
            plain[place],
            index=index + number,
            process=process + number,
            time=time_ns,
            f="cas",
            value=[plain[place].value, ""],
        )
        for number, (time_ns, place) in enumerate(over)
    ]
    if not expiries:
        return replace(history, events=tuple(plain))
    # An expiry at the very time of another event comes first: then it constrains nobody.
    return replace(history, events=tuple(merge(expiries, plain, key=_time_ns)))


def _may_expire(event: Event) -> bool:
    value = event.value
    return event.f == "put" and isinstance(value, Mapping) and value.keys() == {"value", "ttl_ms"}


def _plain(event: Event) -> Event:
    return replace(event, value=event.value["value"]) if _may_expire(event) else event


def _time_ns(event: Event) -> int:
    if event.time is None:
        raise HistoryError(
            f"event {event.index} has no time: where keys have a time to live, every event needs one"
        )
    return event.time
