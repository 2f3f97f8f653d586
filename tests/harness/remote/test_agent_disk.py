"""The agent's volume on lab hosts: it is gone on every way out, and it is nobody else's."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.hosts import lab
from harness.hosts.lab import Lab
from harness.remote.agent_client import HOME, Agent
from harness.remote.evidence import PowerLoss, Skipped
from harness.remote.ssh import Remote

pytestmark = pytest.mark.lab

LEASE_S = 3.0
CLEAN_S = 20.0
ROOT = f"{HOME}/system"
LOOP = "import threading\nwhile True: threading.Event().wait(1)"


@pytest.fixture
def watching(test_lab: Lab) -> Iterator[Remote]:
    with Remote.connect(test_lab.hosts[0]) as connected:
        yield connected


def launch_with_volume(remote: Remote, *, lease_s: float = LEASE_S) -> Agent:
    agent = Agent.launch(remote, lease_s=lease_s)
    remote.check(["rm", "-rf", ROOT])
    assert agent.make_volume(ROOT) is None
    agent.start(["python3", "-c", LOOP], log=f"{HOME}/system.log")
    return agent


def is_mounted(remote: Remote) -> bool:
    return f" {ROOT} " in remote.check(["cat", "/proc/self/mountinfo"])


def is_gone(remote: Remote) -> bool:
    image = remote.run(["test", "-e", f"{HOME}/volume.img"]).exit_status == 0
    return not is_mounted(remote) and not image


def loop_device(remote: Remote) -> Path:
    """What the kernel says of the loop device behind the volume; it is there while an image is."""
    lines = remote.check(["cat", "/proc/self/mountinfo"]).splitlines()
    (device,) = [line.split()[2] for line in lines if f" {ROOT} " in line]
    return Path("/sys/dev/block", device, "loop")


def eventually(condition: Callable[[], bool]) -> None:
    deadline_ns = time.monotonic_ns() + int(CLEAN_S * 1e9)
    while not condition():
        assert time.monotonic_ns() < deadline_ns
        time.sleep(0.05)


def test_a_closing_agent_takes_its_own_volume_away_and_no_other_hosts(test_lab: Lab) -> None:
    first, second = (Remote.connect(host) for host in test_lab.hosts[:2])
    with first, second:
        agents = [launch_with_volume(first), launch_with_volume(second)]
        # The paths are the same on all hosts of a lab.
        assert is_mounted(first)
        healed = agents[1].close()
        assert healed is not None
        assert healed.healed
        assert is_gone(second)
        assert is_mounted(first)
        assert agents[0].write_canaries() is None
        seen = agents[0].cut_power()
        assert seen == PowerLoss(was_running=True, kept_durable=True, kept_fleeting=False)
        agents[0].close()
        assert is_gone(first)


@pytest.mark.parametrize("victim", ["agent", "connection", "agent and watchdog"])
def test_whoever_is_killed_the_volume_goes(watching: Remote, test_lab: Lab, victim: str) -> None:
    doomed = Remote.connect(test_lab.hosts[0])
    agent = launch_with_volume(doomed)
    assert is_mounted(watching)
    if victim == "connection":
        pid = watching.check(["ps", "-o", "ppid=", "-p", str(agent.hello.pid)]).split()
    elif victim == "agent":
        pid = [str(agent.hello.pid)]
    else:
        pid = watching.check(["pgrep", "-f", "agent.pyz"]).split()
        assert len(pid) == 2
    watching.check(["kill", "-9", *pid])
    if victim == "agent and watchdog":
        with Agent.launch(watching, lease_s=LEASE_S):
            assert is_gone(watching)
    eventually(lambda: is_gone(watching))
    agent.close()
    doomed.close()


def test_a_lease_that_runs_out_takes_the_volume_away(watching: Remote) -> None:
    agent = launch_with_volume(watching, lease_s=1.0)
    agent._closing.set()  # the renewing thread ends; the channel stays open
    eventually(lambda: is_gone(watching))
    agent.close()


def test_healing_in_the_middle_of_a_run_leaves_the_system_its_volume(watching: Remote) -> None:
    agent = launch_with_volume(watching)
    agent.fill_disk()
    assert agent.heal().healed
    assert is_mounted(watching)
    watching.check(["dd", "if=/dev/zero", f"of={ROOT}/file", "bs=1M", "count=1", "conv=fsync"])
    assert agent.process().running
    agent.close()


def test_the_group_of_a_slow_disk_has_the_hosts_address_in_its_name(watching: Remote) -> None:
    """By it a lab that is taken down knows its own (`harness.hosts.lab_groups`)."""
    own = f"splitbrain-{watching.host.address}-*"
    agent = launch_with_volume(watching)
    slow = agent.slow_disk()
    if isinstance(slow, Skipped):
        agent.close()
        pytest.skip(slow.reason)
    assert len(list(Path("/sys/fs/cgroup/blkio").glob(own))) == 1
    agent.close()
    assert list(Path("/sys/fs/cgroup/blkio").glob(own)) == []


def test_a_lab_that_is_taken_down_leaves_no_loop_device(free_instance: int) -> None:
    made = lab.up(nodes=1, instance=free_instance)
    remote = Remote.connect(made.hosts[0])
    agent = launch_with_volume(remote)
    loop = loop_device(remote)
    assert loop.exists()
    lab.down(free_instance)
    eventually(lambda: not loop.exists())
    agent.close()
    remote.close()
