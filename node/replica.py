"""The driver: it does what the core's `Ready` says.

Rules of this file:
- Callbacks only; nothing waits. Disk, network, clock and chance are given, so the same object runs
  under asyncio and in a simulated world.
- At most so many entries are applied in one turn: who has a long way to catch up stays able to
  answer heartbeats.
- After an exception in here the process must end: half a Ready is not a state to go on from.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from node.admin import AdminRequest
from node.administration import Administration
from node.core.membership import Configuration
from node.core.messages import Json, Message, SnapshotChunk, decode, encode
from node.core.raft import Raft
from node.core.ready import Ready
from node.operations import Operation
from node.requests import LogTime, Network, Requests
from node.snapshotting import CHUNK_BYTES, SnapshotDisk, Snapshots
from node.state_machine import StateMachine
from node.storage.wal import Batch
from node.waiters import Reply

APPLIED_A_TURN_MAX = 500


class Disk(SnapshotDisk, Protocol):
    """Makes batches durable, in order, and keeps snapshots."""

    def submit(self, batch: Batch, done: Callable[[], None]) -> None:
        """Call `done` later, when this batch and all before it are durable."""
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
    snapshot_index: int
    state_hash: str
    log_time_ms: int
    voters: tuple[str, ...]
    outgoing: tuple[str, ...]
    learners: tuple[str, ...]
    configuration_index: int


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
        snapshot_entries: int = 0,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        """`wake` must make `pump` be called soon; `incarnation` differs at each start."""
        self.core = core
        self.state = state
        self.name = core.name
        self.requests = Requests(
            core=core,
            network=network,
            clock_ns=clock_ns,
            request_timeout_ns=request_timeout_ns,
            incarnation=incarnation,
        )
        self.requests.log_time = LogTime(state.time_ms, clock_ns())
        self.snapshots = Snapshots(
            core=core,
            disk=disk,
            entries_max=snapshot_entries,
            state=lambda: self.state,
            install=self._install,
            event=event,
            chunk_bytes=chunk_bytes,
        )
        self.administration = Administration(core, self.requests, self.snapshots)
        self._disk = disk
        self._network = network
        self._clock_ns = clock_ns
        self._wake = wake
        self._event = event
        self._commit_to = state.applied_index
        self._unpersisted: deque[Ready] = deque()
        self._configuration: Configuration | None = None
        self._last_event = ""
        self.changes = 0

    # What the server calls.

    def submit(self, operation: Operation, reply: Reply) -> None:
        """Carry out a client's operation; `reply` is called exactly once, perhaps at once."""
        self.requests.submit(operation, reply, self.state)
        self._wake()

    def submit_admin(self, request: AdminRequest, reply: Reply) -> None:
        """Carry out an operator's request; `reply` is called exactly once."""
        self.administration.submit(request, reply)
        self._wake()

    def receive(self, source: str, document: Mapping[str, Json]) -> None:
        """A message of another member; raises `Malformed` and changes nothing if it is none."""
        kind = document.get("type")
        if kind == "forward":
            self.requests.on_forward(source, document)
        elif kind == "forward_reply":
            self.requests.on_forward_reply(source, document)
        else:
            message = decode(document, source, self.name)
            self.core.tick(self._clock_ns())
            self.core.step(message)
        self._wake()

    def tick(self) -> None:
        """Time has passed; to be called every few milliseconds."""
        self.core.tick(self._clock_ns())
        self.requests.expire()
        self.requests.propose_tick(self.state)
        self._wake()

    def peer_lost(self, member: str) -> None:
        """The connection to a member broke."""
        self.requests.peer_lost(member)

    def stop(self) -> None:
        """Answer everybody; nothing new is begun."""
        self.requests.stop()

    def status(self) -> Status:
        """A snapshot, from memory."""
        core, configuration = self.core, self.core.log.configuration
        return Status(
            role=core.role.value,
            term=core.term,
            leader=core.leader,
            voted_for=core.voted_for,
            commit_index=core.commit_index,
            applied_index=self.state.applied_index,
            last_index=core.log.last_index,
            first_index=core.log.first_index,
            snapshot_index=self.snapshots.index,
            state_hash=self.state.state_hash(),
            log_time_ms=self.state.time_ms,
            voters=configuration.voters,
            outgoing=configuration.outgoing,
            learners=configuration.learners,
            configuration_index=core.log.configuration_index,
        )

    # The Ready loop.

    def pump(self) -> None:
        """Do what there is to do, until there is nothing, or entries enough are applied."""
        self._follow_configuration()
        while (ready := self.core.ready()) is not None:
            self._obey(ready)
        self._apply(APPLIED_A_TURN_MAX)
        if self.requests.answer_reads(self.state):
            self._wake()
        self.snapshots.consider()
        self.administration.look()
        self._follow_configuration()
        self._note_change()
        if self.state.applied_index < self._commit_to:
            self._wake()

    def _obey(self, ready: Ready) -> None:
        self._persist(ready)
        self._send_all(ready.messages)
        for wanted in ready.chunks_wanted:
            self.snapshots.send(wanted)
        for chunk in ready.chunks:
            self.snapshots.receive(chunk)
        self._commit_to = max(self._commit_to, ready.commit_to)
        for grant in ready.reads_ready:
            self.requests.granted(grant.context, grant.index, grant.term)
        for context in ready.reads_aborted:
            self.requests.aborted(context)

    def _persist(self, ready: Ready) -> None:
        if not ready.changes_disk and not ready.messages_after_persist:
            return
        self._unpersisted.append(ready)
        if ready.changes_disk or len(self._unpersisted) > 1:
            batch = Batch(
                hard_state=ready.hard_state,
                base=ready.base,
                truncate_from=ready.truncate_from,
                entries=ready.entries,
            )
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

    def _apply(self, entries_max: int) -> None:
        """Apply what is committed, each entry once and in order."""
        last = min(self._commit_to, self.state.applied_index + entries_max)
        now_ns = self._clock_ns()
        while self.state.applied_index < last:
            entry = self.core.log.entry(self.state.applied_index + 1)
            result = self.state.apply(entry)
            self.requests.applied(entry.index, entry.term, result)
        self.requests.log_time.seen(self.state.time_ms, now_ns)

    def _install(self, chunk: SnapshotChunk, state: StateMachine) -> bool:
        """A snapshot of the leader is durable here: it takes the place of the state, if the core
        agrees."""
        if not self.core.install(chunk):
            return False
        self.state = state
        self._commit_to = max(self._commit_to, state.applied_index)
        self.requests.log_time.seen(state.time_ms, self._clock_ns())
        self.snapshots.installed(chunk.index)
        self._wake()
        return True

    def _follow_configuration(self) -> None:
        """Let the network know who belongs to the cluster."""
        configuration = self.core.log.configuration
        if configuration is not self._configuration:
            self._configuration = configuration
            self._network.set_members(configuration.addresses)

    def _note_change(self) -> None:
        core, members = self.core, self.core.log.configuration
        event = f"role={core.role.value} term={core.term} leader={core.leader}"
        joint = f" and {','.join(members.outgoing)}" if members.is_joint else ""
        event += f" voters={','.join(members.voters)}{joint}"
        if members.learners:
            event += f" learners={','.join(members.learners)}"
        if event != self._last_event:
            self._last_event = event
            self.changes += 1
            self._event(f"{event} commit={core.commit_index} last={core.log.last_index}")
