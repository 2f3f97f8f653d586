"""The system's group on lab hosts: whoever is killed, no limit and no group outlives it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.hosts import lab
from harness.hosts.lab import Lab
from harness.remote.agent import group
from harness.remote.agent_client import HOME, Agent
from harness.remote.evidence import LittleCpu, LittleMemory, Skipped
from harness.remote.ssh import Remote

pytestmark = pytest.mark.lab

LEASE_S = 3.0
CLEAN_S = 20.0
BUSY = "while True: pass"


@pytest.fixture
def watching(test_lab: Lab) -> Iterator[Remote]:
    with Remote.connect(test_lab.hosts[0]) as connected:
        yield connected


def launch_squeezed(remote: Remote) -> Agent:
    agent = Agent.launch(remote, lease_s=LEASE_S)
    agent.make_group()
    agent.start(["python3", "-c", BUSY], log=f"{HOME}/system.log")
    seen = agent.squeeze_cpu(5)
    if isinstance(seen, Skipped):
        agent.close()
        pytest.skip(seen.reason)
    assert isinstance(seen, LittleCpu)
    assert seen.times > 0
    assert groups_of(remote)
    return agent


def groups_of(remote: Remote) -> list[Path]:
    return [
        folder
        for controller in group.CONTROLLERS
        for folder in Path("/sys/fs/cgroup", controller).rglob(f"splitbrain-{remote.host.address}")
    ]


def eventually(condition: Callable[[], bool]) -> None:
    deadline_ns = time.monotonic_ns() + int(CLEAN_S * 1e9)
    while not condition():
        assert time.monotonic_ns() < deadline_ns
        time.sleep(0.05)


def test_two_hosts_of_one_kernel_have_groups_of_their_own(test_lab: Lab) -> None:
    first, second = (Remote.connect(host) for host in test_lab.hosts[:2])
    with first, second:
        agents = [launch_squeezed(first), launch_squeezed(second)]
        healed = agents[1].close()
        assert healed is not None
        assert healed.healed
        assert groups_of(second) == []
        now = agents[0].cpu_squeezed()
        assert isinstance(now, LittleCpu)
        assert now.times > 0
        assert isinstance(agents[0].squeeze_memory(4096), (LittleMemory, Skipped))
        agents[0].undo_squeeze()
        assert agents[0].process().running
        agents[0].close()
        assert groups_of(first) == []


@pytest.mark.parametrize("victim", ["agent", "agent and watchdog"])
def test_whoever_is_killed_the_group_goes(watching: Remote, test_lab: Lab, victim: str) -> None:
    doomed = Remote.connect(test_lab.hosts[0])
    agent = launch_squeezed(doomed)
    pids = [str(agent.hello.pid)]
    if victim != "agent":
        pids = watching.check(["pgrep", "-f", "agent.pyz"]).split()
        assert len(pids) == 2
    watching.check(["kill", "-9", *pids])
    if victim != "agent":
        assert groups_of(watching)
        with Agent.launch(watching, lease_s=LEASE_S):
            assert groups_of(watching) == []
    eventually(lambda: groups_of(watching) == [])
    agent.close()
    doomed.close()


def test_a_lab_that_is_taken_down_leaves_no_group(free_instance: int) -> None:
    made = lab.up(nodes=1, instance=free_instance)
    remote = Remote.connect(made.hosts[0])
    agent = launch_squeezed(remote)
    lab.down(free_instance)
    assert groups_of(remote) == []
    agent.close()
    remote.close()
