"""Which nodes may be struck so that the cluster can still decide: quorums as sets of names. Pure.

Rules of this file:
- A node is harmed by what holds it down, cuts it off, moves its clock or removes it. A transfer of
  leadership and a snapshot harm nobody.
- A configuration is a set of voters; under joint consensus both halves are in force, and each needs
  a majority (Ongaro 2014, section 4.3). So a majority of *every* configuration must stay unharmed.
- What is not known exactly is taken to be worse than it is: too many harmed, never too few.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from harness.nemesis.grudges import Grudge

# What the system does by itself when it is asked: whoever it is asked of serves on.
HARMLESS: Final = ("transfer", "snapshot")
# Partitions that name all nodes as their targets: who is cut off follows from who hears whom.
_OF_ALL: Final = ("halves", "majorities-ring", "bridge")
# Where messages of a class are lost at some nodes, everybody may suffer: one of those nodes may
# lead, or come to lead, and a leader that does not hear the answers is of no use to anybody. Who
# does not hear votes is heard himself, and the others can elect without him.
_OF_ANYBODY: Final = ("no-appends", "no-snapshots")


def has_majority(voters: Collection[str], harmed: Collection[str]) -> bool:
    """Whether more than half of the voters are unharmed."""
    return 2 * sum(node not in harmed for node in voters) > len(voters)


def allowed(
    configurations: Iterable[Collection[str]], struck: Collection[str], wanted: Sequence[str]
) -> tuple[str, ...]:
    """Return which of the wanted nodes may be struck besides those that are, the first ones first.

    A majority of every configuration stays unharmed; where one has none left already, nobody may.
    """
    in_force = [frozenset(voters) for voters in configurations]
    taken: list[str] = []
    for node in wanted:
        harmed = {*struck, *taken, node}
        if node not in taken and all(has_majority(voters, harmed) for voters in in_force):
            taken.append(node)
    return tuple(taken)


def harms_all(kind: str, name: str) -> bool:
    """Whether a fault harms every node, whomever it strikes."""
    return kind == "partition" and name in _OF_ANYBODY


def harmed_by(
    kind: str,
    name: str,
    targets: Sequence[str],
    grudge: Grudge | None = None,
    nodes: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return which of the nodes a fault harms; `grudge` is who drops whose packets in a partition."""
    if kind in HARMLESS:
        return ()
    if harms_all(kind, name) and targets:
        return tuple(nodes)
    if kind == "partition" and name in _OF_ALL and grudge is not None:
        return left_out(targets, grudge)
    return tuple(targets)


def left_out(nodes: Sequence[str], grudge: Grudge) -> tuple[str, ...]:
    """Return who is not in the largest group found of nodes that all hear each other.

    Groups are grown from each node in turn. That finds the largest of any partition into groups,
    and of a bridge; elsewhere a larger one may exist, and too many count as left out.
    """

    def together(one: str, other: str) -> bool:
        return one not in grudge.get(other, ()) and other not in grudge.get(one, ())

    best: list[str] = []
    for first in nodes:
        group = [first]
        for node in nodes:
            if node not in group and all(together(node, member) for member in group):
                group.append(node)
        if len(group) > len(best):
            best = group
    return tuple(node for node in nodes if node not in best)
