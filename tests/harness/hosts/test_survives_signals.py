"""A run that is told to end (Ctrl-C, SIGTERM), or killed, in each of its phases, under faults.

Told to end, it leaves nothing and says so. Killed, it leaves a lab whose hosts heal by themselves.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine_state import nothing, traces
from struck_run import (
    LAB,
    PHASES,
    Deed,
    StruckRun,
    images,
    left_on_hosts,
    loop_devices,
    struck_run,
    wait,
)

from checker.history import EventType
from harness.cli import main
from harness.hosts import lab
from harness.interrupts import Interrupts
from harness.journal import Journal

pytestmark = [pytest.mark.lab, pytest.mark.slow]

END_TIMEOUT_S = 60
LEASE_S = 10.0
FAULTS = ("partition", "pause", "disk")
# The first phase in which there is a history, and the last in which there is something to kill.
WITH_HISTORY = PHASES.index("start")
WITH_HOSTS = PHASES[: PHASES.index("check")]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert traces(LAB) == nothing()


def in_the_middle_of(phase: str) -> float:
    """Set-up takes a second; load is struck when all faults are in force; the rest is short."""
    return {"hosts up": 0.3, "deploy": 0.3, "load and faults": 1.5}.get(phase, 0.0)


def ended_as_interrupted(run: StruckRun, phase: str) -> None:
    assert run.end(END_TIMEOUT_S) == 130, (run.said, run.complained)
    assert "Traceback" not in run.complained
    outcome = run.outcome
    assert (outcome["outcome"], outcome["failures"]) == ("interrupted", [])
    assert {check["verdict"] for check in outcome["checks"]} <= {"valid", "unknown"}
    if PHASES.index(phase) >= WITH_HISTORY:
        assert len(run.history.operations()) == outcome["operations"]["invoke"]
        assert main(["check", str(run.folder)]) in (0, 3)
    assert traces(LAB) == nothing(), "the run took its lab down"


@pytest.mark.parametrize("phase", ["deploy", "load and faults"])
def test_ctrl_c_twice_as_a_terminal_sends_it_is_one(phase: str, tmp_path: Path) -> None:
    delay_s = in_the_middle_of(phase)
    deed = Deed(phase=phase, number=signal.SIGINT, delay_s=delay_s, times=2, group=True)
    with struck_run(tmp_path, *FAULTS, deed=deed, time_limit_s=6) as run:
        ended_as_interrupted(run, phase)


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", PHASES[:-1])
def test_a_run_that_is_told_to_end_in_any_phase_ends_clean(
    phase: str, number: signal.Signals, tmp_path: Path
) -> None:
    deed = Deed(phase=phase, number=number, delay_s=in_the_middle_of(phase))
    with struck_run(tmp_path, *FAULTS, deed=deed, time_limit_s=6) as run:
        ended_as_interrupted(run, phase)


def test_of_a_series_that_is_interrupted_at_its_last_breath_nothing_more_is_run(
    tmp_path: Path,
) -> None:
    """While it writes its report a run has its outcome, and keeps it."""
    deed = Deed(phase="report", number=signal.SIGINT)
    options = ("--test-count", "2")
    with struck_run(tmp_path, deed=deed, time_limit_s=2, options=options) as run:
        assert run.end(END_TIMEOUT_S) == 0, run.said
        assert len(run.said.splitlines()) == 1, "one outcome, and no second run"
        assert run.outcome["outcome"] == "pass"


def killed(run: StruckRun, phase: str) -> None:
    """A run was killed: its hosts heal within their lease, and what was recorded can be judged."""
    assert run.end(END_TIMEOUT_S) == -signal.SIGKILL
    assert f"phase: {phase}\n" in run.log, "the log says how far it came"
    wait(lambda: not left_on_hosts(), "the hosts heal by themselves", LEASE_S + 10)
    assert not (run.folder / "outcome.json").exists()
    if PHASES.index(phase) >= WITH_HISTORY:
        expected = (0, 3)
        assert len(run.history.operations()) >= 0
    else:
        expected = (2, 2)
    assert main(["check", str(run.folder)]) in expected
    assert lab.status(LAB).state != "down"
    lab.down(LAB)
    assert traces(LAB) == nothing()


@pytest.mark.parametrize("phase", ["hosts up", "heal and recover"])
def test_kill_9_leaves_hosts_that_heal(phase: str, tmp_path: Path) -> None:
    deed = Deed(phase=phase, number=signal.SIGKILL, delay_s=in_the_middle_of(phase))
    with struck_run(tmp_path, *FAULTS, deed=deed, time_limit_s=6) as run:
        killed(run, phase)


@pytest.mark.nightly
@pytest.mark.parametrize("phase", WITH_HOSTS)
def test_kill_9_in_any_phase_leaves_hosts_that_heal(phase: str, tmp_path: Path) -> None:
    deed = Deed(phase=phase, number=signal.SIGKILL, delay_s=in_the_middle_of(phase))
    with struck_run(tmp_path, *FAULTS, deed=deed, time_limit_s=6) as run:
        killed(run, phase)


def test_a_lab_that_is_taken_down_before_its_hosts_could_heal_leaves_nothing(
    tmp_path: Path,
) -> None:
    with struck_run(tmp_path, *FAULTS, time_limit_s=20) as run:
        run.wait_for_faults(*FAULTS)
        inodes = images()
        assert loop_devices(inodes)
        run.process.kill()
        run.process.wait(10)
        lab.down(LAB)
        assert traces(LAB) == nothing()
        # The kernel frees a device with the last mount of it, which may take it a moment.
        wait(lambda: not loop_devices(inodes), "no loop device is left", 10)
        assert len(run.history.operations()) > 0
        assert main(["check", str(run.folder)]) in (0, 3)


def test_a_signal_in_the_middle_of_a_write_costs_the_history_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a line and its number: the next line would get the same one."""
    write = os.write
    stopped: list[bool] = []

    def struck(file: int, block: bytes) -> int:
        written = write(file, block)
        os.kill(os.getpid(), signal.SIGINT)
        return written

    journal = Journal(tmp_path / "history.jsonl")
    with Interrupts(lambda: None) as interrupts:
        interrupts.tell(lambda: stopped.append(True))
        with monkeypatch.context() as patched:
            patched.setattr("harness.journal.os.write", struck)
            first = journal.record(time_ns=1, process=0, type=EventType.INVOKE, f="read")
        second = journal.record(time_ns=2, process=0, type=EventType.OK, f="read", value=1)
        assert (first.index, second.index, stopped) == (0, 1, [True])
        with pytest.raises(KeyboardInterrupt):
            interrupts.heed()
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "splitbrain-test", str(folder)]
    subprocess.run(mount, check=True, timeout=20)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=20)


def test_a_controller_whose_disk_is_full_heals_its_hosts_and_says_why(small_disk: Path) -> None:
    options = ("--rate", "1000")
    with struck_run(small_disk / "store", *FAULTS, time_limit_s=15, options=options) as run:
        run.wait_for_faults(*FAULTS)
        inodes = images()
        assert run.end(END_TIMEOUT_S) == 4, run.said
        assert "Traceback" not in run.complained
        assert '"outcome": "harness-failure"' in run.said
        assert "free some space or choose another --store" in run.said
        assert traces(LAB) == nothing()
        assert loop_devices(inodes) == []
        assert len(run.history.operations()) > 0
        assert main(["check", str(run.folder)]) in (0, 3)
