"""What lists show besides cycles: aborted, intermediate, contradictory and impossible reads.

Rules of this file:
- Most reads are prefixes of their key's longest one (the *order*): what is wrong with one is then
  decided by how far it reaches, with one look at the order. Only reads that are no prefix are looked
  at element by element.
- Only what `ok` transactions read counts. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from checker.columns import FAIL, INFO, OK
from checker.transactions.anomaly import Anomaly
from checker.transactions.found import EXAMPLES_MAX, Findings
from checker.transactions.micro import Flags, Longs, ragged
from checker.transactions.walks import walk
from checker.transactions.writes import NOBODY

if TYPE_CHECKING:
    from checker.transactions.list_append import ListAppend


class ListFindings:
    """Tells the anomalies of one analysis to its findings."""

    def __init__(self, analysis: ListAppend) -> None:
        self.of = analysis
        self.txns = analysis.txns
        self.writes = analysis.writes
        self.findings: Findings = analysis.findings
        fits = analysis.differs == -1
        self.fit = analysis.reads[fits]
        self.odd = analysis.reads[~fits]

    def tell(self) -> None:
        """Tell all."""
        self._aborted_and_garbage()
        self._intermediate()
        self._duplicates()
        self._incompatible()
        self._dirty()
        self._inside()
        self._lost()

    def _index(self, micro: int) -> int:
        return int(self.txns.index[self.writes.rows[micro]])

    def _key(self, micro: int) -> Any:
        return self.txns.keys[self.txns.key[micro]]

    def _value(self, code: int) -> Any:
        return self.txns.codes.value(int(code))

    def _odd_elements(self) -> tuple[Longs, Longs, Longs]:
        """Return the elements of reads that are no prefix: whose, their codes, who wrote them."""
        length = self.txns.length[self.odd]
        where = ragged(self.txns.at[self.odd], length)
        micro = np.repeat(self.odd, length)
        code = self.txns.elements[where]
        return micro, code, self.writes.find(self.txns.key[micro], code)

    def _aborted_and_garbage(self) -> None:
        failed = self.txns.type == FAIL
        wrote = self.of.order_write
        micro, code, place = self._odd_elements()
        kinds: tuple[tuple[str, Flags, Flags], ...] = (
            ("G1a", self._written_by(failed, wrote), self._written_by(failed, place)),
            ("garbage-read", wrote == NOBODY, place == NOBODY),
        )
        for name, in_order, in_odd in kinds:
            cases: list[tuple[int, int, int]] = []
            count = 0
            bad = np.flatnonzero(in_order)
            if len(bad):
                # The first bad element of each key decides which of its reads reach one.
                first = np.full(len(self.txns.keys), -1, dtype=np.int64)
                first[self.of.order_key[bad[::-1]]] = bad[::-1]
                key = self.txns.key[self.fit]
                reach = self.of.begin[key] + self.txns.length[self.fit]
                hit = self.fit[(first[key] != -1) & (reach > first[key])]
                count += len(hit)
                spot = first[self.txns.key[hit[:EXAMPLES_MAX]]]
                cases += zip(
                    hit[:EXAMPLES_MAX].tolist(), self.of.order_code[spot].tolist(),
                    wrote[spot].tolist(), strict=True,
                )  # fmt: skip
            hit_odd = np.flatnonzero(in_odd)
            count += len(np.unique(micro[hit_odd]))
            some = hit_odd[:EXAMPLES_MAX]
            cases += zip(
                micro[some].tolist(), code[some].tolist(), place[some].tolist(), strict=True
            )
            self.findings.add(name, ((name, *case) for case in cases), count, self._read_of)

    def _written_by(self, rows: Flags, place: Longs) -> Flags:
        if not len(self.writes.micro):
            return np.zeros(len(place), dtype=np.bool_)
        found: Flags = (place != NOBODY) & rows[self.writes.writer[np.maximum(place, 0)]]
        return found

    def _read_of(self, name: str, micro: int, code: int, place: int) -> Anomaly:
        readers: tuple[int, ...] = (self._index(micro),)
        if place != NOBODY:
            readers = (self._index(int(self.writes.micro[place])), *readers)
        return Anomaly(
            name=name, transactions=readers, key=self._key(micro), values=(self._value(code),)
        )

    def _intermediate(self) -> None:
        """A read that ends with an append which its transaction, another one, appended to again."""
        reads = self.of.reads[self.txns.length[self.of.reads] > 0]
        last = self.txns.elements[self.txns.at[reads] + self.txns.length[reads] - 1]
        place = self.writes.find(self.txns.key[reads], last)
        reads, last, place = reads[place != NOBODY], last[place != NOBODY], place[place != NOBODY]
        written = self.writes.micro[place]
        again = self._written_later(written)
        hit = again & (self.writes.rows[written] != self.writes.rows[reads])
        cases = zip(reads[hit].tolist(), last[hit].tolist(), place[hit].tolist(), strict=True)
        self.findings.add(
            "G1b", (("G1b", *case) for case in cases), int(np.count_nonzero(hit)), self._read_of
        )

    def _written_later(self, micro: Longs) -> Flags:
        """Whether a later micro-operation of the same transaction writes the same key."""
        found = np.zeros(len(micro), dtype=np.bool_)
        later = self.writes.after[micro]
        while np.any(going := (later != -1) & ~found):
            found[going] = self.txns.is_write[later[going]]
            later[going] = self.writes.after[later[going]]
        return found

    def _duplicates(self) -> None:
        cases: list[tuple[int, int]] = []
        count = 0
        order = np.lexsort((self.of.order_code, self.of.order_key))
        key, code = self.of.order_key[order], self.of.order_code[order]
        twice = order[1:][(key[1:] == key[:-1]) & (code[1:] == code[:-1])]
        if len(twice):
            first = np.full(len(self.txns.keys), -1, dtype=np.int64)
            backwards = np.sort(twice)[::-1]
            first[self.of.order_key[backwards]] = backwards
            of_read = self.txns.key[self.fit]
            reach = self.of.begin[of_read] + self.txns.length[self.fit]
            hit = self.fit[(first[of_read] != -1) & (reach > first[of_read])]
            count += len(hit)
            some = hit[:EXAMPLES_MAX]
            codes = self.of.order_code[first[self.txns.key[some]]]
            cases += zip(some.tolist(), codes.tolist(), strict=True)
        micro, code, _ = self._odd_elements()
        order = np.lexsort((code, micro))
        same = (micro[order][1:] == micro[order][:-1]) & (code[order][1:] == code[order][:-1])
        hit = order[1:][same]
        count += len(np.unique(micro[hit]))
        some = hit[:EXAMPLES_MAX]
        cases += zip(micro[some].tolist(), code[some].tolist(), strict=True)
        self.findings.add("duplicate-elements", cases, count, self._duplicate)

    def _duplicate(self, micro: int, code: int) -> Anomaly:
        return Anomaly(
            name="duplicate-elements",
            transactions=(self._index(micro),),
            key=self._key(micro),
            values=(self._value(code),),
        )

    def _incompatible(self) -> None:
        cases = ((micro, int(self.of.longest[self.txns.key[micro]])) for micro in self.odd.tolist())
        self.findings.add("incompatible-order", cases, len(self.odd), self._two_reads)

    def _two_reads(self, micro: int, other: int) -> Anomaly:
        return Anomaly(
            name="incompatible-order",
            transactions=(self._index(micro), self._index(other)),
            key=self._key(micro),
            values=(self.txns.list_read(micro), self.txns.list_read(other)),
        )

    def _dirty(self) -> None:
        """A failed append in an order, and the next one of those that are not `info`: it is ok."""
        places = np.flatnonzero(
            (self.of.order_write != NOBODY) & self.of.ordered[self.of.order_key]
        )
        kind = self.txns.type[self.of.order_writer[places]]
        places, kind = places[kind != INFO], kind[kind != INFO]
        key = self.of.order_key[places]
        hit = np.flatnonzero((key[1:] == key[:-1]) & (kind[:-1] == FAIL) & (kind[1:] == OK))
        cases = zip(places[hit].tolist(), places[hit + 1].tolist(), strict=True)
        self.findings.add("dirty-update", cases, len(hit), self._on_top)

    def _on_top(self, place: int, later: int) -> Anomaly:
        rows = self.of.order_writer
        return Anomaly(
            name="dirty-update",
            transactions=tuple(int(self.txns.index[rows[at]]) for at in (place, later)),
            key=self.txns.keys[self.of.order_key[place]],
            values=tuple(self._value(self.of.order_code[at]) for at in (place, later)),
        )

    def _inside(self) -> None:
        """What a transaction read against what it did before on the same key."""
        txns, writes = self.txns, self.writes
        rows = writes.rows
        seen = (writes.before != -1) & (txns.type[rows] == OK) & ~writes.ambiguous[txns.key]
        micros = np.flatnonzero(seen)
        work = int(np.maximum(txns.length[micros], 1).sum())
        found = walk("inside", work)(
            writes.before, txns.is_write, txns.length >= 0, txns.code, txns.at, txns.length,
            txns.elements, micros,
        )  # fmt: skip
        is_write = txns.is_write[micros]
        odd = np.flatnonzero((found != -2) & ~is_write)
        self.findings.add(
            "internal", ((m,) for m in micros[odd].tolist()), len(odd), self._internal
        )
        early = np.flatnonzero((found != -2) & is_write)
        self.findings.add(
            "future-read", ((m,) for m in micros[early].tolist()), len(early), self._future
        )

    def _internal(self, micro: int) -> Anomaly:
        """Say what was read, and what was to be expected: a list, or its end after ``...``."""
        own: list[Any] = []
        earlier = int(self.writes.before[micro])
        while earlier != -1 and self.txns.is_write[earlier]:
            own.insert(0, self._value(self.txns.code[earlier]))
            earlier = int(self.writes.before[earlier])
        known = ["..."] if earlier == -1 else self.txns.list_read(earlier)
        return Anomaly(
            name="internal",
            transactions=(self._index(micro),),
            key=self._key(micro),
            values=(self.txns.list_read(micro), [*known, *own]),
        )

    def _future(self, micro: int) -> Anomaly:
        return Anomaly(
            name="future-read",
            transactions=(self._index(micro),),
            key=self._key(micro),
            values=(self._value(self.txns.code[micro]),),
        )

    def _lost(self) -> None:
        """Transactions that read one version of a key first of all and then appended to it."""
        txns, writes = self.txns, self.writes
        micro = writes.micro
        begins = writes.first[micro]
        kept = (txns.type[writes.rows[micro]] == OK) & ~txns.is_write[begins]
        kept &= self.of.ordered[txns.key[micro]]
        # One entry for each transaction and key.
        begins = np.unique(begins[kept])
        tell_lost_updates(self.of, begins, txns.length[begins])


def tell_lost_updates(of: Any, reads: Longs, version: Longs) -> None:
    """Tell the versions that several transactions read (with these reads) and overwrote."""
    txns = of.txns
    order = np.lexsort((version, txns.key[reads]))
    reads, version = reads[order], version[order]
    key = txns.key[reads]
    new = np.ones(len(reads), dtype=np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (version[1:] != version[:-1])
    begins = np.flatnonzero(new)
    ends = np.append(begins[1:], len(reads))
    lost = np.flatnonzero(ends - begins > 1)

    def told(group: int) -> Anomaly:
        first, last = int(begins[group]), int(ends[group])
        who = [int(txns.index[of.writes.rows[m]]) for m in reads[first:last].tolist()]
        micro = int(reads[first])
        is_list = txns.workload == "list-append"
        value = txns.list_read(micro) if is_list else txns.codes.value(int(txns.code[micro]))
        return Anomaly(
            name="lost-update",
            transactions=tuple(who[:EXAMPLES_MAX]),
            key=txns.keys[txns.key[micro]],
            values=(value,),
        )

    of.findings.add("lost-update", ((group,) for group in lost.tolist()), len(lost), told)
