"""Fills the data directory of a node with a log, through the node's own storage code.

Rules of this file:
- It runs as a process of its own, so that its memory is not the benchmark's.
- The log is one that a cluster could have written: one term, 256 entries a batch, one fsync for
  many batches. Keys are those of the benchmark; values have 64 characters.
- It knows the storage by its own classes and by nothing else; when they have changed, it fails and
  says so, and the benchmark fills the log through the client API instead (slower, the same log).

    python -m tools.bench_node.prebuild DIRECTORY ENTRIES
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from node.command import Command
from node.core.messages import Entry, HardState
from node.operations import Operation
from node.storage.files import RealDirectory
from node.storage.identity import load
from node.storage.store import Store
from node.storage.wal import Batch
from tools.bench_node.wire import key_named

BATCH_ENTRIES = 256
KEYS = 256
VALUE = json.dumps("v" * 64)


def entries(count: int) -> Iterator[tuple[Entry, ...]]:
    """Batches of entries, all of term 1."""
    texts = [_command(key_named(number)) for number in range(KEYS)]
    for first in range(1, count + 1, BATCH_ENTRIES):
        last = min(count, first + BATCH_ENTRIES - 1)
        yield tuple(Entry(index, 1, texts[index % KEYS]) for index in range(first, last + 1))


def _command(key: str) -> str:
    """A write as the log has it."""
    return Command(1, Operation("write", key, VALUE)).to_text()


def fill(directory: Path, count: int) -> None:
    """Write the log of a node that was made by its own `init`."""
    real = RealDirectory(directory)
    identity = load(real)
    log = Store.opened(real, identity)
    log.append(Batch(hard_state=HardState(1, identity.name)))
    for number, batch in enumerate(entries(count)):
        log.append(Batch(entries=batch))
        if number % 64 == 0:
            log.sync()
    log.sync()


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
