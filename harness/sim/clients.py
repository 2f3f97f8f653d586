"""Clients: sessions, several operations at once, retries through any node.

Checked here, by number of the invariants:
- G10 all answers to one sequence of a session are equal.
- G11 a read sees whatever was known to be done when it was asked for (`Answers`, and the applied
  index of the node that serves it).
- G12 an acknowledged operation is what was committed at that index and term; one that failed for
  certain is never committed.

Rules of this file:
- A retry is the same operation with the same sequence, at another node, perhaps while the first
  attempt is still on its way. Without a session nothing is sent twice.
- An answer may be lost on its way to the client.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from harness.sim.answers import Answers, Floor
from harness.sim.violation import Violation
from harness.sim.work import Work
from node.operations import FAILURES, Answer, Operation, Session

if TYPE_CHECKING:
    from harness.sim.cluster import Cluster
    from harness.sim.node import SimNode

ATTEMPTS_MAX = 5


@dataclass(slots=True, eq=False)
class Call:
    """One operation of a client."""

    number: int
    operation: Operation
    answered: Callable[["Call"], object]
    attempts: int = 0
    doubtful: bool = False
    done: bool = False
    value: tuple[str, str] | None = None
    """The first answer that was no refusal to try."""
    floors: list[Floor] = field(default_factory=list)

    @property
    def is_unlike_others(self) -> bool:
        """Does no other operation have the same text?"""
        operation = self.operation
        named = operation.op in ("append", "write", "cas", "enqueue", "increment")
        return named or (operation.session is not None and not operation.reads_only)

    @property
    def failed(self) -> bool:
        """Did every attempt fail for certain, without an entry?"""
        return self.done and not self.doubtful and self.value is None


class Clients:
    """All clients, and what they know."""

    def __init__(self, cluster: "Cluster", work: Work, timeout_ns: int) -> None:
        self.cluster = cluster
        self.answers = Answers()
        self.calls: list[Call] = []
        self.succeeded = 0
        self.reads = 0
        self.chance = cluster.world.stream("clients")
        self.answers_lost = 0
        self.work = work
        self._timeout_ns = timeout_ns
        self._clients = [Client(self, number) for number in range(work.clients)]
        self.stopped = False

    def begin(self) -> None:
        """Let all of them work."""
        for client in self._clients:
            client.think()

    def stop(self) -> None:
        """Begin nothing new."""
        self.stopped = True

    def call(
        self, operation: Operation, answered: Callable[[Call], object], node: str = ""
    ) -> Call:
        """Ask for an operation."""
        call = Call(len(self.calls), operation, answered)
        self.calls.append(call)
        self.attempt(call, node)
        return call

    def burst(self, node: str, within_ns: int) -> None:
        """Some operations, all at one node: those who happen to be connected to it."""
        if self.stopped:
            return
        for _ in range(self.chance.randrange(2, 9)):
            self.cluster.world.after(self.chance.randrange(within_ns), partial(self._at_node, node))

    def _at_node(self, node: str) -> None:
        if not self.stopped:
            operation = self.work.operation(self.chance, len(self.calls))
            self.call(operation, lambda call: None, node)

    def attempt(self, call: Call, name: str = "") -> None:
        """Send it to a node, any one if none is named."""
        world = self.cluster.world
        names = self.cluster.names()
        name = name or names[self.chance.randrange(len(names))]
        number = len(call.floors)
        call.floors.append(self.answers.floor())
        call.attempts += 1
        world.note(f"call {call.number} {name} {call.operation.op} {call.operation.key}")
        world.after(self._delay_ns(), partial(self._arrive, call, number, name))
        world.after(self._timeout_ns, partial(self._late, call, number))

    def check_failures(self) -> None:
        """G12: what failed for certain never happened."""
        committed = self.cluster.committed_texts()
        failed = [call for call in self.calls if call.failed]
        for call in failed:
            if call.is_unlike_others and call.operation.to_text()[1:] in committed:
                text = f"operation {call.number} failed for certain, and is committed: {call}"
                raise Violation("invariant", "G12", text)
        self.answers.never(
            (call.operation.key, call.operation.value)
            for call in failed
            if call.operation.op == "append"
        )

    def _delay_ns(self) -> int:
        return self.chance.randrange(10_000, 400_000)

    def _arrive(self, call: Call, number: int, name: str) -> None:
        node = self.cluster.nodes[name]
        if not node.process.up:
            answer = Answer("no-leader", "null", 0, 0, name)  # the connection is refused
            self.cluster.world.after(self._delay_ns(), partial(self._answer, call, number, answer))
            return
        node.process.arrive(f"client{call.number}", partial(self._submit, call, number, node))

    def _submit(self, call: Call, number: int, node: "SimNode") -> None:
        if node.replica is not None:
            node.replica.submit(call.operation, partial(self._replied, call, number, node))

    def _replied(self, call: Call, number: int, node: "SimNode", answer: Answer) -> None:
        """The node answers; what it serves from is seen at this moment."""
        operation = call.operation
        if operation.reads_only and not answer.error and operation.mode != "stale":
            assert node.replica is not None
            applied, floor = node.replica.state.applied_index, call.floors[number].index
            if applied < floor:
                text = (
                    f"{node.name} serves a read ({operation.mode}) at {applied}, though {floor} was"
                    " known to be done when it was asked"
                )
                raise Violation("invariant", "G11", text)
        if self.chance.getrandbits(8) < self.answers_lost:
            return
        self.cluster.world.after(self._delay_ns(), partial(self._answer, call, number, answer))

    def _answer(self, call: Call, number: int, answer: Answer) -> None:
        self.cluster.world.note(
            f"answer {call.number} {answer.error or 'ok'} {answer.index} {answer.value:.40}"
        )
        failure = FAILURES[answer.error] if answer.error else None
        if failure is not None and answer.index == 0:
            call.doubtful = call.doubtful or not failure.definite
            if not call.done:
                self._again(call, number)
            return
        if failure is not None and not failure.definite:  # session-stale, session-expired
            call.doubtful = True
            self._finish(call)
            return
        self._check(call, number, answer)
        known = (answer.error, answer.value)
        if call.value is None:
            call.value = known
            self._learn(call, number, answer)
        elif call.value != known and not call.operation.reads_only:
            text = f"operation {call.number} was answered {call.value} and {known}"
            raise Violation("client", "G10", text)
        self._finish(call)

    def _check(self, call: Call, number: int, answer: Answer) -> None:
        operation = call.operation
        if operation.reads_only:
            return
        if answer.index <= call.floors[0].index:
            text = (
                f"operation {call.number} happened at {answer.index}, though {call.floors[0].index}"
                " was done before it was asked for"
            )
            raise Violation("client", "G11", text)
        found = self.cluster.committed_text(answer.index, answer.term)
        if found != operation.to_text()[1:]:
            text = (
                f"operation {call.number} was acknowledged at {answer.index} of term {answer.term},"
                f" where {found!r:.100} is committed, not {operation.to_text():.100}"
            )
            raise Violation("invariant", "G12", text)

    def _learn(self, call: Call, number: int, answer: Answer) -> None:
        operation, answers = call.operation, self.answers
        if not answer.error:
            self.succeeded += 1
        if operation.reads_only:
            self.reads += 1
            if operation.mode != "stale" and not answer.error:
                answers.read(operation, answer, call.floors[number])
        elif answer.error:
            answers.refused(answer)
        else:
            answers.succeeded(call.number, operation, answer, once=call.attempts == 1)

    def _late(self, call: Call, number: int) -> None:
        if not call.done and number == call.attempts - 1:
            call.doubtful = True
            self._again(call, number)

    def _again(self, call: Call, number: int) -> None:
        """Try once more where that is allowed, or give up."""
        if number != call.attempts - 1:
            return
        operation = call.operation
        may = operation.session is not None or operation.reads_only or not call.doubtful
        if may and call.attempts < ATTEMPTS_MAX:
            pause_ns = self.chance.randrange(1, 8) * self._timeout_ns // 16
            self.cluster.world.after(pause_ns, partial(self._try_again, call))
        else:
            self._finish(call)

    def _try_again(self, call: Call) -> None:
        if not call.done:
            self.attempt(call)

    def _finish(self, call: Call) -> None:
        if not call.done:
            call.done = True
            call.answered(call)


class Client:
    """One client, with one session at a time."""

    def __init__(self, clients: Clients, number: int) -> None:
        self._clients = clients
        self._chance: Random = clients.cluster.world.stream(f"client:{number}")
        self._session = 0
        self._sequence = 0
        self._open: dict[int, Call] = {}
        self._in_flight = 0
        self._opening = False

    def think(self) -> None:
        """Perhaps ask for something; then think again."""
        clients, work = self._clients, self._clients.work
        if clients.stopped:
            return
        pause_ns = work.pause_ns // 4 + self._chance.randrange(work.pause_ns)
        clients.cluster.world.after(pause_ns, self.think)
        if not self._session and not self._opening and self._chance.random() < 0.5:
            self._opening = True
            clients.call(Operation("open_session", ttl_ms=work.session_ttl_ms), self._opened)
        elif self._in_flight < work.window:
            self._ask()

    def _ask(self) -> None:
        clients = self._clients
        operation = clients.work.operation(self._chance, len(clients.calls))
        if not operation.reads_only and self._session and self._chance.random() < 0.9:
            self._sequence += 1
            acknowledged = min(self._open, default=self._sequence) - 1
            session = Session(self._session, self._sequence, acknowledged)
            operation = operation._replace(session=session)
        self._in_flight += 1
        call = clients.call(operation, self._answered)
        if operation.session is not None and not call.done:
            self._open[operation.session.sequence] = call

    def _opened(self, call: Call) -> None:
        self._opening = False
        if call.value is not None and not call.value[0]:
            self._session, self._sequence = int(call.value[1]), 0
            self._open = {}

    def _answered(self, call: Call) -> None:
        self._in_flight -= 1
        session = call.operation.session
        if session is None or session.id != self._session:
            return
        self._open.pop(session.sequence, None)
        if call.value is None and call.doubtful and self._chance.random() < 0.5:
            self._session = 0  # it may have expired: begin anew
