"""What nodes say to each other and what they keep on disk.

Rules of this file:
- Everything is a frozen value. A message that exists is well-formed: `decode` is the only way in
  from outside, and whatever does not fit raises `Malformed`, never anything else.
- The sender and the addressee do not travel: the connection says who speaks, so that nobody can
  speak for another.
- A field name means the same in every message; one table of checks serves all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from node.core.membership import configuration_from_text

Json = object
"""Anything that a JSON document decodes to."""

NATURAL_MAX = 2**63 - 1
"""Indexes, terms and rounds stay below this. Members of a cluster trust each other this far: a forged
term close to it would be adopted, as Raft has it, and then nobody could be elected any more."""


class Malformed(ValueError):
    """Bytes from outside that are not a message of this protocol."""


NOOP, COMMAND, CONFIGURATION = "noop", "command", "configuration"
"""The kinds of entries: of a new leader, of clients, of membership."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the replicated log. The `data` of a command is opaque to Raft."""

    index: int
    term: int
    data: str
    kind: str = COMMAND


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be durable before any message of that term leaves (Raft figure 2)."""

    term: int = 0
    voted_for: str | None = None


@dataclass(frozen=True, slots=True)
class PreVoteRequest:
    """Would you vote for me in `term`? Changes nobody's state (dissertation section 9.6)."""

    source: str
    target: str
    term: int
    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class PreVoteReply:
    """Granted: `term` is the one asked about. Refused: the term of who refuses."""

    source: str
    target: str
    term: int
    granted: bool


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """RequestVote (Raft section 5.2). `forced`: a leader asked for it (dissertation section 3.10)."""

    source: str
    target: str
    term: int
    last_index: int
    last_term: int
    forced: bool = False


@dataclass(frozen=True, slots=True)
class VoteReply:
    """The answer to a VoteRequest."""

    source: str
    target: str
    term: int
    granted: bool


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """AppendEntries (Raft section 5.3): entries that follow (prev_index, prev_term)."""

    source: str
    target: str
    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class AppendReply:
    """Success: the log agrees up to `index`. Otherwise `index` is the prev_index refused.

    `hint_index` and `hint_term` name the last entry of the follower that could still agree.
    """

    source: str
    target: str
    term: int
    success: bool
    index: int
    hint_index: int
    hint_term: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The leader lives. `commit` never exceeds what this follower is known to hold.

    `round` is the latest read round: who answers confirms that the sender led after it began.
    """

    source: str
    target: str
    term: int
    commit: int
    round: int


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The answer to a Heartbeat, bound to its round."""

    source: str
    target: str
    term: int
    round: int


@dataclass(frozen=True, slots=True)
class ReadIndexRequest:
    """A follower asks for an index that its reads may be served at. Its id is never used again."""

    source: str
    target: str
    term: int
    request: int


@dataclass(frozen=True, slots=True)
class ReadIndexReply:
    """`granted`: who has applied up to `index` may serve the reads of that request."""

    source: str
    target: str
    term: int
    request: int
    granted: bool
    index: int


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader hands over: stand for election at once (dissertation section 3.10)."""

    source: str
    target: str
    term: int


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """InstallSnapshot (Raft section 7): a part of the snapshot at (index, snapshot_term).

    `data` is base64 text of the bytes at `offset` of the image of `size` bytes whose CRC-32 is
    `checksum`; `configuration` is the one in force at `index`.
    """

    source: str
    target: str
    term: int
    index: int
    snapshot_term: int
    configuration: str
    size: int
    checksum: int
    offset: int
    data: str


@dataclass(frozen=True, slots=True)
class SnapshotReply:
    """The chunk wanted next is at `offset`; `success`: everything up to `index` is durable."""

    source: str
    target: str
    term: int
    index: int
    offset: int
    success: bool


Message = (
    PreVoteRequest
    | PreVoteReply
    | VoteRequest
    | VoteReply
    | AppendRequest
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | ReadIndexRequest
    | ReadIndexReply
    | TimeoutNow
    | SnapshotChunk
    | SnapshotReply
)

KINDS: dict[str, type[Message]] = {
    "pre_vote_request": PreVoteRequest,
    "pre_vote_reply": PreVoteReply,
    "vote_request": VoteRequest,
    "vote_reply": VoteReply,
    "append_request": AppendRequest,
    "append_reply": AppendReply,
    "heartbeat": Heartbeat,
    "heartbeat_reply": HeartbeatReply,
    "read_index_request": ReadIndexRequest,
    "read_index_reply": ReadIndexReply,
    "timeout_now": TimeoutNow,
    "snapshot_chunk": SnapshotChunk,
    "snapshot_reply": SnapshotReply,
}


def natural(value: Json) -> int:
    """A whole number from 0 on. `True` is not one."""
    if type(value) is not int or not 0 <= value <= NATURAL_MAX:
        raise Malformed(f"not a natural number: {value!r:.60}")
    return value


def boolean(value: Json) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise Malformed(f"not a boolean: {value!r:.60}")
    return value


def encode_entries(entries: tuple[Entry, ...]) -> list[Json]:
    """The form that entries have on the wire and on disk."""
    return [
        [entry.index, entry.term, entry.data]
        if entry.kind == COMMAND
        else [entry.index, entry.term, entry.data, entry.kind]
        for entry in entries
    ]


def decode_entries(value: Json) -> tuple[Entry, ...]:
    """Entries with consecutive indexes and terms that never fall."""
    if type(value) is not list:
        raise Malformed("entries are not a list")
    entries: list[Entry] = []
    for item in value:
        if type(item) is not list or not 3 <= len(item) <= 4 or type(item[2]) is not str:
            raise Malformed(f"not an entry: {item!r:.60}")
        entry = Entry(natural(item[0]), natural(item[1]), *_payload(*item[2:]))
        if entries and entry.index != entries[-1].index + 1:
            raise Malformed("entries with a gap")
        if entries and entry.term < entries[-1].term:
            raise Malformed("entries whose terms fall")
        entries.append(entry)
    return tuple(entries)


def _payload(data: str, kind: Json = COMMAND) -> tuple[str, str]:
    """Data and kind of an entry. What the data mean is not looked at here."""
    if kind not in (COMMAND, NOOP, CONFIGURATION):
        raise Malformed(f"no such kind of entry: {kind!r:.60}")
    return data, str(kind)


def configuration(value: Json) -> str:
    """The text of a configuration."""
    try:
        if not isinstance(value, str):
            raise ValueError("not a text")
        configuration_from_text(value)
    except ValueError as error:
        raise Malformed(str(error)) from None
    return value


def text(value: Json) -> str:
    """A string."""
    if type(value) is not str:
        raise Malformed(f"not a string: {value!r:.60}")
    return value


_CHECKS: Mapping[str, Callable[[Json], Json]] = {
    "term": natural,
    "last_index": natural,
    "last_term": natural,
    "prev_index": natural,
    "prev_term": natural,
    "commit": natural,
    "index": natural,
    "hint_index": natural,
    "hint_term": natural,
    "round": natural,
    "request": natural,
    "granted": boolean,
    "success": boolean,
    "entries": decode_entries,
    "forced": boolean,
    "snapshot_term": natural,
    "configuration": configuration,
    "size": natural,
    "checksum": natural,
    "offset": natural,
    "data": text,
}

_ROUTE = ("source", "target")
_FIELDS: dict[type[Message], tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind) if field.name not in _ROUTE)
    for kind in KINDS.values()
}
_NAMES: dict[type[Message], str] = {kind: name for name, kind in KINDS.items()}


def encode(message: Message) -> dict[str, Json]:
    """The JSON object of a message."""
    kind = type(message)
    document: dict[str, Json] = {"type": _NAMES[kind]}
    for name in _FIELDS[kind]:
        value = getattr(message, name)
        document[name] = encode_entries(value) if name == "entries" else value
    return document


def decode(document: Mapping[str, Json], source: str, target: str) -> Message:
    """The message in a JSON object that `source` sent to `target`."""
    name = document.get("type")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Malformed(f"no such message: {name!r:.60}")
    try:
        values = [_CHECKS[name](document[name]) for name in _FIELDS[kind]]
    except KeyError as error:
        raise Malformed(f"{name} lacks {error}") from None
    message = kind(source, target, *values)  # type: ignore[arg-type]
    if isinstance(message, AppendRequest):
        _check_append(message)
    if isinstance(message, SnapshotChunk) and message.snapshot_term > message.term:
        raise Malformed("the snapshot is newer than the message")
    return message


def _check_append(message: AppendRequest) -> None:
    """Entries must continue the log that the message speaks of, in terms up to its own."""
    if message.prev_term > message.term:
        raise Malformed("the previous entry is newer than the message")
    if message.entries:
        for entry in message.entries:
            if entry.kind == CONFIGURATION:
                configuration(entry.data)
            elif entry.kind == NOOP and entry.data:
                raise Malformed("a no-op that says something")
        if message.entries[0].index != message.prev_index + 1:
            raise Malformed("the entries do not follow prev_index")
        if message.entries[0].term < message.prev_term or message.entries[-1].term > message.term:
            raise Malformed("an entry of an impossible term")
