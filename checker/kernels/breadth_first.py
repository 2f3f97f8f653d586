"""The just-in-time search, compiled: all configurations at once, event by event.

Rules of this file:
- Lowe, CCPE 29(4) (2017) e3928, section 4, which Knossos calls `linear`: keep every configuration
  (state, set of open calls that took effect) that some order leads to; at a return, extend each
  by sequences of open calls that end with the one that returns. None left: no order exists, and
  the return is where every order fails. Memory is the widest front, not the history.
- What is left out is argued for in `checker.kernels.depth_first`, by the same letters, and:
  (o) Optional calls of a class that is not *tracked* are in unlimited supply once one was invoked:
      more is allowed than was there, so `INVALID` is certain; an order must be looked at again.
  (g) A configuration can do all another can, and is kept alone, if it has the same state, the
      same open compare-and-sets and table calls done, no fewer pure calls done, no more writes
      spent, no more tracked optional calls used, and no earlier last write. A write that only the
      better one still holds can be absorbed: the other spent it after it was invoked, so the last
      write of either is later than that.
- With a *beam* only the most promising configurations go on: then `GAVE_UP` in place of `INVALID`.
- Resumable: everything lives in the arguments; an expansion is looked at whole before anything of
  it is kept, so it can be begun again.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from checker.kernels.fronts import (
    AT_LAST_WRITE,
    AT_LOG,
    AT_ROOT,
    AT_STATE,
    EXTRA_WORDS,
    NEXT_FRONT,
    emit,
    find,
    narrow,
    thin,
)
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
    OPT_TRACKED,
    OPT_WORD,
    PURE,
    READ,
    REFUSED,
    REQUIRED,
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
from checker.kernels.retell import LOG_CALL, LOG_EVENT, LOG_PARENT

GAVE_UP = 5

# Places in `control`.
# The first is `NEXT_FRONT` (`fronts`).
(
    PHASE, EVENT, FRONT, CURSOR, STACK, SEEN, STEPS, STEPS_MAX, TICK, LOGGED, WANTED_STATE,
    WANTED_CLASS, BEAM, DROPPED, WIDEST, LAST_LOG, KEEP_LOG,
) = range(1, 18)  # fmt: skip
CONTROL_SIZE = 18

NEXT_EVENT, EXPAND, SWAP = 0, 1, 2

_BEAM_SLACK = 16


@njit(cache=True, nogil=True)
def run(
    calls, events, optional, available, keys, values, classes,
    future_producers, future_needers, last_need, soon, sole, opt_calls, has_reigns,
    slot_call, masks, front, next_front, stack, seen_rows, emitted, seen, heads, links, log,
    wanted, open_producers, open_needers, control,
):  # fmt: skip
    """Search on from where `control` stands; return one of the codes of `layout`, or `GAVE_UP`.

    `front` holds `FRONT` configurations to begin with. `masks` are, of the slots, those of
    compare-and-sets and table calls, of pure calls, and of writes. `future_producers` and
    `future_needers` count calls that were not invoked yet; the others are as in `depth_first`.
    After `VALID`, `LAST_LOG` is where the order of one configuration ends in `log`.
    """
    slots = slot_call.shape[0]
    optionals = optional.shape[0]
    ends = events.shape[0]
    width = front.shape[1] - 3
    slot_words = masks.shape[1]
    e = control[EVENT]
    phase = control[PHASE]
    beam = control[BEAM]
    row = np.zeros(width + EXTRA_WORDS, np.uint64)
    while True:
        if phase == NEXT_EVENT:
            if e >= ends:
                control[LAST_LOG] = np.int64(front[0, width + AT_LOG])
                control[EVENT] = e
                return VALID
            c = events[e]
            if c >= 0:
                kind = calls[c, KIND]
                if has_reigns:
                    if kind == WRITE or kind == CAS:
                        future_producers[calls[c, GIVES]] -= 1
                    if (kind == READ or kind == CAS) and calls[c, REQUIRED]:
                        future_needers[calls[c, NEEDS]] -= 1
                if calls[c, END] == INFINITE:
                    available[calls[c, SLOT]] += 1
                    e += 1
                    continue
                s = calls[c, SLOT]
                slot_call[s] = c
                for group in range(3):
                    drop(masks[group], s)
                if calls[c, PURE]:
                    put(masks[1], s)
                elif kind == WRITE:
                    put(masks[2], s)
                else:
                    put(masks[0], s)
                if calls[c, PURE]:
                    for at in range(control[FRONT]):
                        state = np.int64(front[at, width + AT_STATE])
                        after = step(kind, calls[c, NEEDS], calls[c, GIVES], state,
                                     keys, values, classes)  # fmt: skip
                        if after == UNKNOWN:
                            control[WANTED_STATE] = state
                            control[WANTED_CLASS] = calls[c, NEEDS]
                            control[EVENT] = e
                            control[PHASE] = phase
                            return WANTS_STEP
                        if after != NOT_ALLOWED:  # (a)
                            put(front[at], s)
                e += 1
                continue
            control[CURSOR] = 0
            control[STACK] = 0
            control[SEEN] = 0
            control[NEXT_FRONT] = 0
            phase = EXPAND
        elif phase == EXPAND:
            barrier = ~events[e]
            slot = calls[barrier, SLOT]
            epoch = e + 1
            while True:
                top = control[STACK]
                if top == 0:
                    if control[CURSOR] >= control[FRONT]:
                        break
                    if control[NEXT_FRONT] >= beam * _BEAM_SLACK:
                        control[DROPPED] = 1
                        break
                    at = control[CURSOR]
                    for w in range(width + 3):
                        stack[0, w] = front[at, w]
                    stack[0, width + AT_ROOT] = uint64(1)
                    control[CURSOR] = at + 1
                    control[STACK] = 1
                    top = 1
                room = slots + optionals + 2
                if (
                    top + room > stack.shape[0]
                    or control[NEXT_FRONT] + 2 > next_front.shape[0]
                    or 2 * (control[NEXT_FRONT] + 2) > emitted.shape[0]
                    or control[SEEN] + 1 > seen_rows.shape[0]
                    or 2 * (control[SEEN] + 1) > seen.shape[0]
                    or (control[KEEP_LOG] and control[LOGGED] + room > log.shape[0])
                ):
                    control[EVENT] = e
                    control[PHASE] = phase
                    return WANTS_ROOM
                if control[STEPS] >= control[STEPS_MAX]:
                    control[EVENT] = e
                    control[PHASE] = phase
                    return LOOK
                for w in range(width + EXTRA_WORDS):
                    row[w] = stack[top - 1, w]
                if has(row, slot):
                    drop(row, slot)
                    emit(emitted, next_front, control, row, width, epoch)
                    control[STACK] = top - 1
                    continue
                state = np.int64(row[width + AT_STATE])
                last_write = np.int64(row[width + AT_LAST_WRITE])
                # Seen at this return already, with as late a last write?
                place = find(seen, seen_rows, row, width, epoch)
                if seen[place, 0] == epoch:
                    there = seen_rows[seen[place, 1]]
                    if row[width + AT_LAST_WRITE] <= there[width + AT_LAST_WRITE]:
                        control[STACK] = top - 1
                        continue
                # (c), (d), (e): what is wanted, and what is left of each state, in this row.
                control[TICK] += 1
                tick = control[TICK]
                elsewhere = False
                anything = False
                unabsorbed = False
                for s in range(slots):
                    c = slot_call[s]
                    if c < 0 or has(row, s):
                        continue
                    kind = calls[c, KIND]
                    if kind == READ or kind == CAS:
                        needed = calls[c, NEEDS]
                        wanted[needed] = tick
                        if calls[c, REQUIRED] == 0:
                            pass
                        elif open_needers[needed, 0] != tick:
                            open_needers[needed, 0] = tick
                            open_needers[needed, 1] = 1
                        else:
                            open_needers[needed, 1] += 1
                    elif kind == REFUSED:
                        elsewhere = True
                    elif kind == TABLE:
                        anything = True
                    if kind == WRITE or kind == CAS:
                        given = calls[c, GIVES]
                        if open_producers[given, 0] != tick:
                            open_producers[given, 0] = tick
                            open_producers[given, 1] = 0
                        open_producers[given, 1] += 1
                        if kind == WRITE and calls[c, START] >= last_write:  # 0 is none too
                            unabsorbed = True
                for k in range(optionals):
                    if available[k] == 0:
                        continue
                    kind = optional[k, OPT_KIND]
                    if optional[k, OPT_TRACKED]:
                        left = available[k] - used_of(row, optional, k)
                    else:
                        left = 1 << 20
                    if left <= 0:
                        continue
                    if kind == CAS:
                        wanted[optional[k, OPT_NEEDS]] = tick
                    elif kind == TABLE:
                        anything = True
                    if kind == WRITE or kind == CAS:
                        given = optional[k, OPT_GIVES]
                        if open_producers[given, 0] != tick:
                            open_producers[given, 0] = tick
                            open_producers[given, 1] = 0
                        open_producers[given, 1] += left
                # Look at every successor before anything is kept.
                base = top  # the successors stand above this row for now
                made = 0
                for candidate in range(slots + optionals):
                    if candidate < slots:
                        c = slot_call[candidate]
                        if c < 0 or (calls[c, PURE] and c != barrier) or has(row, candidate):
                            continue
                        kind, needs, gives = calls[c, KIND], calls[c, NEEDS], calls[c, GIVES]
                        if c != barrier:
                            if kind == WRITE and not (
                                anything or wanted[gives] == tick
                                or (elsewhere and gives != state)
                            ):  # (c)  # fmt: skip
                                continue
                            if kind == CAS and needs != state:
                                continue
                            earlier = False  # (b)
                            for s in range(slots):
                                other = slot_call[s]
                                if (
                                    other >= 0
                                    and is_alike(calls, other, c)
                                    and calls[other, END] < calls[c, END]
                                    and not has(row, s)
                                ):
                                    earlier = True
                                    break
                            if earlier:
                                continue
                        chosen = c
                        chain = calls[c, CHAIN]
                        k = -1
                    else:
                        k = candidate - slots
                        if available[k] == 0:
                            continue
                        if optional[k, OPT_TRACKED] and used_of(row, optional, k) >= available[k]:
                            continue
                        kind, needs = optional[k, OPT_KIND], optional[k, OPT_NEEDS]
                        gives = optional[k, OPT_GIVES]
                        chosen = opt_calls[k]
                        chain = -1 if chosen < 0 else calls[chosen, CHAIN]
                    after = step(kind, needs, gives, state, keys, values, classes)
                    if after == UNKNOWN:
                        control[WANTED_STATE] = state
                        control[WANTED_CLASS] = needs
                        control[EVENT] = e
                        control[PHASE] = phase
                        return WANTS_STEP
                    if after == NOT_ALLOWED:
                        continue
                    if k >= 0:
                        if after == state and not (kind == WRITE and unabsorbed):
                            continue
                        if not (anything or (elsewhere and after != state)
                                or wanted[after] == tick):  # (c)  # fmt: skip
                            continue
                    if has_reigns and after != state:
                        left = future_producers[state]
                        if open_producers[state, 0] == tick:
                            left += open_producers[state, 1]
                        if left == 0:  # (d)
                            waiting = future_needers[state]
                            if open_needers[state, 0] == tick:
                                waiting += open_needers[state, 1]
                            if k < 0 and kind == CAS and calls[chosen, REQUIRED]:
                                waiting -= 1
                            if waiting > 0:
                                continue
                        if last_need[after] > e:
                            left = future_producers[after]
                            if open_producers[after, 0] == tick:
                                left += open_producers[after, 1]
                            if left == 1 and _is_too_early(
                                calls,
                                slot_call,
                                row,
                                optional,
                                available,
                                opt_calls,
                                soon,
                                future_needers,
                                open_needers,
                                sole,
                                tick,
                                e,
                                last_need[after],
                                chosen,
                                chain,
                                e if kind == WRITE else last_write,
                            ):  # (e)
                                continue
                    child = stack[base + made]
                    for w in range(width + EXTRA_WORDS):
                        child[w] = row[w]
                    child[width + AT_STATE] = uint64(after)
                    child[width + AT_ROOT] = uint64(0)
                    if kind == WRITE:
                        child[width + AT_LAST_WRITE] = uint64(e)
                    if k < 0:
                        put(child, candidate)
                    elif optional[k, OPT_TRACKED]:
                        child[optional[k, OPT_WORD]] += uint64(1) << uint64(optional[k, OPT_SHIFT])
                    for s in range(slots):  # (a)
                        c = slot_call[s]
                        if c < 0 or not calls[c, PURE] or has(child, s):
                            continue
                        then = step(calls[c, KIND], calls[c, NEEDS], calls[c, GIVES], after,
                                    keys, values, classes)  # fmt: skip
                        if then == UNKNOWN:
                            control[WANTED_STATE] = after
                            control[WANTED_CLASS] = calls[c, NEEDS]
                            control[EVENT] = e
                            control[PHASE] = phase
                            return WANTS_STEP
                        if then != NOT_ALLOWED:
                            put(child, s)
                    if control[KEEP_LOG]:
                        at = control[LOGGED] + made
                        log[at, LOG_PARENT] = np.int64(row[width + AT_LOG])
                        log[at, LOG_CALL] = chosen if k < 0 else ~k
                        log[at, LOG_EVENT] = e
                        child[width + AT_LOG] = uint64(at)
                    made += 1
                # Now keep it.
                control[STEPS] += 1
                control[LOGGED] += made
                if seen[place, 0] == epoch:
                    seen_rows[seen[place, 1], width + AT_LAST_WRITE] = row[width + AT_LAST_WRITE]
                else:
                    at = control[SEEN]
                    for w in range(width + 3):
                        seen_rows[at, w] = row[w]
                    seen[place, 0] = epoch
                    seen[place, 1] = at
                    control[SEEN] = at + 1
                if row[width + AT_ROOT] == uint64(1) and calls[barrier, REQUIRED] == 0:
                    emit(emitted, next_front, control, row, width, epoch)  # it lapses
                elif (
                    row[width + AT_ROOT] == uint64(1)
                    and calls[barrier, KIND] == WRITE
                    and calls[barrier, START] < last_write
                ):  # (w)
                    given = calls[barrier, GIVES]
                    lost = False
                    if has_reigns and given != state:  # (f)
                        left = future_producers[given]
                        if open_producers[given, 0] == tick:
                            left += open_producers[given, 1]
                        waiting = future_needers[given]
                        if open_needers[given, 0] == tick:
                            waiting += open_needers[given, 1]
                        lost = left == 1 and waiting > 0
                    if not lost:
                        emit(emitted, next_front, control, row, width, epoch)
                # The first successor takes this row's place.
                if made > 0:
                    for w in range(width + EXTRA_WORDS):
                        stack[top - 1, w] = stack[base + made - 1, w]
                    control[STACK] = top - 1 + made
                else:
                    control[STACK] = top - 1
            phase = SWAP
        else:  # SWAP
            count = control[NEXT_FRONT]
            if count == 0:
                control[EVENT] = e
                control[PHASE] = phase
                return GAVE_UP if control[DROPPED] else INVALID
            if 4 * count > heads.shape[0] or count > links.shape[0] or count > front.shape[0]:
                control[EVENT] = e
                control[PHASE] = phase
                return WANTS_ROOM
            s = calls[~events[e], SLOT]
            slot_call[s] = -1
            for group in range(3):
                drop(masks[group], s)
            if count > 1:
                count = thin(next_front, count, masks, heads, links, optional, slot_words, width)
            if count > beam:
                count = narrow(next_front, count, beam, masks, optional, slot_words, width)
                control[DROPPED] = 1
            if count > control[WIDEST]:
                control[WIDEST] = count
            for at in range(count):
                for w in range(width + 3):
                    front[at, w] = next_front[at, w]
            control[FRONT] = count
            e += 1
            phase = NEXT_EVENT


@njit(cache=True, inline="always")
def _is_too_early(
    calls, slot_call, row, optional, available, opt_calls, soon, future_needers, open_needers,
    sole, tick, event, stays_until, chosen, chain, last_write,
):  # fmt: skip
    """(e) of `depth_first`, in a row."""
    if soon[event, 0] < stays_until and (chain < 0 or soon[event, 1] != chain):
        return True
    if soon[event, 2] < stays_until:
        return True
    for s in range(slot_call.shape[0]):
        c = slot_call[s]
        if c < 0 or c == chosen or calls[c, DEADLINE] >= stays_until or has(row, s):
            continue
        kind = calls[c, KIND]
        if kind != WRITE and kind != CAS:
            continue
        if chain >= 0 and calls[c, CHAIN] == chain:
            continue
        if kind == WRITE and calls[c, START] < last_write:
            given = calls[c, GIVES]
            if sole[given] != c:
                continue
            waiting = future_needers[given]
            if open_needers[given, 0] == tick:
                waiting += open_needers[given, 1]
            if waiting == 0:  # can be absorbed
                continue
        return True
    for k in range(optional.shape[0]):
        c = opt_calls[k]
        if c < 0 or calls[c, DEADLINE] >= stays_until or available[k] == 0 or c == chosen:
            continue
        if (chain >= 0 and calls[c, CHAIN] == chain) or not optional[k, OPT_TRACKED]:
            continue
        if used_of(row, optional, k) == 0:
            return True
    return False
