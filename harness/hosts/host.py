"""What is known of a host before anybody has spoken to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOME: Final = "/srv/splitbrain"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """How to reach one host over SSH.

    `name` is what people call it in specs and reports ("n1"); `address` is what nodes and clients
    use, an IP address. `ssh_address` is what SSH connects to and what `known_hosts_path` knows it
    by, if that is another. Only the key in `key_path` is offered, and only host keys listed in
    `known_hosts_path` are accepted.

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

    @property
    def ssh_name(self) -> str:
        """What SSH connects to."""
        return self.ssh_address or self.address
