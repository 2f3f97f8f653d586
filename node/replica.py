"""The driver: it does what the core's `Ready` says, and knows who waits for what.

Rules of this file:
- Callbacks only; nothing waits. Disk, network, clock and chance are given, so the same object runs
  under asyncio and in a simulated world.
- A client is answered from the result of applying, never earlier. An operation that left this node
  is never sent again.
- After an exception in here the process must end: half a Ready is not a state to go on from.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from node.core.messages import Json, Malformed, Message, decode, encode, natural
from node.core.raft import Raft
from node.core.ready import Ready
from node.core.settings import Role
from node.operations import (
    Answer,
    Operation,
    answer_from_list,
    failed,
    operation_from_text,
)
from node.state_machine import StateMachine
from node.storage.wal import Batch
from node.waiters import Reply, Waiter, Waiters

IN_FLIGHT_MAX = 1024
SEEN_FORWARDS_MAX = 4096


class Disk(Protocol):
    """Makes batches durable, in order."""

    def submit(self, batch: Batch, done: Callable[[], None]) -> None:
        """Call `done` later, when this batch and all before it are durable."""
        ...


class Network(Protocol):
    """Carries messages to other members, or loses them."""

    def send(self, target: str, document: Mapping[str, Json]) -> bool:
        """False if it certainly was not sent: there is no connection."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """What /status shows of the replica."""

    role: str
    term: int
    leader: str | None
    voted_for: str | None
    commit_index: int
    applied_index: int
    last_index: int
    first_index: int
    state_hash: str


class Replica:
    """One member of the cluster."""

    def __init__(
        self,
        *,
        core: Raft,
        state: StateMachine,
        disk: Disk,
        network: Network,
        clock_ns: Callable[[], int],
        wake: Callable[[], None],
        request_timeout_ns: int,
        incarnation: int,
        event: Callable[[str], None],
    ) -> None:
        """`wake` must make `pump` be called soon; `incarnation` differs at each start."""
        self.core = core
        self.state = state
        self.name = core.name
        self._disk = disk
        self._network = network
        self._clock_ns = clock_ns
        self._wake = wake
        self._request_timeout_ns = request_timeout_ns
        self._incarnation = incarnation
        self._event = event
        self._stopping = False
        self._waiters = Waiters()
        self._number = 0
        self._in_flight = 0
        self._unpersisted: deque[Ready] = deque()
        self._seen_forwards: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._last_event = ""

    # What the server calls.

    def submit(self, operation: Operation, reply: Reply) -> None:
        """Carry out a client's operation; `reply` is called exactly once, perhaps at once."""
        waiter = self._admit(operation, reply)
        if waiter is None:
            return
        if operation.op == "read":
            self._read(waiter)
        elif self.core.role is Role.LEADER:
            self._propose(waiter)
        else:
            self._forward(waiter)
        self._wake()

    def receive(self, source: str, document: Mapping[str, Json]) -> None:
        """A message of another member; raises `Malformed` and changes nothing if it is none."""
        kind = document.get("type")
        if kind == "forward":
            self._on_forward(source, document)
        elif kind == "forward_reply":
            self._on_forward_reply(source, document)
        else:
            message = decode(document, source, self.name)
            self.core.tick(self._clock_ns())
            self.core.step(message)
        self._wake()

    def tick(self) -> None:
        """Time has passed; to be called every few milliseconds."""
        now_ns = self._clock_ns()
        self.core.tick(now_ns)
        for waiter in self._waiters.expired(now_ns):
            waiter.answer(failed("outcome-unknown", self.name))
        self._wake()

    def peer_lost(self, member: str) -> None:
        """The connection to a member broke: what was forwarded on it may be lost or not."""
        for waiter in list(self._waiters.by_number.values()):
            if waiter.forwarded_to == member:
                waiter.answer(failed("outcome-unknown", self.name))

    def stop(self) -> None:
        """Answer everybody; nothing new is begun."""
        self._stopping = True
        for waiter in list(self._waiters.open):
            code = "shutting-down" if waiter.operation.op == "read" else "outcome-unknown"
            waiter.answer(failed(code, self.name))

    def status(self) -> Status:
        """A snapshot, from memory."""
        core = self.core
        return Status(
            role=core.role.value,
            term=core.term,
            leader=core.leader,
            voted_for=core.voted_for,
            commit_index=core.commit_index,
            applied_index=self.state.applied_index,
            last_index=core.log.last_index,
            first_index=core.log.first_index,
            state_hash=self.state.state_hash(),
        )

    # The Ready loop.

    def pump(self) -> None:
        """Do what there is to do, until there is nothing."""
        while (ready := self.core.ready()) is not None:
            self._persist(ready)
            self._send_all(ready.messages)
            self._apply(ready.commit_to)
            for grant in ready.reads_ready:
                waiter = self._waiters.by_number.get(grant.context)
                if waiter is not None and not waiter.done:
                    self._waiters.read(grant.index, grant.term, waiter)
            self._answer_reads()
            for context in ready.reads_aborted:
                waiter = self._waiters.by_number.get(context)
                if waiter is not None:
                    waiter.answer(failed("not-leader", self.name))
        self._note_change()

    def _persist(self, ready: Ready) -> None:
        if not ready.changes_disk and not ready.messages_after_persist:
            return
        self._unpersisted.append(ready)
        if ready.changes_disk or len(self._unpersisted) > 1:
            batch = Batch(ready.hard_state, ready.truncate_from, ready.entries)
            self._disk.submit(batch, lambda: self._on_durable(ready))
        else:
            self._on_durable(ready)

    def _on_durable(self, ready: Ready) -> None:
        assert self._unpersisted[0] is ready, "the disk must keep order"
        self._unpersisted.popleft()
        self.core.persisted(ready.seq)
        self._send_all(ready.messages_after_persist)
        self._wake()

    def _send_all(self, messages: tuple[Message, ...]) -> None:
        for message in messages:
            self._network.send(message.target, encode(message))

    def _apply(self, commit_to: int) -> None:
        while self.state.applied_index < commit_to:
            entry = self.core.log.entry(self.state.applied_index + 1)
            error, value = self.state.apply(entry)
            answer = Answer(error, value, entry.index, entry.term, self.name)
            right, wrong = self._waiters.applied(entry.index, entry.term)
            for waiter in right:
                waiter.answer(answer)
            for waiter in wrong:
                waiter.answer(failed("not-committed", self.name))

    def _answer_reads(self) -> None:
        for index, term, waiter in self._waiters.readable(self.state.applied_index):
            value = self.state.get(waiter.operation.key)
            waiter.answer(Answer("", value, index, term, self.name))

    def _note_change(self) -> None:
        core = self.core
        event = f"role={core.role.value} term={core.term} leader={core.leader}"
        if event != self._last_event:
            self._last_event = event
            self._event(f"{event} commit={core.commit_index} last={core.log.last_index}")

    # Operations.

    def _admit(self, operation: Operation, reply: Reply) -> Waiter | None:
        """A place among the operations in flight, numbered; None if it was refused."""
        if self._stopping:
            reply(failed("shutting-down", self.name))
            return None
        if self._in_flight >= IN_FLIGHT_MAX:
            reply(failed("overloaded", self.name))
            return None
        self._number += 1
        self._in_flight += 1
        number = self._number

        def done(answer: Answer) -> None:
            self._in_flight -= 1
            del self._waiters.by_number[number]
            reply(answer)

        waiter = Waiter(operation, done, self._clock_ns() + self._request_timeout_ns)
        self._waiters.open.append(waiter)
        self._waiters.by_number[number] = waiter
        return waiter

    def _read(self, waiter: Waiter) -> None:
        if not self.core.read(self._number):
            waiter.answer(failed("no-leader", self.name))

    def _propose(self, waiter: Waiter) -> None:
        proposed = self.core.propose(waiter.operation.to_text())
        if proposed is None:
            waiter.answer(failed("not-leader", self.name))
        else:
            self._waiters.entry(*proposed, waiter)

    def _forward(self, waiter: Waiter) -> None:
        """Hand the operation to the leader, once."""
        leader = self.core.leader
        document: dict[str, Json] = {
            "type": "forward",
            "incarnation": self._incarnation,
            "number": self._number,
            "operation": waiter.operation.to_text(),
        }
        if leader is None or not self._network.send(leader, document):
            waiter.answer(failed("no-leader", self.name))
        else:
            waiter.forwarded_to = leader

    def _on_forward(self, source: str, document: Mapping[str, Json]) -> None:
        incarnation = natural(document.get("incarnation"))
        number = natural(document.get("number"))
        text = document.get("operation")
        if not isinstance(text, str):
            raise Malformed("a forward without an operation")
        operation = operation_from_text(text)
        if operation.op == "read":
            raise Malformed("reads are not forwarded")
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

    def _on_forward_reply(self, source: str, document: Mapping[str, Json]) -> None:
        incarnation = natural(document.get("incarnation"))
        number = natural(document.get("number"))
        answer = answer_from_list(document.get("answer"))
        waiter = self._waiters.by_number.get(number)
        if waiter is None or incarnation != self._incarnation or waiter.forwarded_to != source:
            return  # too late, or not asked
        waiter.answer(answer)
