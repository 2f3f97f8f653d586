"""The client of etcd: carries an operation's requests to one node, and decides what errors mean.

Rules of this file:
- A request is sent once, and all requests of an operation share one deadline.
- An error is told by its message: the gateway's numbers say less, and not always the same. One that
  the table `ERRORS` does not know is doubt, and doubt is `info`.
- A request that cannot change anything leaves no doubt: if it fails, the operation has failed,
  because those before it in the conversation are known to have changed nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Final

from checker.history import EventType
from harness.client import Completion
from harness.systems.etcd_words import Answer, GarbledAnswer, Request, converse
from harness.systems.one_post import NoAnswer, open_session, post_once
from workloads.generator import Invocation

# Message -> certainly had no effect. Definite is what etcd says before it proposes anything.
ERRORS: Final[Mapping[str, bool]] = {
    # Said by the checks in front of every request (api/v3rpc: interceptor.go, key.go).
    "etcdserver: no leader": True,
    "etcdserver: not capable": True,
    "etcdserver: rpc not supported for learner": True,
    "etcdserver: key is not provided": True,
    "etcdserver: duplicate key given in txn request": True,
    "etcdserver: too many operations in txn request": True,
    # Said while it is being proposed (etcdserver/v3_server.go, raft/raft.go): it is in no log.
    "etcdserver: request is too large": True,
    "etcdserver: too many requests": True,
    "raft proposal dropped": True,
    # Said while waiting for what was proposed: it may be applied yet.
    "etcdserver: request timed out": False,
    "etcdserver: request timed out, possibly due to previous leader failure": False,
    "etcdserver: request timed out, possibly due to connection lost": False,
    "etcdserver: leader changed": False,
    "etcdserver: server stopped": False,
    "context deadline exceeded": False,
    "context canceled": False,
    # Said of what *was* applied, by the first request beyond the quota (etcdserver/apply.go).
    "etcdserver: mvcc: database space exceeded": False,
    # Seen by the client itself.
    "not-sent": True,
    "not-connected": True,
    "connection-lost": False,
    "timeout": False,
    "garbled-answer": False,
}

# etcd answers at once when it knows no leader, instead of waiting for one, if it is asked to. A read
# that need not be up to date needs no leader.
_WANTS_LEADER: Final = {"Grpc-Metadata-hasleader": "true"}

# Who refuses in no time would take all the load that the rate allows, and the others get none.
_QUICK: Final = frozenset({"not-connected", "etcdserver: no leader"})
_BACK_OFF_S: Final = 0.1

# A list is read as a whole, but no workload lets one grow beyond some thousands of values.
_ANSWER_BYTES_MAX: Final = 8 << 20


def outcome_of(code: str, *, changes: bool) -> EventType:
    """Say whether an operation whose last request ended with this error certainly did not happen."""
    return EventType.FAIL if not changes or ERRORS.get(code, False) else EventType.INFO


class EtcdClient:
    """Speaks to one node about one kind of data. Not thread-safe: one client a thread."""

    def __init__(
        self, *, node: str, url: str, data: str, timeout_s: float, stale: bool = False
    ) -> None:
        """Prepare a session; no connection is made before the first operation."""
        self.node = node
        self._url = f"{url}/v3/kv"
        self._data = data
        self._timeout_s = timeout_s
        self._stale = stale
        self._session = open_session()

    def invoke(self, invocation: Invocation) -> Completion:
        """Perform one operation within the timeout, and decide what its end means."""
        deadline = time.monotonic() + self._timeout_s
        conversation = converse(self._data, invocation, stale=self._stale)
        request = next(conversation)
        try:
            while True:
                request = conversation.send(self._ask(request, deadline))
        except StopIteration as end:
            completion: Completion = end.value
            return completion
        except GarbledAnswer:
            code = "garbled-answer"
        except _Refused as refused:
            code = str(refused)
        except NoAnswer as silence:
            code = silence.code
        if code in _QUICK:
            time.sleep(min(_BACK_OFF_S, self._timeout_s / 2))
        return Completion(outcome_of(code, changes=request.changes), invocation.value, code)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, request: Request, deadline: float) -> Answer:
        """Return etcd's answer. Raises `_Refused`, `NoAnswer` or `GarbledAnswer`."""
        status, body = post_once(
            self._session,
            f"{self._url}/{request.path}",
            request.body,
            deadline=deadline,
            bytes_max=_ANSWER_BYTES_MAX,
            headers=None if request.body.get("serializable") else _WANTS_LEADER,
        )
        try:
            answer = json.loads(body)
        except ValueError:
            raise GarbledAnswer("no JSON") from None
        if not isinstance(answer, dict):
            raise GarbledAnswer("no object")
        if isinstance(answer.get("error"), str):
            raise _Refused(answer["error"])
        if status != 200:
            raise GarbledAnswer(f"status {status} without an error")
        return answer


class _Refused(Exception):
    """etcd answered with an error; the text is its message."""
