"""Who wrote what: every write of a history by key and value, and what is on the same key before it.

Rules of this file:
- A write is told by its key and value, which only one transaction may write; where two that did not
  fail write the same, the key is *ambiguous*: nothing is concluded from it, and the check says so. A
  value tried again after a definite failure belongs to the attempt that did not fail.
- Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checker.columns import FAIL
from checker.transactions.micro import Flags, Ints, Longs, Transactions

NOBODY = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Writes:
    """The writes of a history, in order of key and value.

    `micro` is the micro-operation of each. `before` and `after` are, for each micro-operation, the
    ones of its transaction on the same key around it, `first` the first of them; or -1.
    `ambiguous` are the keys that are set aside.
    """

    txns: Transactions
    rows: Ints
    micro: Longs
    ambiguous: Flags
    before: Longs
    after: Longs
    first: Longs
    _spread: Longs
    _sorted: Longs

    def find(self, key: Ints | Longs, code: Longs) -> Longs:
        """Return the places (in `micro`) of writes of these values to these keys, or `NOBODY`."""
        if not len(self._sorted):
            return np.full(len(key), NOBODY, dtype=np.int64)
        number = np.searchsorted(self._spread, code)
        number[number == len(self._spread)] = 0
        known = self._spread[number] == code
        wanted = key.astype(np.int64) * len(self._spread) + number
        place = np.searchsorted(self._sorted, wanted)
        place[place == len(self._sorted)] = 0
        return np.where(known & (self._sorted[place] == wanted), place, NOBODY)

    @property
    def writer(self) -> Longs:
        """The row of each write's transaction."""
        return self.rows[self.micro].astype(np.int64)


def writes_of(txns: Transactions) -> Writes:
    """Index the writes of a history; time is that of sorting."""
    rows = txns.rows
    micro = np.flatnonzero(txns.is_write)
    code = txns.code[micro]
    spread = _distinct_codes(code)
    spot = txns.key[micro].astype(np.int64) * len(spread) + np.searchsorted(spread, code)
    failed = txns.type[rows[micro]] == FAIL
    # Attempts that did not fail come first among equals.
    order = np.lexsort((failed, spot)) if np.any(failed) else np.argsort(spot, kind="stable")
    micro, spot, failed = micro[order], spot[order], failed[order]
    again = np.zeros(len(spot), dtype=np.bool_)
    again[1:] = spot[1:] == spot[:-1]
    ambiguous = np.zeros(len(txns.keys), dtype=np.bool_)
    ambiguous[txns.key[micro[again & ~failed]]] = True
    micro, spot = micro[~again], spot[~again]
    before, after, first = _on_the_same_key(txns, rows)
    return Writes(
        txns=txns, rows=rows, micro=micro, ambiguous=ambiguous, before=before, after=after,
        first=first, _spread=spread, _sorted=spot,
    )  # fmt: skip


def _distinct_codes(codes: Longs) -> Longs:
    """Return the distinct codes in order; a whole range of integers where that is hardly larger."""
    if not len(codes):
        return codes
    least, most = int(codes.min()), int(codes.max())
    if most - least < 4 * len(codes):
        return np.arange(least, most + 1)
    return np.unique(codes)


def _on_the_same_key(txns: Transactions, rows: Ints) -> tuple[Longs, Longs, Longs]:
    spot = rows.astype(np.int64) * max(1, len(txns.keys)) + txns.key
    order = np.argsort(spot, kind="stable")
    same = spot[order][1:] == spot[order][:-1]
    before = np.full(len(spot), -1, dtype=np.int64)
    after = np.full(len(spot), -1, dtype=np.int64)
    before[order[1:][same]] = order[:-1][same]
    after[order[:-1][same]] = order[1:][same]
    begins = np.ones(len(spot), dtype=np.bool_)
    begins[1:] = ~same
    first = np.empty(len(spot), dtype=np.int64)
    first[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(spot)), 0))]
    return before, after, first
