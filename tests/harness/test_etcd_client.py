"""The client of etcd: what each ending of a request is taken to mean."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from checker.history import EventType
from harness.client import Completion
from harness.systems.etcd_client import ERRORS, EtcdClient, outcome_of
from workloads.generator import Invocation

READ = Invocation(f="read", key="k0", thread=0)
WRITE = Invocation(f="write", key="k0", value=4, thread=0)
APPEND = Invocation(f="append", key="k0", value=4, thread=0)

HEADER = {"header": {"revision": "9"}}
NOT_APPLIED = {**HEADER, "responses": [{"response_range": {}}]}

Behaviour = Callable[[socket.socket], None]


class Server:
    """Behaves as it is told, one behaviour for each connection; the last one goes on."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.behaviours: list[Behaviour] = []
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
                number = min(len(self.requests), len(self.behaviours)) - 1
                self.behaviours[number](connection)

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
    return head + b"\r\n\r\n" + body


def answer(body: object, status: str = "200 OK") -> Behaviour:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def behave(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + raw)

    return behave


def error(message: str, status: str = "503 Service Unavailable") -> Behaviour:
    return answer({"error": message, "message": message, "code": 14}, status)


def silence(connection: socket.socket) -> None:
    time.sleep(0.45)


def hang_up(connection: socket.socket) -> None:
    del connection


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def ask(
    server: Server,
    data: str,
    invocation: Invocation,
    *behaviours: Behaviour,
    timeout_s: float = 1.0,
    stale: bool = False,
) -> Completion:
    server.behaviours = list(behaviours)
    client = EtcdClient(node="n1", url=server.url, data=data, timeout_s=timeout_s, stale=stale)
    try:
        return client.invoke(invocation)
    finally:
        client.close()


# How a request may end, by what it is called, and whether it certainly had no effect.
ENDINGS = [
    (error("etcdserver: no leader"), "etcdserver: no leader", True),
    (error("etcdserver: too many requests"), "etcdserver: too many requests", True),
    (error("raft proposal dropped"), "raft proposal dropped", True),
    (error("etcdserver: request timed out"), "etcdserver: request timed out", False),
    (error("etcdserver: server stopped"), "etcdserver: server stopped", False),
    (error("context deadline exceeded"), "context deadline exceeded", False),
    # etcd applies the write that finds the quota used up, and then says this.
    (
        error("etcdserver: mvcc: database space exceeded"),
        "etcdserver: mvcc: database space exceeded",
        False,
    ),
    # Something that the table does not know, and something that is almost in it.
    (error("etcdserver: brand new"), "etcdserver: brand new", False),
    (error("no leader"), "no leader", False),
    (answer({}, "503 Service Unavailable"), "garbled-answer", False),
    (answer({"error": {"code": 1}}), "garbled-answer", False),
    (answer({}), "garbled-answer", False),
    (answer(HEADER, "500 Internal Server Error"), "garbled-answer", False),
    (answer([1]), "garbled-answer", False),
    (answer(b"<html>"), "garbled-answer", False),
    (answer(b"\xff\xfe{}"), "garbled-answer", False),
    (answer(b"Not Found", "404 Not Found"), "garbled-answer", False),
    (hang_up, "connection-lost", False),
    (lambda connection: connection.sendall(b"SSH-2.0-\r\n"), "connection-lost", False),
    (
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        "connection-lost",
        False,
    ),
]


@pytest.mark.parametrize(("behaviour", "code", "definite"), ENDINGS)
def test_every_ending_of_a_write_is_definite_or_doubt(
    server: Server, behaviour: Behaviour, code: str, *, definite: bool
) -> None:
    kind = EventType.FAIL if definite else EventType.INFO
    assert ask(server, "register", WRITE, behaviour) == Completion(kind, 4, code)
    assert len(server.requests) == 1, "a request is sent once"


@pytest.mark.parametrize(("behaviour", "code", "definite"), ENDINGS)
def test_a_read_that_fails_has_changed_nothing(
    server: Server, behaviour: Behaviour, code: str, *, definite: bool
) -> None:
    del definite
    assert ask(server, "register", READ, behaviour) == Completion(EventType.FAIL, None, code)


def test_of_two_requests_only_the_one_that_changes_leaves_doubt(server: Server) -> None:
    looked = ask(server, "list", APPEND, hang_up)
    assert looked == Completion(EventType.FAIL, 4, "connection-lost")
    assert len(server.requests) == 1, "nothing is changed on the strength of no answer"
    swapped = ask(server, "list", APPEND, answer(HEADER), answer(HEADER), hang_up)
    assert swapped == Completion(EventType.INFO, 4, "connection-lost")


def test_all_requests_of_an_operation_share_one_deadline(server: Server) -> None:
    def slowly(connection: socket.socket) -> None:
        time.sleep(0.15)
        answer(NOT_APPLIED)(connection)

    began = time.monotonic()
    completion = ask(server, "list", APPEND, answer(HEADER), slowly, timeout_s=0.5)
    assert time.monotonic() - began < 2
    # Either in the middle of a try, or between two: then it is certain that none had an effect.
    assert (completion.type, completion.error) in {
        (EventType.INFO, "timeout"),
        (EventType.FAIL, "not-sent"),
        (EventType.FAIL, "not-connected"),
    }
    assert 2 < len(server.requests) < 7


def test_silence_ends_at_the_deadline(server: Server) -> None:
    began = time.monotonic()
    completion = ask(server, "register", WRITE, silence, timeout_s=0.3)
    assert completion == Completion(EventType.INFO, 4, "timeout")
    assert time.monotonic() - began < 1


def test_an_answer_that_trickles_in_does_not_hold_the_client(server: Server) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            try:
                connection.sendall(b" " * 20)
            except OSError:
                return
            time.sleep(0.05)

    began = time.monotonic()
    completion = ask(server, "register", WRITE, trickle, timeout_s=0.5)
    assert completion == Completion(EventType.INFO, 4, "timeout")
    assert time.monotonic() - began < 4


def test_a_redirect_is_not_followed(server: Server) -> None:
    def redirect(connection: socket.socket) -> None:
        head = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n"
        connection.sendall(head + b"Content-Length: 0\r\n\r\n")

    assert ask(server, "register", WRITE, redirect).type is EventType.INFO
    assert len(server.requests) == 1


def test_a_refused_connection_has_carried_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = EtcdClient(node="n1", url=f"http://127.0.0.1:{port}", data="register", timeout_s=1)
    assert client.invoke(WRITE) == Completion(EventType.FAIL, 4, "not-connected")
    client.close()


def test_proxies_of_the_environment_are_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ask(server, "register", WRITE, answer(HEADER)) == Completion(EventType.OK, 4)


def test_a_leader_is_asked_for_except_by_reads_that_need_none(server: Server) -> None:
    ask(server, "register", READ, answer(HEADER))
    ask(server, "register", WRITE, answer(HEADER), stale=True)
    ask(server, "register", READ, answer(HEADER), stale=True)
    asked = [b"Grpc-Metadata-hasleader: true" in request for request in server.requests]
    assert asked == [True, True, False]


def test_unknown_codes_are_doubt_where_something_may_have_changed() -> None:
    assert outcome_of("never-heard-of", changes=True) is EventType.INFO
    assert outcome_of("never-heard-of", changes=False) is EventType.FAIL


def test_what_the_client_sees_itself_is_in_the_table() -> None:
    own = {"not-sent", "not-connected", "connection-lost", "timeout", "garbled-answer"}
    assert own <= set(ERRORS)
    assert {code for code in own if ERRORS[code]} == {"not-sent", "not-connected"}
