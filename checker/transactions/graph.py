"""The dependency graph of transactions, as arrays.

Rules of this file:
- Nodes are transactions in order of invocation. Edges of data (ww, wr, rw) are listed; those of
  process and real time follow from when transactions ran and are never listed: x comes before all
  nodes from ``suffix[x]`` on. So real time costs two edges a node where components are looked for
  (a chain of stand-ins, the transitive reduction's work in linear space), none in a walk.
- A hub is a stand-in for rw edges from many readers to many writers: one edge in, one out.
- `Edges` collects, `graph_of` builds, `Graph.restricted` cuts out some nodes, `Graph.components` and
  `Graph.snapshot_components` find what is strongly connected by some kinds of edges. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from checker.transactions.micro import Flags, Ints, Longs, Transactions, ragged
from checker.transactions.walks import walk

WW, WR, RW, PROCESS, REALTIME = range(5)
_FEW = 16  # rw edges of one version that are always listed


class Edges:
    """Edges of data on their way to a graph; edges of a node to itself are dropped."""

    def __init__(self) -> None:
        self.direct: list[tuple[Ints, Ints, int]] = []
        self.into_hubs: list[tuple[Longs, Longs]] = []
        self.out_of_hubs: list[tuple[Longs, Longs]] = []
        self.hubs = 0

    def add(self, source: Ints | Longs, target: Ints | Longs, kind: int) -> None:
        """Add edges of one kind."""
        kept = source != target
        self.direct.append((source[kept].astype(np.int32), target[kept].astype(np.int32), kind))

    def add_all_to_all(
        self, groups: int, of_reader: Longs, reader: Longs, of_writer: Longs, writer: Longs
    ) -> None:
        """Add rw edges from all readers of each group to all writers of it, in linear space.

        Where both are many they meet in a hub. A reader that is the only one to write there too
        would come before itself: its own edges are listed instead. (Two such come before each
        other, so then nothing wrong is connected by the hub.)
        """
        of_reader, reader = _distinct(of_reader, reader)
        of_writer, writer = _distinct(of_writer, writer)
        readers = np.bincount(of_reader, minlength=groups)
        writers = np.bincount(of_writer, minlength=groups)
        many = readers * writers > 2 * (readers + writers) + _FEW
        self._list(~many, of_reader, reader, of_writer, writer, readers, writers)
        if not np.any(many):
            return
        hub = np.cumsum(many) - 1 + self.hubs
        self.hubs += int(np.count_nonzero(many))
        both = _both(of_reader, reader, of_writer, writer)
        lone = both & (np.bincount(of_reader[both], minlength=groups) == 1)[of_reader]
        inward = many[of_reader] & ~lone
        outward = many[of_writer]
        self.into_hubs.append((reader[inward], hub[of_reader[inward]]))
        self.out_of_hubs.append((hub[of_writer[outward]], writer[outward]))
        lone &= many[of_reader]
        self._list(
            many, of_reader[lone], reader[lone], of_writer, writer,
            np.bincount(of_reader[lone], minlength=groups), writers,
        )  # fmt: skip

    def _list(self, chosen: Flags, of_reader: Longs, reader: Longs, of_writer: Longs,
              writer: Longs, readers: Longs, writers: Longs) -> None:  # fmt: skip
        begins = np.cumsum(writers) - writers  # writers are in order of their group
        kept = chosen[of_reader]
        of_reader, reader = of_reader[kept], reader[kept]
        counts = writers[of_reader]
        target = writer[ragged(begins[of_reader], counts)]
        self.add(np.repeat(reader, counts), target, RW)


def _distinct(group: Longs, node: Longs) -> tuple[Longs, Longs]:
    """Return the distinct pairs, in order of group."""
    if not len(group):
        return group.astype(np.int64), node.astype(np.int64)
    span = int(node.max()) + 1
    return tuple(np.divmod(np.unique(group.astype(np.int64) * span + node), span))  # type: ignore[return-value]


def _both(of_reader: Longs, reader: Longs, of_writer: Longs, writer: Longs) -> Flags:
    span = int(max(reader.max(initial=0), writer.max(initial=0))) + 1
    return np.isin(of_reader * span + reader, of_writer * span + writer)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A dependency graph; a target of `len(graph)` or more is a hub."""

    rows: Longs  # the transaction that each node is
    offsets: Longs
    targets: Ints
    kinds: Ints
    hub_offsets: Longs
    hub_targets: Ints
    start: Longs
    end: Longs
    group: Ints  # the process, numbered
    suffix: Longs
    by_process: Longs
    turn: Longs
    process_end: Longs

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def hubs(self) -> int:
        """How many hubs there are."""
        return len(self.hub_offsets) - 1

    def restricted(self, nodes: Longs) -> Graph:
        """Return the graph of these nodes (ascending) alone; linear in their edges."""
        count = len(nodes)
        new = np.full(len(self) + self.hubs, -1, dtype=np.int64)
        new[nodes] = np.arange(count)
        sizes = self.offsets[nodes + 1] - self.offsets[nodes]
        edges = ragged(self.offsets[nodes], sizes)
        source = np.repeat(np.arange(count), sizes)
        target, kind = self.targets[edges], self.kinds[edges]
        used = np.unique(target[target >= len(self)]).astype(np.int64)
        new[used] = np.arange(count, count + len(used))
        kept = new[target] != -1
        hub_sizes = (self.hub_offsets[1:] - self.hub_offsets[:-1])[used - len(self)]
        out = self.hub_targets[ragged(self.hub_offsets[used - len(self)], hub_sizes)]
        of_hub = np.repeat(np.arange(len(used)), hub_sizes)
        stays = new[out] != -1
        return _built(
            rows=self.rows[nodes],
            source=source[kept],
            target=new[target[kept]],
            kind=kind[kept],
            of_hub=of_hub[stays],
            out=new[out[stays]],
            hubs=len(used),
            start=self.start[nodes],
            end=self.end[nodes],
            group=self.group[nodes],
        )

    def components(self, kinds: Iterable[int]) -> Ints:
        """Return each node's and hub's component by edges of these kinds; -1 where no two nodes are
        in it."""
        component = self._numbered(kinds)
        sizes = np.bincount(component[: len(self)], minlength=int(component.max(initial=0)) + 1)
        component = component[: len(self) + self.hubs]
        return np.where(sizes[component] > 1, component, -1).astype(np.int32)

    def ranks(self, kinds: Iterable[int]) -> Ints:
        """Return numbers that never rise along edges of these kinds."""
        return self._numbered(kinds)[: len(self)]

    def _numbered(self, kinds: Iterable[int]) -> Ints:
        return _tarjan(*self._listed(frozenset(kinds)))

    def snapshot_components(self, kinds: Iterable[int]) -> tuple[Ints, Ints, Ints]:
        """Return the components of walks in which no two rw edges meet: of nodes before and after
        an rw edge, and of hubs.

        A node is there twice: as reached by another edge, from where all go on, and as reached by
        an rw edge, from where all but rw do (Cerone & Gotsman, PODC 2016, theorem 10).
        """
        count = len(self)
        source, target, nodes = self._listed(frozenset(kinds) - {RW})
        after = np.where(source < count, source + nodes, -1)
        again = after != -1
        sources, targets = [source, after[again]], [target, target[again]]
        edge_source = np.repeat(np.arange(count), np.diff(self.offsets))
        rw = self.kinds == RW
        # Hubs keep their places behind the stand-ins of real time, behind both copies of nodes.
        first_hub = nodes + count
        to = self.targets[rw].astype(np.int64)
        sources.append(edge_source[rw])
        targets.append(np.where(to < count, to + nodes, to - count + first_hub))
        sources.append(np.repeat(np.arange(self.hubs) + first_hub, np.diff(self.hub_offsets)))
        targets.append(self.hub_targets.astype(np.int64) + nodes)
        component = _tarjan(np.concatenate(sources), np.concatenate(targets), first_hub + self.hubs)
        return component[:count], component[nodes:first_hub], component[first_hub:]

    def _listed(self, kinds: frozenset[int]) -> tuple[Longs, Longs, int]:
        """Return edges of these kinds one by one, with stand-ins behind the nodes, and how many
        nodes that makes."""
        count = len(self)
        data = kinds & {WW, WR, RW}
        allowed = np.array([kind in data for kind in range(5)])[self.kinds]
        sources = [np.repeat(np.arange(count), np.diff(self.offsets))[allowed]]
        targets = [self.targets[allowed].astype(np.int64)]
        nodes = count + self.hubs
        if RW in kinds and self.hubs:
            sources.append(np.repeat(np.arange(count, nodes), np.diff(self.hub_offsets)))
            targets.append(self.hub_targets.astype(np.int64))
        if PROCESS in kinds and count:
            follows = self.group[self.by_process[1:]] == self.group[self.by_process[:-1]]
            sources.append(self.by_process[:-1][follows])
            targets.append(self.by_process[1:][follows])
        if REALTIME in kinds and count:
            # Stand-in i comes before node i and stand-in i + 1: all nodes from i on.
            chain = np.arange(nodes, nodes + count)
            before = np.flatnonzero(self.suffix < count)
            sources += [chain, chain[:-1], before]
            targets += [np.arange(count), chain[1:], self.suffix[before] + nodes]
            nodes += count
        return np.concatenate(sources), np.concatenate(targets), nodes


def _tarjan(source: Longs, target: Longs, nodes: int) -> Ints:
    work = len(source) + nodes
    offsets, order = walk("adjacency", work)(source, nodes)
    component: Ints
    component, _ = walk("components", work)(offsets, target[order].astype(np.int32))
    return component


def _built(*, rows: Longs, source: Longs, target: Longs, kind: Ints, of_hub: Longs, out: Longs,
           hubs: int, start: Longs, end: Longs, group: Ints) -> Graph:  # fmt: skip
    count = len(rows)
    offsets, order = walk("adjacency", len(source))(source.astype(np.int64), count)
    hub_offsets, hub_order = walk("adjacency", len(of_hub))(of_hub, hubs)
    by_process = np.lexsort((start, group))
    turn = np.empty(count, dtype=np.int64)
    turn[by_process] = np.arange(count)
    last = np.ones(count, dtype=np.bool_)
    last[:-1] = group[by_process[1:]] != group[by_process[:-1]]
    ends = np.flatnonzero(last) + 1
    process_end = np.empty(count, dtype=np.int64)
    process_end[by_process] = ends[np.cumsum(last) - last]
    return Graph(
        rows=rows,
        offsets=offsets,
        targets=target[order].astype(np.int32),
        kinds=kind[order].astype(np.int32),
        hub_offsets=hub_offsets,
        hub_targets=out[hub_order].astype(np.int32),
        start=start,
        end=end,
        group=group,
        suffix=np.searchsorted(start, end, side="right"),
        by_process=by_process,
        turn=turn,
        process_end=process_end,
    )


def graph_of(txns: Transactions, edges: Edges) -> Graph:
    """Return the graph of all transactions of a history."""
    nothing = np.zeros(0, dtype=np.int32)
    direct = edges.direct or [(nothing, nothing, WW)]
    count = len(txns)
    into, out = edges.into_hubs, edges.out_of_hubs
    none = np.zeros(0, dtype=np.int64)
    _, group = np.unique(txns.process, return_inverse=True)
    source = [part[0] for part in direct] + [part[0].astype(np.int32) for part in into]
    target = [part[1] for part in direct] + [(part[1] + count).astype(np.int32) for part in into]
    kind = [np.full(len(part[0]), part[2], np.int8) for part in direct]
    kind += [np.full(len(part[0]), RW, np.int8) for part in into]
    return _built(
        rows=np.arange(count, dtype=np.int64),
        source=np.concatenate(source),
        target=np.concatenate(target),
        kind=np.concatenate(kind).astype(np.int32),
        of_hub=np.concatenate([part[0] for part in out]) if out else none,
        out=np.concatenate([part[1] for part in out]) if out else none,
        hubs=edges.hubs,
        start=txns.start,
        end=txns.end,
        group=group.astype(np.int32),
    )
