"""The client API: HTTP/1.1 with keep-alive, JSON bodies.

Rules of this file:
- h11 decides what HTTP is; this file moves bytes and maps requests to operations and answers to
  responses. It decides nothing about the data.
- Every answer has a body of PROTOCOL.md; what is definite comes from the table of failures.
- Headers, bodies, connections and waits have limits. A client cannot keep a connection open by
  saying nothing, nor make the node hold more than one request of it at a time.
"""

import asyncio
import json
import socket
from collections.abc import Callable

import h11

from node.core.messages import Json
from node.operations import FAILURES, Answer, BadRequest, Operation, failed, parse
from node.waiters import Reply

BODY_BYTES_MAX = 128 * 1024
HEADER_BYTES_MAX = 16 * 1024
CONNECTIONS_MAX = 512
IDLE_S_MAX = 75.0
READ_BYTES = 64 * 1024

Submit = Callable[[Operation, Reply], None]


class _TooLarge(Exception):
    """The body exceeds its limit."""


class HttpApi:
    """Serves clients on one address."""

    def __init__(
        self,
        *,
        name: str,
        submit: Submit,
        status: Callable[[], dict[str, Json]],
        leader: Callable[[], str | None],
    ) -> None:
        self._name = name
        self._submit = submit
        self._status = status
        self._leader = leader
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen; raises `OSError` if the address cannot be had."""
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=READ_BYTES, backlog=CONNECTIONS_MAX
        )

    def stop_listening(self) -> None:
        """Refuse new connections; those that are open go on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Close every connection, whatever it waits for."""
        self.stop_listening()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its last."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self._connections) > CONNECTIONS_MAX:
                refusal = self._render(failed("overloaded", self._name), "too many connections")
                await _Exchange(reader, writer).respond(*refusal, close=True)
            else:
                await self._serve_requests(_Exchange(reader, writer))
        except (OSError, TimeoutError, h11.LocalProtocolError):
            # The client is gone, silent, or asks for what HTTP cannot express.
            writer.transport.abort()
        except asyncio.CancelledError:
            pass  # the node stops; this is the outermost frame of the task
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_requests(self, exchange: "_Exchange") -> None:
        while True:
            try:
                request = await exchange.next_request()
            except h11.RemoteProtocolError as error:
                response = self._render(failed("bad-request", self._name), str(error))
                await exchange.respond(*response, close=True)
                return
            except _TooLarge:
                limit = f"the body exceeds {BODY_BYTES_MAX} bytes"
                response = self._render(failed("too-large", self._name), limit)
                await exchange.respond(*response, close=True)
                return
            if request is None:
                return
            await exchange.respond(*await self._answer(*request))
            if not exchange.start_next():
                return

    async def _answer(self, method: bytes, path: bytes, body: bytes) -> tuple[int, bytes]:
        """Status and body of the response to one request."""
        if (method, path) == (b"GET", b"/status"):
            return 200, json.dumps(self._status()).encode("ascii")
        if (method, path) != (b"POST", b"/v1/kv"):
            return self._render(failed("not-found", self._name))
        try:
            operation = parse(body)
        except BadRequest as error:
            return self._render(failed("bad-request", self._name), str(error))
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        self._submit(operation, reply)
        return self._render(await future)

    def _render(self, answer: Answer, message: str = "") -> tuple[int, bytes]:
        """An answer as PROTOCOL.md has it. Values are JSON text already."""
        if not answer.error:
            text = (
                f'{{"ok":true,"value":{answer.value},"index":{answer.index},'
                f'"term":{answer.term},"node":{json.dumps(answer.node)}}}'
            )
            return 200, text.encode("ascii")
        failure = FAILURES[answer.error]
        error: dict[str, Json] = {
            "code": answer.error,
            "definite": failure.definite,
            "message": message or failure.message,
            "leader": self._leader(),
        }
        if answer.error == "precondition-failed":
            error["value"] = json.loads(answer.value)
        document = {"ok": False, "error": error}
        return failure.http_status, json.dumps(document).encode("ascii")


class _Exchange:
    """Requests and responses of one connection, in turn."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        self._wants_body = True

    async def next_request(self) -> tuple[bytes, bytes, bytes] | None:
        """Method, path and body; None when the client has closed."""
        head: h11.Request | None = None
        body = bytearray()
        async with asyncio.timeout(IDLE_S_MAX):
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    await self._read_more()
                elif isinstance(event, h11.Request):
                    head = event
                    self._wants_body = event.method != b"HEAD"
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > BODY_BYTES_MAX:
                        raise _TooLarge
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    return head.method, head.target, bytes(body)
                else:
                    return None

    async def _read_more(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            proceed = h11.InformationalResponse(status_code=100, headers=[])
            self._write(self._http.send(proceed))
        self._http.receive_data(await self._reader.read(READ_BYTES))

    async def respond(self, status: int, body: bytes, *, close: bool = False) -> None:
        """Send a whole response."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
        ]
        if close:
            headers.append((b"Connection", b"close"))
        parts = [
            self._http.send(h11.Response(status_code=status, headers=headers)),
            self._http.send(h11.Data(data=body)) if self._wants_body else None,
            self._http.send(h11.EndOfMessage()),
        ]
        self._write(b"".join(part for part in parts if part))
        async with asyncio.timeout(IDLE_S_MAX):
            await self._writer.drain()

    def start_next(self) -> bool:
        """Is the connection good for another request?"""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)
