"""What clients are told, and which failures are definite.

Rules of this file:
- Whether a failure is definite is decided by the table `FAILURES` and nowhere else. Definite means:
  this request has had no effect and never will.
- A code, once published, keeps its meaning.
"""

from dataclasses import dataclass
from typing import NamedTuple

from node.core.messages import Json, Malformed, natural
from node.json_text import DEPTH_MAX, HELD_BYTES_MAX, NULL, require

ANSWER_DEPTH_MAX = DEPTH_MAX + 2
"""A list of lists of values: what a transaction has read."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A row of the table of errors in PROTOCOL.md.

    `has_value`: the answer says what was met, as `error.value`.
    """

    http_status: int
    message: str
    definite: bool = True
    has_value: bool = False


FAILURES: dict[str, Failure] = {
    "bad-request": Failure(400, "the request is not understood"),
    "not-authorised": Failure(403, "the request lacks the right to ask this"),
    "not-found": Failure(404, "no such path or method"),
    "unknown-member": Failure(404, "no member of the cluster has this name"),
    "wrong-type": Failure(409, "the key holds something that this operation is not for"),
    "out-of-range": Failure(409, "the counter would leave the range of signed 64-bit integers"),
    "empty": Failure(409, "the queue is empty"),
    "held": Failure(409, "the lock is held; the value is its owner", has_value=True),
    "not-held": Failure(409, "this owner does not hold the lock"),
    "session-full": Failure(409, "the session keeps too many replies that nobody acknowledged"),
    "session-stale": Failure(
        409, "this sequence was acknowledged; it may have been carried out", definite=False
    ),
    "session-expired": Failure(
        409, "no such session, or no longer; it may have been carried out before", definite=False
    ),
    "change-in-progress": Failure(409, "another change of the members is under way"),
    "precondition-failed": Failure(412, "the value was another", has_value=True),
    "too-large": Failure(413, "the body, what the key would hold, or the answer is too large"),
    "no-leader": Failure(503, "no leader is known or reachable; nothing was proposed"),
    "not-leader": Failure(503, "the node asked does not lead; nothing was proposed"),
    "transferring": Failure(503, "the leader is handing over; nothing was proposed"),
    "overloaded": Failure(503, "too many operations in flight; nothing was proposed"),
    "shutting-down": Failure(503, "the node is stopping; nothing was proposed"),
    "not-committed": Failure(503, "another entry was committed in its place"),
    "outcome-unknown": Failure(504, "it may take effect, now or later, or never", definite=False),
}


class Result(NamedTuple):
    """What applying an entry, or reading, came to: a code of `FAILURES` or empty, and JSON text."""

    error: str
    value: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an operation: `error` is a code of `FAILURES`, or empty.

    `value` is JSON text: the value of the operation's row in PROTOCOL.md, or what was met.
    """

    error: str
    value: str
    index: int
    term: int
    node: str

    def to_list(self) -> list[Json]:
        """The form between nodes."""
        return [self.error, self.value, self.index, self.term, self.node]


def failed(error: str, node: str, value: str = NULL) -> Answer:
    """The answer that carries an error."""
    assert error in FAILURES
    return Answer(error, value, 0, 0, node)


def answer_from_list(parts: Json) -> Answer:
    """The answer in a reply of another node."""
    if type(parts) is not list or len(parts) != 5:
        raise Malformed("not an answer")
    error, value, index, term, node = parts
    if type(error) is not str or not (error == "" or error in FAILURES):
        raise Malformed("not an answer: no such error")
    if type(node) is not str:
        raise Malformed("not an answer: it names no node")
    text = require(value, HELD_BYTES_MAX, ANSWER_DEPTH_MAX)
    return Answer(error, text, natural(index), natural(term), node)
