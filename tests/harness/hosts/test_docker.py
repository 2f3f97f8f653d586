"""Containers as hosts: what can be said without a daemon, and all of it with one.

`tools/docker-run.sh` starts one for them.
"""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts import commands, docker, docker_words
from harness.hosts.choose import check_hosts
from harness.remote.agent_client import Agent
from harness.remote.evidence import PowerLoss, Skipped
from harness.remote.ssh import Remote
from harness.spec import Spec

HOLDING = """
import sys, time
from harness.hosts import docker
with docker.hosts(nodes=2, base=None, disks=False) as hosts:
    print(hosts[0].address, flush=True)
    time.sleep(100)
"""


def docker_says(*words: str) -> str:
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=30, check=False
    ).stdout


def need_docker() -> None:
    if not Path("/usr/bin/docker").exists() and not Path("/usr/local/bin/docker").exists():
        pytest.skip("docker is not installed")
    try:
        docker.check()
    except HarnessError as error:
        pytest.skip(str(error))
    if not docker_says("images", "--quiet", docker_words.LOCAL_BASE):
        pytest.skip("there is no base image: sudo tools/docker-base.sh")


def left() -> list[str]:
    """Every container, network and volume there is that is none of Docker's own."""
    networks = docker_says("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}")
    names = docker_says("ps", "--all", "--format", "{{.Names}}")
    volumes = docker_says("volume", "ls", "--quiet")
    return [*networks.split(), *names.split(), *volumes.split()]


def folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("splitbrain-docker-*"))


def until(condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    while not condition():
        assert time.monotonic_ns() < deadline_ns, "it did not come true in time"
        time.sleep(0.1)


def fake_docker(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setitem(commands.ENVIRONMENT, "PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_no_docker_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.ENVIRONMENT, "PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match="not installed: sudo apt-get install"):
        check_hosts(Spec(hosts="docker"))


def test_no_daemon_is_said_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    fake_docker(tmp_path, f"echo '{said}' >&2; exit 1", monkeypatch)
    with pytest.raises(HarnessError, match="not running; start it"):
        check_hosts(Spec(hosts="docker"))


def test_a_base_that_cannot_be_had_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_docker(
        tmp_path,
        'case "$1" in version) echo 27.0;; build) echo "dial tcp: no such host" >&2; exit 1;; '
        "*) exit 1;; esac",
        monkeypatch,
    )
    with (
        pytest.raises(
            HarnessError, match=r"no such host; .*bookworm-slim is not here.*docker-base"
        ),
        docker.hosts(nodes=1, base=None, disks=False),
    ):
        pass


def test_a_container_that_ends_at_once_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    fake_docker(
        tmp_path,
        f'echo "$*" >> {log}; [ "$1" != run ] || {{ echo "no space left" >&2; exit 125; }}; echo sha',
        monkeypatch,
    )
    with (
        pytest.raises(HarnessError, match=r"the container of n1 did not come up: .*no space left"),
        docker.hosts(nodes=2, base=None, disks=False),
    ):
        pass
    said = log.read_text(encoding="ascii")
    run = said.rpartition("network rm ")[2].strip()
    assert f"rm --force --volumes {run}-n1 {run}-n2\n" in said, "what had been made stays"
    assert (
        f"network create --driver bridge --internal --label splitbrain.run={run[11:]} {run}\n"
        in said
    )


def test_who_owns_containers_is_known_by_more_than_a_pid() -> None:
    mine = docker._owner()
    boot, space, pid, start = mine.split("/")
    assert docker._lives(mine)
    assert not docker._lives(f"{boot}/{space}/{pid}/{int(start) + 1}"), "the PID is somebody else's"
    assert not docker._lives(f"another-boot/{space}/{pid}/{start}")
    assert docker._lives(f"{boot}/pid:[1]/{pid}/{start}"), "of another namespace nobody knows"
    for nonsense in ("", "/", f"{boot}/{space}/x/1"):
        assert not docker._lives(nonsense)


@pytest.mark.timeout(240)
def test_hosts_come_up_take_faults_and_leave_nothing() -> None:
    need_docker()
    before = left()
    with docker.hosts(nodes=2, base=None, disks=False) as hosts:
        assert [host.name for host in hosts] == ["n1", "n2"]
        one, two = hosts
        with (
            Remote.connect(one) as remote,
            Agent.launch(remote) as agent,
            Remote.connect(two) as other,
        ):
            assert remote.check("hostname") == "n1\n"
            assert agent.hello.nft_problem == ""
            assert agent.hello.faketime is not None
            ping = [
                "python3",
                "-c",
                f"import socket; socket.create_connection(('{one.address}', 22), 1)",
            ]
            other.check(ping)
            agent.cut([two.address])
            assert other.run(ping).exit_status != 0
            assert agent.network_evidence().by_source[two.address] > 0
            agent.heal_network()
            other.check(ping)
            skipped = agent.make_volume("/srv/splitbrain/system")
            assert isinstance(skipped, Skipped)
            assert "mount" in skipped.reason
        # An orphan is reaped by the first process, or hosts would fill up with the dead.
        with Remote.connect(two) as remote:
            remote.check("sh -c 'sleep 0.1 & :'")
            until(lambda: "Z" not in remote.check("ps -A -o state="))
    assert left() == before


@pytest.mark.timeout(240)
def test_power_can_be_cut_where_disks_were_asked_for() -> None:
    need_docker()
    before = left()
    with docker.hosts(nodes=1, base=None, disks=True) as hosts, Remote.connect(hosts[0]) as remote:
        with Agent.launch(remote) as agent:
            problem = agent.make_volume("/srv/splitbrain/system")
            if problem is not None:
                pytest.skip(f"no loop devices here: {problem.reason}")
            assert agent.write_canaries() is None
            lost = agent.cut_power()
            assert isinstance(lost, PowerLoss)
            assert lost.kept_durable
            assert not lost.kept_fleeting
        assert "/srv/splitbrain/system" not in remote.check("cat /proc/mounts")
    assert left() == before


@pytest.mark.timeout(240)
def test_a_killed_harness_takes_its_containers_with_it() -> None:
    need_docker()
    before, folders_before = left(), folders()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline().count(".") == 3
        assert len(docker.down()[1]) == 2, "hosts in use are left alone"
        assert docker_says("ps", "--quiet").count("\n") >= 2
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(timeout=10)
        until(
            lambda: docker_says("ps", "--all", "--quiet", "--filter", "label=splitbrain.run") == ""
        )
    finally:
        holder.kill()
        holder.wait(timeout=10)
        holder.stdout.close()
    assert folders() > folders_before
    docker.sweep()
    assert folders() == folders_before
    (network,) = set(left()) - set(before)  # young: somebody might just be filling it
    docker_says("network", "rm", network)
    assert left() == before


@pytest.mark.timeout(240)
def test_an_interrupt_leaves_nothing() -> None:
    need_docker()
    before, folders_before = left(), folders()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline().count(".") == 3
        holder.send_signal(signal.SIGINT)
        holder.wait(timeout=60)
    finally:
        holder.kill()
        holder.wait(timeout=10)
        holder.stdout.close()
    assert (left(), folders()) == (before, folders_before)


@pytest.mark.timeout(240)
def test_what_is_left_over_is_removed_by_its_label_and_nothing_else() -> None:
    need_docker()
    before = left()
    docker_says(*docker_words.network_words("dead"))
    labels = ["--label", "splitbrain.run=dead", "--label", "splitbrain.owner=other-boot/x/1/1"]
    sleep = [docker_words.LOCAL_BASE, "sleep", "100"]
    docker_says(
        "run", "--detach", "--network", "splitbrain-dead", "--name", "dead", *labels, *sleep
    )
    docker_says("run", "--detach", "--name", "bystander", *sleep)
    try:
        assert docker.down() == (["dead"], [])
        assert set(left()) - set(before) == {"bystander"}
    finally:
        docker_says("rm", "--force", "dead", "bystander")
        docker_says("network", "rm", "splitbrain-dead")
