"""Every mutant fits the code as it is, once, and gives a node that compiles and differs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from node.mutants.apply import PACKAGE, Mutant, MutantError, apply, load, mutate

MUTANTS = load()
PROPERTIES = {
    "durability",
    "election-safety",
    "leader-completeness",
    "linearizability",
    "liveness",
    "state-machine-safety",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_the_edit_applies_exactly_once_and_the_result_compiles(mutant: Mutant) -> None:
    original = (PACKAGE / mutant.file).read_text("utf-8")
    mutated = mutate(mutant)
    assert original.count(mutant.find) == 1
    compile(mutated, mutant.file, "exec")
    assert ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(original))
    assert mutant.breaks
    assert set(mutant.breaks) <= PROPERTIES
    assert mutant.source


def test_an_edit_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    mutant = Mutant("x", "", (), "", "", "a.py", "find", "put")
    for text in ("nothing here", "find and find"):
        (tmp_path / "a.py").write_text(text)
        with pytest.raises(MutantError, match="times"):
            mutate(mutant, tmp_path)


def test_a_copy_differs_in_one_file_and_is_never_written_over(tmp_path: Path) -> None:
    copy = apply("reads-skip-read-index", tmp_path)
    assert copy == tmp_path / "node"
    differing = [
        path.name
        for path in copy.rglob("*.py")
        if path.read_bytes() != (PACKAGE / path.relative_to(copy)).read_bytes()
    ]
    assert differing == ["requests.py"]
    with pytest.raises(MutantError, match="exists"):
        apply("reads-skip-read-index", tmp_path)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "node.mutants", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_command(tmp_path: Path) -> None:
    rows = json.loads(command("list", "--json").stdout)
    assert [row["id"] for row in rows] == [mutant.id for mutant in MUTANTS]
    assert set(rows[0]) == {
        "id", "summary", "breaks", "needs", "source", "file", "find", "replace",
    }  # fmt: skip
    applied = command("apply", "no-wal-fsync", str(tmp_path))
    assert applied.returncode == 0
    assert applied.stdout.strip() == str(tmp_path / "node")
    refused = command("apply", "no-such-mutant", str(tmp_path))
    assert refused.returncode == 1
    assert "no mutant no-such-mutant" in refused.stderr
