"""A correct store in memory for locks, ids, transactions and lists, to play workloads against.

Rules of this file:
- An operation takes effect as it is invoked; what is wrong with a store is a subclass's business.
- `unreliable` is what clients see of any store under faults: refusals, and operations in doubt
  that were done, were not, or are done later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from checker.budget import Budget
from checker.history import EventType, History
from checker.verdict import CheckResult, Verdict
from workloads.catalogue import workload_named
from workloads.generator import Invocation, Reply, SimulatedClient, limit, phases, simulate
from workloads.randomness import Stream
from workloads.workload import Setting

SETTING = Setting(seed=1, keys=3, threads=6, nodes=3)
Answer = tuple[EventType, Any]
Perform = Callable[[Invocation], Answer]
MS = 1_000_000


class Store:
    """Everything at once; a workload uses one kind of it."""

    def __init__(self) -> None:
        self.now_ns = 0
        # lock -> (owner, token, when it ends)
        self.locks: dict[str | None, tuple[str, int, float]] = {}
        self.tokens: Counter[str | None] = Counter()
        self.last_id = 0
        self.values: dict[str, Any] = {}
        self.lists: dict[str | None, list[Any]] = {}

    def __call__(self, invocation: Invocation) -> Answer:
        self.now_ns = max(self.now_ns, invocation.at_ns)
        answer: Answer = getattr(self, invocation.f)(invocation)
        return answer

    def acquire(self, invocation: Invocation) -> Answer:
        lock, asked = invocation.key, invocation.value
        if self.held(lock):
            return EventType.FAIL, asked
        self.locks[lock] = asked["owner"], self.token(lock), self.now_ns + self.lasts_ns(asked)
        return EventType.OK, {"owner": asked["owner"], "token": self.locks[lock][1]}

    def held(self, lock: str | None) -> bool:
        return lock in self.locks and self.locks[lock][2] > self.now_ns

    def token(self, lock: str | None) -> int:
        self.tokens[lock] += 1
        return self.tokens[lock]

    def lasts_ns(self, asked: dict[str, Any]) -> float:
        return asked["ttl_ms"] * MS if "ttl_ms" in asked else float("inf")

    def release(self, invocation: Invocation) -> Answer:
        lock = invocation.key
        if not self.held(lock) or self.locks[lock][0] != invocation.value["owner"]:
            return EventType.FAIL, invocation.value
        del self.locks[lock]
        return EventType.OK, invocation.value

    def generate(self, invocation: Invocation) -> Answer:
        del invocation
        self.last_id += 1
        return EventType.OK, self.last_id

    def txn(self, invocation: Invocation) -> Answer:
        done = []
        values = dict(self.values)
        for f, key, value in invocation.value:
            if f == "compare" and not self.agrees(values.get(key), value):
                return EventType.FAIL, invocation.value
            if f == "w":
                values[key] = value
            if f == "append":
                values[key] = [*values.get(key, ()), value]
            done.append([f, key, values.get(key) if f == "r" else value])
        self.values = values
        return EventType.OK, done

    def agrees(self, found: Any, expected: Any) -> bool:
        return bool(found == expected)

    def append(self, invocation: Invocation) -> Answer:
        self.lists[invocation.key] = [*self.lists.get(invocation.key, ()), invocation.value]
        return EventType.OK, invocation.value

    def read(self, invocation: Invocation) -> Answer:
        return EventType.OK, self.lists.get(invocation.key)


def reliable(perform: Perform, seed: int = 1) -> SimulatedClient:
    """Return a client that always answers, after 4 to 84 ms."""
    latency, calls = Stream(seed, "latency"), Counter[None]()

    def reply(invocation: Invocation, number: int) -> Reply:
        del number
        calls[None] += 1
        return Reply(*perform(invocation), latency.below(calls[None], 80 * MS) + 4 * MS)

    return reply


def unreliable(perform: Perform, seed: int = 1) -> SimulatedClient:
    """Return a client of which one operation in eight is refused, and one in eight ends in doubt."""
    stream, latency, calls = Stream(seed, "ends"), Stream(seed, "latency"), Counter[None]()
    late: list[Invocation] = []

    def reply(invocation: Invocation, number: int) -> Reply:
        del number
        calls[None] += 1
        took = latency.below(calls[None], 80 * MS) + 4 * MS
        if late and stream.below(calls[None] * 2, 6) == 0:
            perform(late.pop(0))
        end = stream.below(calls[None] * 2 + 1, 24)
        if end < 3:
            return Reply(EventType.FAIL, invocation.value, took)
        if end < 6:
            if end == 3:
                perform(invocation)
            if end == 4:
                late.append(invocation)
            return Reply(EventType.INFO, invocation.value, took)
        return Reply(*perform(invocation), took)

    return reply


def play(
    name: str, client: SimulatedClient, *, operations: int = 400, setting: Setting = SETTING
) -> History:
    """Play a workload from its load to its end."""
    workload = workload_named(name)
    source = phases(limit(operations, workload.load(setting)), workload.final(setting))
    return simulate(source, client, threads=setting.threads, seed=setting.seed)


def judge(name: str, history: History) -> dict[str, CheckResult]:
    """Judge a history by each of the workload's checks."""
    checks = workload_named(name).checks
    return {check.name: check.judge(history, Budget.unlimited()) for check in checks}


def invalid(name: str, history: History) -> list[str]:
    """Return the names of the checks that are not met; every other one must be `valid`."""
    results = judge(name, history)
    assert {one.verdict for one in results.values()} <= {Verdict.VALID, Verdict.INVALID}, results
    return [check for check, one in results.items() if one.verdict is Verdict.INVALID]
