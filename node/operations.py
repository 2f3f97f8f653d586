"""What clients ask: operations, as they come in and as they are kept in the log.

Rules of this file:
- One table, `SHAPES`, says which fields each operation has; the door (`parse`), the log
  (`operation_from_text`) and PROTOCOL.md follow it.
- `parse` lets in only what can be stored, sent and read back everywhere; the rest is `BadRequest`.
  What comes from a log or another node is checked again: a malformed one is `Malformed`, on every
  node alike.
- Fields of a body that the table does not name are ignored.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from node.answers import FAILURES, Answer, Failure, Result, answer_from_list, failed
from node.core.messages import NATURAL_MAX, Json, Malformed, natural
from node.json_text import (
    DEPTH_MAX,
    NULL,
    VALUE_BYTES_MAX,
    OutOfRange,
    canonical,
    decode,
    decode_list,
    too_deep,
)
from node.json_text import require as require_value

__all__ = [
    "DEPTH_MAX", "FAILURES", "KEY_CHARS_MAX", "SHAPES", "STEPS_MAX", "TICK", "TTL_MS_MAX",
    "VALUE_BYTES_MAX", "Answer", "BadRequest", "Failure", "Operation", "Result", "Session", "Shape",
    "Step", "answer_from_list", "failed", "operation_from_list", "operation_from_text", "parse",
]  # fmt: skip

KEY_CHARS_MAX = 256
STEPS_MAX = 128
"""Steps of one transaction."""
TTL_MS_MAX = 10**12
"""About 31 years."""
COUNTER_MAX = 2**63 - 1
MODES = ("linear", "lease", "stale")


class BadRequest(ValueError):
    """The client's fault; the text says what."""


class Shape:
    """The fields of an operation's body; `reads`: it changes nothing and need not be logged."""

    def __init__(
        self, needed: str = "", optional: str = "", *, reads: bool = False, internal: bool = False
    ) -> None:
        self.fields = tuple(needed.split())
        self.optional = tuple(optional.split())
        self.reads = reads
        self.internal = internal
        self.keyed = "key" in self.fields
        self.owned = "owner" in self.fields
        self.sessions = "session" in self.fields + self.optional


_READS = Shape("key", "mode", reads=True)
SHAPES: dict[str, Shape] = {
    "read": _READS,
    "write": Shape("key value", "ttl_ms session"),
    "cas": Shape("key from to", "session"),
    "delete": Shape("key", "session"),
    "append": Shape("key value", "session"),
    "increment": Shape("key by", "session"),
    "unique_id": Shape("key", "session"),
    "set_add": Shape("key value", "session"),
    "set_remove": Shape("key value", "session"),
    "set_members": _READS,
    "enqueue": Shape("key value", "session"),
    "dequeue": Shape("key", "session"),
    "queue_length": _READS,
    "lock_acquire": Shape("key owner", "ttl_ms session"),
    "lock_release": Shape("key owner", "session"),
    "lock_holder": _READS,
    "txn": Shape("ops", "mode session"),
    "open_session": Shape("", "ttl_ms"),
    "close_session": Shape("id"),
    "keep_alive": Shape("session"),
    "tick": Shape(internal=True),
}
"""A tick is the leader's: it carries time into the log when something is due."""

STEPS: dict[str, int] = {"read": 2, "write": 3, "append": 3, "delete": 2, "compare": 3}
"""What a transaction is made of, and how many parts each has."""


class Session(NamedTuple):
    """Makes an operation happen once: who asks, its number, and up to where replies are known."""

    id: int
    sequence: int
    acknowledged: int


class Step(NamedTuple):
    """One operation inside a transaction."""

    op: str
    key: str
    value: str = NULL


class Operation(NamedTuple):
    """One operation. Which fields mean something, its row of `SHAPES` says.

    `value` is what is written, added or set by a cas, or the owner of a lock; `expected` is what a
    cas compares with. `mode` says how a read is served, and is no part of what is logged.
    """

    op: str
    key: str = ""
    value: str = NULL
    expected: str = NULL
    session: Session | None = None
    ttl_ms: int = 0
    by: int = 0
    id: int = 0
    ops: tuple[Step, ...] = ()
    mode: str = "linear"

    @property
    def reads_only(self) -> bool:
        """Whether it may be answered without a log entry."""
        if self.op == "txn":
            steps = self.ops
            return self.session is None and all(step.op in ("read", "compare") for step in steps)
        return SHAPES[self.op].reads

    def to_text(self) -> str:
        """The form in the log and between nodes: the fields in order, without trailing defaults."""
        parts: list[Json] = list(self[:-1])
        while parts[-1] == _DEFAULTS[len(parts) - 1]:
            parts.pop()
        return canonical(parts)


_DEFAULTS: tuple[Json, ...] = ("", "", NULL, NULL, None, 0, 0, 0, ())
TICK = Operation("tick")


def operation_from_text(text: str) -> Operation:
    """The operation in a forwarded request."""
    return operation_from_list(decode_list(text))


def operation_from_list(parts: list[Json]) -> Operation:
    """The operation of these fields, each of them checked."""
    count = len(parts)
    if not 1 <= count <= len(_DEFAULTS):
        raise Malformed(f"an operation of {count} fields")
    op = parts[0]
    shape = SHAPES.get(op) if type(op) is str else None
    if shape is None or type(op) is not str:
        raise Malformed(f"no such operation: {op!r:.60}")
    key = parts[1] if count > 1 else ""
    if type(key) is not str or len(key) > KEY_CHARS_MAX or (key != "") is not shape.keyed:
        raise Malformed(f"not a key: {key!r:.60}")
    value = require_value(parts[2]) if count > 2 else NULL
    if shape.owned and (value[0] != '"' or value == '""'):
        raise Malformed(f"not an owner: {value:.60}")
    expected: Json = NULL
    session: Session | None = None
    if count > 3:
        expected = parts[3] if parts[3] == NULL else require_value(parts[3])
    if count > 4 and parts[4] is not None:
        session = _session_from(parts[4])
    if (session is None and op == "keep_alive") or (session is not None and not shape.sessions):
        raise Malformed(f"{op} lacks a session, or cannot have one")
    assert type(expected) is str
    if count <= 5 and op != "txn":  # most of them: the rest need not be looked at
        return Operation(op, key, value, expected, session)
    ttl_ms, by, identity, steps = [*parts[5:], *_DEFAULTS[max(5, count) :]]
    if natural(ttl_ms) > TTL_MS_MAX:
        raise Malformed("a time to live beyond the limit")
    return Operation(
        op,
        key,
        value,
        expected,
        session,
        natural(ttl_ms),
        _counter(by),
        natural(identity),
        _steps_from(steps) if op == "txn" else (),
    )


def _session_from(parts: Json) -> Session:
    if type(parts) is not list or len(parts) != 3:
        raise Malformed("not a session")
    return Session(natural(parts[0]), natural(parts[1]), natural(parts[2]))


def _counter(value: Json) -> int:
    if type(value) is not int or not -COUNTER_MAX <= value <= COUNTER_MAX:
        raise Malformed(f"not a 64-bit integer: {value!r:.60}")
    return value


def _steps_from(parts: Json) -> tuple[Step, ...]:
    if type(parts) is not list or not 1 <= len(parts) <= STEPS_MAX:
        raise Malformed("not the steps of a transaction")
    steps: list[Step] = []
    for part in parts:
        if type(part) is not list or len(part) != 3:
            raise Malformed("not a step of a transaction")
        op, key, value = part
        if type(op) is not str or op not in STEPS:
            raise Malformed(f"no such step: {op!r:.60}")
        if type(key) is not str or not 0 < len(key) <= KEY_CHARS_MAX:
            raise Malformed(f"not a key: {key!r:.60}")
        steps.append(Step(op, key, require_value(value)))
    return tuple(steps)


# The door.


def parse(body: bytes) -> Operation:
    """The operation in a client's request body."""
    try:
        document = decode(body.decode("utf-8", "surrogatepass"))
    except OutOfRange as error:
        raise BadRequest(f"the body holds a number out of range: {error!s:.60}") from None
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    op = document.get("op")
    shape = SHAPES.get(op) if isinstance(op, str) else None
    if shape is None or shape.internal:
        raise BadRequest(f"op must be one of {', '.join(_PUBLIC)}")
    fields: dict[str, Json] = {}
    for name in shape.fields:
        attribute, check = _CHECKS[name]
        if name not in document:
            raise BadRequest(f"{name} is missing")
        fields[attribute] = check(document, name)
    for name in shape.optional:
        if document.get(name) is not None:
            attribute, check = _CHECKS[name]
            fields[attribute] = check(document, name)
    operation = Operation(op, **fields)  # type: ignore[arg-type]
    if operation.mode != "linear" and not operation.reads_only:
        raise BadRequest("mode is for operations that only read, without a session")
    return operation


_PUBLIC = tuple(op for op, shape in SHAPES.items() if not shape.internal)
_Body = Mapping[str, Json]


def _key(body: _Body, name: str) -> str:
    return _require_key(body[name], name)


def _require_key(key: Json, name: str) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= KEY_CHARS_MAX:
        raise BadRequest(f"{name} must be a string of 1 to {KEY_CHARS_MAX} characters")
    return key


def _value(body: _Body, name: str) -> str:
    return _require_text(body[name], name)


def _require_text(value: Json, name: str) -> str:
    if too_deep(value):
        raise BadRequest(f"{name} is nested more than {DEPTH_MAX} levels deep")
    text = canonical(value)
    if len(text) > VALUE_BYTES_MAX:
        raise BadRequest(f"{name} exceeds {VALUE_BYTES_MAX} bytes")
    return text


def _owner(body: _Body, name: str) -> str:
    return canonical(_require_key(body[name], name))


def _integer(value: Json, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BadRequest(f"{name} must be an integer from {least} to {most}")
    return value


def _session(body: _Body, name: str) -> Session:
    value = body[name]
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object with id, seq and ack")
    return Session(
        _integer(value.get("id"), f"{name}.id", 1, NATURAL_MAX),
        _integer(value.get("seq"), f"{name}.seq", 1, NATURAL_MAX),
        _integer(value.get("ack"), f"{name}.ack", 0, NATURAL_MAX),
    )


def _mode(body: _Body, name: str) -> str:
    mode = body[name]
    if not isinstance(mode, str) or mode not in MODES:
        raise BadRequest(f"{name} must be one of {', '.join(MODES)}")
    return mode


def _steps(body: _Body, name: str) -> tuple[Step, ...]:
    ops = body[name]
    if not isinstance(ops, list) or not 1 <= len(ops) <= STEPS_MAX:
        raise BadRequest(f"{name} must be a list of 1 to {STEPS_MAX} operations")
    steps: list[Step] = []
    for number, parts in enumerate(ops):
        place = f"{name}[{number}]"
        if not isinstance(parts, list) or not parts or not isinstance(parts[0], str):
            raise BadRequest(f"{place} must be a list that begins with the name of an operation")
        if len(parts) != STEPS.get(parts[0]):
            raise BadRequest(f"{place} must be {_STEPS_SHOWN}")
        key = _require_key(parts[1], f"the key of {place}")
        value = _require_text(parts[2], f"the value of {place}") if len(parts) == 3 else NULL
        steps.append(Step(parts[0], key, value))
    return tuple(steps)


_STEPS_SHOWN = " or ".join(
    f'["{op}", key{", value" if parts == 3 else ""}]' for op, parts in STEPS.items()
)
_CHECKS: dict[str, tuple[str, Callable[[_Body, str], Json]]] = {
    "key": ("key", _key),
    "value": ("value", _value),
    "from": ("expected", _value),
    "to": ("value", _value),
    "owner": ("value", _owner),
    "by": ("by", lambda body, name: _integer(body[name], name, -COUNTER_MAX, COUNTER_MAX)),
    "ttl_ms": ("ttl_ms", lambda body, name: _integer(body[name], name, 1, TTL_MS_MAX)),
    "id": ("id", lambda body, name: _integer(body[name], name, 1, NATURAL_MAX)),
    "session": ("session", _session),
    "mode": ("mode", _mode),
    "ops": ("ops", _steps),
}
