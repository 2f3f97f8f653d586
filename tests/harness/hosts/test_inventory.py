"""Hosts from a file: what is read, and that every mistake names file and field."""

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.hosts import inventory
from harness.hosts.choose import check_hosts, hosts_for
from harness.spec import Spec

GOOD = """
[[host]]
name = "n1"
address = "192.0.2.11"
key = "key"
known_hosts = "known"

[[host]]
name = "n2"
address = "192.0.2.12"
port = 2222
user = "admin"
key = "key"
known_hosts = "known"
"""


def written(folder: Path, text: str) -> Path:
    for name in ("key", "known"):
        (folder / name).touch()
    path = folder / "hosts.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_hosts_are_read_in_order_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    first, second = inventory.read(written(tmp_path, GOOD))
    assert (first.name, first.address, first.port, first.user) == ("n1", "192.0.2.11", 22, "root")
    assert (second.name, second.port, second.user) == ("n2", 2222, "admin")
    assert first.key_path == tmp_path / "key"
    assert second.known_hosts_path == tmp_path / "known"


def test_a_run_takes_the_addresses_of_the_ip_version_that_it_wants(tmp_path: Path) -> None:
    both = 'name = "n1"\nother_addresses = ["2001:db8::11"]'
    path = str(written(tmp_path, GOOD.replace('name = "n1"', both)))
    with hosts_for(Spec(hosts=path, nodes=1, ip=6)) as (host,):
        assert host.addresses == ("2001:db8::11", "192.0.2.11")
    for version in (0, 4):
        with hosts_for(Spec(hosts=path, nodes=2, ip=version)) as (host, other):
            assert host.addresses == ("192.0.2.11", "2001:db8::11")
            assert other.addresses == ("192.0.2.12",)
    with pytest.raises(UsageError, match=r"host n2 has no IPv6 address, only 192\.0\.2\.12"):
        check_hosts(Spec(hosts=path, nodes=2, ip=6))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "n1"\n', "", "host 1: name is missing"),
        ('address = "192.0.2.12"\n', "", "host 2: address is missing"),
        ("port = 2222", 'port = "ssh"', "host 2: port must be a number, not 'ssh'"),
        ("port = 2222", "port = true", "host 2: port must be a number, not True"),
        ("port = 2222", "port = 70000", "host 2: port must be 1 to 65535, not 70000"),
        ('user = "admin"', 'user = ""', "host 2: user must be a text that is not empty"),
        ('user = "admin"', 'pasword = "x"', "host 2: unknown field 'pasword'; there are name"),
        ('name = "n2"', 'name = "n1"', "host 2: name 'n1' is used twice"),
        ('key = "key"', 'key = "kye"', "host 1: key: there is no file"),
        ("[[host]]", "[[hosts]]", "unknown table 'hosts'"),
        (
            'user = "admin"',
            'other_addresses = "::1"',
            "host 2: other_addresses must be a list of IP addresses, not '::1'",
        ),
        (
            'user = "admin"',
            'other_addresses = ["::1", "n2.example"]',
            "host 2: other_addresses: 'n2.example' is not an IP address",
        ),
        (GOOD, "", "lists no hosts"),
        (GOOD, "host = 3", "lists no hosts"),
        (GOOD, "host = [3]", "host 1 is not a"),
        (GOOD, "host = [", "not a TOML file"),
    ],
)
def test_a_mistake_names_the_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        inventory.read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_no_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the inventory: No such file"):
        inventory.read(tmp_path / "nowhere.toml")
