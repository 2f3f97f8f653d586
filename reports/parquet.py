"""The operations as a Parquet table, for analysis elsewhere.

Rules of this file:
- One row an operation, the columns of `frames.OPERATION_COLUMNS`, with the same types on every
  run: an empty run has the same schema.
- `value` and `output` are JSON text: one column cannot hold numbers, pairs and objects at once.
- Written aside and renamed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

# It has no type information of its own.
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from .load import Run, load

OPERATIONS: Final = "operations.parquet"

SCHEMA: Final = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("process", pa.int64(), nullable=False),
        pa.field("f", pa.string(), nullable=False),
        pa.field("key", pa.string()),
        pa.field("value", pa.string(), nullable=False),
        pa.field("output", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("node", pa.string()),
        pa.field("start_ns", pa.int64(), nullable=False),
        pa.field("end_ns", pa.int64()),
        pa.field("completed_ns", pa.int64()),
        pa.field("latency_ms", pa.float64()),
    ]
)


def write_operations(run: Path) -> Path:
    """Write `operations.parquet` into a run's folder. Raises `NotARunError`, `OSError`."""
    return save(load(run))


def save(run: Run) -> Path:
    """Write `operations.parquet` of a loaded run into its folder. Raises `OSError`."""
    operations = run.operations
    frame = operations.assign(
        **{
            name: [json.dumps(one, ensure_ascii=False) for one in operations[name]]
            for name in ("value", "output")
        }
    )
    table = pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False)
    target = run.path / OPERATIONS
    aside = run.path / f".{OPERATIONS}.new"
    pq.write_table(table, aside, compression="zstd")
    aside.replace(target)
    return target
