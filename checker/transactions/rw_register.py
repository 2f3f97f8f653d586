"""Registers that are read and written: an order of versions has to be inferred.

Rules of this file:
- Every written value is written once, so a read shows who wrote it: wr. Which version came after
  which is known only from (Kingsbury & Alvaro, VLDB 2020, section 5; all after the same idea that
  what a transaction overwrites is what it read):
  *initial*: null, which nobody writes, comes before every value;
  *wfr*, writes follow reads: what a transaction read of a key comes before what it then wrote there;
  *sequential keys*, *linearizable keys* (only if asked for: an assumption on the system): if one
  process, or real time, has transaction p before q, the last version that p touched comes
  before the first that q did.
- Versions that come before themselves are reported; edges between versions of such a circle are left
  out, for they prove nothing more.
- Edges: ww and rw between who wrote (read) a version and who wrote a next one. Pure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from checker.columns import FAIL, INFO, NEVER, OK
from checker.transactions.anomaly import Anomaly, Edge
from checker.transactions.found import Findings
from checker.transactions.graph import WR, WW, Edges
from checker.transactions.list_findings import tell_lost_updates
from checker.transactions.micro import NULL_CODE, Flags, Longs, Transactions
from checker.transactions.versions import Orders
from checker.transactions.writes import NOBODY, Writes, writes_of


class RwRegister:
    """The analysis of a history of registers."""

    def __init__(
        self,
        txns: Transactions,
        *,
        wfr_keys: bool = True,
        sequential_keys: bool = False,
        linearizable_keys: bool = False,
    ) -> None:
        self.txns = txns
        self.edges = Edges()
        self.findings = Findings()
        self.writes: Writes = writes_of(txns)
        self.rows = self.writes.rows
        known = ~txns.is_write & (txns.length != NEVER) & ~self.writes.ambiguous[txns.key]
        self.reads = np.flatnonzero(known)
        code = txns.code[self.reads]
        self.read_write = self.writes.find(txns.key[self.reads], code)
        self.is_null = code == NULL_CODE
        self._mark_live()
        self._tell()
        self.orders = Orders(self, wfr=wfr_keys, sequential=sequential_keys,
                             linearizable=linearizable_keys)  # fmt: skip
        self.orders.tell_cycles(self.findings)
        self._draw()

    def ambiguous_keys(self) -> list[Any]:
        """Return the keys that were set aside."""
        return [self.txns.keys[key] for key in np.flatnonzero(self.writes.ambiguous)]

    def _mark_live(self) -> None:
        self.took_part = self.txns.type == OK
        seen = self.read_write[self.read_write != NOBODY]
        shown = self.writes.writer[seen] if len(seen) else seen
        self.took_part[shown[self.txns.type[shown] == INFO]] = True

    def _index(self, micro: int) -> int:
        return int(self.txns.index[self.rows[micro]])

    def _tell(self) -> None:
        txns, writes = self.txns, self.writes
        place = self.read_write
        written = np.where(place == NOBODY, 0, place)
        wrote = writes.micro[written] if len(writes.micro) else written
        by_other = (place != NOBODY) & (self.rows[wrote] != self.rows[self.reads])
        failed = by_other & (txns.type[self.rows[wrote]] == FAIL)
        self._add_reads("G1a", failed, wrote)
        self._add_reads("G1b", by_other & self._overwritten(wrote), wrote)
        self._add_reads("garbage-read", (place == NOBODY) & ~self.is_null, None)
        # Own values that are read before they are written.
        self._add_reads("future-read", (place != NOBODY) & ~by_other & (wrote > self.reads), None)
        before = writes.before[self.reads]
        odd = np.flatnonzero((before != -1) & (txns.code[before] != txns.code[self.reads]))
        cases = zip(self.reads[odd].tolist(), before[odd].tolist(), strict=True)
        self.findings.add("internal", cases, len(odd), self._internal)
        micro = writes.micro
        begins = writes.first[micro]
        kept = (txns.type[self.rows[micro]] == OK) & ~txns.is_write[begins]
        begins = np.unique(begins[kept & ~writes.ambiguous[txns.key[micro]]])
        tell_lost_updates(self, begins, txns.code[begins])

    def _overwritten(self, wrote: Longs) -> Flags:
        """Whether a later write of the same transaction is to the same key."""
        found = np.zeros(len(wrote), dtype=np.bool_)
        later = self.writes.after[wrote] if len(self.writes.micro) else wrote
        while np.any(going := (later != -1) & ~found):
            found[going] = self.txns.is_write[later[going]]
            later[going] = self.writes.after[later[going]]
            if not len(self.writes.micro):
                break
        return found

    def _add_reads(self, name: str, hit: Any, wrote: Longs | None) -> None:
        where = np.flatnonzero(hit)
        writers = [None] * len(where) if wrote is None else wrote[where].tolist()
        cases = zip([name] * len(where), self.reads[where].tolist(), writers, strict=True)
        self.findings.add(name, cases, len(where), self._read_of)

    def _read_of(self, name: str, micro: int, wrote: int | None) -> Anomaly:
        who = (self._index(micro),)
        return Anomaly(
            name=name,
            transactions=who if wrote is None else (self._index(wrote), *who),
            key=self.txns.keys[self.txns.key[micro]],
            values=(self._value(micro),),
        )

    def _value(self, micro: int) -> Any:
        return self.txns.codes.value(int(self.txns.code[micro]))

    def _internal(self, micro: int, before: int) -> Anomaly:
        return Anomaly(
            name="internal",
            transactions=(self._index(micro),),
            key=self.txns.keys[self.txns.key[micro]],
            values=(self._value(micro), self._value(before)),
        )

    def _draw(self) -> None:
        txns, writes = self.txns, self.writes
        writer = writes.writer
        external = writes.before[self.reads] == -1
        reader = self.rows[self.reads].astype(np.int64)
        place = self.read_write
        shown = external & (place != NOBODY)
        shown[shown] = self.took_part[writer[place[shown]]]
        self.edges.add(writer[place[shown]], reader[shown], WR)
        # A version is a place in `writes`, or, behind those, the null of a key.
        nulls = len(writes.micro)
        version = np.where(self.is_null, nulls + txns.key[self.reads], place)
        used = external & (self.is_null | shown)
        early, late = self.orders.usable()
        follows = early < nulls
        follows[follows] = self.took_part[writer[early[follows]]]
        self.edges.add(writer[early[follows]], writer[late[follows]], WW)
        # rw: readers of a version come before who wrote a next one.
        self.edges.add_all_to_all(
            nulls + len(txns.keys), version[used], reader[used], early, writer[late]
        )

    def why(self, source: int, target: int, kind: str) -> Edge:
        """Return the reason of an edge of data between two rows."""
        txns = self.txns
        for micro in range(int(txns.first[target]), int(txns.first[target + 1])):
            key = int(txns.key[micro])
            if self.writes.ambiguous[key] or (kind == "wr") == bool(txns.is_write[micro]):
                continue
            for other in range(int(txns.first[source]), int(txns.first[source + 1])):
                if txns.key[other] != key or (kind == "rw") == bool(txns.is_write[other]):
                    continue
                if kind == "wr":
                    if txns.code[other] == txns.code[micro] and self.writes.before[micro] == -1:
                        return self._edge(source, target, kind, micro)
                elif kind == "ww" or self.writes.before[other] == -1:
                    because = self.orders.because(other, micro)
                    if because is not None:
                        return self._edge(source, target, kind, other, micro, because)
        raise AssertionError(f"no reason for {kind} between rows {source} and {target}")

    def _edge(self, source: int, target: int, kind: str, micro: int, later: int | None = None,
              because: tuple[Any, ...] = ()) -> Edge:  # fmt: skip
        return Edge(
            source=int(self.txns.index[source]),
            target=int(self.txns.index[target]),
            kind=kind,
            key=self.txns.keys[self.txns.key[micro]],
            value=self._value(micro),
            next_value=None if later is None else self._value(later),
            because=because,
        )
