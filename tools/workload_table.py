"""The table of workloads: each passes on the node as it is, and each catches the bugs it is for.

Rules of this file:
- Whole runs in the lab, one at a time. `PASSES` are runs that must pass, `HUNTS` runs of a mutant
  in which a check of the workload itself must find a violation: that the mutant never recovers or
  crashes is no find. A hunt tries its seeds until one finds it.
- The time to detection is the newest moment among the operations of the counterexample, in seconds
  since the load began: by then the history showed it. It says nothing of how long the check took.
- Results are kept, under the command line that repeats them, in the store's `workload-table.json`,
  and are taken from there the next time: after a change of the code use `--fresh`. A run in which
  the harness failed, or that was interrupted, has shown nothing and is not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness import store  # noqa: E402
from harness.errors import SplitbrainError, UsageError  # noqa: E402
from harness.outcome import EXIT_CODES, Outcome  # noqa: E402
from harness.run import Result, run  # noqa: E402
from harness.spec import Spec  # noqa: E402
from workloads.catalogue import WORKLOADS  # noqa: E402

KEPT: Final = "workload-table.json"
SUMMARY_CHARS_MAX: Final = 160
# Checks of the harness, not of a workload.
_NOT_ITS_OWN: Final = frozenset({"agreement", "liveness", "log-scan", "system-crash"})
_NOT_RUN: Final = "not run"
_SHOWS_NOTHING: Final = frozenset(
    {Outcome.HARNESS_FAILURE.value, Outcome.INTERRUPTED.value, _NOT_RUN}
)

Run = Callable[[Spec], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Runs that must end in `outcome`: one of these seeds has to, the first one that does is shown.

    `faults` are those that the bug needs to show; `rate` and `clients` are higher where it needs
    several operations in flight at once.
    """

    workload: str
    mutant: str = ""
    faults: tuple[str, ...] = ()
    seconds: float = 60.0
    seeds: tuple[int, ...] = (1,)
    rate: float = 200.0
    clients: int = 10

    @property
    def outcome(self) -> Outcome:
        """What the run must come to."""
        return Outcome.VIOLATION if self.mutant else Outcome.PASS

    def spec(self, seed: int, *, kept_in: Path, lab: int) -> Spec:
        """Return the run with this seed."""
        return Spec(
            workload=self.workload,
            mutant=self.mutant,
            nemesis=self.faults,
            time_limit=self.seconds,
            seed=seed,
            rate=self.rate,
            concurrency=self.clients,
            store=str(kept_in),
            lab=lab,
        )


def hunt(
    workload: str, mutant: str, *faults: str, rate: float = 200.0, clients: int = 10
) -> Expectation:
    """Return the expectation that a workload catches a mutant, on one of three seeds."""
    return Expectation(
        workload=workload, mutant=mutant, faults=faults, seeds=(1, 2, 3), rate=rate, clients=clients
    )


PASSES: Final = tuple(
    Expectation(workload=name, faults=("partition", "kill")) for name in WORKLOADS
)
HUNTS: Final[tuple[Expectation, ...]] = (
    hunt("register", "reads-skip-read-index", "partition", "pause"),
    hunt("register", "commit-before-quorum", "partition", "kill"),
    hunt("key-value", "write-keeps-deadline"),
    hunt("key-value", "cas-on-missing-key"),
    hunt("list-append", "forwarded-again", "partition", "kill"),
    hunt(
        "list-append", "late-sequence-taken-for-repeat", "partition", "kill", rate=400, clients=30
    ),
    hunt("set", "remove-looked-up-locally", "partition", "pause"),
    hunt("counter", "increment-before-the-log", rate=400, clients=20),
    hunt("counter", "no-deduplication", "partition", "kill", rate=400, clients=20),
    hunt("queue", "emptiness-looked-up-locally", "partition", "pause"),
    hunt("queue", "dequeue-not-deduplicated", "partition", "kill", rate=400, clients=20),
    hunt("lock", "release-by-anybody", "partition", "kill"),
    hunt("fenced-lock", "release-by-anybody"),
    hunt("fenced-lock", "token-from-time"),
    hunt("unique-ids", "id-from-time"),
    hunt("bank", "compare-by-prefix"),
    hunt("bank", "reads-of-two-moments"),
    hunt("append-transactions", "transaction-reads-skip-read-index", "partition", "pause"),
    hunt("append-transactions", "own-steps-unseen"),
    hunt("register-transactions", "own-steps-unseen"),
    hunt("long-fork", "own-writes-shown-early", "partition", "kill", rate=400, clients=20),
    hunt("long-fork", "reads-of-two-moments", rate=400, clients=20),
    hunt("write-skew", "compare-of-written-keys-only", rate=400, clients=20),
    hunt("sessions", "reads-skip-read-index", "partition", "pause"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one run came to. `seconds` is the time to detection, `check` who found what is wrong."""

    workload: str
    mutant: str
    outcome: str
    seed: int
    seconds: float | None
    check: str
    summary: str
    met: bool


def row_of(expectation: Expectation, seed: int, result: Result) -> Row:
    """Return a run's row: the workload's own finding if there is one, or why there is none."""
    document = result.document
    own = [one for one in document["checks"] if one["name"] not in _NOT_ITS_OWN]
    found = [one for one in own if one["verdict"] == "invalid"]
    example: dict[str, Any] = {}
    if found:
        example = found[0].get("counterexample") or {}
        anomaly = example.get("anomaly")
        check = f"{found[0]['name']}: {anomaly}" if anomaly else found[0]["name"]
        summary = example.get("summary") or found[0].get("reason") or ""
    elif result.outcome is Outcome.PASS:
        check = ", ".join(one["name"] for one in own)
        summary = f"{document['operations']['ok']} operations acknowledged"
    else:
        check, summary = "", "; ".join(result.reasons)
    caught = bool(found) or not expectation.mutant
    return Row(
        workload=expectation.workload,
        mutant=expectation.mutant,
        outcome=result.outcome.value,
        seed=seed,
        seconds=shown_after_s(example),
        check=check,
        summary=summary,
        met=result.outcome is expectation.outcome and caught,
    )


def shown_after_s(example: Mapping[str, Any]) -> float | None:
    """Return when the last of a counterexample's operations ended, or began if it never did."""
    moments = [
        one["start_ns"] if one.get("end_ns") is None else one["end_ns"]
        for one in example.get("operations", ())
    ]
    return round(max(moments) / 1e9, 1) if moments else None


@dataclass(slots=True)
class Kept:
    """Rows by the command line that repeats them, in a file that is as new as the last run."""

    path: Path
    rows: dict[str, Row]

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Read what earlier calls kept. Raises `UsageError` if the file is something else."""
        if not path.is_file():
            return cls(path, {})
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, {line: Row(**row) for line, row in rows.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path}: not what this tool has kept ({error}); remove it to run everything again"
            ) from None

    def keep(self, line: str, row: Row) -> None:
        """Keep a row, at once."""
        self.rows[line] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        store.write_json(self.path, {line: asdict(row) for line, row in self.rows.items()})


def fulfil(expectation: Expectation, kept: Kept, run_one: Run, *, fresh: bool, lab: int) -> Row:
    """Run an expectation's seeds until one meets it; the row of that one, or of the last."""
    row = None
    for seed in expectation.seeds:
        spec = expectation.spec(seed, kept_in=kept.path.parent, lab=lab)
        row = None if fresh else kept.rows.get(spec.repeat_line())
        if row is None:
            row = attempt(expectation, spec, run_one)
            if row.outcome not in _SHOWS_NOTHING:
                kept.keep(spec.repeat_line(), row)
        if row.met or row.outcome == Outcome.INTERRUPTED.value:
            break
    assert row is not None, f"{expectation} has no seeds"
    return row


def attempt(expectation: Expectation, spec: Spec, run_one: Run) -> Row:
    """Run once. A run that cannot even begin is a row that says why."""
    try:
        return row_of(expectation, spec.seed, run_one(spec))
    except SplitbrainError as error:
        return Row(
            workload=spec.workload,
            mutant=spec.mutant,
            outcome=_NOT_RUN,
            seed=spec.seed,
            seconds=None,
            check="",
            summary=str(error),
            met=False,
        )


def chosen(options: argparse.Namespace) -> list[Expectation]:
    """Return what is asked for, workload by workload."""
    passes = () if options.skip_passes else PASSES
    hunts = () if options.skip_mutants else HUNTS
    wanted = [
        one for name in options.workloads for one in (*passes, *hunts) if one.workload == name
    ]
    if options.seconds is None:
        return wanted
    return [replace(one, seconds=options.seconds) for one in wanted]


def table(rows: Iterable[Row]) -> str:
    """Return the rows in Markdown."""
    head = ("workload", "mutant", "outcome", "seed", "shown after (s)", "check", "what it says")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = (
            row.workload,
            f"`{row.mutant}`" if row.mutant else "none",
            row.outcome if row.met else f"**{row.outcome}**",
            str(row.seed),
            "" if row.seconds is None else f"{row.seconds:.1f}",
            row.check,
            cut(row.summary),
        )
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def cut(text: str) -> str:
    """Return a text on one line that is not too long for a cell."""
    line = " ".join(text.split())
    return (
        line if len(line) <= SUMMARY_CHARS_MAX else line[: SUMMARY_CHARS_MAX - 4].rstrip() + " ..."
    )


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program if it makes no sense."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="names, with commas")
    parser.add_argument("--seconds", type=float, help="load of each run, in place of its own")
    parser.add_argument("--skip-passes", action="store_true")
    parser.add_argument("--skip-mutants", action="store_true")
    parser.add_argument("--store", type=Path, default=Path("store"), help="where runs are kept")
    parser.add_argument("--fresh", action="store_true", help="run again what was run before")
    parser.add_argument("--output", type=Path, help="a file for the table")
    parser.add_argument("--lab", type=int, default=-1, help="the lab's number; -1 takes a free one")
    options = parser.parse_args(words)
    options.workloads = options.workloads.split(",")
    for name in options.workloads:
        if name not in WORKLOADS:
            parser.error(f"--workloads names {name!r}, but must be of: {', '.join(WORKLOADS)}")
    return options


def main(words: Sequence[str] | None = None, *, run_one: Run = run) -> int:
    """Run what was asked for; 0, 1 if an expectation was not met, 2 or 130 as the harness has it."""
    options = parse(words)
    try:
        kept = Kept.read(options.store / KEPT)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    rows: list[Row] = []
    for expectation in chosen(options):
        row = fulfil(expectation, kept, run_one, fresh=options.fresh, lab=options.lab)
        sys.stderr.write(f"{row.workload}, {row.mutant or 'as it is'}: {row.outcome}\n")
        rows.append(row)
        if row.outcome == Outcome.INTERRUPTED.value:
            break
    text = table(rows)
    sys.stdout.write(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")
    if any(row.outcome == Outcome.INTERRUPTED.value for row in rows):
        return EXIT_CODES[Outcome.INTERRUPTED]
    return int(not all(row.met for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
