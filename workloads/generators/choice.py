"""Which of several: any, mix, flip-flop.

Rules of this file:
- Sources all learn from every event, whoever caused it.
- Choices that matter to the run's shape are drawn from a named stream at a position of the
  generator's own, so that nobody else's draws shift them. Two choosers in one tree want two names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from checker.history import Event

from .core import (
    PENDING,
    Context,
    Generator,
    Name,
    Step,
    all_updated,
    replaced,
    soonest,
)


def drawer(context: Context, name: Name, position: int) -> Callable[[int], int]:
    """Return a function that draws below a bound; nothing is computed before it is called."""
    return lambda bound: context.stream(name).below(position, bound)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Whichever source's invocation is due first. Ends with the last of them."""

    sources: tuple[Generator, ...]
    stream: Name = "any"
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return the invocation that is due first."""
        steps = [source.next(context) for source in self.sources]
        chosen = soonest(steps, drawer(context, self.stream, self.position))
        if chosen is None:
            return PENDING if PENDING in steps else None
        step = steps[chosen]
        assert isinstance(step, tuple)
        sources = replaced(self.sources, chosen, step[1])
        return step[0], AnyOf(sources, self.stream, self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Let all sources learn."""
        sources = all_updated(self.sources, event, context)
        return self if sources is self.sources else replace(self, sources=sources)


@dataclass(frozen=True, slots=True)
class ShortestOf:
    """Whichever source's invocation is due first. Ends with the first of them to end."""

    sources: tuple[Generator, ...]
    stream: Name = "shortest"
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return the invocation that is due first, `None` as soon as one source has ended."""
        steps = [source.next(context) for source in self.sources]
        if None in steps:
            return None
        chosen = soonest(steps, drawer(context, self.stream, self.position))
        if chosen is None:
            return PENDING if steps else None
        step = steps[chosen]
        assert isinstance(step, tuple)
        sources = replaced(self.sources, chosen, step[1])
        return step[0], ShortestOf(sources, self.stream, self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Let all sources learn."""
        sources = all_updated(self.sources, event, context)
        return self if sources is self.sources else replace(self, sources=sources)


@dataclass(frozen=True, slots=True)
class Mix:
    """A random mixture: before each invocation one of the sources is drawn, by weight.

    A source that has ended leaves; one that is pending is passed over for this time (Jepsen's waits
    for it, and everybody with it).
    """

    sources: tuple[Generator, ...]
    weights: tuple[int, ...]
    stream: Name = "mix"
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return an invocation of a source that was drawn."""
        sources, weights = self.sources, self.weights
        left = sum(weights)
        drawn = context.stream(self.stream).below(self.position, left) if left else 0
        live = list(range(len(sources)))
        ended: list[int] = []
        while live:
            # The same draw serves for those that remain: it is scaled down to their weights.
            remaining = sum([weights[place] for place in live])
            offset = drawn * remaining // left
            for chosen in live:
                offset -= weights[chosen]
                if offset < 0:
                    break
            step = sources[chosen].next(context)
            if isinstance(step, tuple):
                return step[0], self._after(chosen, step[1], ended)
            live.remove(chosen)
            if step is None:
                ended.append(chosen)
        return PENDING if len(ended) < len(sources) else None

    def update(self, event: Event, context: Context) -> Generator:
        """Let all sources learn."""
        sources = all_updated(self.sources, event, context)
        if sources is self.sources:
            return self
        return Mix(sources, self.weights, self.stream, self.position)

    def _after(self, chosen: int, successor: Generator, ended: list[int]) -> Mix:
        sources = replaced(self.sources, chosen, successor)
        if not ended:
            return Mix(sources, self.weights, self.stream, self.position + 1)
        left = [place for place in range(len(sources)) if place not in ended]
        return Mix(
            tuple(sources[place] for place in left),
            tuple(self.weights[place] for place in left),
            self.stream,
            self.position + 1,
        )


@dataclass(frozen=True, slots=True)
class FlipFlop:
    """One invocation of each source in turn. Ends as soon as one whose turn it is has ended."""

    sources: tuple[Generator, ...]
    turn: int = 0

    def next(self, context: Context) -> Step:
        """Pass on the answer of the source whose turn it is."""
        step = self.sources[self.turn].next(context)
        if not isinstance(step, tuple):
            return step
        sources = replaced(self.sources, self.turn, step[1])
        return step[0], FlipFlop(sources, (self.turn + 1) % len(sources))

    def update(self, event: Event, context: Context) -> Generator:
        """Let all sources learn."""
        sources = all_updated(self.sources, event, context)
        return self if sources is self.sources else FlipFlop(sources, self.turn)
