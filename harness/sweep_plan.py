"""A sweep's file -> the runs it asks for, in order, and what fits into the time that is left.

Rules of this file:
- The order is documented and depends on the file alone: every combination of the matrix with the
  first seed, then all of them with the second, and so on. Among the combinations of a seed the
  first few (as many as the longest list has values) show every value of every list: a sweep that
  is cut short has still touched everything.
- Every run of the file is checked before the first begins. An error names file and key.
- Pure: values in, values out. The one thing the file leaves open, its first seed, is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Final

from harness.errors import UsageError
from harness.spec import Spec, from_values

RUNS_MAX: Final = 10_000
KEEPS: Final = ("failures", "all")
# Until a run has shown how long one takes beyond its load: hosts up, recovery, checks, report.
FIRST_BEYOND_S: Final = 20.0

_KEYS: Final = ("base", "matrix", "seeds", "budget_s", "keep")
# A sweep decides these itself: a run is one run, and all of them are kept in one store.
_NOT_IN_BASE: Final = ("test_count",)
_NOT_IN_MATRIX: Final = ("test_count", "store")
# So many of the last runs say how long the next may take: one slow night is forgotten.
_LOOK_BACK: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run of a sweep. `varied` is what tells it from the others, as people write it."""

    number: int
    varied: Mapping[str, str]
    spec: Spec

    @property
    def title(self) -> str:
        """The run in a few words: ``workload queue, nemesis kill, seed 7``."""
        return ", ".join(f"{name} {value}" for name, value in self.varied.items())

    def to_json(self) -> dict[str, Any]:
        """Return the run as the written plan has it. The store is where the plan lies."""
        spec = self.spec.to_dict()
        del spec["store"]
        return {"number": self.number, "varied": dict(self.varied), "spec": spec}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What a sweep's file asks for. Without `budget_s` there is no end but the last run's."""

    runs: tuple[Planned, ...]
    budget_s: float | None
    keep: str


def plan_of(values: Mapping[str, Any], *, file: str, store: str | None, seed: int) -> SweepPlan:
    """Return the plan of a sweep's file.

    `store` overrules the file's; `seed` is the first one where the file names none. Raises
    `UsageError` naming the file and what is wrong in it.
    """
    try:
        return _plan(values, store, seed)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def _plan(values: Mapping[str, Any], store: str | None, seed: int) -> SweepPlan:
    _known(values, _KEYS, "the file")
    base, matrix = _table(values, "base", _NOT_IN_BASE), _table(values, "matrix", _NOT_IN_MATRIX)
    for name in base.keys() & matrix.keys():
        raise UsageError(f"{name} is in [base] and in [matrix]; leave one of them out")
    for name, choices in matrix.items():
        if not isinstance(choices, list) or not choices:
            raise UsageError(f"[matrix] {name} is {choices!r}, but must be a list of values")
    seeds = _seeds(values.get("seeds"), base, matrix, seed)
    matrix = {name: choices for name, choices in matrix.items() if name != "seed"}
    count = math.prod(len(choices) for choices in matrix.values()) * len(seeds)
    if count > RUNS_MAX:
        raise UsageError(f"{count} runs are more than a sweep may have ({RUNS_MAX})")
    fixed = base if store is None else {**base, "store": store}
    names = [name for name in ("workload", "nemesis") if name not in matrix]
    names += [*matrix, "seed"]
    runs: list[Planned] = []
    seen: dict[Spec, int] = {}
    for one_seed in seeds:
        for chosen in spread(matrix):
            run = _planned(len(runs) + 1, {**fixed, **chosen, "seed": one_seed}, names)
            if run.spec in seen:
                raise UsageError(
                    f"runs {seen[run.spec]} and {run.number} are the same ({run.title}); "
                    "a value is named twice"
                )
            seen[run.spec] = run.number
            runs.append(run)
    return SweepPlan(
        runs=tuple(runs),
        budget_s=budget_of(values["budget_s"]) if "budget_s" in values else None,
        keep=_keep(values.get("keep", "failures")),
    )


def spread(matrix: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination once, those first that show every value of every list.

    The longest list is walked through again and again; each time the other lists are walked
    beside it from another start, so that they meet it anew.
    """
    if not matrix:
        yield {}
        return
    longest, *others = sorted(matrix, key=lambda name: -len(matrix[name]))
    for starts in product(*(range(len(matrix[name])) for name in others)):
        for step, value in enumerate(matrix[longest]):
            chosen = {longest: value}
            for name, start in zip(others, starts, strict=True):
                chosen[name] = matrix[name][(start + step) % len(matrix[name])]
            yield {name: chosen[name] for name in matrix}


def expected_s(spec: Spec, beyond_s: Sequence[float]) -> float:
    """Return how long a run may take: its load, and the most that one of the last runs took
    beyond its own (`beyond_s`)."""
    return spec.time_limit + max(beyond_s[-_LOOK_BACK:], default=FIRST_BEYOND_S)


def budget_of(value: object) -> float:
    """Return a budget in seconds; text is converted. Raises `UsageError`."""
    try:
        budget_s = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        budget_s = math.nan
    if not (math.isfinite(budget_s) and budget_s > 0):
        raise UsageError(f"budget_s is {value!r}, but must be a number of seconds above 0")
    return budget_s


def _planned(number: int, values: Mapping[str, Any], names: Sequence[str]) -> Planned:
    try:
        spec = from_values(values)
    except UsageError as error:
        told = ", ".join(f"{name} {values[name]}" for name in names if name in values)
        raise UsageError(f"run {number} ({told}): {error}") from None
    varied = {name: _written(getattr(spec, name)) for name in names}
    return Planned(number=number, varied=varied, spec=spec)


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _known(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in table:
        if name not in known:
            raise UsageError(f"{where} has an unknown key {name!r}; known are: {', '.join(known)}")


def _table(values: Mapping[str, Any], name: str, refused: Sequence[str]) -> Mapping[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, Mapping):
        raise UsageError(f"{name} is {table!r}, but must be a table: [{name}]")
    options = [option.name for option in fields(Spec) if option.name not in refused]
    _known(table, options, f"[{name}]")
    return table


def _seeds(
    asked: object, base: Mapping[str, Any], matrix: Mapping[str, Any], fresh: int
) -> list[Any]:
    """Return the seeds, wherever they are named. They come last in the order."""
    places = [name for name, table in (("[base]", base), ("[matrix]", matrix)) if "seed" in table]
    counted = isinstance(asked, int) and not isinstance(asked, bool)
    if places and asked is not None and not (counted and places == ["[base]"]):
        raise UsageError(f"seeds is {asked!r}, and {places[0]} has a seed; leave one of them out")
    if "seed" in matrix:
        return list(matrix["seed"])
    first = base.get("seed", fresh)
    if asked is None:
        return [first]
    if counted:
        # Whether the first one is a seed at all is told by the spec that it comes into.
        start = first if isinstance(first, int) else 0
        return [first, *range(start + 1, start + _count(asked, asked))]
    if isinstance(asked, list) and _count(len(asked), asked):
        return asked
    return _range(asked)


def _range(asked: object) -> list[int]:
    text = asked if isinstance(asked, str) else ""
    first, _, last = (word.strip() for word in text.partition(".."))
    seeds = range(int(first), int(last) + 1) if first.isdecimal() and last.isdecimal() else range(0)
    _count(len(seeds), asked)
    return list(seeds)


def _count(count: Any, asked: object) -> int:
    if not 1 <= count <= RUNS_MAX:
        raise UsageError(
            f"seeds is {asked!r}, but must be how many there are (5), a range ('100..104') "
            f"or a list ([7, 11]), {RUNS_MAX} at most"
        )
    return int(count)


def _keep(value: object) -> str:
    if value not in KEEPS:
        raise UsageError(f"keep is {value!r}, but must be one of: {', '.join(KEEPS)}")
    return str(value)
