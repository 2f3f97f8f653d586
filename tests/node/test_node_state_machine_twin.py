"""The state machine beside a slow, obvious twin, and its images beside itself.

The twin keeps plain Python data, looks at every deadline before every operation, copies everything
before a transaction, and computes the hash from scratch.
"""

import copy
import json
import random
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import sessions as sessions_module
from node.command import Command
from node.core.messages import CONFIGURATION, Entry
from node.operations import Operation, Session, Step
from node.state_machine import StateMachine

SESSIONS_MAX = 4


def text_of(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def fact(tag: str, key: str, text: str) -> int:
    told = f"{tag}{len(key)}:{key}{text}".encode()
    return int.from_bytes(blake2b(told, digest_size=16).digest(), "big")


class Twin:
    """What PROTOCOL.md says, with no thought of speed. A kept value is [kind, data, left]."""

    def __init__(self) -> None:
        self.keys: dict[str, list[Any]] = {}
        self.due: dict[str, int] = {}
        self.sessions: list[dict[str, Any]] = []
        self.now = self.index = 0
        self.configuration = ""

    def apply(self, entry: Entry) -> tuple[str, str]:
        self.index = entry.index
        if entry.kind == CONFIGURATION:
            self.configuration = entry.data
            return "", "null"
        time_ms, *parts = json.loads(entry.data)
        parts += ["", "", "null", "null", None, 0, 0, 0, []][len(parts) :]
        self.now = max(self.now, time_ms)
        self.keys = {k: v for k, v in self.keys.items() if self.due.get(k, 10**20) > self.now}
        self.due = {k: due for k, due in self.due.items() if k in self.keys}
        self.sessions = [s for s in self.sessions if s["used"] + s["ttl"] > self.now]
        if parts[4] is None:
            return self.execute(*parts)
        identity, sequence, ack = parts[4]
        found = [s for s in self.sessions if s["id"] == identity]
        if not found:
            return "session-expired", "null"
        session = found[0]
        self.sessions.remove(session)
        self.sessions.append(session)
        session["used"], session["index"] = self.now, self.index
        session["ack"] = max(session["ack"], ack)
        session["replies"] = {n: r for n, r in session["replies"].items() if n > session["ack"]}
        if sequence <= session["ack"]:
            return "session-stale", "null"
        if sequence not in session["replies"]:
            session["replies"][sequence] = self.execute(*parts)
        reply: tuple[str, str] = session["replies"][sequence]
        return reply

    def text(self, key: str) -> str | None:
        kind, data, _ = self.keys.get(key, ["text", "null", 0])
        if kind == "text":
            return str(data)
        return f"[{','.join(data)}]" if kind == "list" else None

    def set(self, key: str, kind: str, data: Any, left: int = 0) -> None:
        if data in ("null", [], set()):
            self.keys.pop(key, None)
            self.due.pop(key, None)
        else:
            self.keys[key] = [kind, data, left]

    def execute(
        self, op: str, key: str, value: str, expected: str, _: Any, ttl: int, by: int, identity: int,
        ops: list[Any],
    ) -> tuple[str, str]:  # fmt: skip
        wrong = ("wrong-type", "null")
        kind, data, left = self.keys.get(key, ["none", None, 0])
        readable = self.text(key)
        if op == "tick":
            return "", "null"
        if op == "open_session":
            self.sessions = self.sessions[max(0, len(self.sessions) - SESSIONS_MAX + 1) :]
            session = {"id": self.index, "ttl": ttl or 60_000, "used": self.now}
            self.sessions.append(session | {"index": self.index, "ack": 0, "replies": {}})
            return "", str(self.index)
        if op == "close_session":
            before = len(self.sessions)
            self.sessions = [s for s in self.sessions if s["id"] != identity]
            return "", text_of(len(self.sessions) < before)
        if op == "keep_alive":
            return "", "true"
        if op == "txn":
            return self.transaction(ops)
        if op == "delete":
            self.set(key, "text", "null")
            return "", text_of(kind != "none")
        if op in ("read", "write", "cas"):
            if readable is None:
                return wrong
            if op == "read":
                return "", readable
            if op == "cas" and readable != expected:
                return "precondition-failed", readable
            self.set(key, "text", value)
            self.due.pop(key, None)
            if ttl and value != "null":
                self.due[key] = self.now + ttl
            return "", value
        if op == "append":
            if kind == "text" and data.startswith("["):
                data = [text_of(element) for element in json.loads(data)]
            elif kind not in ("list", "none"):
                return wrong
            self.set(key, "list", [*(data or []), value])
            return "", str(len(data or []) + 1)
        if op in ("increment", "unique_id"):
            number = 0 if kind == "none" else json.loads(data) if kind == "text" else None
            if type(number) is not int:
                return wrong
            number += by if op == "increment" else 1
            self.set(key, "text", str(number))
            return "", str(number)
        if op.startswith("set"):
            if kind not in ("set", "none"):
                return wrong
            held = set(data or ())
            if op == "set_members":
                return "", f"[{','.join(sorted(held))}]"
            after = held | {value} if op == "set_add" else held - {value}
            self.set(key, "set", after)
            return "", text_of(after != held)
        if op in ("enqueue", "dequeue", "queue_length"):
            if kind not in ("queue", "none"):
                return wrong
            waiting = data or []
            if op == "queue_length":
                return "", str(len(waiting))
            if op == "enqueue":
                self.set(key, "queue", [*waiting, value], left)
                return "", str(len(waiting) + 1)
            if not waiting:
                return "empty", "null"
            self.set(key, "queue", waiting[1:], left + 1)
            return "", str(waiting[0])
        if kind not in ("lock", "none"):
            return wrong
        if op == "lock_holder":
            return "", "null" if kind == "none" else f'{{"owner":{data[0]},"token":{data[1]}}}'
        if op == "lock_acquire":
            if kind == "lock":
                return "held", str(data[0])
            self.set(key, "lock", (value, self.index))
            if ttl:
                self.due[key] = self.now + ttl
            return "", str(self.index)
        assert op == "lock_release"
        if kind == "none" or data[0] != value:
            return "not-held", "null"
        self.set(key, "text", "null")
        return "", "true"

    def transaction(self, ops: list[Any]) -> tuple[str, str]:
        keys, due = copy.deepcopy(self.keys), dict(self.due)
        values = []
        for op, key, value in ops:
            if op == "compare":
                met = self.text(key)
                error = "" if met == value else "precondition-failed"
                error, answer = (error, met) if met is not None else ("wrong-type", "null")
            else:
                error, answer = self.execute(op, key, value, "null", None, 0, 0, 0, [])
            if error:
                self.keys, self.due = keys, due
                return error, answer or "null"
            values.append(answer if op == "read" else "null")
        return "", f"[{','.join(values)}]"

    def state_hash(self) -> str:
        facts = [fact("configuration", "", self.configuration)]
        facts += [fact("due", key, str(due)) for key, due in self.due.items()]
        for key, (kind, data, left) in self.keys.items():
            if kind == "text":
                facts.append(fact("text", key, data))
            elif kind == "lock":
                facts.append(fact("lock", key, f"{data[1]}:{data[0]}"))
            elif kind == "set":
                facts += [fact("set", key, element) for element in data]
            else:
                facts += [fact(kind, key, f"{left + n}:{text}") for n, text in enumerate(data)]
        for s in self.sessions:
            name = str(s["id"])
            facts.append(fact("session", name, f"{s['ttl']}:{s['used']}:{s['index']}:{s['ack']}"))
            facts += [fact("reply", name, f"{n}:{e}:{v}") for n, (e, v) in s["replies"].items()]
        return f"{sum(facts) % 2**128:032x}"


KEYED = (
    "read", "write", "write", "cas", "delete", "append", "append", "increment", "unique_id",
    "set_add", "set_add", "set_remove", "set_members", "enqueue", "enqueue", "dequeue",
    "queue_length", "lock_acquire", "lock_release", "lock_holder",
)  # fmt: skip
VALUES = ("null", "1", "2", "[]", "[1,[2]]", '"x"', '{"a":1}')


def arbitrary(chance: random.Random, opened: list[int]) -> Operation:
    """Any operation, on few keys and values, so that they meet."""
    draw = chance.random()
    key = chance.choice(("text", "list", "set", "queue", "lock", "any"))
    if draw < 0.04:
        return Operation("open_session", ttl_ms=chance.choice((0, 30, 90)))
    if draw < 0.06:
        return Operation("close_session", id=chance.choice((*opened, 3)))
    if draw < 0.09:
        return Operation("tick")
    session = None
    if draw > 0.5:
        ack = chance.randrange(12)
        session = Session(chance.choice((*opened[-6:], 3)), ack + chance.randrange(8), ack)
    if draw < 0.2 or draw > 0.93:
        steps = tuple(
            Step(chance.choice(("read", "write", "append", "append", "delete", "compare")),
                 chance.choice(("text", "list", key)), chance.choice(VALUES))
            for _ in range(chance.randrange(1, 5))
        )  # fmt: skip
        return Operation("txn", ops=steps, session=session)
    op = chance.choice(KEYED)
    if op in ("read", "set_members", "queue_length", "lock_holder"):
        session = None
    # Mostly what fits the key, else nearly everything would be of another type.
    if chance.random() < 0.8:
        family = {"set": "set", "queue": "que", "lock": "lock"}
        key = next((k for k, part in family.items() if part in op), chance.choice(("text", "list")))
    value = chance.choice(('"a"', '"b"')) if op.startswith("lock") else chance.choice(VALUES)
    ttl_ms = chance.choice((0, 0, 20, 60)) if op in ("write", "lock_acquire") else 0
    by = chance.randrange(-3, 4) if op == "increment" else 0
    return Operation(op, key, value, chance.choice(VALUES), session, ttl_ms, by)


def entries(seed: int, count: int) -> list[Entry]:
    chance = random.Random(seed)
    time_ms, opened, found = 0, [1], []
    for index in range(1, count + 1):
        time_ms = max(0, time_ms + chance.choice((-5, 0, 0, 1, 3, 10)))
        if chance.random() < 0.01:
            found.append(Entry(index, 1, text_of([index]), CONFIGURATION))
            continue
        operation = arbitrary(chance, opened)
        if operation.op == "open_session":
            opened.append(index)
        found.append(Entry(index, 1, Command(time_ms, operation).to_text()))
    return found


@given(st.integers(0, 2**32))
def test_the_state_machine_and_its_twin_agree(seed: int) -> None:
    """Every result and the hash from scratch, over all operations; and what comes of images."""
    chance = random.Random(seed)
    patch = pytest.MonkeyPatch()
    patch.setattr(sessions_module, "SESSIONS_MAX", SESSIONS_MAX)
    try:
        twin, state = Twin(), StateMachine()
        images = []
        log = entries(seed, 150)
        for entry in log:
            assert state.apply(entry) == twin.apply(entry), entry
            assert state.state_hash() == twin.state_hash(), entry
            due = [*twin.due.values(), *(s["used"] + s["ttl"] for s in twin.sessions)]
            assert state.next_expiry_ms() == min(due, default=None)
            if chance.random() < 0.02:
                images.append((entry.index, state.state_hash(), state.image()))
        # Written out only now: what happened since must not show.
        for index, state_hash, write in images:
            image = write()
            assert image == write()
            restored = StateMachine.from_image(image)
            assert (restored.applied_index, restored.state_hash()) == (index, state_hash)
            assert restored.image()() == image
            for entry in log[index:]:
                restored.apply(entry)
            assert restored.state_hash() == state.state_hash()
            assert restored.image()() == state.image()()
            assert restored.next_expiry_ms() == state.next_expiry_ms()
    finally:
        patch.undo()


def test_the_twin_is_asked_everything() -> None:
    """The generator of the test above reaches every operation and every error it should."""
    met: dict[str, set[str]] = {}
    for seed in range(30):
        state = StateMachine()
        for entry in entries(seed, 250):
            error = state.apply(entry).error
            if entry.kind != CONFIGURATION:
                met.setdefault(json.loads(entry.data)[1], set()).add(error)
    assert set(met) == {*KEYED, "txn", "open_session", "close_session", "tick"}
    assert all("" in errors for errors in met.values())
    assert set().union(*met.values()) == {
        "", "wrong-type", "precondition-failed", "empty", "held", "not-held", "session-stale",
        "session-expired",
    }  # fmt: skip


def test_time_may_stand_for_another_and_all_nodes_agree() -> None:
    """Two state machines with the same log, of which one was restored, show the same bytes."""
    log = entries(7, 600)
    one, other = StateMachine(), StateMachine()
    for entry in log:
        one.apply(entry)
        other.apply(entry)
        if entry.index % 37 == 0:
            other = StateMachine.from_image(other.image()())
    assert one.image()() == other.image()()
