"""What an agent saw and counted of network faults, as the rest of the harness gets to know it.

Rules of this file:
- Data only, nothing is concluded: what counts as proof of a fault is for the nemesis to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """A network fault in force, or what it was.

    `by` is the means (``netem``, ``tbf``, ``nftables``, ``a queue``), empty if none was in force.
    `counts` are packets: ``struck`` by the rules, and what the means itself counted: ``lost``,
    ``delayed``, ``duplicated``, ``reordered``, ``corrupted``, ... `lapses` counts how often it had
    expired before it could be renewed.
    """

    by: str
    why_not_netem: str
    counts: Mapping[str, int]
    lapses: int

    def count(self, what: str) -> int:
        """How many packets; 0 for what this means does not count."""
        return self.counts.get(what, 0)

    @property
    def means(self) -> str:
        """By what it was done, for people."""
        reason = f" ({self.why_not_netem})" if self.why_not_netem else ""
        return f"by {self.by or 'nothing'}{reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Echoes from one host to some others: how many came back, twice, or after a later one.

    The times are round trips, None if nothing came back. `kbit_s` is how much of them came back
    in the time from the first sent to the last returned.
    """

    sent: int
    answered: int
    duplicates: int
    reordered: int
    shortest_ms: float | None
    median_ms: float | None
    longest_ms: float | None
    kbit_s: float


def shaped_of(answer: Mapping[str, Any]) -> Shaped:
    """Read the means and the counters of an answer."""
    return Shaped(
        by=answer["by"],
        why_not_netem=answer["why_not_netem"],
        counts=dict(answer["counts"]),
        lapses=answer["lapses"],
    )
