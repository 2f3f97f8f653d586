"""The lab beside a Docker daemon: its firewall drops what is forwarded, bridges included.

Played in a network namespace of its own, where such a firewall harms nobody.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.hosts import lab

pytestmark = pytest.mark.lab

INSTANCE = 197
BRIDGE_SWITCH = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")

# What dockerd does to the machine it runs on.
FIREWALL = """
set -e
ip link set lo up
echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
nft add table ip filter
nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'
exec "$@"
"""

TALK = """
import sys
from harness.hosts import lab
from harness.remote.ssh import Remote
made = lab.up(nodes=2, instance=int(sys.argv[1]))
try:
    with Remote.connect(made.hosts[0]) as remote:
        code = "import socket,sys; socket.create_connection((sys.argv[1], 22), 3).close()"
        remote.check(["python3", "-c", code, made.hosts[1].address])
    print("hosts talk")
finally:
    lab.down(int(sys.argv[1]))
"""


def test_hosts_talk_although_the_machine_drops_what_it_forwards() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces: run the tests with sudo")
    if not BRIDGE_SWITCH.exists():
        pytest.skip("this kernel has no br_netfilter loaded, so bridges are not filtered anyway")
    command = ["unshare", "--net", "--mount", "sh", "-c", FIREWALL, "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", TALK, str(INSTANCE)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stdout == "hosts talk\n", done.stderr
    assert not list(Path("/run/netns").glob(f"splitbrain-{INSTANCE}-*"))
    assert not (lab.STATE_FOLDER / str(INSTANCE)).exists()
