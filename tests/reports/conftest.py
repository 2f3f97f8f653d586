"""Made-up runs, each written once for all tests that only read it, and a browser to see them in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import run_folders
from browser import Visits, launched

from reports.page import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


@pytest.fixture(scope="session")
def report(runs: Callable[[str], Path]) -> Callable[[str], Path]:
    """Return the report of a kind of run, as a file."""

    def written(kind: str) -> Path:
        path = runs(kind) / "report.html"
        return path if path.is_file() else write_report(runs(kind))

    return written


# A module's own: while Playwright runs, no other test of this thread could run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run a browser for the tests of a file."""
    with launched() as running:
        yield running


@pytest.fixture
def visits(browser: Browser) -> Iterator[Visits]:
    """Open pages; afterwards nothing may have complained, and nothing have asked the network."""
    opened = Visits(browser)
    yield opened
    opened.end()
