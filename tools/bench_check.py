"""The table of ``make bench-check``: verdict, time, memory and algorithm, and ratios to Porcupine.

Rules of this file:
- Every row runs in a process of its own, so that its peak of memory is its own. Kernels are compiled
  before (`checker.warm`).
- `decide` is the time from columns in memory to a verdict with an order, as Porcupine's times are
  from events in memory to a verdict. `check` is all: decided, replayed through the plain model or
  shrunk, certified and explained. The best of several runs where one takes less than a second.
- Porcupine's times are those of tools/porcupine.csv (where they come from is said in it), or of a
  fresh run given with --porcupine: files with the columns file, verdict and ms_median.
- Histories come from `checker.hard_histories`, seed 11, and from ../shared/data.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / ".." / "shared" / "data"
BUDGET_S = 120.0
MEMORY_MB = 8000.0


def main() -> int:
    """Run the rows that were asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["real", "hard", "large", "start"])
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--porcupine", type=Path, nargs="*", default=[ROOT / "tools/porcupine.csv"])
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        kind, _, name = options.row.partition(":")
        print(json.dumps(ROWS[kind](name)))
        return 0
    from checker import warm

    warm.main()
    theirs = _porcupine(options.porcupine)
    for part in options.parts:
        {"real": _real, "hard": _hard, "large": _large, "start": _start}[part](options.only, theirs)
    return 0


def _porcupine(paths: list[Path]) -> dict[str, tuple[str, float]]:
    """Return Porcupine's verdict and milliseconds by file or row."""
    known: dict[str, tuple[str, float]] = {}
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(line for line in file if not line.startswith("#")):
                if row.get("partition") == "off" or not row["ms_median"]:
                    continue
                name = Path(row["file"]).stem
                known[name] = row["verdict"], float(row["ms_median"])
    return known


def _child(row: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--row", row],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode != 0:
        return {"verdict": f"failed ({done.stderr.strip().splitlines()[-1:]})"}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _real(only: str, theirs: dict[str, tuple[str, float]]) -> None:
    """Real histories with known verdicts: all in one process, as a library would be used."""
    rows = [row for row in _child("real:")["rows"] if only in row["file"]]
    print("\n### Real histories (../shared/data)\n")
    print("| histories | files | right | decide ms: all / median / max | Porcupine ms | ratio |")
    print("|---|---|---|---|---|---|")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    slower = []
    for name, group in groups.items():
        times = sorted(row["ms"] for row in group)
        pairs = [(row, theirs[Path(row["file"]).stem][1]) for row in group
                 if Path(row["file"]).stem in theirs]  # fmt: skip
        ratio = "-"
        if pairs:
            ours, other = sum(row["ms"] for row, _ in pairs), sum(ms for _, ms in pairs)
            ratio = f"{other:.2f} | 1/{other / ours:.1f}"
            slower += [f"{row['file']} {row['ms']:.3f} v {ms:.3f}" for row, ms in pairs
                       if row["ms"] > ms]  # fmt: skip
        else:
            ratio = "- | -"
        right = sum(row["right"] for row in group)
        print(f"| {name} | {len(group)} | {right} | {sum(times):.2f} / "
              f"{times[len(times) // 2]:.3f} / {times[-1]:.3f} | {ratio} |")  # fmt: skip
    print("\nSlower than Porcupine:", "; ".join(slower) or "none")


def _hard(only: str, theirs: dict[str, tuple[str, float]]) -> None:
    from checker.hard_histories import SUITE

    print("\n### Hard histories (checker.hard_histories, seed 11)\n")
    print("| history | verdict | decide ms | check ms | peak MB | algorithm | core | Porcupine |")
    print("|---|---|---|---|---|---|---|---|")
    for recipe in SUITE:
        if only in recipe.name and "1e6" not in recipe.name:
            print(_line(recipe.name, _child(f"hard:{recipe.name}"), theirs), flush=True)


def _line(name: str, row: dict[str, Any], theirs: dict[str, tuple[str, float]]) -> str:
    if "decide_ms" not in row:
        return f"| {name} | {row['verdict']} | | | | | | |"
    verdict, ms = theirs.get(name, ("-", 0.0))
    other = f"{verdict} {ms:.0f} ms" if ms else verdict
    return (
        f"| {name} | {row['verdict']}{row['expected']} | {row['decide_ms']:.2f} | "
        f"{row['check_ms']:.1f} | {row['peak_mb']:.0f} | {row['algorithm']} | {row['core']} | "
        f"{other} |"
    )


def _large(only: str, theirs: dict[str, tuple[str, float]]) -> None:
    print("\n### Large histories\n")
    print("| history | verdict | decide ms | check ms | peak MB | algorithm | core | Porcupine |")
    print("|---|---|---|---|---|---|---|---|")
    for name in ("n_1e6_10_0_ok", "n_1e6_10_0_bad", "u_1e6_10_0_ok", "u_1e6_10_0_bad"):
        if only in name:
            print(_line(name, _child(f"hard:{name}"), theirs), flush=True)
    if only in "keys_1000x10000":
        print(_line("keys_1000x10000, 2 workers", _child("keys:"), {}), flush=True)
    if only in "loading":
        row = _child("loading:")
        print("\n| loading 1,000,000 operations | seconds | peak MB |\n|---|---|---|")
        for name, (seconds, peak) in row.items():
            print(f"| {name} | {seconds:.2f} | {peak:.0f} |")


def _start(only: str, theirs: dict[str, tuple[str, float]]) -> None:
    """A first check in a fresh process: the whole command, kernels compiled before."""
    del only, theirs
    from checker.formats.edn_writer import write_edn
    from checker.hard_histories import suite_row

    print("\n### A first check in a fresh process (best of 3, the whole command)\n")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("n_1e3_10_0_ok", "n_1e4_10_0_ok", "n_1e4_10_0_bad"):
            path = Path(folder) / f"{name}.edn"
            write_edn(suite_row(name).generate().columns, path)
            command = [sys.executable, "-m", "harness.cli", "check", str(path), "--model",
                       "cas-register", "--failed-cas", "differs", "--nil-read", "absent"]  # fmt: skip
            best = min(_timed(lambda c=command: subprocess.run(  # type: ignore[misc]
                c, cwd=ROOT, capture_output=True, check=False)) for _ in range(3))  # fmt: skip
            print(f"- {name}: {best:.2f} s")


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _best(work: Callable[[], Any], *, at_most: int = 7) -> float:
    """Return the best time of up to seven runs, fewer where one takes long."""
    best = _timed(work)
    for _ in range(at_most - 1):
        if best > 1.0:
            break
        best = min(best, _timed(work))
    return best


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _row_real(_: str) -> dict[str, Any]:
    import checker.kernels.alone  # noqa: F401  (in memory, as in a program that checks many)
    from checker import Budget, default_meaning, load_columns, merge, model_named
    from checker.linearizable import decide
    from checker.parts import parts_of

    rows = []
    with (DATA / "verdicts.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    for row in listed:
        columns = load_columns(DATA / row["file"], row["format"])
        model = model_named(row["model"], json.loads(row["initial"]))
        meaning = default_meaning(columns.format)
        kept: list[Any] = []

        def once(columns: Any = columns, model: Any = model, meaning: Any = meaning,
                 kept: list[Any] = kept) -> None:  # fmt: skip
            kept[:] = parts_of(columns, model, meaning)
            decide(kept, columns, model, meaning, Budget.unlimited())

        once()
        ms = 1e3 * _best(once, at_most=15)
        verdict = merge(part.found.verdict for part in kept)
        group = f"{row['file'].split('/')[0]} {row['model']}"
        if row["file"].startswith("porcupine/c"):
            group = row["file"]
        rows.append({"file": row["file"], "group": group, "ms": ms,
                     "right": verdict.value == row["verdict"]})  # fmt: skip
    return {"rows": rows}


def _row_hard(name: str) -> dict[str, Any]:
    from checker.hard_histories import suite_row

    hard = suite_row(name).generate()
    return _checked(hard.columns, hard.expected.value, workers=1)


def _row_keys(_: str) -> dict[str, Any]:
    from checker.hard_keys import KeyedShape, registers

    shape = KeyedShape(keys=1000, operations=10_000, clients=10, crashed=0, values=5)
    return _checked(registers(shape, seed=7), "valid", workers=2)


def _checked(columns: Any, expected: str, *, workers: int) -> dict[str, Any]:
    import checker.kernels.alone  # noqa: F401
    from checker import Budget, FailedCas, Meaning, check, model_named
    from checker.linearizable import decide
    from checker.parts import parts_of

    model = model_named("cas-register")
    meaning = Meaning(failed_cas=FailedCas.DIFFERS)

    def budget() -> Any:
        return Budget.of(seconds=BUDGET_S, memory_mb=MEMORY_MB, clock=time.monotonic)

    def decided() -> None:
        decide(
            parts_of(columns, model, meaning), columns, model, meaning, budget(), workers=workers
        )

    before = _peak_mb()
    first = _timed(decided)
    best = first if first > 1.0 else _best(decided)
    began = time.perf_counter()
    result = check(columns, model, meaning=meaning, budget=budget(), workers=workers)
    took = time.perf_counter() - began
    core = "-"
    if result.certificate is not None:
        core = str(len(result.certificate["refutation"]["calls"]))
    matches = expected in ("unknown", result.verdict.value)
    return {
        "verdict": result.verdict.value,
        "expected": "" if matches else f" (WRONG: {expected})",
        "decide_ms": 1e3 * best,
        "check_ms": 1e3 * took,
        "peak_mb": _peak_mb(),
        "before_mb": before,
        "algorithm": result.algorithm,
        "core": core,
    }


def _row_loading(_: str) -> dict[str, Any]:
    from checker import load_columns
    from checker.columns import events_of
    from checker.formats.edn_writer import write_edn
    from checker.formats.parquet_layout import write_parquet
    from checker.hard_histories import suite_row

    columns = suite_row("n_1e6_10_0_ok").generate().columns
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        jsonl, parquet, edn = (Path(folder) / f"h.{end}" for end in ("jsonl", "parquet", "edn"))
        with jsonl.open("w", encoding="utf-8") as file:
            file.writelines(event.to_json() + "\n" for event in events_of(columns))
        write_parquet(columns, parquet)
        write_edn(columns, edn)
        load_columns(parquet)  # once, so that importing is not measured
        for path in (parquet, jsonl, edn):
            measured[path.suffix[1:]] = _best(lambda p=path: load_columns(p), at_most=3), _peak_mb()  # type: ignore[misc]
    return measured


ROWS: dict[str, Callable[[str], dict[str, Any]]] = {
    "real": _row_real,
    "hard": _row_hard,
    "keys": _row_keys,
    "loading": _row_loading,
}

if __name__ == "__main__":
    sys.exit(main())
