"""The nightly table of faults counts what runs wrote down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.nemesis.plan import OPTIONAL, VARIANTS
from tools import fault_table
from tools.fault_table import counted, faults_of, main, reason_of, runs_below, to_markdown

if TYPE_CHECKING:
    import pytest


def test_every_fault_of_a_run_is_counted_once(own_run: Callable[[str], Path]) -> None:
    run = own_run("pass")
    (run.parent / "latest").symlink_to(run.name)
    found = runs_below([run.parent, run])
    assert found == [run.resolve()]
    assert int(counted(faults_of(found)).to_numpy().sum()) == len(faults_of([run])) > 0


def test_every_variant_has_its_place_also_one_that_never_came() -> None:
    lines = list(to_markdown(counted(faults_of([]))))
    assert [line.split("`")[1] for line in lines[2:]] == list(VARIANTS)
    for kind, line in zip(VARIANTS, lines[2:], strict=True):
        for name in VARIANTS[kind]:
            assert f" {name} 0/0/0" in line


def test_a_kind_of_evidence_has_its_column(runs: Callable[[str], Path]) -> None:
    faults = faults_of([runs("pass")])
    row = faults.iloc[0]
    three = faults.iloc[[0, 0, 0]].assign(evidence=["installed", "installed", "skipped"])
    assert f"{row['name']} 2/0/1" in "\n".join(to_markdown(counted(three)))


def test_what_never_happened_is_named_with_its_reason_and_is_no_success(
    runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = faults_of([runs("pass")]).iloc[[0]]
    kind, name = faults.iloc[0]["kind"], faults.iloc[0]["name"]
    assert (kind, name) not in OPTIONAL
    said = pd.Series([{"n1": "needs root"}], index=faults.index)
    skipped = faults.assign(evidence="skipped", detail=said, detail_stop=None)
    assert reason_of(skipped, kind, name) == "needs root"
    monkeypatch.setattr(fault_table, "VARIANTS", {kind: (name,)})
    monkeypatch.setattr("sys.argv", ["fault_table.py", str(runs("pass"))])
    for evidence, status in (("skipped", 1), ("indeterminate", 1), ("installed", 0)):
        made = skipped.assign(evidence=evidence)
        monkeypatch.setattr(fault_table, "faults_of", lambda runs, made=made: made)
        assert main() == status
        assert ("was never installed: needs root" in capsys.readouterr().out) == bool(status)


def test_no_runs_are_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_table, "VARIANTS", {})
    monkeypatch.setattr("sys.argv", ["fault_table.py", str(tmp_path)])
    assert main() == 1
