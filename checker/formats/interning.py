"""Numbers for millions of values, the way `checker.columns.Values` gives them, by sorting.

Rules of this file:
- Most values of most histories are *plain*: null, an integer, a text, or a list of two of these
  (*atoms*). Each is two codes, taken block by block while the values are still in the processor's
  cache; after that only the distinct texts are kept.
- The code of an integer is the integer. Codes near the lower end of 64 bits stand for the rest:
  null, "no second part", and places in a table of texts (and of integers that do not fit).
- Where a single value is not plain, all go the ordinary way, one by one through `Values.numbers`.
- Both ways give the same numbers in the same order; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from checker.columns import LONG_MAX, Ints, Longs, Values

_ATOMS = frozenset((int, str, type(None)))
_PLAIN = _ATOMS | {list}
_NULL = -LONG_MAX - 1
_ALONE = _NULL + 1
_TABLE = _NULL + 2  # the code of place 0 of the table
_LEAST = -(2**62)  # the least integer that is its own code
_SPREAD = 4  # integers in a range of so many times their count are numbered by a table


class _Table(dict[Any, int]):
    """The codes of the atoms that are not their own."""

    def __init__(self) -> None:
        super().__init__({None: _NULL})
        self.listed: list[Any] = []

    def __missing__(self, atom: Any) -> int:
        code = self[atom] = _TABLE + len(self.listed)
        self.listed.append(atom)
        return code


class ValueDraft:
    """The values of the events of a history, on their way to numbers."""

    def __init__(self) -> None:
        self._table = _Table()
        self._blocks: list[tuple[Longs, Longs] | list[Any]] = []
        self._all_plain = True

    def add(self, values: Sequence[Any]) -> None:
        """Add the values of the next events."""
        plain = self._plain(values)
        self._all_plain &= plain is not None
        self._blocks.append(list(values) if plain is None else plain)

    def numbers(self, inputs: Longs, outputs: Longs) -> tuple[Values, Ints, Ints]:
        """Number the values of the events at these places; a place of -1 stands for null.

        Raises `ValueError` if a value has no canonical text.
        """
        if not self._all_plain:
            return self._one_by_one(inputs, outputs)
        blocks = [block for block in self._blocks if isinstance(block, tuple)]
        self._blocks = []
        nothing = (np.full(1, _NULL), np.full(1, _ALONE))
        first = np.concatenate([block[0] for block in (*blocks, nothing)])
        second = np.concatenate([block[1] for block in (*blocks, nothing)])
        places = np.concatenate((inputs, outputs))
        values, numbers = _numbered(first[places], second[places], self._table.listed)
        return values, numbers[: len(inputs)], numbers[len(inputs) :]

    def _plain(self, values: Sequence[Any]) -> tuple[Longs, Longs] | None:
        kinds = set(map(type, values))
        alone = np.full(len(values), _ALONE)
        if kinds <= _ATOMS:
            return self._codes(values, kinds), alone
        if not kinds <= _PLAIN:
            return None
        where = [place for place, value in enumerate(values) if type(value) is list]
        pairs = [values[place] for place in where]
        of_parts = set(map(type, chain.from_iterable(pairs)))
        if set(map(len, pairs)) != {2} or not of_parts <= _ATOMS:
            return None
        kinds |= of_parts
        heads = list(values)
        for place, pair in zip(where, pairs, strict=True):
            heads[place] = pair[0]
        alone[where] = self._codes([pair[1] for pair in pairs], kinds)
        return self._codes(heads, kinds), alone

    def _codes(self, atoms: Sequence[Any], kinds: set[type]) -> Longs:
        if str not in kinds:
            try:
                codes = np.fromiter([_NULL if a is None else a for a in atoms], np.int64)
            except OverflowError:
                pass
            else:
                below = np.count_nonzero(codes < _LEAST)
                if not below or below == list(atoms).count(None):
                    return codes
        table = self._table
        return np.fromiter(
            (a if type(a) is int and _LEAST <= a <= LONG_MAX else table[a] for a in atoms), np.int64
        )

    def _one_by_one(self, inputs: Longs, outputs: Longs) -> tuple[Values, Ints, Ints]:
        listed, held = self._table.listed, []

        def atom(code: int) -> Any:
            return None if code == _NULL else code if code >= _LEAST else listed[code - _TABLE]

        for block in self._blocks:
            if isinstance(block, list):
                held += block
                continue
            for first, second in zip(block[0].tolist(), block[1].tolist(), strict=True):
                held.append(atom(first) if second == _ALONE else [atom(first), atom(second)])
        held.append(None)
        values = Values()
        asked = values.numbers(map(held.__getitem__, inputs.tolist()))
        return values, asked, values.numbers(map(held.__getitem__, outputs.tolist()))


class _Atoms:
    """The distinct atoms as a row: integers, then the table's, then null; and codes to places."""

    def __init__(self, codes: Longs, listed: list[Any]) -> None:
        integers = codes[codes >= _LEAST]
        self.dense = False
        self.integers = np.zeros(0, dtype=np.int64)
        if len(integers):
            least, most = int(integers.min()), int(integers.max())
            self.dense = most - least < _SPREAD * len(codes)
            self.integers = np.arange(least, most + 1) if self.dense else np.unique(integers)
        self.listed = [*listed, None]
        self.null = len(self.integers) + len(listed)

    def __len__(self) -> int:
        return self.null + 1

    def places(self, codes: Longs) -> Longs:
        if not len(self.integers):
            places = np.zeros(len(codes), dtype=np.int64)
        elif self.dense:
            places = codes - self.integers[0]  # wraps for other codes, which come next
        else:
            places = np.searchsorted(self.integers, codes)
        other = np.flatnonzero(codes < _LEAST)
        places[other] = codes[other] - _TABLE + len(self.integers)
        places[codes == _NULL] = self.null
        return places

    def values(self, places: Longs) -> list[Any]:
        other = np.flatnonzero(places >= len(self.integers))
        if len(other) == len(places):
            return [self.listed[place] for place in (places - len(self.integers)).tolist()]
        values: list[Any] = self.integers[np.minimum(places, len(self.integers) - 1)].tolist()
        for where, place in zip(other.tolist(), places[other].tolist(), strict=True):
            values[where] = self.listed[place - len(self.integers)]
        return values


def _numbered(first: Longs, second: Longs, listed: list[Any]) -> tuple[Values, Ints]:
    """Number plain values in order of appearance, the parts of a pair before the pair."""
    count = len(first)
    paired = np.flatnonzero(second != _ALONE)
    atoms = _Atoms(np.concatenate((first, second[paired])), listed)
    head, tail = atoms.places(first), atoms.places(second[paired])
    pairs, pair_of = np.unique(head[paired] * len(atoms) + tail, return_inverse=True)
    # When each first appears: as the first part or alone, as the second, as the pair. Of several
    # assignments to one place the last counts: so backwards.
    never = 4 * count
    seen = np.full(len(atoms) + len(pairs), never, dtype=np.int64)
    seen_second = np.full(len(atoms), never, dtype=np.int64)
    seen[head[::-1]] = 4 * np.arange(count - 1, -1, -1)
    seen_second[tail[::-1]] = 4 * paired[::-1] + 1
    np.minimum(seen[: len(atoms)], seen_second, out=seen[: len(atoms)])
    seen[len(atoms) + pair_of[::-1]] = 4 * paired[::-1] + 2
    seen[atoms.null] = -1  # null is number 0, whether it appears or not

    order = np.flatnonzero(seen < never)
    order = order[np.argsort(seen[order])]
    number = np.zeros(len(seen), dtype=np.int32)
    number[order] = np.arange(len(order))
    numbers = number[head]
    numbers[paired] = number[len(atoms) + pair_of]

    heads, tails = np.divmod(pairs, len(atoms))
    firsts = np.full(len(seen), -1, dtype=np.int32)
    seconds = np.full(len(seen), -1, dtype=np.int32)
    firsts[len(atoms) :], seconds[len(atoms) :] = number[heads], number[tails]
    firsts, seconds = firsts[order], seconds[order]

    decoded = atoms.values(np.where(order < len(atoms), order, atoms.null))
    where = np.flatnonzero(order >= len(atoms))
    which = order[where] - len(atoms)
    parts = zip(atoms.values(heads[which]), atoms.values(tails[which]), strict=True)
    for place, pair in zip(where.tolist(), map(list, parts), strict=True):
        decoded[place] = pair
    return Values.restored(decoded, firsts, seconds), numbers
