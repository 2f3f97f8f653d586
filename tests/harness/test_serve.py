"""`splitbrain serve`: what it serves, what it refuses, and that it holds its bounds."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness import serve, site
from harness.cli import _parser, main
from harness.serve import Server, host_is_ours, open_server
from harness.site import Site, segments

ROOT = Path(__file__).resolve().parents[2]
SECRET = "the secret"
RUN = "register/20261101T000000-1"
OTHER = "register/20261101T010000-2"


def add_run(store: Path, path: str, *, outcome: str = "pass") -> None:
    run = store / path
    (run / "hosts" / "n1").mkdir(parents=True)
    spec = {"system": "raft", "workload": "register", "nemesis": ["kill"], "nodes": 5}
    document = {"outcome": outcome, "reasons": [], "spec": spec, "started_at": "2026-11-01"}
    (run / "outcome.json").write_text(json.dumps(document))
    (run / "history.jsonl").write_text(
        '{"index":0,"time":0,"process":0,"type":"invoke","f":"write","key":"k0","value":1}\n'
        '{"index":1,"time":5000000,"process":0,"type":"ok","f":"write","key":"k0","value":1}\n'
    )
    (run / "report.html").write_text("<!doctype html><title>a report</title>")
    (run / "operations.parquet").write_bytes(b"PAR1")
    (run / "hosts" / "n1" / "node.log").write_text("a line\n")
    (run / "hosts" / "n1" / "report.html").write_text("<script>1</script>")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    (root / "secret.txt").write_text(SECRET)
    store = root / "store"
    add_run(store, RUN)
    add_run(store, OTHER, outcome="violation")
    (store / "register" / "latest").symlink_to("20261101T010000-2")
    (store / "register" / "out").symlink_to(root)
    (store / RUN / "out.txt").symlink_to(root / "secret.txt")
    (store / RUN / ".hidden").write_text(SECRET)
    (store / RUN / "seen.txt").symlink_to(".hidden")
    (store / RUN / "a <script> b.txt").write_text("odd")
    os.mkfifo(store / RUN / "pipe")
    return store


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Server]:
    with open_server(store, host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


class Reply:
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: str) -> None:
        self.status, self.headers, self.body = status, headers, body


def ask(
    server: Server, target: str, *, method: str = "GET", host: str | None = None, body: str = ""
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        # Byte for byte, as an attacker would: no client tidies the path.
        connection.putrequest(method, target, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read().decode())
    finally:
        connection.close()


def send(server: Server, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(raw)
        received = b""
        try:
            while more := connection.recv(65536):
                received += more
        except ConnectionResetError:
            pass
        return received


@pytest.mark.parametrize("target", ["/", "/index.html", "/?anything"])
def test_the_index_lists_every_run(server: Server, target: str) -> None:
    reply = ask(server, target)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f'href="./{RUN}/report.html"' in reply.body
    assert 'data-served="yes"' in reply.body
    assert reply.body.count("data-path=") == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("outcome.json", "application/json"),
        ("history.jsonl", "text/plain; charset=utf-8"),
        ("operations.parquet", "application/vnd.apache.parquet"),
        ("hosts/n1/node.log", "text/plain; charset=utf-8"),
        ("hosts/n1/report.html", "text/plain; charset=utf-8"),
        ("a%20%3Cscript%3E%20b.txt", "text/plain; charset=utf-8"),
    ],
)
def test_files_have_their_types_and_what_a_host_sent_is_never_a_page(
    server: Server, store: Path, name: str, kind: str
) -> None:
    reply = ask(server, f"/{RUN}/{name}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, kind)
    assert reply.body == (store / RUN / unquote(name)).read_text()
    assert int(reply.headers["Content-Length"]) == len(reply.body)


@pytest.mark.parametrize("target", ["/", f"/{RUN}/report.html", f"/{RUN}/outcome.json", "/none"])
def test_every_answer_is_sealed(server: Server, target: str) -> None:
    headers = ask(server, target).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert ("unsafe-inline" in policy) == (target.endswith("report.html"))
    assert ("sandbox" in policy) == (target != "/")
    assert "allow-same-origin" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_latest_leads_to_the_newest_run(server: Server, store: Path) -> None:
    assert (
        ask(server, "/register/latest/outcome.json").body
        == (store / OTHER / "outcome.json").read_text()
    )


ESCAPES = [
    "/../secret.txt",
    f"/{RUN}/../../../secret.txt",
    "/..%2fsecret.txt",
    "/..%2Fsecret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    f"/{RUN}/..",
    f"/{RUN}/./outcome.json",
    f"/{RUN}//outcome.json",
    f"/{RUN}%2foutcome.json",
    f"/{RUN}/outcome.json%00",
    f"/{RUN}/outcome.json%00.html",
    f"/{RUN}/outcome.json/",
    "/register/out/secret.txt",
    f"/{RUN}/out.txt",
    f"/{RUN}/.hidden",
    f"/{RUN}/seen.txt",
    f"/{RUN}/pipe",
    "/%252e%252e/secret.txt",
    "/" + "a" * 5000,
    "/etc/passwd",
    "//etc/passwd",
]


@pytest.mark.parametrize("target", ESCAPES)
def test_no_path_leads_out_of_the_store(server: Server, target: str) -> None:
    reply = ask(server, target)
    assert reply.status == 404
    assert SECRET not in reply.body
    assert "root:" not in reply.body


@pytest.mark.parametrize("escape", ["../secret.txt", "/etc", "register/out", "register/../.."])
def test_no_comparison_leads_out_of_the_store(server: Server, escape: str) -> None:
    reply = ask(server, f"/compare?a={RUN}&b={escape}")
    assert reply.status == 404
    assert SECRET not in reply.body


def test_two_runs_are_compared(server: Server) -> None:
    reply = ask(server, f"/compare?a={RUN}&b=register%2Flatest")
    assert reply.status == 200
    assert "A: ✓ Pass" in reply.body
    assert "B: ✗ Violation" in reply.body
    assert f'href="./{OTHER}/report.html"' in reply.body


@pytest.mark.parametrize("query", ["", "?a=x", f"?a={RUN}&a={RUN}&b={RUN}", "?" + "a=1&" * 20])
def test_a_comparison_needs_two_runs(server: Server, query: str) -> None:
    assert ask(server, f"/compare{query}").status == 400


def test_a_folder_that_holds_no_run_cannot_be_compared(server: Server) -> None:
    reply = ask(server, f"/compare?a={RUN}&b={RUN}/hosts")
    assert reply.status == 404
    assert "not a run's folder" in reply.body


def test_a_folder_lists_its_files(server: Server) -> None:
    moved = ask(server, f"/{RUN}")
    assert (moved.status, moved.headers["Location"]) == (308, f"/{RUN}/")
    reply = ask(server, f"/{RUN}/")
    assert reply.status == 200
    assert 'href="./outcome.json"' in reply.body
    assert 'href="./hosts/"' in reply.body
    assert 'href="./a%20%3Cscript%3E%20b.txt"' in reply.body
    assert ".hidden" not in reply.body
    assert "<script>" not in reply.body


def test_head_is_get_without_the_body(server: Server) -> None:
    for target in ("/", f"/{RUN}/outcome.json", "/none"):
        got, head = (
            send(server, f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            for method in ("GET", "HEAD")
        )
        said, _, body = got.partition(b"\r\n\r\n")
        assert body
        assert f"Content-Length: {len(body)}".encode() in said
        told, _, nothing = head.partition(b"\r\n\r\n")
        assert nothing == b""
        assert undated(told) == undated(said)


def undated(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if not line.startswith(b"Date:")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "BREW"])
def test_nothing_but_get_and_head_is_allowed(server: Server, store: Path, method: str) -> None:
    reply = ask(server, f"/{RUN}/outcome.json", method=method, body="x")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert (store / RUN / "outcome.json").read_text() != "x"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8484", "10.0.0.1", ""])
def test_other_names_are_refused(server: Server, host: str) -> None:
    reply = ask(server, "/", host=host)
    assert reply.status == 421
    assert RUN not in reply.body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1", "127.0.0.1:8484"])
def test_our_own_names_are_served(server: Server, host: str) -> None:
    assert ask(server, "/", host=host).status == 200


@pytest.mark.parametrize(
    ("header", "bound", "ours"),
    [
        ("[::1]:8484", "::1", True),
        ("127.0.0.1", "::1", False),
        ("192.0.2.7:8484", "0.0.0.0", True),
        ("evil.example", "0.0.0.0", False),
        ("localhost", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.8", "192.0.2.7", False),
        ("user@127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1/x", "127.0.0.1", False),
        ("127.0.0.1:x", "127.0.0.1", False),
        ("[::1", "::1", False),
        ("127.0.0.1\t", "127.0.0.1", False),
    ],
)
def test_only_a_name_that_cannot_be_moved_is_ours(header: str, bound: str, *, ours: bool) -> None:
    assert host_is_ours(header, bound=bound) is ours


def test_a_request_needs_exactly_one_host(server: Server) -> None:
    assert b" 400 " in send(server, b"GET / HTTP/1.1\r\n\r\n")
    two = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"
    assert b" 400 " in send(server, two)
    assert b"data-path" not in send(server, b"GET http://evil.example/ HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * serve.LINE_BYTES_MAX + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * serve.HEAD_BYTES_MAX + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
    ],
)
def test_a_request_that_is_too_long_or_none_is_refused(
    server: Server, raw: bytes, status: int
) -> None:
    received = send(server, raw)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"aaaa" not in received
    assert b"nosniff" in received


def test_one_request_a_connection(server: Server) -> None:
    request = b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    assert send(server, request * 2).count(b"HTTP/1.1 ") == 1


def test_whoever_says_nothing_is_let_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "HEAD_SECONDS", 0.2)
    # Without its end, so that only the deadline can end the wait.
    assert send(server, b"GET / HTTP/1.1\r\nHost: loc") == b""


def test_whoever_is_one_too_many_is_told_so(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "CONNECTIONS_MAX", 1)
    with open_server(store, host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as first:
                assert send(server, b"").startswith(b"HTTP/1.1 503 ")
                first.sendall(b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while first.recv(65536):
                    pass
            # There is room again as soon as the first one's thread is done.
            assert any(ask(server, "/none").status == 404 for _ in range(200))
        finally:
            server.shutdown()
            thread.join(10)


def test_the_index_is_kept_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(tmp_path, RUN)
    served = Site(tmp_path)
    before = served.answer("/").body
    add_run(tmp_path, OTHER)
    assert served.answer("/").body == before
    monkeypatch.setattr(site, "INDEX_SECONDS", 0.0)
    served = Site(tmp_path)
    served.answer("/")
    add_run(tmp_path, "queue/20261101T020000-3")
    assert b"queue/20261101T020000-3" in served.answer("/").body


def test_a_store_that_vanishes_is_said(tmp_path: Path) -> None:
    served = Site(tmp_path / "store")
    assert served.answer("/").status == 404


def test_a_quoted_slash_is_never_a_separator() -> None:
    assert segments("/a%20b/%C3%A9/") == ["a b", "é"]
    with pytest.raises(site.Refused):
        segments("/a%2Fb")


def test_unless_told_otherwise_only_this_machine_can_reach_it() -> None:
    options = _parser().parse_args(["serve"])
    assert (options.host, options.port) == ("127.0.0.1", 8484)


def test_mistakes_end_in_one_line(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["serve", "--store", str(tmp_path)]
    for arguments, said in (
        (["serve", "--store", "/nowhere"], "/nowhere: there is no such folder"),
        ([*there, "--port", "70000"], "port is 70000, but must be from 0"),
        ([*there, "--port", str(server.server_port)], "is in use; choose another --port"),
        ([*there, "--host", "192.0.2.1"], "192.0.2.1, port 8484: cannot be bound"),
        ([*there, "--host", "no such host"], "no such host, port 8484: cannot be bound"),
    ):
        assert main(arguments) == 2
        told = capsys.readouterr()
        assert said in told.err
        assert told.err.count("\n") == 1


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_ctrl_c_ends_it_well_and_an_open_address_is_warned_of(
    store: Path, host: str, *, warned: bool
) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "harness.cli",
            "serve",
            f"--store={store}",
            f"--host={host}",
            "--port=0",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"is at http://{host}:" in line
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert ("can be reached from other machines" in complaints) == warned
    assert "Traceback" not in complaints
