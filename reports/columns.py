"""The columns of a run's three tables: the type of each, and what it says.

Rules of this file:
- One list for the DataFrames, the Parquet files and docs/data.md: what is not here is in none.
- Types are pandas': `int64` and `bool` are always there, `Int64`, `float64` and `string` may be
  missing (NA), `object` is a JSON value as Python has it, and JSON text in Parquet.
- Times are whole nanoseconds since the run's start. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Column(NamedTuple):
    """One column: its type in a DataFrame, and one sentence about it."""

    dtype: str
    meaning: str


OPERATIONS: Final[Mapping[str, Column]] = {
    "index": Column("int64", "the number of its invocation in the history"),
    "process": Column("int64", "who called: one that gave up in doubt goes on under a new number"),
    "f": Column("string", "the function: `read`, `write`, `cas`, ..."),
    "key": Column("string", "the object it was done to; missing where there is only one"),
    "value": Column("object", "what was asked"),
    "output": Column("object", "what was answered; of no answer, what was asked"),
    "type": Column("string", "`ok`, `fail` (certainly did not happen) or `info` (nobody knows)"),
    "error": Column("string", "what the client was told, if it was no success"),
    "node": Column("string", "the node it was sent to"),
    "start_ns": Column("int64", "when it was invoked"),
    "end_ns": Column(
        "Int64", "when its effect was certain; missing for `info`: it may happen at any later time"
    ),
    "completed_ns": Column("Int64", "when its client had an answer, or gave up"),
    "latency_ms": Column("float64", "from invocation to completion"),
}
FAULTS: Final[Mapping[str, Column]] = {
    "id": Column("int64", "its number in the plan"),
    "kind": Column("string", "`partition`, `kill`, ..."),
    "name": Column("string", "the variant: `isolate-leader`, ..."),
    "targets": Column("object", "the nodes that it struck, a list"),
    "parameters": Column("object", "how far, how fast, ...: an object by name"),
    "start_ns": Column("int64", "when it was in force"),
    "stop_ns": Column("Int64", "when it was undone; missing if that is not known"),
    "evidence": Column(
        "string", "`installed`, `skipped`, `indeterminate`; `planned` where nothing is known"
    ),
    "detail": Column("object", "what was seen on each node when it began"),
    "detail_stop": Column("object", "the same, when it was undone"),
}
METRICS: Final[Mapping[str, Column]] = {
    "time_ns": Column("int64", "when the node was asked, about four times a second"),
    "node": Column("string", "which node"),
    "reachable": Column("bool", "whether it answered; if not, all that follows is missing"),
    "role": Column("string", "what it said it was: `leader`, `follower`, `candidate`, ..."),
    "term": Column("Int64", "the term it was in"),
    "leader": Column("string", "whom it took for the leader"),
    "commit_index": Column("Int64", "how far it knew the log to be committed"),
    "applied_index": Column("Int64", "how far it had applied the log"),
    "state_hash": Column("string", "a digest of its state at that index, of systems that show one"),
    "clock_offset_ms": Column("float64", "its wall clock minus that of the machine that watched"),
    "clock_error_ms": Column("float64", "how far that may be off: half of the round trip"),
}
