"""Helpers for tests of one Raft server: build it, take what it says, persist at will.

Rules of this file: nothing is hidden; a test sees every message and decides when the disk is done.
"""

import random
from collections.abc import Sequence

from node.core.log import RaftLog
from node.core.membership import Configuration
from node.core.messages import (
    AppendReply,
    Entry,
    HardState,
    HeartbeatReply,
    Message,
    PreVoteReply,
    VoteReply,
)
from node.core.raft import Raft
from node.core.ready import Ready
from node.core.settings import MS, Role, Settings

SETTINGS = Settings(election_timeout_ns=500 * MS, heartbeat_interval_ns=50 * MS)


def log_of(*terms: int, members: Sequence[str] = ("a", "b", "c")) -> RaftLog:
    """A log with one entry for each term given, in a cluster of these voters."""
    entries = [Entry(index, term, f"d{index}") for index, term in enumerate(terms, 1)]
    return RaftLog(entries, configuration=configuration_of(*members))


def configuration_of(*voters: str, outgoing: str = "", learners: str = "") -> Configuration:
    """Members by their names of one letter; all learners are to become voters."""
    return Configuration(voters, tuple(outgoing), tuple(learners), tuple(learners))


def server(
    name: str = "a",
    members: Sequence[str] = ("a", "b", "c"),
    terms: Sequence[int] = (),
    term: int = 0,
    voted_for: str | None = None,
    now_ns: int = 0,
    settings: Settings = SETTINGS,
    configuration: Configuration | None = None,
) -> Raft:
    log = log_of(*terms, members=members)
    if configuration is not None:
        log = RaftLog(log.since(1), configuration=configuration)
    return Raft(
        name=name,
        settings=settings,
        random=random.Random(1),
        hard_state=HardState(term, voted_for),
        log=log,
        now_ns=now_ns,
    )


def role_of(raft: Raft) -> Role:
    """The role now; unlike the attribute, not assumed to be what an earlier assertion said."""
    return raft.role


def take(raft: Raft) -> tuple[list[Ready], list[Message]]:
    """Everything the server wants, with a disk that is done at once."""
    readies: list[Ready] = []
    messages: list[Message] = []
    while (ready := raft.ready()) is not None:
        readies.append(ready)
        messages += ready.messages
        raft.persisted(ready.seq)
        messages += ready.messages_after_persist
    return readies, messages


def said(raft: Raft) -> list[Message]:
    """The messages of `take`."""
    return take(raft)[1]


def advance(raft: Raft, duration_ms: int, step_ms: int = 10) -> None:
    """Let time pass without a pause."""
    start_ns = raft._now_ns
    for elapsed_ms in range(step_ms, duration_ms + 1, step_ms):
        raft.tick(start_ns + elapsed_ms * MS)


def elect(raft: Raft) -> None:
    """Make the server a leader with the votes of all others."""
    while raft.role is Role.FOLLOWER:
        advance(raft, 10)
    for other in raft.log.configuration.members:
        if other != raft.name and raft.role is Role.PRE_CANDIDATE:
            raft.step(PreVoteReply(other, raft.name, raft.term + 1, granted=True))
    take(raft)
    for other in raft.log.configuration.members:
        if other != raft.name and raft.role is Role.CANDIDATE:
            raft.step(VoteReply(other, raft.name, raft.term, granted=True))
    assert raft.role is Role.LEADER


def acknowledge(raft: Raft, source: str, index: int) -> None:
    raft.step(AppendReply(source, raft.name, raft.term, True, index, 0, 0))


def commit_no_op(raft: Raft) -> None:
    """Let the first entry of a leadership commit."""
    take(raft)
    for other in raft.log.configuration.members:
        if other != raft.name:
            acknowledge(raft, other, raft.log.last_index)
    take(raft)
    assert raft.commit_index == raft.log.last_index


def lead(raft: Raft) -> Raft:
    """Make the server a leader that has committed an entry of its own term."""
    elect(raft)
    commit_no_op(raft)
    return raft


def answer_heartbeats(raft: Raft, *sources: str) -> None:
    """These members answer the latest round."""
    assert raft.leadership is not None
    for source in sources:
        raft.step(HeartbeatReply(source, raft.name, raft.term, raft.leadership.rounds.number))


def keep_alive(raft: Raft, duration_ms: int, *sources: str) -> None:
    """Let time pass while these members answer all heartbeats."""
    for _ in range(duration_ms // 10):
        advance(raft, 10)
        if raft.leadership is not None:
            answer_heartbeats(raft, *sources)
        take(raft)
