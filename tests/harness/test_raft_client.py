"""The client of our node: what each ending of a request is taken to mean."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checker.history import EventType
from harness.client import Completion
from harness.systems.raft_client import RaftClient
from harness.systems.raft_errors import ERRORS, REPEATED, SESSION_LOST, outcome_of
from workloads.generator import Invocation

READ = Invocation(f="read", key="k0", thread=0)
WRITE = Invocation(f="write", key="k0", value=4, thread=0)
CAS = Invocation(f="cas", key="k0", value=[4, 5], thread=0)

Behaviour = Callable[[socket.socket], None]


class Server:
    """Accepts connections, reads one request from each, and then behaves as it is told."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.behaviour: Behaviour = lambda connection: None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                self.requests.append(_request(connection))
                self.behaviour(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert found is not None
    while len(body) < int(found[1]):
        body += connection.recv(65536)
    return body


def answer(status: str, body: object) -> Behaviour:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def behave(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + raw)

    return behave


def error(code: str, *, definite: object) -> Behaviour:
    document = {"ok": False, "error": {"code": code, "definite": definite, "message": "m"}}
    return answer("503 Service Unavailable", document)


def ok(value: object) -> Behaviour:
    return answer("200 OK", {"ok": True, "value": value, "index": 1, "term": 1, "node": "n1"})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def client_of(url: str, *, timeout_s: float = 1.0, reads: str = "linear") -> RaftClient:
    return RaftClient(node="n1", urls=[url], data="register", timeout_s=timeout_s, reads=reads)


def ask(server: Server, invocation: Invocation, *, timeout_s: float = 1.0) -> Completion:
    client = client_of(server.url, timeout_s=timeout_s)
    try:
        return client.invoke(invocation)
    finally:
        client.close()


def test_what_is_asked_and_what_is_answered(server: Server) -> None:
    server.behaviour = ok(7)
    assert ask(server, READ) == Completion(EventType.OK, 7)
    server.behaviour = ok(4)
    assert ask(server, WRITE) == Completion(EventType.OK, 4)
    server.behaviour = ok(5)
    assert ask(server, CAS) == Completion(EventType.OK, [4, 5])
    assert [json.loads(body) for body in server.requests] == [
        {"op": "read", "key": "k0"},
        {"op": "write", "key": "k0", "value": 4},
        {"op": "cas", "key": "k0", "from": 4, "to": 5},
    ]


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        (error("no-leader", definite=True), EventType.FAIL, "no-leader"),
        (error("precondition-failed", definite=True), EventType.FAIL, "precondition-failed"),
        (error("outcome-unknown", definite=False), EventType.INFO, "outcome-unknown"),
        # A node that disagrees with the table, or says something new: doubt.
        (error("no-leader", definite=False), EventType.INFO, "no-leader"),
        (error("outcome-unknown", definite=True), EventType.INFO, "outcome-unknown"),
        (error("brand-new", definite=True), EventType.INFO, "brand-new"),
        (error("no-leader", definite=None), EventType.INFO, "no-leader"),
        (error("no-leader", definite=1), EventType.INFO, "no-leader"),
        # The acknowledgement of somebody else's write.
        (ok(99), EventType.INFO, "garbled-answer"),
        (ok(True), EventType.INFO, "garbled-answer"),
        (answer("200 OK", b"<html>"), EventType.INFO, "garbled-answer"),
        (answer("200 OK", {"ok": True}), EventType.INFO, "garbled-answer"),
        (answer("500 Internal Server Error", {}), EventType.INFO, "garbled-answer"),
        (answer("503 Service Unavailable", [1]), EventType.INFO, "garbled-answer"),
        (answer("200 OK", b"\xff\xfe{}"), EventType.INFO, "garbled-answer"),
        (lambda connection: None, EventType.INFO, "connection-lost"),
        (lambda connection: connection.sendall(b"SSH-2.0-\r\n"), EventType.INFO, "connection-lost"),
        (
            lambda connection: connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"
            ),
            EventType.INFO,
            "connection-lost",
        ),
    ],
)
def test_every_ending_is_definite_or_doubt(
    server: Server, behaviour: Behaviour, kind: EventType, code: str
) -> None:
    server.behaviour = behaviour
    assert ask(server, WRITE) == Completion(kind, 4, code)
    assert len(server.requests) == 1, "a request is sent once"


def test_a_redirect_is_not_followed(server: Server) -> None:
    def redirect(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
        )

    server.behaviour = redirect
    assert ask(server, WRITE).type is EventType.INFO
    assert len(server.requests) == 1


def test_silence_ends_at_the_deadline(server: Server) -> None:
    server.behaviour = lambda connection: time.sleep(1)
    began = time.monotonic()
    assert ask(server, WRITE, timeout_s=0.4) == Completion(EventType.INFO, 4, "timeout")
    assert time.monotonic() - began < 1


def test_an_answer_that_trickles_in_does_not_hold_the_client(server: Server) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(200):
            try:
                connection.sendall(b" " * 20)
            except OSError:
                return
            time.sleep(0.05)

    server.behaviour = trickle
    began = time.monotonic()
    assert ask(server, WRITE, timeout_s=0.5) == Completion(EventType.INFO, 4, "timeout")
    assert time.monotonic() - began < 5


def test_a_refused_connection_has_carried_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = client_of(f"http://127.0.0.1:{port}")
    assert client.invoke(WRITE) == Completion(EventType.FAIL, 4, "not-connected")
    client.close()


def test_proxies_of_the_environment_are_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.behaviour = ok(1)
    assert ask(server, READ).type is EventType.OK


def test_the_table_is_that_of_the_protocol() -> None:
    text = (Path(__file__).parents[2] / "node" / "PROTOCOL.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| \d{3} \| (true|false) \|", text, re.MULTILINE)
    documented = {code: definite == "true" for code, definite in rows}
    assert len(documented) >= 10
    own = {"no-session", "not-connected", "connection-lost", "timeout", "garbled-answer"}
    assert {code: definite for code, definite in ERRORS.items() if code not in own} == documented


def test_what_is_said_of_codes_is_said_of_codes_there_are() -> None:
    assert set(ERRORS) >= REPEATED | SESSION_LOST
    assert not REPEATED & SESSION_LOST


def test_the_mode_of_reads_is_said_where_it_is_not_the_usual_one(server: Server) -> None:
    server.behaviour = ok(4)
    client = client_of(server.url, reads="stale")
    client.invoke(READ)
    client.invoke(WRITE)
    client.close()
    assert [json.loads(body) for body in server.requests] == [
        {"op": "read", "key": "k0", "mode": "stale"},
        {"op": "write", "key": "k0", "value": 4},
    ]


def test_unknown_codes_are_doubt() -> None:
    assert outcome_of("never-heard-of") is EventType.INFO
