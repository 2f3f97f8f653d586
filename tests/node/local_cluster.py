"""A cluster of real processes on 127.0.0.1, for tests of what the node promises from outside.

Rules of this file: every wait has a limit, and whatever was started is killed at the end.
"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

WAIT_S = 20.0
T = TypeVar("T")


def free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives to outgoing connections.

    A node that dials a member that is down could otherwise be given that member's port.
    """
    chance = random.Random(os.urandom(8))
    ports: list[int] = []
    while len(ports) < count:
        port = chance.randrange(10_000, 32_000)
        with socket.socket() as probe:
            if port not in ports and probe.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
    return ports


def until(condition: Callable[[], T], what: str, limit_s: float = WAIT_S) -> T:
    """Ask again and again until the answer is true."""
    end_s = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < end_s, f"no {what} within {limit_s} s"
        time.sleep(0.02)
    return result


class LocalCluster:
    """Nodes by name."""

    def __init__(
        self,
        directory: Path,
        command: Iterable[str] = (),
        size: int = 3,
        options: Iterable[str] = (),
    ) -> None:
        self.directory = directory
        self.options = [*options]
        self.command = [*(command or (sys.executable, "-m", "node"))]
        self.names = [f"n{i}" for i in range(1, size + 1)]
        ports = free_ports(2 * size)
        self.peers = dict(zip(self.names, ports[:size], strict=True))
        self.clients = dict(zip(self.names, ports[size:], strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for name in self.names:
            self.start(name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def members(self, names: Iterable[str]) -> list[str]:
        addresses: list[str] = []
        for member in names:
            addresses += ["--peer", f"{member}=127.0.0.1:{self.peers[member]}"]
            addresses += ["--client", f"{member}=127.0.0.1:{self.clients[member]}"]
        return addresses

    def init(self, name: str, *, join: bool = False) -> None:
        """Make a node's data directory, if it has none."""
        data = self.directory / name
        if (data / "identity").exists():
            return
        members = self.members([name] if join else self.names)
        options = ["--data", str(data), "--name", name, "--cluster", "test", *members]
        if join:
            options.append("--join")
        subprocess.run([*self.command, "init", *options], check=True, timeout=WAIT_S)

    def start(self, name: str, *extra: str, join: bool = False) -> None:
        self.init(name, join=join)
        options = ["--data", str(self.directory / name), "--request-timeout-ms", "2000"]
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.command, "run", *options, *self.options, *extra], stderr=log
            )
        until(lambda: self.listens(name) or self.processes[name].poll() is not None, "start")

    def listens(self, name: str) -> bool:
        """Can it be connected to?"""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.clients[name])) == 0

    def add(self, name: str, *extra: str) -> None:
        """Start a node that is to join; the cluster has to be told of it."""
        self.peers[name], self.clients[name] = free_ports(2)
        self.start(name, *extra, join=True)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def request(self, name: str, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.clients[name], timeout=6)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def call(self, name: str, **operation: Any) -> tuple[int, Any]:
        return self.request(name, "POST", "/v1/kv", json.dumps(operation).encode())

    def admin(self, node: str, /, **request: Any) -> tuple[int, Any]:
        return self.request(node, "POST", "/v1/admin", json.dumps(request).encode())

    def status(self, name: str) -> Any:
        return self.request(name, "GET", "/status")[1]

    def try_call(self, name: str, **operation: Any) -> Any:
        """The answer if it was a success."""
        try:
            status, answer = self.call(name, **operation)
        except (OSError, http.client.HTTPException):
            return None
        return answer if status == 200 else None

    def write(self, name: str, key: str, value: Any) -> Any:
        """Write until it succeeds."""
        return until(lambda: self.try_call(name, op="write", key=key, value=value), "write")

    def read(self, name: str, key: str) -> Any:
        """Read until it succeeds."""
        return until(lambda: self.try_call(name, op="read", key=key), "read")["value"]

    def leader(self, among: Iterable[str] = ()) -> str:
        """The leader that all these nodes agree on."""
        names = [*(among or self.names)]

        def agreed() -> str | None:
            try:
                leaders = {self.status(name)["leader"] for name in names}
            except (OSError, http.client.HTTPException):
                return None
            return leaders.pop() if len(leaders) == 1 else None

        return until(lambda: leader if (leader := agreed()) in names else None, "leader") or ""
