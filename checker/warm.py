"""Compiles the kernels, once, so that no check has to wait for it: ``python -m checker.warm``.

Rules of this file:
- Uses each kernel on a history of a few operations, which is what makes numba compile it, and leaves
  the mark that `checker.kernel_cache.are_compiled` looks for. Old machine code is removed.
- Says what it is doing when that takes long.
"""

from __future__ import annotations

import shutil
import sys

import numpy as np

from checker import kernel_cache as cache
from checker.calls import Call
from checker.models import model_named


def main() -> int:
    """Compile what is not compiled yet; return 0."""
    if cache.are_compiled():
        return 0
    sys.stderr.write("compiling the checker's kernels, once (about a minute) ...\n")
    sys.stderr.flush()
    compile_all()
    (cache.FOLDER / cache.MARK).touch()
    for other in cache.FOLDER.parent.glob("kernels-*"):
        if other != cache.FOLDER:
            shutil.rmtree(other, ignore_errors=True)
    return 0


def compile_all() -> None:
    """Run every kernel once."""
    from checker.budget import Budget
    from checker.columns import columns_of
    from checker.core import core_of
    from checker.core_search import is_refuted
    from checker.first_look import look
    from checker.history import Event, EventType, History
    from checker.kernels import edn_lines, fronts
    from checker.meaning import Meaning
    from checker.portfolio import Race
    from checker.problem import problem_of
    from checker.race import BreadthFirst, Transitions
    from checker.transactions.warm import compile_walks

    compile_walks()
    edn_lines.read_lines(np.frombuffer(b"\n", np.uint8))

    model = model_named("cas-register")
    events = [
        ("invoke", "write", 1),
        ("ok", "write", 1),
        ("invoke", "read", None),
        ("ok", "read", 1),
    ]
    history = History(tuple(
        Event(index=i, process=0, type=EventType(kind), f=f, value=value)
        for i, (kind, f, value) in enumerate(events)
    ))  # fmt: skip
    look(columns_of(history), model, Meaning(), bytes_max=1e9, workers=1)
    strings = [  # two at once: where nothing overlaps no kernel is asked
        ("invoke", 0, "append", "a"),
        ("invoke", 1, "get", None),
        ("ok", 0, "append", "a"),
        ("ok", 1, "get", "a"),
    ]
    appended = History(tuple(
        Event(index=i, process=process, type=EventType(kind), f=f, value=value)
        for i, (kind, process, f, value) in enumerate(strings)
    ))  # fmt: skip
    look(columns_of(appended), model_named("key-value"), Meaning(), bytes_max=1e9, workers=1)
    calls = (
        Call(index=0, action=("write", "1"), start=0, end=2),
        Call(index=1, action=("read", "1"), start=1, end=3),
        Call(index=2, action=("write", "2"), start=4, end=None),
        Call(index=3, action=("read", "2"), start=5, end=6),
    )
    Race(problem_of(calls, model)).run(Budget.unlimited())
    problem = problem_of(calls, model)
    search = BreadthFirst(problem, Transitions(problem), keep_log=True)
    search.advance(1000, 1e9)
    search.linearization()
    stack = model_named("stack")
    pushed = (
        Call(index=0, action=("push", "1"), start=0, end=1),
        Call(index=1, action=("pop", "1"), start=2, end=3),
    )
    Race(problem_of(pushed, stack)).run(Budget.unlimited())
    is_refuted(core_of(calls, until=6), model, steps_max=1000)
    fronts.rebuild(search.emitted, search.next_front, 0, search.width, 1)


if __name__ == "__main__":
    sys.exit(main())
