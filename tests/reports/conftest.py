"""Made-up runs, each written once for all tests that only read it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import run_folders

MAKERS: dict[str, Callable[[Path], Path]] = {
    "pass": run_folders.passing,
    "violation": run_folders.violating,
    "vacuous": run_folders.vacuous,
    "unfinished": run_folders.unfinished,
    "failed": run_folders.failed_harness,
    "hostile": run_folders.hostile,
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a kind of run; tests must not change it."""
    root = tmp_path_factory.mktemp("runs")

    def folder(kind: str) -> Path:
        path = root / kind
        return path if path.is_dir() else MAKERS[kind](path)

    return folder


@pytest.fixture
def own_run(runs: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a copy of a run's folder that a test may break."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(runs(kind), tmp_path / kind))

    return copy
