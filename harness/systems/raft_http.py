"""One request to our node over HTTP, and how it ended.

Rules of this file:
- A request is sent once (`one_post`).
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

from checker.history import EventType
from harness.systems.one_post import NoAnswer, open_session, post_once
from harness.systems.raft_errors import outcome_of

# What a key holds is at most 1 MiB of text; anything of this size is no answer of ours.
_ANSWER_BYTES_MAX: Final = 1 << 21


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
        self._session = open_session()

    def ask(self, url: str, body: Mapping[str, Any], timeout_s: float) -> Ending:
        """Send a request to POST /v1/kv and read its answer."""
        deadline = time.monotonic() + timeout_s
        try:
            status, answer = post_once(
                self._session, f"{url}/v1/kv", body, deadline=deadline, bytes_max=_ANSWER_BYTES_MAX
            )
        except NoAnswer as error:
            return failed("not-connected" if error.definite else error.code)
        return _ending(status, answer)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def failed(code: str) -> Ending:
    """Return the ending that the client itself names by this code."""
    return Ending(code=code, certain=outcome_of(code) is EventType.FAIL)


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
