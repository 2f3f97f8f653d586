"""Real histories with known verdicts, recorded by other people.

They are not part of the repository; the folder lies beside it. Its README names the sources.
"""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest

from checker import Budget, Verdict, check, load, model_named

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
# Files that the budget does not decide, and why. Their verdict must be `unknown`, never wrong.
UNDECIDED: dict[str, str] = {}
SECONDS_A_FILE = 20.0

pytestmark = pytest.mark.skipif(
    not (DATA / "verdicts.csv").exists(),
    reason="needs the histories with known verdicts in ../shared/data, beside the repository",
)


def rows() -> list[dict[str, str]]:
    if not (DATA / "verdicts.csv").exists():
        return []
    with (DATA / "verdicts.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
@pytest.mark.parametrize("asked", ["named", "auto"])
def test_the_verdict_is_the_known_one(row: dict[str, str], asked: str) -> None:
    history = load(DATA / row["file"], row["format"] if asked == "named" else "auto")
    model = model_named(row["model"], json.loads(row["initial"]))
    budget = Budget.of(seconds=SECONDS_A_FILE, memory_mb=512, clock=time.monotonic)
    result = check(history, model, budget=budget)
    expected = Verdict.UNKNOWN if row["file"] in UNDECIDED else Verdict(row["verdict"])
    assert result.verdict is expected, result.reason
    if expected is Verdict.INVALID:
        assert result.counterexample is not None
        assert any(shown["why_not"] for shown in result.counterexample["operations"])
    if expected is Verdict.VALID:
        assert all(key.linearization is not None for key in result.keys)


def test_every_undecided_file_is_there() -> None:
    assert set(UNDECIDED) <= {row["file"] for row in rows()}
    assert len(rows()) > 100
