"""The example of docs/own-system.md, its processes on this machine: heard over either IP version."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checker.history import EventType
from harness.client import Client
from harness.hosts import lab_network
from harness.spec import Spec
from harness.systems import kind_of
from splitbrain import endpoint
from workloads.generator import Invocation

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
TIMEOUT_S = 20.0


def two_free_ports() -> tuple[int, int]:
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def start() -> Iterator[Callable[[list[str]], None]]:
    started: list[subprocess.Popen[bytes]] = []

    def one_more(command: list[str]) -> None:
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    yield one_more
    for process in started:
        process.kill()
        process.wait(TIMEOUT_S)


def await_answer(client: Client, asked: Invocation, value: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        answer = client.invoke(asked)
        if (answer.type, answer.value) == (EventType.OK, value):
            return
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_store_is_reached_and_hands_on_over_either_ip_version(
    address: str,
    start: Callable[[list[str]], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if address == "::1" and (why := lab_network.why_no_ipv6()):
        pytest.skip(why)
    kind = kind_of(str(EXAMPLES / "naive_system.py"))
    example = sys.modules[kind.make.__module__]
    ports = two_free_ports()
    clients = []
    for own, other in (ports, ports[::-1]):
        monkeypatch.setattr(example, "PORT", own)  # two on one machine
        system = kind.make(Spec(), {"n1": address}, tmp_path)
        start([*system.command("n1", str(EXAMPLES)), f"http://{endpoint(address, other)}"])
        clients.append(system.client("n1", "register", timeout_s=1.0))
    first, second = clients
    await_answer(second, Invocation(f="read", key="k0", thread=0), None)
    await_answer(first, Invocation(f="write", key="k0", value=7, thread=0), 7)
    await_answer(second, Invocation(f="read", key="k0", thread=0), 7)
    for client in clients:
        client.close()
