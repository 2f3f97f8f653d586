"""Histories of transactions: a short way to write them, systems that make them, a judge.

Rules of this file:
- Everything random comes from one `Random`: a seed repeats a history.
- `history_of` reads one transaction a string, ``"0@1-5 ax1 ry[2 3] | ok"``: process, times of
  invocation and completion, micro-operations (``ax1`` appends 1 to x, ``ry[..]`` reads a list, ``wx1``
  and ``rx1`` are of registers, ``rx_`` reads null), outcome.
- The systems (`serial`, `stale`, `snapshot`, `read_committed`, `chaos`) are as plain as can be: each
  isolation in the words of its definition.
- The judge (`has_order`) tries all orders of all transactions that may have taken part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from checker.history import Event, EventType, History, Operation

Micro = list[Any]
_MICRO = re.compile(r"(a|w|r)([a-z])(\[[^]]*\]|_|-?\d+|)")


def micros_of(text: str) -> list[Micro]:
    """Read micro-operations."""
    found: list[Micro] = []
    for kind, key, said in _MICRO.findall(text):
        value: Any = None
        if said.startswith("["):
            value = [int(each) for each in said[1:-1].split()]
        elif said not in ("", "_"):
            value = int(said)
        found.append([{"a": "append", "w": "w", "r": "r"}[kind], key, value])
    return found


def asked(micros: Sequence[Micro]) -> list[Micro]:
    """Return what was asked: reads without their results."""
    return [[f, k, None if f == "r" else v] for f, k, v in micros]


def history_of(*lines: str) -> History:
    """Return the history of these transactions, one after the other where no times are given."""
    events: list[tuple[int, int, int, str, Any]] = []
    for place, line in enumerate(lines):
        said, _, outcome = (part.strip() for part in line.partition("|"))
        who, _, text = said.partition(" ")
        process, _, times = who.partition("@")
        begin, _, end = times.partition("-")
        first, last = (int(begin), int(end)) if end else (2 * place, 2 * place + 1)
        micros = micros_of(text)
        kind = outcome or "ok"
        answered = micros if kind == "ok" else asked(micros)
        events.append((first, place, int(process), "invoke", asked(micros)))
        events.append((last, place, int(process), kind, answered))
    events.sort(key=lambda event: event[:2])
    return events_of([event[2:] for event in events])


def events_of(events: Sequence[tuple[int, str, Any]]) -> History:
    """Return a history of (process, type, value)."""
    return History(tuple(
        Event(index=i, process=process, type=EventType(kind), f="txn", value=value)
        for i, (process, kind, value) in enumerate(events)
    ))  # fmt: skip


# --- systems


@dataclass(slots=True)
class _Running:
    """A transaction under way."""

    process: int
    micros: list[Micro]
    done: list[Micro] = field(default_factory=list)
    began: int = 0
    snapshot: dict[str, Any] = field(default_factory=dict)
    own: dict[str, list[Any]] = field(default_factory=dict)
    locks: set[str] = field(default_factory=set)


class System:
    """A store of lists or registers, one isolation level; `states` are all committed ones so far."""

    def __init__(self, rng: Random, isolation: str, workload: str) -> None:
        self.rng = rng
        self.isolation = isolation
        self.is_list = workload == "list-append"
        self.states: list[dict[str, Any]] = [{}]
        self.locked: dict[str, int] = {}
        self.dirty: dict[str, Any] = {}
        self.last_seen: dict[int, int] = {}

    def begin(self, txn: _Running) -> None:
        txn.began = len(self.states) - 1
        if self.isolation == "stale" and all(f == "r" for f, _, _ in txn.micros):
            # Never back behind what the process saw or wrote.
            txn.began = self.rng.randint(self.last_seen.get(txn.process, 0), txn.began)
        txn.snapshot = self.states[txn.began]

    def _merged(self, state: dict[str, Any], key: str, own: list[Any]) -> Any:
        if self.is_list:
            return [*state.get(key, ()), *own]
        return own[-1] if own else state.get(key)

    def step(self, txn: _Running) -> bool:
        """Do the next micro-operation; false: give up (a lock is held)."""
        f, key, value = txn.micros[len(txn.done)]
        if self.isolation == "chaos":
            if f == "r":
                value = self._merged(self.dirty, key, [])
            else:
                self.dirty[key] = self._merged(self.dirty, key, [value])
            txn.done.append([f, key, value])
            return True
        own = txn.own.get(key, [])
        if f == "r":
            latest = self.isolation == "read-committed"
            value = self._merged(self.states[-1] if latest else txn.snapshot, key, own)
        else:
            if self.isolation == "read-committed":
                if self.locked.get(key, txn.process) != txn.process:
                    return False
                self.locked[key] = txn.process
                txn.locks.add(key)
            txn.own[key] = [*own, value]
        txn.done.append([f, key, value])
        return True

    def end(self, txn: _Running, *, keep: bool) -> bool:
        """Commit if that can be and is wanted; return whether it was."""
        for key in txn.locks:
            del self.locked[key]
        if not keep:
            return False
        since = self.states[txn.began :]
        now = since[-1]
        if self.isolation == "snapshot" and any(
            since[0].get(key) != now.get(key) for key in txn.own
        ):
            return False
        if self.isolation in ("serial", "stale") and txn.own:
            seen = {k for _, k, _ in txn.micros}
            if any(since[0].get(key) != now.get(key) for key in seen):
                return False
        changed = {key: self._merged(now, key, own) for key, own in txn.own.items()}
        if changed:
            self.states.append(now | changed)
            self.last_seen[txn.process] = len(self.states) - 1
        else:
            self.last_seen[txn.process] = max(self.last_seen.get(txn.process, 0), txn.began)
        return True


def simulate(
    rng: Random,
    isolation: str,
    workload: str,
    *,
    txns: int,
    processes: int = 3,
    keys: str = "xy",
    length: int = 3,
    crashes: float = 0.1,
) -> History:
    """Run transactions on a system and record what a client sees."""
    system = System(rng, isolation, workload)
    events: list[tuple[int, str, Any]] = []
    running: dict[int, _Running] = {}
    names = list(range(processes))
    write = "append" if workload == "list-append" else "w"
    value = 0
    begun = 0
    while begun < txns or running:
        if begun < txns and len(running) < processes and (not running or rng.random() < 0.5):
            place = rng.choice([p for p in range(processes) if p not in running])
            micros: list[Micro] = []
            for _ in range(rng.randint(1, length)):
                key = rng.choice(keys)
                if rng.random() < 0.5:
                    value += 1
                    micros.append([write, key, value])
                else:
                    micros.append(["r", key, None])
            events.append((names[place], "invoke", micros))
            running[place] = _Running(names[place], micros)
            system.begin(running[place])
            begun += 1
            continue
        place = rng.choice(sorted(running))
        txn = running[place]
        if len(txn.done) < len(txn.micros):
            if system.step(txn):
                continue
            system.end(txn, keep=False)
            events.append((txn.process, "fail", txn.micros))
            del running[place]
            continue
        lost = rng.random() < crashes
        kept = system.end(txn, keep=not lost or rng.random() < 0.5)
        del running[place]
        if lost:
            events.append((txn.process, "info", txn.micros))
            names[place] = max(names) + 1
        elif kept:
            events.append((txn.process, "ok", txn.done))
        else:
            events.append((txn.process, "fail", txn.micros))
    return events_of(events)


def mutated(rng: Random, history: History) -> History:
    """Change a read or two, or an outcome: whatever comes of it."""
    events = [[event.process, event.type.value, event.value] for event in history.events]
    for _ in range(rng.randint(1, 2)):
        chosen = rng.choice(events)
        if chosen[1] == "invoke":
            continue
        if rng.random() < 0.2:
            chosen[2] = asked(chosen[2])
            chosen[1] = "fail"
            continue
        micros = [list(micro) for micro in chosen[2]]
        reads = [micro for micro in micros if micro[0] == "r" and chosen[1] == "ok"]
        if reads:
            read = rng.choice(reads)
            if isinstance(read[2], list):
                held = list(read[2])
                change = rng.randrange(4)
                if change == 0 and held:
                    held.pop(rng.randrange(len(held)))
                elif change == 1:
                    rng.shuffle(held)
                elif change == 2:
                    held.append(rng.randint(1, 9))
                else:
                    held = held[:-1]
                read[2] = held
            else:
                read[2] = rng.choice([None, *range(1, 9)])
        chosen[2] = micros
    return events_of([(process, kind, value) for process, kind, value in events])


# --- the judge

Before = Callable[[Operation, Operation], bool]


def in_real_time(a: Operation, b: Operation) -> bool:
    """Whether a was over before b began."""
    return a.end is not None and a.end < b.start


def in_process(a: Operation, b: Operation) -> bool:
    """Whether one process ran a before b."""
    return a.invocation.process == b.invocation.process and a.start < b.start


def in_no_order(_a: Operation, _b: Operation) -> bool:
    """Serializability asks for no order."""
    return False


def has_order(history: History, before: Before) -> bool:
    """Whether some serial order explains all ok transactions, with some of the info ones."""
    operations = [op for op in history.operations() if op.type is not EventType.FAIL]
    must = [op.type is EventType.OK for op in operations]
    micros = [op.output if ok else op.input for op, ok in zip(operations, must, strict=True)]
    earlier = [
        {j for j, other in enumerate(operations) if before(other, op) and must[j]}
        for op in operations
    ]
    later = [{j for j, other in enumerate(operations) if before(op, other)} for op in operations]
    tried: set[tuple[frozenset[int], tuple[Any, ...]]] = set()

    def after(state: dict[str, Any], which: int) -> dict[str, Any] | None:
        state = dict(state)
        for f, key, value in micros[which]:
            if f == "append":
                state[key] = (*state.get(key, ()), value)
            elif f == "w":
                state[key] = value
            elif must[which]:
                held = state.get(key)
                held = list(held) if isinstance(held, tuple) else held
                if (held or None) != (value or None):
                    return None
        return state

    def go(done: frozenset[int], state: dict[str, Any]) -> bool:
        if all(n in done for n, needed in enumerate(must) if needed):
            return True
        mark = (done, tuple(sorted(state.items())))
        if mark in tried:
            return False
        tried.add(mark)
        for n in range(len(operations)):
            if n in done or not earlier[n] <= done or later[n] & done:
                continue
            then = after(state, n)
            if then is not None and go(done | {n}, then):
                return True
        return False

    return go(frozenset(), {})
