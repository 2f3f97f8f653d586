"""Which search in which order, for one object: chosen by what its history is.

Rules of this file:
- A race (Knossos calls it a competition) between searches that are good at different histories:
  depth first finds an order where there is one, all configurations event by event find that there
  is none, and beams of the most promising ones find orders where both drown. Each runs for a slice,
  longer every round, until one answers: `VALID` with an order, or `INVALID`.
- Where depth first comes no further, a contradiction may be near: a few calls before that return
  that have no order whatever the state was before (`near`). Asked once for each furthest return.
- Crashed calls are at first in unlimited supply for those that go event by event; where an order
  used more than there was, the classes it overdrew are counted from then on, and it begins again.
- Looks at the budget between slices; `unknown` says what was spent and how far it came.
- A race can be paused and saved (`checker.checkpoint`). Pure: the clock is the budget's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from checker.budget import Budget, Spent
from checker.kernels import layout
from checker.kernels.breadth_first import GAVE_UP
from checker.problem import Problem
from checker.race import ALL, BreadthFirst, DepthFirst, OutOfMemory, Transitions
from checker.verdict import Verdict

# Steps that pass between two looks at the clock: some tens of milliseconds.
_SLICE_MAX = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a race found out; `order` are places of calls in what the problem was made from.

    `until` is the place of the call whose return no order comes past (if invalid), or the furthest
    one that some order came up to. `spent` says why it is unknown.
    """

    verdict: Verdict
    algorithm: str
    order: list[int] | None = None
    until: int | None = None
    spent: Spent | None = None
    steps: int = 0
    kept_bytes: int = 0


@dataclass(slots=True)
class Runner:
    """One search in the race: how it is begun, and how long its next turn is."""

    name: str
    beam: int | None  # `None`: depth first
    turn: int
    growth: float = 3.0
    tracked: set[int] = field(default_factory=set)
    keep_log: bool = False
    search: DepthFirst | BreadthFirst | None = None
    done: bool = False


class Race:
    """All searches on one problem, a turn each at a time."""

    def __init__(self, problem: Problem, near: Callable[[int], bool] = lambda _: False) -> None:
        self.problem = problem
        self.near = near
        self.asked = -1
        self.transitions = Transitions(problem)
        size = max(1, len(problem.calls))
        every = set(range(len(problem.optional_calls)))
        # An endless supply of calls that make ever new states would never end: these are counted.
        kinds = problem.optional[:, 0].tolist()
        tables = {k for k, kind in enumerate(kinds) if kind == layout.TABLE}
        # First turns in steps a call, from what hard histories were seen to take (docs/results.md):
        # a step depth first is several times cheaper than extending a configuration.
        self.runners = [
            Runner("depth-first", None, 120 * size + 5000),
            Runner("just-in-time", ALL, 20 * size + 5000, tracked=tables),
            Runner("beam-8", 8, 20 * size + 5000, tracked=set(every), keep_log=True),
            Runner("beam-64", 64, 60 * size + 5000, tracked=set(every), keep_log=True),
            Runner("beam-512", 512, 200 * size + 5000, tracked=set(every), keep_log=True),
        ]
        self.steps = 0
        self.furthest = 0
        self.peak_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes that all searches keep together."""
        return sum(r.search.kept_bytes for r in self.runners if r.search is not None)

    def run(self, budget: Budget) -> Answer:
        """Go on until somebody answers or the budget is spent."""
        while True:
            running = [runner for runner in self.runners if not runner.done]
            if not running:
                return self._unknown(Spent.MEMORY, "race")
            for runner in running:
                answer = self._turn(runner, budget) or self._near()
                if answer is not None:
                    return answer

    def _near(self) -> Answer | None:
        """Ask whether the furthest return is one that no order comes past, from what is near it."""
        place = self._call_at(self.furthest)
        if place is None or self.furthest <= self.asked:
            return None
        self.asked = self.furthest
        if not self.near(place):
            return None
        return Answer(
            verdict=Verdict.INVALID,
            algorithm="window",
            until=place,
            steps=self.steps,
            kept_bytes=self.peak_bytes,
        )

    def saved(self) -> dict[str, np.ndarray]:
        """Return all that the race knows, as arrays by name."""
        numbers = [self.steps, self.furthest, self.peak_bytes]
        arrays = {
            "race": np.array(numbers, np.int64),
            "learned": np.array(self.transitions.learned, np.int64).reshape(-1, 2),
        }
        for at, runner in enumerate(self.runners):
            state = [runner.turn, int(runner.done), int(runner.keep_log)]
            arrays[f"{at}"] = np.array(state, np.int64)
            arrays[f"{at}.tracked"] = np.array(sorted(runner.tracked), np.int64)
            if runner.search is not None:
                for name, array in runner.search.saved().items():
                    arrays[f"{at}.{name}"] = array
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `saved` returned, of a race on the same problem."""
        self.steps, self.furthest, self.peak_bytes = arrays["race"].tolist()
        for state, cls in arrays["learned"].tolist():
            self.transitions.learn(state, cls)
        for at, runner in enumerate(self.runners):
            runner.turn, done, keep_log = arrays[f"{at}"].tolist()
            runner.done, runner.keep_log = bool(done), bool(keep_log)
            runner.tracked = set(arrays[f"{at}.tracked"].tolist())
            if f"{at}.control" in arrays:
                runner.search = self._begun(runner)
                runner.search.restore({
                    name: arrays[f"{at}.{name}"] for name in runner.search.SAVED
                })  # fmt: skip

    def _turn(self, runner: Runner, budget: Budget) -> Answer | None:
        left = runner.turn
        runner.turn = int(min(runner.turn * runner.growth, 1 << 60))
        while left > 0 and not runner.done:
            if budget.spent(0) is Spent.TIME:
                return self._unknown(Spent.TIME, runner.name)
            answer = self._slice(runner, min(left, _SLICE_MAX), budget)
            if answer is not None:
                return answer
            left -= _SLICE_MAX
        return None

    def _slice(self, runner: Runner, steps: int, budget: Budget) -> Answer | None:
        search = runner.search = runner.search or self._begun(runner)
        others = self.kept_bytes - search.kept_bytes
        before = search.steps
        try:
            code = search.advance(steps, budget.memory_bytes - others)
        except OutOfMemory:
            self._finish(runner)
            return None
        self.steps += search.steps - before
        if isinstance(search, DepthFirst) or len(runner.tracked) == len(search.optional):
            # Where crashed calls are in unlimited supply, more is ordered than can be.
            self.furthest = max(self.furthest, search.furthest)
        self.peak_bytes = max(self.peak_bytes, self.kept_bytes)
        if code == layout.INVALID:
            return self._answer(Verdict.INVALID, runner, until=search.furthest)
        if code == layout.VALID:
            return self._valid(runner, search)
        if code == GAVE_UP:
            self._finish(runner)
        return None

    def _begun(self, runner: Runner) -> DepthFirst | BreadthFirst:
        if runner.beam is None:
            return DepthFirst(self.problem, self.transitions)
        return BreadthFirst(
            self.problem,
            self.transitions,
            beam=runner.beam,
            tracked=runner.tracked,
            keep_log=runner.keep_log,
        )

    def _valid(self, runner: Runner, search: DepthFirst | BreadthFirst) -> Answer | None:
        """Take the order, or begin again: with a log, or counting what was overdrawn."""
        if isinstance(search, DepthFirst):
            order: list[int] | None = search.linearization()
        elif not runner.keep_log:
            runner.keep_log = True
            runner.search = None
            return None
        else:
            over = search.overused()
            if over:
                runner.tracked |= set(over)
                runner.search = None
                return None
            order = search.linearization()
        assert order is not None
        return self._answer(Verdict.VALID, runner, order=order)

    def _finish(self, runner: Runner) -> None:
        runner.done = True
        runner.search = None

    def _answer(
        self, verdict: Verdict, runner: Runner, *, order: list[int] | None = None,
        until: int | None = None,
    ) -> Answer:  # fmt: skip
        return Answer(
            verdict=verdict,
            algorithm=runner.name,
            order=order,
            until=None if until is None else self._call_at(until),
            steps=self.steps,
            kept_bytes=self.peak_bytes,
        )

    def _unknown(self, spent: Spent, name: str) -> Answer:
        return Answer(
            verdict=Verdict.UNKNOWN,
            algorithm=name,
            until=self._call_at(self.furthest),
            spent=spent,
            steps=self.steps,
            kept_bytes=self.peak_bytes,
        )

    def _call_at(self, event: int) -> int | None:
        """Return the place of the call that returns at an event, or first after it."""
        events = self.problem.events
        while event < len(events) and events[event] >= 0:
            event += 1
        return None if event >= len(events) else int(self.problem.row[~events[event]])
