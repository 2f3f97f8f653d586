"""An HTTP API without a node behind it, and connections to it without sockets.

Rules of this file: the API is given everything it needs as it is; nothing is patched.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from peer_lab import FakeSocket

from node.admin import AdminRequest, parse_admin
from node.http_api import HttpApi, Reply
from node.http_connection import Head, HttpConnection, Judge
from node.operations import FAILURES, Answer, Failure, Operation, parse

# Codes of the state machine and of membership, where this tree does not have them yet.
for _code, _status, _definite in (
    ("not-authorised", 403, True),
    ("unknown-member", 404, True),
    ("wrong-type", 409, True),
    ("out-of-range", 409, True),
    ("empty", 409, True),
    ("held", 409, True),
    ("not-held", 409, True),
    ("session-full", 409, True),
    ("session-stale", 409, False),
    ("session-expired", 409, False),
    ("change-in-progress", 409, True),
    ("transferring", 503, True),
):
    FAILURES.setdefault(_code, Failure(_status, _code, _definite))


def success(value: str = "null") -> Answer:
    return Answer("", value, 7, 3, "n1")


class Lab:
    """An API whose submitters do what the test says; by default they answer at once."""

    def __init__(self, *, parse: Callable[[bytes], Operation] = parse, token: str = "") -> None:
        self.operations: list[Operation] = []
        self.admin: list[AdminRequest] = []
        self.waiting: list[Reply] = []
        self.answer: Callable[[], Answer | None] = success
        self.api = HttpApi(
            name="n1",
            parse=parse,
            submit=lambda operation, reply: self._take(self.operations, operation, reply),
            submit_admin=lambda request, reply: self._take(self.admin, request, reply),
            status=lambda: {"name": "n1", "role": "follower"},
            members=lambda: {"voters": ["n1"]},
            metrics=lambda: "# nothing\n",
            leader=lambda: "n2",
            parse_admin=partial(parse_admin, testing=True),
            admin_token=token,
        )

    def _take(self, taken: list[Any], request: object, reply: Reply) -> None:
        taken.append(request)
        answer = self.answer()
        if answer is None:
            self.waiting.append(reply)
        else:
            reply(answer)

    def connect(self, judge: Judge | None = None) -> "Client":
        return Client(self, judge or Judge())


class Client:
    """The other end of a connection. To be made within an event loop."""

    def __init__(self, lab: Lab, judge: Judge) -> None:
        self.socket = FakeSocket()
        self.connection = HttpConnection(lab.api, judge)
        self.connection.connection_made(self.socket)
        self.http = h11.Connection(h11.CLIENT)

    def say(self, data: bytes) -> None:
        """Deliver bytes, unless the connection is closed."""
        if not self.socket.gone:
            self.connection.data_received(data)

    def finish(self) -> None:
        if not self.socket.gone:
            self.connection.eof_received()

    def end(self) -> None:
        self.connection.connection_lost(None)

    def raw(self) -> bytes:
        data = bytes(self.socket.written)
        self.socket.written.clear()
        return data

    def ask(self, method: str, target: str, body: bytes = b"", headers: str = "") -> Any:
        """One request, whole; status and body as JSON."""
        self.say(request(method, target, body, headers))
        return one_response(self.raw())


def request(method: str, target: str, body: bytes = b"", headers: str = "") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: n1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def one_response(data: bytes) -> tuple[int, Any]:
    (response,) = responses(data)
    return response[0], json.loads(response[1])


def responses(data: bytes) -> list[tuple[int, bytes]]:
    """Status and body of every response in a stream: read with h11, as a client would."""
    found: list[tuple[int, bytes]] = []
    while data:
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        http.send(h11.EndOfMessage())
        http.receive_data(data)
        status, body = 0, b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                assert isinstance(event, h11.InformationalResponse), event
        found.append((status, body))
        data = bytes(http.trailing_data[0])
    return found


class NoJudge(Judge):
    """Calls no head plain: every request goes through h11 from beginning to end."""

    def head(self, data: bytes) -> Head | None:
        return None


# A schema of openapi.json, as far as that file goes.


def resolved(document: Any, schema: Any) -> Any:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def fits(document: Any, schema: Any, value: Any) -> bool:
    """Whether a value is what a schema says: slow, obvious, and only what is used there."""
    schema = resolved(document, schema)
    if "oneOf" in schema:
        return sum(fits(document, one, value) for one in schema["oneOf"]) == 1
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        return False
    if "enum" in schema and value not in [
        one for one in schema["enum"] if type(one) is type(value)
    ]:
        return False
    if "type" in schema:
        named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(type(value) in TYPES[name] for name in named):
            return False
    if isinstance(value, str):
        good = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30)
        return good and re.search(schema.get("pattern", ""), value) is not None
    if type(value) is int:
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        places = schema.get("prefixItems", [])
        rest = schema.get("items", {})
        return schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1 << 30) and all(
            fits(document, places[place] if place < len(places) else rest, item)
            for place, item in enumerate(value)
        )
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        other = schema.get("additionalProperties", {})
        return set(schema.get("required", [])) <= set(value) and all(
            fits(document, fields[name], item)
            if name in fields
            else other is not False and fits(document, other, item)
            for name, item in value.items()
        )
    return True
