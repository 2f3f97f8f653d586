"""The agent on real hosts: faults take effect, are undone, and end when nobody looks after them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from reaching import connects, hears

from harness.errors import HostError
from harness.hosts import lab_network
from harness.hosts.lab import Lab
from harness.remote.agent_client import HOME, Agent
from harness.remote.evidence import ClockState, Dropped, Skipped
from harness.remote.ssh import Remote

pytestmark = pytest.mark.lab

LEASE_S = 3.0
# What must be clean by itself is clean long before this, but the machine may be busy.
CLEAN_S = 20.0

# Reports both of its clocks every few milliseconds. It sleeps in a way that libfaketime leaves
# alone (time.sleep fails with EINVAL when only the wall clock is moved).
CLOCK_PROGRAM = """
import threading, time
pause = threading.Event()
while True:
    print(time.time_ns(), time.monotonic_ns(), flush=True)
    pause.wait(0.004)
"""
LOOP = "import threading\nwhile True: threading.Event().wait(1)"


@pytest.fixture
def remotes(test_lab: Lab) -> Iterator[list[Remote]]:
    connected = [Remote.connect(host) for host in test_lab.hosts]
    yield connected
    for one in connected:
        one.close()


@pytest.fixture
def agent(remote: Remote) -> Iterator[Agent]:
    with Agent.launch(remote, lease_s=LEASE_S) as started:
        yield started


def eventually(condition: Callable[[], bool], what: str, *, timeout_s: float = CLEAN_S) -> float:
    """Wait until it is so, and return how long that took."""
    began_ns = time.monotonic_ns()
    while not condition():
        elapsed_s = (time.monotonic_ns() - began_ns) / 1e9
        assert elapsed_s < timeout_s, f"after {timeout_s} s it was still not so that {what}"
        time.sleep(0.05)
    return (time.monotonic_ns() - began_ns) / 1e9


def nft_rules(remote: Remote) -> str:
    return remote.check(["nft", "list", "ruleset"])


def pids(remote: Remote, pattern: str) -> list[str]:
    """The processes on a host whose command line holds the pattern."""
    listing = remote.check(
        "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done 2>/dev/null; true"
    )
    return [
        line.split()[0]
        for line in listing.splitlines()
        if pattern in line and "for p in" not in line
    ]


def is_clean(remote: Remote, system_pid: int) -> bool:
    clock = remote.run(["cat", f"{HOME}/clock"]).stdout
    return (
        "splitbrain" not in nft_rules(remote)
        and remote.run(["test", "-e", f"/proc/{system_pid}"]).exit_status != 0
        and clock in ("", "+0.000000000\n")
        and pids(remote, "agent.pyz") == []
    )


def offsets_ms(remote: Remote, folder: Path) -> list[float]:
    """How far the program's wall clock was off, line by line; its monotonic clock is the truth.

    The monotonic clock is the kernel's, the same for lab hosts and controller.
    """
    remote.download(f"{HOME}/clock.log", folder / "clock.log", bytes_max=10_000_000)
    truth_ns = time.time_ns() - time.monotonic_ns()
    lines = (folder / "clock.log").read_text(encoding="ascii").splitlines()[:-1]
    pairs = [(int(wall), int(monotonic)) for wall, monotonic in map(str.split, lines)]
    monotonic = [pair[1] for pair in pairs]
    assert monotonic == sorted(monotonic), "the monotonic clock went back"
    return [(wall - own - truth_ns) / 1e6 for wall, own in pairs]


def start_clock_program(agent: Agent, remote: Remote) -> int:
    remote.check(["rm", "-f", f"{HOME}/clock.log"])
    argv = ["python3", "-c", CLOCK_PROGRAM]
    started = agent.start(argv, log=f"{HOME}/clock.log", clock=True)
    assert started.clock_problem == ""
    return started.pid


def test_the_agent_says_what_its_host_can_do(agent: Agent, test_lab: Lab) -> None:
    assert agent.hello.root
    assert agent.hello.nft_problem == ""
    assert agent.hello.protected == (test_lab.controller_address,)
    assert agent.hello.python.startswith("3.")
    before_ns = time.monotonic_ns()
    clocks = agent.wall_clock()
    assert before_ns < clocks.monotonic_ns < time.monotonic_ns()


def test_a_cut_cuts_what_it_says_and_no_more(remotes: list[Remote], test_lab: Lab) -> None:
    n1, n2, n3 = (host.address for host in test_lab.hosts)
    with Agent.launch(remotes[0], lease_s=LEASE_S) as one, Agent.launch(remotes[1]) as two:
        assert connects(remotes[0], n2, n3) == ["reached", "reached"]
        one.cut([n2])
        two.cut([n1])
        assert connects(remotes[0], n2, n3) == ["lost", "reached"]
        assert connects(remotes[1], n1, n3) == ["lost", "reached"]
        assert connects(remotes[2], n1, n2) == ["reached", "reached"]
        first = one.network_evidence()
        assert first.by_source[n2] > 0
        assert first.lapses == 0
        connects(remotes[1], n1)
        assert one.network_evidence().total > first.total
        assert one.heal_network().total > first.total
        two.heal_network()
        assert connects(remotes[0], n2) == ["reached"]
        assert connects(remotes[1], n1) == ["reached"]
        assert "splitbrain" not in nft_rules(remotes[0])
        assert one.heal_network() == Dropped(by_source={}, lapses=0)


def test_one_way_is_one_way(remotes: list[Remote], test_lab: Lab) -> None:
    with Agent.launch(remotes[0], lease_s=LEASE_S) as deaf:
        deaf.cut([test_lab.hosts[1].address])
        assert not hears(remotes[0], remotes[1])
        assert hears(remotes[1], remotes[0])
        assert deaf.network_evidence().total >= 10


def test_a_cut_over_ipv6_is_as_one_way_as_the_other_and_both_are_counted(
    remotes: list[Remote], test_lab: Lab
) -> None:
    if not test_lab.ipv6:
        pytest.skip(lab_network.why_no_ipv6())
    (n1_6,), (n2_6,) = (host.other_addresses for host in test_lab.hosts[:2])
    n2 = test_lab.hosts[1].address
    with Agent.launch(remotes[0], lease_s=LEASE_S) as deaf:
        assert connects(remotes[0], n2, n2_6) == ["reached", "reached"]
        deaf.cut([n2, n2_6])
        assert connects(remotes[0], n2, n2_6) == ["lost", "lost"]
        # Whoever is not known any more has to be found again, also by the host that is deaf to it.
        for remote in remotes[:2]:
            remote.check(["ip", "-6", "neigh", "flush", "dev", "eth0"])
        assert not hears(remotes[0], remotes[1], at=n1_6)
        assert hears(remotes[1], remotes[0], at=n2_6)
        dropped = deaf.heal_network()
        assert set(dropped.by_source) == {n2, n2_6}
        assert all(dropped.by_source.values())
        assert connects(remotes[0], n2_6) == ["reached"]


def test_a_cut_outlives_its_first_lease_and_replaces_the_one_before(
    agent: Agent, remotes: list[Remote], test_lab: Lab
) -> None:
    n2, n3 = test_lab.hosts[1].address, test_lab.hosts[2].address
    agent.cut([n3])
    agent.cut([n2])
    time.sleep(1.5 * LEASE_S)
    assert connects(remotes[0], n2, n3) == ["lost", "reached"]
    assert agent.network_evidence().lapses == 0
    assert list(agent.network_evidence().by_source) == [n2]


def test_the_controller_is_never_cut(agent: Agent, test_lab: Lab) -> None:
    for spelling in (test_lab.controller_address, f"::ffff:{test_lab.controller_address}"):
        with pytest.raises(HostError, match=r"host n1 .*will not cut off the controller"):
            agent.cut([test_lab.hosts[1].address, spelling])
    assert agent.alive


def test_rules_of_others_are_left_alone(remote: Remote, test_lab: Lab) -> None:
    remote.check("nft add table inet theirs; nft add chain inet theirs c")
    try:
        with Agent.launch(remote, lease_s=LEASE_S) as agent:
            agent.cut([test_lab.hosts[1].address])
            agent.heal()
            assert "table inet theirs" in nft_rules(remote)
        assert "table inet theirs" in nft_rules(remote)
    finally:
        remote.check("nft delete table inet theirs")


def test_a_system_is_started_killed_paused_and_resumed(agent: Agent, remote: Remote) -> None:
    argv = ["python3", "-c", LOOP]
    started = agent.start(argv, env={"COLOUR": "green"}, log=f"{HOME}/dummy.log")
    assert agent.start(argv).already
    environment = remote.check(["cat", f"/proc/{started.pid}/environ"])
    assert "COLOUR=green" in environment.split("\0")
    paused = agent.pause()
    assert (paused.done, paused.stopped, paused.states) == (True, True, "T")
    assert remote.check(["cut", "-d ", "-f3", f"/proc/{started.pid}/stat"]) == "T\n"
    assert agent.process().paused
    assert agent.resume().done
    assert agent.resume().done
    # It sleeps between its turns; on a busy machine one of them may just be under way.
    assert remote.check(["cut", "-d ", "-f3", f"/proc/{started.pid}/stat"]) in ("S\n", "R\n")
    killed = agent.kill()
    assert killed.gone
    assert killed.was_running
    assert remote.run(["test", "-e", f"/proc/{started.pid}"]).exit_status == 1
    assert not agent.kill().was_running
    assert agent.unexplained_exits() == []
    assert not agent.start(argv).already
    stopped = agent.stop(timeout_s=10)
    assert stopped.gone
    assert not stopped.killed
    assert [exit_.asked_by for exit_ in agent.process().exits] == ["kill", "stop"]


def test_a_crash_is_told_from_a_kill(agent: Agent) -> None:
    agent.start(["python3", "-c", "import os; os.abort()"])
    eventually(lambda: agent.process().exits_total == 1, "the exit is on record")
    (sentence,) = agent.unexplained_exits()
    assert "was killed by SIGABRT" in sentence
    with pytest.raises(HostError, match=r"host n1 .*could not pause: the system is not running"):
        agent.pause()


def test_a_bump_moves_the_wall_clock_and_only_that(
    agent: Agent, remote: Remote, tmp_path: Path
) -> None:
    start_clock_program(agent, remote)
    time.sleep(0.3)
    state = agent.clock_bump(-5000)
    assert isinstance(state, ClockState)
    assert state.probe_ms is not None
    assert abs(state.probe_ms + 5000) < 1000
    time.sleep(0.3)
    agent.clock_bump(7000)
    time.sleep(0.3)
    agent.clock_reset()
    time.sleep(0.3)
    seen = offsets_ms(remote, tmp_path)
    rounded = [round(offset / 1000) for offset in seen]
    assert all(abs(offset - 1000 * whole) < 50 for offset, whole in zip(seen, rounded, strict=True))
    changes = [a for a, b in zip(rounded, [*rounded[1:], None], strict=True) if a != b]
    assert changes == [0, -5, 2, 0]


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_a_rate_starts_without_a_jump(
    agent: Agent, remote: Remote, tmp_path: Path, rate: float
) -> None:
    start_clock_program(agent, remote)
    time.sleep(0.5)
    agent.clock_bump(1000)
    before_ns = time.monotonic_ns()
    agent.clock_rate(rate)
    time.sleep(1.0)
    state = agent.clock_state()
    assert isinstance(state, ClockState)
    drift_ms_max = (time.monotonic_ns() - before_ns) / 1e6 * abs(rate - 1)
    agent.clock_rate(1.0)
    time.sleep(0.2)
    seen = offsets_ms(remote, tmp_path)
    after_bump = seen[next(i for i, offset in enumerate(seen) if offset > 400) :]
    # Lines are some milliseconds apart (twice that at half the rate), so the clock drifts by a few
    # between them, and by a tenth of a second where a busy machine let one wait; the head start of
    # half a second would show as a jump of 500.
    jumps = [abs(b - a) for a, b in pairwise(after_bump)]
    assert max(jumps) < 300
    assert abs(after_bump[0] - 1000) < 150
    drifted = after_bump[-1] - 1000
    assert (drifted > 0) == (rate > 1)
    assert 0.8 * 1000 * abs(rate - 1) < abs(drifted) < drift_ms_max + 200
    assert abs(state.offset_ms - after_bump[-1]) < 200


def test_a_strobe_is_seen_on_both_sides_and_ends(
    agent: Agent, remote: Remote, tmp_path: Path
) -> None:
    start_clock_program(agent, remote)
    state = agent.clock_strobe(offset_ms=2000, period_ms=50, duration_ms=1000)
    assert isinstance(state, ClockState)
    assert state.strobing
    eventually(lambda: not getattr(agent.clock_state(), "strobing", True), "the strobe has ended")
    time.sleep(0.1)
    seen = offsets_ms(remote, tmp_path)
    sides = [abs(offset - 2000) < 50 for offset in seen]
    assert all(abs(offset) < 50 or side for offset, side in zip(seen, sides, strict=True))
    flips = sum(a != b for a, b in pairwise(sides))
    assert flips >= 4
    assert not sides[-1]
    final = agent.clock_state()
    assert isinstance(final, ClockState)
    assert final.flips >= flips


def test_a_restarted_system_keeps_the_clock_of_its_host(
    agent: Agent, remote: Remote, tmp_path: Path
) -> None:
    start_clock_program(agent, remote)
    agent.clock_bump(3000)
    agent.kill()
    start_clock_program(agent, remote)
    time.sleep(0.3)
    assert all(abs(offset - 3000) < 50 for offset in offsets_ms(remote, tmp_path))
    assert remote.check("ls /dev/shm").count("faketime_shm") == 1


def test_clock_faults_need_a_system_that_can_feel_them(agent: Agent) -> None:
    for bump in (agent.clock_bump(1000), agent.clock_rate(2.0)):
        assert isinstance(bump, Skipped)
    agent.start(["python3", "-c", LOOP])
    refused = agent.clock_bump(1000)
    assert refused == Skipped("the system was not started with a movable clock")


def test_garbage_on_its_input_does_not_disturb_the_agent(remote: Remote) -> None:
    with Agent.launch(remote, lease_s=LEASE_S) as agent:
        for garbage in (b"\n", b"{\n", b"\xff\xfe\n", b'{"id":1}\n', b"[]\n", b'"bye"\n', b"7\n"):
            agent._channel.sendall(garbage)
        assert agent.wall_clock().wall_ns > 0
        with pytest.raises(HostError, match=r"host n1 .*the agent could not dance: cannot do"):
            agent._ask("dance")
        assert agent.alive


def test_many_threads_get_their_own_answers(agent: Agent, test_lab: Lab) -> None:
    agent.start(["python3", "-c", LOOP])

    def ask(number: int) -> bool:
        if number % 3 == 0:
            return agent.wall_clock().monotonic_ns > 0
        if number % 3 == 1:
            return agent.process().running
        return isinstance(agent.cut([test_lab.hosts[1].address]), Dropped)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(60)))


def test_a_long_request_does_not_hold_up_the_lease(remote: Remote) -> None:
    deaf = "import signal\nsignal.signal(15, signal.SIG_IGN)\n" + LOOP
    with Agent.launch(remote, lease_s=1.0) as agent:
        agent.start(["python3", "-c", deaf])
        time.sleep(0.3)
        assert agent.stop(timeout_s=4).killed
        assert agent.alive
        assert agent.wall_clock().wall_ns > 0


def faulty(remote: Remote, test_lab: Lab, *, lease_s: float = LEASE_S) -> tuple[Agent, int]:
    """An agent with everything in place that it could ever have to undo."""
    agent = Agent.launch(remote, lease_s=lease_s)
    pid = start_clock_program(agent, remote)
    agent.cut([test_lab.hosts[1].address])
    agent.clock_bump(4000)
    assert agent.pause().done
    assert not is_clean(remote, pid)
    return agent, pid


def test_closing_heals_and_leaves_no_thread(remote: Remote, test_lab: Lab) -> None:
    threads = set(threading.enumerate())
    agent, pid = faulty(remote, test_lab)
    healed = agent.close()
    assert healed is not None
    assert healed.healed
    eventually(lambda: is_clean(remote, pid), "the host is clean")
    assert agent.close() is None
    assert set(threading.enumerate()) - threads == set()


def test_a_system_can_be_left_running_but_never_faulty(remote: Remote, test_lab: Lab) -> None:
    agent = Agent.launch(remote, lease_s=LEASE_S, leave_running=True)
    pid = agent.start(["python3", "-c", LOOP]).pid
    agent.cut([test_lab.hosts[1].address])
    agent.pause()
    agent.close()
    # Asleep or at work, but not stopped (T) any more.
    assert remote.check(["cut", "-d ", "-f3", f"/proc/{pid}/stat"]).strip() in ("S", "R")
    assert "splitbrain" not in nft_rules(remote)
    with Agent.launch(remote, lease_s=LEASE_S):
        assert remote.run(["test", "-e", f"/proc/{pid}"]).exit_status == 1


@pytest.mark.parametrize("victim", ["agent", "connection", "agent-by-sigterm"])
def test_whoever_is_killed_the_host_heals(
    remotes: list[Remote], test_lab: Lab, victim: str
) -> None:
    watching, doomed = remotes[0], Remote.connect(test_lab.hosts[0])
    agent, pid = faulty(doomed, test_lab)
    agent_pid = str(agent.hello.pid)
    if victim == "connection":
        session = watching.check(["ps", "-o", "ppid=", "-p", agent_pid]).strip()
        watching.check(["kill", "-9", session])
    else:
        watching.check(["kill", "-9" if victim == "agent" else "-15", agent_pid])
    took_s = eventually(lambda: is_clean(watching, pid), f"the host is clean without {victim}")
    record(f"clean {took_s:.2f} s after losing the {victim}")
    with pytest.raises(HostError, match=r"host n1 .*the agent is gone"):
        eventually(lambda: agent.process() is None, "the agent is missed")
    assert not agent.alive
    assert agent.close() is None
    doomed.close()


def test_an_agent_that_hangs_is_given_up_by_its_watchdog(remote: Remote, test_lab: Lab) -> None:
    agent, pid = faulty(remote, test_lab, lease_s=1.0)
    remote.check(["kill", "-STOP", str(agent.hello.pid)])

    took_s = eventually(lambda: is_clean(remote, pid), "the watchdog has healed")
    record(f"clean {took_s:.2f} s after an agent with a lease of 1 s hung")
    agent.close()


def test_a_lease_that_is_not_renewed_runs_out(remote: Remote, test_lab: Lab) -> None:
    agent, pid = faulty(remote, test_lab, lease_s=2.0)
    agent._closing.set()  # the renewing thread ends; the channel stays open
    took_s = eventually(lambda: is_clean(remote, pid), "the lease has run out")
    record(f"clean {took_s:.2f} s after the last renewal of a lease of 2 s")
    agent.close()


def test_with_agent_and_watchdog_killed_cuts_expire_and_the_next_agent_heals_the_rest(
    remotes: list[Remote], test_lab: Lab
) -> None:
    n2 = test_lab.hosts[1].address
    agent, pid = faulty(remotes[0], test_lab)
    assert connects(remotes[0], n2) == ["lost"]
    all_of_it = pids(remotes[0], "agent.pyz")
    assert len(all_of_it) == 2
    remotes[0].check(["kill", "-9", *all_of_it])
    took_s = eventually(lambda: connects(remotes[0], n2) == ["reached"], "the cut has expired")
    record(f"cut of a lease of {LEASE_S} s gone {took_s:.2f} s after agent and watchdog")
    agent.close()
    assert remotes[0].run(["test", "-e", f"/proc/{pid}"]).exit_status == 0
    with Agent.launch(remotes[0], lease_s=LEASE_S):
        assert remotes[0].run(["test", "-e", f"/proc/{pid}"]).exit_status == 1
        assert "splitbrain" not in nft_rules(remotes[0])
        assert remotes[0].check(["cat", f"{HOME}/clock"]) == "+0.000000000\n"


def test_a_host_without_python_is_named(remote: Remote, test_lab: Lab) -> None:
    # The shell finds no python3 in a PATH of one empty folder.
    real = remote.open_channel
    remote.open_channel = lambda command, **k: real(  # type: ignore[method-assign]
        "PATH=/srv/empty; " + command.removeprefix("exec "), **k
    )
    with pytest.raises(HostError, match=r"host n1 .*there is no python3 on the host; install it"):
        Agent.launch(remote)


def test_what_the_agent_notes_is_readable(agent: Agent, remote: Remote) -> None:
    pid = agent.start(["python3", "-c", LOOP]).pid
    notes = json.loads(remote.check(["cat", f"{HOME}/agent/system.json"]))
    assert notes["pid"] == pid
    agent.kill()
    ended = json.loads(remote.check(["cat", f"{HOME}/agent/exit.json"]))
    assert (ended["pid"], ended["signal"], ended["asked_by"]) == (pid, "SIGKILL", "kill")


def record(text: str) -> None:
    """Say a measured number; shown with `pytest -rP`."""
    print(text)  # noqa: T201
