"""Writes the tables of docs/workloads.md from the code's own tables.

Run it after a change of a table: `python tools/write_docs.py`. A test holds the two together
(`tests/workloads/test_catalogue.py`), so a table in the docs is never older than the code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from workloads.catalogue import WORKLOADS, workload_named  # noqa: E402
from workloads.data import DATA  # noqa: E402

PAGE = ROOT / "docs" / "workloads.md"
EXAMPLE = ROOT / "docs" / "examples" / "bounds.py"


def workloads_table() -> str:
    """Return the table of workloads."""
    lines = ["| workload | what clients do | data | what must hold |", "|---|---|---|---|"]
    for name in WORKLOADS:
        one = workload_named(name)
        checks = ", ".join(check.name for check in one.checks)
        lines.append(f"| `{name}` | {one.summary} | {one.data} | {checks} |")
    return "\n".join(lines)


def data_table() -> str:
    """Return the table of the kinds of data."""
    lines = ["| data | operation | asks | answers |", "|---|---|---|---|"]
    for kind, words in DATA.items():
        for f, (asks, answers) in words.items():
            lines.append(f"| {kind} | `{f}` | {asks} | {answers} |".replace("|  |", "| |"))
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with every table as the code has it."""
    for name, table in (("workloads", workloads_table()), ("data", data_table())):
        pattern = rf"<!-- table: {name} -->\n.*?<!-- end -->"
        assert re.search(pattern, text, re.DOTALL), f"{PAGE} has no place for {name}"
        block = f"<!-- table: {name} -->\n{table}\n<!-- end -->"
        text = re.sub(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
    example = EXAMPLE.read_text(encoding="utf-8").rstrip()
    return re.sub(
        r"```python\n.*?\n```", lambda _: f"```python\n{example}\n```", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
