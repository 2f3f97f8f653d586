"""Owners of the compiled searches: they bring memory, transitions and patience.

Rules of this file:
- A kernel runs for a number of steps and returns; its owner grows arrays, asks the model for
  unknown transitions, and hands control back to whoever holds the budget.
- What an owner keeps is counted in bytes (`kept_bytes`); it never takes more than it was given.
- An answer `VALID` comes with an order of calls. Pure: no clock here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import numpy as np

from checker.columns import Ints
from checker.kernels import breadth_first as bfs
from checker.kernels import depth_first as dfs
from checker.kernels import fronts, layout, retell
from checker.kernels.chains import chains, soon_of
from checker.kernels.layout import CAS, GIVES, KIND, NEEDS, READ, REQUIRED, WRITE
from checker.kernels.visited import rehash_visited
from checker.problem import Problem

ALL = 1 << 40  # a beam as wide as it takes
NO_LOG = 2**62  # the parent of the first step in a log

# A pair of numbers in the list of what was learned, and its place there.
_LEARNED_BYTES = 140

_TRANSITIONS_AT_FIRST = 64
_ROOM_AT_FIRST = 256


class OutOfMemory(Exception):
    """A search needs more bytes than it may keep."""


class Transitions:
    """What is known of the state graph, as the hash table of `layout`; shared by searches."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        size = _TRANSITIONS_AT_FIRST if problem.has_table else 1
        self.keys = np.full(size, layout.EMPTY, np.int64)
        self.values = np.zeros(size, np.int32)
        self.count = 0
        self.learned: list[tuple[int, int]] = []

    def learn(self, state: int, cls: int) -> None:
        """Ask the model for one step."""
        graph = self.problem.graph
        assert graph is not None
        if 2 * (self.count + 1) > len(self.keys):
            keys = np.full(4 * len(self.keys), layout.EMPTY, np.int64)
            values = np.zeros(4 * len(self.keys), np.int32)
            layout.rehash(self.keys, self.values, keys, values)
            self.keys, self.values = keys, values
        after = graph.step(state, cls)
        self.learned.append((state, cls))
        layout.enter(self.keys, self.values, self.problem.classes, state, cls, after)
        self.count += 1
        self.problem.states = len(graph.states)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the table, and of the states that the model was asked for."""
        graph = self.problem.graph
        states = 0 if graph is None else graph.kept_bytes
        return self.keys.nbytes + self.values.nbytes + states + _LEARNED_BYTES * self.count


def _words_for(problem: Problem) -> tuple[np.ndarray, int]:
    """Lay out a configuration: slots first, then a counter for each optional class."""
    optional = np.zeros((len(problem.optional), layout.OPTIONAL_COLUMNS), np.int32)
    word, shift = max(1, math.ceil(problem.slots / 64)), 0
    first = word
    for k, (kind, needs, gives) in enumerate(problem.optional.tolist()):
        width = min(31, len(problem.optional_calls[k]).bit_length())
        if shift + width > 64:
            word, shift = word + 1, 0
        optional[k, :6] = (kind, needs, gives, word, shift, (1 << width) - 1)
        shift += width
    return optional, (word + 1 if len(optional) else first)


class _Saved:
    """A search whose arrays can be saved and put back: between two turns they are all there is."""

    SAVED: ClassVar[tuple[str, ...]] = ()

    def saved(self) -> dict[str, np.ndarray]:
        """Return the arrays that the search has changed, by name."""
        return {name: getattr(self, name) for name in self.SAVED}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put the arrays of `saved` back."""
        for name in self.SAVED:
            setattr(self, name, arrays[name])


class DepthFirst(_Saved):
    """One depth-first search; `advance` it until it answers."""

    SAVED: ClassVar[tuple[str, ...]] = (
        "available", "producers", "needers", "slot_call", "words", "order", "want", "frames",
        "frame_words", "visited", "control",
    )  # fmt: skip

    def __init__(self, problem: Problem, transitions: Transitions) -> None:
        self.problem = problem
        self.transitions = transitions
        self.optional, width = _words_for(problem)
        calls, events = problem.calls, problem.events
        self.available = np.zeros(len(self.optional), np.int32)
        self.has_reigns = not problem.has_table
        self.producers, self.needers, self.last_need, self.soon, self.sole = _reigns(problem)
        self.opt_calls = _single_calls(problem)
        self.slot_call = np.full(problem.slots, -1, np.int32)
        self.words = np.zeros(width, np.uint64)
        self.order = np.zeros(len(calls) + 1, np.int32)
        self.want = np.zeros(problem.states + 1, np.int64)
        self.frames = np.zeros((_ROOM_AT_FIRST, dfs.FRAME_COLUMNS), np.int64)
        self.frame_words = np.zeros((_ROOM_AT_FIRST, width), np.uint64)
        self.visited = np.zeros((_ROOM_AT_FIRST, width + 2), np.uint64)
        self.control = np.zeros(dfs.CONTROL_SIZE, np.int64)
        self.control[dfs.STATE] = problem.initial
        self.fixed_bytes = calls.nbytes + events.nbytes + self.order.nbytes

    @property
    def kept_bytes(self) -> int:
        """Bytes of everything that grows, and of what the search started with."""
        grown = self.frames.nbytes + self.frame_words.nbytes + self.visited.nbytes
        return self.fixed_bytes + grown + self.transitions.kept_bytes

    @property
    def steps(self) -> int:
        """How many calls were tried."""
        return int(self.control[dfs.STEPS])

    @property
    def furthest(self) -> int:
        """The event up to which some order came."""
        return int(self.control[dfs.FURTHEST])

    def advance(self, steps: int, bytes_max: float) -> int:
        """Search for about so many steps more; return `VALID`, `INVALID` or `LOOK`.

        Raises `OutOfMemory` where it would have to keep more than `bytes_max`.
        """
        self.control[dfs.STEPS_MAX] = self.control[dfs.STEPS] + steps
        table = self.transitions
        while True:
            code = int(dfs.run(
                self.problem.calls, self.problem.events, self.optional, self.available,
                table.keys, table.values, self.problem.classes,
                self.producers, self.needers, self.last_need, self.soon, self.sole,
                self.opt_calls, self.has_reigns,
                self.slot_call, self.words, self.order, self.want,
                self.frames, self.frame_words, self.visited, self.control,
            ))  # fmt: skip
            if code == layout.WANTS_STEP:
                wanted = self.control[dfs.WANTED_STATE], self.control[dfs.WANTED_CLASS]
                table.learn(int(wanted[0]), int(wanted[1]))
                if self.problem.states > len(self.want):
                    self.want = np.concatenate([self.want, np.zeros_like(self.want)])
            elif code == layout.WANTS_ROOM:
                self._grow(bytes_max)
            else:
                return code

    def _grow(self, bytes_max: float) -> None:
        """Enlarge what is full; while it is copied, the old and the new are there."""
        frames = int(self.control[dfs.FRAMES]) + 1 > len(self.frames)
        table = 2 * (int(self.control[dfs.VISITED]) + 1) > len(self.visited)
        more = 2 * (self.frames.nbytes + self.frame_words.nbytes) * frames
        more += 4 * self.visited.nbytes * table
        if self.kept_bytes + more > bytes_max:
            raise OutOfMemory
        if frames:
            self.frames = _doubled(self.frames)
            self.frame_words = _doubled(self.frame_words)
        if table:
            larger = np.zeros((4 * len(self.visited), self.visited.shape[1]), np.uint64)
            rehash_visited(self.visited, larger)
            self.visited = larger

    def linearization(self) -> list[int]:
        """After `VALID`: places of the calls (in what the problem was made from), in order."""
        logged = self.order[: int(self.control[dfs.ORDERED])]
        return _unfolded(self.problem, self.optional, logged)


class BreadthFirst(_Saved):
    """One just-in-time search: full width, or a beam of so many configurations.

    `tracked` are the optional classes that are counted; of the others there is no end, so that
    `VALID` may rest on more than there was: `linearization` is `None` then. `starts` are the states
    that it may begin in, the problem's initial one if none are given.
    """

    SAVED: ClassVar[tuple[str, ...]] = (
        "optional", "available", "producers", "needers", "slot_call", "masks", "front",
        "next_front", "stack", "seen_rows", "emitted", "seen", "heads", "links", "log", "wanted",
        "open_producers", "open_needers", "control",
    )  # fmt: skip

    def __init__(
        self,
        problem: Problem,
        transitions: Transitions,
        *,
        beam: int = ALL,
        tracked: Collection[int] = (),
        keep_log: bool = True,
        starts: Sequence[int] = (),
    ) -> None:
        self.problem = problem
        self.transitions = transitions
        self.optional, width = _words_for(problem)
        for k in tracked:
            self.optional[k, layout.OPT_TRACKED] = 1
        self.width = width
        self.available = np.zeros(len(self.optional), np.int32)
        # What reigns once is not known where the history may begin in any state.
        starts = starts or (problem.initial,)
        self.has_reigns = not problem.has_table and len(starts) == 1
        self.producers, self.needers, self.last_need, self.soon, self.sole = _reigns(problem)
        self.opt_calls = _single_calls(problem)
        self.slot_call = np.full(problem.slots, -1, np.int32)
        self.masks = np.zeros((3, max(1, math.ceil(problem.slots / 64))), np.uint64)
        # Tables are probed with a mask: their sizes are powers of two.
        room = _ROOM_AT_FIRST
        while room < len(starts):
            room *= 2
        self.front = np.zeros((room, width + 3), np.uint64)
        self.front[: len(starts), width + fronts.AT_STATE] = starts
        self.front[: len(starts), width + fronts.AT_LOG] = NO_LOG
        self.next_front = np.zeros((room, width + 3), np.uint64)
        self.stack = np.zeros((room, width + fronts.EXTRA_WORDS), np.uint64)
        self.seen_rows = np.zeros((room, width + 3), np.uint64)
        self.emitted = np.zeros((4 * room, 2), np.int64)
        self.seen = np.zeros((4 * room, 2), np.int64)
        self.heads = np.zeros(4 * room, np.int64)
        self.links = np.zeros(room, np.int64)
        self.log = np.zeros((room if keep_log else 0, retell.LOG_COLUMNS), np.int64)
        states = problem.states + 1
        self.wanted = np.zeros(states, np.int64)
        self.open_producers = np.zeros((states, 2), np.int64)
        self.open_needers = np.zeros((states, 2), np.int64)
        self.control = np.zeros(bfs.CONTROL_SIZE, np.int64)
        self.control[bfs.FRONT] = len(starts)
        self.control[bfs.BEAM] = beam
        self.control[bfs.KEEP_LOG] = int(keep_log)
        self.control[bfs.WIDEST] = 1
        self.fixed_bytes = problem.calls.nbytes + problem.events.nbytes

    @property
    def kept_bytes(self) -> int:
        """Bytes of everything that grows, and of what the search started with."""
        grown = (self.front, self.next_front, self.stack, self.seen_rows, self.emitted, self.seen,
                 self.heads, self.links, self.log)  # fmt: skip
        return self.fixed_bytes + self.transitions.kept_bytes + sum(a.nbytes for a in grown)

    @property
    def steps(self) -> int:
        """How many configurations were extended."""
        return int(self.control[bfs.STEPS])

    @property
    def furthest(self) -> int:
        """The event up to which some order came."""
        return int(self.control[bfs.EVENT])

    @property
    def widest(self) -> int:
        """The most configurations that were kept at once."""
        return int(self.control[bfs.WIDEST])

    def advance(self, steps: int, bytes_max: float) -> int:
        """Search for about so many steps more; return `VALID`, `INVALID`, `LOOK` or `GAVE_UP`.

        Raises `OutOfMemory` where it would have to keep more than `bytes_max`.
        """
        self.control[bfs.STEPS_MAX] = self.control[bfs.STEPS] + steps
        table = self.transitions
        while True:
            code = int(bfs.run(
                self.problem.calls, self.problem.events, self.optional, self.available,
                table.keys, table.values, self.problem.classes,
                self.producers, self.needers, self.last_need, self.soon, self.sole,
                self.opt_calls, self.has_reigns, self.slot_call, self.masks,
                self.front, self.next_front, self.stack, self.seen_rows, self.emitted, self.seen,
                self.heads, self.links, self.log,
                self.wanted, self.open_producers, self.open_needers, self.control,
            ))  # fmt: skip
            if code == layout.WANTS_STEP:
                wanted = self.control[bfs.WANTED_STATE], self.control[bfs.WANTED_CLASS]
                table.learn(int(wanted[0]), int(wanted[1]))
                if self.problem.states > len(self.wanted):
                    self.wanted = _doubled(self.wanted)
                    self.open_producers = _doubled(self.open_producers)
                    self.open_needers = _doubled(self.open_needers)
            elif code == layout.WANTS_ROOM:
                self._grow(bytes_max)
            else:
                return code

    def _grow(self, bytes_max: float) -> None:
        """Double whatever is nearly full; which it was does not matter."""
        control, epoch = self.control, int(self.control[bfs.EVENT]) + 1
        room = self.problem.slots + len(self.optional) + 4
        made, seen = int(control[fronts.NEXT_FRONT]), int(control[bfs.SEEN])
        logged = int(control[bfs.LOGGED]) + room if control[bfs.KEEP_LOG] else 0
        wanted = {  # how many rows each has to have
            "stack": int(control[bfs.STACK]) + 1 + room,
            "next_front": made + 2,
            "front": made,
            "seen_rows": seen + 1,
            "heads": 4 * made,
            "links": made,
            "log": logged,
            "emitted": 2 * (made + 2),
            "seen": 2 * (seen + 1),
        }
        grown = {name: rows for name, rows in wanted.items() if rows > len(getattr(self, name))}
        kept = self.kept_bytes
        for name, rows in grown.items():
            old = getattr(self, name)
            size = len(old)
            while size < rows:
                size *= 4 if name in ("emitted", "seen") else 2
            row_bytes = old.nbytes // max(1, len(old))
            if kept + size * row_bytes > bytes_max:  # the old and the new are there at once
                raise OutOfMemory
            new = np.zeros((size, *old.shape[1:]), old.dtype)
            if name in ("emitted", "seen"):
                rows_of, count = (
                    (self.next_front, made) if name == "emitted" else (self.seen_rows, seen)
                )
                fronts.rebuild(new, rows_of, count, self.width, epoch)
            else:
                new[: len(old)] = old
            setattr(self, name, new)
            kept = self.kept_bytes

    def overused(self) -> list[int]:
        """After `VALID`: the optional classes of which more was used than there was."""
        uses: dict[int, list[int]] = {}
        for at in self._chain().tolist():
            if self.log[at, retell.LOG_CALL] < 0:
                k = int(~self.log[at, retell.LOG_CALL])
                uses.setdefault(k, []).append(int(self.log[at, retell.LOG_EVENT]))
        over = []
        for k, events in uses.items():
            members = self.problem.optional_calls[k]
            starts = self.problem.calls[members, layout.START].tolist()
            if len(events) > len(starts) or any(
                start > event for start, event in zip(starts, events, strict=False)
            ):
                over.append(k)
        return over

    def linearization(self) -> list[int] | None:
        """After `VALID`: places of the calls in order, `None` if it used what was not there."""
        if self.overused():
            return None
        problem, table = self.problem, self.transitions
        order = np.zeros(len(problem.calls) + 1, np.int32)
        count = retell.retold(
            problem.calls, problem.events, self.optional, table.keys, table.values,
            problem.classes, problem.initial, self.log, self._chain(), order,
            np.full(problem.slots, -1, np.int32),
        )  # fmt: skip
        assert count >= 0
        return _unfolded(problem, self.optional, order[:count])

    def _chain(self) -> np.ndarray:
        """Return the places in the log that lead to the configuration that was left."""
        places = []
        at = int(self.control[bfs.LAST_LOG])
        while at != NO_LOG:
            places.append(at)
            at = int(self.log[at, retell.LOG_PARENT])
        return np.array(places[::-1], np.int64)


def _doubled(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros_like(array)])


def _single_calls(problem: Problem) -> np.ndarray:
    """Return, for each optional class, its call if it has but one, else -1."""
    return np.array(
        [members[0] if len(members) == 1 else -1 for members in problem.optional_calls], np.int32
    )


def _unfolded(problem: Problem, optional: np.ndarray, logged: np.ndarray) -> list[int]:
    ordered = np.empty_like(logged)
    first = retell.unfolded(logged, problem.calls, optional, ordered)
    assert first == 0
    return _resolved(problem, ordered).tolist()  # type: ignore[no-any-return]


def _resolved(problem: Problem, ordered: np.ndarray) -> np.ndarray:
    """Replace ``~k`` by the next call of optional class k, and calls by their rows."""
    calls = ordered.copy()
    for k, members in enumerate(problem.optional_calls):
        uses = np.nonzero(ordered == ~k)[0]
        calls[uses] = members[: len(uses)]
    rows: Ints = problem.row[calls]
    return rows


def _reigns(problem: Problem) -> tuple[np.ndarray, ...]:
    """Count who gives and who needs each state, and find until when it must stay."""
    calls, states = problem.calls, problem.states + 1
    kinds, required = calls[:, KIND], calls[:, REQUIRED] == 1
    changes = (kinds == WRITE) | (kinds == CAS)
    looks = ((kinds == READ) | (kinds == CAS)) & required
    producers = np.bincount(calls[changes, GIVES], minlength=states).astype(np.int32)
    needers = np.bincount(calls[looks, NEEDS], minlength=states).astype(np.int32)
    sole, _, last_need, _ = chains(calls, states, problem.initial)
    soon = soon_of(calls, len(problem.events))
    return producers, needers, last_need, soon, sole
