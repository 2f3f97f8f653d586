"""The archive that is copied to hosts: the same bytes each time, and it runs with python3 alone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from local_cluster import LocalCluster

from node.archive import build_archive
from node.mutants.apply import PACKAGE, apply

SYSTEM_PYTHON = "/usr/bin/python3"


def build(target: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "node.archive", str(target), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.strip()


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    first = build(tmp_path / "a.pyz")
    copy = tmp_path / "copy" / "node"
    shutil.copytree(PACKAGE, copy)
    os.utime(copy / "server.py", (1, 1))
    second = build(tmp_path / "b.pyz", "--source", str(copy))
    assert first == second
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes()
    assert len(first) == 64


def test_it_holds_the_node_and_h11_and_nothing_else(tmp_path: Path) -> None:
    build_archive(tmp_path / "node.pyz")
    with zipfile.ZipFile(tmp_path / "node.pyz") as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"__main__.py", "node", "h11"}
    assert not [name for name in names if "mutants" in name or "archive" in name]
    assert "node/core/raft.py" in names
    assert "node/openapi.json" in names


def test_a_mutant_gives_another_archive(tmp_path: Path) -> None:
    copy = apply("commit-old-term", tmp_path)
    assert build(tmp_path / "m.pyz", "--source", str(copy)) != build(tmp_path / "a.pyz")


def test_a_source_that_is_no_node_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no node package"):
        build_archive(tmp_path / "x.pyz", tmp_path)


@pytest.mark.skipif(not os.path.exists(SYSTEM_PYTHON), reason="no system Python")
def test_it_runs_with_the_python_of_the_system_alone(tmp_path: Path) -> None:
    archive = tmp_path / "node.pyz"
    build_archive(archive)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # -S: without site-packages; -I: without the current directory and the environment.
    command = [SYSTEM_PYTHON, "-I", "-S", str(archive)]
    run = subprocess.run(
        [*command, "run", "--help"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == 0
    assert "--election-timeout-ms" in run.stdout
    with LocalCluster(tmp_path, command) as cluster:
        cluster.write("n1", "k", [1])
        assert cluster.read("n3", "k") == [1]
