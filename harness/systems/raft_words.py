"""The words of our node for every kind of data (`workloads.data`): a table. Pure.

Rules of this file:
- A word says what is asked of the node (node/PROTOCOL.md, POST /v1/kv) and what its answer means
  for the history. Every operation is one request, so what the node makes atomic is atomic.
- Answers are checked: what is not exactly as agreed is `Garbled`. The node repeats what it wrote,
  so an answer to somebody else's write is none to ours.
- The node has no strings to append to, but lists: a string is kept as the list of its characters,
  which is the one way to write it, so that a cas can compare it. The empty string is a missing
  key, as it is to appends: putting it removes the key, and it reads as null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workloads.generator import Invocation

Body = dict[str, Any]
Ask = Callable[[Invocation], Body]
Hear = Callable[[Invocation, Any], Any]

# `generate` promises ids that are unique among all, whatever key is named: they have one counter.
_IDS_KEY: Final = "ids"

_READS: Final = frozenset({"read", "set_members", "queue_length", "lock_holder"})
# The steps of a transaction: ours -> the node's.
_STEPS: Final[Mapping[str, str]] = {
    "r": "read",
    "w": "write",
    "append": "append",
    "compare": "compare",
}


class Garbled(ValueError):
    """An answer that is not as agreed."""


@dataclass(frozen=True, slots=True)
class Word:
    """One function of one kind of data.

    `ask` makes the body of the request. `hear` makes the value of an `ok` completion out of the
    answer's value, or raises `Garbled`. `instead` holds errors of the node that are answers to us.
    """

    ask: Ask
    hear: Hear
    instead: Mapping[str, Any] = field(default_factory=dict)


def only_reads(body: Mapping[str, Any]) -> bool:
    """Whether a request changes nothing: it has a `mode`, and no use for a session."""
    if body["op"] == "txn":
        return all(step[0] in ("read", "compare") for step in body["ops"])
    return body["op"] in _READS


# What is asked.


def _asks(op: str, **fields: Callable[[Any], Any]) -> Ask:
    """Ask for an operation on the key, with fields that are made of the invocation's value."""

    def ask(invocation: Invocation) -> Body:
        made = {name: make(invocation.value) for name, make in fields.items()}
        return {"op": op, "key": invocation.key, **made}

    return ask


def _itself(value: Any) -> Any:
    return value


def _first(pair: Any) -> Any:
    return pair[0]


def _second(pair: Any) -> Any:
    return pair[1]


def _letters(text: str | None) -> list[str] | None:
    return [*text] if text else None


def _text_put(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) else value


def _put(invocation: Invocation) -> Body:
    text = _letters(_text_put(invocation.value))
    return {"op": "write", "key": invocation.key, "value": text, **_ttl(invocation.value)}


def _append_letters(invocation: Invocation) -> Body:
    """Append all letters or none. A transaction needs a step, so nothing is appended by a read."""
    steps = [["append", invocation.key, letter] for letter in invocation.value]
    return {"op": "txn", "ops": steps or [["read", invocation.key]]}


def _acquire(invocation: Invocation) -> Body:
    body = {"op": "lock_acquire", "key": invocation.key, "owner": invocation.value["owner"]}
    return body | _ttl(invocation.value)


def _ttl(value: Any) -> Body:
    ttl_ms = value.get("ttl_ms") if isinstance(value, dict) else None
    return {} if ttl_ms is None else {"ttl_ms": ttl_ms}


def _txn(invocation: Invocation) -> Body:
    steps = [
        [_STEPS[f], key] if f == "r" else [_STEPS[f], key, value]
        for f, key, value in invocation.value
    ]
    return {"op": "txn", "ops": steps}


# What is answered.


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _gives(agreed: Callable[[Any], bool]) -> Hear:
    """The answer is the completion's value, if it is as agreed."""

    def hear(invocation: Invocation, answer: Any) -> Any:
        del invocation
        if not agreed(answer):
            raise Garbled
        return answer

    return hear


def _repeats(agreed: Callable[[Any], bool]) -> Hear:
    """The completion repeats what was asked, if the answer is as agreed."""

    def hear(invocation: Invocation, answer: Any) -> Any:
        if not agreed(answer):
            raise Garbled
        return invocation.value

    return hear


def _echoes(written: Callable[[Any], Any]) -> Hear:
    """The completion repeats what was asked, if the node says that it wrote just this."""

    def hear(invocation: Invocation, answer: Any) -> Any:
        if not _same(answer, written(invocation.value)):
            raise Garbled
        return invocation.value

    return hear


def _anything(_: Any) -> bool:
    return True


def _bool(answer: Any) -> bool:
    return type(answer) is bool


def _whole(answer: Any) -> bool:
    return type(answer) is int


def _natural(answer: Any) -> bool:
    return type(answer) is int and answer >= 0


def _positive(answer: Any) -> bool:
    return type(answer) is int and answer > 0


def _list(answer: Any) -> bool:
    return isinstance(answer, list)


def _or_null(agreed: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda answer: answer is None or agreed(answer)


def _holder(answer: Any) -> bool:
    return (
        isinstance(answer, dict)
        and answer.keys() == {"owner", "token"}
        and isinstance(answer["owner"], str)
        and _positive(answer["token"])
    )


def _hear_text(invocation: Invocation, answer: Any) -> Any:
    del invocation
    if answer is None:
        return None
    if not isinstance(answer, list) or not answer:
        raise Garbled
    if not all(isinstance(letter, str) and len(letter) == 1 for letter in answer):
        raise Garbled
    return "".join(answer)


def _hear_appended(invocation: Invocation, answer: Any) -> Any:
    """One null for each letter; for no letter, what the read saw."""
    letters = len(invocation.value)
    if not isinstance(answer, list) or len(answer) != max(1, letters):
        raise Garbled
    if answer[:letters] != [None] * letters:
        raise Garbled
    return invocation.value


def _hear_token(invocation: Invocation, answer: Any) -> Any:
    if not _positive(answer):
        raise Garbled
    return {"owner": invocation.value["owner"], "token": answer}


def _hear_steps(invocation: Invocation, answer: Any) -> Any:
    if not isinstance(answer, list) or len(answer) != len(invocation.value):
        raise Garbled
    steps = []
    for (f, key, value), seen in zip(invocation.value, answer, strict=True):
        if f != "r" and seen is not None:
            raise Garbled
        steps.append([f, key, seen if f == "r" else value])
    return steps


# kind -> function -> word
WORDS: Final[Mapping[str, Mapping[str, Word]]] = {
    "register": {
        "read": Word(_asks("read"), _gives(_anything)),
        "write": Word(_asks("write", value=_itself), _echoes(_itself)),
        "cas": Word(_asks("cas", **{"from": _first, "to": _second}), _echoes(_second)),
    },
    "key-value": {
        "get": Word(_asks("read"), _hear_text),
        "put": Word(_put, _echoes(lambda value: _letters(_text_put(value)))),
        "append": Word(_append_letters, _hear_appended),
        "delete": Word(_asks("delete"), _repeats(_bool)),
        "cas": Word(
            _asks(
                "cas",
                **{"from": lambda pair: _letters(pair[0]), "to": lambda pair: _letters(pair[1])},
            ),
            _echoes(lambda pair: _letters(pair[1])),
        ),
    },
    "list": {
        "append": Word(_asks("append", value=_itself), _repeats(_positive)),
        "read": Word(_asks("read"), _gives(_or_null(_list))),
    },
    "set": {
        "add": Word(_asks("set_add", value=_itself), _repeats(_bool)),
        "remove": Word(_asks("set_remove", value=_itself), _repeats(_bool)),
        "read": Word(_asks("set_members"), _gives(_list)),
    },
    "counter": {
        "add": Word(_asks("increment", by=_itself), _repeats(_whole)),
        "read": Word(_asks("read"), _gives(_or_null(_whole))),
    },
    "queue": {
        "enqueue": Word(_asks("enqueue", value=_itself), _repeats(_positive)),
        # null is for the empty queue: an element that is null could not be told from it.
        "dequeue": Word(
            _asks("dequeue"), _gives(lambda answer: answer is not None), {"empty": None}
        ),
        "length": Word(_asks("queue_length"), _gives(_natural)),
    },
    "lock": {
        "acquire": Word(_acquire, _hear_token),
        "release": Word(
            _asks("lock_release", owner=lambda value: value["owner"]),
            _repeats(lambda answer: answer is True),
        ),
        "holder": Word(_asks("lock_holder"), _gives(_or_null(_holder))),
    },
    "ids": {
        "generate": Word(lambda _: {"op": "unique_id", "key": _IDS_KEY}, _gives(_positive)),
    },
    "transactions": {
        "txn": Word(_txn, _hear_steps),
    },
}
