"""One HTTP POST, sent once, with one deadline for all of it; what goes wrong below HTTP has a name.

Rules of this file:
- No redirects, no retries, no proxies: what a client sends is what its history says it sent.
- Only what failed before anything was sent is certain to have had no effect: `not-sent` and
  `not-connected`. Every other name leaves doubt.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

# Hosts are near: a connection that takes longer than this is not going to be made.
CONNECT_S_MAX: Final = 1.0
_CHUNK_BYTES: Final = 1 << 14


class NoAnswer(Exception):
    """There was no answer. `code` says why; `definite` whether the request certainly did nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.definite = code in ("not-sent", "not-connected")


def open_session() -> requests.Session:
    """Return a session that looks at nothing in the environment; no connection is made yet."""
    session = requests.Session()
    session.trust_env = False
    return session


def post_once(
    session: requests.Session,
    url: str,
    body: Mapping[str, Any],
    *,
    deadline: float,
    bytes_max: int = 1 << 20,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Send JSON and return the status and the body of the answer. Raises `NoAnswer`.

    `deadline` is a time of `time.monotonic()`. The socket's own timeout is for each receive; the
    loop adds them up, so that an answer that trickles in does not hold the client.
    """
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise NoAnswer("not-sent")
    connect_s = min(CONNECT_S_MAX, left_s / 2)
    try:
        with session.post(
            url,
            json=body,
            headers=headers,
            timeout=(connect_s, left_s - connect_s),
            allow_redirects=False,
            stream=True,
        ) as response:
            received = bytearray()
            while chunk := response.raw.read1(_CHUNK_BYTES):
                received += chunk
                if time.monotonic() > deadline:
                    raise NoAnswer("timeout")
                if len(received) > bytes_max:
                    raise NoAnswer("garbled-answer")
            return response.status_code, bytes(received)
    except (requests.RequestException, HTTPError) as error:
        raise NoAnswer(code_of(error)) from error


def code_of(error: requests.RequestException | HTTPError) -> str:
    """Name what went wrong. Only what failed while connecting carried nothing."""
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
