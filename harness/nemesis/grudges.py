"""Grudges: who refuses to hear whom. Pure set algebra, nothing is cut here.

Rules of this file:
- A grudge maps a node to the nodes whose packets it drops. It says nothing about the controller,
  which is never cut off.
- Dropping at the receiver cuts one direction; a partition both ways is a grudge on both sides.
- Nodes come in a fixed order (the cluster's), so that a grudge is the same on every machine.

The names and the shape are Jepsen's (`bisect`, `complete-grudge`, `majorities-ring`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeAlias

Grudge: TypeAlias = Mapping[str, tuple[str, ...]]


def complete(groups: Sequence[Sequence[str]]) -> Grudge:
    """Cut every link between nodes of different groups, both ways."""
    everyone = [node for group in groups for node in group]
    return {
        node: tuple(other for other in everyone if other not in group)
        for group in groups
        for node in group
    }


def halves(nodes: Sequence[str], random: Random) -> Grudge:
    """Split a random order of the nodes in the middle; the smaller half comes first."""
    shuffled = list(nodes)
    random.shuffle(shuffled)
    middle = len(shuffled) // 2
    return complete([shuffled[:middle], shuffled[middle:]])


def isolate(nodes: Sequence[str], target: str) -> Grudge:
    """Cut one node off from all others, both ways."""
    return complete([[target], [node for node in nodes if node != target]])


def majorities_ring(nodes: Sequence[str], random: Random) -> Grudge:
    """Let every node hear exactly a majority, but no two nodes the same one.

    The nodes stand in a random ring and each hears the majority-sized arc around it. Where a
    majority is an even number (3, 4, 7, 8, ... nodes) no such arc is centred, so some links are
    cut in one direction only.
    """
    ring = list(nodes)
    random.shuffle(ring)
    count = len(ring)
    majority = count // 2 + 1
    grudge: dict[str, tuple[str, ...]] = {}
    for place, node in enumerate(ring):
        first = place - (majority - 1) // 2
        heard = {ring[(first + step) % count] for step in range(majority)}
        grudge[node] = tuple(other for other in nodes if other not in heard)
    return {node: grudge[node] for node in nodes}


def bridge(nodes: Sequence[str], random: Random) -> Grudge:
    """Split the nodes in halves that do not hear each other, but for one node that hears all."""
    shuffled = list(nodes)
    random.shuffle(shuffled)
    middle, *others = shuffled
    half = len(others) // 2
    return {**complete([others[:half], others[half:]]), middle: ()}


def one_way(nodes: Sequence[str], target: str, *, deaf: bool) -> Grudge:
    """Cut one direction only: `target` hears nobody (deaf), or nobody hears `target` (mute)."""
    others = tuple(node for node in nodes if node != target)
    if deaf:
        return {target: others}
    return dict.fromkeys(others, (target,))
