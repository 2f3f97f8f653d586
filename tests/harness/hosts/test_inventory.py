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
own_clock = true
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
    assert (first.own_clock, second.own_clock) == (False, True)
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
        ("own_clock = true", "own_clock = 1", "own_clock must be true or false, not 1"),
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


CONFIG = """
Host db1
  HostName 192.0.2.21
  User admin
  Port 2200
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/missing {folder}/known
Host behind
  HostName 192.0.2.22
  ProxyJump root@gate:2022,db1
Host gate
  HostName 192.0.2.23
  ProxyJump outer
Host outer
  HostName 192.0.2.24
Host piped
  HostName 192.0.2.25
  ProxyCommand connect %h %p
  ProxyJump none
Host loop
  ProxyJump pool
Host pool
  ProxyJump loop
Host *
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/known
"""


def configured(folder: Path, hosts: str) -> Path:
    path = written(folder, f'ssh_config = "config"\n{hosts}')
    (folder / "config").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    return path


def host(name: str, **fields: object) -> str:
    lines = [f"{field} = {value!r}" for field, value in fields.items()]
    return "\n".join(["[[host]]", f"name = {name!r}", *lines]) + "\n"


def test_an_ssh_config_says_what_the_inventory_does_not(tmp_path: Path) -> None:
    text = host("n1", ssh="db1") + host("n2", ssh="db1", address="10.0.0.9", user="other", port=1)
    one, two = inventory.read(configured(tmp_path, text))
    assert (one.address, one.ssh_name, one.user, one.port) == (
        "192.0.2.21",
        "192.0.2.21",
        "admin",
        2200,
    )
    assert (one.key_path, one.known_hosts_path) == (tmp_path / "key", tmp_path / "known")
    assert (two.address, two.ssh_name, two.user, two.port) == ("10.0.0.9", "192.0.2.21", "other", 1)
    assert one.jump is None


def test_jumps_of_an_ssh_config_are_chained(tmp_path: Path) -> None:
    (behind,) = inventory.read(configured(tmp_path, host("n1", ssh="behind")))
    way = []
    at = behind.jump
    while at is not None:
        way.append((at.ssh_name, at.port, at.user))
        at = at.jump
    assert [address for address, _, _ in way] == ["192.0.2.21", "192.0.2.23", "192.0.2.24"]
    assert way[1][1:] == (2022, "root"), "user@name:port is what ProxyJump said"


def test_a_proxy_command_knows_where_to(tmp_path: Path) -> None:
    (piped,) = inventory.read(configured(tmp_path, host("n1", ssh="piped")))
    assert piped.proxy_command == "connect 192.0.2.25 22"
    assert piped.jump is None


def test_jump_tables_are_gone_through_in_turn(tmp_path: Path) -> None:
    files = 'key = "key"\nknown_hosts = "known"\n'
    text = (
        f'[[jump]]\nname = "a"\naddress = "192.0.2.1"\n{files}'
        f'[[jump]]\nname = "b"\naddress = "192.0.2.2"\njump = "a"\nport = 99\n{files}'
        f'[[host]]\nname = "n1"\naddress = "192.0.2.3"\njump = "b"\nsudo = true\n'
        f'home = "/home/x/"\n{files}'
    )
    (only,) = inventory.read(written(tmp_path, text))
    assert only.jump is not None
    assert (only.jump.name, only.jump.port) == ("b", 99)
    assert only.jump.jump is not None
    assert only.jump.jump.name == "a"
    assert (only.sudo, only.home) == (True, "/home/x")


def test_a_name_is_looked_up_for_nodes_and_kept_for_ssh(tmp_path: Path) -> None:
    text = GOOD.replace("192.0.2.11", "localhost")
    first = inventory.read(written(tmp_path, text))[0]
    assert first.address in ("127.0.0.1", "::1")
    assert first.ssh_name == "localhost"


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (host("n1", ssh="loop"), "ProxyJump goes round in circles: loop -> pool"),
        (host("n1", ssh="db1", jump="x"), "there is no [[jump]] 'x'; there are: none"),
        (host("n1", ssh="db1", home="here"), "home must be an absolute path, not 'here'"),
        (host("n1", ssh="db1", sudo="yes"), "sudo must be true or false, not 'yes'"),
        (host("n1", ssh="nowhere.invalid"), "cannot be looked up"),
        ("[[jump]]\nname='a'\nsudo=true\n" + host("n1", ssh="db1"), "jump 1: unknown field 'sudo'"),
        ("jump = 3\n" + host("n1", ssh="db1"), "jump hosts are listed as [[jump]]"),
    ],
)
def test_a_mistake_with_an_ssh_config_is_named(tmp_path: Path, hosts: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        inventory.read(configured(tmp_path, hosts))
    assert message in str(caught.value)


def test_a_missing_or_broken_ssh_config_is_named(tmp_path: Path) -> None:
    path = configured(tmp_path, host("n1", ssh="db1"))
    (tmp_path / "config").write_text("Host x\n  Match Match\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not an OpenSSH configuration"):
        inventory.read(path)
    (tmp_path / "config").unlink()
    with pytest.raises(UsageError, match="config: cannot read the ssh_config: No such file"):
        inventory.read(path)
    with pytest.raises(UsageError, match="host 1: ssh needs the file: ssh_config = "):
        inventory.read(written(tmp_path, host("n1", ssh="db1")))


def test_a_key_that_an_ssh_config_names_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = configured(tmp_path, host("n1", ssh="192.0.2.9"))
    (tmp_path / "config").write_text("Host *\n  IdentityFile /nowhere/key\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"host 1: key is missing, and .*config has none"):
        inventory.read(path)
