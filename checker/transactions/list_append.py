"""Lists that are appended to: every read shows the order of what it holds.

Rules of this file:
- The version order of a key is its longest read (Kingsbury & Alvaro, VLDB 2020, section 4.2): all
  others must be prefixes of it, and of appends that committed but were never seen it is known that
  they come later. A key of which a read is no prefix, or holds an element twice, has no order:
  only wr edges are drawn from it.
- An `info` transaction took part if some append of it was seen; otherwise nothing follows from it.
  A failed one took no part; what was seen of it is an anomaly, and edges pass over it.
- Edges: ww between neighbours in the order; wr from the last element of a read to the reader; rw
  from a reader to who appended the next. Everything else follows from these. Pure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from checker.columns import FAIL, NEVER, OK
from checker.transactions.anomaly import Edge
from checker.transactions.found import Findings
from checker.transactions.graph import RW, WR, WW, Edges
from checker.transactions.list_findings import ListFindings
from checker.transactions.micro import Flags, Longs, Transactions, ragged
from checker.transactions.walks import walk
from checker.transactions.writes import NOBODY, Writes, writes_of


class ListAppend:
    """The analysis of a history of lists."""

    def __init__(self, txns: Transactions) -> None:
        self.txns = txns
        self.edges = Edges()
        self.findings = Findings()
        self.writes: Writes = writes_of(txns)
        keys = len(txns.keys)
        known = ~txns.is_write & (txns.length != NEVER) & ~self.writes.ambiguous[txns.key]
        self.reads = np.flatnonzero(known)
        self._find_longest(keys)
        self._find_order(keys)
        self._mark_live()
        ListFindings(self).tell()
        self._draw(keys)

    def ambiguous_keys(self) -> list[Any]:
        """Return the keys that were set aside."""
        return [self.txns.keys[key] for key in np.flatnonzero(self.writes.ambiguous)]

    def _find_longest(self, keys: int) -> None:
        """Find each key's longest read (the first of equals) and the reads that are no prefix."""
        txns, reads = self.txns, self.reads
        key, length = txns.key[reads], txns.length[reads]
        most = np.full(keys, NEVER, dtype=np.int64)
        np.maximum.at(most, key, length)
        whole = np.full(keys, -1, dtype=np.int64)
        is_whole = np.flatnonzero(length == most[key])[::-1]
        whole[key[is_whole]] = reads[is_whole]
        self.longest = whole
        self.size = np.maximum(most, 0)
        work = int(length.sum())
        self.differs = walk("differing", work)(
            txns.elements, txns.at[reads], length, txns.at[whole[key]]
        )

    def _find_order(self, keys: int) -> None:
        """Lay out the orders of all keys one after the other: who appended what stands there."""
        txns = self.txns
        self.begin = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(self.size)))
        at = np.where(self.longest >= 0, txns.at[self.longest], 0)
        where = ragged(at, self.size)
        self.order_key = np.repeat(np.arange(keys), self.size)
        self.order_code = txns.elements[where]
        self.order_write = self.writes.find(self.order_key, self.order_code)
        written = np.where(self.order_write == NOBODY, 0, self.order_write)
        writer = self.writes.writer[written] if len(self.writes.micro) else written
        self.order_writer = np.where(self.order_write == NOBODY, NOBODY, writer)
        # An element that stands in an order twice is the same write twice; nobody's is told anyway.
        seen = self.order_write[self.order_write != NOBODY]
        self.repeated = np.bincount(seen, minlength=len(self.writes.micro)) > 1
        bad = np.zeros(keys, dtype=np.bool_)
        bad[self.txns.key[self.reads[self.differs != -1]]] = True
        twice = (self.order_write != NOBODY) & self.repeated[written] if len(seen) else seen > 0
        bad[self.order_key[np.flatnonzero(twice)]] = True
        self.ordered: Flags = ~bad & ~self.writes.ambiguous

    def _mark_live(self) -> None:
        """Find who took part: `ok`, and `info` of whom something was seen."""
        txns = self.txns
        self.seen = np.zeros(len(self.writes.micro), dtype=np.bool_)
        self.seen[self.order_write[self.order_write != NOBODY]] = True
        odd = self.reads[self.differs != -1]
        if len(odd):
            where = ragged(txns.at[odd], txns.length[odd])
            key = np.repeat(txns.key[odd], txns.length[odd])
            place = self.writes.find(key, txns.elements[where])
            self.seen[place[place != NOBODY]] = True
        self.took_part = txns.type == OK
        shown = self.writes.writer[self.seen]
        self.took_part[shown[txns.type[shown] != FAIL]] = True

    def _draw(self, keys: int) -> None:
        txns, writes = self.txns, self.writes
        live = (self.order_writer != NOBODY) & self.ordered[self.order_key]
        live &= self.took_part[np.where(self.order_writer == NOBODY, 0, self.order_writer)]
        places = np.flatnonzero(live)
        live_key, live_row = self.order_key[places], self.order_writer[places]
        count = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(live)))
        from_key, to_key = count[self.begin[:-1]], count[self.begin[1:]]
        self.live_places = places
        # ww: neighbours.
        same = live_key[1:] == live_key[:-1]
        self.edges.add(live_row[:-1][same], live_row[1:][same], WW)
        # wr, rw: what a read saw last, and what comes next.
        good = self.ordered[txns.key[self.reads]]
        reads = self.reads[good]
        key = txns.key[reads]
        reader = writes.rows[reads].astype(np.int64)
        upto = count[self.begin[key] + txns.length[reads]]
        saw = upto > from_key[key]
        self.edges.add(live_row[upto[saw] - 1], reader[saw], WR)
        more = upto < to_key[key]
        self.edges.add(reader[more], live_row[upto[more]], RW)
        # What committed and was never seen comes after everything that was.
        fresh = ~self.seen & self.took_part[writes.writer]
        fresh &= self.ordered[txns.key[writes.micro]]
        late = np.flatnonzero(fresh)
        late_key, late_row = txns.key[writes.micro[late]].astype(np.int64), writes.writer[late]
        follows = to_key[late_key] > from_key[late_key]
        self.edges.add(live_row[to_key[late_key[follows]] - 1], late_row[follows], WW)
        self.edges.add_all_to_all(
            keys, key[~more].astype(np.int64), reader[~more], late_key, late_row
        )
        self._draw_odd()

    def _draw_odd(self) -> None:
        """Draw wr edges from what keys without an order show."""
        txns = self.txns
        bad = ~self.ordered & ~self.writes.ambiguous
        reads = self.reads[bad[txns.key[self.reads]] & (txns.length[self.reads] > 0)]
        last = txns.elements[txns.at[reads] + txns.length[reads] - 1]
        place = self.writes.find(txns.key[reads], last)
        reads, place = reads[place != NOBODY], place[place != NOBODY]
        writer = self.writes.writer[place]
        part = self.took_part[writer]
        self.edges.add(writer[part], self.writes.rows[reads[part]].astype(np.int64), WR)

    def why(self, source: int, target: int, kind: str) -> Edge:
        """Return the reason of an edge of data between two rows."""
        if kind == "wr":
            found = self._why_wr(source, target)
        else:
            found = self._why_later(source, target, kind)
        assert found is not None, f"no reason for {kind} between rows {source} and {target}"
        return found

    def _edge(self, source: int, target: int, kind: str, key: int, value: int | None,
              next_value: int | None) -> Edge:  # fmt: skip
        txns = self.txns
        return Edge(
            source=int(txns.index[source]),
            target=int(txns.index[target]),
            kind=kind,
            key=txns.keys[key],
            value=None if value is None else txns.codes.value(value),
            next_value=None if next_value is None else txns.codes.value(next_value),
        )

    def _micros(self, row: int) -> range:
        return range(int(self.txns.first[row]), int(self.txns.first[row + 1]))

    def _read_codes(self, micro: int) -> Longs:
        at = int(self.txns.at[micro])
        return self.txns.elements[at : at + int(self.txns.length[micro])]

    def _why_wr(self, source: int, target: int) -> Edge | None:
        txns = self.txns
        written = {(int(txns.key[m]), int(txns.code[m])) for m in self._micros(source)
                   if txns.is_write[m]}  # fmt: skip
        for micro in self._micros(target):
            if txns.is_write[micro]:
                continue
            key = int(txns.key[micro])
            for code in self._read_codes(micro)[::-1].tolist():
                if (key, code) in written:
                    return self._edge(source, target, "wr", key, code, None)
        return None

    def _why_later(self, source: int, target: int, kind: str) -> Edge | None:
        """Find the earliest write of target that comes after what source wrote (or read)."""
        txns = self.txns
        place = self._places(target)
        own = self._places(source)
        for (key, code), later in place.items():
            if not self.ordered[key]:
                continue
            if kind == "ww":
                earlier = [(at, c) for (k, c), at in own.items() if k == key and at < later]
                if earlier:
                    return self._edge(source, target, kind, key, max(earlier)[1], code)
                continue
            for micro in self._micros(source):
                if txns.is_write[micro] or txns.key[micro] != key:
                    continue
                seen = self._read_codes(micro)
                if len(seen) <= later:
                    last = int(seen[-1]) if len(seen) else None
                    return self._edge(source, target, kind, key, last, code)
        return None

    def _places(self, row: int) -> dict[tuple[int, int], float]:
        """Return where each append of a transaction stands in its key's order, first ones first."""
        found: dict[tuple[int, int], float] = {}
        for micro in self._micros(row):
            if not self.txns.is_write[micro]:
                continue
            key, code = int(self.txns.key[micro]), int(self.txns.code[micro])
            order = self.order_code[self.begin[key] : self.begin[key + 1]]
            at = np.flatnonzero(order == code)
            found[key, code] = float(at[0]) if len(at) else float("inf")
        return dict(sorted(found.items(), key=lambda item: item[1]))
