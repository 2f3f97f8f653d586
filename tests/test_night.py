"""The night: it knows its slices, and none of them outlives its time or its day."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HANGS = "bash -c 'echo $$ > pid; exec sleep 60'"


def test_the_night_runs_every_slice_that_there_is() -> None:
    script = (ROOT / "tools" / "nightly.sh").read_text(encoding="utf-8")
    slices = re.findall(r"^  ([a-z]+)\) # ", script, flags=re.MULTILINE)
    listed = re.search(r"^SLICES \?= (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert listed is not None
    assert sorted(listed[1].split()) == sorted(slices)
    assert len(slices) > 5


def test_a_slice_that_nobody_knows_is_refused_with_those_that_are_known() -> None:
    done = subprocess.run(
        ["bash", "tools/nightly.sh", "dawn"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "  faults: every kind of fault" in done.stderr


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return path


def night(folder: Path, script: str, **variables: str) -> subprocess.Popen[bytes]:
    """Begin the night in a folder where its only slice is what the script does."""
    shutil.copy(ROOT / "Makefile", folder)
    written(folder / "tools" / "nightly.sh", script)
    written(folder / "tools" / "setup.sh", "mkdir -p $VENV")
    (folder / "pyproject.toml").touch()
    given = ["SLICES=dusk", *(f"{name}={value}" for name, value in variables.items())]
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["make", "nightly", *given],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def pid_in(path: Path) -> int:
    deadline = time.monotonic() + 10
    while not (path.is_file() and path.read_text().strip()):
        assert time.monotonic() < deadline, f"{path} is not written"
        time.sleep(0.02)
    return int(path.read_text())


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    ended = not runs(pid)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    return ended


def test_a_slice_that_takes_too_long_is_ended_with_all_that_it_began(tmp_path: Path) -> None:
    made = night(tmp_path, HANGS, SLICE_S="1", NIGHT="out")
    assert made.wait(20) == 2
    assert ends(pid_in(tmp_path / "pid"))
    assert not (tmp_path / "out" / "dusk.passed").exists()


def test_an_interrupted_night_leaves_nothing_running(tmp_path: Path) -> None:
    made = night(tmp_path, HANGS, NIGHT="out")
    pid = pid_in(tmp_path / "pid")
    os.killpg(made.pid, signal.SIGINT)
    assert made.wait(20) != 0
    assert ends(pid)


def test_a_night_keeps_its_date_after_midnight(tmp_path: Path) -> None:
    """Here a day is over whenever somebody asks which it is."""
    written(tmp_path / "bin" / "date", "echo x >> days; wc -l < days")
    assert night(tmp_path, 'echo "in $NIGHT"').wait(20) == 0
    (folder,) = (tmp_path / "store" / "nightly").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["dusk.log", "dusk.passed"]
    assert (folder / "dusk.log").read_text() == f"in store/nightly/{folder.name}\n"


def slice_of(name: str, folder: Path, **commands: str) -> int:
    """Run a real slice with these commands in place of its own; return its exit status."""
    for command, text in commands.items():
        written(folder / "venv" / "bin" / command, text)
    done = subprocess.run(
        ["bash", str(ROOT / "tools" / "nightly.sh"), name],
        env={**os.environ, "VENV": str(folder / "venv"), "NIGHT": str(folder), "F": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    return done.returncode


def test_when_one_simulator_finds_something_the_other_one_does_not_go_on(tmp_path: Path) -> None:
    """The second one has the later seeds: it waits for the first to run, and fails."""
    python = """
        if [[ $3 = *000000 ]]; then echo $$ > $F/pid; exec sleep 60; fi
        until [ -s $F/pid ]; do sleep 0.02; done; exit 1"""
    assert slice_of("simulator", tmp_path, python=python) == 1
    assert ends(pid_in(tmp_path / "pid"))


def test_the_table_of_faults_is_made_whatever_became_of_the_runs(tmp_path: Path) -> None:
    python = "[[ $1 = *fault_table.py ]] && touch $F/table"
    for sweep, test, status in ((0, 3, 0), (3, 0, 3), (0, 1, 1)):
        splitbrain = f"case $1 in sweep) exit {sweep} ;; test) exit {test} ;; esac"
        assert slice_of("faults", tmp_path, python=python, splitbrain=splitbrain) == status
        (tmp_path / "table").unlink()
    interrupted = "[ $1 = sweep ] && exit 130; touch $F/went-on"
    assert slice_of("faults", tmp_path, python=python, splitbrain=interrupted) == 130
    assert not (tmp_path / "went-on").exists()
