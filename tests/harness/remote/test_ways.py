"""Ways to a host that are not straight, and users that are not root; on the lab's hosts."""

import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import second_server
from second_server import PORT

from harness.errors import HostError
from harness.hosts.host import HostAddress
from harness.hosts.lab import Lab
from harness.remote.agent_client import Agent
from harness.remote.evidence import Skipped
from harness.remote.ssh import Remote
from harness.remote.way import as_root

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Ways:
    gate: HostAddress  # the first host's second server
    behind: HostAddress  # the second host

    def user(self, name: str, *, sudo: bool = False) -> HostAddress:
        return replace(self.gate, user=name, home=f"/run/way/{name}/here", sudo=sudo)


@pytest.fixture(scope="module")
def ways(test_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    one, two = test_lab.hosts[:2]
    known = second_server.known_hosts(test_lab, tmp_path_factory.mktemp("ways") / "known")
    with Remote.connect(one) as remote:
        remote.check(second_server.START)
        gate = replace(one, name="gate", port=PORT, known_hosts_path=known)
        yield Ways(gate, replace(two, jump=gate))
        remote.run(second_server.STOP)


def need_sudo(ways: Ways) -> None:
    with Remote.connect(ways.gate) as remote:
        if remote.run("command -v sudo").exit_status != 0:
            pytest.skip("sudo is not installed on this machine")


def test_a_host_behind_another_is_reached_through_it(ways: Ways, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with Remote.connect(ways.behind) as remote:
        assert remote.check("hostname") == "n2\n"
        assert remote.check("echo $SSH_CONNECTION").startswith(f"{ways.gate.address} ")
        remote.upload(b"through", "/srv/through")
        remote.download("/srv/through", tmp_path / "back", bytes_max=100)
        assert (tmp_path / "back").read_bytes() == b"through"
    assert set(threading.enumerate()) - before == set(), "the way there was not closed"


def test_a_jump_may_go_through_another(ways: Ways) -> None:
    twice = replace(ways.behind, jump=replace(ways.gate, jump=ways.gate))
    with Remote.connect(twice) as remote:
        assert remote.check("hostname") == "n2\n"


def test_a_jump_host_that_lets_nobody_through_is_named(ways: Ways, test_lab: Lab) -> None:
    shut = replace(ways.behind, jump=test_lab.hosts[0])
    with pytest.raises(HostError, match=r"host n2: no way from n1 to .*n1: AllowTcpForwarding yes"):
        Remote.connect(shut)
    nobody = replace(ways.behind, address=f"198.18.{test_lab.instance}.99")
    with pytest.raises(HostError, match=r"host n2: no way from gate to .*can gate reach it"):
        Remote.connect(nobody, timeout_s=5)


def test_the_host_keys_of_both_are_checked(ways: Ways, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    unknown_jump = replace(ways.gate, known_hosts_path=tmp_path / "empty")
    with pytest.raises(HostError, match=r"host gate .*is not in .*ssh-keyscan -p 2222"):
        Remote.connect(replace(ways.behind, jump=unknown_jump))
    with pytest.raises(HostError, match=r"host n2 .*is not in .*ssh-keyscan"):
        Remote.connect(replace(ways.behind, known_hosts_path=tmp_path / "empty"))


def test_a_command_may_be_the_way(ways: Ways) -> None:
    gate = ways.gate
    command = (
        f"ssh -F /dev/null -i {gate.key_path} -o UserKnownHostsFile={gate.known_hosts_path} "
        f"-p {gate.port} -W {ways.behind.address}:22 root@{gate.address}"
    )
    piped = replace(ways.behind, jump=None, proxy_command=command)
    with Remote.connect(piped) as remote:
        assert remote.check("hostname") == "n2\n"
    for wrong in ("/nowhere/connect", "false", "sleep 100"):
        with pytest.raises(HostError, match=rf"host n2 .*no SSH session .*by its .*`{wrong}`"):
            Remote.connect(replace(piped, proxy_command=wrong), timeout_s=1)


def test_sudo_makes_a_user_root_for_all_that_is_done(ways: Ways, tmp_path: Path) -> None:
    need_sudo(ways)
    host = replace(ways.user("worker", sudo=True), home="/srv/sudo")
    with Remote.connect(host) as remote:
        assert remote.check("id -u") == "0\n"
        assert remote.check(["printf", "%s", "it's two  words $HOME"]) == "it's two  words $HOME"
        remote.upload(b"roots", "/srv/sudo/file", mode=0o600)
        assert remote.check("stat -c '%U %a' /srv/sudo/file") == "root 600\n"
        remote.download("/srv/sudo/file", tmp_path / "file", bytes_max=100)
        with Agent.launch(remote, home=host.home) as agent:
            assert agent.hello.root
            assert len(agent.hello.protected) == 1, "it would cut the controller off"
            agent.cut([ways.behind.address])
            assert "splitbrain" in remote.check("nft list tables")
        assert "splitbrain" not in remote.check("nft list tables")


def test_a_user_who_may_not_use_sudo_is_told_what_to_do(ways: Ways) -> None:
    need_sudo(ways)
    with pytest.raises(
        HostError, match=r"nobody-much cannot become root with `sudo -n` .*NOPASSWD"
    ):
        Remote.connect(ways.user("nobody-much", sudo=True))


def test_without_root_what_needs_root_is_skipped_and_the_rest_works(ways: Ways) -> None:
    host = ways.user("worker")
    with Remote.connect(host) as remote:
        with Agent.launch(remote, home=host.home) as agent:
            assert not agent.hello.root
            cut = agent.cut([ways.behind.address])
            assert isinstance(cut, Skipped)
            assert "needs root" in cut.reason
            volume = agent.make_volume(f"{host.home}/system")
            assert volume is not None
            assert "root" in volume.reason
            agent.start(["sleep", "60"])
            assert agent.pause().done
            assert agent.resume().done
            assert agent.kill().gone
            healed = agent.close()
            assert healed is not None
            assert healed.healed, healed.problems
        with pytest.raises(
            HostError, match=r"user worker may not write there.*sudo = true, or home"
        ):
            Agent.launch(remote)


def test_a_line_survives_two_shells() -> None:
    line = as_root("echo 'it''s' \"$HOME\"; exit 3")
    assert line.startswith("sudo -n -- env SSH_CONNECTION=")
    assert shlex.split(line)[-1] == "echo 'it''s' \"$HOME\"; exit 3"
