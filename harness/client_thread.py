"""The thread in which a client works: takes an operation, performs it, stamps the answer.

Rules of this file:
- The stamp of a completion is taken here, as soon as the client returns.
- Whatever a client does wrong becomes an answer: what it raises, and what is no completion, is
  `info`. Only where no client could be opened nothing was sent, and that is `fail`.
- A thread has one operation at a time and ends when it is told to, after the one under way.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from checker.history import EventType
from workloads.generator import Invocation

from .client import Client, Completion
from .mailbox import Mailbox

Clock = Callable[[], int]
# At most one operation and one word to end are ever in it.
Inbox = queue.SimpleQueue[Invocation | None]


class Answer(NamedTuple):
    """How an operation ended, and when. `generation` tells a replaced thread from its successor."""

    thread: int | str
    generation: int
    time_ns: int
    completion: Completion


# Holds at most one answer of each thread that was ever started and has not ended.
Answers = Mailbox[Answer]


def start(
    client: Client, thread: int | str, generation: int, answers: Answers, clock: Clock
) -> Inbox:
    """Start a client's thread and return the queue by which it gets its operations."""
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(
        target=_serve,
        args=(client, thread, generation, inbox, answers, clock),
        name=f"client-{thread}.{generation}",
        daemon=True,
    ).start()
    return inbox


def _serve(
    client: Client,
    thread: int | str,
    generation: int,
    inbox: Inbox,
    answers: Answers,
    clock: Clock,
) -> None:
    """Perform the operations of one client until it is told to end (`None`)."""
    invoke, get, put = client.invoke, inbox.get, answers.put
    while True:
        invocation = get()
        if invocation is None:
            break
        try:
            completion = invoke(invocation)
            time_ns = clock()
            # Clients are people's own code: what they return is not taken on trust.
            if not isinstance(completion, Completion) or completion.type is EventType.INVOKE:
                completion = _misbehaved(invocation, f"returned {completion!r:.80}")
        except Exception as error:  # noqa: BLE001  (whatever it was, the outcome is not known)
            time_ns = clock()
            completion = _misbehaved(invocation, f"{type(error).__name__}: {error}")
        put(Answer(thread, generation, time_ns, completion))
    with contextlib.suppress(Exception):
        client.close()


def _misbehaved(invocation: Invocation, what: str) -> Completion:
    return Completion(EventType.INFO, invocation.value, f"client-error: {what}")


class Unopened:
    """Stands in for a client that could not be opened; tries again with every operation."""

    def __init__(self, open_client: Callable[[], Client], node: str) -> None:
        self.node = node
        self._open_client = open_client
        self._client: Client | None = None

    def invoke(self, invocation: Invocation) -> Completion:
        """Open a client and have it perform the operation; `fail` if there is none to be had."""
        if self._client is None:
            try:
                self._client = self._open_client()
            except Exception as error:  # noqa: BLE001  (nothing was sent, whatever it was)
                text = f"no-client: {type(error).__name__}: {error}"
                return Completion(EventType.FAIL, invocation.value, text)
        return self._client.invoke(invocation)

    def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            self._client.close()
