"""A store in memory that does right, or wrong in one known way, for workloads to be played against.

Rules of this file:
- It offers the kinds of data of `workloads.data` that are one object a key, in their words.
- An operation takes effect as it is invoked; a key with a time to live is gone when that is over.
- `bug` names what it gets wrong, now and then; any other name is an error.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from checker.history import EventType
from workloads.generator import Invocation, Reply, SimulatedClient

OK, FAIL, INFO = EventType.OK, EventType.FAIL, EventType.INFO
Answer = tuple[EventType, Any]

# bug -> how many occasions of it there are for each time that it shows
BUGS = {
    "": 1,
    "a write is lost": 20,
    "a cas does not compare": 1,
    "an append is lost": 20,
    "a delete is forgotten": 5,
    "keys vanish early": 1,
    "an add is lost": 20,
    "a remove is forgotten": 4,
    "a value is handed out twice": 20,
    "the newest is handed out first": 1,
    "an enqueue is lost": 20,
}


@dataclass(slots=True)
class Store:
    """What each key holds, and when those that expire are gone."""

    kind: str
    bug: str = ""
    held: dict[str, Any] = field(default_factory=dict)
    gone_ns: dict[str, int] = field(default_factory=dict)
    occasions: Counter[str] = field(default_factory=Counter)
    expired: int = 0

    def perform(self, invocation: Invocation) -> Answer:
        """Carry an operation out and answer it."""
        key = invocation.key or ""
        if self.gone_ns.get(key, invocation.at_ns + 1) <= invocation.at_ns:
            self._set(key, None)
            self.expired += 1
        act = {
            "register": self._register, "key-value": self._string, "list": self._list,
            "set": self._elements, "counter": self._number, "queue": self._queue,
        }[self.kind]  # fmt: skip
        return act(invocation, key, self.held.get(key))

    def _errs(self, bug: str) -> bool:
        """Whether this is an occasion on which the bug shows."""
        assert bug in BUGS
        self.occasions[bug] += self.bug == bug
        return self.bug == bug and self.occasions[bug] % BUGS[bug] == 0

    def _set(self, key: str, value: Any, gone_ns: int | None = None) -> None:
        self.held[key] = value
        self.gone_ns.pop(key, None)
        if gone_ns is not None:
            self.gone_ns[key] = gone_ns

    def _cas(self, invocation: Invocation, key: str, value: Any) -> Answer:
        before, after = invocation.value
        if value != before and not self._errs("a cas does not compare"):
            return FAIL, invocation.value
        self._set(key, after)
        return OK, invocation.value

    def _register(self, invocation: Invocation, key: str, value: Any) -> Answer:
        if invocation.f == "read":
            return OK, value
        if invocation.f == "cas":
            return self._cas(invocation, key, value)
        if not self._errs("a write is lost"):
            self._set(key, invocation.value)
        return OK, invocation.value

    def _string(self, invocation: Invocation, key: str, value: str | None) -> Answer:
        asked = invocation.value
        match invocation.f, asked:
            case "get", _:
                return OK, value
            case "cas", _:
                return self._cas(invocation, key, value)
            case "append", _:
                if not self._errs("an append is lost"):
                    self._set(key, (value or "") + asked)
            case "delete", _:
                if not self._errs("a delete is forgotten"):
                    self._set(key, None)
            case "put", {"value": text, "ttl_ms": ttl_ms}:
                lives_ns = ttl_ms * 1_000_000 // (2 if self._errs("keys vanish early") else 1)
                self._set(key, text, invocation.at_ns + lives_ns)
            case "put", _:
                if not self._errs("a write is lost"):
                    self._set(key, asked)
        return OK, asked

    def _list(self, invocation: Invocation, key: str, value: list[Any] | None) -> Answer:
        if invocation.f == "read":
            return OK, value
        if not self._errs("an append is lost"):
            self._set(key, [*(value or ()), invocation.value])
        return OK, invocation.value

    def _elements(self, invocation: Invocation, key: str, value: frozenset[Any] | None) -> Answer:
        if invocation.f == "read":
            return OK, None if value is None else sorted(value, reverse=True)
        before = value or frozenset()
        if invocation.f == "add" and not self._errs("an add is lost"):
            self._set(key, before | {invocation.value})
        if invocation.f == "remove" and not self._errs("a remove is forgotten"):
            self._set(key, before - {invocation.value})
        return OK, invocation.value

    def _number(self, invocation: Invocation, key: str, value: int | None) -> Answer:
        if invocation.f == "read":
            return OK, value
        if not self._errs("an add is lost"):
            self._set(key, (value or 0) + invocation.value)
        return OK, invocation.value

    def _queue(self, invocation: Invocation, key: str, value: list[Any] | None) -> Answer:
        queue = value or []
        if invocation.f == "length":
            return OK, len(queue)
        if invocation.f == "enqueue":
            if not self._errs("an enqueue is lost"):
                self._set(key, [*queue, invocation.value])
            return OK, invocation.value
        if not queue:
            return OK, None
        place = -1 if self._errs("the newest is handed out first") else 0
        if not self._errs("a value is handed out twice"):
            self._set(key, [one for one in queue if one != queue[place]])
        return OK, queue[place]


def reliable(store: Store, latency_ns: int) -> SimulatedClient:
    """Return a client whose operations are all answered; no two in a row take equally long."""
    return lambda invocation, number: Reply(
        *store.perform(invocation), latency_ns * (1 + number % 3)
    )


def unreliable(store: Store, latency_ns: int) -> SimulatedClient:
    """Return a client some of whose operations fail, or end in doubt, carried out or not."""

    def reply(invocation: Invocation, number: int) -> Reply:
        late = latency_ns * (1 + number % 3)
        match number % 11:
            case 3:
                return Reply(FAIL, invocation.value, late)
            case 5:
                return Reply(INFO, invocation.value, late)
            case 8:
                store.perform(invocation)
                return Reply(INFO, invocation.value, late)
        return Reply(*store.perform(invocation), late)

    return reply
