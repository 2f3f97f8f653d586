"""`splitbrain serve`: a store in a browser, on this machine.

Rules of this file:
- It only reads: GET and HEAD, no body is ever looked at, one request a connection.
- Everything is bounded: the request's size and time, the time of an answer, the connections at
  once. Whoever is one too many is told so.
- A page elsewhere must not read the store by giving this address a name of its own (DNS
  rebinding): the Host header has to be a name of ours.
- What it answers is decided in `harness/site.py`.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.site import Answer, Site, plain

log = logging.getLogger("harness")

HOST: Final = "127.0.0.1"
PORT: Final = 8484
CONNECTIONS_MAX: Final = 32
LINE_BYTES_MAX: Final = 8 * 1024
HEAD_BYTES_MAX: Final = 32 * 1024
HEAD_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 300.0
_SEND_SECONDS: Final = 10.0
_CHUNK_BYTES: Final = 256 * 1024
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def serve(
    store: Path,
    *,
    host: str,
    port: int,
    say: Callable[[str], None],
    complain: Callable[[str], None],
) -> int:
    """Serve a store until Ctrl-C; return the exit code. Raises `UsageError`."""
    if not store.is_dir():
        raise UsageError(
            f"{store}: there is no such folder; name the store that runs are kept in with --store"
        )
    with (
        contextlib.suppress(KeyboardInterrupt),
        open_server(store, host=host, port=port) as server,
    ):
        if not server.is_loopback:
            complain(
                f"{server.url} can be reached from other machines: whoever reaches it can read "
                "every run; there is no password"
            )
        say(f"{store} is at {server.url} (Ctrl-C ends this)")
        server.serve_forever()
    return 0


def open_server(store: Path, *, host: str, port: int) -> Server:
    """Bind a server. Raises `UsageError` naming the address when that does not work."""
    if not 0 <= port < 2**16:
        raise UsageError(f"port is {port}, but must be from 0 (any that is free) to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return Server(Site(store), family, str(address[0]), port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} of {host} is in use; choose another --port, or 0 for any that is free"
            ) from None
        raise UsageError(f"{host}, port {port}: cannot be bound ({error.strerror})") from None


def host_is_ours(header: str, *, bound: str) -> bool:
    """Return whether a Host header names us: `localhost` or the bound address.

    Bound to every address, any address will do: only a name can be made to point somewhere else.
    The port does not matter, it may have been forwarded.
    """
    try:
        split = urlsplit(f"//{header}")
        name, _ = split.hostname, split.port
    except ValueError:
        return False
    if name is None or split.netloc != header or "@" in header:
        return False
    if name == "localhost":
        return True
    try:
        named, ours = ipaddress.ip_address(name), ipaddress.ip_address(bound)
    except ValueError:
        return False
    return named == ours or ours.is_unspecified


class Server(ThreadingHTTPServer):
    """The server of one store."""

    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, site: Site, family: int, address: str, port: int) -> None:
        self.site = site
        self.bound = address
        self.address_family = socket.AddressFamily(family)
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__((address, port), Handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name as `HTTPServer` would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.bound, int(self.server_address[1])

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.bound).is_loopback

    @property
    def url(self) -> str:
        """Its address, to be typed into a browser."""
        name = f"[{self.bound}]" if ":" in self.bound else self.bound
        return f"http://{name}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection to a thread, if there may be one more."""
        if not self._slots.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.settimeout(0.1)
                request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error; anything else is ours."""
        del request, client_address
        log.exception("a request could not be answered")


class _Head(io.BufferedIOBase):
    """The head of a request: only so many bytes, and only until a moment."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until_s = time.monotonic() + HEAD_SECONDS
        self._left = HEAD_BYTES_MAX
        self._buffer = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, or what there is of one that is longer than `size`."""
        most = HEAD_BYTES_MAX if size is None or size < 0 else size
        while b"\n" not in self._buffer[:most] and len(self._buffer) < most:
            if self._left <= 0:
                raise http.client.LineTooLong("head of the request")
            self._connection.settimeout(max(0.001, self._until_s - time.monotonic()))
            more = self._connection.recv(min(4096, self._left))
            if not more:
                break
            self._left -= len(more)
            self._buffer += more
        end = self._buffer.find(b"\n", 0, most) + 1 or min(most, len(self._buffer))
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line


class Handler(BaseHTTPRequestHandler):
    """One connection: one request and its answer."""

    protocol_version = "HTTP/1.1"
    server_version = "splitbrain"
    sys_version = ""

    def setup(self) -> None:
        """Read through a bounded reader."""
        super().setup()
        self.rfile.close()
        self.rfile = _Head(self.connection)

    def handle_one_request(self) -> None:
        """Read a request and answer it. Whoever is too slow or goes away is let go."""
        self.requestline, self.request_version, self.command = "", self.protocol_version, ""
        with contextlib.suppress(TimeoutError, ConnectionError):
            self.raw_requestline = self.rfile.readline(LINE_BYTES_MAX + 1)
            if len(self.raw_requestline) > LINE_BYTES_MAX:
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            elif self.raw_requestline and self.parse_request():
                self._send(self._answer())
        self.close_connection = True

    def handle_expect_100(self) -> bool:
        """No body is wanted."""
        return True

    def _answer(self) -> Answer:
        if self.command not in ("GET", "HEAD"):
            return plain(405, "only GET and HEAD: nothing can be changed here")
        server = cast("Server", self.server)
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1:
            return plain(400, "a request needs one Host header")
        if not host_is_ours(hosts[0].strip(), bound=server.bound):
            return plain(421, "this server does not go by that name; use its address or localhost")
        try:
            return server.site.answer(self.path)
        except Exception:
            log.exception("%r could not be answered", self.path)
            return plain(500, "this is a bug; the terminal of the server has more of it")

    def _send(self, answer: Answer) -> None:
        """Send an answer, in its time. A file that shrinks meanwhile ends the connection early."""
        until_s = time.monotonic() + ANSWER_SECONDS
        self.connection.settimeout(_SEND_SECONDS)
        with contextlib.ExitStack() as stack:
            if answer.file is not None:
                stack.enter_context(answer.file)
            self._send_head(answer)
            if self.command == "HEAD":
                return
            self.wfile.write(answer.body)
            left = answer.size if answer.file is not None else 0
            while left > 0 and answer.file is not None and time.monotonic() < until_s:
                chunk = answer.file.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    break
                self.wfile.write(chunk)
                left -= len(chunk)

    def _send_head(self, answer: Answer) -> None:
        # Also who asked in no version, or in none that there is, is answered in full.
        self.request_version = self.protocol_version
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        size = len(answer.body) if answer.file is None else answer.size
        self.send_header("Content-Length", str(size))
        self.send_header("Content-Security-Policy", answer.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if answer.location:
            self.send_header("Location", answer.location)
        self.send_header("Connection", "close")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the standard library refused, without repeating what was sent."""
        del message, explain
        self._send(plain(code, HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
        """Say nothing of single requests."""
