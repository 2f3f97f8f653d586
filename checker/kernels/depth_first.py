"""Wing and Gong's search with Lowe's memory, compiled: deep first, one configuration at a time.

Rules of this file:
- Wing & Gong, JPDC 17 (1993); Lowe, CCPE 29(4) (2017) e3928; the same search as
  `checker.search`, which is its slow twin. A configuration is (event, state, set of open calls
  that took effect, optional calls used); an event is passed when all before it is decided.
- It stops only where it must: at the return of a call that did not take effect yet (*barrier*).
  What to do there is a choice; no configuration at a barrier is entered twice.
- What is left out is argued for here, by letter, and fuzzed against brute force:
  (a) Pure calls take effect as soon as they are allowed: they change nothing, so in any order
      that completes this one they may come first.
  (b) Of open calls alike in what they do, the one that must return first goes first: exchange
      the two in the order, each is open at the other's place.
  (w) A write that is still open may take effect just before the last write that did
      (`LAST_WRITE`), if it was invoked before that: nobody sees it there. So at its return it may
      be *absorbed* and pass; it may also take effect then, which must be tried as well.
  (c) A write, or an optional call, that is not forced is tried only if its state is *wanted*: an
      open call that did not take effect is allowed there, or an optional one that looks at the
      state. Otherwise what comes next to change the state is a blind write, or something invoked
      later. Let the write come later, just before whoever looks at it, or be absorbed by (w), or
      take effect at its own return, where it is forced; if optional, not at all.
  (d) A state is not left while a call needs it and no call that gives it is left: it would never
      come back. (Problems without transitions only: there all ways to a state are listed.)
  (e) A state that comes for the last time, and that a call invoked at n > now needs, stays until
      then; so every change of state that must come before n, and is not absorbed, comes first. Of
      a chain (`checker.kernels.chains`) this is said when it begins, for all of it.
  (f) The last write that gives a state which is still needed is not absorbed.
- Optional calls are counted by class, the first invoked are used first (they never return, so
  exchanging two alike harms nobody); a configuration holds the counts.
- Resumable: everything lives in the arguments; a phase can be entered again at its beginning.
"""

from __future__ import annotations

from numba import njit, uint64

from checker.kernels.layout import (
    CAS,
    CHAIN,
    DEADLINE,
    END,
    GIVES,
    INFINITE,
    INVALID,
    KIND,
    LOOK,
    NEEDS,
    NOT_ALLOWED,
    OPT_GIVES,
    OPT_KIND,
    OPT_NEEDS,
    OPT_SHIFT,
    OPT_WORD,
    PURE,
    READ,
    REFUSED,
    SLOT,
    START,
    TABLE,
    UNKNOWN,
    VALID,
    WANTS_ROOM,
    WANTS_STEP,
    WRITE,
    drop,
    has,
    is_alike,
    put,
    step,
    used_of,
)
from checker.kernels.visited import is_known

# Places in `control`: where the search stands. All start at 0.
(
    PHASE, EVENT, STATE, FRAMES, ORDERED, VISITED, STEPS, STEPS_MAX, FURTHEST, TICK,
    WANTED_STATE, WANTED_CLASS, LAST_WRITE,
) = range(13)  # fmt: skip
CONTROL_SIZE = 13

ADVANCE, BLOCKED, CHOOSE, CLOSE = 0, 1, 2, 3

# Columns of `frames`.
FRAME_EVENT, FRAME_STATE, FRAME_NEXT, FRAME_ORDERED, FRAME_LAST_WRITE = range(5)
FRAME_COLUMNS = 5


@njit(cache=True, inline="always")
def _overtaken(calls, slot_call, words, last_write):
    """Tell which open writes can be absorbed: the latest invocation of one, plus 1; else 0."""
    latest = 0
    for s in range(slot_call.shape[0]):
        c = slot_call[s]
        if c >= 0 and calls[c, KIND] == WRITE and not has(words, s):
            start = calls[c, START]
            if start < last_write and start >= latest:
                latest = start + 1
    return latest


@njit(cache=True, inline="always")
def _is_too_early(
    calls, slot_call, words, optional, available, opt_calls, soon, needers, sole,
    event, stays_until, chosen, chain, last_write,
):  # fmt: skip
    """(e) Whether some change of state still to come must come before `stays_until`."""
    # Not invoked yet: the earliest deadline of all those, and of another chain than that one's.
    first = soon[event, 0]
    if first < stays_until and (chain < 0 or soon[event, 1] != chain):
        return True
    if soon[event, 2] < stays_until:
        return True
    for s in range(slot_call.shape[0]):
        c = slot_call[s]
        if c < 0 or c == chosen or calls[c, DEADLINE] >= stays_until:
            continue
        kind = calls[c, KIND]
        if kind != WRITE and kind != CAS:
            continue
        if chain >= 0 and calls[c, CHAIN] == chain:
            continue
        if kind == WRITE and calls[c, START] < last_write:
            given = calls[c, GIVES]
            if sole[given] != c or needers[given] == 0:  # can be absorbed
                continue
        if not has(words, s):
            return True
    for k in range(optional.shape[0]):
        c = opt_calls[k]  # the only one of its class, or -1
        if c < 0 or calls[c, DEADLINE] >= stays_until or available[k] == 0:
            continue
        if (chain >= 0 and calls[c, CHAIN] == chain) or c == chosen:
            continue
        if used_of(words, optional, k) == 0:
            return True
    return False


@njit(cache=True, nogil=True)
def run(
    calls, events, optional, available, keys, values, classes,
    producers, needers, last_need, soon, sole, opt_calls, has_reigns,
    slot_call, words, order, want, frames, frame_words, visited, control,
):  # fmt: skip
    """Search on from where `control` stands; return one of the codes of `layout`.

    `producers` and `needers` hold, for each state, how many calls that give and need it are left;
    `last_need` until when it must stay once it is the last time; `sole` the only call that gives
    it. `soon[e]` has the earliest deadline of a change of state invoked at e or later, its chain,
    and the earliest of another chain; `opt_calls` the call of each optional class of one. After
    `VALID` the first `ORDERED` entries of `order`
    are a linearization: calls, ``~k`` for the next call of optional class k, and n + c for a write
    that was absorbed by the last one before it (n is the number of calls): see `checker.kernels.retell`.
    """
    slots = slot_call.shape[0]
    optionals = optional.shape[0]
    ends = events.shape[0]
    phase = control[PHASE]
    e = control[EVENT]
    state = control[STATE]
    ordered = control[ORDERED]
    depth = control[FRAMES]
    steps = control[STEPS]
    last_write = control[LAST_WRITE]
    total = calls.shape[0]
    code = -1
    while code < 0:
        if phase == ADVANCE:
            while e < ends:
                c = events[e]
                if c >= 0:
                    if calls[c, END] == INFINITE:
                        available[calls[c, SLOT]] += 1
                        e += 1
                        continue
                    s = calls[c, SLOT]
                    slot_call[s] = c
                    if calls[c, PURE]:
                        after = step(calls[c, KIND], calls[c, NEEDS], calls[c, GIVES], state,
                                     keys, values, classes)  # fmt: skip
                        if after == UNKNOWN:
                            control[WANTED_STATE] = state
                            control[WANTED_CLASS] = calls[c, NEEDS]
                            code = WANTS_STEP
                            break
                        if after != NOT_ALLOWED:  # (a)
                            put(words, s)
                            order[ordered] = c
                            ordered += 1
                            if has_reigns and calls[c, KIND] == READ:
                                needers[calls[c, NEEDS]] -= 1
                    e += 1
                else:
                    s = calls[~c, SLOT]
                    if not has(words, s):
                        break
                    drop(words, s)
                    slot_call[s] = -1
                    e += 1
            if code >= 0:
                break
            if e > control[FURTHEST]:
                control[FURTHEST] = e
            if e >= ends:
                code = VALID
                break
            phase = BLOCKED
        elif phase == BLOCKED:
            if 2 * (control[VISITED] + 1) > visited.shape[0] or depth + 1 > frames.shape[0]:
                code = WANTS_ROOM
                break
            overtaken = _overtaken(calls, slot_call, words, last_write)
            if not is_known(visited, words, e, state, overtaken):
                control[VISITED] += 1
                frames[depth, FRAME_EVENT] = e
                frames[depth, FRAME_STATE] = state
                frames[depth, FRAME_NEXT] = 0
                frames[depth, FRAME_ORDERED] = ordered
                frames[depth, FRAME_LAST_WRITE] = last_write
                for w in range(words.shape[0]):
                    frame_words[depth, w] = words[w]
                depth += 1
            phase = CHOOSE
        elif phase == CHOOSE:
            if depth == 0:
                code = INVALID
                break
            if steps >= control[STEPS_MAX]:
                code = LOOK
                break
            top = depth - 1
            # Back to where this frame was: events, then effects, then the configuration.
            while e > frames[top, FRAME_EVENT]:
                e -= 1
                c = events[e]
                if c >= 0:
                    if calls[c, END] == INFINITE:
                        available[calls[c, SLOT]] -= 1
                    else:
                        slot_call[calls[c, SLOT]] = -1
                else:
                    slot_call[calls[~c, SLOT]] = ~c
            while ordered > frames[top, FRAME_ORDERED]:
                ordered -= 1
                if has_reigns:
                    c = order[ordered]
                    if c < 0:
                        producers[optional[~c, OPT_GIVES]] += 1
                    elif c >= total:
                        producers[calls[c - total, GIVES]] += 1
                    else:
                        kind = calls[c, KIND]
                        if kind == READ or kind == CAS:
                            needers[calls[c, NEEDS]] += 1
                        if kind == WRITE or kind == CAS:
                            producers[calls[c, GIVES]] += 1
            state = frames[top, FRAME_STATE]
            last_write = frames[top, FRAME_LAST_WRITE]
            for w in range(words.shape[0]):
                words[w] = frame_words[top, w]
            barrier = ~events[e]
            needed = -1
            if calls[barrier, KIND] == READ or calls[barrier, KIND] == CAS:
                needed = calls[barrier, NEEDS]
            # (c) Which states are wanted by calls that are open here.
            control[TICK] += 1
            tick = control[TICK]
            elsewhere = False  # somebody wants any state but this one
            anything = False
            unabsorbed = False
            for s in range(slots):
                c = slot_call[s]
                if c < 0 or has(words, s):
                    continue
                kind = calls[c, KIND]
                if kind == READ or kind == CAS:
                    want[calls[c, NEEDS]] = tick
                elif kind == REFUSED:
                    elsewhere = True
                elif kind == TABLE:
                    anything = True
                elif calls[c, START] >= last_write:  # 0 is none, and an event too
                    unabsorbed = True
            for k in range(optionals):
                if used_of(words, optional, k) < available[k]:
                    if optional[k, OPT_KIND] == CAS:
                        want[optional[k, OPT_NEEDS]] = tick
                    elif optional[k, OPT_KIND] == TABLE:
                        anything = True
            # Candidates: to absorb the barrier, the barrier, those that give what it needs, other
            # open ones, optional ones.
            i = frames[top, FRAME_NEXT]
            chosen = -1
            after = NOT_ALLOWED
            is_optional = False
            absorbed = False
            while i < 2 + 2 * slots + optionals:
                at = i
                i += 1
                if at > 2 * slots + 1:
                    k = at - 2 - 2 * slots
                    if used_of(words, optional, k) >= available[k]:
                        continue
                    after = step(optional[k, OPT_KIND], optional[k, OPT_NEEDS],
                                 optional[k, OPT_GIVES], state, keys, values, classes)  # fmt: skip
                    if after == UNKNOWN:
                        control[WANTED_STATE] = state
                        control[WANTED_CLASS] = optional[k, OPT_NEEDS]
                        code = WANTS_STEP
                        i = at
                        break
                    if after == NOT_ALLOWED:
                        continue
                    # What changes nothing is good for one thing: to absorb writes (w).
                    if after == state and not (optional[k, OPT_KIND] == WRITE and unabsorbed):
                        continue
                    if not (anything or elsewhere or want[after] == tick):  # (c)
                        continue
                    if has_reigns and after != state:
                        if needers[state] > 0 and producers[state] == 0:  # (d)
                            continue
                        if (
                            producers[after] == 1
                            and last_need[after] > e
                            and _is_too_early(
                                calls,
                                slot_call,
                                words,
                                optional,
                                available,
                                opt_calls,
                                soon,
                                needers,
                                sole,
                                e,
                                last_need[after],
                                opt_calls[k],
                                -1 if opt_calls[k] < 0 else calls[opt_calls[k], CHAIN],
                                e if optional[k, OPT_KIND] == WRITE else last_write,
                            )
                        ):
                            continue
                    chosen = k
                    is_optional = True
                    break
                if at == 0:
                    if calls[barrier, KIND] == WRITE and calls[barrier, START] < last_write:  # (w)
                        given = calls[barrier, GIVES]
                        if has_reigns and producers[given] == 1 and needers[given] > 0:
                            if state != given:  # (f)
                                continue
                        absorbed = True
                        chosen = barrier
                        break
                    continue
                if at == 1:
                    c = barrier
                else:
                    c = slot_call[(at - 2) % slots]
                    if c < 0 or c == barrier or calls[c, PURE] or has(words, calls[c, SLOT]):
                        continue
                    kind = calls[c, KIND]
                    direct = kind != TABLE and calls[c, GIVES] == needed
                    if direct != (at <= slots + 1):
                        continue
                    if kind == WRITE and not (
                        anything
                        or want[calls[c, GIVES]] == tick
                        or (elsewhere and calls[c, GIVES] != state)
                    ):  # (c)
                        continue
                    if kind == CAS and calls[c, NEEDS] != state:
                        continue
                    earlier = False  # (b)
                    for s in range(slots):
                        other = slot_call[s]
                        if (
                            other >= 0
                            and is_alike(calls, other, c)
                            and calls[other, END] < calls[c, END]
                            and not has(words, s)
                        ):
                            earlier = True
                            break
                    if earlier:
                        continue
                after = step(calls[c, KIND], calls[c, NEEDS], calls[c, GIVES], state,
                             keys, values, classes)  # fmt: skip
                if after == UNKNOWN:
                    control[WANTED_STATE] = state
                    control[WANTED_CLASS] = calls[c, NEEDS]
                    code = WANTS_STEP
                    i = at
                    break
                if after == NOT_ALLOWED:
                    continue
                if has_reigns and after != state:
                    waiting = needers[state] - (1 if calls[c, KIND] == CAS else 0)
                    if waiting > 0 and producers[state] == 0:  # (d)
                        continue
                    if (
                        producers[after] == 1
                        and last_need[after] > e
                        and _is_too_early(
                            calls,
                            slot_call,
                            words,
                            optional,
                            available,
                            opt_calls,
                            soon,
                            needers,
                            sole,
                            e,
                            last_need[after],
                            c,
                            calls[c, CHAIN],
                            e if calls[c, KIND] == WRITE else last_write,
                        )
                    ):
                        continue
                chosen = c
                break
            frames[top, FRAME_NEXT] = i
            if code >= 0:
                break
            if chosen < 0:
                depth -= 1
                continue
            steps += 1
            if absorbed:
                put(words, calls[chosen, SLOT])
                order[ordered] = chosen + total
                ordered += 1
                if has_reigns:
                    producers[calls[chosen, GIVES]] -= 1
                phase = ADVANCE
                continue
            if is_optional:
                words[optional[chosen, OPT_WORD]] += uint64(1) << uint64(
                    optional[chosen, OPT_SHIFT]
                )
                order[ordered] = ~chosen
                if has_reigns:
                    producers[optional[chosen, OPT_GIVES]] -= 1
                if optional[chosen, OPT_KIND] == WRITE:
                    last_write = e
            else:
                put(words, calls[chosen, SLOT])
                order[ordered] = chosen
                if has_reigns:
                    kind = calls[chosen, KIND]
                    if kind == READ or kind == CAS:
                        needers[calls[chosen, NEEDS]] -= 1
                    if kind == WRITE or kind == CAS:
                        producers[calls[chosen, GIVES]] -= 1
                if calls[chosen, KIND] == WRITE:
                    last_write = e
            ordered += 1
            state = after
            phase = CLOSE
        else:  # CLOSE
            for s in range(slots):  # (a)
                c = slot_call[s]
                if c < 0 or not calls[c, PURE] or has(words, s):
                    continue
                after = step(calls[c, KIND], calls[c, NEEDS], calls[c, GIVES], state,
                             keys, values, classes)  # fmt: skip
                if after == UNKNOWN:
                    control[WANTED_STATE] = state
                    control[WANTED_CLASS] = calls[c, NEEDS]
                    code = WANTS_STEP
                    break
                if after != NOT_ALLOWED:
                    put(words, s)
                    order[ordered] = c
                    ordered += 1
                    if has_reigns and calls[c, KIND] == READ:
                        needers[calls[c, NEEDS]] -= 1
            if code >= 0:
                break
            phase = ADVANCE
    control[PHASE] = phase
    control[EVENT] = e
    control[STATE] = state
    control[ORDERED] = ordered
    control[FRAMES] = depth
    control[STEPS] = steps
    control[LAST_WRITE] = last_write
    return code
