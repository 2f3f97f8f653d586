"""The nodes of a story: each does what its core wants and says so.

Rules of this file:
- A node's disk is done at once unless it is slow; what was not done is lost in a crash.
- All that a node does is one line, in words; nothing of it is decided here.
"""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import fields

from core_disk import Disk, Snapshot

from node.core.membership import Configuration, configuration_from_text
from node.core.messages import (
    COMMAND,
    KINDS,
    AppendReply,
    Entry,
    Message,
    SnapshotChunk,
    SnapshotReply,
    VoteRequest,
)
from node.core.raft import Raft
from node.core.ready import Ready
from node.core.settings import MS, Role, Settings

CHUNK_ITEMS = 2
NOT: dict[type[Message], list[str]] = {VoteRequest: [], SnapshotReply: ["wanted"]}
"""What a flag that is not set means, where it is no refusal."""
ARROWS = {kind: name.replace("_", " ") for name, kind in KINDS.items()}


class Timeouts:
    """No chance: each node has its own time to wait."""

    def __init__(self, name: str) -> None:
        self._share = (ord(name) - ord("a") + 1) / 10

    def randrange(self, start: int, stop: int, /) -> int:
        return start + int((stop - start) * self._share)


def entry_text(entry: Entry) -> str:
    """As index/term, and what is in it."""
    if entry.kind == COMMAND:
        return f"{entry.index}/{entry.term} {entry.data}"
    what = members_text(configuration_from_text(entry.data)) if entry.data else "no-op"
    return f"{entry.index}/{entry.term} {what}"


def members_text(configuration: Configuration) -> str:
    """The voters, those that are going, and the learners."""
    parts = ["{" + " ".join(configuration.voters) + "}"]
    if configuration.is_joint:
        parts.append("and {" + " ".join(configuration.outgoing) + "}")
    if configuration.learners:
        parts.append("learning {" + " ".join(configuration.learners) + "}")
    return " ".join(parts)


def message_text(message: Message) -> str:
    """Route, kind and fields, but for those that say nothing."""
    agreed = isinstance(message, AppendReply) and message.success
    silent = {"checksum", "hint_index", "hint_term"} if agreed else {"checksum"}
    values = []
    for field in fields(message)[2:]:
        value = getattr(message, field.name)
        if field.name == "entries":
            values.append("[" + ", ".join(map(entry_text, value)) + "]")
        elif field.name == "configuration":
            values.append(f"members={members_text(configuration_from_text(value))}")
        elif isinstance(value, bool):
            values += [field.name] if value else NOT.get(type(message), ["REFUSED"])
        elif field.name not in silent:
            values.append(f"{field.name}={value}")
    return f"{message.source}->{message.target} {ARROWS[type(message)]} {' '.join(values)}"


class Actor:
    """A node whose disk is done at once, unless it is told to be slow."""

    def __init__(
        self,
        name: str,
        disk: Disk,
        settings: Settings,
        now_ms: int,
        tell: Callable[[str], None],
        send: Callable[[Message], None],
    ) -> None:
        self.name = name
        self.settings = settings
        self.tell = tell
        self.send = send
        self.disk = disk
        self.up = False
        self.slow = False
        self.start(now_ms)

    def start(self, now_ms: int) -> None:
        log, _ = self.disk.recover()
        snapshot = self.disk.snapshot
        self.up = True
        self.items = snapshot.items if snapshot else ()
        self.applied = log.base_index
        self.on_disk: deque[Ready] = deque()
        self.arriving: list[str] = []
        self.installing: Snapshot | None = None
        self.core = Raft(
            name=self.name,
            settings=self.settings,
            random=Timeouts(self.name),
            hard_state=self.disk.hard_state,
            log=log,
            now_ns=now_ms * MS,
        )
        self.before = (self.core.role, self.core.leader, self.applied)

    def say(self, text: str) -> None:
        self.tell(f"{self.name} {text}")

    def pump(self) -> None:
        """Do what the core wants."""
        self._report()
        while self.up and (ready := self.core.ready()) is not None:
            self._handle(ready)
            self._report()

    def _report(self) -> None:
        core, (role, leader, commit) = self.core, self.before
        if core.role is not role:
            self.say(f"is {core.role.value} in term {core.term}")
        elif core.leader is not None and core.leader != leader and core.role is Role.FOLLOWER:
            self.say(f"follows {core.leader} in term {core.term}")
        if core.commit_index > commit:
            self.say(f"commits {core.commit_index}")
        self.before = (core.role, core.leader, max(core.commit_index, commit))

    def _handle(self, ready: Ready) -> None:
        if ready.install is not None:
            assert self.installing is not None
            self.disk.snapshot = self.installing
            self.items, self.applied = self.installing.items, self.installing.index
            self.say(f"has the state at {self.applied}: {' '.join(self.items)}")
        if ready.hard_state is not None:
            voted = ready.hard_state.voted_for
            self.say(f"writes term {ready.hard_state.term}" + (f", vote {voted}" if voted else ""))
        if ready.base is not None:
            self.say(f"writes a log that begins behind {ready.base[0]}/{ready.base[1]}")
        if ready.truncate_from is not None:
            self.say(f"cuts its log from {ready.truncate_from} on")
        if ready.entries:
            self.say(f"writes [{', '.join(map(entry_text, ready.entries))}]")
        self.on_disk.append(ready)
        for message in ready.messages:
            self.send(message)
        for wanted in ready.chunks_wanted:
            if self.disk.snapshot is not None:
                offset = wanted.offset if wanted.index == self.disk.snapshot.index else 0
                self.core.chunk(self._chunk(wanted.member, self.disk.snapshot, offset))
        for chunk in ready.chunks:
            self._take(chunk)
        for index in range(self.applied + 1, ready.commit_to + 1):
            entry = self.core.log.entry(index)
            self.items += (entry.data,) if entry.kind == COMMAND else ()
        self.applied = max(self.applied, ready.commit_to)
        for grant in ready.reads_ready:
            self.say(f"may read {grant.context} at {grant.index}")
        for context in ready.reads_aborted:
            self.say(f"gives up read {context}")
        if not self.slow:
            self.persist()

    def persist(self) -> None:
        """The disk is done with all that it was given."""
        while self.on_disk:
            ready = self.on_disk.popleft()
            self.disk.write(ready)
            self.core.persisted(ready.seq)
            for message in ready.messages_after_persist:
                self.send(message)

    def _chunk(self, target: str, snapshot: Snapshot, offset: int) -> SnapshotChunk:
        part = json.dumps(snapshot.items[offset : offset + CHUNK_ITEMS])
        size = len(snapshot.items)
        return SnapshotChunk(
            self.name, target, self.core.term, snapshot.index, snapshot.term,
            snapshot.configuration, size, 0, offset, part,
        )  # fmt: skip

    def _take(self, chunk: SnapshotChunk) -> None:
        if chunk.offset == 0:
            self.arriving = []
        if chunk.offset == len(self.arriving):
            self.arriving += json.loads(chunk.data)
        if len(self.arriving) < chunk.size:
            self.core.chunk_received(chunk, len(self.arriving))
        else:
            items = tuple(self.arriving)
            self.installing = Snapshot(chunk.index, chunk.snapshot_term, chunk.configuration, items)
            self.core.install(chunk)

    def snapshot(self) -> None:
        log = self.core.log
        term = log.term(self.applied) or 0
        text = log.configuration_at(self.applied).to_text()
        self.disk.snapshot = Snapshot(self.applied, term, text, self.items)
        self.disk.compact(self.core.compact(self.applied))
        self.say(f"saves a snapshot of {self.applied}/{term} and forgets the log below")

    def status(self) -> str:
        core, log = self.core, self.core.log
        if not self.up:
            return f"{self.name}: down"
        kept = [str(log.term(index)) for index in range(log.first_index, log.last_index + 1)]
        return (
            f"{self.name}: {core.role.value}, term {core.term}, leader {core.leader or '-'}, "
            f"commit {core.commit_index}, terms {'.. ' if log.base_index else ''}{' '.join(kept)}, "
            f"members {members_text(log.configuration)}"
        )
