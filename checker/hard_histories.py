"""Hard histories: linearizable or not by construction, of any size, from a seed.

    row = suite_row("n_1e4_50_0_bad")
    hard = row.generate()          # or: generate(Shape(operations=10_000, clients=50), seed=11)
    hard.columns, hard.expected, history_of(hard.columns)

Rules of this file:
- One register, initially nil; read, write and cas, one third each. What a failed cas means
  changes what can be told: all published numbers take it as "it ran, and the value differed"
  (`FailedCas.DIFFERS`). Histories expected valid or invalid are so under both meanings.
- `expected` is what construction or proof says, never what a checker of ours answered:
  `unknown` means that a fault was put in and nobody has shown that it can be seen.
- `SUITE` is the table that checkers are compared on. Its seed and its names do not change.
- No clock, no global randomness, no disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from checker.columns import Columns
from checker.hard_faults import FAULTS, Fault
from checker.hard_simulation import Draft, Shape, columns_of_draft, simulate
from checker.history import Event, History
from checker.verdict import Verdict

__all__ = [
    "SUITE",
    "Fault",
    "HardHistory",
    "Recipe",
    "Shape",
    "generate",
    "history_of",
    "suite_row",
]

SUITE_SEED = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class HardHistory:
    """A history and what is known about it; `altered` are the rows of the operations at fault.

    Without a place for the fault it is the unaltered history, `altered` is empty and the note
    says so.
    """

    columns: Columns
    expected: Verdict
    altered: tuple[int, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to generate, and the name it is known by: ``u_1e3_10_0_ok``.

    `u`nique values or `n`ot, operations, clients, crashed operations, and `ok`, `bad` (the stale
    read of the published table) or the fault's name.
    """

    shape: Shape
    fault: Fault | None = None
    seed: int = SUITE_SEED

    @property
    def name(self) -> str:
        """The name in tables."""
        values = "u" if self.shape.values is None else "n"
        ending = {None: "ok", Fault.STALE_READ: "bad"}.get(self.fault, self.fault)
        size = f"{self.shape.operations:.0e}".replace("e+0", "e")
        return f"{values}_{size}_{self.shape.clients}_{self.shape.crashed}_{ending}"

    def generate(self) -> HardHistory:
        """Generate it: some ten seconds for a million operations, milliseconds for a thousand."""
        return generate(self.shape, seed=self.seed, fault=self.fault, source=self.name)


def generate(
    shape: Shape, *, seed: int, fault: Fault | None = None, source: str = "<hard>"
) -> HardHistory:
    """Simulate a register and put the fault in, if any."""
    draft = simulate(shape, seed)
    altered = None if fault is None else FAULTS[fault](draft, _stream(fault, seed))
    if altered is None:
        note = "linearizable by construction" + (f"; no place for {fault}" if fault else "")
        columns = columns_of_draft(draft, source=source)
        return HardHistory(columns=columns, expected=Verdict.VALID, altered=(), note=note)
    return HardHistory(
        columns=columns_of_draft(altered.draft, source=source),
        expected=Verdict.INVALID if altered.proven else Verdict.UNKNOWN,
        altered=altered.rows,
        note=f"{fault}: {_told(altered.draft, altered.rows)} {altered.what}"
        + ("" if altered.proven else "; unproven"),
    )


def history_of(columns: Columns) -> History:
    """Return the same history as events; meant for some ten thousand operations, not millions."""
    events: list[Event] = []
    for row in range(len(columns)):
        operation = columns.operation(row)
        events.append(operation.invocation)
        if operation.completion is not None:
            events.append(operation.completion)
    events.sort(key=lambda event: event.index)
    return History(tuple(events), source=columns.source)


def _stream(fault: Fault, seed: int) -> Random:
    # The first is the published table's; the others only have to be different streams.
    return Random(seed * 7 + 1 if fault is Fault.STALE_READ else f"{fault} {seed}")


def _told(draft: Draft, rows: tuple[int, ...]) -> str:
    return "the operations invoked at " + ", ".join(str(draft.start[row]) for row in rows)


def _suite() -> tuple[Recipe, ...]:
    shapes = ((1_000, 10, 0), (1_000, 10, 10), (1_000, 10, 30), (1_000, 20, 100), (1_000, 50, 0),
              (1_000, 100, 0), (10_000, 10, 0), (10_000, 50, 0), (10_000, 30, 300),
              (100_000, 10, 0), (1_000_000, 10, 0))  # fmt: skip
    other_faults = ((1_000, 10, 10), (10_000, 10, 0), (10_000, 50, 0), (10_000, 30, 300))
    rows: list[Recipe] = []
    for values in (5, None):
        for operations, clients, crashed in shapes:
            shape = Shape(operations=operations, clients=clients, crashed=crashed, values=values)
            rows += [Recipe(shape=shape), Recipe(shape=shape, fault=Fault.STALE_READ)]
        for operations, clients, crashed in other_faults:
            shape = Shape(operations=operations, clients=clients, crashed=crashed, values=values)
            rows += [
                Recipe(shape=shape, fault=fault)
                for fault in Fault
                if fault is not Fault.STALE_READ and (crashed or fault is not Fault.WRITE_RETURNS)
            ]
    return tuple(rows)


SUITE: tuple[Recipe, ...] = _suite()


def suite_row(name: str) -> Recipe:
    """Return the row of the suite with this name; `KeyError` names what there is."""
    for recipe in SUITE:
        if recipe.name == name:
            return recipe
    raise KeyError(f"no row {name!r}; there are {', '.join(recipe.name for recipe in SUITE)}")
