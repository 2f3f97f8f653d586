"""Real virtual machines: they boot, are hosts like any other, have clocks of their own, and go.

Takes minutes on an emulated processor; `tools/vm-run.sh` asks for it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from machine_state import network_namespaces, nothing, processes_in, traces

from harness.errors import HarnessError
from harness.hosts import lab, lab_vm
from harness.hosts.lab import Lab
from harness.remote.agent_client import HOME, Agent
from harness.remote.evidence import ClockState, Skipped
from harness.remote.ssh import Remote

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SPLITBRAIN_VM_TESTS"),
        reason="boots virtual machines, which takes minutes: SPLITBRAIN_VM_TESTS=1",
    ),
]

INSTANCE, CRASHED = 198, 197
SLOW_S = 60.0
MS = 1_000_000
# Boots that many machines and dies as soon as they run, before there are notes of them.
CRASHING = f"""
import os, signal
from harness.hosts import lab, lab_host
lab_host.answers = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
lab.up(nodes=1, instance={CRASHED}, vm=True)
"""


@pytest.fixture(scope="module")
def machines() -> Iterator[Lab]:
    with lab.claim(INSTANCE):
        try:
            yield lab.up(nodes=1, instance=INSTANCE, vm=True)
        finally:
            lab.down(INSTANCE)


@pytest.fixture(scope="module")
def remote(machines: Lab) -> Iterator[Remote]:
    with Remote.connect(machines.hosts[0], timeout_s=SLOW_S) as connected:
        yield connected


@pytest.fixture
def agent(remote: Remote) -> Iterator[Agent]:
    with closing(Agent.launch(remote, home=HOME, lease_s=60)) as launched:
        yield launched


def ahead_ns(agent: Agent) -> int:
    """How far the machine's clock is ahead of ours; right to a second even when all is slow."""
    before_ns = time.time_ns()
    wall_ns = agent.wall_clock().wall_ns
    return wall_ns - (before_ns + time.time_ns()) // 2


def test_a_lab_of_machines_is_up_and_used_as_it_is(machines: Lab) -> None:
    present = lab.status(INSTANCE)
    assert (present.state, present.vm, len(present.hosts)) == ("up", True, 1)
    assert lab.up(nodes=1, instance=INSTANCE, vm=True) == machines


def test_a_machine_has_a_kernel_of_its_own_with_netem(remote: Remote) -> None:
    kernel = remote.check(["uname", "-r"], timeout_s=SLOW_S).strip()
    assert kernel != os.uname().release
    delay = "tc qdisc add dev eth0 root netem delay 1ms && tc qdisc show dev eth0"
    assert "netem" in remote.run(delay, timeout_s=SLOW_S).stdout
    remote.check(["tc", "qdisc", "del", "dev", "eth0", "root"], timeout_s=SLOW_S)
    remote.check(["nft", "add", "table", "inet", "trial"], timeout_s=SLOW_S)
    remote.check(["nft", "delete", "table", "inet", "trial"], timeout_s=SLOW_S)
    remote.check(["losetup", "-f"], timeout_s=SLOW_S)


def test_its_clock_is_set_and_set_right_and_ours_is_not(agent: Agent) -> None:
    started = agent.start(["sleep", "600"], clock=True)
    assert started.clock_problem == ""
    ours_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    first_ns = ahead_ns(agent)
    bumped = agent.clock_bump(-3_600_000)
    assert isinstance(bumped, ClockState)
    assert bumped.offset_ms == pytest.approx(-3_600_000, abs=1000)
    assert ahead_ns(agent) - first_ns == pytest.approx(-3_600_000 * MS, abs=2000 * MS)
    agent.clock_reset()
    assert ahead_ns(agent) == pytest.approx(first_ns, abs=1000 * MS)
    now_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    assert now_ns == pytest.approx(ours_ns, abs=500 * MS)


def test_its_clock_runs_fast_by_a_tenth_and_stops_doing_so(agent: Agent) -> None:
    agent.start(["sleep", "600"], clock=True)
    fast = agent.clock_rate(5.0)
    assert isinstance(fast, ClockState)
    assert fast.rate == 1.1
    time.sleep(5)
    state = agent.clock_state()
    assert not isinstance(state, Skipped)
    assert state.offset_ms > 400
    right = agent.clock_reset()
    assert not isinstance(right, Skipped)
    assert (right.rate, right.offset_ms) == (1.0, 0.0)


def test_a_killed_agent_leaves_the_clock_right(remote: Remote) -> None:
    agent = Agent.launch(remote, home=HOME, lease_s=5)
    agent.start(["sleep", "600"], clock=True)
    first_ns = ahead_ns(agent)
    agent.clock_bump(3_600_000)
    remote.run(["kill", "-9", str(agent.hello.pid)], timeout_s=SLOW_S)
    agent.close()
    with closing(Agent.launch(remote, home=HOME, lease_s=60)) as successor:
        assert ahead_ns(successor) == pytest.approx(first_ns, abs=1000 * MS)


def test_a_machine_that_ended_makes_the_lab_broken_and_nothing_stays(
    machines: Lab, remote: Remote
) -> None:
    # The last test: it ends what the others use.
    remote.close()
    inodes = network_namespaces(INSTANCE)
    (pid,) = processes_in(inodes)
    os.kill(pid, signal.SIGKILL)
    deadline_ns = time.monotonic_ns() + 20_000 * MS
    while lab_vm.runs(INSTANCE, "n1") and time.monotonic_ns() < deadline_ns:
        time.sleep(0.05)
    assert not lab_vm.runs(INSTANCE, "n1")
    assert lab.status(INSTANCE).state == "broken"
    lab.down(INSTANCE)
    assert traces(INSTANCE) == nothing()


def test_down_cleans_up_after_a_killed_up() -> None:
    try:
        died = subprocess.run([sys.executable, "-c", CRASHING], timeout=120, check=False)
        assert died.returncode == -signal.SIGKILL
        assert processes_in(network_namespaces(CRASHED)), "no machine was running"
    finally:
        lab.down(CRASHED)
    assert traces(CRASHED) == nothing()


def test_a_machine_that_does_not_boot_is_told_from_a_slow_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lab_vm, "_START", "exit 1\n")
    with pytest.raises(HarnessError, match="did not come up: the machine ended"):
        lab.up(nodes=1, instance=CRASHED, vm=True)
    assert traces(CRASHED) == nothing()
