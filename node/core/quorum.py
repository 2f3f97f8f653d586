"""Majorities. One question asked two ways: what do most voters agree on?

Rules of this file:
- Pure functions of the voters' values; a voter that said nothing counts as such.
- Voters come in one group, or in two while a change of them is under way: then both must agree
  (Raft section 6). Nothing outside this file counts voters.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

Halves = Sequence[Collection[str]]
"""One group of voters, or the new and the old one."""


class Outcome(Enum):
    """How an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(voters: int) -> int:
    """The least number of voters such that two such sets always meet."""
    return voters // 2 + 1


def agreed(values: Collection[int]) -> int:
    """The highest value that a majority of one group has reached (Raft section 5.3, figure 2).

    For match indexes it is the index stored on a majority; for times of contact, the time since
    when a majority has been heard.
    """
    assert values, "a cluster without voters"
    ordered = sorted(values, reverse=True)
    return ordered[majority(len(ordered)) - 1]


def committed(halves: Halves, value_of: Mapping[str, int]) -> int:
    """The highest value that a majority of each group has reached; 0 for who is not known."""
    return min(agreed([value_of.get(voter, 0) for voter in voters]) for voters in halves)


def tally(halves: Halves, votes: Mapping[str, bool]) -> Outcome:
    """Count votes, each voter once; the votes of strangers count for nothing."""
    outcomes = [_tally(voters, votes) for voters in halves]
    if Outcome.LOST in outcomes:
        return Outcome.LOST
    return Outcome.PENDING if Outcome.PENDING in outcomes else Outcome.WON


def _tally(voters: Collection[str], votes: Mapping[str, bool]) -> Outcome:
    needed = majority(len(voters))
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return Outcome.WON
    if len(voters) - refused < needed:
        return Outcome.LOST
    return Outcome.PENDING
