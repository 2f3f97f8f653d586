"""What is known of a host before anybody has spoken to it.

Rules of this file:
- A host may have several addresses. One is used for everything, and a partition cuts them all, so
  that nothing gets past it by another way.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.errors import UsageError

HOME: Final = "/srv/splitbrain"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """How to reach one host over SSH.

    `name` is what people call it in specs and reports ("n1"); `address` is what nodes and clients
    use, an IP address. `ssh_address` is what SSH connects to and what `known_hosts_path` knows it
    by, if that is another. Only the key in `key_path` is offered, and only host keys listed in
    `known_hosts_path` are accepted. `other_addresses` are IP addresses that it has besides.

    SSH goes through `jump`, if there is one, or through the standard streams of `proxy_command`.
    With `sudo` the user becomes root for all that is done there; `home` is the folder that it is
    done in.

    `own_clock` says that the host's clock is its own and may be set: true of machines, virtual ones
    too, and never of what shares a kernel with others.
    """

    name: str
    address: str
    port: int = 22
    user: str = "root"
    key_path: Path
    known_hosts_path: Path
    own_clock: bool = False
    ssh_address: str = ""
    jump: HostAddress | None = None
    proxy_command: str = ""
    sudo: bool = False
    home: str = HOME
    other_addresses: tuple[str, ...] = ()

    @property
    def ssh_name(self) -> str:
        """What SSH connects to."""
        return self.ssh_address or self.address

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return all addresses, the one in use first."""
        return (self.address, *self.other_addresses)

    def over(self, version: int) -> HostAddress:
        """Return the same host with an address of this IP version in use.

        Raises `UsageError` if it is known to have none.
        """
        for address in self.addresses:
            if version_of(address) == version:
                others = tuple(one for one in self.addresses if one != address)
                return replace(self, address=address, other_addresses=others)
        raise UsageError(
            f"host {self.name} has no IPv{version} address, only {', '.join(self.addresses)}"
        )


def version_of(address: str) -> int | None:
    """Return an address's IP version; None for a name, which may turn out to be either."""
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return None
