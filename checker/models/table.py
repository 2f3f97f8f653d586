"""The table of all models in docs/models.md, made of what the code says about itself.

Rules of this file:
- A model's class has a docstring whose lines ``Operations:``, ``Crashed:``, ``Failed:`` and
  ``Starts:`` are the columns. A test compares the table with the file.
- Pure.
"""

from __future__ import annotations

import inspect

from checker.models import ALIASES, MODELS, model_named

COLUMNS = ("Operations", "Crashed", "Failed", "Starts")


def table() -> str:
    """Return the table as Markdown."""
    rows = [("Model", "What it is", *COLUMNS), ("---",) * (len(COLUMNS) + 2)]
    rows += [row(name) for name in MODELS]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def row(name: str) -> tuple[str, ...]:
    """Return the cells of one model: its name, what it is, and one for each column."""
    model = model_named(name)
    lines = (inspect.getdoc(type(model)) or "").splitlines()
    said = dict(line.split(": ", 1) for line in lines if line.split(": ", 1)[0] in COLUMNS)
    aliases = [f"`{alias}`" for alias, known in ALIASES.items() if known == name]
    named = f"`{name}`" + (f" (also {', '.join(aliases)})" if aliases else "")
    return (named, lines[0], *(said[column] for column in COLUMNS))
