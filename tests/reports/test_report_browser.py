"""The page in a real browser: its scripts run, draw, and nothing is refused or thrown."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from page_reader import Page, read

from reports.page import write_report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here: apt-get install chromium"
)


def opened(run: Path, profile: Path) -> tuple[Page, str]:
    """Return the page as it stands after its scripts ran, and what the browser complained of."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--enable-logging=stderr",
            "--v=0",
            "--window-size=1200,9000",
            "--virtual-time-budget=2000",
            "--dump-dom",
            write_report(run).as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return read(done.stdout), "\n".join(complaints)


@pytest.mark.parametrize("kind", ["violation", "hostile", "unfinished", "failed"])
def test_scripts_run_without_a_complaint(
    runs: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    shown, complaints = opened(runs(kind), tmp_path / "profile")
    assert complaints == ""
    assert not shown.all("img")
    frames = [one for one in shown.elements if "data-plot" in one.attributes]
    if kind == "failed":
        assert frames == []
        return
    assert shown.by_id("window").text.startswith("whole run, ")
    options = [one.attributes["value"] for one in shown.all("option") if one.attributes["value"]]
    assert {"read", "write", "cas", "n1", "k1"} <= set(options)
    for canvas in shown.all("canvas"):
        if canvas.attributes.get("class") == "base":
            # Drawn at the size of its place, not at the 300 x 150 that a canvas has by itself.
            assert int(canvas.attributes["width"]) > 1000
