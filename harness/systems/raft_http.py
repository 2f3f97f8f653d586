"""One request to our node over HTTP, and how it ended.

Rules of this file:
- A request is sent once. No redirects, no retries, no proxies, and one deadline for all of it.
- What ends badly ends with a code of the table (`raft_errors`). A node whose own `definite` flag
  disagrees with the table, and an answer that is cut short or no answer of ours: all of them are
  doubt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from checker.history import EventType
from harness.systems.raft_errors import outcome_of

# Hosts are near: a connection that takes longer than this is not going to be made.
CONNECT_S_MAX: Final = 1.0

# What a key holds is at most 1 MiB of text; anything of this size is no answer of ours.
_ANSWER_BYTES_MAX: Final = 1 << 21
_CHUNK_BYTES: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended: with a value, or with the code of an error.

    `certain` is whether an error certainly had no effect.
    """

    value: Any = None
    code: str | None = None
    certain: bool = False


class Wire:
    """Connections to nodes, kept alive. Not thread-safe: one wire a thread."""

    def __init__(self) -> None:
        """Make no connection before the first request."""
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, url: str, body: Mapping[str, Any], timeout_s: float) -> Ending:
        """Send a request to POST /v1/kv and read its answer."""
        try:
            status, answer = self._post(f"{url}/v1/kv", body, timeout_s)
        except (requests.RequestException, HTTPError) as error:
            return failed(code_of(error))
        return _ending(status, answer)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _post(self, url: str, body: Mapping[str, Any], timeout_s: float) -> tuple[int, bytes]:
        """Send once, receive until the deadline. The socket's own timeout is for each receive;
        the loop adds them up, so that an answer that trickles in does not hold the client."""
        deadline_s = time.monotonic() + timeout_s
        connect_s = min(CONNECT_S_MAX, timeout_s / 2)
        with self._session.post(
            url,
            json=body,
            timeout=(connect_s, timeout_s - connect_s),
            allow_redirects=False,
            stream=True,
        ) as response:
            received = bytearray()
            while chunk := response.raw.read1(_CHUNK_BYTES):
                received += chunk
                if time.monotonic() > deadline_s:
                    raise requests.ReadTimeout("the answer was not complete by the deadline")
                if len(received) > _ANSWER_BYTES_MAX:
                    raise requests.exceptions.ContentDecodingError("the answer is too long")
            return response.status_code, bytes(received)


def failed(code: str) -> Ending:
    """Return the ending that the client itself names by this code."""
    return Ending(code=code, certain=outcome_of(code) is EventType.FAIL)


def code_of(error: requests.RequestException | HTTPError) -> str:
    """Name what went wrong below HTTP. Only what failed while connecting carried nothing."""
    if isinstance(error, requests.ConnectTimeout):
        return "not-connected"
    if isinstance(error, requests.Timeout | ReadTimeoutError):
        return "timeout"
    if isinstance(error, requests.ConnectionError):
        cause = error.args[0] if error.args else None
        reason = getattr(cause, "reason", cause)
        if isinstance(reason, NewConnectionError | ConnectTimeoutError):
            return "not-connected"
        return "connection-lost"
    return "connection-lost" if isinstance(error, ProtocolError) else "garbled-answer"


def _ending(status: int, body: bytes) -> Ending:
    """Read an answer; whatever is not exactly as agreed is doubt."""
    doubt = failed("garbled-answer")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return doubt
    if not isinstance(answer, dict):
        return doubt
    if status == requests.codes.ok and answer.get("ok") is True and "value" in answer:
        return Ending(answer["value"])
    error = answer.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return doubt
    # Certainty takes two: the node's promise for this request, and the protocol's for the code.
    promised = error.get("definite") is True
    certain = promised and outcome_of(error["code"]) is EventType.FAIL
    return Ending(code=error["code"], certain=certain)
