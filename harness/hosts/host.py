"""What is known of a host before anybody has spoken to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """How to reach one host over SSH.

    `name` is what people call it in specs and reports ("n1"); `address` an IP address or a name
    that the controller can resolve. Only the key in `key_path` is offered, and only host keys
    listed in `known_hosts_path` are accepted. `own_clock` says that the host's clock is its own and
    may be set: true of machines, virtual ones too, and never of what shares a kernel with others.
    """

    name: str
    address: str
    port: int = 22
    user: str = "root"
    key_path: Path
    known_hosts_path: Path
    own_clock: bool = False
