"""The node in the simulator: safe under every seed, and every planted bug that it can see is seen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sim.simulate import simulate
from node.mutants.apply import apply, load

ROOT = Path(__file__).resolve().parents[3]
SEEDS, AT_ONCE, LENGTH = 200, 25, 8
"""With faults for eight election timeouts each, so that they take less than a minute together."""

CAUGHT: dict[str, tuple[int, str]] = {
    "vote-not-persisted": (0, "invariant G14"),
    "term-not-persisted": (0, "invariant G14"),
    "no-up-to-date-check": (1, "invariant G2"),
    "up-to-date-by-index-only": (18, "invariant G2"),
    "up-to-date-by-term-only": (1, "invariant G2"),
    "no-term-fence-on-append": (12, "invariant G8"),
    "quorum-one-short": (1, "invariant G5"),
    "quorum-not-sorted": (1, "invariant G5"),
    "learners-count": (7, "invariant G5"),
    "commit-old-term": (7, "invariant G13"),
    "heartbeat-commit-not-clamped": (7, "invariant G4"),
    "unconditional-truncation": (1, "invariant G6"),
    "no-wal-fsync": (0, "invariant G14"),
    "leader-counts-itself-early": (0, "invariant G5"),
    "follower-acks-before-fsync": (1, "invariant G6"),
    "vote-before-fsync": (1, "invariant G2"),
    "hard-state-not-synced": (0, "invariant G2"),
    "segment-name-not-synced": (6, "crash Corrupt"),
    "rename-not-synced": (1, "invariant G14"),
    "snapshot-not-fsynced": (1, "crash Corrupt"),
    "sessions-not-restored": (0, "invariant G9"),
    "snapshot-of-first-configuration": (4, "invariant G13"),
    "configuration-not-rolled-back": (7, "invariant G13"),
    "expiry-by-local-clock": (0, "invariant G9"),
    "reads-skip-read-index": (0, "invariant G11"),
    "read-quorum-one-short": (4, "invariant G11"),
    "read-before-own-commit": (1, "invariant G11"),
    "late-read-joins-batch": (15, "invariant G11"),
    "commit-before-quorum": (0, "invariant G12"),
    "waiter-keyed-by-index": (5, "invariant G12"),
    "no-deduplication": (0, "invariant G10"),
    "expired-session-recreated": (9, "invariant G10"),
    "step-down-is-definite": (6, "client twice"),
    "change-before-own-commit": (15, "invariant G13"),
    "joint-new-half-only": (12, "invariant G5"),
    "joint-left-early": (4, "invariant G13"),
    "wiped-node-let-in": (8, "invariant G14"),
}
"""Mutants, a seed that finds each, and the oracle and invariant that do."""

NOT_CAUGHT: dict[str, str] = {
    "repeated-vote-counts-again": "needs an election that is contested and a grant that is repeated in it; pre-vote makes the first rare",
    "vote-of-old-term-counts": "needs a grant that arrives while its candidate already stands in the next term and lacks just that one vote",
    "commit-unverified-suffix": "this leader cuts a tail with its first entry; an append that ends before the conflict needs a rare back-off",
    "ack-covers-own-tail": "the same: a tail rarely outlives the first append, and the leader drops what lies behind its own log",
    "wrong-conflict-hint": "the leader bounds the hint by its own log, so a follower still gets there, one step at a time",
    "entries-before-their-term": "needs a crash between two writes of a batch that has both; tests/node/test_node_storage_crash.py is for that",
    "append-behind-torn-tail": "needs two crashes with a torn tail and none but whole batches between; tests/node/test_node_storage_crash.py is for that",
    "interior-corruption-truncated": "no bits are flipped here; tests/node/test_node_storage_damage.py does",
    "log-checksum-ignored": "no bits are flipped here; tests/node/test_node_storage_damage.py does",
    "log-compacted-before-snapshot": "needs a crash between two neighbouring steps of one kind of job; tests/node/test_node_storage_crash.py tries them all",
    "old-snapshot-installed": "needs a follower that catches up by entries while a snapshot is being adopted",
    "snapshot-drops-suffix": "needs a snapshot that arrives behind entries which agree with it",
    "chunks-mixed": "has no effect that could be seen: the image carries its own digest (`state_image`), so a mixture is refused",
    "ack-not-bound-to-round": "needs a leader stopped between a heartbeat and its answers, with reads waiting, and another one elected",
    "lease-from-answer": "the share of the timeout that a lease leaves out is larger than any way back that these worlds have",
    "lease-survives-transfer": "needs a read by lease in the moment between the new leader's first commit and the news of it",
    "restart-breaks-promise": "needs a voter that restarts right after a heartbeat, and a candidate that missed it",
    "votes-despite-lease": "pre-vote already refuses who hears a leader; needs a vote request that outlives its pre-votes",
    "no-check-quorum": "costs liveness under a partition only; after healing nothing is left of it",
}
"""Mutants that no seed has found, and why."""


def run(*arguments: str, hash_seed: str = "0", path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.sim", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_safe_under_faults_and_alive_after_them(first: int) -> None:
    """Also not vacuous: there were faults, elections, writes and reads."""
    results = [simulate(seed, length=LENGTH) for seed in range(first, first + AT_ONCE)]
    assert [(result.seed, str(result.violation)) for result in results if result.violation] == []
    assert all(result.succeeded > 0 and result.reads > 0 for result in results)
    assert sum(result.terms for result in results) > 2 * AT_ONCE
    assert sum(result.committed for result in results) > 20 * AT_ONCE
    assert len({kind for result in results for kind in result.injected}) > 15


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    first = run("0", "4", "--length", "15", "--print", hash_seed="1")
    second = run("0", "4", "--length", "15", "--print", hash_seed="2")
    assert first.returncode == 0, first.stdout[-2000:]
    assert first.stdout == second.stdout
    assert len(first.stdout.splitlines()) > 4000
    digests = run("0", "2", "--length", "15", "--digest").stdout.split()
    assert digests[2] == simulate(0, length=15).digest
    assert digests[2] != digests[5]


def test_every_mutant_is_accounted_for() -> None:
    assert not set(CAUGHT) & set(NOT_CAUGHT)
    assert {*CAUGHT, *NOT_CAUGHT} == {mutant.id for mutant in load()}


@pytest.mark.parametrize("mutant", CAUGHT)
def test_a_planted_bug_is_found(mutant: str, tmp_path: Path) -> None:
    """The copy is taken from PYTHONPATH, as anybody would do it by hand."""
    apply(mutant, tmp_path)
    seed, found_by = CAUGHT[mutant]
    found = run(str(seed), str(seed + 4), "--length", "20", path=str(tmp_path))
    assert found.returncode == 1, found.stderr
    assert found_by in found.stdout.splitlines()[0]
    assert f"again: python -m harness.sim {seed}" in found.stdout


def test_a_violation_is_shown_with_its_last_events(tmp_path: Path) -> None:
    apply("no-up-to-date-check", tmp_path)
    found = run("0", "30", "--length", "20", "--node", str(tmp_path))
    lines = found.stdout.splitlines()
    assert found.returncode == 1
    assert lines[0].startswith("seed ")
    assert len(lines) == 1 + 50 + 2
    assert "violation" in lines[50]
