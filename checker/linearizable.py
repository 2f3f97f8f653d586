"""The front door: is this history linearizable with respect to this model?

Rules of this file:
- Keys are checked alone and in the order in which they first appear: an object that is made of
  independent ones is linearizable exactly if each of them is (Herlihy & Wing, TOPLAS 12(3)
  (1990), section 3.3; Horn & Kroening, "Faster linearizability checking via P-compositionality",
  FORTE 2015, section 4).
- `valid` is answered only after the order that the search found has been replayed through the
  plain model; `invalid` comes with a counterexample; `unknown` says what was spent and how far
  the search came.
- A key that is hard takes no other key's share of the time, but gets what they leave over.
- Pure: the clock is the budget's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checker.budget import MEGABYTE, Budget, Spent
from checker.calls import Calls, calls_of
from checker.explain import explain
from checker.history import History, HistoryError, Operation
from checker.meaning import Meaning, default_meaning
from checker.models.model import Model
from checker.replay import replay
from checker.search import Found, search
from checker.verdict import CheckResult, KeyResult, Verdict, merge

ALGORITHM = "wing-gong-lowe"


@dataclass(slots=True, kw_only=True)
class _Part:
    """One independent object and what is known of it so far."""

    key: str | None
    operations: int
    calls: Calls
    found: Found | None = None

    @property
    def is_open(self) -> bool:
        """Whether more time may help: it does not where the memory ran out."""
        return self.found is None or self.found.spent is Spent.TIME


def check(
    history: History,
    model: Model,
    *,
    meaning: Meaning | None = None,
    budget: Budget | None = None,
) -> CheckResult:
    """Check a history. `meaning` defaults to that of its format, `budget` to no limit.

    Raises `HistoryError` if the history cannot be understood: operations that do not pair up, or
    that the model does not know.
    """
    budget = budget or Budget.unlimited()
    began = budget.clock()
    operations = history.operations()
    meaning = meaning or default_meaning(history.format)
    parts = _parts(history, operations, model, meaning)
    _search_all(parts, model, budget)
    counterexample = None
    for part in parts:
        assert part.found is not None
        if part.found.linearization is not None:
            replay(part.found.linearization, part.calls, model)
        elif part.found.verdict is Verdict.INVALID and counterexample is None:
            counterexample = _explained(part, operations, model, budget)
    keys = tuple(_key_result(part, operations) for part in parts)
    return CheckResult(
        verdict=merge(result.verdict for result in keys),
        algorithm=ALGORITHM,
        operations=len(operations),
        seconds=budget.clock() - began,
        peak_mb=max((part.found.kept_bytes for part in parts if part.found), default=0) / MEGABYTE,
        keys=keys,
        counterexample=counterexample,
        reason=_reason(keys),
    )


def _explained(
    part: _Part, operations: list[Operation], model: Model, budget: Budget
) -> dict[str, Any]:
    """Explain a violation. An explanation that fails must not take the verdict with it."""
    assert part.found is not None
    try:
        return explain(
            part.calls, operations, model, budget, key=part.key, reached=part.found.reached
        )
    except Exception as error:  # noqa: BLE001  (whatever it is, the verdict stands)
        return {
            "key": part.key,
            "summary": f"No order explains all of {part.key or 'the'} operations "
            f"(the explanation failed: {type(error).__name__}: {error}).",
            "last_valid_operations": 0,
            "final_states": [],
            "operations": [],
        }


def _parts(
    history: History, operations: list[Operation], model: Model, meaning: Meaning
) -> list[_Part]:
    """Divide a history by key, or not at all if the model has none."""
    by_key: dict[str | None, list[tuple[int, Operation]]] = {}
    for index, operation in enumerate(operations):
        key = operation.key if model.keyed else None
        by_key.setdefault(key, []).append((index, operation))
    try:
        return [
            _Part(key=key, operations=len(numbered), calls=calls_of(numbered, model, meaning))
            for key, numbered in by_key.items()
        ]
    except ValueError as error:  # a ModelError, or a value that has no canonical text
        raise HistoryError(f"{history.source}: model {model.name}: {error}") from None


def _search_all(parts: list[_Part], model: Model, budget: Budget) -> None:
    """Search every part. First each gets an equal share of the time that is left, so what easy
    ones leave over goes to those after them; then those still open get all the rest.
    """
    for _ in range(2):
        still_open = [part for part in parts if part.is_open]
        for place, part in enumerate(still_open):
            share = budget.share(len(still_open) - place)
            if part.found is None or share.spent(0) is None:
                part.found = search(part.calls, model, share)


def _key_result(part: _Part, operations: list[Operation]) -> KeyResult:
    found = part.found
    assert found is not None
    order = None
    if found.linearization is not None:
        order = tuple(operations[call.index].invocation.index for call in found.linearization)
    return KeyResult(
        key=part.key,
        verdict=found.verdict,
        operations=part.operations,
        steps=found.steps,
        linearization=order,
        reason=None if found.spent is None else _how_far(part, found),
    )


def _how_far(part: _Part, found: Found) -> str:
    """Say what was spent and how much of the key's history could be ordered until then."""
    reached = -1 if found.reached is None else found.reached
    returned = sum(1 for call in part.calls if call.end is not None and call.end < reached)
    asked = sum(1 for call in part.calls if not call.optional)
    return f"{found.spent} ({returned} of {asked} operations ordered, {found.steps} steps)"


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
