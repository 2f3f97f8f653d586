"""Reads the catalogue and makes mutated copies of the node.

Rules of this file: an edit replaces a text that occurs exactly once; anything else is an error, so
that a mutant that no longer fits the code cannot pass for one that was survived.
"""

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
CATALOGUE = Path(__file__).resolve().parent / "catalogue.toml"


class MutantError(Exception):
    """No such mutant, or its edit does not fit."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit and what is known of it.

    `breaks` names the properties lost, `needs` what it takes to see that from outside.
    """

    id: str
    summary: str
    breaks: tuple[str, ...]
    needs: str
    source: str
    file: str
    find: str
    replace: str


def load(catalogue: Path = CATALOGUE) -> tuple[Mutant, ...]:
    """All mutants, in the order of the catalogue."""
    rows = tomllib.loads(catalogue.read_text("utf-8"))["mutant"]
    mutants = tuple(Mutant(**{**row, "breaks": tuple(row["breaks"])}) for row in rows)
    if len({mutant.id for mutant in mutants}) != len(mutants):
        raise MutantError(f"{catalogue}: an id occurs twice")
    return mutants


def mutate(mutant: Mutant, package: Path = PACKAGE) -> str:
    """The text of the mutant's file with the edit in it."""
    text = (package / mutant.file).read_text("utf-8")
    count = text.count(mutant.find)
    if count != 1:
        raise MutantError(f"{mutant.id}: its text occurs {count} times in {mutant.file}, not once")
    return text.replace(mutant.find, mutant.replace)


def apply(identity: str, target: Path) -> Path:
    """Copy the node to `target`/node with one edit; the path of the copy."""
    mutant = next((mutant for mutant in load() if mutant.id == identity), None)
    if mutant is None:
        raise MutantError(f"no mutant {identity}; there are: {', '.join(m.id for m in load())}")
    copy = target / "node"
    if copy.exists():
        raise MutantError(f"{copy} exists")
    text = mutate(mutant)
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "mutants"))
    (copy / mutant.file).write_text(text, "utf-8")
    return copy
