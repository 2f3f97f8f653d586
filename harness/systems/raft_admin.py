"""What the Raft node's answers to an operator mean (node/PROTOCOL.md). Pure.

Rules of this file:
- A refusal takes two: the node's promise (`definite`) and a code that this table knows. Anything
  else, and every answer that is not exactly as agreed, is doubt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from harness.systems.administrated import Ending, Members, Reply
from harness.systems.peer_filter import Counts

REFUSALS: Final = frozenset(
    {
        "bad-request",
        "change-in-progress",
        "no-leader",
        "not-authorised",
        "not-committed",
        "not-connected",
        "not-found",
        "not-leader",
        "overloaded",
        "shutting-down",
        "transferring",
        "unknown-member",
    }
)
"""Codes of requests that certainly changed nothing; "not-connected" is the client's own."""


def reply_of(status: int, body: bytes) -> Reply:
    """Read an answer to POST /v1/admin."""
    doubt = Reply(ending=Ending.UNKNOWN, code="garbled-answer")
    try:
        answer = json.loads(body)
    except ValueError:
        return doubt
    if not isinstance(answer, dict):
        return doubt
    if status == 200 and answer.get("ok") is True and type(answer.get("index")) is int:
        return Reply(ending=Ending.DONE, index=answer["index"])
    error = answer.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return doubt
    leader = error.get("leader")
    certain = error.get("definite") is True and error["code"] in REFUSALS
    return Reply(
        ending=Ending.REFUSED if certain else Ending.UNKNOWN,
        code=error["code"],
        leader=leader if isinstance(leader, str) else None,
    )


def reply_of_failure(code: str) -> Reply:
    """Read the end of a request that got no answer."""
    return Reply(ending=Ending.REFUSED if code in REFUSALS else Ending.UNKNOWN, code=code)


def counts_of(status: int, body: bytes) -> Counts | None:
    """Read an answer to `drop_messages`; `None` if it is none."""
    try:
        if status != 200:
            return None
        return {
            (name, source): int(count)
            for name, sources in json.loads(body)["value"].items()
            for source, count in sources.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def members_of(answer: Mapping[str, Any]) -> Members | None:
    """Read an answer to GET /v1/members; `None` if it is none."""
    try:
        names = {
            role: tuple(str(name) for name in answer[role])
            for role in ("voters", "outgoing", "learners")
        }
        index, committed = answer["index"], answer["committed"]
    except (KeyError, TypeError):
        return None
    if type(index) is not int or type(committed) is not bool:
        return None
    return Members(**names, index=index, committed=committed)
