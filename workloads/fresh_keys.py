"""Keys that are given up for fresh ones, so that objects which are read whole stay small.

Rules of this file:
- A generation of keys serves for so many operations of the run, then all of them are replaced:
  ``l3.2`` is the key 3 of generation 2. Which one an operation is on follows from its position in
  the run alone.
- The final phase is not told how far the load came. It reads the generations of a key one after the
  other, until one is empty: whatever was changed in is read, through every node. (Only a
  generation in which every single change of a key failed would hide the later ones.)
"""

from __future__ import annotations

from functools import partial
from typing import Final

from .final import Change, change_each
from .generator import Context, Generator, Thread, any_of, calls, chain, on_threads, op, phases
from .until_nothing import until_nothing
from .workload import Setting

# Operations for each key of a generation.
GENERATION: Final = 400
_GENERATIONS_MAX: Final = 1000


def fresh_key(setting: Setting, prefix: str, number: int, position: int) -> str:
    """Return key `number` of the generation that serves at this position of the run."""
    return _named(prefix, number, position // (GENERATION * setting.keys))


def change_and_read_generations(setting: Setting, prefix: str, f: str) -> Generator:
    """Change every key of the first generation once more, then read every key of every generation."""

    def change(number: int, value: int) -> Change:
        return Change(f, value, _named(prefix, number, 0))

    return phases(change_each(setting, setting.keys, change), read_generations(setting, prefix))


def read_generations(setting: Setting, prefix: str) -> Generator:
    """Read every key of every generation through every node.

    The first thread of each node does, each beginning at another key.
    """
    return any_of(*(
        on_threads(partial(_is, node), chain(*(
            until_nothing(calls(partial(_read, prefix, (number + node) % setting.keys)))
            for number in range(setting.keys)
        )))
        for node in range(setting.nodes)
    ), name="generations")  # fmt: skip


def _read(prefix: str, number: int, context: Context, generation: int) -> Generator | None:
    del context
    if generation >= _GENERATIONS_MAX:
        return None
    return op("read", key=_named(prefix, number, generation))


def _named(prefix: str, number: int, generation: int) -> str:
    return f"{prefix}{number}.{generation}"


def _is(node: int, thread: Thread) -> bool:
    return thread == node
