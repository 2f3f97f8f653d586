"""One pure core with a driver, for random schedules.

Rules of this file:
- The driver does what `Ready` says, in its order; a busy one (`World.lazy`) does it a little later.
- The disk is given jobs in order; a crash keeps those before some point, whether said to be done or not.
- The state is the list of applied data; a snapshot is that list, cut in chunks.
"""

import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from core_disk import Disk, Snapshot
from core_observer import Observer, check

from node.core.membership import Configuration
from node.core.messages import COMMAND, CONFIGURATION, Message, SnapshotChunk, VoteReply
from node.core.raft import Raft
from node.core.ready import ChunkWanted, Ready
from node.core.settings import MS, Role

if TYPE_CHECKING:
    from core_world import World

TICK_NS = 10 * MS
CHUNK_ITEMS = 3


class WatchedRaft(Raft):
    """A core whose commits and votes are looked at in the moment they happen."""

    observer: Observer

    def _commit(self, index: int) -> None:
        if self.leadership is not None and index > self.commit_index:
            self.observer.leader_commits(self.name, self.log.configuration, index)
        super()._commit(index)

    def _append(self, data: str, kind: str) -> tuple[int, int]:
        if kind == CONFIGURATION:
            uncommitted = self.log.configuration_index > self.commit_index
            check(not uncommitted, f"{self.name} begins a change before the last one is committed")
            check(
                self.log.term(self.commit_index) == self.term,
                f"{self.name} begins a change before it committed an entry of its term",
            )
        return super()._append(data, kind)


class Node:
    """One member: its disk survives, all else is made anew at each start."""

    def __init__(self, world: "World", name: str, bootstrap: Configuration) -> None:
        self.world = world
        self.name = name
        self.disk = Disk(bootstrap.to_text())
        self.rate = world.chance.uniform(0.96, 1.04) if world.drift else 1.0
        self.life = 0
        self.up = False
        self.paused_until_ns = 0
        self.start()

    def start(self) -> None:
        world = self.world
        self.life += 1
        self.up = True
        self.role = Role.FOLLOWER
        log, dropped = self.disk.recover()
        snapshot = self.disk.snapshot
        observer = world.observer
        if dropped and snapshot is not None:
            observer.writes(observer.durable, self.name, (snapshot.index, snapshot.term), None, ())
        observer.starts(self.name)
        self.items = snapshot.items if snapshot else ()
        self.applied = snapshot.index if snapshot else 0
        self.jobs: deque[Callable[[], Callable[[], None]]] = deque()
        self.disk_free_ns = 0
        self.incoming: tuple[Snapshot, list[str]] | None = None
        self.arrived: Snapshot | None = None
        self.snapshotting = False
        self.pumping = False
        self.core = WatchedRaft(
            name=self.name,
            settings=world.settings,
            random=random.Random(world.chance.getrandbits(32)),
            hard_state=self.disk.hard_state,
            log=log,
            now_ns=self.clock_ns(),
        )
        self.core.observer = observer
        self.later(TICK_NS, self.tick)

    def clock_ns(self) -> int:
        return int(self.world.now_ns * self.rate)

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do it unless the node has crashed by then; not while it is stopped."""
        life = self.life

        def run() -> None:
            if self.up and self.life == life:
                if self.world.now_ns < self.paused_until_ns:
                    self.world.at(self.paused_until_ns, run)
                else:
                    action()

        self.world.at(self.world.now_ns + delay_ns, run)

    def crash(self) -> None:
        """The disk keeps some of what it was given, in order."""
        self.up = False
        for _ in range(self.world.chance.randint(0, len(self.jobs))):
            self.jobs.popleft()()

    def crash_and_start(self) -> None:
        if self.up and not self.world.calm:
            self.crash()
            self.start()

    def tick(self) -> None:
        self.core.tick(self.clock_ns())
        self.pump()
        self.later(TICK_NS, self.tick)

    def receive(self, message: Message) -> None:
        self.core.tick(self.clock_ns())
        self.core.step(message)
        self.pump()

    # The driver, in the order that `Ready` describes.

    def pump(self) -> None:
        """Do what the core wants now, or (a busy driver) a little later, for several events at once."""
        self._watch()
        if not self.world.lazy:
            self._drive()
        elif not self.pumping:
            self.pumping = True
            self.later(self.world.chance.randrange(4) * MS, self._drive)

    def _drive(self) -> None:
        self.pumping = False
        while (ready := self.core.ready()) is not None:
            self._handle(ready)
            self._watch()

    def _watch(self) -> None:
        core = self.core
        if core.role is Role.LEADER and self.role is not Role.LEADER:
            self.world.count["leaders"] += 1
            self.world.observer.leads(self.name, core.term)
        self.role = core.role
        check(core.log.base_index <= self.applied or self.arrived is not None, "too much forgotten")
        check(core.commit_index <= core.log.last_index, "commits more than it has")

    def _handle(self, ready: Ready) -> None:
        world, observer = self.world, self.world.observer
        if ready.install is not None:
            snapshot = self.arrived
            assert snapshot is not None
            check(snapshot.index == ready.install.index, "another snapshot than the one that came")
            check(snapshot.index > self.applied, f"{self.name} goes back to a snapshot")
            self.items, self.applied, self.arrived = snapshot.items, snapshot.index, None
            self.submit(partial(self._save, snapshot), lambda: None)
            observer.has_state(self.name, self.applied, self.items)
            world.count["installs"] += 1
        observer.writes(observer.memory, self.name, ready.base, ready.truncate_from, ready.entries)
        observer.knows_committed(self.name, self.core.term, self.applied + 1, ready.commit_to)
        if ready.truncate_from is not None:
            world.count["cuts"] += 1
        if ready.changes_disk or ready.messages_after_persist:
            self.submit(partial(self._write, ready), partial(self._written, ready))
        for message in ready.messages:
            self.send(message)
        for wanted in ready.chunks_wanted:
            self._send_chunk(wanted)
        for chunk in ready.chunks:
            delay_ns = world.chance.randrange(20) * MS if world.lazy else 0
            self.later(delay_ns, partial(self._take_chunk, chunk))
        self._apply(ready.commit_to)
        for grant in ready.reads_ready:
            floor = world.floors.pop(grant.context)
            check(grant.index >= floor, f"{self.name} reads at {grant.index}, not {floor}")
            world.count["reads"] += 1

    def send(self, message: Message) -> None:
        self.world.send(message)
        if isinstance(message, VoteReply) and message.granted:
            self.world.observer.votes(self.name, message.term, message.target)
            if "crash" in self.world.faults and self.world.chance.random() < 0.3:
                self.world.at(self.world.now_ns, self.crash_and_start)

    def _apply(self, commit_to: int) -> None:
        check(commit_to >= self.applied, f"{self.name} commits less than before")
        while self.applied < commit_to:
            entry = self.core.log.entry(self.applied + 1)
            self.applied = entry.index
            if entry.kind == COMMAND:
                self.items = (*self.items, entry.data)
            self.world.observer.has_state(self.name, self.applied, self.items)

    # The disk.

    def submit(self, write: Callable[[], None], done: Callable[[], None]) -> None:
        def job() -> Callable[[], None]:
            write()
            return done

        world = self.world
        self.jobs.append(job)
        delay_ns = 0 if world.calm else world.chance.randrange(world.disk_delay_ns + 1)
        self.disk_free_ns = max(self.disk_free_ns, world.now_ns + delay_ns)
        self.later(self.disk_free_ns - world.now_ns, self._job_done)

    def _job_done(self) -> None:
        self.jobs.popleft()()()
        self.pump()

    def _write(self, ready: Ready) -> None:
        self.disk.write(ready)
        observer = self.world.observer
        observer.writes(observer.durable, self.name, ready.base, ready.truncate_from, ready.entries)

    def _written(self, ready: Ready) -> None:
        self.core.tick(self.clock_ns())
        self.core.persisted(ready.seq)
        for message in ready.messages_after_persist:
            self.send(message)

    # Snapshots.

    def snapshot(self) -> None:
        """Save the state, then forget the log below."""
        log, index = self.core.log, self.applied
        term = log.term(index)
        if self.snapshotting or not index > log.base_index or term is None:
            return
        self.snapshotting = True
        text = log.configuration_at(index).to_text()
        taken = Snapshot(index, term, text, self.items)
        keep = self.world.chance.choice((0, 0, 2, 8))
        self.submit(partial(self._save, taken), partial(self._saved, index - keep))

    def _save(self, snapshot: Snapshot) -> None:
        if self.disk.snapshot is None or snapshot.index > self.disk.snapshot.index:
            self.disk.snapshot = snapshot

    def _saved(self, compact_to: int) -> None:
        self.snapshotting = False
        base_index = self.core.compact(compact_to)
        self.submit(partial(self.disk.compact, base_index), lambda: None)
        self.world.count["compactions"] += 1

    def _send_chunk(self, wanted: ChunkWanted) -> None:
        snapshot = self.disk.snapshot
        if snapshot is None:
            return
        offset = wanted.offset if wanted.index == snapshot.index else 0
        part = snapshot.items[offset : offset + CHUNK_ITEMS]
        self.core.chunk(
            SnapshotChunk(
                self.name, wanted.member, self.core.term, snapshot.index, snapshot.term,
                snapshot.configuration, len(snapshot.items), 0, offset, json.dumps(part),
            )
        )  # fmt: skip

    def _take_chunk(self, chunk: SnapshotChunk) -> None:
        """Parts of one snapshot in order; one that is there already or too early changes nothing."""
        head = Snapshot(chunk.index, chunk.snapshot_term, chunk.configuration, ())
        if self.incoming is None or self.incoming[0] != head:
            self.incoming = (head, [])
        items = self.incoming[1]
        if chunk.offset == len(items):
            items += json.loads(chunk.data)
        if len(items) < chunk.size:
            self.core.chunk_received(chunk, len(items))
            self.pump()
            return
        self.incoming = None
        if self.core.install(chunk):
            self.arrived = replace(head, items=tuple(items))
        self.pump()
