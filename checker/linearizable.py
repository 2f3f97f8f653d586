"""The front door: is this history linearizable with respect to this model?

Rules of this file:
- Objects are checked alone (`checker.parts`), each by the first of these that is certain: linear
  checks, a short search of all objects at once (`checker.first_look`), checks of collections
  (`checker.containers`), a race of searches (`checker.portfolio`).
- Small histories are answered by the plain search (`checker.search`) unless the kernels are in
  memory already: nobody waits for a compiler, or for a library to load, for eighty operations.
- `valid` is answered only after its order has been played again (`checker.prove`); `invalid` comes
  with a core that has no order, a certificate and a story; `unknown` says what was spent and how
  far it came.
- A key that is hard takes no other key's share of the time, but gets what they leave over.
- Pure: the clock is the budget's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import numpy as np

from checker.budget import MEGABYTE, Budget, Spent
from checker.columns import Columns, columns_of
from checker.history import History
from checker.meaning import Meaning, default_meaning
from checker.models.model import Model
from checker.models.register import Register
from checker.parts import Found, Part, parts_of
from checker.prove import prove
from checker.search import Found as Plain
from checker.search import search
from checker.verdict import CheckResult, KeyResult, Verdict, merge

# So many calls of one object the plain search may take on, and so many steps for each.
SMALL_CALLS = 600
_SMALL_STEPS_A_CALL = 30
_SMALL_STEPS = 2000


def check(
    history: History | Columns,
    model: Model,
    *,
    meaning: Meaning | None = None,
    budget: Budget | None = None,
    workers: int = 1,
    resume: Callable[[list[Part]], None] | None = None,
    pause: Callable[[list[Part]], None] | None = None,
) -> CheckResult:
    """Check a history. `meaning` defaults to that of its format, `budget` to no limit.

    `resume` may fill in what an earlier check found, `pause` keep what this one found before
    anything is proved (`checker.checkpoint`). Raises `HistoryError` if the history cannot be understood: operations that do not pair up, or
    that the model does not know.
    """
    budget = budget or Budget.unlimited()
    began = budget.clock()
    columns = columns_of(history) if isinstance(history, History) else history
    meaning = meaning or default_meaning(columns.format)
    parts = parts_of(columns, model, meaning)
    if resume is not None:
        resume(parts)
    decide(parts, columns, model, meaning, budget, workers=workers)
    if pause is not None:
        pause(parts)
    decided = budget.clock() - began
    proofs = prove(parts, columns, model, meaning, budget)
    keys = tuple(_key_result(part, columns) for part in parts)
    return CheckResult(
        verdict=merge(result.verdict for result in keys),
        algorithm=_algorithm(parts),
        operations=len(columns),
        seconds=budget.clock() - began,
        decided_seconds=decided,
        peak_mb=max((part.found.kept_bytes for part in parts if part.found), default=0) / MEGABYTE,
        keys=keys,
        counterexample=proofs.counterexample,
        certificate=proofs.certificate,
        reason=_reason(keys) or _unproved(keys, proofs.certificate),
    )


def decide(
    parts: list[Part],
    columns: Columns,
    model: Model,
    meaning: Meaning,
    budget: Budget,
    *,
    workers: int = 1,
) -> None:
    """Find a verdict for every part, as far as the budget goes; nothing is proved here."""
    fresh = not any(part.found for part in parts)
    small = not are_kernels_loaded() and all(len(part) <= SMALL_CALLS for part in parts)
    small = small and fresh
    if small:
        _plainly(parts, model, budget)
        if all(_is_decided(part) for part in parts):
            return
    from checker import decide as compiled  # numba is heavy: only for those who need it

    compiled.decide(parts, columns, model, meaning, budget, workers=workers)


def are_kernels_loaded() -> bool:
    """Whether this process has paid for the kernels already."""
    return "checker.kernels.alone" in sys.modules


def _is_decided(part: Part) -> bool:
    return part.found is not None and part.found.verdict is not Verdict.UNKNOWN


def _plainly(parts: list[Part], model: Model, budget: Budget) -> None:
    """Answer with the plain search what it can answer soon."""
    for part in parts:
        if budget.spent(0) is Spent.TIME:
            return
        calls = part.calls
        found = search(calls, model, budget,
                       steps_max=_SMALL_STEPS_A_CALL * len(calls) + _SMALL_STEPS)  # fmt: skip
        part.found = _found_plainly(part, found)


def _found_plainly(part: Part, found: Plain) -> Found:
    """Return what the plain search found, in rows of the columns."""
    order = None
    if found.linearization is not None:
        order = np.array([call.index for call in found.linearization], np.int64)
    until = None
    if found.reached is not None:
        until = next(call.index for call in part.calls if call.end == found.reached)
    between = None
    if found.stale is not None and isinstance(part.model, Register):
        # Of a register: only there a state that is needed says all that a call looks at.
        between = found.stale.between
    return Found(
        verdict=found.verdict,
        algorithm="wing-gong-lowe",
        order=order,
        until=until,
        between=None if between is None else between.index,
        spent=found.spent,
        steps=found.steps,
        kept_bytes=found.kept_bytes,
    )


def _algorithm(parts: list[Part]) -> str:
    """Name what answered: all of them, in order of first appearance."""
    return "+".join(dict.fromkeys(part.found.algorithm for part in parts if part.found)) or "none"


def _key_result(part: Part, columns: Columns) -> KeyResult:
    found = part.found or Found(verdict=Verdict.UNKNOWN, algorithm="none", spent=Spent.TIME)
    order = None
    if found.verdict is Verdict.VALID and found.order is not None:
        order = tuple(columns.index[found.order].tolist())
    return KeyResult(
        key=part.key,
        verdict=found.verdict,
        operations=len(part),
        algorithm=found.algorithm,
        steps=found.steps,
        linearization=order,
        reason=_how_far(part, found, columns) if found.verdict is Verdict.UNKNOWN else None,
    )


def _how_far(part: Part, found: Found, columns: Columns) -> str:
    """Say what was spent and how much of the key's history could be ordered until then."""
    reached = -1 if found.until is None else int(columns.end[found.until])
    ends = columns.end[part.rows]
    asked = ends[ends >= 0]
    spent = found.spent or Spent.TIME
    return (
        f"{spent} ran out ({int((asked < reached).sum())} of {len(asked)} operations ordered, "
        f"{found.steps} steps)"
    )


def _unproved(keys: tuple[KeyResult, ...], certificate: object) -> str | None:
    """Say so where a contradiction was found by search alone."""
    invalid = any(result.verdict is Verdict.INVALID for result in keys)
    return "no certificate: no core was found in time" if invalid and certificate is None else None


def _reason(keys: tuple[KeyResult, ...]) -> str | None:
    """Return one sentence: nothing to check, or how many keys have which verdict and why."""
    if not keys:
        return "no operations"
    counts: Mapping[Verdict, int] = {
        verdict: sum(1 for result in keys if result.verdict is verdict) for verdict in Verdict
    }
    unknown = [result for result in keys if result.verdict is Verdict.UNKNOWN]
    if len(keys) == 1:
        return keys[0].reason
    if not unknown and counts[Verdict.INVALID] < 2:
        return None
    said = [f"{counts[Verdict.VALID]} of {len(keys)} keys valid"]
    if counts[Verdict.INVALID]:
        names = ", ".join(str(r.key) for r in keys if r.verdict is Verdict.INVALID)
        said.append(f"{counts[Verdict.INVALID]} invalid ({names})")
    if unknown:
        first = unknown[0]
        said.append(f"{len(unknown)} unknown, the first is {first.key}: {first.reason}")
    return ", ".join(said)
