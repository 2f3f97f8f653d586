"""The command: list the mutants, or make a mutated copy of the node.

python -m node.mutants list [--json]
python -m node.mutants apply ID TARGET_DIR      writes TARGET_DIR/node
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from node.mutants.apply import MutantError, apply, load


def main() -> int:
    """Run the command; 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m node.mutants", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="all mutants")
    listing.add_argument("--json", action="store_true", help="one JSON array")
    applying = commands.add_parser("apply", help="copy the node with one edit")
    applying.add_argument("id")
    applying.add_argument("target", type=Path)
    given = parser.parse_args()
    try:
        if given.command == "apply":
            sys.stdout.write(f"{apply(given.id, given.target)}\n")
        elif given.json:
            sys.stdout.write(json.dumps([asdict(mutant) for mutant in load()], indent=1) + "\n")
        else:
            sys.stdout.writelines(f"{mutant.id:32} {mutant.summary}\n" for mutant in load())
    except (MutantError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
