"""Hosts from a file: what is read, and that every mistake names file and field."""

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.hosts import inventory

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
