"""Tiny histories of collections, about half of them linearizable, from a seeded stream."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from checker.calls import Call, Calls, prefix
from checker.models import Model
from checker.models.model import Action

# The verbs of a structure whose elements go in and come out one at a time.
VERBS = {
    "fifo-queue": ("enqueue", "dequeue"),
    "unordered-queue": ("enqueue", "dequeue"),
    "stack": ("push", "pop"),
}


def some_calls(stream: random.Random, model: Model, calls_max: int) -> Calls:
    """Calls of one sort or the other, now and then cut short."""
    if stream.random() < 0.5:
        calls = arbitrary(stream, model, calls_max=calls_max)
    else:
        calls = history(stream, model, calls_max=calls_max, crashes=stream.random() < 0.6)
        calls = altered(stream, calls)
    cut = stream.random() < 0.15
    return prefix(calls, stream.randint(3, 2 * calls_max)) if cut else calls


def history(stream: random.Random, model: Model, *, calls_max: int, crashes: bool) -> Calls:
    """Calls of a few processes on a real object; each takes effect between its two events."""
    name, state = model.name, model.initial
    processes = stream.randint(2, 4)
    count = stream.randint(3, calls_max)
    crash_rate = stream.choice((0.0, 0.15)) if crashes else 0.0
    lean = stream.choice((0.35, 0.5, 0.7))  # how readily elements are put in
    fresh = iter(range(10_000))
    removable = ["-1", "-2", "-3"]
    open_at: dict[int, tuple[int, Action, bool]] = {}
    done: list[Call] = []
    begun, position = 0, 0
    while begun < count or open_at:
        process = stream.randrange(processes)
        position += 1
        if process not in open_at:
            if begun < count:
                request = _request(stream, name, fresh, removable, lean)
                if request is not None:
                    open_at[process] = (position, request, False)
                    begun += 1
            continue
        start, action, effective = open_at[process]
        if not effective:
            if stream.random() < crash_rate:
                done.append(_crashed(len(done), action, start, name))
                del open_at[process]
                continue
            action, state = _effect(name, model, state, action)
            open_at[process] = (start, action, True)
            if stream.random() < 0.4:
                continue
        if stream.random() < crash_rate / 2:
            done.append(_crashed(len(done), action, start, name))
        else:
            done.append(Call(index=len(done), action=action, start=start, end=position))
        del open_at[process]
    done = [call for call in done if call.action != ("read",)]
    done.sort(key=lambda call: call.start)
    return tuple(replace(call, index=index) for index, call in enumerate(done))


def _request(
    stream: random.Random, name: str, fresh: Any, removable: list[str], lean: float
) -> Action | None:
    if name in VERBS:
        put, take = VERBS[name]
        return (put, str(next(fresh))) if stream.random() < lean else (take,)
    if name == "counter":
        return ("add", stream.choice((1, 2, -1))) if stream.random() < lean else ("read",)
    if stream.random() >= lean:
        return ("read",)
    if name == "list-append":
        return ("append", str(next(fresh)))
    if removable and stream.random() < 0.45:
        return ("remove", removable.pop(stream.randrange(len(removable))))
    removable.append(str(next(fresh)))
    return ("add", removable[-1])


def _effect(name: str, model: Model, state: Any, action: Action) -> tuple[Action, Any]:
    """Let a request take effect: a take or a read gets its answer now."""
    if action == ("read",):
        answer = tuple(sorted(state)) if name == "set" else state
        action = ("read", answer)
    elif name in VERBS and len(action) == 1:
        held = next(iter(state)) if name == "unordered-queue" else state
        if not held:
            action = (f"{action[0]}-empty",)
        else:
            action = (action[0], held[-1] if name == "stack" else held[0])
    after = model.step(state, action)
    assert after is not None
    return action, after


def _crashed(index: int, action: Action, start: int, name: str) -> Call:
    if name in VERBS and action[0] != VERBS[name][0]:
        action = (f"{VERBS[name][1]}-unknown",)
    return Call(index=index, action=action, start=start, end=None)


def altered(stream: random.Random, calls: Calls) -> Calls:
    """Change an answer, swap two, or move events about: legal or not, who knows."""
    changed = list(calls)
    for _ in range(stream.choice((0, 1, 1, 2, 3, 5, 8))):
        if not changed:
            break
        place = stream.randrange(len(changed))
        call = changed[place]
        match stream.randrange(4):
            case 0:  # another element, or some other number
                if call.action[0] in ("read",) and isinstance(call.action[1], tuple):
                    read = list(call.action[1])
                    if read and stream.random() < 0.5:
                        read.pop(stream.randrange(len(read)))
                    else:
                        read.insert(stream.randint(0, len(read)), str(stream.randrange(6)))
                    changed[place] = replace(call, action=("read", tuple(read)))
                elif call.action[0] == "read":
                    number = call.action[1]
                    assert isinstance(number, int)
                    number += stream.choice((-1, 1))
                    changed[place] = replace(call, action=("read", number))
                elif call.action[0] in ("dequeue", "pop"):
                    verb = call.action[0]
                    some = (f"{verb}-empty",) if stream.random() < 0.3 else (verb, str(stream.randrange(5)))  # fmt: skip
                    changed[place] = replace(call, action=some)
            case 1:  # two answers of a kind
                other = stream.randrange(len(changed))
                if changed[other].action[0] == call.action[0]:
                    changed[place] = replace(call, action=changed[other].action)
                    changed[other] = replace(changed[other], action=call.action)
            case _:  # two neighbouring events
                changed = _shifted(stream, changed)
    if any(
        call.action[0] in ("add", "remove") for call in changed
    ):  # sets list what they have sorted
        changed = [_sorted(call) for call in changed]
    return tuple(sorted(changed, key=lambda call: call.start))


def _sorted(call: Call) -> Call:
    listed = call.action[1]
    return (
        replace(call, action=("read", tuple(sorted(listed)))) if isinstance(listed, tuple) else call
    )


def _shifted(stream: random.Random, calls: list[Call]) -> list[Call]:
    """Move one event of a call to another place among all events."""
    events = [(call.start, n, False) for n, call in enumerate(calls)]
    events += [(call.end, n, True) for n, call in enumerate(calls) if call.end is not None]
    events.sort()
    moved = events.pop(stream.randrange(len(events)))
    place = stream.randint(0, len(events))
    events.insert(place, moved)
    starts = {n: p for p, (_, n, is_end) in enumerate(events) if not is_end}
    ends = {n: p for p, (_, n, is_end) in enumerate(events) if is_end}
    if any(starts[n] > end for n, end in ends.items()):
        return calls
    return [replace(call, start=starts[n], end=ends.get(n)) for n, call in enumerate(calls)]


def arbitrary(stream: random.Random, model: Model, *, calls_max: int) -> Calls:
    """Calls that overlap as they like: the order they stand in is that of a real object, or not."""
    name = model.name
    values = [str(n) for n in range(stream.randint(1, calls_max // 2))]
    actions: list[Action] = []
    if name in VERBS:
        put, take = VERBS[name]
        actions += [(put, v) for v in values]
        actions += [(take, v) for v in values if stream.random() < 0.85]
        actions += [(f"{take}-empty",)] * stream.choice((0, 0, 1, 2))
        actions += [(f"{take}-unknown",)] * stream.choice((0, 0, 0, 1, 2))
    elif name == "counter":
        actions += [("add", stream.choice((1, 2, 3, -1))) for _ in values]
        actions += [("read", stream.randint(-1, 6)) for _ in range(stream.randint(1, 3))]
    else:
        actions += [("append" if name == "list-append" else "add", v) for v in values]
        if name == "set":
            actions += [("remove", v) for v in values if stream.random() < 0.7]
        actions += [("read", None)] * stream.randint(1, 4)
    actions = actions[:calls_max]
    stream.shuffle(actions)
    if name in ("set", "list-append"):
        state = model.initial
        seen: list[Action] = []
        for action in actions:
            if action == ("read", None):
                assert isinstance(state, frozenset | tuple)
                read = tuple(sorted(state)) if name == "set" else tuple(state)
                action = ("read", tuple(v for v in read if stream.random() < 0.95))
            after = model.step(state, action)
            state = state if after is None else after
            seen.append(action)
        actions = seen
    # Each call about its place in this order, more or less closely.
    spread = stream.choice((0.7, 1.5, 3.0, 6.0))
    events: list[tuple[float, int, bool]] = []
    for n, _ in enumerate(actions):
        begin, end = n - spread * stream.random(), n + spread * stream.random()
        events += [(begin, n, False), (end, n, True)]
    events.sort()
    starts = {n: p for p, (_, n, is_end) in enumerate(events) if not is_end}
    ends = {n: p for p, (_, n, is_end) in enumerate(events) if is_end}
    crash_rate = stream.choice((0.0, 0.0, 0.2))
    done = [
        Call(index=n, action=action, start=starts[n], end=None if str(action[0]).endswith("unknown")
             or (action[0] in ("add", "append", "remove", "enqueue", "push")
                 and stream.random() < crash_rate) else ends[n])
        for n, action in enumerate(actions)
    ]  # fmt: skip
    return tuple(sorted(done, key=lambda call: call.start))
