"""Addresses of either IP version, as programs and the harness want them."""

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.hosts.endpoint import endpoint
from harness.hosts.host import HostAddress, version_of
from harness.spec import Spec, from_values
from harness.systems import kind_of
from harness.systems.etcd import EtcdSystem
from harness.systems.raft import RaftSystem

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "naive_system.py"
SIX = {"n1": "fd00::1", "n2": "fd00::2"}


def host(*addresses: str) -> HostAddress:
    first, *others = addresses
    key = Path("key")
    return HostAddress(
        name="n1",
        address=first,
        other_addresses=tuple(others),
        key_path=key,
        known_hosts_path=key,
    )


def test_only_an_ipv6_address_is_bracketed_before_its_port() -> None:
    assert endpoint("192.0.2.1", 22) == "192.0.2.1:22"
    assert endpoint("n1.example", 22) == "n1.example:22"
    assert endpoint("fd00::1", 22) == "[fd00::1]:22"


def test_a_host_is_the_same_whichever_of_its_addresses_is_used() -> None:
    both = host("192.0.2.1", "192.0.2.7", "fd00::1")
    six = both.over(6)
    assert six.address == "fd00::1"
    assert set(six.addresses) == set(both.addresses)
    assert six.over(4).address == both.over(4).address
    assert both.over(4).address == "192.0.2.1", "the first that is listed"


def test_a_name_may_be_of_any_version_but_nobody_can_promise_it() -> None:
    assert version_of("n1.example") is None
    assert host("n1.example", "fd00::1").over(6).address == "fd00::1"
    with pytest.raises(UsageError, match=r"host n1 has no IPv4 address, only n1\.example"):
        host("n1.example").over(4)


def test_systems_are_told_ipv6_addresses_in_brackets() -> None:
    raft = RaftSystem(addresses=SIX, archive=Path("x"), version="1", operation_timeout_s=5)
    (words,) = raft.prepare("n1", "/srv")
    assert "n2=[fd00::2]:7000" in words
    assert "n1=[fd00::1]:7001" in words
    etcd = EtcdSystem(addresses=SIX, program=Path("x"), version="1", operation_timeout_s=5)
    words = etcd.command("n1", "/srv")
    assert "n1=http://[fd00::1]:2380,n2=http://[fd00::2]:2380" in words
    assert "http://[fd00::1]:2379" in words


def test_the_example_of_a_system_is_told_ipv6_addresses_in_brackets(tmp_path: Path) -> None:
    naive = kind_of(str(EXAMPLE)).make(Spec(), SIX, tmp_path)
    assert naive.command("n1", "/srv")[2:] == ["8000", "http://[fd00::2]:8000"]


@pytest.mark.parametrize("wrong", [5, 1, -6, 46])
def test_there_are_two_ip_versions(wrong: int) -> None:
    with pytest.raises(UsageError, match=f"ip is {wrong}, but must be"):
        Spec(ip=wrong)
    assert "--ip 6" in from_values({"ip": "6"}).repeat_line()
    assert "--ip" not in Spec().repeat_line()
