"""The lab on a real machine: what it makes, that it can be made twice, that nothing of it stays."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine_state import mounts, network_namespaces, nothing, processes_in, traces

from harness.errors import HarnessError
from harness.hosts import lab, lab_network
from harness.hosts.lab import Lab
from harness.remote.ssh import Remote

pytestmark = pytest.mark.lab

# Each kills the process that brings a lab up, at a point where it has made more than before.
CRASH_POINTS = {
    "before-the-network": "lab_network._batch = die",
    "network-half-made": (
        "real = lab_network._batch\n"
        "lab_network._batch = lambda options, lines, **k: "
        "die() if options else real(options, lines, **k)"
    ),
    "in-the-middle-of-keys": (
        "real = lab_host.write_identity\n"
        "lab_host.write_identity = lambda paths, **k: "
        "die() if paths.directory.name == 'n2' else real(paths, **k)"
    ),
    "one-host-started": (
        "real = lab_host.start\n"
        "lab_host.start = lambda paths, **k: "
        "die() if k['name'] == 'n2' else real(paths, **k)"
    ),
    "all-hosts-starting": "lab_host.wait_launched = die",
    "before-the-notes": "lab._write = lambda path, text: die() if path.name == 'lab.json' else None",
}

CRASHING = """
import os, signal, sys
from harness.hosts import lab, lab_host, lab_network

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{patch}
lab.up(nodes=3, instance=int(sys.argv[1]))
"""


WITHOUT_IPV6 = """
set -e
ip link set lo up
for scope in all default; do echo 1 > /proc/sys/net/ipv6/conf/$scope/disable_ipv6; done
exec "$@"
"""

MADE_WITHOUT_IPV6 = """
import sys
from harness.errors import HarnessError
from harness.hosts import choose, lab
from harness.remote.ssh import Remote
from harness.spec import Spec
instance = int(sys.argv[1])
try:
    choose.check_hosts(Spec(ip=6, lab=instance, nodes=1))
except HarnessError as error:
    print("refused:", "IPv6 is switched off" in str(error))
with choose.hosts_for(Spec(lab=instance, nodes=1)) as (host,), Remote.connect(host) as remote:
    print(len(host.addresses), "address, reached")
    read = remote.check(["cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"])
    print("IPv6 on the host:", read.strip())
"""


def run_python(code: str, *arguments: str) -> int:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def test_up_twice_uses_what_is_there(free_instance: int) -> None:
    first = lab.up(nodes=2, instance=free_instance)
    notes = lab.STATE_FOLDER / str(free_instance) / "lab.json"
    made_ns = notes.stat().st_mtime_ns
    assert lab.up(nodes=2, instance=free_instance) == first
    assert notes.stat().st_mtime_ns == made_ns
    assert lab.status(free_instance).state == "up"


def test_another_size_makes_it_anew(free_instance: int) -> None:
    lab.up(nodes=1, instance=free_instance)
    assert [host.name for host in lab.up(nodes=2, instance=free_instance).hosts] == ["n1", "n2"]


def test_a_lab_with_a_dead_host_is_broken_and_made_anew(free_instance: int) -> None:
    lab.up(nodes=2, instance=free_instance)
    path = lab_network.namespace(free_instance, "n2")
    pids = subprocess.run(
        ["ip", "netns", "pids", path], capture_output=True, text=True, timeout=20, check=True
    ).stdout.split()
    # With the first process of the host the others go, also before their turn comes.
    subprocess.run(["kill", "-9", *pids], check=False, capture_output=True, timeout=20)
    broken = lab.status(free_instance)
    assert broken.state == "broken"
    assert any(problem.startswith("n2: ") for problem in broken.problems)
    lab.up(nodes=2, instance=free_instance)
    assert lab.status(free_instance).state == "up"


def test_down_leaves_nothing(free_instance: int) -> None:
    before = mounts()
    made = lab.up(nodes=3, instance=free_instance)
    inodes = network_namespaces(free_instance)
    with Remote.connect(made.hosts[0]) as remote:
        remote.run("setsid sleep 300 >/dev/null 2>&1 </dev/null &", timeout_s=10)
    assert len(processes_in(inodes)) >= 7  # three first processes, three sshd, one that got away
    assert mounts() == before, "a host's mounts were seen outside"
    lab.down(free_instance)
    assert traces(free_instance) == nothing()
    assert processes_in(inodes) == []
    assert mounts() == before
    assert lab.status(free_instance).state == "down"
    lab.down(free_instance)


def test_down_needs_no_notes(free_instance: int) -> None:
    lab.up(nodes=2, instance=free_instance)
    inodes = network_namespaces(free_instance)
    shutil.rmtree(lab.STATE_FOLDER / str(free_instance))
    assert lab.status(free_instance).state == "broken"
    lab.down(free_instance)
    assert traces(free_instance) == nothing()
    assert processes_in(inodes) == []


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_down_cleans_up_after_a_killed_up(point: str) -> None:
    # The crashing process holds the lock itself, so this one must not.
    instance = 199
    assert traces(instance) == nothing()
    try:
        status = run_python(CRASHING.format(patch=CRASH_POINTS[point]), str(instance))
        assert status == -signal.SIGKILL
        assert traces(instance) != nothing(), "it died before it had made anything"
        inodes = network_namespaces(instance)
    finally:
        lab.down(instance)
    assert traces(instance) == nothing()
    assert processes_in(inodes) == []


def test_down_cleans_up_after_an_up_killed_at_any_time() -> None:
    instance = 198
    for delay_s in (0.15, 0.2, 0.25, 0.3, 0.4):
        process = subprocess.Popen(
            [sys.executable, "-c", CRASHING.format(patch=""), str(instance)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay_s)
        process.kill()
        process.wait(timeout=20)
        inodes = network_namespaces(instance)
        lab.down(instance)
        assert traces(instance) == nothing()
        assert processes_in(inodes) == []


def test_a_lab_in_use_is_refused_and_names_its_user(free_instance: int) -> None:
    code = "import sys\nfrom harness.hosts import lab\nlab.down(int(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(free_instance)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"lab {free_instance} is in use by process" in done.stderr


def test_a_range_in_use_is_refused_before_anything_is_made(free_instance: int) -> None:
    route = ["unreachable", f"198.18.{free_instance}.64/26", "metric", "4000000000"]
    subprocess.run(["ip", "route", "add", *route], check=True, timeout=20)
    try:
        with pytest.raises(HarnessError, match="already in use on this machine"):
            lab.up(nodes=1, instance=free_instance)
        assert traces(free_instance)["namespaces"] == []
    finally:
        subprocess.run(["ip", "route", "delete", *route], check=True, timeout=20)


def test_each_host_looks_like_a_machine_of_its_own(test_lab: Lab) -> None:
    with Remote.connect(test_lab.hosts[0]) as one, Remote.connect(test_lab.hosts[1]) as two:
        assert one.check(["hostname"]) == "n1\n"
        assert two.check(["uname", "-n"]) == "n2\n"
        one.upload(b"mine", "/srv/here")
        one.check("echo mine > /tmp/here; echo mine > /run/here; echo mine > /dev/shm/here")
        assert two.run("cat /srv/here /tmp/here /run/here /dev/shm/here").stdout == ""
        assert not any(Path(folder, "here").exists() for folder in ("/srv", "/tmp", "/run"))
        two.check("setsid sleep 271828 >/dev/null 2>&1 </dev/null &")
        seen = one.check("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
        assert "271828" not in seen
        assert "--name\nn1" in seen
        assert "--name\nn2" not in seen
        assert one.check("ls /var/lib/splitbrain") == ""


def test_hosts_reach_each_other_and_the_controller_but_nothing_else(test_lab: Lab) -> None:
    code = (
        "import socket,sys\n"
        "for a in sys.argv[1:]:\n"
        "    try: socket.create_connection((a, 22), 2).close(); print('yes')\n"
        "    except OSError as e: print(e.strerror)\n"
    )
    peer = test_lab.hosts[1].address
    with Remote.connect(test_lab.hosts[0]) as remote:
        said = remote.check(["python3", "-c", code, peer, test_lab.controller_address, "192.0.2.1"])
    # The controller refuses (nobody listens there) or accepts: either way it was reached.
    assert said.splitlines()[0] == "yes"
    assert said.splitlines()[1] in ("yes", "Connection refused")
    assert said.splitlines()[2] == "Network is unreachable"
    if not test_lab.ipv6:
        pytest.skip(f"the rest is about IPv6: {lab_network.why_no_ipv6()}")
    (peer6,) = test_lab.hosts[1].other_addresses
    controller6 = lab_network.controller_address6(test_lab.instance)
    with Remote.connect(test_lab.hosts[0].over(6)) as remote:
        said = remote.check(["python3", "-c", code, peer6, controller6, "2001:db8::1"])
        links = remote.check(["ip", "-6", "-o", "address", "show", "dev", "eth0"])
    assert said.splitlines()[0] == "yes"
    assert said.splitlines()[1] in ("yes", "Connection refused")
    assert said.splitlines()[2] == "Network is unreachable"
    assert links.count("inet6") == 1, "an address that no partition knows of"


def test_a_machine_with_ipv6_switched_off_has_a_lab_without_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces: run the tests with sudo")
    instance = 198  # fixed: the namespace that it is made in has no other
    command = ["unshare", "--net", "--mount", "sh", "-c", WITHOUT_IPV6, "sh"]
    try:
        done = subprocess.run(
            [*command, sys.executable, "-c", MADE_WITHOUT_IPV6, str(instance)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        lab.down(instance)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "refused: True",
        "1 address, reached",
        "IPv6 on the host: 1",
    ]
    assert traces(instance) == nothing()


def test_keys_are_private_and_fresh(free_instance: int) -> None:
    keys = []
    for _ in range(2):
        made = lab.up(nodes=1, instance=free_instance)
        path = made.hosts[0].key_path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        keys.append(path.read_text(encoding="ascii") + made.hosts[0].known_hosts_path.read_text())
        lab.down(free_instance)
    assert keys[0] != keys[1]


def test_the_notes_say_what_was_made(test_lab: Lab) -> None:
    path = lab.STATE_FOLDER / str(test_lab.instance) / "lab.json"
    notes = json.loads(path.read_text(encoding="utf-8"))
    assert [host["name"] for host in notes["hosts"]] == ["n1", "n2", "n3"]
    assert notes["link"] == f"sb{test_lab.instance}-c"
    assert notes["namespaces"] == lab_network.existing_namespaces(test_lab.instance)


def test_nothing_can_leave_the_machine_while_the_lab_is_half_up(free_instance: int) -> None:
    """Behind the lab's own route there is always one that goes nowhere."""
    lab.up(nodes=1, instance=free_instance)
    link = lab_network.controller_link(free_instance)
    subprocess.run(["ip", "link", "set", link, "down"], check=True, timeout=20)
    targets = [lab_network.address(free_instance, "n1")]
    if not lab_network.why_no_ipv6():
        targets.append(lab_network.address6(free_instance, "n1"))
    for target in targets:
        done = subprocess.run(
            ["ip", "route", "get", target], capture_output=True, text=True, timeout=20, check=False
        )
        assert "unreachable" in done.stdout + done.stderr or "No route to host" in done.stderr
