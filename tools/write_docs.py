"""Writes the tables of the docs from the code's own tables.

Run it after a change of a table: `python tools/write_docs.py`. A test holds the two together
(`tests/test_docs.py`), so a table in the docs is never older than the code.

Rules of this file:
- A page says where a table goes: `<!-- table: NAME -->` and `<!-- end -->`. What is between them
  is ours, all else is the page's own.
- A table that no page has room for is a mistake, and so is a page that asks for one nobody makes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from reports import columns  # noqa: E402
from tools import reference  # noqa: E402
from workloads.data import DATA  # noqa: E402

DOCS = ROOT / "docs"
WORKLOADS = DOCS / "workloads.md"
EXAMPLE = DOCS / "examples" / "bounds.py"
_PLACE = re.compile(r"<!-- table: (?P<name>[a-z-]+) -->\n(?P<held>.*?)<!-- end -->", re.DOTALL)


def data_table() -> str:
    """Return the table of the kinds of data."""
    rows = [
        (kind, f"`{f}`", asks, answers)
        for kind, known in DATA.items()
        for f, (asks, answers) in known.items()
    ]
    return reference.table(("data", "operation", "asks", "answers"), rows)


def columns_table(listed: Mapping[str, columns.Column]) -> str:
    """Return the table of a frame's columns."""
    rows = [(f"`{name}`", f"`{one.dtype}`", one.meaning) for name, one in listed.items()]
    return reference.table(("column", "type", "what it says"), rows)


# Page -> the tables it has, by name.
PAGES: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    WORKLOADS: {"workloads": reference.workloads, "data": data_table},
    DOCS / "dataframes.md": {
        "operations": lambda: columns_table(columns.OPERATIONS),
        "faults": lambda: columns_table(columns.FAULTS),
        "metrics": lambda: columns_table(columns.METRICS),
    },
    DOCS / "reference.md": {
        "commands": reference.commands,
        "pytest": reference.pytest_options,
        "faults": reference.faults,
        "workloads": reference.workloads,
        "models": reference.models,
        "outcomes": reference.outcomes,
    },
}


def written(path: Path) -> str:
    """Return a page with every table as the code has it."""
    text, tables = path.read_text(encoding="utf-8"), PAGES[path]
    asked = [found["name"] for found in _PLACE.finditer(text)]
    if sorted(asked) != sorted(tables):
        raise SystemExit(f"{path}: it has places for {asked}, but its tables are {[*tables]}")

    def filled(found: re.Match[str]) -> str:
        return f"<!-- table: {found['name']} -->\n{tables[found['name']]()}\n<!-- end -->"

    text = _PLACE.sub(filled, text)
    if path != WORKLOADS:
        return text
    example = EXAMPLE.read_text(encoding="utf-8").rstrip()
    return re.sub(
        r"```python\n.*?\n```", lambda _: f"```python\n{example}\n```", text, flags=re.DOTALL
    )


def out_of_date() -> list[Path]:
    """Return the pages that say something else than the code."""
    return [path for path in PAGES if path.read_text(encoding="utf-8") != written(path)]


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page), encoding="utf-8")
