"""Seeded calls on one object, about half of them with an order, and brute force that judges them.

Rules of this file:
- Everything comes from one `Random`: a seed repeats a history.
- The judge shares no code with the checker: it remembers (calls that took effect, state) and tries
  everything else. `tests/checker/brute_force.py`, which remembers nothing, judges the judge.
- Histories are those of a real register, with intervals around the instants of effect; then what a
  broken store does is done to them, and often enough it shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from checker.calls import Call, Calls
from checker.history import Event, EventType, History

NULL = "null"
OK, FAIL, INFO, INVOKE = EventType.OK, EventType.FAIL, EventType.INFO, EventType.INVOKE

# (start, end or none, whether it must take effect)
Span = tuple[int, int | None, bool]
After = Callable[[int, Any], Iterable[Any]]


def some_order(spans: Sequence[Span], after: After, starts: Iterable[Hashable]) -> bool:
    """Whether instants can be given to all spans that must have one, and to some of the others.

    `after(n, state)` are the states to which span n may lead; a negative n is something that may
    happen at any time.
    """
    bits = [1 << n for n in range(len(spans))]
    # Who must have taken effect before n can, and who must not.
    before = [
        sum(bit for bit, (_, end, must) in zip(bits, spans, strict=True)
            if must and end is not None and end < start)
        for start, _, _ in spans
    ]  # fmt: skip
    later = [
        0 if end is None else sum(bit for bit, s in zip(bits, spans, strict=True) if s[0] > end)
        for _, end, _ in spans
    ]
    needed = sum(bit for bit, span in zip(bits, spans, strict=True) if span[2])
    seen = {(0, state) for state in starts}
    waiting = list(seen)
    while waiting:
        done, state = waiting.pop()
        if done & needed == needed:
            return True
        reached = [(done, then) for then in after(-1, state)]
        for n, bit in enumerate(bits):
            if not (done & bit or before[n] & ~done or later[n] & done):
                reached += [(done | bit, then) for then in after(n, state)]
        for at in reached:
            if at not in seen:
                seen.add(at)
                waiting.append(at)
    return False


def can_be_ordered(calls: Calls, step: Callable[[Any, Any], Any], initial: Hashable = NULL) -> bool:
    """Whether calls have a linearization; `step` gives the next state, `None` if not allowed."""

    def after(n: int, state: Any) -> Iterable[Any]:
        then = step(state, calls[n].action) if n >= 0 else None
        return () if then is None else (then,)

    spans = [(call.start, call.end, call.end is not None) for call in calls]
    return some_order(spans, after, [initial])


def register_step(state: str, action: tuple[Any, ...]) -> str | None:
    """What a register does, said again."""
    if action[0] == "write":
        return str(action[1])
    if action[0] == "refused":
        return None if state == action[1] else state
    if state != action[1]:
        return None
    return str(action[-1])


@dataclass(slots=True)
class _Planned:
    """A call before it has positions: its instant of effect, if any, lies between the two."""

    action: tuple[str, ...]
    start: float
    end: float | None


FAULTS = ("answer", "swap", "lost", "returns", "old", "blind-cas", "late", "early")


def register_calls(stream: Random, *, calls_max: int = 14, initial: str = NULL) -> Calls:
    """A few calls on a register: few values, unique ones or both; crashed ones; faults."""
    count = max(stream.randint(2, calls_max), stream.randint(2, calls_max))
    values = stream.choice((1, 2, 3, 4, 40, 400))
    fresh = stream.choice((0.0, 0.0, 0.0, 0.5, 1.0))
    crashes = stream.choice((0.0, 0.0, 0.1, 0.3, 0.6, 0.9))
    mix = stream.choice(("rwcc", "rw", "rrwc", "ccc", "rwwww", "rrrwc"))
    reach = stream.choice((0.03, 0.08, 0.15, 0.3, 0.8))  # how far intervals overlap
    faults = stream.sample(FAULTS, stream.choice((1, 2, 3, 4))) if stream.random() < 0.85 else []
    rate = stream.choice((0.2, 0.4, 0.7))  # of the calls that a fault strikes
    state, past = initial, [initial]
    planned: list[_Planned] = []
    again: list[tuple[int, str]] = []  # at which call a crashed write comes back
    next_value = 1000

    def value() -> str:
        nonlocal next_value
        next_value += 1
        return str(next_value if stream.random() < fresh else stream.randrange(values))

    for n in range(count):
        for at, came_back in again:
            if at == n:
                state = came_back
        kind = stream.choice(mix)
        crashed = kind != "r" and stream.random() < crashes
        happens = not crashed or stream.random() < 0.6
        hit = {fault for fault in faults if stream.random() < rate}
        action: tuple[str, ...]
        after = state
        if kind == "r":
            action = ("read", state)
            if "answer" in hit:
                action = ("read", stream.choice((value(), stream.choice(past))))
            if "old" in hit:
                action = ("read", stream.choice(past[-4:-1] or past))
        elif kind == "w":
            action = ("write", value())
            after = action[1]
        else:
            expected = state if stream.random() < 0.6 else value()
            action = ("cas", expected, value())
            if expected == state or crashed or "blind-cas" in hit:
                after = action[2] if expected == state or not crashed else state
            else:
                action = ("refused", expected)
        if "lost" in hit:
            after = state
        if happens:
            state = after
            past.append(state)
        if crashed and happens and "returns" in hit and action[0] == "write":
            again.append((n + stream.randint(1, 4), action[1]))
        begin = n - stream.random() * count * reach * (stream.choice((0.3, 3)) if crashed else 1)
        end = None if crashed else n + stream.random() * count * reach
        planned.append(_Planned(action, begin, end))
        for fault in sorted(hit & {"late", "early"}):
            _narrow(planned[-1], stream, count, is_late=fault == "late")
    if "swap" in faults:
        for _ in range(stream.randint(1, 3)):
            _swap_answers(planned, stream)
    return placed([(p.action, p.start, p.end) for p in planned], stream)


def puzzle_calls(stream: Random, *, calls_max: int = 16, initial: str = NULL) -> Calls:
    """Few values, changes that are open for long, short looks: many ways that all but end well.

    Once more each value is written when it is of no use to anybody, so that no search can tell
    from what is left that a way is wrong: it has to go there and back.
    """
    count, values = stream.randint(8, calls_max), stream.choice((2, 3, 3))
    state, planned = initial, []
    for n in range(count):
        kind = stream.choice("wwwwcrro")
        written = str(stream.randrange(values))
        crashed = kind in "wc" and stream.random() < 0.25
        action = {
            "w": ("write", written), "c": ("cas", state, written), "r": ("read", state),
            "o": ("refused", stream.choice([v for v in (NULL, "0", "1", "2") if v != state])),
        }[kind]  # fmt: skip
        if kind in "wc" and not (crashed and stream.random() < 0.3):
            state = written
        if kind == "r" and stream.random() < 0.1:
            action = ("read", written)
        wide = stream.choice((3.0, 8.0)) if kind in "wc" else 0.4
        begin = n - stream.random() * stream.choice((0.5, wide))
        planned.append(_Planned(action, begin, None if crashed else n + stream.random() * wide))
    planned += [_Planned(("write", str(n)), float(2 * count), None) for n in range(values)]
    return placed([(p.action, p.start, p.end) for p in planned], stream)


# Small histories of which somebody thought: with an order that a search with a mistake in it misses,
# or without one. The late writes keep a search from knowing beforehand that a way is wrong.
TRICKY: dict[str, tuple[bool, tuple[tuple[tuple[str, ...], int, int | None], ...]]] = {
    "of two ways to one place, the one with the later last write goes on": (
        True,
        ((("write", "1"), 0, 9), (("write", "2"), 1, 7), (("refused", "null"), 2, 3),
         (("write", "3"), 4, 8), (("read", "1"), 5, 6), (("read", "1"), 10, 11),
         (("write", "1"), 30, None)),
    ),
    "a crashed call that both ways need": (
        True,
        ((("write", "1"), 0, 20), (("write", "2"), 1, 21), (("refused", "null"), 2, 3),
         (("write", "3"), 4, None), (("read", "3"), 5, 6), (("read", "1"), 7, 8),
         (("write", "1"), 30, None)),
    ),
    "a crashed call that both ways need, and that is there once": (
        False,
        ((("write", "1"), 0, 20), (("write", "2"), 1, 21), (("refused", "null"), 2, 3),
         (("write", "3"), 4, None), (("read", "3"), 5, 6), (("read", "1"), 7, 8),
         (("read", "3"), 9, 10), (("write", "1"), 30, None)),
    ),
    "of two alike, the one that ends first goes first": (
        True,
        ((("cas", "0", "1"), 0, 20), (("cas", "0", "1"), 1, 7), (("write", "0"), 2, 3),
         (("read", "1"), 4, 5), (("write", "0"), 8, 9), (("read", "1"), 10, 11),
         (("write", "1"), 30, None), (("write", "0"), 31, None)),
    ),
    "a write that has to be absorbed, and one that must not be": (
        True,
        ((("write", "1"), 0, 12), (("write", "2"), 1, 6), (("write", "3"), 2, 8),
         (("read", "1"), 3, 5), (("read", "1"), 7, 9), (("read", "1"), 10, 11),
         (("write", "1"), 30, None)),
    ),
    "invoked after the last write, so it cannot be absorbed": (
        False,
        ((("write", "1"), 0, 3), (("read", "1"), 1, 2), (("write", "2"), 4, 5),
         (("read", "1"), 6, 7), (("write", "1"), 30, None)),
    ),
    "a write of what is there, to absorb another": (
        True,
        ((("write", "1"), 0, 1), (("write", "1"), 2, 9), (("write", "2"), 3, 6),
         (("read", "1"), 4, 5), (("read", "1"), 7, 8), (("write", "1"), 30, None)),
    ),
    "a crashed write of what is there, to absorb another": (
        True,
        ((("write", "1"), 0, 1), (("write", "1"), 2, None), (("write", "2"), 3, 6),
         (("read", "1"), 4, 5), (("read", "1"), 7, 8), (("write", "1"), 30, None)),
    ),
    "a refusal wants any other state": (
        True,
        ((("write", "1"), 0, 9), (("refused", "null"), 1, 3), (("read", "null"), 2, 8),
         (("write", "2"), 4, None), (("refused", "1"), 5, 6), (("read", "2"), 10, 11)),
    ),
    "a refusal, and no other state is to be had": (
        False,
        ((("write", "1"), 0, 9), (("refused", "null"), 1, 3), (("read", "null"), 2, 8),
         (("refused", "1"), 5, 6), (("write", "2"), 7, None), (("read", "2"), 10, 11)),
    ),
}  # fmt: skip


def perturbed_calls(stream: Random) -> Calls:
    """One of the tricky ones, with a few things about it changed."""
    _, told = TRICKY[stream.choice(sorted(TRICKY))]
    plans = [
        (action, float(start), end if end is None else float(end)) for action, start, end in told
    ]
    for _ in range(stream.choice((0, 1, 1, 2, 2, 3, 5))):
        n = stream.randrange(len(plans))
        action, start, end = plans[n]
        match stream.randrange(6):
            case 0:  # it began, or ended, at another time
                start = start + stream.uniform(-3, 3)
                end = None if end is None else max(end, start + 0.1)
            case 1:
                end = None if end is None else max(end + stream.uniform(-3, 6), start + 0.1)
            case 2:  # of another value
                changed = stream.randrange(1, len(action))
                value = stream.choice((NULL, "0", "1", "2", "3"))
                action = (*action[:changed], value, *action[changed + 1 :])
            case 3 if action[0] in ("write", "cas"):  # it crashed
                end = None
            case 4:  # there is another one a little later
                later = stream.uniform(0, 6)
                plans.append((action, start + later, None if end is None else end + later))
            case 5 if len(plans) > 4:
                plans.pop(n)
                continue
        plans[n] = action, start, end
    return placed(plans, stream)


def _swap_answers(planned: list[_Planned], stream: Random) -> None:
    looks = [p for p in planned if p.action[0] in ("read", "refused")]
    if len(looks) > 1:
        one, other = stream.sample(looks, 2)
        one.action, other.action = other.action, one.action


def _narrow(call: _Planned, stream: Random, count: int, *, is_late: bool) -> None:
    """Claim that it began after it took effect, or that it was over before."""
    by = stream.random() * count / 3
    if is_late and call.end is not None:
        call.start, call.end = call.start + by, max(call.end, call.start + by + 0.01)
    elif call.end is not None:
        call.end = call.end - by
        call.start = min(call.start, call.end - 0.01)


def placed(plans: Sequence[tuple[tuple[Any, ...], float, float | None]], stream: Random) -> Calls:
    """Turn times into distinct positions, now and then far apart, and number calls by invocation."""
    events = [(start, n, 0) for n, (_, start, _) in enumerate(plans)]
    events += [(end, n, 1) for n, (_, _, end) in enumerate(plans) if end is not None]
    events.sort()
    far = stream.random() < 0.1
    at, where = stream.choice((0, 0, 7)), {}
    for _, n, side in events:
        where[n, side] = at
        at += stream.randint(1, 10**6) if far else 1
    calls = [
        Call(index=n, action=action, start=where[n, 0], end=where.get((n, 1)))
        for n, (action, _, _) in enumerate(plans)
    ]
    calls.sort(key=lambda call: call.start)
    return tuple(replace(call, index=index) for index, call in enumerate(calls))


# What a client asked for (f, value, answer) and how it ended, by the action it amounts to.
_COLLECTIONS = {"enqueue", "push", "add", "append", "remove"}


def _told(action: tuple[Any, ...]) -> tuple[str, Any, Any, EventType]:
    name = str(action[0])
    if name == "read":
        answer = action[1]
        if isinstance(answer, tuple):
            answer = [json.loads(part) for part in answer]
        elif isinstance(answer, str):
            answer = json.loads(answer)
        return "read", None, answer, OK
    if name in ("cas", "refused"):
        pair = [json.loads(action[1]), json.loads(action[2]) if name == "cas" else 0]
        return "cas", pair, pair, OK if name == "cas" else FAIL
    if name.endswith(("-empty", "-unknown")):
        return name.partition("-")[0], None, None, OK
    if name in ("dequeue", "pop"):
        return name, None, json.loads(action[1]), OK
    asked = json.loads(action[1]) if isinstance(action[1], str) else action[1]
    return name, asked, asked, OK


def history_of(calls: Calls, *, key: str | None = None) -> History:
    """Return a history whose calls these are, where a failed cas differs; a process for each call.

    An operation's place among the invocations is its call's place.
    """
    events: list[tuple[int, Event]] = []
    for n, call in enumerate(calls):
        f, asked, answer, kind = _told(call.action)
        began = Event(index=0, process=n, type=INVOKE, f=f, value=asked, key=key)
        events.append((call.start, began))
        if call.end is not None:
            events.append((call.end, replace(began, type=kind, value=answer)))
    events.sort(key=lambda pair: pair[0])
    return History(tuple(replace(event, index=n) for n, (_, event) in enumerate(events)))


def described(calls: Iterable[Call]) -> str:
    """Return calls as lines that can be pasted into a test."""
    return "\n".join(f"    ({call.action!r}, {call.start}, {call.end})," for call in calls)


def calls_from(*told: tuple[tuple[Any, ...], int, int | None]) -> Calls:
    """Return the calls that `described` printed."""
    ordered = sorted(told, key=lambda one: one[1])
    return tuple(
        Call(index=n, action=action, start=start, end=end)
        for n, (action, start, end) in enumerate(ordered)
    )
