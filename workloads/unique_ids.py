"""Ids: every client asks for new ones, and none may be answered twice.

Two leaders at once, a counter that is lost in a crash, a clock that jumps back: each shows here.
"""

from __future__ import annotations

from .checks import Finds
from .checks.unique import answered_twice
from .generator import Generator, each_thread, op, repeat
from .workload import Probe, Setting, Workload


def load(setting: Setting) -> Generator:
    """Ask for ids, for ever."""
    del setting
    return repeat(op("generate"))


def final(setting: Setting) -> Generator:
    """Ask once more on every thread, and so through every node."""
    del setting
    return each_thread(op("generate"))


WORKLOAD = Workload(
    name="unique-ids",
    summary="clients ask for ids",
    data="ids",
    functions=("generate",),
    load=load,
    final=final,
    checks=(Finds("unique", answered_twice),),
    probe=Probe(f="generate"),
    change=Probe(f="generate"),
)
