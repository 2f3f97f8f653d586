"""Write skew: two threads each want to insert one side of a pair, if both sides are missing.

Rules of this file:
- Every pair is fresh. Its two threads first read both sides, each in a transaction, and when both
  have seen them they insert at the same time: each compares both sides with null and writes its
  own. At most one may succeed. Then one of them looks at what is there.
- Where the number of threads is odd, the last thread reads pairs while the others write them.

After Jepsen's `tests/adya.clj` (G2).
"""

from __future__ import annotations

from dataclasses import replace

from .checks import Finds
from .checks.skew import write_skew
from .generator import (
    Generator,
    Invocation,
    any_of,
    calls,
    concurrent_keys,
    each_thread,
    is_client,
    map_ops,
    on_threads,
    op,
    phases,
)
from .randomness import Stream
from .scan import Look, scan_everywhere
from .transactions import reads_of, saw_something
from .workload import Probe, Setting, Workload


def sides(pair: str) -> tuple[str, str]:
    """Return the two keys of a pair."""
    return f"{pair}.a", f"{pair}.b"


def insert(pair: str, thread: int) -> Invocation:
    """Return the insert by one of two neighbouring threads."""
    absent = [["compare", side, None] for side in sides(pair)]
    mine = sides(pair)[thread % 2]
    return Invocation(f="txn", value=[*absent, ["w", mine, thread]], thread=thread)


def both_try(pair: str) -> Generator:
    """Return what two threads do with a pair."""
    look = op("txn", reads_of(sides(pair)))
    inserts = map_ops(
        lambda one: replace(one, value=insert(pair, int(one.thread)).value), each_thread(op("txn"))
    )
    return phases(each_thread(look), inserts, look)


def load(setting: Setting) -> Generator:
    """Give pair after pair to every two threads."""
    paired = setting.threads - setting.threads % 2
    stream = Stream(setting.seed, "write-skew")
    pairs = concurrent_keys(2, _pair, both_try, name=stream)
    watched = calls(lambda _context, number: op("txn", reads_of(sides(_pair(number)))))
    # The steps name the keys: the operation has none of its own.
    inserting = map_ops(lambda one: replace(one, key=None), pairs)
    return any_of(
        on_threads(lambda thread: is_client(thread) and int(thread) < paired, inserting),
        on_threads(lambda thread: is_client(thread) and int(thread) >= paired, watched),
        name=Stream(setting.seed, "write-skew/who"),
    )


def _pair(number: int) -> str:
    return f"p{number}"


def final(setting: Setting) -> Generator:
    """Read every pair through every node."""

    def look(number: int) -> Look:
        return Look("txn", reads_of(sides(_pair(number))))

    return scan_everywhere(setting, look, saw_something)


WORKLOAD = Workload(
    name="write-skew",
    summary="pairs of transactions of which only one may insert its key",
    data="transactions",
    functions=("txn",),
    load=load,
    final=final,
    checks=(Finds("write-skew", write_skew),),
    probe=Probe(f="txn", value=reads_of(["probe"])),
    change=Probe(f="txn", value=[["w", "probe", 1]]),
)
