"""Where operations come from: one operation, functions, scripts.

Rules of this file:
- A leaf takes a free thread of its context, drawn (`Context.pick`) unless the thread matters.
- A leaf's invocation is due when it is asked for; when it is wanted is the business of timing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from checker.history import Event

from .core import PENDING, Context, Generator, Invocation, Step, Thread, _Pending


@dataclass(frozen=True, slots=True)
class Nothing:
    """Generates nothing."""

    def next(self, context: Context) -> Step:
        """Return `None`."""
        del context
        return None

    def update(self, event: Event, context: Context) -> Generator:
        """Learn nothing."""
        del event, context
        return self


NOTHING = Nothing()


@dataclass(frozen=True, slots=True)
class Once:
    """One operation, on any free thread."""

    f: str
    value: Any = None
    key: str | None = None

    def next(self, context: Context) -> Step:
        """Return the operation, and nothing after it."""
        if not context.free:
            return PENDING
        invocation = Invocation(
            f=self.f,
            value=self.value,
            key=self.key,
            thread=context.pick(),
            at_ns=context.time_ns,
        )
        return invocation, NOTHING

    def update(self, event: Event, context: Context) -> Generator:
        """Learn nothing."""
        del event, context
        return self


Made = Callable[[Context, int], "Generator | _Pending | None"]


@dataclass(frozen=True, slots=True)
class Calls:
    """What a function makes, again and again: a generator, run to its end, then the next.

    The function gets the context and how many generators it has made before; it must be pure.
    `None` from it is the end, `PENDING` passes.
    """

    function: Made
    made: int = 0
    current: Generator | None = None

    def next(self, context: Context) -> Step:
        """Pass on the current generator's answer; ask the function for another when it is done."""
        current, made = self.current, self.made
        if current is not None:
            step = current.next(context)
            if step is PENDING:
                return PENDING
            if isinstance(step, tuple):
                return step[0], Calls(self.function, made, step[1])
        answer = self.function(context, made)
        if answer is None or isinstance(answer, _Pending):
            return answer
        step = answer.next(context)
        if isinstance(step, tuple):
            return step[0], Calls(self.function, made + 1, step[1])
        # A generator that is empty from the start ends the row: the function would be called for
        # ever otherwise.
        return step

    def update(self, event: Event, context: Context) -> Generator:
        """Let the current generator learn."""
        if self.current is None:
            return self
        current = self.current.update(event, context)
        return self if current is self.current else Calls(self.function, self.made, current)


@dataclass(frozen=True, slots=True)
class PerThread:
    """A script for each thread: its invocations in order, each thread at its own pace."""

    scripts: Mapping[int, tuple[Invocation, ...]]

    def next(self, context: Context) -> Step:
        """Return the next line of the first free thread that has one."""
        for thread in context.free:
            script = self._script(thread)
            if script:
                line = script[0]
                invocation = Invocation(
                    f=line.f,
                    value=line.value,
                    key=line.key,
                    thread=thread,
                    at_ns=max(line.at_ns, context.time_ns),
                )
                return invocation, PerThread({**self.scripts, int(thread): script[1:]})
        return PENDING if any(self._script(thread) for thread in context.threads) else None

    def update(self, event: Event, context: Context) -> Generator:
        """Learn nothing."""
        del event, context
        return self

    def _script(self, thread: Thread) -> tuple[Invocation, ...]:
        return self.scripts.get(thread, ()) if isinstance(thread, int) else ()
