"""Hosts from a TOML file, for those who have machines of their own.

    [[host]]
    name = "n1"
    address = "192.0.2.11"
    key = "keys/id_ed25519"            # beside this file, or absolute, or ~/...
    known_hosts = "known_hosts"
    port = 22                          # these three may be left out
    user = "root"
    own_clock = false                  # true: a machine of its own, whose clock may be set

Rules of this file:
- A mistake is a `UsageError` that names the file, the host and the field.
- Paths are relative to the inventory file, so that it can be used from anywhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.errors import UsageError
from harness.hosts.host import HostAddress

_REQUIRED: Final = ("name", "address", "key", "known_hosts")
_OPTIONAL: Final[Mapping[str, type]] = {"port": int, "user": str, "own_clock": bool}
_WANTED: Final = {int: "a number", str: "a text that is not empty", bool: "true or false"}


def read(path: Path) -> tuple[HostAddress, ...]:
    """Return the hosts of an inventory file, in its order."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: cannot read the inventory: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None
    unknown = sorted(set(content) - {"host"})
    if unknown:
        raise UsageError(f"{path}: unknown table {unknown[0]!r}; hosts are listed as [[host]]")
    entries = content.get("host")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path}: lists no hosts; each one is a [[host]] table")
    hosts = tuple(_host(path, number, entry) for number, entry in enumerate(entries, start=1))
    for field in ("name", "address"):
        _refuse_twins(path, field, [(getattr(host, field), host.port) for host in hosts])
    return hosts


def _host(path: Path, number: int, entry: object) -> HostAddress:
    where = f"{path}: host {number}"
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is not a [[host]] table")
    fields: dict[str, Any] = entry
    for name, value in fields.items():
        kind = str if name in _REQUIRED else _OPTIONAL.get(name)
        if kind is None:
            known = ", ".join((*_REQUIRED, *_OPTIONAL))
            raise UsageError(f"{where}: unknown field {name!r}; there are {known}")
        if type(value) is not kind or value == "":
            raise UsageError(f"{where}: {name} must be {_WANTED[kind]}, not {value!r}")
    for name in _REQUIRED:
        if name not in fields:
            raise UsageError(f"{where}: {name} is missing")
    port = fields.get("port", 22)
    if not 1 <= port <= 65535:
        raise UsageError(f"{where}: port must be 1 to 65535, not {port}")
    return HostAddress(
        name=fields["name"],
        address=fields["address"],
        port=port,
        user=fields.get("user", "root"),
        key_path=_file(path, where, "key", fields["key"]),
        known_hosts_path=_file(path, where, "known_hosts", fields["known_hosts"]),
        own_clock=fields.get("own_clock", False),
    )


def _file(path: Path, where: str, field: str, text: str) -> Path:
    found = path.parent / Path(text).expanduser()
    if not found.is_file():
        raise UsageError(f"{where}: {field}: there is no file {found}")
    return found


def _refuse_twins(path: Path, field: str, values: list[tuple[str, int]]) -> None:
    # Two hosts may share an address if their ports differ; a name belongs to one host.
    keys = [value if field == "address" else value[0] for value in values]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise UsageError(
                f"{path}: host {index + 1}: {field} {values[index][0]!r} is used twice"
            )
