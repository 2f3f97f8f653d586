"""What a check of transactions finds: edges with their reasons, cycles of them, and the rest.

Rules of this file:
- An anomaly is evidence, not an opinion: everything it names can be looked up in the history
  (`checker.transactions.verify` does). Transactions are named by the index of their invocation.
- The kinds of dependencies are Adya's (PhD thesis, MIT 1999, section 3.1: ww, wr, rw), and what
  the order of a process or of real time adds.
- The name of a cycle follows from its edges alone (`cycle_name`): how many rw edges there are and
  whether two of them meet, whether there is a wr edge, and what order beyond data was used.
- Pure; imports nothing, so that the verifier may use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WW, WR, RW, PROCESS, REALTIME = "ww", "wr", "rw", "process", "realtime"
KINDS = (WW, WR, RW, PROCESS, REALTIME)
CYCLES = ("G0", "G1c", "G-single", "G-nonadjacent", "G2-item")
VARIANTS = ("", "-process", "-realtime")

# One line each, for reports and docs/transactions.md.
MEANINGS = {
    "G0": "a cycle of writes: two transactions' writes interleave",
    "G1a": "a read of what an aborted transaction wrote",
    "G1b": "a read of a state that its writer overwrote before it committed",
    "G1c": "a cycle of writes and reads: information flows in a circle",
    "G-single": "a cycle with exactly one anti-dependency (rw): read skew and its relatives",
    "G-nonadjacent": "a cycle with several anti-dependencies (rw), no two of them in a row",
    "G2-item": "a cycle with two anti-dependencies (rw) in a row: write skew and its relatives",
    "lost-update": "several transactions read one version of a key and all wrote that key",
    "internal": "a read that contradicts what its own transaction read or wrote before",
    "dirty-update": "a committed write on top of an aborted one",
    "incompatible-order": "two reads of a list of which neither is a prefix of the other",
    "duplicate-elements": "a list that holds one append twice",
    "future-read": "a read of what its own transaction writes only later",
    "cyclic-versions": "versions of a register that must come before themselves",
    "garbage-read": "a read of a value that nobody wrote",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Why `source` comes before `target`: both are indexes of invocations.

    Of the data's edges: `key`, and the values that show it. wr: `value` was written by source and
    seen by target. ww: source wrote `value`, target the later `next_value`. rw: source read `value`
    (a register's; of a list the last element, null if it was empty), target wrote the later
    `next_value`. `because` says how a register's versions are known to be in that order:
    ``("initial",)``, ``("wfr",)``, ``("sequential", a, b)``, ``("linearizable", a, b)`` where a and
    b are the transactions that touched the versions one after the other.
    """

    source: int
    target: int
    kind: str
    key: Any = None
    value: Any = None
    next_value: Any = None
    because: tuple[Any, ...] = ()

    def in_words(self) -> str:
        """Return the reason as a sentence."""
        a, b = f"T{self.source}", f"T{self.target}"
        if self.kind == REALTIME:
            return f"{a} completed before {b} was invoked"
        if self.kind == PROCESS:
            return f"one process ran {a} before {b}"
        if self.kind == WR:
            return f"{b} saw {self.value!r} in key {self.key!r}, which {a} wrote"
        if self.kind == WW:
            said = (
                f"{b} wrote {self.next_value!r} to key {self.key!r} after {a} wrote {self.value!r}"
            )
        else:
            saw = f"up to {self.value!r}" if not self.because else repr(self.value)
            saw = "its initial state" if self.value is None else saw
            said = f"{a} read key {self.key!r} ({saw}) without {b}'s write of {self.next_value!r}"
        return said + _order_in_words(self.because)

    def to_json(self) -> dict[str, Any]:
        """Return this edge for ``--json``."""
        record: dict[str, Any] = {"from": self.source, "to": self.target, "kind": self.kind}
        if self.kind in (WW, WR, RW):
            record |= {"key": self.key, "value": self.value}
        if self.kind in (WW, RW):
            record["next_value"] = self.next_value
        if self.because:
            record["because"] = list(self.because)
        return record | {"reason": self.in_words()}


def _order_in_words(because: tuple[Any, ...]) -> str:
    if not because or because[0] in ("initial", "wfr"):
        return {(): "", ("initial",): "", ("wfr",): ", which overwrote it"}[because]
    how, first, second = because
    return f" ({how} keys: T{first} touched the one version before T{second} the other)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One anomaly. A cycle has `edges`, each beginning where the one before it ends.

    `transactions` are those involved: of a cycle in its order; else as the anomaly's sentence names
    them (a writer before its reader). `values` are those it is about (what was read, then what
    contradicts it). `is_shortest` (of a cycle): no shorter one of this name is in its component.
    `because` (of cyclic versions): why each value comes before the next one, as in `Edge`.
    """

    name: str
    transactions: tuple[int, ...]
    edges: tuple[Edge, ...] = ()
    key: Any = None
    values: tuple[Any, ...] = ()
    is_shortest: bool = False
    because: tuple[tuple[Any, ...], ...] = ()

    def in_words(self) -> list[str]:
        """Return what happened, one sentence a line."""
        if self.edges:
            return [edge.in_words() for edge in self.edges]
        return [_SENTENCES[self.name](self)]

    def to_json(self) -> dict[str, Any]:
        """Return this anomaly for ``--json``."""
        record: dict[str, Any] = {"name": self.name, "transactions": list(self.transactions)}
        if self.edges:
            record |= {"is_shortest": self.is_shortest}
            record["edges"] = [edge.to_json() for edge in self.edges]
        else:
            record |= {"key": self.key, "values": list(self.values)}
        return record | {"words": self.in_words()}


def _names(transactions: Sequence[int]) -> str:
    return ", ".join(f"T{index}" for index in transactions)


_SENTENCES = {
    "G1a": lambda a: f"T{a.transactions[1]} read {a.values[0]!r} in key {a.key!r}, "
                     f"which T{a.transactions[0]} wrote and which failed",
    "G1b": lambda a: f"T{a.transactions[1]} read key {a.key!r} as T{a.transactions[0]} left it for "
                     f"a moment, at {a.values[0]!r}",
    "garbage-read": lambda a: f"T{a.transactions[0]} read {a.values[0]!r} in key {a.key!r}, "
                              "which nobody wrote",
    "internal": lambda a: f"T{a.transactions[0]} read {a.values[0]!r} of key {a.key!r}, but what it "
                          f"did before lets it expect {a.values[1]!r}",
    "future-read": lambda a: f"T{a.transactions[0]} read {a.values[0]!r} in key {a.key!r} "
                             "before it wrote that",
    "duplicate-elements": lambda a: f"T{a.transactions[0]} read key {a.key!r} with "
                                    f"{a.values[0]!r} in it more than once",
    "incompatible-order": lambda a: f"T{a.transactions[0]} read {a.values[0]!r} of key {a.key!r}, "
                                    f"T{a.transactions[1]} read {a.values[1]!r}",
    "dirty-update": lambda a: f"key {a.key!r} holds {a.values[1]!r} of T{a.transactions[1]} on top "
                              f"of {a.values[0]!r} of T{a.transactions[0]}, which failed",
    "lost-update": lambda a: f"{_names(a.transactions)} all read key {a.key!r} at {a.values[0]!r} "
                             "and wrote it",
    "cyclic-versions": lambda a: f"the values {', '.join(map(repr, a.values))} of key {a.key!r} "
                                 f"each come before the next, in a circle ({_names(a.transactions)})",
}  # fmt: skip


def cycle_name(kinds: Sequence[str]) -> str:
    """Return what a cycle with edges of these kinds, in this order, is called.

    Raises `ValueError` for a cycle without any edge of data: time alone has none.
    """
    count = kinds.count(RW)
    if count == 1:
        base = "G-single"
    elif count > 1:
        meet = any(a == b == RW for a, b in zip(kinds, [*kinds[1:], kinds[0]], strict=True))
        base = "G2-item" if meet else "G-nonadjacent"
    elif WR in kinds:
        base = "G1c"
    elif WW in kinds:
        base = "G0"
    else:
        raise ValueError("a cycle without an edge of data")
    return base + ("-realtime" if REALTIME in kinds else "-process" if PROCESS in kinds else "")
