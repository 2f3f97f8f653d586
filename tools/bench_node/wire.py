"""The bytes of requests and answers, for each system.

Rules of this file:
- Pure. Requests are whole and made beforehand; of an answer only its status and its length are
  looked at, for every system in the same way.
- A read is linearizable in every system: ReadIndex at ours, etcd's default range, and an entry in
  the log at PySyncObj, which has no other.
"""

from __future__ import annotations

import base64
import json
from typing import Any

READ, WRITE = "read", "write"
KINDS = (WRITE, READ)


def key_named(number: int) -> str:
    """The key of a number."""
    return f"bench-{number:04d}"


def request(system: str, kind: str, key: str, value: str) -> bytes:
    """One whole HTTP request. `value` is written as a JSON string where values are JSON."""
    if system.startswith("etcd"):
        document: dict[str, Any] = {"key": _base64(key)}
        if kind == WRITE:
            document["value"] = _base64(value)
        return post("/v3/kv/put" if kind == WRITE else "/v3/kv/range", document)
    document = {"op": kind, "key": key}
    if kind == WRITE:
        document["value"] = value
    return post("/v1/kv", document)


def post(path: str, document: dict[str, Any]) -> bytes:
    """A POST with a JSON body on a connection that stays open."""
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def answer_status(data: bytes) -> int:
    """The HTTP status of a whole answer; 0 while some of it is missing, -1 if it is not HTTP."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return 0 if data.startswith(b"HTTP/"[: len(data)]) else -1
    if not data.startswith(b"HTTP/1.1 "):
        return -1
    at = data.find(b"ontent-Length: ", 0, head_end)
    if at < 0:
        at = data.find(b"ontent-length: ", 0, head_end)
    if at >= 0:
        length = int(data[at + 15 : data.index(b"\r\n", at)])
        whole = len(data) >= head_end + 4 + length
    else:
        whole = data.endswith(b"0\r\n\r\n")  # chunked
    return int(data[9:12]) if whole else 0


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")
