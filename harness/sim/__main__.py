"""The command: run seeds, show the first violation.

python -m harness.sim FIRST LAST [--print] [--length N] [--node DIR] [--keep-going] [--digest] [--seconds N]

Another copy of the node is used when it comes first in PYTHONPATH, or with --node DIR (a directory
that holds `node/`, such as `python -m node.mutants apply` makes).

Rules of this file: exit 0: no violation; 1: one, with its seed and the last events before it.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path


def _prefer(directories: list[str]) -> None:
    """Look for `node` in these first: `-m` puts the working directory before PYTHONPATH."""
    for directory in reversed(directories):
        if (Path(directory or ".") / "node" / "__init__.py").exists():
            sys.path.insert(0, directory)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m harness.sim", description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int, help="not included")
    parser.add_argument("--print", action="store_true", help="every event")
    parser.add_argument("--length", type=int, default=0, help="of the faults, election timeouts")
    parser.add_argument("--node", default="", help="a directory with another copy of the node")
    parser.add_argument("--keep-going", action="store_true", help="show every violation, briefly")
    parser.add_argument("--digest", action="store_true", help="the digest of each trace")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no seed after that")
    given = parser.parse_args()
    _prefer([given.node] if given.node else os.environ.get("PYTHONPATH", "").split(os.pathsep))

    from harness.sim.simulate import SAFETY_TIMEOUTS, simulate

    def show(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    began = time.perf_counter()
    events = found = seeds = 0
    for seed in range(given.first, given.last):
        if time.perf_counter() - began > given.seconds:
            break
        seeds += 1
        result = simulate(
            seed, length=given.length or SAFETY_TIMEOUTS, sink=show if given.print else None
        )
        events += result.events
        if given.digest:
            show(f"seed {seed} {result.digest}")
        if result.violation is not None:
            found += 1
            show(f"seed {seed}: {result.violation}")
            if not given.keep_going:
                for line in [] if given.print else result.last:
                    show(f"  {line}")
                show(f"  {result.shape}")
                show(f"again: python -m harness.sim {seed} {seed + 1} --print")
                return 1
            sys.stdout.flush()
    seconds = time.perf_counter() - began
    sys.stderr.write(
        f"{seeds} seeds, {found} violations, {events} events in {seconds:.1f} s:"
        f" {events / max(seconds, 1e-9):.0f}/s\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
