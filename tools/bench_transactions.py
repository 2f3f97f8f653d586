"""The table of the transaction benchmark: time and memory from a file to a verdict, and the growth.

Rules of this file:
- Every row runs in a process of its own, so that its peak of memory is its own. Kernels are compiled
  before, and one small history is checked first, so that no time is a compiler's.
- Histories are made here from a seed: a serializable store, clients that overlap, keys that are
  appended to a bounded number of times and then retired (as Jepsen's generator does).
  `--fault` says what is done to it: none; stale (a few reads of an older state); skew (a few pairs of
  transactions that each read what the other appends).
- `read` is from the file to arrays, `check` from arrays to the verdict, `all` both, in seconds of the
  processor (on a machine that is shared, those of the clock say little); `clock` is the clock's for
  both. The ratio is that of `all` per transaction to the first row's: 1.0 means linear.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S, LIMIT_MB = 30.0, 4096.0


def main() -> int:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--fault", choices=["none", "stale", "skew"], nargs="*", default=["none"])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--keys", type=int, default=10, help="keys in use at one time")
    parser.add_argument("--appends", type=int, default=32, help="appends until a key is retired")
    parser.add_argument("--micros", type=int, default=4, help="micro-operations a transaction")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(_row(Path(options.row))))
        return 0
    print(
        "| fault | transactions | read s | check s | all s | clock s | peak MB | verdict | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for fault in options.fault:
        base = None
        for size in options.sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "history.jsonl"
                with path.open("w", encoding="utf-8") as file:
                    file.writelines(history(size, fault, options))
                done = subprocess.run(
                    [sys.executable, __file__, "--row", str(path)],
                    capture_output=True, text=True, cwd=ROOT, check=True,
                )  # fmt: skip
            row = json.loads(done.stdout)
            whole = row["read"] + row["check"]
            each = whole / size
            base = base or each
            said = f"{row['verdict']} {' '.join(row['names'])}".strip()
            print(
                f"| {fault} | {size} | {row['read']:.2f} | {row['check']:.2f} | {whole:.2f} "
                f"| {row['clock']:.2f} "
                f"| {row['peak_mb']:.0f} | {said} | {each / base:.2f} |",
                flush=True,
            )
            if size >= 1_000_000 and (whole > LIMIT_S or row["peak_mb"] > LIMIT_MB):
                print(f"above the limit of {LIMIT_S:.0f} s and {LIMIT_MB:.0f} MB")
    return 0


def _row(path: Path) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT))
    from checker.transactions.check import check_transactions
    from checker.transactions.reading import read_transactions
    from checker.transactions.warm import compile_walks

    compile_walks()
    clock = time.monotonic()
    began = time.process_time()
    txns = read_transactions(path, "list-append")
    read = time.process_time()
    result = check_transactions(txns, "list-append", "strict-serializable")
    ended = time.process_time()
    return {
        "clock": time.monotonic() - clock,
        "read": read - began,
        "check": ended - read,
        "verdict": result.verdict.value,
        "names": result.names,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def history(size: int, fault: str, options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of a history of that many transactions."""
    rng = Random(options.seed)
    lists: dict[int, list[int]] = {key: [] for key in range(options.keys)}
    live = list(range(options.keys))
    next_key = options.keys
    running: dict[int, tuple[list[Any], list[Any]]] = {}
    begun, clock = 0, 0
    every = max(2, size // 10)
    skewed: tuple[int, int, list[Any]] | None = None
    while begun < size or running:
        process = rng.randrange(options.clients)
        clock += rng.randint(1, 1000)
        if process in running:
            asked, answered = running.pop(process)
            yield _line(clock, process, "ok", answered)
            continue
        if begun >= size:
            continue
        asked, answered = [], []
        is_faulty = begun % every == every // 2
        before = {key: len(lists[key]) for key in live}
        for _ in range(options.micros):
            place = rng.randrange(len(live))
            key = live[place]
            held = lists[key]
            if rng.random() < 0.5:
                if len(held) >= options.appends:
                    del lists[key]
                    key = live[place] = next_key
                    next_key += 1
                    held = lists[key] = []
                held.append(len(held) + 1)
                asked.append(["append", key, len(held)])
                answered.append(asked[-1])
            else:
                asked.append(["r", key, None])
                seen = held.copy()
                if is_faulty and fault == "stale" and before.get(key) == len(held):
                    seen = held[: len(held) // 2]
                answered.append(["r", key, seen])
        if fault == "skew" and (is_faulty or skewed):
            asked, answered, skewed = _skew(skewed, next_key, asked, answered)
            next_key += 2 if skewed else 0
        yield _line(clock, process, "invoke", asked)
        running[process] = asked, answered
        begun += 1


def _skew(
    half: tuple[int, int, list[Any]] | None, key: int, asked: list[Any], answered: list[Any]
) -> tuple[list[Any], list[Any], tuple[int, int, list[Any]] | None]:
    """Add one half of a write skew on two fresh keys: read the one, empty, append to the other."""
    own, other = (key, key + 1) if half is None else (half[1], half[0])
    asked = [*asked, ["r", other, None], ["append", own, 1]]
    answered = [*answered, ["r", other, []], ["append", own, 1]]
    return asked, answered, (own, other, answered) if half is None else None


def _line(clock: int, process: int, kind: str, value: list[Any]) -> str:
    record = {"time": clock, "process": process, "type": kind, "f": "txn", "value": value}
    return json.dumps(record, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.exit(main())
