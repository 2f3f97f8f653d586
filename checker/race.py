"""Owners of the compiled searches: they bring memory, transitions and patience.

Rules of this file:
- A kernel runs for a number of steps and returns; its owner grows arrays, asks the model for
  unknown transitions, and hands control back to whoever holds the budget.
- What an owner keeps is counted in bytes (`kept_bytes`); it never takes more than it was given.
- An answer `VALID` comes with an order of calls. Pure: no clock here.
"""

from __future__ import annotations

import math

import numpy as np

from checker.kernels import depth_first as dfs
from checker.kernels import layout
from checker.kernels.chains import chains, soon_of
from checker.kernels.layout import CAS, END, GIVES, INFINITE, KIND, NEEDS, READ, WRITE
from checker.problem import Problem

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
        layout.enter(self.keys, self.values, self.problem.classes, state, cls, after)
        self.count += 1
        self.problem.states = len(graph.states)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the table (the states themselves are the graph's)."""
        return self.keys.nbytes + self.values.nbytes


def _words_for(problem: Problem) -> tuple[np.ndarray, int]:
    """Lay out a configuration: slots first, then a counter for each optional class."""
    optional = np.zeros((len(problem.optional), dfs.OPTIONAL_COLUMNS), np.int32)
    word, shift = max(1, math.ceil(problem.slots / 64)), 0
    first = word
    for k, (kind, needs, gives) in enumerate(problem.optional.tolist()):
        width = min(31, len(problem.optional_calls[k]).bit_length())
        if shift + width > 64:
            word, shift = word + 1, 0
        optional[k] = (kind, needs, gives, word, shift, (1 << width) - 1)
        shift += width
    return optional, (word + 1 if len(optional) else first)


class DepthFirst:
    """One depth-first search; `advance` it until it answers."""

    def __init__(self, problem: Problem, transitions: Transitions) -> None:
        self.problem = problem
        self.transitions = transitions
        self.optional, width = _words_for(problem)
        calls, events = problem.calls, problem.events
        self.available = np.zeros(len(self.optional), np.int32)
        self.has_reigns = not problem.has_table
        self.producers, self.needers, self.last_need, self.soon, self.sole = _reigns(problem)
        self.opt_calls = np.array(
            [members[0] if len(members) == 1 else -1 for members in problem.optional_calls], np.int32
        )
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
        if self.kept_bytes * 2 > bytes_max:
            raise OutOfMemory
        depth = int(self.control[dfs.FRAMES])
        if depth + 1 > len(self.frames):
            self.frames = np.concatenate([self.frames, np.zeros_like(self.frames)])
            self.frame_words = np.concatenate([self.frame_words, np.zeros_like(self.frame_words)])
        if 2 * (int(self.control[dfs.VISITED]) + 1) > len(self.visited):
            larger = np.zeros((4 * len(self.visited), self.visited.shape[1]), np.uint64)
            dfs.rehash_visited(self.visited, larger)
            self.visited = larger

    def linearization(self) -> list[int]:
        """After `VALID`: places of the calls (in what the problem was made from), in order."""
        logged = self.order[: int(self.control[dfs.ORDERED])]
        ordered = np.empty_like(logged)
        first = dfs.unfolded(logged, self.problem.calls, self.optional, ordered)
        assert first == 0
        return _resolved(self.problem, ordered).tolist()  # type: ignore[no-any-return]


def _resolved(problem: Problem, ordered: np.ndarray) -> np.ndarray:
    """Replace ``~k`` by the next call of optional class k, and calls by their rows."""
    calls = ordered.copy()
    for k, members in enumerate(problem.optional_calls):
        uses = np.nonzero(ordered == ~k)[0]
        calls[uses] = members[: len(uses)]
    return problem.row[calls]


def _reigns(problem: Problem) -> tuple[np.ndarray, ...]:
    """Count who gives and who needs each state, and find until when it must stay."""
    calls, states = problem.calls, problem.states + 1
    kinds, returns = calls[:, KIND], calls[:, END] != INFINITE
    changes = (kinds == WRITE) | (kinds == CAS)
    looks = ((kinds == READ) | (kinds == CAS)) & returns
    producers = np.bincount(calls[changes, GIVES], minlength=states).astype(np.int32)
    needers = np.bincount(calls[looks, NEEDS], minlength=states).astype(np.int32)
    sole, _, last_need, _ = chains(calls, states, problem.initial)
    soon = soon_of(calls, len(problem.events))
    return producers, needers, last_need, soon, sole
