"""The operations of clients on their way through a node: admitted, proposed, forwarded, answered.

Rules of this file:
- Every operation is answered once: from the result of applying it, from a read that was confirmed,
  from the node it was forwarded to, or at its deadline. Never earlier.
- An operation that left this node is never sent again by it. A client that may have it carried out
  twice gives it a session (`sessions`).
- Which errors are definite is said in `operations.FAILURES`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

from node.command import Command
from node.core.messages import Json, Malformed, natural
from node.core.raft import Raft
from node.core.settings import MS, Role
from node.operations import (
    TICK,
    Answer,
    Operation,
    Result,
    answer_from_list,
    failed,
    operation_from_text,
)
from node.state_machine import StateMachine
from node.waiters import Reply, Waiter, Waiters

IN_FLIGHT_MAX = 1024
SEEN_FORWARDS_MAX = 4096


class Network(Protocol):
    """Carries messages to other members, or loses them."""

    def send(self, target: str, document: Mapping[str, Json]) -> bool:
        """False if it certainly was not sent: there is no connection."""
        ...

    def set_members(self, addresses: Mapping[str, tuple[str, str]]) -> None:
        """Who belongs to the cluster now, and where: (peer, client) of each."""
        ...


class LogTime:
    """The time that is stamped on commands: it goes on from the newest stamp that was applied.

    It advances with this node's monotonic clock, so no wall clock matters, and stands still while
    nobody leads (dissertation section 6.3 asks no more than that all agree on it).
    """

    def __init__(self, time_ms: int, now_ns: int) -> None:
        self._anchor_ms = time_ms
        self._anchor_ns = now_ns

    def now_ms(self, now_ns: int) -> int:
        """What a command proposed now is stamped with."""
        return self._anchor_ms + (now_ns - self._anchor_ns) // MS

    def seen(self, time_ms: int, now_ns: int) -> None:
        """A stamp was applied."""
        if time_ms > self.now_ms(now_ns):
            self._anchor_ms, self._anchor_ns = time_ms, now_ns


class Requests:
    """The operations in flight at one node."""

    def __init__(
        self,
        *,
        core: Raft,
        network: Network,
        clock_ns: Callable[[], int],
        request_timeout_ns: int,
        incarnation: int,
    ) -> None:
        """`incarnation` differs at each start."""
        self.waiters = Waiters()
        self.in_flight = 0
        self.answered: dict[str, int] = {}
        self._core = core
        self._name = core.name
        self._network = network
        self._clock_ns = clock_ns
        self._request_timeout_ns = request_timeout_ns
        self._incarnation = incarnation
        self._stopping = False
        self._number = 0
        self._seen_forwards: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self.log_time = LogTime(0, clock_ns())
        self._tick = (0, 0)  # index and term of the newest one proposed here
        self._asked = 0

    # Clients.

    def submit(self, operation: Operation, reply: Reply, state: StateMachine) -> None:
        """Carry out an operation; `reply` is called exactly once, perhaps at once."""
        waiter = self._admit(operation, reply)
        if waiter is None:
            return
        if operation.reads_only:
            self._read(waiter, state)
        elif self._core.role is Role.LEADER:
            self._propose(waiter)
        else:
            self._forward(waiter)

    def admit(self, reply: Reply) -> Waiter | None:
        """A place for something that is no operation on the data, such as a change of members."""
        return self._admit(Operation("read", "admin"), reply)

    def expire(self) -> None:
        """Answer those whose time is up."""
        for waiter in self.waiters.expired(self._clock_ns()):
            waiter.answer(failed("outcome-unknown", self._name))

    def peer_lost(self, member: str) -> None:
        """The connection to a member broke: what was forwarded on it may be lost or not."""
        for waiter in list(self.waiters.by_number.values()):
            if waiter.forwarded_to == member:
                waiter.answer(failed("outcome-unknown", self._name))

    def stop(self) -> None:
        """Answer everybody; nothing new is begun."""
        self._stopping = True
        for waiter in list(self.waiters.open):
            code = "shutting-down" if waiter.operation.reads_only else "outcome-unknown"
            waiter.answer(failed(code, self._name))

    def _admit(self, operation: Operation, reply: Reply) -> Waiter | None:
        """A place among the operations in flight, numbered; None if it was refused."""
        if self._stopping:
            reply(failed("shutting-down", self._name))
            return None
        if self.in_flight >= IN_FLIGHT_MAX:
            reply(failed("overloaded", self._name))
            return None
        self._number += 1
        self.in_flight += 1
        number = self._number

        def done(answer: Answer) -> None:
            self.in_flight -= 1
            del self.waiters.by_number[number]
            self.answered[answer.error] = self.answered.get(answer.error, 0) + 1
            reply(answer)

        deadline_ns = self._clock_ns() + self._request_timeout_ns
        waiter = Waiter(operation, done, deadline_ns, number)
        self.waiters.open.append(waiter)
        self.waiters.by_number[number] = waiter
        return waiter

    # Reads.

    def _read(self, waiter: Waiter, state: StateMachine) -> None:
        """From here at once (stale), by lease, or by a read index (dissertation section 6.4)."""
        core, mode = self._core, waiter.operation.mode
        if mode == "stale":
            self._answer_read(waiter, state, state.applied_index, state.applied_term)
        elif mode == "lease" and core.has_lease(self._clock_ns()):
            waiter.by_lease = True
            self.waiters.read(core.commit_index, core.term, waiter)
            self.answer_reads(state)
        else:
            self._ask_for_index(waiter)

    def _ask_for_index(self, waiter: Waiter) -> None:
        self._asked += 1
        if not self._core.read(waiter.number):
            waiter.answer(failed("no-leader", self._name))

    def granted(self, context: int, index: int, term: int) -> None:
        """A read may be answered once `index` has been applied."""
        waiter = self.waiters.by_number.get(context)
        if waiter is not None and not waiter.done:
            self.waiters.read(index, term, waiter)

    def aborted(self, context: int) -> None:
        """The leader is gone, or another."""
        waiter = self.waiters.by_number.get(context)
        if waiter is not None:
            waiter.answer(failed("not-leader", self._name))

    def answer_reads(self, state: StateMachine) -> bool:
        """Answer the reads whose index has been applied. True if the core was asked for a read
        index, since a lease ran out meanwhile."""
        asked = self._asked
        for index, term, waiter in self.waiters.readable(state.applied_index):
            if waiter.by_lease and not self._core.has_lease(self._clock_ns()):
                waiter.by_lease = False  # it ran out while the read waited
                self._ask_for_index(waiter)
            else:
                self._answer_read(waiter, state, index, term)
        return self._asked > asked

    def _answer_read(self, waiter: Waiter, state: StateMachine, index: int, term: int) -> None:
        result = state.read(waiter.operation)
        answer = Answer(result.error, result.value, index, term, self._name)
        if waiter.by_lease and not self._core.has_lease(self._clock_ns()):
            self._ask_for_index(waiter)  # it ran out while the answer was made
        else:
            waiter.answer(answer)

    # Writes.

    def _propose(self, waiter: Waiter) -> None:
        proposed = self._core.propose(self._command(waiter.operation))
        if proposed is None:
            code = "transferring" if self._core.is_transferring else "not-leader"
            waiter.answer(failed(code, self._name))
        else:
            self.waiters.entry(*proposed, waiter)

    def _command(self, operation: Operation) -> str:
        return Command(self.log_time.now_ms(self._clock_ns()), operation).to_text()

    def propose_tick(self, state: StateMachine) -> None:
        """Let what is due expire, by an entry: expiry is part of the log like everything else."""
        due_ms, core = state.next_expiry_ms(), self._core
        if due_ms is None or core.role is not Role.LEADER or core.is_transferring:
            return
        index, term = self._tick
        is_under_way = term == core.term and index > state.applied_index
        if due_ms <= self.log_time.now_ms(self._clock_ns()) and not is_under_way:
            self._tick = core.propose(self._command(TICK)) or self._tick

    def applied(self, index: int, term: int, result: Result) -> None:
        """An entry was applied: tell who waited for it, and who waited for another in its place."""
        right, wrong = self.waiters.applied(index, term)
        for waiter in right:
            waiter.answer(Answer(result.error, result.value, index, term, self._name))
        for waiter in wrong:
            waiter.answer(failed("not-committed", self._name))

    # Forwarding to the leader.

    def _forward(self, waiter: Waiter) -> None:
        """Hand the operation to the leader, once."""
        leader = self._core.leader
        document: dict[str, Json] = {
            "type": "forward",
            "incarnation": self._incarnation,
            "number": waiter.number,
            "operation": waiter.operation.to_text(),
        }
        if leader is None or not self._network.send(leader, document):
            waiter.answer(failed("no-leader", self._name))
        else:
            waiter.forwarded_to = leader

    def on_forward(self, source: str, document: Mapping[str, Json]) -> None:
        """Another node hands over an operation."""
        incarnation = natural(document.get("incarnation"))
        number = natural(document.get("number"))
        text = document.get("operation")
        if not isinstance(text, str):
            raise Malformed("a forward without an operation")
        operation = operation_from_text(text)
        if operation.reads_only or operation.op == TICK.op:
            raise Malformed("only what clients change is forwarded")
        # A network may deliver a message twice; an operation must not run twice.
        key = (source, incarnation, number)
        if key in self._seen_forwards:
            return
        self._seen_forwards[key] = None
        if len(self._seen_forwards) > SEEN_FORWARDS_MAX:
            self._seen_forwards.popitem(last=False)

        def reply(answer: Answer) -> None:
            self._network.send(
                source,
                {
                    "type": "forward_reply",
                    "incarnation": incarnation,
                    "number": number,
                    "answer": answer.to_list(),
                },
            )

        waiter = self._admit(operation, reply)
        if waiter is not None:
            self._propose(waiter)

    def on_forward_reply(self, source: str, document: Mapping[str, Json]) -> None:
        """The leader answers what was forwarded."""
        incarnation = natural(document.get("incarnation"))
        number = natural(document.get("number"))
        answer = answer_from_list(document.get("answer"))
        waiter = self.waiters.by_number.get(number)
        if waiter is None or incarnation != self._incarnation or waiter.forwarded_to != source:
            return  # too late, or not asked
        waiter.answer(answer)
