"""An interpreter over a fresh journal and in-memory clients, for its tests."""

import threading
import time
from pathlib import Path
from typing import Any

from checker.history import Event, EventType, History, read_jsonl
from harness.client import Client, Completion
from harness.interpreter import Interpreter
from harness.journal import Journal
from workloads.generator import Invocation, Limit
from workloads.randomness import Stream
from workloads.register import RegisterOperations


class Register:
    """A correct register that all clients of a test share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: dict[str | None, Any] = {}
        self.invoked: list[Invocation] = []

    def perform(self, invocation: Invocation) -> Completion:
        with self.lock:
            self.invoked.append(invocation)
            current = self.values.get(invocation.key)
            if invocation.f == "read":
                return Completion(EventType.OK, current)
            if invocation.f == "cas":
                if current != invocation.value[0]:
                    return Completion(EventType.FAIL, invocation.value, "precondition-failed")
                self.values[invocation.key] = invocation.value[1]
            else:
                self.values[invocation.key] = invocation.value
            return Completion(EventType.OK, invocation.value)


class MemoryClient:
    """A client of a `Register`."""

    def __init__(self, register: Register, thread: int) -> None:
        self.node = f"n{thread % 3 + 1}"
        self.register = register
        self.closed = False

    def invoke(self, invocation: Invocation) -> Completion:
        return self.register.perform(invocation)

    def close(self) -> None:
        self.closed = True


class Rig:
    """An interpreter over a fresh journal, with a clock of its own."""

    def __init__(self, tmp_path: Path, *, concurrency: int = 4, timeout_s: float = 1.0) -> None:
        self.register = Register()
        self.clients: list[MemoryClient] = []
        self.make: Any = MemoryClient
        self.seen: list[Event] = []
        self.journal = Journal(tmp_path / "history.jsonl")
        self.began_ns = time.monotonic_ns()
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.nemesis: Client | None = None
        self.refused = 0

    def build(self) -> Interpreter:
        return Interpreter(
            journal=self.journal,
            open_client=self._open,
            concurrency=self.concurrency,
            operation_timeout_ns=int(self.timeout_s * 1e9),
            clock=lambda: time.monotonic_ns() - self.began_ns,
            observe=self.seen.append,
            open_nemesis=None if self.nemesis is None else self._open_nemesis,
        )

    def _open_nemesis(self) -> Client:
        assert self.nemesis is not None
        return self.nemesis

    def _open(self, thread: int) -> Client:
        if self.refused:
            self.refused -= 1
            raise OSError("nobody listens")
        client: MemoryClient = self.make(self.register, thread)
        self.clients.append(client)
        return client

    def history(self) -> History:
        self.journal.close()
        return read_jsonl(self.journal.path)


def load(count: int) -> Limit:
    """So many operations of the register workload, on two keys."""
    return Limit(count, RegisterOperations(Stream(1, "load"), ("k0", "k1")))
