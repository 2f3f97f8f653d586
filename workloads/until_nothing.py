"""Asking until nothing is left: how final phases end that do not know how much there is to see.

Rules of this file:
- Only an acknowledged operation that answers null or an empty list says that nothing is left; one
  that fails says nothing, and the source goes on. So the source must end by itself.
- Give a copy to each thread: an answer that another one gets would end this one's asking.
"""

from __future__ import annotations

from checker.history import Event, EventType

from .generator import Context, Generator, Nothing, OnUpdate, on_update


def until_nothing(source: Generator) -> Generator:
    """Return the source, which ends as soon as an operation is answered with nothing."""
    return on_update(_ends, source)


def _ends(this: OnUpdate, event: Event, context: Context) -> Generator:
    if event.type is EventType.OK and event.value in (None, []):
        return Nothing()
    return on_update(_ends, this.source.update(event, context))
