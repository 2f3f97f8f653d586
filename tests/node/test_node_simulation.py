"""Clusters in virtual time: safe under every fault, alive after them, and sharp enough to notice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation import simulate

from node.mutants.apply import apply, load

SIMULATION = Path(__file__).with_name("simulation.py")

# Mutants that the simulation finds within these seeds.
CAUGHT = {
    "reads-skip-read-index": "stale read",
    "commit-before-quorum": "not what was committed",
    "no-up-to-date-check": "lacks committed entry",
    "no-wal-fsync": "without entries it had made durable",
    "read-before-own-commit": "stale read",
    "heartbeat-commit-not-clamped": "Violation",
    "unconditional-truncation": "Violation",
    "waiter-keyed-by-index": "Violation",
    "quorum-one-short": "durable copies",
}

# Mutants that need a rarer moment: tests of one server arrange it.
CAUGHT_BY_OTHER_TESTS = {
    "ack-not-bound-to-round": "test_node_raft_leadership.py",
    "commit-old-term": "test_node_raft_paper.py",
    "no-check-quorum": "test_node_raft_leadership.py",
    "vote-not-persisted": "test_node_wal.py",
}


def test_every_mutant_is_caught_somewhere() -> None:
    assert {*CAUGHT, *CAUGHT_BY_OTHER_TESTS} == {mutant.id for mutant in load()}


@pytest.mark.parametrize("mutant", CAUGHT_BY_OTHER_TESTS)
def test_other_tests_find_planted_bug(mutant: str, tmp_path: Path) -> None:
    apply(mutant, tmp_path)
    tests = SIMULATION.with_name(CAUGHT_BY_OTHER_TESTS[mutant])
    program = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    run = subprocess.run(
        [sys.executable, "-c", program, "-q", "-p", "no:cacheprovider", str(tests)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    assert " failed" in run.stdout
    assert " passed" in run.stdout


@pytest.mark.parametrize("first", range(0, 240, 30))
def test_safe_under_faults_and_alive_after_them(first: int) -> None:
    committed = 0
    for seed in range(first, first + 30):
        world = simulate(seed)
        committed += len(world.ghosts.committed)
        assert world.clients.completed > 0
    assert committed > 30 * 5


def test_same_seed_same_run() -> None:
    first, second = simulate(7), simulate(7)
    assert first.ghosts.committed == second.ghosts.committed
    assert [call.answer for call in first.clients.calls] == [
        call.answer for call in second.clients.calls
    ]


@pytest.mark.parametrize("mutant", CAUGHT)
def test_finds_planted_bug(mutant: str, tmp_path: Path) -> None:
    apply(mutant, tmp_path)
    run = subprocess.run(
        [sys.executable, str(SIMULATION), "0", "100"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    assert CAUGHT[mutant] in run.stdout
