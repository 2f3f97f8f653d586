"""Compares every algorithm of the checker with brute force, for as long as it is told to.

    .venv/bin/python tools/fuzz_checker.py --seconds 600 --seed 1000000 --jobs 2
    .venv/bin/python tools/fuzz_checker.py --only race --seed 1234 --count 1     # one again

Rules of this file:
- What is compared is in ``tests/checker/differential.py`` and ``differential_check.py``; ``make test``
  tries the seeds from 0 on, so nights should begin far above.
- A history has a seed and the name of what it was given to, and nothing else random.
- Prints how often which answer came. Exits 1 with the history and the command that repeats it where
  an answer is wrong or proves nothing; `--go-on` counts such and goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
SHOWN_MAX = 5

Algorithms = dict[str, Callable[[Random], str]]


@dataclass(slots=True)
class Tally:
    """How often which answer came, and the failures with their seeds."""

    answers: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in what another job counted."""
        for name, answers in other.answers.items():
            self.answers.setdefault(name, Counter()).update(answers)
        self.failures += other.failures


def algorithms(only: list[str]) -> Algorithms:
    """Return what there is to compare; `only` are whole names, or parts of some."""
    for folder in (ROOT, ROOT / "tests" / "checker"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    from differential import ALGORITHMS
    from differential_check import FRONT_DOORS

    every: Algorithms = {**ALGORITHMS, **FRONT_DOORS}
    chosen: Algorithms = {}
    for some in only or [""]:
        names = [some] if some in every else [name for name in every if some in name]
        chosen |= {name: every[name] for name in names}
    return chosen


def work(
    only: list[str], first: int, stride: int, count: int, deadline: float, *, go_on: bool
) -> Tally:
    """Try the seeds first, first + stride, ... until the deadline, or so many."""
    chosen, tally = algorithms(only), Tally()
    for seed in range(first, first + stride * count, stride):
        for name, algorithm in chosen.items():
            if time.monotonic() >= deadline:
                return tally
            answers = tally.answers.setdefault(name, Counter())
            try:
                answers[algorithm(Random(f"{name} {seed}"))] += 1
            except Exception as error:  # noqa: BLE001  (a crash is a finding as well)
                answers["WRONG"] += 1
                tally.failures.append((name, seed, f"{type(error).__name__}: {error}"))
                if not go_on:
                    return tally
    return tally


def report(tally: Tally, seconds: float) -> None:
    """Print a line for each algorithm, and the first failures."""
    say = sys.stdout.write
    total = 0
    for name, answers in tally.answers.items():
        count = sum(answers.values())
        total += count
        told = ", ".join(f"{answer} {n}" for answer, n in sorted(answers.items()))
        say(f"{name:28} {count:9}  {told}\n")
    say(f"{total} histories in {seconds:.0f} s, {len(tally.failures)} failures\n")
    for name, seed, what in tally.failures[:SHOWN_MAX]:
        say(f'\n{what}\nrepeat: tools/fuzz_checker.py --only "{name}" --seed {seed} --count 1\n')


def main() -> int:
    """Read the arguments, divide the seeds among the jobs, add up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1_000_000, help="the first seed (1000000)")
    parser.add_argument("--count", type=int, default=1 << 40, help="so many seeds of each at most")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--only", action="append", default=[],
                        help="an algorithm's name, or a part of some; may be repeated")  # fmt: skip
    parser.add_argument("--go-on", action="store_true", help="count failures and go on")
    given = parser.parse_args()
    if not algorithms(given.only):
        parser.error(f"--only {given.only}: none of {', '.join(algorithms([]))}")
    began = time.monotonic()
    deadline = began + given.seconds  # the same clock in every process of a machine
    tally = Tally()
    if given.jobs == 1:
        tally = work(given.only, given.seed, 1, given.count, deadline, go_on=given.go_on)
    else:
        with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
            jobs = [
                pool.submit(work, given.only, given.seed + n, given.jobs, given.count, deadline,
                            go_on=given.go_on)
                for n in range(given.jobs)
            ]  # fmt: skip
            for job in jobs:
                tally.add(job.result())
    report(tally, time.monotonic() - began)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
