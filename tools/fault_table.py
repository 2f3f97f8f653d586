"""The table of faults: how often each variant was installed, could not be told, was skipped.

    .venv/bin/python tools/fault_table.py STORE...

Rules of this file:
- It counts what the runs in these stores wrote down of their faults, and nothing else. Every variant
  that a test can ask for has a row, also one that never came.
- A variant that was never `installed` is named last, with the reason that was given most often, and
  ends the command with 1, unless it is one that hosts may lack the means for.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.nemesis.plan import OPTIONAL, VARIANTS  # noqa: E402
from reports.load import load  # noqa: E402

EVIDENCE: Final = ("installed", "indeterminate", "skipped")
_REASON_CHARS_MAX: Final = 160


def runs_below(stores: Iterable[Path]) -> list[Path]:
    """Return every run's folder, each once: a store has links to its latest ones."""
    return sorted({path.parent.resolve() for store in stores for path in store.rglob("plan.json")})


def faults_of(runs: Iterable[Path]) -> pd.DataFrame:
    """Return the faults of all these runs, one row each."""
    frames = [load(run).faults for run in runs]
    if not frames:
        return pd.DataFrame(columns=["kind", "name", "evidence", "detail", "detail_stop"])
    return pd.concat(frames, ignore_index=True)


def counted(faults: pd.DataFrame) -> pd.DataFrame:
    """Return how often each variant gave which evidence: a row for every variant there is."""
    every = pd.MultiIndex.from_tuples(
        [(kind, name) for kind, names in VARIANTS.items() for name in names], names=["kind", "name"]
    )
    table = faults.groupby(["kind", "name", "evidence"]).size().unstack(fill_value=0)
    return table.reindex(index=every, columns=list(EVIDENCE), fill_value=0).astype(int)


def to_markdown(table: pd.DataFrame) -> Iterator[str]:
    """Yield a line a kind: docs/results.md has it so."""
    yield "| kind | variant: installed / indeterminate / skipped |"
    yield "|---|---|"
    for kind, rows in table.groupby(level="kind", sort=False):
        cells = "; ".join(
            f"{name} {'/'.join(map(str, row))}"
            for (_, name), row in zip(rows.index, rows.to_numpy().tolist(), strict=True)
        )
        yield f"| `{kind}` | {cells} |"


def reason_of(faults: pd.DataFrame, kind: str, name: str) -> str:
    """Return what was said most often of a variant on any node."""
    rows = faults[(faults["kind"] == kind) & (faults["name"] == name)]
    said: Counter[str] = Counter()
    for column in ("detail", "detail_stop"):
        for detail in rows[column]:
            said.update(map(str, (detail or {}).values()))
    return said.most_common(1)[0][0][:_REASON_CHARS_MAX] if said else "it never came"


def main() -> int:
    """Print the table, and what never happened."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    runs = runs_below(parser.parse_args().stores)
    faults = faults_of(runs)
    table = counted(faults)
    print(f"{len(faults)} faults in {len(runs)} runs\n")
    print("\n".join(to_markdown(table)))
    never = [variant for variant in table.index if not table.loc[variant, "installed"]]
    for kind, name in never:
        print(f"\n{kind}:{name} was never installed: {reason_of(faults, kind, name)}")
    return 1 if set(never) - set(OPTIONAL) or not runs else 0


if __name__ == "__main__":
    raise SystemExit(main())
