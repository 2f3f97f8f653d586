"""What clients ask and what they are told, apart from how it travels.

Rules of this file:
- Values are kept as canonical JSON text from the door to the state machine: equal texts are equal
  values (`1`, `true` and `1.0` are three values), and nobody parses them twice.
- Whether a failure is definite is decided by the table `FAILURES` and nowhere else.
- `parse` lets in only what can be stored, sent and read back everywhere; the rest is `BadRequest`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from node.core.messages import Json, Malformed, natural

KEY_CHARS_MAX = 256
VALUE_BYTES_MAX = 64 * 1024
DEPTH_MAX = 64
"""Levels of nesting in a value, so that no JSON reader along the way runs out of stack."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A row of the table of errors in PROTOCOL.md."""

    http_status: int
    message: str
    definite: bool = True


FAILURES: dict[str, Failure] = {
    "bad-request": Failure(400, "the request is not understood"),
    "not-found": Failure(404, "no such path or method"),
    "precondition-failed": Failure(412, "the value was another"),
    "too-large": Failure(413, "the body is too large"),
    "no-leader": Failure(503, "no leader is known or reachable; nothing was proposed"),
    "not-leader": Failure(503, "the node asked does not lead; nothing was proposed"),
    "overloaded": Failure(503, "too many operations in flight; nothing was proposed"),
    "shutting-down": Failure(503, "the node is stopping; nothing was proposed"),
    "not-committed": Failure(503, "another entry was committed in its place"),
    "outcome-unknown": Failure(504, "it may take effect, now or later, or never", definite=False),
}


class BadRequest(ValueError):
    """The client's fault; the text says what."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one key. `value` is what is written, or what a cas sets."""

    op: str
    key: str
    value: str = "null"
    expected: str = "null"

    def to_text(self) -> str:
        """The form in the log and between nodes."""
        return json.dumps([self.op, self.key, self.value, self.expected], separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an operation: `error` is a code of `FAILURES`, or empty.

    `value` is JSON text: the value read, written, swapped in, or (precondition-failed) met.
    """

    error: str
    value: str
    index: int
    term: int
    node: str

    def to_list(self) -> list[Json]:
        """The form between nodes."""
        return [self.error, self.value, self.index, self.term, self.node]


def failed(error: str, node: str, value: str = "null") -> Answer:
    """The answer that carries an error."""
    assert error in FAILURES
    return Answer(error, value, 0, 0, node)


def operation_from_text(text: str) -> Operation:
    """The operation in a log entry or a forwarded request."""
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("not an operation") from None
    if (
        type(parts) is not list
        or len(parts) != 4
        or not all(type(part) is str for part in parts)
        or parts[0] not in ("read", "write", "cas")
    ):
        raise Malformed("not an operation")
    for text in parts[2:]:
        _require_json(text)
    return Operation(*parts)


def answer_from_list(parts: Json) -> Answer:
    """The answer in a reply of another node."""
    if type(parts) is not list or len(parts) != 5:
        raise Malformed("not an answer")
    error, value, index, term, node = parts
    if type(error) is not str or not (error == "" or error in FAILURES):
        raise Malformed("not an answer")
    if type(value) is not str or type(node) is not str:
        raise Malformed("not an answer")
    _require_json(value)
    return Answer(error, value, natural(index), natural(term), node)


def _require_json(text: str) -> None:
    """Values travel as JSON text and are pasted into answers: what is none must not get in."""
    try:
        if not text.isascii():
            raise ValueError
        json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("a value that is not JSON text") from None


def parse(body: bytes) -> Operation:
    """The operation in a client's request body."""
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    op = document.get("op")
    if op == "read":
        return Operation("read", _key(document))
    if op == "write":
        return Operation("write", _key(document), _value(document, "value"))
    if op == "cas":
        return Operation("cas", _key(document), _value(document, "to"), _value(document, "from"))
    raise BadRequest("op must be read, write or cas")


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _key(document: Mapping[str, Json]) -> str:
    key = document.get("key")
    if not isinstance(key, str) or not 0 < len(key) <= KEY_CHARS_MAX:
        raise BadRequest(f"key must be a string of 1 to {KEY_CHARS_MAX} characters")
    return key


def _value(document: Mapping[str, Json], name: str) -> str:
    if name not in document:
        raise BadRequest(f"{name} is missing")
    value = document[name]
    if _depth(value) > DEPTH_MAX:
        raise BadRequest(f"{name} is nested more than {DEPTH_MAX} levels deep")
    try:
        text = json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
    except ValueError:  # a number too large for a double, such as 1e999
        raise BadRequest(f"{name} holds a number out of range") from None
    if len(text) > VALUE_BYTES_MAX:
        raise BadRequest(f"{name} exceeds {VALUE_BYTES_MAX} bytes")
    return text


def _depth(value: Json) -> int:
    """Levels of nesting, found without recursion."""
    depth = 0
    level: list[Json] = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > DEPTH_MAX:
            break
        below: list[Json] = []
        for item in level:
            below.extend(item.values() if isinstance(item, dict) else item)
        level = below
    return depth
