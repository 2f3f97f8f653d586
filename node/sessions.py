"""Client sessions: an operation of a session happens once, however often it is sent.

Raft section 8; Ongaro's dissertation, section 6.3.

Rules of this file:
- A session is opened by a log entry, never by being named: an unknown one is an error, since what
  it had done before is forgotten.
- The reply to each sequence is kept until the client says that it knows it (`acknowledged`), in
  whatever order the sequences arrive.
- Sessions end by the time of the log and by the number of sessions, both the same on every node.
  The order in which they were last used is part of the state.
- What `frozen` gave away is not changed afterwards: a session is copied at its first change since.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from node.answers import Result
from node.deadlines import Deadlines
from node.json_text import HELD_BYTES_MAX, NULL
from node.operations import Session
from node.values import DIGEST_MASK, digest

SESSIONS_MAX = 10_000
REPLIES_MAX = 1000
REPLY_BYTES_MAX = HELD_BYTES_MAX
"""Of the replies that one session keeps; the one that passes it is still kept."""
SESSION_TTL_MS = 60_000

Reply = tuple[Result, int]
"""A reply that is kept, and its digest."""

STALE = Result("session-stale", NULL)
FULL = Result("session-full", NULL)
EXPIRED = Result("session-expired", NULL)


class Record:
    """One session. `head` is the digest of all but the replies, `told` the sum of theirs."""

    __slots__ = (
        "acknowledged", "epoch", "head", "id", "replies", "reply_bytes", "told", "ttl_ms",
        "used_index", "used_ms",
    )  # fmt: skip

    def __init__(self, identity: int, ttl_ms: int, epoch: int) -> None:
        self.id = identity
        self.ttl_ms = ttl_ms
        self.epoch = epoch
        self.used_ms = 0
        self.used_index = 0
        self.acknowledged = 0
        self.replies: dict[int, Reply] = {}
        self.reply_bytes = 0
        self.head = 0
        self.told = 0

    def copied(self, epoch: int) -> "Record":
        """An equal one that may be changed."""
        copy = Record(self.id, self.ttl_ms, epoch)
        copy.used_ms = self.used_ms
        copy.used_index = self.used_index
        copy.acknowledged = self.acknowledged
        copy.replies = self.replies.copy()
        copy.reply_bytes = self.reply_bytes
        copy.head = self.head
        copy.told = self.told
        return copy

    def use(self, index: int, now_ms: int) -> None:
        """An entry of this session was applied."""
        self.used_index = index
        self.used_ms = now_ms
        head = f"{self.ttl_ms}:{now_ms}:{index}:{self.acknowledged}"
        self.head = digest("session", str(self.id), head)

    def keep(self, sequence: int, result: Result) -> None:
        """Remember what a sequence came to."""
        told = digest("reply", str(self.id), f"{sequence}:{result.error}:{result.value}")
        self.replies[sequence] = (result, told)
        self.reply_bytes += len(result.value)
        self.told += told

    def acknowledge(self, acknowledged: int) -> None:
        """The client knows the replies up to here: they need not be kept."""
        replies = self.replies
        known: Iterable[int] = range(self.acknowledged + 1, acknowledged + 1)
        if len(replies) < acknowledged - self.acknowledged:
            known = [sequence for sequence in replies if sequence <= acknowledged]
        for sequence in known:
            reply = replies.pop(sequence, None)
            if reply is not None:
                self.reply_bytes -= len(reply[0].value)
                self.told -= reply[1]
        self.acknowledged = acknowledged


class Sessions:
    """All sessions, the one that was used longest ago first."""

    __slots__ = ("_deadlines", "_epoch", "_records", "_sum")

    def __init__(self) -> None:
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._deadlines: Deadlines[int] = Deadlines()
        self._sum = 0
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._records)

    def open(self, ttl_ms: int, index: int, now_ms: int) -> int:
        """Begin a session; its id is the index of the log entry, which no other ever had."""
        while len(self._records) >= SESSIONS_MAX:
            self.close(next(iter(self._records)))
        record = Record(index, ttl_ms or SESSION_TTL_MS, self._epoch)
        record.use(index, now_ms)
        self.add(record)
        return index

    def add(self, record: Record) -> None:
        """Take in a session as the one that was used last."""
        self._records[record.id] = record
        self._deadlines.set(record.id, record.used_ms + record.ttl_ms)
        self._sum = (self._sum + record.head + record.told) & DIGEST_MASK

    def close(self, identity: int) -> bool:
        """End a session; False if there is none."""
        record = self._records.pop(identity, None)
        if record is None:
            return False
        self._deadlines.drop(identity)
        self._sum = (self._sum - record.head - record.told) & DIGEST_MASK
        return True

    def expire(self, now_ms: int) -> None:
        """End the sessions whose time has come."""
        for _, identity in self._deadlines.pop_due(now_ms):
            self.close(identity)

    def next_expiry_ms(self) -> int | None:
        """When the first session ends."""
        return self._deadlines.earliest()

    def once(
        self, session: Session, index: int, now_ms: int, execute: Callable[[], Result]
    ) -> Result:
        """The result of an operation of a session, which is executed now unless it was before.

        The session has been used, whatever the result. What is kept includes failures: an operation
        that failed must not succeed when it is sent again.
        """
        record = self._records.get(session.id)
        if record is None:
            return EXPIRED
        if record.epoch != self._epoch:  # an image shares it
            record = self._records[session.id] = record.copied(self._epoch)
        before = record.head + record.told
        if session.acknowledged > record.acknowledged:
            record.acknowledge(session.acknowledged)
        record.use(index, now_ms)
        self._records.move_to_end(session.id)
        self._deadlines.set(session.id, now_ms + record.ttl_ms)
        if session.sequence <= record.acknowledged:
            result = STALE
        elif (reply := record.replies.get(session.sequence)) is not None:
            result = reply[0]
        elif len(record.replies) >= REPLIES_MAX or record.reply_bytes >= REPLY_BYTES_MAX:
            result = FULL
        else:
            result = execute()
            record.keep(session.sequence, result)
        self._sum = (self._sum + record.head + record.told - before) & DIGEST_MASK
        return result

    def digest(self) -> int:
        """The sum of one digest for each session and each reply kept."""
        return self._sum

    def frozen(self) -> tuple[Record, ...]:
        """All sessions, as they are now, for good, in order."""
        self._epoch += 1
        return tuple(self._records.values())
