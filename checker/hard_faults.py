"""Faults put into linearizable histories of a register.

Rules of this file:
- A fault is what a broken store does, no matter whether anybody can tell. A history counts as
  not linearizable (`Alteration.proven`) only if `Evidence` shows it; candidates are tried until
  one does. Where none does, one is taken all the same and is called unproven: it may or may
  not be linearizable.
- Everything random comes from the stream the caller gives.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from checker.columns import FAIL, INFO, OK
from checker.hard_evidence import Evidence
from checker.hard_simulation import CAS, READ, WRITE, Draft, replayed

_NO_EFFECT = "took no effect"
_CAME_BACK = "are a write that took effect twice and a read that saw it the second time"
_EACH_OTHERS = "have each other's answer"
_WENT_BACK = "went back in time: reads before and after it see newer values"
_NEAR = 100  # reads after a read
_TRIES = 40  # of alterations that look provable and then have to be proven


class Fault(StrEnum):
    """What went wrong."""

    STALE_READ = "stale-read"
    LOST_UPDATE = "lost-update"
    SWAPPED_CAS = "swapped-cas"
    WRITE_RETURNS = "write-returns"
    NEW_OLD_NEW = "new-old-new"
    REORDERED_READS = "reordered-reads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """An altered history; `rows` are the operations at fault, `proven` that it has no order."""

    draft: Draft
    rows: tuple[int, ...]
    proven: bool
    what: str


def stale_read(draft: Draft, random: Random) -> Alteration | None:
    """One read returns a value that was certainly overwritten before it began. Always proven.

    The overwriting write was acknowledged before the read, and everything that can produce the
    value ended before that write began or began after the read ended. `None` if there is no such
    read. The order of the random draws is part of the contract, as in `simulate`.
    """
    evidence = Evidence(draft, reads_witness=False)
    few = evidence.values()
    # Which acknowledged write of those before the read: the one that began last.
    writes = sorted((draft.completion[row], draft.start[row], row) for row in _writers(draft))
    ends, last_begun = [end for end, _, _ in writes], [-1]
    for _, start, row in writes:
        best = last_begun[-1]
        last_begun.append(row if best == -1 or start > draft.start[best] else best)
    for read in _late_first(_reads(draft), random, at_most=3000, backwards=True):
        start, end = draft.start[read], draft.completion[read]
        overwriting = last_begun[bisect_left(ends, start)]
        if overwriting == -1:
            continue
        values = list(few) if len(few) <= 20 else _values_lately(draft, read, 400)
        random.shuffle(values)
        for value in values:
            if value != draft.leaves(overwriting) and evidence.written_before(value, start):
                last = evidence.last_production(value, end)
                if last < draft.start[overwriting]:
                    return _with_answers(
                        draft, {read: value}, "returned a value overwritten before"
                    )
    return None


def lost_update(draft: Draft, random: Random) -> Alteration | None:
    """An acknowledged write or cas never took effect; all that follows sees the older value.

    Proven if some read shows the older value although it cannot have come back, or if a second
    cas took it away. `None` if nothing that was acknowledged changed the value.
    """
    evidence = Evidence(draft)
    _, states = replayed(draft, draft.effects)
    tried, unproven, most = 0, -1, -1
    for place in _late_first(range(len(draft.effects)), random):
        row, older = draft.effects[place], states[place]
        if draft.function[row] == READ or draft.type[row] != OK or draft.leaves(row) == older:
            continue
        seers = list(_seers(draft, states, place))
        late = [read for read in seers
                if _is_read(draft, read) and draft.start[read] > draft.completion[row]]  # fmt: skip
        if len(late) > most:
            unproven, most = place, len(late)
        twice = (
            draft.function[row] == CAS
            and evidence.productions(older) == 1
            and any(draft.type[other] == FAIL and draft.value[other] == older for other in seers)
        )
        if twice or any(evidence.refutes(read, older) for read in late):
            altered = _without_effect(draft, place)
            if Evidence(altered).refutes_any():
                return Alteration(draft=altered, rows=(row,), proven=True, what=_NO_EFFECT)
            tried += 1
        if tried >= _TRIES:
            break
    if unproven < 0:
        return None
    return Alteration(draft=_without_effect(draft, unproven), rows=(draft.effects[unproven],),
                      proven=False, what=_NO_EFFECT)  # fmt: skip


def swapped_cas(draft: Draft, random: Random) -> Alteration | None:
    """Of two overlapping cas the one that succeeded answers `fail`, the other one `ok`.

    Proven if the one cannot have found what it claims, or if what the other one wrote was seen
    although nobody wrote it.
    """
    evidence = Evidence(draft)
    _, states = replayed(draft, draft.effects)
    place_of = {row: place for place, row in enumerate(draft.effects)}
    tried, unproven = 0, None
    winners = [row for row in _writers(draft) if draft.function[row] == CAS]
    for winner in _late_first(winners, random):
        readers = [row for row in _seers(draft, states, place_of[winner]) if _is_read(draft, row)]
        for loser in _overlapping_failed_cas(draft, winner):
            swap = {winner: FAIL, loser: OK}
            unproven = swap if unproven is None else unproven
            value = draft.leaves(winner)
            if evidence.refutes(loser, draft.value[loser]) or any(
                evidence.refutes(read, value, without=winner) for read in readers
            ):
                altered = _with_types(draft, swap)
                if Evidence(altered).refutes_any():
                    return Alteration(draft=altered, rows=tuple(swap), proven=True,
                                      what=_EACH_OTHERS)  # fmt: skip
                tried += 1
        if tried >= _TRIES:
            break
    if unproven is None:
        return None
    return Alteration(draft=_with_types(draft, unproven), rows=tuple(unproven), proven=False,
                      what=_EACH_OTHERS)  # fmt: skip


def write_returns(draft: Draft, random: Random) -> Alteration | None:
    """A crashed write takes effect, is read, overwritten, and takes effect again long after.

    `None` if no write crashed. Proven if nobody else can have written the value either time.
    """
    evidence = Evidence(draft)
    crashed = [row for row in range(len(draft))
               if draft.type[row] == INFO and draft.function[row] == WRITE]  # fmt: skip
    unproven = None
    tried = 0
    for row in _shuffled(crashed, random):
        value = draft.value[row]
        after = [read for read in _reads(draft) if draft.start[read] > draft.start[row]]
        if len(after) > 1 and unproven is None:
            unproven = (row, after[0], after[len(after) * 9 // 10])
        # Reads that could have the value from this write alone, each time.
        once = [read for read in after if evidence.refutes(read, value, without=row)]
        first = min(once, key=lambda read: draft.completion[read], default=-1)
        if first == -1:
            continue
        again = [
            read
            for read in once
            if evidence.refutes(read, value, without=row, after=draft.completion[first])
        ]
        for late in _late_first(again, random):
            if tried >= _TRIES:
                break
            altered = _twice(draft, row, first, late)
            if Evidence(altered).refutes_once(row):
                return Alteration(draft=altered, rows=(row, late), proven=True, what=_CAME_BACK)
            tried += 1
    if unproven is None:
        return None
    row, first, late = unproven
    altered = _twice(draft, row, first, late)
    return Alteration(draft=altered, rows=(row, late), proven=False, what=_CAME_BACK)


def new_old_new(draft: Draft, random: Random) -> Alteration | None:
    """Reads one after another see a new value, an older one, then newer ones again.

    No acknowledged write stands between (`stale_read` is that): the reads alone give it away.
    """
    evidence, by_writes = Evidence(draft), Evidence(draft, reads_witness=False)
    unproven = None
    few = evidence.values()
    reads = _reads(draft)
    for read in _late_first(reads, random):
        values = list(few) if len(few) <= 20 else _values_lately(draft, read, 100)
        random.shuffle(values)
        for value in values:
            start = draft.start[read]
            if value == draft.answer[read] or not evidence.written_before(value, start):
                continue
            unproven = {read: value} if unproven is None else unproven
            newer = (after for after in reads[bisect_left(reads, read) :]
                     if draft.start[after] > draft.completion[read]
                     and draft.answer[after] != value)  # fmt: skip
            by_reads_alone = evidence.refutes(read, value) and not by_writes.refutes(read, value)
            if by_reads_alone and next(newer, None) is not None:
                return _with_answers(draft, {read: value}, _WENT_BACK)
    if unproven is None:
        return None
    return replace(_with_answers(draft, unproven, _WENT_BACK), proven=False)


def reordered_reads(draft: Draft, random: Random) -> Alteration | None:
    """Two reads, the second invoked after the first returned, have each other's answer.

    Where it is proven, each of them alone could be right: only their order is wrong.
    """
    evidence, by_writes = Evidence(draft), Evidence(draft, reads_witness=False)
    unproven = None
    reads = _reads(draft)
    for first in _late_first(reads, random):
        place = bisect_left(reads, first)
        for second in reads[place + 1 : place + 1 + _NEAR]:
            old, new = draft.answer[first], draft.answer[second]
            if old == new or draft.start[second] < draft.completion[first]:
                continue
            swap = {first: new, second: old}
            unproven = swap if unproven is None else unproven
            # The first read is the witness that the old value was gone.
            gone = evidence.last_production(old, draft.end(second)) < draft.start[first]
            alone = evidence.refutes(first, new) or by_writes.refutes(second, old)
            if gone and not alone:
                return _with_answers(draft, swap, _EACH_OTHERS)
    if unproven is None:
        return None
    return replace(_with_answers(draft, unproven, _EACH_OTHERS), proven=False)


FAULTS: dict[Fault, Callable[[Draft, Random], Alteration | None]] = {
    Fault.STALE_READ: stale_read,
    Fault.LOST_UPDATE: lost_update,
    Fault.SWAPPED_CAS: swapped_cas,
    Fault.WRITE_RETURNS: write_returns,
    Fault.NEW_OLD_NEW: new_old_new,
    Fault.REORDERED_READS: reordered_reads,
}


def _late_first(
    items: Sequence[int], random: Random, *, at_most: int | None = None, backwards: bool = False
) -> Iterator[int]:
    """Go through the later part (but not the very end) at random, then through the earlier part."""
    low, high = int(len(items) * 0.55), int(len(items) * 0.95)
    yield from _shuffled(items[low:high], random)[:at_most]
    yield from items[:low][::-1] if backwards else _shuffled(items[:low], random)


def _shuffled(items: Sequence[int], random: Random) -> list[int]:
    mixed = list(items)
    random.shuffle(mixed)
    return mixed


def _is_read(draft: Draft, row: int) -> bool:
    return draft.function[row] == READ and draft.type[row] == OK


def _reads(draft: Draft) -> list[int]:
    return [row for row in range(len(draft)) if _is_read(draft, row)]


def _writers(draft: Draft) -> list[int]:
    """Return the acknowledged writes and the cas that succeeded."""
    return [row for row in range(len(draft))
            if draft.type[row] == OK and draft.function[row] != READ]  # fmt: skip


def _values_lately(draft: Draft, row: int, rows: int) -> list[int]:
    """Return what acknowledged operations wrote in the rows before."""
    return [draft.leaves(other) for other in range(max(0, row - rows), row)
            if draft.type[other] == OK and draft.function[other] != READ]  # fmt: skip


def _seers(draft: Draft, states: list[int], place: int) -> Iterator[int]:
    """Go through the rows that took effect on what the effect at this place left, unchanged."""
    value = draft.leaves(draft.effects[place])
    for later in range(place + 1, len(draft.effects)):
        if states[later] != value:
            return
        yield draft.effects[later]


def _without_effect(draft: Draft, place: int) -> Draft:
    return replayed(draft, draft.effects[:place] + draft.effects[place + 1 :])[0]


def _overlapping_failed_cas(draft: Draft, row: int) -> list[int]:
    """Return the failed cas that overlap this row, nearest invocation first.

    Looks no further back than as many rows as there were events while it was open: one that was
    invoked long before and is still open is not a likely pair.
    """
    start, end = draft.start[row], draft.completion[row]
    near = range(max(0, row - (end - start)), min(len(draft), row + (end - start)))
    found = [other for other in near
             if draft.function[other] == CAS and draft.type[other] == FAIL
             and draft.start[other] < end and draft.completion[other] > start]  # fmt: skip
    return sorted(found, key=lambda other: (abs(other - row), other))


def _twice(draft: Draft, row: int, first: int, late: int) -> Draft:
    """Return the history in which this row takes effect just before either read does."""
    effects: list[int] = []
    for other in draft.effects:
        if other in (first, late):
            effects.append(row)
        if other != row:
            effects.append(other)
    return replayed(draft, effects)[0]


def _with_answers(draft: Draft, answers: dict[int, int], what: str) -> Alteration:
    answer = list(draft.answer)
    for row, value in answers.items():
        answer[row] = value
    return Alteration(draft=replace(draft, answer=answer), rows=tuple(answers), proven=True,
                      what=what)  # fmt: skip


def _with_types(draft: Draft, types: dict[int, int]) -> Draft:
    kind = list(draft.type)
    for row, outcome in types.items():
        kind[row] = outcome
    return replace(draft, type=kind)
