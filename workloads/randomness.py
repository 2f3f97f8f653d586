"""Named streams of random numbers, all from the run's one seed.

Rules of this file:
- A draw is a pure function of (seed, name, position): a generator keeps a position, not a
  mutable random object, so it can be copied, replayed and compared.
- Streams are told apart by name: a new consumer takes a new name and shifts nobody else's draws.
- The same on every machine and under every Python hash seed (BLAKE2b, no `hash()`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import TypeVar

T = TypeVar("T")

_TWO_TO_64 = 1 << 64


# A generator is often asked again before its answer is taken up: the same draws, over and over.
@lru_cache(maxsize=4096)
def draw(seed: int, name: str, position: int) -> int:
    """64 random bits: what every stream is made of."""
    text = f"{seed}|{name}|{position}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of independent draws, addressed by position (any non-negative integer)."""

    seed: int
    name: str

    def bits(self, position: int) -> int:
        """64 random bits."""
        return draw(self.seed, self.name, position)

    def below(self, position: int, bound: int) -> int:
        """A number in ``[0, bound)``; the bias of at most bound/2**64 does not matter here."""
        if bound < 1:
            raise ValueError(f"bound must be at least 1, not {bound}")
        return self.bits(position) * bound // _TWO_TO_64

    def uniform(self, position: int) -> float:
        """A number in ``[0, 1)`` with 53 random bits."""
        return (self.bits(position) >> 11) / (1 << 53)

    def choice(self, position: int, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.below(position, len(options))]

    def random(self) -> Random:
        """A `Random` of its own, for code that wants many draws at once (shuffles, samples)."""
        return Random(self.bits(0))
