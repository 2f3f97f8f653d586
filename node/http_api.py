"""The client API: which request is which operation, and how an answer looks.

Rules of this file:
- It decides nothing about the data. What HTTP is, is decided in node/http_connection.py.
- Every answer but /metrics has a JSON body of PROTOCOL.md; what is definite comes from the table
  of failures and from nowhere else.
- The description of all this for machines is node/openapi.json; the tests hold the two together.
"""

import asyncio
import hmac
import json
import pkgutil
from collections.abc import Callable

from node.admin import AdminRequest, parse_admin
from node.core.messages import Json
from node.http_connection import (
    BODY_BYTES_MAX,
    Head,
    HttpConnection,
    Judge,
    Respond,
    Response,
)
from node.operations import FAILURES, Answer, BadRequest, Operation, failed

__all__ = ["BODY_BYTES_MAX", "CONNECTIONS_MAX", "HttpApi", "description"]

CONNECTIONS_MAX = 512
REFUSALS_MAX = 64
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Reply = Callable[[Answer], None]


def description() -> bytes:
    """The OpenAPI description, from beside the code (also within an archive)."""
    data = pkgutil.get_data("node", "openapi.json")
    assert data is not None, "node/openapi.json is missing: the archive must carry it"
    return data


class HttpApi:
    """Serves clients on one address."""

    def __init__(
        self,
        *,
        name: str,
        parse: Callable[[bytes], Operation],
        submit: Callable[[Operation, Reply], None],
        submit_admin: Callable[[AdminRequest, Reply], None],
        status: Callable[[], dict[str, Json]],
        members: Callable[[], dict[str, Json]],
        metrics: Callable[[], str],
        leader: Callable[[], str | None],
        parse_admin: Callable[[bytes], AdminRequest] = parse_admin,
        admin_token: str = "",
    ) -> None:
        """Who parses raises `BadRequest`; a submitter calls `reply` exactly once.

        With an `admin_token` who administrates must show it.
        """
        self._name = name
        self._parse = parse
        self._parse_admin = parse_admin
        self._submit = submit
        self._submit_admin = submit_admin
        self._leader = leader
        self._authorization = b"Bearer " + admin_token.encode() if admin_token else b""
        self._node = json.dumps(name)
        self._description = description()
        self._documents: dict[bytes, Callable[[], Response]] = {
            b"/status": lambda: _json(status()),
            b"/v1/members": lambda: _json(members()),
            b"/metrics": lambda: Response(200, metrics().encode(), METRICS_TYPE),
            b"/openapi.json": lambda: Response(200, self._description),
        }
        self._server: asyncio.Server | None = None
        self._connections: set[HttpConnection] = set()
        self.requests = 0

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def start(self, host: str, port: int) -> None:
        """Listen; raises `OSError` if the address cannot be had."""
        judge = Judge()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self, judge), host, port, backlog=CONNECTIONS_MAX
        )

    def stop_listening(self) -> None:
        """Refuse new connections; those that are open go on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Close every connection, whatever it waits for."""
        self.stop_listening()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # what was aborted ends in the next turn of the loop

    # What connections ask.

    def opened(self, connection: HttpConnection) -> Response | None:
        self._connections.add(connection)
        if len(self._connections) > CONNECTIONS_MAX + REFUSALS_MAX:
            connection.abort()
        elif len(self._connections) > CONNECTIONS_MAX:
            return self._failure(failed("overloaded", self._name), "too many connections")
        return None

    def closed(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)

    def unreadable(self, reason: str, *, too_large: bool) -> Response:
        code = "too-large" if too_large else "bad-request"
        return self._failure(failed(code, self._name), reason)

    def handle(self, head: Head, body: bytes, respond: Respond) -> None:
        self.requests += 1
        if head.method == b"POST" and head.target == b"/v1/kv":
            self._operate(body, respond)
        elif head.method == b"POST" and head.target == b"/v1/admin":
            self._administrate(head, body, respond)
        elif head.method == b"GET" and head.target in self._documents:
            respond(self._documents[head.target]())
        else:
            respond(self._failure(failed("not-found", self._name)))

    def _operate(self, body: bytes, respond: Respond) -> None:
        try:
            operation = self._parse(body)
        except BadRequest as error:
            respond(self._failure(failed("bad-request", self._name), str(error)))
            return
        self._submit(operation, lambda answer: respond(self._render(answer)))

    def _administrate(self, head: Head, body: bytes, respond: Respond) -> None:
        wanted = self._authorization
        if wanted and not hmac.compare_digest(wanted, head.authorization):
            respond(self._failure(failed("not-authorised", self._name)))
            return
        try:
            request = self._parse_admin(body)
        except BadRequest as error:
            respond(self._failure(failed("bad-request", self._name), str(error)))
            return
        self._submit_admin(request, lambda answer: respond(self._render(answer)))

    # Bodies.

    def _render(self, answer: Answer) -> Response:
        """An answer as PROTOCOL.md has it. Values are JSON text already."""
        if answer.error:
            return self._failure(answer)
        node = self._node if answer.node == self._name else json.dumps(answer.node)
        text = (
            f'{{"ok":true,"value":{answer.value},"index":{answer.index},'
            f'"term":{answer.term},"node":{node}}}'
        )
        return Response(200, text.encode("ascii"))

    def _failure(self, answer: Answer, message: str = "") -> Response:
        failure = FAILURES[answer.error]
        error: dict[str, Json] = {
            "code": answer.error,
            "definite": failure.definite,
            "message": message or failure.message,
            "leader": self._leader(),
        }
        if failure.has_value:
            error["value"] = json.loads(answer.value)
        return _json({"ok": False, "error": error}, failure.http_status)


def _json(document: dict[str, Json], status: int = 200) -> Response:
    return Response(status, json.dumps(document).encode("ascii"))
