"""Hosts that are lost under way: an agent, SSH, a whole host, the network to it, and our own lease.

None of it is the system's doing, whatever the clients saw meanwhile.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from machine_state import nothing, traces
from struck_run import (
    LAB,
    StruckRun,
    images,
    left_on_hosts,
    loop_devices,
    pids_on,
    struck_run,
    wait,
)

from harness.cli import main
from harness.hosts import lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

# The longest that several bounded waits can take one after the other.
END_TIMEOUT_S = 100
LEASE_S = 10.0


def kill_9(pids: list[int]) -> None:
    assert pids, "there is nobody to kill"
    for pid in pids:
        with suppress(ProcessLookupError):  # it went with another one
            os.kill(pid, signal.SIGKILL)


def kill_an_agent() -> None:
    kill_9(pids_on("n2", "agent.pyz"))


def kill_the_sessions() -> None:
    """Every sshd but the one that listens: on a lab host all would end with that one."""
    kill_9([pid for pid in pids_on("n2", "sshd: ") if b"listener" not in words_of(pid)])


def words_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def kill_every_sshd() -> None:
    kill_9(pids_on("n2", "sshd"))


def unplug() -> None:
    command = ["ip", "-n", f"splitbrain-{LAB}-switch", "link", "set", "n2", "down"]
    subprocess.run(command, check=True, timeout=10)


def unplug_and_switch_off() -> None:
    unplug()
    kill_9(pids_on("n2"))


LOSSES: dict[str, Callable[[], None]] = {
    "agent": kill_an_agent,
    "sessions": kill_the_sessions,
    "every sshd": kill_every_sshd,
    "network": unplug,
    "host": unplug_and_switch_off,
}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert traces(LAB) == nothing()


def ended_as_our_failure(run: StruckRun, *, names: str) -> None:
    """The end of a run whose hosts were lost: never the system's fault, and all is readable."""
    inodes = images()
    assert run.end(END_TIMEOUT_S) == 4, run.said
    assert "Traceback" not in run.complained
    outcome = run.outcome
    assert outcome["outcome"] == "harness-failure"
    assert any(names in failure for failure in outcome["failures"]), outcome["failures"]
    assert {check["verdict"] for check in outcome["checks"]} <= {"valid", "unknown"}
    assert outcome["checks"][0]["verdict"] == "valid"
    assert len(run.history.operations()) == outcome["operations"]["invoke"] > 0
    assert main(["check", str(run.folder)]) in (0, 3)
    assert traces(LAB) == nothing(), "the run took its lab down"
    assert loop_devices(inodes) == []


@pytest.mark.parametrize("loss", ["agent", "host"])
def test_a_loss_under_faults_is_our_failure(loss: str, tmp_path: Path) -> None:
    with struck_run(tmp_path, "partition", "pause", "disk", time_limit_s=6) as run:
        run.wait_for_faults("partition", "pause", "disk")
        LOSSES[loss]()
        ended_as_our_failure(run, names="n2")


@pytest.mark.nightly
@pytest.mark.parametrize("phase", ["load and faults", "heal and recover", "final reads"])
@pytest.mark.parametrize("loss", LOSSES)
def test_whatever_is_lost_and_when_it_is_our_failure(loss: str, phase: str, tmp_path: Path) -> None:
    with struck_run(tmp_path, "partition", "pause", "disk", time_limit_s=6) as run:
        run.wait_for_phase(phase)
        if phase == "load and faults":
            run.wait_for_faults("partition", "pause", "disk")
        LOSSES[loss]()
        ended_as_our_failure(run, names="n2")


def test_a_run_that_slept_through_its_lease_says_that_its_hosts_are_gone(tmp_path: Path) -> None:
    """Its agents undo everything meanwhile, and stop the system."""
    with struck_run(tmp_path, "partition", "pause", "disk", time_limit_s=8) as run:
        run.wait_for_faults("partition", "pause", "disk")
        run.process.send_signal(signal.SIGSTOP)
        assert left_on_hosts()
        wait(lambda: not left_on_hosts(), "the hosts heal by themselves", LEASE_S + 10)
        run.process.send_signal(signal.SIGCONT)
        ended_as_our_failure(run, names="the agent is gone")


@pytest.mark.nightly
def test_a_run_that_sleeps_for_less_than_its_lease_goes_on(tmp_path: Path) -> None:
    with struck_run(tmp_path, "partition", time_limit_s=8) as run:
        run.wait_for_faults("partition")
        run.process.send_signal(signal.SIGSTOP)
        time.sleep(LEASE_S / 3)
        run.process.send_signal(signal.SIGCONT)
        assert run.end(END_TIMEOUT_S) in (0, 3), run.said
        assert run.outcome["failures"] == []
        assert lab.status(LAB).state == "down"
