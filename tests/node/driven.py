"""A replica whose disk, network and clock are the test's.

Rules of this file: nothing happens but what the test asks for; a pump is one turn of the driver.
"""

from typing import Any

from servers import SETTINGS, advance, elect, server, take
from test_node_replica import Fakes

from node.admin import AdminRequest
from node.core.messages import (
    AppendReply,
    HeartbeatReply,
    encode,
)
from node.core.settings import MS, Settings
from node.operations import Operation
from node.replica import Replica
from node.state_machine import StateMachine

LEASES = Settings(
    election_timeout_ns=SETTINGS.election_timeout_ns,
    heartbeat_interval_ns=SETTINGS.heartbeat_interval_ns,
    leases=True,
)


class Driven:
    """A replica whose surroundings are ours: it leads {a, b, c}, or follows b."""

    def __init__(
        self, *, leader: bool = True, settings: Settings = SETTINGS, entries: int = 0
    ) -> None:
        self.fakes = Fakes()
        core = server(term=1, settings=settings)
        if leader:
            if settings.leases:
                advance(core, 500)  # the patience of a node that has just started
            elect(core)
            take(core)
        self.fakes.now_ns = core._now_ns
        self.replica = Replica(
            core=core,
            state=StateMachine(),
            disk=self.fakes,
            network=self.fakes,
            clock_ns=lambda: self.fakes.now_ns,
            wake=lambda: None,
            request_timeout_ns=1000 * MS,
            incarnation=5,
            event=lambda text: None,
            snapshot_entries=entries,
            chunk_bytes=64,
        )
        self.pump()
        if leader:
            self.acknowledge()

    def pump(self) -> None:
        self.replica.pump()

    def pass_time(self, duration_ms: int) -> None:
        for _ in range(duration_ms // 10):
            self.fakes.now_ns += 10 * MS
            self.replica.tick()
            self.pump()

    def acknowledge(self, source: str = "b") -> None:
        """A follower holds everything."""
        core = self.replica.core
        index = core.log.last_index
        self.replica.receive(source, encode(AppendReply(source, "a", core.term, True, index, 0, 0)))
        self.pump()

    def beat(self, source: str = "b") -> None:
        """A follower answers the newest heartbeat."""
        core = self.replica.core
        assert core.leadership is not None
        number = core.leadership.rounds.number
        self.replica.receive(source, encode(HeartbeatReply(source, "a", core.term, number)))
        self.pump()

    def call(self, operation: Operation) -> None:
        self.replica.submit(operation, self.fakes.answers.append)
        self.pump()

    def write(self, key: str, value: str) -> None:
        self.call(Operation("write", key, value))
        self.acknowledge()

    def ask(self, op: str, **fields: Any) -> None:
        self.replica.submit_admin(AdminRequest(op, **fields), self.fakes.answers.append)
        self.pump()

    def last_answer(self) -> tuple[str, str]:
        answer = self.fakes.answers[-1]
        return answer.error, answer.value

    def sent(self, kind: str, to: str) -> list[dict[str, object]]:
        return [
            dict(document)
            for target, document in self.fakes.sent
            if target == to and document["type"] == kind
        ]
