"""Linearizable reads without a log entry: ReadIndex in numbered rounds (dissertation section 6.4).

Rules of this file:
- The order is: an entry of the own term is committed; the commit index is recorded as the read
  index; only then a NEW round begins; a majority answers a heartbeat of that round or a later one;
  only then the read index may be used.
- An answer counts for the round that it names and for earlier ones, never for a later one. An
  answer that waited in a socket while the process was stopped thus confirms nothing new.
- A request never joins a round that has begun, nor a batch that was sent to the leader.
- Every heartbeat begins a round and its time is kept: a majority that answered it will elect nobody
  else for an election timeout from then on, which is what leases stand on (section 6.4.1). The time
  is that of sending, never that of an answer.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from node.core import quorum
from node.core.quorum import Halves


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Who asks (a follower, or the leader itself) and under which number."""

    source: str
    request: int


@dataclass(frozen=True, slots=True)
class ReadGrant:
    """The read `context` may be answered from a state that has applied `index`."""

    context: int
    index: int
    term: int


@dataclass(frozen=True, slots=True)
class ReadRound:
    """Requests that wait for a majority to confirm this round."""

    number: int
    index: int
    requests: tuple[ReadRequest, ...]


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Reads of a follower that wait for one answer of the leader."""

    contexts: tuple[int, ...]
    asked_ns: int


class ReadRounds:
    """The rounds of one leadership. Numbers are unique in a term, and a term has one leader."""

    __slots__ = ("_answered", "_name", "_sent", "_waiting", "lease_from_ns", "number")

    def __init__(self, name: str) -> None:
        self.number = 0
        self.lease_from_ns: int | None = None
        self._name = name
        self._answered: dict[str, int] = {}
        self._sent: deque[tuple[int, int]] = deque()
        self._waiting: deque[ReadRound] = deque()

    def start(self, requests: Sequence[ReadRequest], commit_index: int, now_ns: int) -> int:
        """Begin a round, for requests that have all been made before now; heartbeats follow."""
        self.number += 1
        self._sent.append((self.number, now_ns))
        if requests:
            self._waiting.append(ReadRound(self.number, commit_index, tuple(requests)))
        # The leader answers itself at once: it knows of no newer term at this very moment.
        self._answered[self._name] = self.number
        return self.number

    def answered(self, member: str, number: int) -> None:
        """A member answered a heartbeat of round `number` of this leadership."""
        if 0 < number <= self.number:
            self._answered[member] = max(self._answered.get(member, 0), number)

    def confirmed(self, halves: Halves) -> list[ReadRound]:
        """The rounds that a majority has confirmed since the last call."""
        reached = quorum.committed(halves, self._answered)
        while self._sent and self._sent[0][0] <= reached:
            self.lease_from_ns = self._sent.popleft()[1]
        done: list[ReadRound] = []
        while self._waiting and self._waiting[0].number <= reached:
            done.append(self._waiting.popleft())
        return done

    def abandon(self) -> list[ReadRequest]:
        """The requests that will not be answered: leadership is over."""
        requests = [request for round_ in self._waiting for request in round_.requests]
        self._waiting.clear()
        return requests


class ReadDesk:
    """Reads on their way through one node, whatever its role: queued, asked, granted, aborted."""

    __slots__ = ("_aborted", "_asked", "_granted", "_name", "_queued_max", "_request", "queued")

    def __init__(self, name: str, queued_max: int, first_number: int) -> None:
        """`first_number` must be above every number that an earlier life of this node used: an
        answer to a question from before a restart must not be taken for one to a new question."""
        self.queued: list[ReadRequest] = []
        self._name = name
        self._queued_max = queued_max
        self._request = first_number
        self._asked: dict[int, ReadBatch] = {}
        self._granted: list[ReadGrant] = []
        self._aborted: list[int] = []

    def enqueue(self, read: ReadRequest) -> bool:
        """Wait for the next round or batch. False if too many do."""
        if len(self.queued) >= self._queued_max:
            return False
        self.queued.append(read)
        return True

    def take_queued(self) -> list[ReadRequest]:
        """All that wait, for a round that begins now."""
        queued, self.queued = self.queued, []
        return queued

    def ask(self, now_ns: int) -> int:
        """All that wait, as one batch for the leader, under a number never used before."""
        self._request += 1
        own = (read.request for read in self.take_queued() if read.source == self._name)
        self._asked[self._request] = ReadBatch(tuple(own), now_ns)
        return self._request

    def ask_again(self, asked_before_ns: int) -> None:
        """Let batches that got no answer wait for a new one: a message may have been lost.

        Reads have no effect, so asking twice is safe; under a new number, so that an answer to the
        old one, which may be late, counts for nothing.
        """
        late = [n for n, batch in self._asked.items() if batch.asked_ns <= asked_before_ns]
        for number in late:
            contexts = self._asked.pop(number).contexts
            self.queued.extend(ReadRequest(self._name, context) for context in contexts)

    def answered(self, request: int, index: int | None, term: int) -> None:
        """The leader answered a batch; no index means that it refused."""
        batch = self._asked.pop(request, None)
        for context in batch.contexts if batch is not None else ():
            if index is None:
                self._aborted.append(context)
            else:
                self._granted.append(ReadGrant(context, index, term))

    def grant(self, grant: ReadGrant) -> None:
        """A round of this node's own leadership was confirmed."""
        self._granted.append(grant)

    def abort(self, lost: Sequence[ReadRequest]) -> None:
        """Give up everything, with the requests of rounds that were abandoned.

        Grants that nobody has taken yet go too: the news of another leader comes first.
        """
        reads = [*self.take_queued(), *lost]
        self._aborted.extend(read.request for read in reads if read.source == self._name)
        for batch in self._asked.values():
            self._aborted.extend(batch.contexts)
        self._aborted.extend(grant.context for grant in self._granted)
        self._asked = {}
        self._granted = []

    def has_news(self) -> bool:
        """Is there anything to take?"""
        return bool(self._granted or self._aborted)

    def take_news(self) -> tuple[tuple[ReadGrant, ...], tuple[int, ...]]:
        """What was granted and what was aborted since the last call."""
        news = (tuple(self._granted), tuple(self._aborted))
        self._granted = []
        self._aborted = []
        return news
