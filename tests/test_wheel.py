"""The wheel: everything that a run needs, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_holds_the_five_packages_and_the_public_module_only(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"splitbrain.py", "checker", "node", "workloads", "reports", "harness"}


def test_it_holds_every_tracked_file_of_them(names: set[str]) -> None:
    packages = ["checker", "node", "workloads", "reports", "harness"]
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *packages],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    wanted = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}
    assert wanted - names == set()


def test_it_says_its_licence_and_its_command(names: set[str]) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.endswith("entry_points.txt") for name in names)
