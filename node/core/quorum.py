"""Majorities. One question asked two ways: what do most voters agree on?

Rules of this file: pure functions of the voters' values; a voter that said nothing counts as such.
A configuration change will bring a second majority; nothing outside this file counts voters.
"""

from collections.abc import Collection, Mapping
from enum import Enum


class Outcome(Enum):
    """How an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(voters: int) -> int:
    """The least number of voters such that two such sets always meet."""
    return voters // 2 + 1


def committed(values: Collection[int]) -> int:
    """The highest value that a majority of the voters has reached (Raft section 5.3, figure 2).

    For match indexes it is the index stored on a majority; for times of contact, the time since
    when a majority has been heard.
    """
    assert values, "a cluster without voters"
    ordered = sorted(values, reverse=True)
    return ordered[majority(len(ordered)) - 1]


def tally(voters: Collection[str], votes: Mapping[str, bool]) -> Outcome:
    """Count votes, each voter once; the votes of strangers count for nothing."""
    needed = majority(len(voters))
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return Outcome.WON
    if len(voters) - refused < needed:
        return Outcome.LOST
    return Outcome.PENDING
