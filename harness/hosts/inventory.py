"""Hosts from a TOML file, for those who have machines of their own.

    ssh_config = "~/.ssh/config"       # may be left out; see below

    [[host]]
    name = "n1"
    address = "192.0.2.11"             # what nodes and clients use
    key = "keys/id_ed25519"            # beside this file, or absolute, or ~/...
    known_hosts = "known_hosts"
    port = 22                          # these may be left out
    user = "root"
    other_addresses = ["2001:db8::11"] # cut as well by partitions; --ip chooses among all
    sudo = false                       # true: the user becomes root by `sudo -n`
    own_clock = false                  # true: a machine of its own, whose clock may be set
    home = "/srv/splitbrain"           # the folder that everything is done in
    jump = "gate"                      # SSH goes through this [[jump]]

    [[jump]]                           # the same fields, but for sudo, home and own_clock
    name = "gate"
    address = "192.0.2.1"
    key = "keys/id_ed25519"
    known_hosts = "known_hosts"

    [[host]]
    name = "n2"
    ssh = "db2"                        # a Host of the ssh_config: it says what is not said here

Rules of this file:
- A mistake is a `UsageError` that names the file, the host and the field.
- Paths are relative to the inventory file, so that it can be used from anywhere.
- Nodes and packet filters know hosts by IP address: a name is looked up once, here.
"""

from __future__ import annotations

import ipaddress
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.hosts.host import HOME, HostAddress, version_of

if TYPE_CHECKING:
    from harness.hosts.ssh_config import Entry, SshConfig

_REQUIRED: Final = ("name", "address", "key", "known_hosts")
_FIELDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(_REQUIRED, str),
    "port": int,
    "user": str,
    "ssh": str,
    "jump": str,
    "sudo": bool,
    "home": str,
    "other_addresses": list,
    "own_clock": bool,
}
_KINDS: Final = {
    int: "a number",
    str: "a text that is not empty",
    bool: "true or false",
    list: "a list of IP addresses",
}
_HOSTS_ONLY: Final = ("sudo", "home", "other_addresses", "own_clock")


def read(path: Path) -> tuple[HostAddress, ...]:
    """Return the hosts of an inventory file, in its order."""
    content = _content(path)
    config = None
    if "ssh_config" in content:
        if not isinstance(content["ssh_config"], str):
            raise UsageError(f"{path}: ssh_config must be the name of a file")
        from harness.hosts.ssh_config import SshConfig  # heavy: only who has one pays for it

        config = SshConfig(path.parent / Path(content["ssh_config"]).expanduser())
    reader = _Reader(path, config)
    reader.read_jumps(content.get("jump", []))
    entries = content.get("host")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path}: lists no hosts; each one is a [[host]] table")
    hosts = tuple(reader.host(number, entry) for number, entry in enumerate(entries, start=1))
    _refuse_twins(path, "name", [host.name for host in hosts])
    _refuse_twins(path, "address", [host.address for host in hosts], [host.port for host in hosts])
    return hosts


def _content(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: cannot read the inventory: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None
    unknown = sorted(set(content) - {"host", "jump", "ssh_config"})
    if unknown:
        raise UsageError(f"{path}: unknown table {unknown[0]!r}; hosts are listed as [[host]]")
    return content


class _Reader:
    """Makes hosts of tables, with what the ssh_config says and through the jumps there are."""

    def __init__(self, path: Path, config: SshConfig | None) -> None:
        self._path, self._config = path, config
        self._jumps: dict[str, HostAddress] = {}

    def read_jumps(self, entries: object) -> None:
        """Read the [[jump]] tables; one may go through those before it."""
        if not isinstance(entries, list):
            raise UsageError(f"{self._path}: jump hosts are listed as [[jump]]")
        for number, entry in enumerate(entries, start=1):
            where = f"{self._path}: jump {number}"
            one = self._one(where, entry, refused=_HOSTS_ONLY)
            if one.name in self._jumps:
                raise UsageError(f"{where}: name {one.name!r} is used twice")
            self._jumps[one.name] = one

    def host(self, number: int, entry: object) -> HostAddress:
        """Read one [[host]] table."""
        where = f"{self._path}: host {number}"
        one = self._one(where, entry)
        return replace(one, address=_resolved(where, one.address), ssh_address=one.ssh_name)

    def _one(self, where: str, entry: object, *, refused: tuple[str, ...] = ()) -> HostAddress:
        fields = _checked(where, entry, refused)
        said = self._said(where, fields)
        name, jump = fields["name"], None
        if "jump" in fields:
            jump = self._jumps.get(fields["jump"])
            if jump is None:
                known = ", ".join(self._jumps) or "none"
                raise UsageError(
                    f"{where}: jump: there is no [[jump]] {fields['jump']!r}; there are: {known}"
                )
        elif said is not None and said.jumps:
            jump = self._configured_way(where, fields["ssh"])
        address = fields["address"]
        return HostAddress(
            name=name,
            address=address,
            ssh_address=said.address if said is not None else "",
            port=fields["port"],
            user=fields["user"],
            key_path=self._file(where, "key", fields["key"]),
            known_hosts_path=self._file(where, "known_hosts", fields["known_hosts"]),
            jump=jump,
            proxy_command=said.proxy_command if said is not None and jump is None else "",
            sudo=fields.get("sudo", False),
            home=fields.get("home", HOME).rstrip("/"),
            other_addresses=tuple(fields.get("other_addresses", ())),
            own_clock=fields.get("own_clock", False),
        )

    def _said(self, where: str, fields: dict[str, Any]) -> Entry | None:
        """Fill in what is not said from the ssh_config, if a host is one of its names."""
        said = None
        if "ssh" in fields:
            if self._config is None:
                raise UsageError(f"{where}: ssh needs the file: ssh_config = ... above the hosts")
            said = self._config.look_up(fields["ssh"])
            for name, value in _values(said).items():
                fields.setdefault(name, value)
        fields.setdefault("port", 22)
        fields.setdefault("user", "root")
        for name in _REQUIRED:
            if fields.get(name) is None:
                hint = "" if said is None else f", and {self._config_path} has none that is there"
                raise UsageError(f"{where}: {name} is missing{hint}")
        return said

    @property
    def _config_path(self) -> Path:
        assert self._config is not None
        return self._config.path

    def _configured_way(self, where: str, name: str) -> HostAddress | None:
        """Return the last of the jump hosts to a name; it goes through those before it."""
        assert self._config is not None
        last: HostAddress | None = None
        for jump in self._config.way(name):
            said = self._config.look_up(jump)
            missing = [field for field in ("key", "known_hosts") if _values(said)[field] is None]
            if missing:
                raise UsageError(
                    f"{where}: {self._config_path} has no {missing[0]} that is there for {jump}"
                )
            assert said.key is not None
            assert said.known_hosts is not None
            last = HostAddress(
                name=jump,
                address=said.address,
                port=said.port,
                user=said.user,
                key_path=said.key,
                known_hosts_path=said.known_hosts,
                jump=last,
                proxy_command=said.proxy_command if last is None else "",
            )
        return last

    def _file(self, where: str, field: str, text: str) -> Path:
        found = self._path.parent / Path(text).expanduser()
        if not found.is_file():
            raise UsageError(f"{where}: {field}: there is no file {found}")
        return found


def _checked(where: str, entry: object, refused: tuple[str, ...]) -> dict[str, Any]:
    """Return a table's fields, each known and of the right kind."""
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is not a table, such as [[host]]")
    for name, value in entry.items():
        kind = _FIELDS.get(name)
        if kind is None or name in refused:
            known = ", ".join(field for field in _FIELDS if field not in refused)
            raise UsageError(f"{where}: unknown field {name!r}; there are {known}")
        if type(value) is not kind or value == "":
            raise UsageError(f"{where}: {name} must be {_KINDS[kind]}, not {value!r}")
    if "name" not in entry:
        raise UsageError(f"{where}: name is missing")
    if not 1 <= entry.get("port", 22) <= 65535:
        raise UsageError(f"{where}: port must be 1 to 65535, not {entry['port']}")
    if not entry.get("home", HOME).startswith("/"):
        raise UsageError(f"{where}: home must be an absolute path, not {entry['home']!r}")
    for address in entry.get("other_addresses", []):
        if not isinstance(address, str) or version_of(address) is None:
            raise UsageError(f"{where}: other_addresses: {address!r} is not an IP address")
    return dict(entry)


def _values(said: Entry) -> dict[str, Any]:
    """Return what a configuration says as fields of ours."""
    return {
        "address": said.address,
        "port": said.port,
        "user": said.user,
        "key": None if said.key is None else str(said.key.absolute()),
        "known_hosts": None if said.known_hosts is None else str(said.known_hosts.absolute()),
    }


def _resolved(where: str, address: str) -> str:
    """Return the IP address that a name stands for."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(
            f"{where}: address {address!r} cannot be looked up ({error.strerror or error}); "
            "give the IP address that nodes and clients use"
        ) from None
    return str(found[0][4][0])


def _refuse_twins(
    path: Path, field: str, values: list[str], ports: list[int] | None = None
) -> None:
    # Two hosts may share an address if their ports differ; a name belongs to one host.
    keys = list(zip(values, ports or [0] * len(values), strict=True))
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise UsageError(f"{path}: host {index + 1}: {field} {values[index]!r} is used twice")
