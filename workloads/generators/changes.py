"""What happens to operations and events on their way: changed, filtered, watched.

Rules of this file:
- The functions given must be pure, except those that only watch (`Trace`).
- Operations that are not in the history (sleep, log) pass unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from checker.history import Event

from .core import LOCAL, Context, Generator, GeneratorError, Invocation, Step

# A filter that lets nothing through would look for ever.
_REFUSED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Mapped:
    """Invocations of `source`, changed by a function of them and the context."""

    function: Callable[[Invocation, Context], Invocation]
    source: Generator

    def next(self, context: Context) -> Step:
        """Return the source's invocation, changed."""
        step = self.source.next(context)
        if not isinstance(step, tuple):
            return step
        invocation = step[0]
        if invocation.f not in LOCAL:
            invocation = self.function(invocation, context)
        return invocation, Mapped(self.function, step[1])

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else Mapped(self.function, source)


@dataclass(frozen=True, slots=True)
class Filtered:
    """Those invocations of `source` for which `wanted` is true."""

    wanted: Callable[[Invocation], bool]
    source: Generator

    def next(self, context: Context) -> Step:
        """Return the source's next invocation that is wanted."""
        source = self.source
        for _ in range(_REFUSED_MAX):
            step = source.next(context)
            if not isinstance(step, tuple):
                return step
            invocation, source = step
            if invocation.f in LOCAL or self.wanted(invocation):
                return invocation, Filtered(self.wanted, source)
        raise GeneratorError(f"a filter refused {_REFUSED_MAX} operations in a row")

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn."""
        source = self.source.update(event, context)
        return self if source is self.source else Filtered(self.wanted, source)


@dataclass(frozen=True, slots=True)
class OnUpdate:
    """`source`, with `handler(this, event, context)` to say what an event makes of it."""

    handler: Callable[[OnUpdate, Event, Context], Generator]
    source: Generator

    def next(self, context: Context) -> Step:
        """Pass on the source's answer."""
        step = self.source.next(context)
        return (step[0], OnUpdate(self.handler, step[1])) if isinstance(step, tuple) else step

    def update(self, event: Event, context: Context) -> Generator:
        """Return what the handler says."""
        return self.handler(self, event, context)


@dataclass(frozen=True, slots=True)
class IgnoreUpdates:
    """`source`, which learns nothing: for large ones that do not need to."""

    source: Generator

    def next(self, context: Context) -> Step:
        """Pass on the source's answer."""
        step = self.source.next(context)
        return (step[0], IgnoreUpdates(step[1])) if isinstance(step, tuple) else step

    def update(self, event: Event, context: Context) -> Generator:
        """Learn nothing."""
        del event, context
        return self


@dataclass(frozen=True, slots=True)
class Trace:
    """`source`, watched: `watch(label, question, answer)` is told of every ask and event.

    The question is the context or the event, the answer the step or the generator.
    """

    label: str
    watch: Callable[[str, object, object], None]
    source: Generator

    def next(self, context: Context) -> Step:
        """Pass on the source's answer and tell of it."""
        step = self.source.next(context)
        self.watch(self.label, context, step)
        return (
            (step[0], Trace(self.label, self.watch, step[1])) if isinstance(step, tuple) else step
        )

    def update(self, event: Event, context: Context) -> Generator:
        """Let the source learn and tell of it."""
        source = self.source.update(event, context)
        self.watch(self.label, event, source)
        return self if source is self.source else Trace(self.label, self.watch, source)
