"""What an OpenSSH configuration says of a name: where the host is, who to be there, and the way to it.

Rules of this file:
- The file is read as OpenSSH reads it (paramiko does that); of what it says we follow HostName, User,
  Port, IdentityFile, UserKnownHostsFile, ProxyJump and ProxyCommand, and nothing else.
- What OpenSSH would take from the user's home when nothing is said, we take too.
- Jumps may be chained, up to a bound; a chain that bites its tail is an error.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paramiko

from harness.errors import UsageError

_JUMPS_MAX: Final = 8
_KEYS: Final = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A host as the configuration has it. A file that it does not name, or that is not there, is None.

    `jumps` are the names to go through, the first one first.
    """

    address: str
    port: int
    user: str
    key: Path | None
    known_hosts: Path | None
    jumps: tuple[str, ...]
    proxy_command: str


class SshConfig:
    """A configuration file, read once."""

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` if it cannot be read."""
        self.path = path
        try:
            self._config: paramiko.SSHConfig = paramiko.SSHConfig.from_path(str(path))
        except OSError as error:
            raise UsageError(f"{path}: cannot read the ssh_config: {error.strerror}") from None
        except (paramiko.SSHException, UnicodeDecodeError, ValueError) as error:
            raise UsageError(f"{path}: not an OpenSSH configuration: {error}") from None

    def look_up(self, name: str) -> Entry:
        """Return what it says of a name, which may be ``user@name:port`` as in ProxyJump."""
        wanted_user, alias, wanted_port = split_target(name)
        try:
            said: Mapping[str, Any] = self._config.lookup(alias)
        except (paramiko.SSHException, ImportError, OSError) as error:  # of a `Match`, too
            raise UsageError(f"{self.path}: {alias}: {error}") from None
        port = wanted_port or str(said.get("port", "22"))
        if not port.isdigit() or not 1 <= int(port) <= 65535:
            raise UsageError(f"{self.path}: {alias}: Port must be 1 to 65535, not {port}")
        jump = str(said.get("proxyjump", "none"))
        # paramiko says None where the file says "none".
        command = str(said.get("proxycommand") or "")
        return Entry(
            address=str(said["hostname"]),
            port=int(port),
            user=wanted_user or str(said.get("user") or getpass.getuser()),
            key=_first_file(said.get("identityfile", _KEYS)),
            known_hosts=_first_file(
                str(said.get("userknownhostsfile", "")).split() or _KNOWN_HOSTS
            ),
            jumps=() if jump == "none" else tuple(part.strip() for part in jump.split(",")),
            proxy_command="" if command == "none" else command,
        )

    def way(self, name: str) -> list[str]:
        """Return the names to go through to a host, the first one first, jumps of jumps included."""
        way: list[str] = []
        self._extend(way, name, seen=())
        return way

    def _extend(self, way: list[str], name: str, *, seen: tuple[str, ...]) -> None:
        if name in seen:
            raise UsageError(f"{self.path}: ProxyJump goes round in circles: {' -> '.join(seen)}")
        jumps = self.look_up(name).jumps
        for number, jump in enumerate(jumps):
            # Of those after the first, the way is given by the one before.
            if number == 0:
                self._extend(way, jump, seen=(*seen, name))
            way.append(jump)
            if len(way) > _JUMPS_MAX:
                raise UsageError(f"{self.path}: {name}: more than {_JUMPS_MAX} jumps")


def split_target(text: str) -> tuple[str, str, str]:
    """Return user, name and port of ``[user@]name[:port]``; what is not there is empty."""
    user, _, rest = text.rpartition("@")
    if rest.startswith("["):  # an IPv6 address in brackets
        name, _, port = rest[1:].partition("]")
        return user, name, port.removeprefix(":")
    if rest.count(":") == 1:
        name, _, port = rest.partition(":")
        return user, name, port
    return user, rest, ""


def _first_file(names: Sequence[str]) -> Path | None:
    paths = [Path(name).expanduser() for name in names]
    return next((path for path in paths if path.is_file()), None)
