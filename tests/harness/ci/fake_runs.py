"""Runs that are made up: what `harness.run.run` would leave behind, without hosts.

Rules of this file:
- A fake run makes its folder as a real one does, in the store, and returns a real `Result`.
- What comes of a run is said by its spec's number in a list, or by a function of its spec.
- Time is a number that runs move on; nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness import store
from harness.errors import SplitbrainError
from harness.outcome import EXIT_CODES, Outcome
from harness.run import Result
from harness.spec import Spec

LARGE = ("history.jsonl", "history-checked.jsonl", "certificate.json", "status.jsonl",
         "operations.parquet", "faults.parquet", "metrics.parquet")  # fmt: skip
SMALL = ("report.html", "plan.json", "junit.xml", "summary.md", "harness.log")

Fate = Outcome | SplitbrainError | BaseException


@dataclass(slots=True)
class FakeRuns:
    """Stands in for `harness.run.run`; `beyond_s` is what a run takes beyond its load."""

    fate: Callable[[Spec], Fate] = lambda _: Outcome.PASS
    beyond_s: Callable[[Spec], float] = lambda _: 10.0
    now_s: float = 1000.0
    specs: list[Spec] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def __call__(self, spec: Spec, *, progress: Any = None) -> Result:
        del progress
        self.specs.append(spec)
        fate = self.fate(spec)
        if isinstance(fate, BaseException):
            raise fate
        self.now_s += spec.time_limit + self.beyond_s(spec)
        return self.leave(spec, fate)

    def leave(self, spec: Spec, outcome: Outcome) -> Result:
        """Make the folder of a run that came out so."""
        folder = store.create(spec)
        for name in (*LARGE, *SMALL):
            (folder / name).write_text(f"{name} of seed {spec.seed}\n")
        (folder / "hosts" / "n1").mkdir(parents=True)
        (folder / "hosts" / "n1" / "node.log").write_text("a log\n")
        reasons = ["linearizable: valid"] if outcome is Outcome.PASS else [f"it is {outcome}"]
        document = {
            "name": spec.name,
            "outcome": outcome.value,
            "exit_code": EXIT_CODES[outcome],
            "reasons": reasons,
            "seed": spec.seed,
            "repeat": spec.repeat_line(),
            "operations": {"invoke": 9, "ok": 9, "fail": 0, "info": 0},
            "leader_changes": [],
            "faults": [],
            "recovery": None,
            "phases": [],
        }
        store.write_json(folder / store.OUTCOME, document)
        return Result(
            outcome=outcome,
            exit_code=EXIT_CODES[outcome],
            path=folder,
            reasons=tuple(reasons),
            document=document,
        )
