"""A run's operations, faults and metrics as Parquet tables, for analysis elsewhere.

Rules of this file:
- One file a table, with the columns and types of reports/columns.py on every run: an empty run has
  the same schemas.
- Columns of JSON values are JSON text: one column cannot hold numbers, pairs and objects at once.
- Written aside and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd  # noqa: TC002  (kept beside its two companions)

# It has no type information of its own.
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from .columns import FAULTS, METRICS, OPERATIONS, Column
from .frames import encodable
from .load import Run, load

TABLES: Final[Mapping[str, Mapping[str, Column]]] = {
    "operations": OPERATIONS,
    "faults": FAULTS,
    "metrics": METRICS,
}

# The type of a column in a frame -> its type in a table, and whether it may be missing there.
_TYPES: Final = {
    "int64": (pa.int64(), False),
    "Int64": (pa.int64(), True),
    "float64": (pa.float64(), True),
    "bool": (pa.bool_(), False),
    "string": (pa.string(), True),
    "object": (pa.string(), False),
}


def write_tables(run: Path) -> list[Path]:
    """Write the tables into a run's folder. Raises `NotARunError`, `OSError`."""
    return save(load(run))


def save(run: Run) -> list[Path]:
    """Write the tables of a loaded run into its folder. Raises `OSError`."""
    frames = {"operations": run.operations, "faults": run.faults, "metrics": run.metrics}
    return [_save(run.path, name, frames[name], columns) for name, columns in TABLES.items()]


def schema(columns: Mapping[str, Column]) -> Any:
    """Return the schema of a table with these columns."""
    return pa.schema(
        [
            pa.field(name, kind, nullable=nullable)
            for name, column in columns.items()
            for kind, nullable in [_TYPES[column.dtype]]
        ]
    )


def _save(folder: Path, name: str, frame: pd.DataFrame, columns: Mapping[str, Column]) -> Path:
    texts = {
        column: [encodable(json.dumps(one, ensure_ascii=False)) for one in frame[column]]
        for column, kind in columns.items()
        if kind.dtype == "object"
    }
    table = pa.Table.from_pandas(
        frame.assign(**texts), schema=schema(columns), preserve_index=False
    )
    target = folder / f"{name}.parquet"
    aside = folder / f".{name}.parquet.new"
    pq.write_table(table, aside, compression="zstd")
    aside.replace(target)
    return target
