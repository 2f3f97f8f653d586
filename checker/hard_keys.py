"""Histories of many independent keys: registers, or strings that are put and appended to.

    registers(KeyedShape(keys=1000, operations=10_000), seed=7)        # ten million operations
    key_values(KeyedShape(keys=10, values=None), seed=7, stale=(3,))   # key k3 is at fault

Rules of this file:
- Linearizable by construction, as in `checker.hard_simulation`: an operation takes effect at one
  instant while it is open, a crashed one at any time after its invocation or never.
- Every key has clients of its own; all keys are under way at the same time.
- Made for size: times are drawn as arrays, only the values are worked out one by one. The
  argument of a cas is chosen when it takes effect, mostly so that it succeeds.
- The one fault: a late read returns what an early one did. With unique values, which it needs, that
  is certainly not linearizable: what it returned was written once, and an acknowledged write
  that began after that one ended had ended before the read began.
- No clock, no global randomness, no disk.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from checker.columns import FAIL, INFO, NEVER, NULL_VALUE, OK, Bytes, Columns, Ints, Longs, Values
from checker.hard_simulation import CAS, FUNCTIONS, NIL, READ, WRITE, register_numbers

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

GET, PUT, APPEND = READ, WRITE, 2
KEY_VALUE_FUNCTIONS = ("get", "put", "append")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedShape:
    """Numbers of a history; `operations`, `clients` and `crashed` are those of each key.

    `values` is how many different values are written; `None`: no key is written a value twice.
    """

    keys: int = 100
    operations: int = 1000
    clients: int = 10
    crashed: int = 0
    values: int | None = 5


@dataclass(slots=True, kw_only=True)
class _Plan:
    """Who does what when: arrays of keys x operations; a row is an operation's place in its key."""

    shape: KeyedShape
    function: Longs
    client: Longs
    process: Longs
    start: Floats
    completion: Floats
    effect: Floats  # of one that never takes effect: its start
    crashed: Flags
    happens: Flags

    def in_order_of_effect(self, key: int) -> list[int]:
        """Return the rows of a key."""
        order: list[int] = np.argsort(self.effect[key], kind="stable").tolist()
        return order

    def in_order_of_invocation(self) -> Longs:
        """Return the operations of all keys."""
        return np.argsort(self.start.ravel(), kind="stable")


def registers(shape: KeyedShape, *, seed: int, stale: Collection[int] = ()) -> Columns:
    """Return reads, writes and cas of registers that are initially nil.

    In the keys whose numbers are in `stale` one late read is altered. Raises `ValueError` if that
    cannot be done so that it certainly shows.
    """
    rng = np.random.default_rng(seed)
    plan = _plan(shape, rng)
    size = (shape.keys, shape.operations)
    guesses_right = rng.random(size) < 0.7
    if shape.values is None:
        drawn = np.broadcast_to(np.arange(1, shape.operations + 1), size)
        expected = np.full(size, NIL)
    else:
        drawn = rng.integers(shape.values, size=size)
        expected = rng.integers(shape.values, size=size)
    types: Bytes = np.where(plan.crashed, INFO, OK).astype(np.int8)
    first, second, answer = np.full(size, NIL), np.full(size, NIL), np.full(size, NIL)
    for key in range(shape.keys):
        state, before, maker = NIL, NIL, NIL
        makers: dict[int, int] = {}
        function, happens = plan.function[key].tolist(), plan.happens[key].tolist()
        new, guess, right = drawn[key].tolist(), expected[key].tolist(), guesses_right[key].tolist()
        for row in plan.in_order_of_effect(key):
            f = function[row]
            if f == READ:
                answer[key, row] = state
                makers[row] = maker
                continue
            if f == CAS:
                compared = guess[row]
                if compared == NIL:
                    compared = state if right[row] else before
                if compared == NIL:  # nothing to compare with yet
                    plan.function[key, row] = f = WRITE
                else:
                    first[key, row], second[key, row] = compared, new[row]
            if f == WRITE:
                first[key, row] = new[row]
            elif compared != state:
                if types[key, row] == OK:
                    types[key, row] = FAIL
                continue
            if happens[row]:
                before, state, maker = state, new[row], row
        if key in stale:
            early, late = _stale_pair(plan, key, makers, WRITE)
            answer[key, late] = answer[key, early]
    order, values = plan.in_order_of_invocation(), Values()
    asked, told = register_numbers(
        values, *(array.ravel()[order] for array in (plan.function, first, second, answer))
    )
    return _columns(plan, order, types, asked, told, FUNCTIONS, values, f"<registers {seed}>")


def key_values(shape: KeyedShape, *, seed: int, stale: Collection[int] = ()) -> Columns:
    """Return gets, puts and appends of strings that are initially empty; `stale` as in `registers`."""
    rng = np.random.default_rng(seed)
    plan = _plan(shape, rng)
    size = (shape.keys, shape.operations)
    drawn = rng.integers(shape.values, size=size) if shape.values is not None else None
    types: Bytes = np.where(plan.crashed, INFO, OK).astype(np.int8)
    asked, told = np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int32)
    places: dict[str, int] = {}  # of all strings, as they come

    def place(text: str) -> int:
        return places.setdefault(text, len(places))

    for key in range(shape.keys):
        state, maker = "", NIL
        makers: dict[int, int] = {}
        function, happens = plan.function[key].tolist(), plan.happens[key].tolist()
        texts = _texts(plan, key, drawn)
        for row in plan.in_order_of_effect(key):
            if function[row] == GET:
                told[key, row] = place(state)
                makers[row] = maker
                continue
            text = texts[row]
            asked[key, row] = place(text)
            if happens[row]:
                state, maker = (text if function[row] == PUT else state + text), row
        if key in stale:
            early, late = _stale_pair(plan, key, makers, PUT)
            told[key, late] = told[key, early]
    order, values, texts = plan.in_order_of_invocation(), Values(), list(places)
    is_get = (plan.function == GET).ravel()[order]
    answered = is_get & (types == OK).ravel()[order]
    inputs = np.where(is_get, NIL, asked.ravel()[order])
    answers = np.where(answered, told.ravel()[order], NIL)
    # Numbers in order of appearance; the last place of the table is `NIL`'s.
    distinct, appears = np.unique(np.concatenate((inputs, answers)), return_index=True)
    table = np.full(len(texts) + 1, NULL_VALUE, dtype=np.int32)
    for number in distinct[appears.argsort()].tolist():
        if number != NIL:
            table[number] = values.number(texts[number])
    return _columns(plan, order, types, table[inputs], table[answers], KEY_VALUE_FUNCTIONS, values,
                    f"<key-values {seed}>")  # fmt: skip


def _plan(shape: KeyedShape, rng: np.random.Generator) -> _Plan:
    """Draw times: each client of a key goes round and round, waiting a little in between."""
    rounds = -(-shape.operations // shape.clients)
    grid = (shape.keys, rounds, shape.clients)
    flat = (shape.keys, rounds * shape.clients)
    crashed: Flags = np.zeros(flat, dtype=np.bool_)
    lots = rng.random((shape.keys, shape.operations)).argsort(axis=1)[:, : shape.crashed]
    np.put_along_axis(crashed, lots, values=True, axis=1)
    lasts = 0.2 + rng.exponential(1.0, size=flat) + 2.0 * crashed
    waits = 0.02 + 0.1 * rng.random(flat)
    begins = np.cumsum((lasts + waits).reshape(grid), axis=1).reshape(flat) - lasts
    effect = begins + lasts * rng.random(flat)
    late = begins + rng.exponential(1 / 0.3, size=flat)
    happens = ~crashed | (rng.random(flat) < 0.5)
    # A crashed operation's client goes on as another process.
    gone: Longs = np.cumsum(crashed.reshape(grid), axis=1).reshape(flat) - crashed
    client = np.tile(np.arange(shape.clients), rounds)[None, :] + np.zeros((shape.keys, 1), int)
    slot = client + shape.clients * np.arange(shape.keys)[:, None]
    kept = slice(0, shape.operations)
    return _Plan(
        shape=shape,
        function=rng.integers(3, size=(shape.keys, shape.operations)),
        client=client[:, kept],
        process=(slot + gone * shape.keys * shape.clients)[:, kept],
        start=begins[:, kept],
        completion=(begins + lasts)[:, kept],
        effect=np.where(happens, np.where(crashed, late, effect), begins)[:, kept],
        crashed=crashed[:, kept],
        happens=happens[:, kept],
    )


def _texts(plan: _Plan, key: int, drawn: Longs | None) -> list[str]:
    """Return what each row puts or appends: its client and the how manieth of it that is."""
    if drawn is not None:
        return [f"v{value} " for value in drawn[key].tolist()]
    clients = plan.shape.clients
    return [
        f"x {client} {row // clients} y" for row, client in enumerate(plan.client[key].tolist())
    ]


def _stale_pair(plan: _Plan, key: int, makers: dict[int, int], overwrites: int) -> tuple[int, int]:
    """Return an early and a late read such that the late one cannot have the early one's answer.

    `makers`: for each read, in order of effect, the row that brought about what it saw.
    """
    if plan.shape.values is not None:
        raise ValueError("a stale read certainly shows only where values are unique")
    start, end, crashed = plan.start[key], plan.completion[key], plan.crashed[key]
    reads = [read for read in makers if not crashed[read]]
    writes = np.flatnonzero((plan.function[key] == overwrites) & ~crashed)
    for late in reads[len(reads) * 9 // 10 :]:
        for early in reads[len(reads) // 2 :]:
            maker = makers[early]
            if maker == NIL or crashed[maker]:
                continue
            if np.any((start[writes] > end[maker]) & (end[writes] < start[late])):
                return early, late
            break  # those that follow are later still
    raise ValueError(f"key {key} is too short for a read that is certainly stale")


def _columns(
    plan: _Plan, order: Longs, types: Bytes, asked: Ints, told: Ints, functions: tuple[str, ...],
    values: Values, source: str,
) -> Columns:  # fmt: skip
    """Put all keys' operations in order of invocation; a completion repeats what was asked.

    `asked` and `told` are in that order already.
    """
    count = plan.start.size
    positions = np.empty(2 * count, dtype=np.int64)
    times = np.concatenate((plan.start.ravel(), plan.completion.ravel()))
    positions[np.argsort(times, kind="stable")] = np.arange(2 * count)
    start, completion = positions[:count][order], positions[count:][order]
    function, kind = plan.function.ravel()[order], types.ravel()[order]
    output = np.where(function == READ, np.where(kind == OK, told, NULL_VALUE), asked)
    # Keys are numbered as they first appear.
    key = order // plan.shape.operations
    appear = plan.start.min(axis=1).argsort(kind="stable")
    place = np.empty(plan.shape.keys, dtype=np.int32)
    place[appear] = np.arange(plan.shape.keys)
    nothing = np.zeros(count, dtype=np.int32)
    never = np.full(count, NEVER, dtype=np.int64)
    return Columns(
        index=start,
        end_index=completion,
        process=plan.process.ravel()[order],
        type=kind,
        function=function.astype(np.int32),
        key=place[key],
        input=asked,
        output=output.astype(np.int32),
        start=start,
        end=np.where(kind == INFO, NEVER, completion),
        start_ns=never,
        end_ns=never,
        node=nothing,
        error=nothing,
        functions=functions,
        keys=tuple(f"k{number}" for number in appear.tolist()),
        nodes=(None,),
        errors=(None,),
        values=values,
        source=source,
    )
