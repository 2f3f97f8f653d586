"""One client's connection: bytes in, requests out, responses back, in turn.

Rules of this file:
- h11 decides what HTTP is. A head that it has judged once is not judged again: the same bytes mean
  the same (`Judge`). Whatever is not plain (chunks, Expect, HEAD, HTTP/1.0, Connection: close, a
  head that comes in pieces) goes through h11 from beginning to end.
- At most one request of a connection is being answered; what comes behind it waits, and when too
  much waits the socket is not read.
- Heads, bodies, waits and the work of one turn of the loop have limits. A client keeps a
  connection neither by saying nothing, nor by saying it slowly, nor by not reading.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Protocol

import h11

BODY_BYTES_MAX = 128 * 1024
HEADER_BYTES_MAX = 16 * 1024
IDLE_S_MAX = 75.0
LINGER_S_MAX = 2.0
READ_BYTES_MAX = 64 * 1024
REQUESTS_A_TURN = 16
JUDGED_MAX = 1024
JUDGED_BYTES_MAX = 2048
_END = b"\r\n\r\n"
_NOT_PLAIN = frozenset((b"transfer-encoding", b"expect", b"upgrade"))


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a request before its body, as far as anybody here asks."""

    method: bytes
    target: bytes
    authorization: bytes
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Response:
    """What a client is told."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"


Respond = Callable[[Response], None]


class Application(Protocol):
    """What stands behind the connections."""

    def handle(self, head: Head, body: bytes, respond: Respond) -> None:
        """Answer a request, at once or later, exactly once."""
        ...

    def unreadable(self, reason: str, *, too_large: bool) -> Response:
        """The response to what is no request."""
        ...

    def opened(self, connection: "HttpConnection") -> Response | None:
        """A new connection; the response if there are too many."""
        ...

    def closed(self, connection: "HttpConnection") -> None:
        """It is gone."""
        ...


class Judge:
    """Remembers what h11 said about whole heads. Clients repeat theirs, byte for byte."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def head(self, data: bytes) -> Head | None:
        """The meaning of a head that ends in an empty line; None if it is not plain."""
        known = self._known.get(data)
        if known is None:
            known = _plain_head(data)
            if known is not None and len(data) <= JUDGED_BYTES_MAX:
                if len(self._known) >= JUDGED_MAX:
                    self._known.clear()
                self._known[data] = known
        return known


def _plain_head(data: bytes) -> Head | None:
    """What h11 makes of a head, if the rest of the request is a body of known length."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
    http.receive_data(data)
    try:
        request = http.next_event()
        following = http.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(request, h11.Request) or request.http_version != b"1.1":
        return None
    if request.method in (b"HEAD", b"CONNECT"):
        return None
    body_bytes, authorization = 0, b""
    for name, value in request.headers:  # h11 has lowered the names, and merged the lengths
        if name in _NOT_PLAIN or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        if name == b"content-length":
            body_bytes = int(value)
        elif name == b"authorization":
            authorization = value
    # A head that ends earlier than at its first CRLF CRLF would have left something over.
    wanted = following is h11.NEED_DATA if body_bytes else isinstance(following, h11.EndOfMessage)
    if not wanted or http.trailing_data[0] or body_bytes > BODY_BYTES_MAX:
        return None
    return Head(request.method, request.target, authorization, body_bytes)


class _TooLarge(Exception):
    """The body exceeds its limit."""


class _Exchange:
    """One request and its response, entirely by h11."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        self._head: h11.Request | None = None
        self._body = bytearray()

    def receive(self, data: bytes) -> tuple[Head, bytes] | None:
        """Give it bytes (none: the client will send no more); the request when it is whole."""
        self._http.receive_data(data)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_BYTES_MAX:
                    raise _TooLarge
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                fields = dict(self._head.headers)
                authorization = fields.get(b"authorization", b"")
                head = Head(self._head.method, self._head.target, authorization, len(self._body))
                return head, bytes(self._body)
            else:
                return None

    def proceed(self) -> bytes:
        """What a client waits for before it sends the body."""
        if not self._http.they_are_waiting_for_100_continue:
            return b""
        response = h11.InformationalResponse(status_code=100, headers=[])
        return self._http.send(response) or b""

    def rest(self) -> bytes:
        """What came behind the request."""
        return bytes(self._http.trailing_data[0])

    def respond(self, response: Response, *, close: bool) -> tuple[bytes, bool]:
        """The bytes of a response, and whether the connection is good for another request."""
        http = self._http
        if http.states[h11.SERVER] not in (h11.IDLE, h11.SEND_RESPONSE):
            return b"", False
        headers = [
            (b"Content-Type", response.content_type),
            (b"Content-Length", b"%d" % len(response.body)),
        ]
        if close:
            headers.append((b"Connection", b"close"))
        # For HEAD h11 frames a response as if it had no body, and then insists that it has none.
        with_body = self._head is None or self._head.method != b"HEAD"
        parts = [
            http.send(h11.Response(status_code=response.status, headers=headers)),
            http.send(h11.Data(data=response.body)) if with_body else None,
            http.send(h11.EndOfMessage()),
        ]
        again = set(http.states.values()) == {h11.DONE}
        return b"".join(part for part in parts if part), again


class HttpConnection(asyncio.Protocol):
    """A connection, from its first byte to its last."""

    def __init__(self, application: Application, judge: Judge) -> None:
        self._application = application
        self._judge = judge
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since_s = 0.0
        self._buffer = bytearray()
        self._head: Head | None = None
        self._head_bytes = 0
        self._exchange: _Exchange | None = None
        self._number = 0
        self._busy = False
        self._eof = False
        self._ending = False
        self._write_paused = False
        self._read_paused = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._since_s = self._loop.time()
        self._timer = self._loop.call_later(IDLE_S_MAX, self._look_at_the_clock)
        refusal = self._application.opened(self)
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._buffer.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._application.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return  # what still comes is read only so that the response is not lost
        self._buffer += data
        if not self._busy:
            self._advance()
        if len(self._buffer) > READ_BYTES_MAX and (self._busy or self._write_paused):
            self._pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        if self._ending:
            return False
        if not self._busy:
            self._advance()
        return self._transport is not None

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._advance()

    def abort(self) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()

    # Requests.

    def _advance(self) -> None:
        """Begin the requests that are whole, while the last one has been answered and sent."""
        for _ in range(REQUESTS_A_TURN):
            if self._busy or self._ending or self._write_paused or self._transport is None:
                return
            try:
                request = self._next_request()
            except h11.RemoteProtocolError as error:
                self._refuse(self._application.unreadable(str(error), too_large=False))
                return
            except _TooLarge:
                limit = f"the body exceeds {BODY_BYTES_MAX} bytes"
                self._refuse(self._application.unreadable(limit, too_large=True))
                return
            if request is None:
                if self._eof:
                    self._end()
                else:
                    self._resume_reading()
                return
            self._busy = True
            self._number += 1
            self._application.handle(*request, partial(self._respond, self._number))
        self._loop.call_soon(self._advance)  # others want their turn as well

    def _next_request(self) -> tuple[Head, bytes] | None:
        """The next request if it is whole; raises what is wrong with it."""
        if self._exchange is None:
            buffer = self._buffer
            if not buffer:
                return None
            if self._head is None:
                end = buffer.find(_END) + len(_END)
                self._head_bytes = end
                if end >= len(_END):
                    self._head = self._judge.head(bytes(buffer[:end]))
            if self._head is not None:
                total = self._head_bytes + self._head.body_bytes
                if len(buffer) >= total:
                    head, self._head = self._head, None
                    body = bytes(buffer[self._head_bytes : total])
                    del buffer[:total]
                    return head, body
                if not self._eof:
                    return None
                self._head = None
            self._exchange = _Exchange()
        return self._continue_exchange(self._exchange)

    def _continue_exchange(self, exchange: _Exchange) -> tuple[Head, bytes] | None:
        data = bytes(self._buffer)
        self._buffer.clear()
        request = exchange.receive(data) if data else None
        if request is None and self._eof:
            request = exchange.receive(b"")
        if request is None:
            self._write(exchange.proceed())
        else:
            self._buffer += exchange.rest()
        return request

    # Responses.

    def _respond(self, number: int, response: Response) -> None:
        """Answer the request of this number; a later or second answer is dropped."""
        if not self._busy or number != self._number or self._transport is None:
            return
        again = True
        if self._exchange is None:
            self._write(_plain_response(response))
        else:
            data, again = self._exchange.respond(response, close=False)
            self._exchange = None
            self._write(data)
        self._busy = False
        self._since_s = self._loop.time()
        if not again:
            self._end()
        elif self._buffer or self._eof or self._read_paused:
            # Not from here: who answers at once is called by `_advance` itself.
            self._loop.call_soon(self._advance)

    def _refuse(self, response: Response) -> None:
        """Say why, and read no more requests."""
        exchange = self._exchange or _Exchange()
        self._write(exchange.respond(response, close=True)[0])
        self._end()

    def _end(self) -> None:
        """Close without losing what was written: a socket that is closed with bytes unread is
        reset, and the reset may overtake the response (RFC 9112 section 9.6)."""
        self._ending = True
        self._buffer.clear()
        if self._transport is None:
            return
        if self._eof:
            self._transport.close()
            return
        self._resume_reading()
        self._transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S_MAX, self.abort)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._read_paused and not self._ending:
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    def _look_at_the_clock(self) -> None:
        """End a connection whose client neither asks nor reads. An operation has its own limit."""
        idle_s = self._loop.time() - self._since_s
        if not self._busy and idle_s >= IDLE_S_MAX:
            self.abort()
            return
        wait_s = IDLE_S_MAX if self._busy else IDLE_S_MAX - idle_s
        self._timer = self._loop.call_later(wait_s, self._look_at_the_clock)


_PREFIXES: dict[tuple[int, bytes], bytes] = {}


def _plain_response(response: Response) -> bytes:
    """A response that keeps the connection open, to a request that h11 called plain."""
    kind = (response.status, response.content_type)
    prefix = _PREFIXES.get(kind)
    if prefix is None:
        phrase = HTTPStatus(response.status).phrase
        prefix = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: " % (
            response.status,
            phrase.encode("ascii"),
            response.content_type,
        )
        _PREFIXES[kind] = prefix
    return b"%b%d\r\n\r\n%b" % (prefix, len(response.body), response.body)
