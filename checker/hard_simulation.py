"""A simulated register under concurrent clients: where hard histories come from.

Rules of this file:
- Every operation takes effect at one instant between invocation and answer, so a history is
  linearizable by construction, in the order `Draft.effects`. A crashed one takes effect at any
  time after its invocation, or never; its client goes on under a fresh process number.
- Everything follows from one seed, and which random numbers are drawn in which order is part of
  the contract: published times of other checkers are about exactly these histories. A test holds
  recorded ones.
- A draft holds lists, because faults alter it (`checker.hard_faults`); what is handed out is
  `Columns`. No clock, no global randomness, no disk.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from checker.columns import FAIL, INFO, NEVER, NULL_VALUE, OK, Columns, Ints, Longs, Values

READ, WRITE, CAS = 0, 1, 2
FUNCTIONS = ("read", "write", "cas")
NIL = -1  # in a draft: the value of a register that was never written, and "no value"
FOREVER = 1 << 60

_INVOKE, _TAKE_EFFECT, _COMPLETE = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What kind of history: `crashed` of the operations never answer.

    `values` is how many different values are written; `None` makes every written value unique.
    """

    operations: int = 1000
    clients: int = 10
    crashed: int = 0
    values: int | None = 5


@dataclass(slots=True, kw_only=True)
class Draft:
    """A history in the making: one list a property, one place (row) an operation.

    `value` is what is written or compared with, `new_value` what a cas sets, `answer` what an
    acknowledged read returned. `start` and `completion` are positions of events. `effects` lists
    rows in the order in which they took effect.
    """

    function: list[int] = field(default_factory=list)
    value: list[int] = field(default_factory=list)
    new_value: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    type: list[int] = field(default_factory=list)
    process: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    completion: list[int] = field(default_factory=list)
    effects: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.function)

    def end(self, row: int) -> int:
        """Return the last position at which the operation may take effect."""
        return FOREVER if self.type[row] == INFO else self.completion[row]

    def leaves(self, row: int) -> int:
        """Return the value that a write, or a cas that succeeds, leaves behind."""
        return self.new_value[row] if self.function[row] == CAS else self.value[row]

    def needs(self, row: int) -> int | None:
        """Return the value that must be there for what the client was told, `None` for any."""
        if self.type[row] != OK or self.function[row] == WRITE:
            return None
        return self.value[row] if self.function[row] == CAS else self.answer[row]


def simulate(shape: Shape, seed: int) -> Draft:
    """Return a linearizable history of reads, writes and compare-and-sets, one third each."""
    random = Random(seed)
    crashing = set(random.sample(range(shape.operations), shape.crashed))
    draft = Draft()
    function, value, new_value = draft.function, draft.value, draft.new_value
    answer, kind, completion = draft.answer, draft.type, draft.completion
    state, fresh, events = NIL, 1, 0
    client_of: list[int] = []
    seen = [NIL] * shape.clients  # the last value each client knows of
    process = list(range(shape.clients))
    agenda: list[tuple[float, int, int, int]] = []  # time, tie-breaker, what, client or row
    pushed = 0

    def at(time: float, what: int, who: int) -> None:
        nonlocal pushed
        heapq.heappush(agenda, (time, pushed, what, who))
        pushed += 1

    for client in range(shape.clients):
        at(random.random(), _INVOKE, client)
    while agenda:
        now, _, what, row = heapq.heappop(agenda)
        if what == _INVOKE:
            client, row = row, len(function)
            if row >= shape.operations:
                continue
            f = random.choice((READ, WRITE, CAS))
            first = second = NIL
            if f != READ and shape.values is not None:
                first = random.randrange(shape.values)
                second = random.randrange(shape.values) if f == CAS else NIL
            elif f == CAS:
                # Mostly an up-to-date guess; nothing to compare with makes it a write.
                first = state if random.random() < 0.7 else seen[client]
                if first == NIL:
                    f, first = WRITE, fresh
                else:
                    second = fresh
                fresh += 1
            elif f == WRITE:
                first, fresh = fresh, fresh + 1
            function.append(f)
            value.append(first)
            new_value.append(second)
            answer.append(NIL)
            completion.append(NEVER)
            client_of.append(client)
            draft.process.append(process[client])
            draft.start.append(events)
            events += 1
            lasts = 0.2 + random.expovariate(1.0)
            if row in crashing:
                kind.append(INFO)
                if random.random() < 0.5:
                    at(now + random.expovariate(0.3), _TAKE_EFFECT, row)
                at(now + lasts + 2, _COMPLETE, row)
            else:
                kind.append(OK)
                at(now + lasts * random.random(), _TAKE_EFFECT, row)
                at(now + lasts, _COMPLETE, row)
        elif what == _TAKE_EFFECT:
            draft.effects.append(row)
            f = function[row]
            if f == READ:
                answer[row] = state
            elif f == WRITE:
                state = value[row]
            elif state == value[row]:
                state = new_value[row]
            elif kind[row] == OK:
                kind[row] = FAIL
        else:
            client = client_of[row]
            completion[row] = events
            events += 1
            if kind[row] == INFO:
                process[client] += shape.clients
            elif function[row] == READ:
                seen[client] = answer[row]
            elif kind[row] == OK:
                seen[client] = draft.leaves(row)
            at(now + 0.02 + random.random() * 0.1, _INVOKE, client)
    return draft


def replayed(draft: Draft, effects: list[int]) -> tuple[Draft, list[int]]:
    """Return the history as it is if operations take effect in this order, and every state.

    The states are those just before each effect. The same calls at the same times; answers and
    outcomes follow. Operations may be missing (acknowledged all the same) or be there twice.
    """
    answer, kind = [NIL] * len(draft), list(draft.type)
    states: list[int] = []
    state = NIL
    for row in effects:
        states.append(state)
        f = draft.function[row]
        if f == READ:
            answer[row] = state
        elif f == WRITE:
            state = draft.value[row]
        else:
            agrees = state == draft.value[row]
            if agrees:
                state = draft.new_value[row]
            if kind[row] != INFO:
                kind[row] = OK if agrees else FAIL
    return replace(draft, answer=answer, type=kind, effects=effects), states


def columns_of_draft(draft: Draft, *, source: str) -> Columns:
    """Return the history as columns: values are the draft's, nil is null, completions repeat them."""
    values = Values()
    function, kind = _longs(draft.function), _longs(draft.type)
    asked, answers = register_numbers(
        values, function, _longs(draft.value), _longs(draft.new_value), _longs(draft.answer)
    )
    completion = _longs(draft.completion)
    nothing = np.zeros(len(draft), dtype=np.int32)
    never = np.full(len(draft), NEVER, dtype=np.int64)
    told = np.where(kind == OK, answers, NULL_VALUE)
    return Columns(
        index=_longs(draft.start),
        end_index=completion,
        process=_longs(draft.process),
        type=kind.astype(np.int8),
        function=function.astype(np.int32),
        key=nothing,
        input=asked,
        output=np.where(function == READ, told, asked).astype(np.int32),
        start=_longs(draft.start),
        end=np.where(kind == INFO, NEVER, completion),
        start_ns=never,
        end_ns=never,
        node=nothing,
        error=nothing,
        functions=FUNCTIONS,
        keys=(None,),
        nodes=(None,),
        errors=(None,),
        values=values,
        source=source,
    )


def register_numbers(
    values: Values, function: Longs, first: Longs, second: Longs, answer: Longs
) -> tuple[Ints, Ints]:
    """Return the numbers of what was asked and of what reads were answered; `NIL` is null."""
    rows = zip(function.tolist(), first.tolist(), second.tolist(), strict=True)
    asked = values.numbers(
        None if f == READ else one if f == WRITE else [one, two] for f, one, two in rows
    )
    told = values.numbers(None if value == NIL else value for value in answer.tolist())
    return asked, told


def _longs(numbers: Iterable[int]) -> Longs:
    return np.array(numbers, dtype=np.int64)
