"""The words of `workloads.data` in etcd's language: which requests an operation is made of. Pure.

Rules of this file:
- An operation is a conversation: a generator that yields requests, is sent their answers, and
  returns how the operation ended. Who carries it (`harness.systems.etcd_client`) knows no words.
- A value is one JSON text under one key. What etcd cannot do in one request (append to a list) is
  a read and a transaction that compares the key's `mod_revision`: it applies only if nothing came
  between. One that did not apply had no effect, so it may be tried again, a bounded number of times.
- An answer is believed only if it has all that such an answer has: a transaction that does not say
  `succeeded` must show what it did instead, or an answer that was cut short would be a refusal.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from checker.history import EventType
from harness.client import Completion
from workloads.generator import Invocation

# How often a change is tried when others come between: each time one of them got through. Ten clients
# that do nothing but change one key are refused ten times in a row now and then.
TRIES_MAX: Final = 25

# A compare that did not hold: the operation certainly had no effect.
COMPARE_FAILED: Final = "compare-failed"


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the v3 JSON gateway. `changes`: whether it may leave anything changed."""

    path: str
    body: Mapping[str, Any]
    changes: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What a key held. `revision` is that of its last change; 0 and null if there is no such key."""

    value: Any
    revision: int


class GarbledAnswer(Exception):
    """An answer that is none of etcd's."""


Answer = Mapping[str, Any]
Conversation = Generator[Request, Answer, Completion]

# (data, function) -> (what the key holds, what is asked) -> (what it holds then, the answer).
# A change that returns the very value that it was given changes nothing, and nothing is sent.
Change = Callable[[Any, Any], tuple[Any, Any]]
CHANGES: Final[Mapping[tuple[str, str], Change]] = {
    ("list", "append"): lambda held, asked: ([*(held or []), asked], asked),
    ("set", "add"): lambda held, asked: (
        (held, asked) if asked in (held or []) else ([*(held or []), asked], asked)
    ),
    ("set", "remove"): lambda held, asked: (
        ([one for one in held if one != asked], asked) if asked in (held or []) else (held, asked)
    ),
    ("counter", "add"): lambda held, asked: ((held or 0) + asked, asked),
    ("queue", "enqueue"): lambda held, asked: ([*(held or []), asked], asked),
    ("queue", "dequeue"): lambda held, asked: (held[1:], held[0]) if held else (held, None),
}

# The kinds of data that clients know the words of.
OFFERS: Final = frozenset({"register", *(data for data, _ in CHANGES)})


def converse(data: str, invocation: Invocation, *, stale: bool = False) -> Conversation:
    """Return the conversation that an operation is. `stale`: reads need not be up to date."""
    if data not in OFFERS:
        raise ValueError(f"etcd's client has no words for {data!r}")
    if (data, invocation.f) in CHANGES:
        return _change(invocation, CHANGES[data, invocation.f])
    if data == "register" and invocation.f == "write":
        return _write(invocation)
    if data == "register" and invocation.f == "cas":
        return _cas(invocation)
    if (data, invocation.f) == ("queue", "length"):
        return _read(invocation, lambda held: len(held or []), stale=stale)
    if invocation.f == "read":
        return _read(invocation, lambda held: held, stale=stale)
    raise ValueError(f"etcd's client has no word {invocation.f!r} for {data!r}")


def _read(invocation: Invocation, shown: Callable[[Any], Any], *, stale: bool) -> Conversation:
    seen = _seen((yield _range(invocation, stale=stale)))
    return Completion(EventType.OK, shown(seen.value))


def _write(invocation: Invocation) -> Conversation:
    body = {"key": _key(invocation), "value": _text(invocation.value)}
    answer = yield Request("put", body, changes=True)
    _revision(answer)
    return Completion(EventType.OK, invocation.value)


def _cas(invocation: Invocation) -> Conversation:
    expected, value = invocation.value
    held = {"target": "VALUE", "value": _text(expected)}
    if expected is None:
        held = _unchanged_since(0)
    applied, _ = _outcome((yield _swap(invocation, held, value)))
    if applied:
        return Completion(EventType.OK, invocation.value)
    return Completion(EventType.FAIL, invocation.value, COMPARE_FAILED)


def _change(invocation: Invocation, change: Change) -> Conversation:
    """Look, then change what was seen, and again with what is there instead."""
    # Up to date even where reads are not: a stale look would only make the compare fail.
    seen = _seen((yield _range(invocation, stale=False)))
    for _ in range(TRIES_MAX):
        value, answer = change(seen.value, invocation.value)
        if value is seen.value:
            return Completion(EventType.OK, answer)
        held = _unchanged_since(seen.revision)
        applied, instead = _outcome((yield _swap(invocation, held, value)))
        if applied:
            return Completion(EventType.OK, answer)
        seen = instead
    return Completion(EventType.FAIL, invocation.value, COMPARE_FAILED)


def _range(invocation: Invocation, *, stale: bool) -> Request:
    body: dict[str, Any] = {"key": _key(invocation)}
    if stale:
        body["serializable"] = True
    return Request("range", body, changes=False)


def _swap(invocation: Invocation, held: Mapping[str, Any], value: Any) -> Request:
    """Put a value if the key is as it was; else show what it holds."""
    key = _key(invocation)
    body = {
        "compare": [{"key": key, "result": "EQUAL", **held}],
        "success": [{"request_put": {"key": key, "value": _text(value)}}],
        "failure": [{"request_range": {"key": key}}],
    }
    return Request("txn", body, changes=True)


def _unchanged_since(revision: int) -> dict[str, Any]:
    """Compare for no change since then. A key that is not there has the revision 0."""
    return {"target": "MOD", "mod_revision": str(revision)}


def _outcome(answer: Answer) -> tuple[bool, Seen]:
    """Return whether a swap was applied, and what is held instead if it was not."""
    _revision(answer)
    responses = answer.get("responses")
    if not isinstance(responses, list) or len(responses) != 1 or not isinstance(responses[0], dict):
        raise GarbledAnswer("a transaction without its response")
    (response,) = responses
    if answer.get("succeeded") is True and "response_put" in response:
        return True, Seen(None, 0)
    instead = response.get("response_range")
    if answer.get("succeeded", False) is False and isinstance(instead, dict):
        return False, _held(instead)
    raise GarbledAnswer("a transaction that did neither")


def _seen(answer: Answer) -> Seen:
    _revision(answer)
    return _held(answer)


def _held(answer: Answer) -> Seen:
    """Read the one key of a range. The gateway leaves out what is zero or empty."""
    try:
        if "kvs" not in answer and int(answer.get("count", 0)) == 0:
            return Seen(None, 0)
        (one,) = answer["kvs"]
        value = json.loads(base64.b64decode(one["value"], validate=True))
        return Seen(value, int(one["mod_revision"]))
    except (ValueError, KeyError, TypeError) as error:
        raise GarbledAnswer(f"a range with {error}") from error


def _revision(answer: Answer) -> int:
    """Return the store's revision, which every answer of etcd has in its header."""
    try:
        return int(answer["header"]["revision"])
    except (ValueError, KeyError, TypeError) as error:
        raise GarbledAnswer("an answer without a revision") from error


def _key(invocation: Invocation) -> str:
    return base64.b64encode((invocation.key or "").encode()).decode("ascii")


def _text(value: Any) -> str:
    """Return a value as it is stored: one JSON text for each value, so that texts can be compared."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode("ascii")
