"""Independent keys: one small test for each key, one after the other or several at a time.

Rules of this file:
- `make(key)` gives a key's generator and must be pure. Every operation it makes is about that key,
  and its draws are the key's own (the context's scope names it).
- A key's generator learns of its own key's events only: an answer that comes in after its thread
  has moved on to another key is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

from checker.history import Event

from .choice import drawer
from .core import (
    PENDING,
    Context,
    Generator,
    GeneratorError,
    Invocation,
    Name,
    Step,
    Thread,
    is_client,
    soonest,
)

Keys: TypeAlias = Sequence[str] | Callable[[int], str | None]
"""The keys in order, or a function from 0, 1, 2, ... to a key, `None` for no more."""
Make: TypeAlias = Callable[[str], Generator]

# An endless row of keys with nothing to do would be gone through for ever.
_IDLE_KEYS_MAX: Final = 10_000


def _idle() -> GeneratorError:
    return GeneratorError(f"{_IDLE_KEYS_MAX} keys in a row have no operation; look at `make`")


def key_at(keys: Keys, number: int) -> str | None:
    """Return a key by its number, `None` if there are no more."""
    if callable(keys):
        return keys(number)
    return keys[number] if number < len(keys) else None


def _about(invocation: Invocation, key: str) -> Invocation:
    return invocation if invocation.key == key else replace(invocation, key=key)


@dataclass(frozen=True, slots=True)
class SequentialKeys:
    """One key after the other, each on all threads, until its generator has ended."""

    keys: Keys
    make: Make
    number: int = 0
    current: Generator | None = None

    def next(self, context: Context) -> Step:
        """Pass on the answer of the current key's generator, or the next one's."""
        number, current = self.number, self.current
        for _ in range(_IDLE_KEYS_MAX):
            key = key_at(self.keys, number)
            if key is None:
                return None
            source = self.make(key) if current is None else current
            step = source.next(context.scoped(f"{key}/"))
            if isinstance(step, tuple):
                successor = SequentialKeys(self.keys, self.make, number, step[1])
                return _about(step[0], key), successor
            if step is PENDING:
                return PENDING
            number, current = number + 1, None
        raise _idle()

    def update(self, event: Event, context: Context) -> Generator:
        """Let the current key's generator learn what is about its key."""
        key = key_at(self.keys, self.number)
        if self.current is None or event.key != key:
            return self
        current = self.current.update(event, context.scoped(f"{key}/"))
        return self if current is self.current else replace(self, current=current)


@dataclass(frozen=True, slots=True)
class _Group:
    """What a group of threads works on: a key and what is left of its generator."""

    key: str
    source: Generator


@lru_cache(maxsize=256)
def _groups(threads: tuple[Thread, ...], size: int) -> tuple[tuple[Thread, ...], ...]:
    """Divide client threads into groups, as near to each other as their numbers are."""
    clients = tuple(thread for thread in threads if is_client(thread))
    if not clients or len(clients) % size:
        raise GeneratorError(
            f"{len(clients)} client threads cannot be divided into groups of {size}, one group a "
            f"key; make the concurrency a multiple of {size}"
        )
    return tuple(clients[start : start + size] for start in range(0, len(clients), size))


@dataclass(frozen=True, slots=True)
class ConcurrentKeys:
    """Groups of `size` threads, each at work on a key of its own, until there are no more keys."""

    size: int
    keys: Keys
    make: Make
    groups: tuple[_Group | None, ...] = ()
    number: int = 0
    stream: Name = "keys"
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return the invocation that is due first of all groups that have a free thread."""
        ranges = _groups(context.threads, self.size)
        groups: list[_Group | None] = list(self.groups) or [None] * len(ranges)
        steps: list[Step] = [None] * len(ranges)
        number, busy = self.number, False
        for place, threads in enumerate(ranges):
            inside = context.only(threads)
            if not inside.free:
                busy = True
                continue
            groups[place], steps[place], number = self._work(groups[place], inside, number)
        chosen = soonest(steps, drawer(context, self.stream, self.position))
        if chosen is None:
            return PENDING if busy or PENDING in steps else None
        step, group = steps[chosen], groups[chosen]
        assert isinstance(step, tuple)
        assert group is not None
        groups[chosen] = _Group(group.key, step[1])
        return _about(step[0], group.key), replace(
            self, groups=tuple(groups), number=number, position=self.position + 1
        )

    def update(self, event: Event, context: Context) -> Generator:
        """Let the generator learn whose group and key the event is about."""
        thread = context.thread_of(event.process)
        for place, threads in enumerate(_groups(context.threads, self.size)):
            group = self.groups[place] if self.groups else None
            if thread in threads and group is not None and group.key == event.key:
                inside = context.only(threads, f"{group.key}/")
                source = group.source.update(event, inside)
                if source is not group.source:
                    new = (*self.groups[:place], _Group(group.key, source))
                    return replace(self, groups=(*new, *self.groups[place + 1 :]))
        return self

    def _work(
        self, group: _Group | None, context: Context, number: int
    ) -> tuple[_Group | None, Step, int]:
        """Ask a group, which takes up new keys when its own is done. Returns the next number too."""
        for _ in range(_IDLE_KEYS_MAX):
            if group is None:
                key = key_at(self.keys, number)
                if key is None:
                    return None, None, number
                group, number = _Group(key, self.make(key)), number + 1
            step = group.source.next(context.scoped(f"{group.key}/"))
            if step is not None:
                return group, step, number
            group = None
        raise _idle()
