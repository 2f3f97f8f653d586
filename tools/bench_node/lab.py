"""Where nodes run: ports on loopback, or the hosts of the project's lab.

Rules of this file:
- A place gives each member an address and wraps its command; nothing else differs between places.
- Lab hosts are network namespaces: a process in one has the host's network and this machine's
  files, so data stays below the run's temporary directory.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

HOST = "127.0.0.1"
PEER_PORT, CLIENT_PORT = 7000, 7001
_PORTS = (10_000, 32_000)  # below those that the kernel gives to outgoing connections


@dataclass(frozen=True, slots=True)
class Member:
    """A node's name and where it listens. `prefix` is what its command begins with."""

    name: str
    host: str
    peer_port: int
    client_port: int
    prefix: tuple[str, ...] = ()

    @property
    def peer(self) -> str:
        """Where other nodes reach it."""
        return f"{self.host}:{self.peer_port}"

    @property
    def client(self) -> str:
        """Where clients reach it."""
        return f"{self.host}:{self.client_port}"


class Loopback:
    """Every member on 127.0.0.1, with ports that were free a moment ago."""

    title = "loopback (all processes on this machine, no delay added)"

    def members(self, count: int) -> list[Member]:
        """New ones each time."""
        ports = free_ports(2 * count)
        return [
            Member(f"n{i + 1}", HOST, ports[i], ports[count + i]) for i in range(count)
        ]  # fmt: skip


class LabHosts:
    """The hosts of a lab that is up."""

    def __init__(self, instance: int, addresses: Sequence[tuple[str, str]]) -> None:
        self.title = f"lab {instance} (network namespaces on this machine, no delay added)"
        self._instance = instance
        self._addresses = addresses

    def members(self, count: int) -> list[Member]:
        """The first hosts of the lab."""
        from harness.hosts import lab_network

        return [
            Member(
                name, address, PEER_PORT, CLIENT_PORT,
                ("ip", "netns", "exec", lab_network.namespace(self._instance, name)),
            )
            for name, address in self._addresses[:count]
        ]  # fmt: skip


Place = Loopback | LabHosts


@contextmanager
def place(*, in_lab: bool, nodes: int) -> Iterator[Place]:
    """Loopback, or a lab of that many hosts that is taken down at the end."""
    if not in_lab:
        yield Loopback()
        return
    from harness.hosts import lab

    with lab.claim() as instance:
        made = lab.up(nodes=nodes, instance=instance)
        try:
            yield LabHosts(instance, [(host.name, host.address) for host in made.hosts])
        finally:
            lab.down(instance)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens."""
    chance = random.Random(os.urandom(8))
    ports: list[int] = []
    for _ in range(100 * count):
        port = chance.randrange(*_PORTS)
        with socket.socket() as probe:
            if port not in ports and probe.connect_ex((HOST, port)) != 0:
                ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"no {count} free ports between {_PORTS[0]} and {_PORTS[1]}")
