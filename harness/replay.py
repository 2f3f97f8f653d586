"""`splitbrain replay RUN`: the same load and the same faults again, and what differed.

Rules of this file:
- The faults are those of the run's `plan.json`, to the nanosecond; what clients are told comes from
  the same seed. Real processes on a real network still answer as they like: what is repeated is the
  question, and the answer is compared.
- The first run is only read. The second is a run like any other, with a folder of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness import own_code, own_workload, store
from harness.errors import UsageError
from harness.nemesis.plan import Plan
from harness.run import Result, run
from harness.spec import Spec

_SHARE_SHOWN: Final = 0.1


def replay(folder: Path, *, where: str | None = None) -> tuple[Result, list[str]]:
    """Run a run again; return what came of it, and in what it differed from the first.

    `where` is the store of the new run, by default that of the first one's spec. Raises
    `UsageError` for a folder that holds no run with a plan.
    """
    spec, plan = spec_and_plan(folder)
    if where is not None:
        spec = replace(spec, store=where)
    before = _outcome(folder)
    result = run(spec, plan=plan)
    return result, differences(before, result.document)


def spec_and_plan(folder: Path) -> tuple[Spec, Plan]:
    """Return what a run was asked to do, and the faults that it planned."""
    spec = store.spec_of(folder)
    if not own_code.is_there(spec.workload):
        spec = replace(spec, workload=own_code.in_copy(spec.workload, folder / own_workload.COPY))
    if not own_code.is_there(spec.system):
        raise UsageError(
            f"{folder}: its system was {spec.system}, which is not there any more (what it uploads "
            f"lay beside it; a copy of the file itself is {folder / store.SYSTEM})"
        )
    path = folder / store.PLAN
    try:
        return spec, Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(f"{path}: no plan that can be repeated: {error}") from None


def _outcome(folder: Path) -> Mapping[str, Any]:
    """Return the first run's outcome; a run that did not finish has none."""
    try:
        found = json.loads((folder / store.OUTCOME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Say in what two outcomes differ, the most important first. Pure."""
    if not before:
        return ["the first run has no outcome to compare with"]
    told = []
    for what, one, other in (
        ("outcome", before.get("outcome"), after.get("outcome")),
        ("version", before.get("splitbrain"), after.get("splitbrain")),
    ):
        if one != other:
            told.append(f"{what}: {one} before, {other} now")
    first, second = _verdicts(before), _verdicts(after)
    told += [f"check {name}: {first.get(name, 'not made')} before, {second.get(name, 'not made')} now"
             for name in {**first, **second} if first.get(name) != second.get(name)]  # fmt: skip
    evidence, evidence_now = _evidence(before), _evidence(after)
    told += [
        f"fault {number} ({name}): {evidence[number, name]} before, "
        f"{evidence_now.get((number, name), 'not reached')} now"
        for number, name in evidence
        if evidence[number, name] != evidence_now.get((number, name))
    ]
    leaders, leaders_now = (len(one.get("leader_changes") or ()) for one in (before, after))
    if leaders != leaders_now:
        told.append(f"leaders seen: {leaders} before, {leaders_now} now")
    told += _counts(before, after)
    return told


def _verdicts(document: Mapping[str, Any]) -> dict[str, str]:
    return {str(one["name"]): str(one["verdict"]) for one in document.get("checks") or ()}


def _evidence(document: Mapping[str, Any]) -> dict[tuple[int, str], str]:
    return {
        (int(one["id"]), f"{one['kind']}:{one['name']}"): str(one["evidence"])
        for one in document.get("faults") or ()
    }


def _counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Tell counts of operations that are a tenth apart or more."""
    first: Counter[str] = Counter(before.get("operations"))
    second: Counter[str] = Counter(after.get("operations"))
    return [
        f"operations, {kind}: {first[kind]} before, {second[kind]} now"
        for kind in dict.fromkeys((*first, *second))
        if abs(first[kind] - second[kind]) > _SHARE_SHOWN * max(first[kind], second[kind])
    ]
