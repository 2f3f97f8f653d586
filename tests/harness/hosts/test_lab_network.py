"""The lab's names and commands, without touching any network."""

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from harness.errors import HarnessError, UsageError
from harness.hosts import lab, lab_network
from harness.remote.agent.network import canonical_address


@pytest.mark.parametrize("instance", [0, 7, 255])
def test_interface_names_fit_the_kernel(instance: int) -> None:
    names = lab_network.host_names(lab_network.NODES_MAX)
    assert len(lab_network.controller_link(instance)) <= 15
    assert all(len(name) <= 15 for name in names)


def test_addresses_follow_names_and_never_meet_the_controller() -> None:
    names = lab_network.host_names(lab_network.NODES_MAX)
    addresses = [lab_network.address(3, name) for name in names]
    assert addresses[:2] == ["198.18.3.1", "198.18.3.2"]
    assert len(set(addresses)) == len(names)
    assert lab_network.controller_address(3) not in addresses


def test_ipv6_addresses_are_as_agents_and_kernel_write_them_and_within_the_range() -> None:
    for instance in (0, 3, 255):
        names = lab_network.host_names(lab_network.NODES_MAX)
        addresses = [lab_network.address6(instance, name) for name in names]
        everybody = {*addresses, lab_network.controller_address6(instance)}
        assert len(everybody) == len(names) + 1
        assert {canonical_address(one) for one in everybody} == everybody
        ours = IPv6Network(lab_network.subnet6(instance))
        assert ours.prefixlen == 64
        assert all(IPv6Address(one) in ours for one in everybody)
        assert not ours.overlaps(IPv6Network(lab_network.subnet6(instance + 1)))


def test_a_machine_without_ipv6_gets_a_network_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab_network, "_IPV6_SETTINGS", tmp_path)
    assert lab_network.why_no_ipv6() == "this machine's kernel has no IPv6"
    for scope in ("all", "default", "lo"):
        (tmp_path / scope).mkdir()
        (tmp_path / scope / "disable_ipv6").write_text("0\n")
    assert lab_network.why_no_ipv6() == ""
    (tmp_path / "default" / "disable_ipv6").write_text("1\n")
    assert "net.ipv6.conf.default.disable_ipv6" in lab_network.why_no_ipv6()
    assert any("fd5b:" in line for line in lab_network.root_batch(4, ["n1"]))
    assert not any("fd5b:" in line for line in lab_network.root_batch(4, ["n1"], ipv6=False))


def test_the_root_namespace_gets_one_interface_and_it_is_ours() -> None:
    lines = lab_network.root_batch(4, ["n1", "n2"])
    here = [line for line in lines if line.startswith("link add") and " netns " not in line[:30]]
    assert here == ["link add sb4-c type veth peer name c netns splitbrain-4-switch"]
    assert all("splitbrain-4-" in line or "sb4-c" in line for line in lines)


@pytest.mark.parametrize(
    ("route", "refused"),
    [
        ({"dst": "default", "dev": "eth0"}, False),
        ({"dst": "198.18.0.0/16", "dev": "tun0"}, True),
        ({"dst": "198.18.5.9", "dev": "tun0"}, True),
        ({"dst": "198.18.6.0/24", "dev": "eth1"}, False),
        ({"dst": "128.0.0.0/1", "dev": "tun0"}, False),
        ({"dst": "198.18.5.0/24", "dev": "sb5-c"}, False),
        ({"dst": "fe80::/64", "dev": "eth0"}, False),
        ({"dst": "fd00::/8", "dev": "tun0"}, False),
        ({"dst": "fd5b:c612:bd3e::/48", "dev": "tun0"}, True),
        ({"dst": "fd5b:c612:bd3e:5::9", "dev": "tun0"}, True),
        ({"dst": "fd5b:c612:bd3e:6::/64", "dev": "eth1"}, False),
        ({"dst": "fd5b:c612:bd3e:5::/64", "dev": "sb5-c"}, False),
        ({"dst": "fd5b:c612:bd3e:5::/64", "dev": "lo", "metric": 4294967000}, False),
    ],
)
def test_a_range_that_somebody_else_uses_is_refused(
    monkeypatch: pytest.MonkeyPatch, route: dict[str, object], refused: bool
) -> None:
    monkeypatch.setattr(lab_network, "_routes", lambda *_: [route])
    if refused:
        with pytest.raises(HarnessError, match="already in use on this machine"):
            lab_network.refuse_foreign_routes(5)
    else:
        lab_network.refuse_foreign_routes(5)


def test_numbers_out_of_range_are_usage_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(UsageError, match="0 to 255"):
        lab.status(256)
    with pytest.raises(UsageError, match="1 to 99 hosts"):
        lab.up(nodes=0, instance=3)


def test_without_root_the_lab_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HarnessError, match="sudo"):
        lab.up(nodes=3, instance=3)


def test_a_lock_that_is_released_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(lab, "LOCK_FOLDER", tmp_path)
    with lab.claim(9) as instance:
        assert instance == 9
        assert [path.name for path in tmp_path.iterdir()] == ["lab-9.lock"]
        with pytest.raises(HarnessError, match="already claimed by this process"), lab.claim(9):
            pass
    assert list(tmp_path.iterdir()) == []
