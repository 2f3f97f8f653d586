"""Keys that are left for new ones when they have been written to often enough.

Rules of this file:
- A key is left after so many writes that happened or may have. Refused ones do not count: they
  make no value longer, and a system that refuses for a while must not use up keys that stay empty.
- Keys are k0, k1, ... in the order in which they are taken up, so that whoever looks at them
  afterwards (`workloads.scan`) needs no list of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def key_name(number: int) -> str:
    """Return the name of a key by its number."""
    return f"k{number}"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The keys in use, and how often each was written to."""

    writes_max: int
    active: tuple[str, ...]
    taken_up: int
    writes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int, writes_max: int) -> Rotation:
        """Return the first `count` keys, each for so many writes."""
        return cls(writes_max, tuple(map(key_name, range(count))), count)

    def wrote(self, key: str) -> Rotation:
        """Count a write; a key that is used up gives its place to a new one."""
        if key not in self.active:
            return self  # it was left while this write was under way
        writes = {**self.writes, key: self.writes.get(key, 0) + 1}
        if writes[key] < self.writes_max:
            return Rotation(self.writes_max, self.active, self.taken_up, writes)
        del writes[key]
        fresh = key_name(self.taken_up)
        active = tuple(fresh if one == key else one for one in self.active)
        return Rotation(self.writes_max, active, self.taken_up + 1, writes)
