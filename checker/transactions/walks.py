"""The loops over graphs and lists that arrays alone cannot do: plain functions, compiled when large.

Rules of this file:
- Each function is ordinary Python over integer arrays that numba compiles as it stands
  (`checker.kernels.walks`); `walk` chooses: nobody waits for a compiler over a small history. They
  call nothing of each other, recurse nowhere, and take time linear in what they are given.
- `components`: Tarjan (SIAM J. Comput. 1(2), 1972) without recursion. Numbers fall along edges: an
  edge from u to v of another component has ``component[u] > component[v]``.
- `shortest_walk`: breadth first over (node, state of a small automaton). Letters are the kinds of
  edges, 0 ww, 1 wr, 2 rw, 3 process, 4 realtime. Realtime's successors of a node are all nodes from
  ``suffix[node]`` on (nodes are in order of invocation), those by process all later ones of its
  group: both are walked with a mark of how far each state has got, so that neither needs edges.
  A *hub* stands for rw edges from many nodes to many; a node is no successor of itself, so a hub is
  walked twice: the second time for the one node that was left out the first time.
- Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# Work (edges, elements) up to which the plain functions are used.
SMALL_WORK = 30_000


def walk(name: str, work: int) -> Callable[..., Any]:
    """Return the function of that name for that much work."""
    if work <= SMALL_WORK:
        plain: Callable[..., Any] = globals()[name]
        return plain
    from checker.kernels import walks as compiled

    found: Callable[..., Any] = getattr(compiled, name)
    return found


def adjacency(source: Any, nodes: int) -> Any:
    """Return the offsets of each node's edges, and the edges in order of their source."""
    offsets = np.zeros(nodes + 1, dtype=np.int64)
    for edge in range(len(source)):
        offsets[source[edge] + 1] += 1
    for node in range(nodes):
        offsets[node + 1] += offsets[node]
    order = np.empty(len(source), dtype=np.int32)
    free = offsets.copy()
    for edge in range(len(source)):
        node = source[edge]
        order[free[node]] = edge
        free[node] += 1
    return offsets, order


def components(offsets: Any, targets: Any) -> Any:
    """Return each node's strongly connected component, and how many there are."""
    nodes = len(offsets) - 1
    component = np.full(nodes, -1, dtype=np.int32)
    number = np.full(nodes, -1, dtype=np.int32)
    low = np.zeros(nodes, dtype=np.int32)
    place = offsets[:-1].copy()
    path = np.empty(nodes, dtype=np.int32)
    stack = np.empty(nodes, dtype=np.int32)
    met, height, found = 0, 0, 0
    for root in range(nodes):
        if number[root] != -1:
            continue
        depth = 0
        path[0] = root
        number[root] = low[root] = met
        met += 1
        stack[height] = root
        height += 1
        while depth >= 0:
            node = path[depth]
            if place[node] < offsets[node + 1]:
                other = targets[place[node]]
                place[node] += 1
                if number[other] == -1:
                    number[other] = low[other] = met
                    met += 1
                    stack[height] = other
                    height += 1
                    depth += 1
                    path[depth] = other
                elif component[other] == -1 and number[other] < low[node]:
                    low[node] = number[other]
                continue
            if low[node] == number[node]:
                while True:
                    height -= 1
                    member = stack[height]
                    component[member] = found
                    if member == node:
                        break
                found += 1
            depth -= 1
            if depth >= 0 and low[node] < low[path[depth]]:
                low[path[depth]] = low[node]
    return component, found


def differing(elements: Any, at: Any, length: Any, whole: Any) -> Any:
    """Return for each list the first place where it differs from its `whole` one (as long or
    longer), -1 where it is a prefix."""
    first = np.full(len(at), -1, dtype=np.int64)
    for one in range(len(at)):
        begin, other = at[one], whole[one]
        if begin == other:
            continue
        for place in range(length[one]):
            if elements[begin + place] != elements[other + place]:
                first[one] = place
                break
    return first


def inside(before: Any, is_write: Any, known: Any, code: Any, at: Any, length: Any,
           elements: Any, micros: Any) -> Any:  # fmt: skip
    """Look at lists inside transactions; `before` is the micro-operation on the same key before.

    Returns, for each of `micros`, of a read: -2 if it is what came before lets expect, else the last
    micro-operation on the key before it; of an append: the earliest read before it that saw its
    element, or -2.
    """
    found = np.full(len(micros), -2, dtype=np.int64)
    for one in range(len(micros)):
        micro = micros[one]
        if is_write[micro]:
            earlier = before[micro]
            while earlier != -1:
                if not is_write[earlier] and known[earlier]:
                    for place in range(at[earlier], at[earlier] + length[earlier]):
                        if elements[place] == code[micro]:
                            found[one] = earlier
                            break
                earlier = before[earlier]
            continue
        # Own appends are at the end of what is read, what was read before is all that comes before.
        end = at[micro] + length[micro]
        earlier = before[micro]
        agrees = True
        while earlier != -1 and is_write[earlier]:
            end -= 1
            if end < at[micro] or elements[end] != code[earlier]:
                agrees = False
                break
            earlier = before[earlier]
        if agrees and earlier != -1:
            agrees = end - at[micro] == length[earlier]
            if agrees:
                for place in range(length[earlier]):
                    if elements[at[micro] + place] != elements[at[earlier] + place]:
                        agrees = False
                        break
        if not agrees:
            found[one] = before[micro]
    return found


def shortest_walk(
    offsets: Any, targets: Any, kinds: Any, hub_offsets: Any, hub_targets: Any,
    suffix: Any, turn: Any, by_process: Any, process_end: Any, rank: Any,
    table: Any, accepts: Any, start: int, limit: int, steps_max: int,
    came_from: Any, came_by: Any, queue: Any,
) -> Any:  # fmt: skip
    """Find a shortest closed walk through `start` that the automaton accepts, below `limit` edges.

    `table[state, letter]` is the next state or -1; the walk begins in state 0. Nodes of lower rank
    than the start's are not entered. Returns the (node, state) it ends in or -1, and the steps taken.
    `came_from` must be -1 everywhere; what was set is set back except along the walk that is found.
    """
    nodes, states = len(offsets) - 1, len(table)
    # How far down each group was walked, kept at its last place.
    ordered = table[:, 3].max() >= 0
    process_low = np.full(len(by_process) * states if ordered else 0, -1, dtype=np.int64)
    suffix_low = np.full(states, nodes, dtype=np.int64)
    hub_seen = np.full((len(hub_offsets) - 1) * states, -1, dtype=np.int64)
    steps, head, tail, found = len(process_low), 0, 1, -1
    queue[0] = start * states
    length, layer_end = 0, 1
    while head < tail and found == -1 and steps < steps_max:
        if head == layer_end:
            length += 1
            layer_end = tail
            if length + 1 >= limit:
                break
        here = queue[head]
        head += 1
        node, state = here // states, here % states
        # Five sources of successors, walked by one loop: edges, hubs in them, process, realtime.
        for source in range(3):
            if source == 0:
                begin, end = offsets[node], offsets[node + 1]
                letter, to_state = -1, -1
            elif source == 1:
                to_state = table[state, 3]
                if to_state < 0:
                    continue
                letter = 3
                begin, end = turn[node] + 1, process_end[node]
                mark = (process_end[node] - 1) * states + to_state
                if process_low[mark] != -1 and process_low[mark] < end:
                    end = process_low[mark]
                if begin < end:
                    process_low[mark] = begin
            else:
                to_state = table[state, 4]
                if to_state < 0:
                    continue
                letter = 4
                begin, end = suffix[node], suffix_low[to_state]
                if begin < end:
                    suffix_low[to_state] = begin
            for place in range(begin, end):
                steps += 1
                if source == 0:
                    letter = kinds[place]
                    to_state = table[state, letter]
                    if to_state < 0:
                        continue
                    other = targets[place]
                elif source == 1:
                    other = by_process[place]
                else:
                    other = place
                first, last = 0, 1
                is_hub = other >= nodes
                if is_hub:
                    hub = other - nodes
                    mark = hub * states + to_state
                    if hub_seen[mark] == -2 or hub_seen[mark] == node:
                        continue
                    hub_seen[mark] = node if hub_seen[mark] == -1 else -2
                    first, last = hub_offsets[hub], hub_offsets[hub + 1]
                for each in range(first, last):
                    if is_hub:
                        steps += 1
                        other = hub_targets[each]
                        if other == node:
                            continue
                    if rank[other] < rank[start]:
                        continue
                    there = other * states + to_state
                    if other == start and accepts[to_state] and found == -1:
                        found = there
                        if came_from[there] == -1:
                            queue[tail] = there
                            tail += 1
                        came_from[there] = here
                        came_by[there] = letter
                    if came_from[there] != -1 or there == start * states:
                        continue
                    came_from[there] = here
                    came_by[there] = letter
                    queue[tail] = there
                    tail += 1
                if found != -1:
                    break
            if found != -1:
                break
    path = np.empty(2 * (length + 2), dtype=np.int64)
    size = 0
    if found != -1:
        there = found
        while True:
            path[2 * size], path[2 * size + 1] = came_from[there], came_by[there]
            there = came_from[there]
            size += 1
            if there == start * states:
                break
    for one in range(tail):
        came_from[queue[one]] = -1
    return path[: 2 * size], steps
