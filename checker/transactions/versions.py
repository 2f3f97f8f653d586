"""Which version of a register comes before which, as far as that can be inferred.

Rules of this file:
- A version is a number: the place of its write (`Writes.micro`), or, behind those, the null of a
  key. Every order of two versions has one source, kept with it: the first that says so of
  `INITIAL`, `WFR`, `SEQUENTIAL`, `LINEARIZABLE` (`checker.transactions.rw_register` defines them).
- What a transaction *touches* of a key: first what it read before writing, else what it wrote last
  (nothing in between is ever installed); and last what it wrote last, else what it read.
- Real time is looked at key by key with the frontier of transactions that completed and after which
  none has yet both begun and completed: the transitive reduction. Pure.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from checker.columns import FAIL, LONG_MAX, OK
from checker.transactions.anomaly import Anomaly
from checker.transactions.found import EXAMPLES_MAX, Findings
from checker.transactions.micro import NULL_CODE, Flags, Ints, Longs
from checker.transactions.walks import walk
from checker.transactions.writes import NOBODY

if TYPE_CHECKING:
    from checker.transactions.rw_register import RwRegister

INITIAL, WFR, SEQUENTIAL, LINEARIZABLE = range(4)
NAMES = ("initial", "wfr", "sequential", "linearizable")
_STARTS_MAX = 64
_Pairs = tuple[Longs, Longs, Longs, Longs]  # versions early and late, and the rows that show it


class Orders:
    """All orders of two versions that were inferred."""

    def __init__(
        self, analysis: RwRegister, *, wfr: bool, sequential: bool, linearizable: bool
    ) -> None:
        self.of = analysis
        self.txns = analysis.txns
        self.writes = analysis.writes
        self.nulls = len(self.writes.micro)
        self._find_touches()
        found = [(INITIAL, self._initial())]
        if wfr:
            found.append((WFR, self._follows()))
        if sequential:
            found.append((SEQUENTIAL, self._by_process()))
        if linearizable:
            found.append((LINEARIZABLE, self._by_time()))
        early, late, first, second = (
            np.concatenate([pairs[column] for _, pairs in found]) for column in range(4)
        )
        source = np.concatenate([np.full(len(pairs[0]), kind) for kind, pairs in found])
        kept = early != late
        span = self.nulls + len(self.txns.keys) + 1
        self._span = span
        self._spots, where = np.unique(early[kept] * span + late[kept], return_index=True)
        self.early, self.late = early[kept][where], late[kept][where]
        self.source = source[kept][where]
        self._shown = first[kept][where], second[kept][where]
        self.component = self._components(span)

    def _find_touches(self) -> None:
        """Find each (transaction, key) pair's versions; those that name nobody's are left out."""
        txns, writes, rows = self.txns, self.writes, self.of.rows
        begins = np.flatnonzero(writes.before == -1)
        begins = begins[self.of.took_part[rows[begins]] & ~writes.ambiguous[txns.key[begins]]]
        last_write = np.full(len(txns.key), -1, dtype=np.int64)
        # Later ones overwrite earlier ones: of several assignments to one place the last counts.
        last_write[writes.first[np.flatnonzero(txns.is_write)]] = np.flatnonzero(txns.is_write)
        wrote = self._version(last_write[begins])
        read = np.where(txns.is_write[begins] | (txns.type[rows[begins]] != OK), -1,
                        self._version(begins))  # fmt: skip
        self.begins = begins
        self.wrote = wrote
        self.read = read
        self.touched_first = np.where(read != -1, read, wrote)
        self.touched_last = np.where(wrote != -1, wrote, read)
        # A read of what nobody wrote, or what failed, says nothing of the order.
        odd = ~txns.is_write[begins] & (txns.type[rows[begins]] == OK) & (read == -1)
        self.touched_first[odd] = -1

    def _version(self, micro: Longs) -> Longs:
        """Return the versions that these micro-operations wrote or read; -1: nobody's, or none."""
        if not len(micro):
            return micro
        code = np.where(micro == -1, NULL_CODE, self.txns.code[micro])
        key = self.txns.key[micro]
        place = self.writes.find(key, code)
        if self.nulls:
            failed = self.txns.type[self.writes.writer[np.maximum(place, 0)]] == FAIL
            place[(place != NOBODY) & failed] = NOBODY
        found = np.where(code == NULL_CODE, self.nulls + key, place)
        return np.where(micro == -1, -1, found)

    def _initial(self) -> _Pairs:
        kept = self.wrote != -1
        late = self.wrote[kept]
        row = self.of.rows[self.begins[kept]].astype(np.int64)
        return self.nulls + self.txns.key[self.begins[kept]].astype(np.int64), late, row, row

    def _follows(self) -> _Pairs:
        kept = (self.wrote != -1) & (self.read != -1)
        row = self.of.rows[self.begins[kept]].astype(np.int64)
        return self.read[kept], self.wrote[kept], row, row

    def _by_process(self) -> _Pairs:
        row = self.of.rows[self.begins].astype(np.int64)
        process, key = self.txns.process[row], self.txns.key[self.begins]
        order = np.lexsort((self.txns.start[row], key, process))
        same = (process[order][1:] == process[order][:-1]) & (key[order][1:] == key[order][:-1])
        return self._between(order[:-1][same], order[1:][same])

    def _by_time(self) -> _Pairs:
        row = self.of.rows[self.begins].astype(np.int64)
        start, end = self.txns.start[row], self.txns.end[row]
        by_key = np.lexsort((start, self.txns.key[self.begins]))
        keys = self.txns.key[self.begins][by_key]
        cuts = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        before: list[int] = []
        after: list[int] = []
        for group in np.split(by_key, cuts):
            touches = [(int(start[one]), 1, one) for one in group.tolist()]
            touches += [(int(end[one]), 0, one) for one in group.tolist() if end[one] != LONG_MAX]
            frontier: list[int] = []
            for _, begins, one in sorted(touches):
                if begins:
                    before += frontier
                    after += [one] * len(frontier)
                else:
                    frontier = [other for other in frontier if end[other] >= start[one]]
                    frontier.append(one)
        return self._between(np.array(before, np.int64), np.array(after, np.int64))

    def _between(self, before: Longs, after: Longs) -> _Pairs:
        early, late = self.touched_last[before], self.touched_first[after]
        kept = (early != -1) & (late != -1)
        row = self.of.rows[self.begins].astype(np.int64)
        return early[kept], late[kept], row[before[kept]], row[after[kept]]

    def _components(self, versions: int) -> Ints:
        work = len(self.early) + versions
        offsets, order = walk("adjacency", work)(self.early, versions)
        component: Ints
        component, _ = walk("components", work)(offsets, self.late[order].astype(np.int32))
        return component

    @property
    def _circular(self) -> Flags:
        inside: Flags = self.component[self.early] == self.component[self.late]
        return inside

    def usable(self) -> tuple[Longs, Longs]:
        """Return the orders that are in no circle; the later version is never a null."""
        kept = ~self._circular & (self.late < self.nulls)
        return self.early[kept], self.late[kept]

    def because(self, early: int, late: int) -> tuple[Any, ...] | None:
        """Return why what one micro-operation read or wrote comes before what the other wrote."""
        first, second = (int(self._version(np.array([micro]))[0]) for micro in (early, late))
        if first == -1 or second == -1 or self.component[first] == self.component[second]:
            return None
        return self._source(first, second)

    def _source(self, early: int, late: int) -> tuple[Any, ...] | None:
        spot = early * self._span + late
        place = int(np.searchsorted(self._spots, spot))
        if place == len(self._spots) or self._spots[place] != spot:
            return None
        kind = int(self.source[place])
        if kind in (INITIAL, WFR):
            return (NAMES[kind],)
        first, second = (int(self.txns.index[rows[place]]) for rows in self._shown)
        return NAMES[kind], first, second

    def tell_cycles(self, findings: Findings) -> None:
        """Tell the circles of versions, a short one for each component."""
        edges = np.flatnonzero(self._circular)
        numbers = np.unique(self.component[self.early[edges]])
        findings.add("cyclic-versions", ((n, edges) for n in numbers.tolist()), len(numbers),
                     self._circle)  # fmt: skip

    def _circle(self, number: int, edges: Longs) -> Anomaly:
        inside = edges[self.component[self.early[edges]] == number]
        drawn: nx.DiGraph[int] = nx.DiGraph()
        drawn.add_edges_from(
            zip(self.early[inside].tolist(), self.late[inside].tolist(), strict=True)
        )
        some = list(drawn.edges)[:_STARTS_MAX]
        circle = min((nx.shortest_path(drawn, b, a) for a, b in some), key=len)
        because = [self._source(a, b) for a, b in pairwise([*circle, circle[0]])]
        rows = {
            int(self.writes.writer[version]): None for version in circle if version < self.nulls
        }
        values = [
            None if version >= self.nulls
            else self.txns.codes.value(int(self.txns.code[self.writes.micro[version]]))
            for version in circle
        ]  # fmt: skip
        written = next(version for version in circle if version < self.nulls)
        return Anomaly(
            name="cyclic-versions",
            transactions=tuple(int(self.txns.index[row]) for row in rows)[:EXAMPLES_MAX],
            key=self.txns.keys[self.txns.key[self.writes.micro[written]]],
            values=tuple(values),
            because=tuple(why for why in because if why is not None),
        )
