"""Whole runs on hosts of an inventory: through jumps, as root by sudo, and without root."""

from pathlib import Path

import pytest
import second_server

from harness.hosts.lab import Lab
from harness.outcome import Outcome
from harness.progress import Progress
from harness.remote.ssh import Remote
from harness.run import Result, run
from harness.spec import Spec

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

CONFIG = """
Host one
  HostName {0}
Host two
  HostName {1}
Host three
  HostName {2}
  Port 22
  ProxyJump root@one
Host *
  User worker
  Port {port}
  IdentityFile {key}
  UserKnownHostsFile {known}
"""
ROOTLESS = 'home = "/run/way/worker/splitbrain"'
HOSTS = """
ssh_config = "config"
[[host]]
name = "n1"
ssh = "one"
{0}
[[host]]
name = "n2"
ssh = "two"
{0}
[[host]]
name = "n3"
ssh = "three"
user = "root"
"""


def run_on(lab: Lab, folder: Path, nemesis: str, how: str) -> Result:
    known = second_server.known_hosts(lab, folder / "known")
    addresses = [host.address for host in lab.hosts]
    config = CONFIG.format(
        *addresses, port=second_server.PORT, key=lab.hosts[0].key_path, known=known
    )
    (folder / "config").write_text(config, encoding="utf-8")
    inventory = folder / "hosts.toml"
    inventory.write_text(HOSTS.format(how), encoding="utf-8")
    spec = Spec(
        hosts=str(inventory),
        nodes=3,
        nemesis=nemesis,  # type: ignore[arg-type]
        time_limit=6,
        nemesis_interval=2,
        seed=3,
        store=str(folder / "store"),
    )
    servers = [Remote.connect(host) for host in lab.hosts[:2]]
    try:
        for server in servers:
            server.check(second_server.START)
        if "sudo" in how and servers[0].run("command -v sudo").exit_status != 0:
            pytest.skip("sudo is not installed on this machine")
        return run(spec, progress=Progress(shown=False))
    finally:
        for server in servers:
            server.run(second_server.STOP)
            server.close()


def test_a_run_passes_where_root_is_had_by_sudo(test_lab: Lab, tmp_path: Path) -> None:
    result = run_on(test_lab, tmp_path, "kill,pause", "sudo = true")
    assert result.outcome is Outcome.PASS, result.reasons
    assert {fault["evidence"] for fault in result.document["faults"]} >= {"installed"}


def test_without_root_partitions_are_skipped_and_kills_are_not(
    test_lab: Lab, tmp_path: Path
) -> None:
    result = run_on(test_lab, tmp_path, "partition,kill", ROOTLESS)
    assert result.outcome in (Outcome.VACUOUS, Outcome.PASS), result.reasons
    faults = result.document["faults"]
    assert "installed" in {fault["evidence"] for fault in faults if fault["kind"] == "kill"}
    details = [fault["detail"] for fault in faults if fault["kind"] == "partition"]
    said = [detail["n2"] for detail in details if "n2" in detail]
    assert said
    assert all("needs root" in one for one in said)
