"""What comes from the network: every message survives the way, everything else is refused."""

import json
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import server, take

from node.core.membership import Configuration, NotAllowed
from node.core.messages import (
    COMMAND,
    CONFIGURATION,
    KINDS,
    NOOP,
    AppendReply,
    AppendRequest,
    Entry,
    Heartbeat,
    HeartbeatReply,
    Json,
    Malformed,
    Message,
    PreVoteReply,
    PreVoteRequest,
    ReadIndexReply,
    ReadIndexRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    decode,
    encode,
)
from node.core.raft import Raft
from node.core.settings import MS, TRANSITIONS, Role, Settings
from node.transport import FRAME_BYTES_MAX, FrameReader, encode_frame

MEMBERS = Configuration(("a", "b"), ("b", "c"), ("d",), ("d",), {"a": ("h:1", "h:2")})

EXAMPLES: tuple[Message, ...] = (
    PreVoteRequest("b", "a", 2, 3, 1),
    PreVoteReply("b", "a", 2, granted=True),
    VoteRequest("b", "a", 2, 3, 1),
    VoteRequest("b", "a", 2, 3, 1, forced=True),
    VoteReply("b", "a", 2, granted=False),
    AppendRequest("b", "a", 2, 3, 1, 3, (Entry(4, 1, "x"), Entry(5, 2, '"\u20ac"'))),
    AppendRequest(
        "b",
        "a",
        2,
        3,
        1,
        3,
        (Entry(4, 1, MEMBERS.to_text(), CONFIGURATION), Entry(5, 2, "", NOOP), Entry(6, 2, "")),
    ),
    AppendReply("b", "a", 2, False, 3, 2, 1),
    Heartbeat("b", "a", 2, 3, 9),
    HeartbeatReply("b", "a", 2, 9),
    ReadIndexRequest("b", "a", 2, 1),
    ReadIndexReply("b", "a", 2, 1, granted=True, index=3),
    TimeoutNow("b", "a", 2),
    SnapshotChunk("b", "a", 2, 7, 1, MEMBERS.to_text(), 12, 2**32 - 1, 4, "AAAA"),
    SnapshotReply("b", "a", 2, 7, 8, success=False),
)

WRONG: tuple[Json, ...] = (None, -1, 1.5, "x", [1], 2**63, {})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def test_every_kind_has_an_example() -> None:
    assert {type(message) for message in EXAMPLES} == set(KINDS.values())


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_way(message: Message) -> None:
    assert decode(json.loads(json.dumps(encode(message))), "b", "a") == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_field_missing_or_of_the_wrong_kind_is_refused(message: Message) -> None:
    document = encode(message)
    for name in document:
        with pytest.raises(Malformed):
            decode({key: value for key, value in document.items() if key != name}, "b", "a")
        for wrong in WRONG:
            if name == "data" and wrong == "x":
                continue  # any text is data
            with pytest.raises(Malformed):
                decode({**document, name: wrong}, "b", "a")


@pytest.mark.parametrize(
    ("prev", "entries"),
    [
        ((3, 1), [[5, 1, ""]]),
        ((3, 1), [[4, 1, ""], [6, 1, ""]]),
        ((3, 2), [[4, 1, ""]]),
        ((3, 1), [[4, 2, ""], [5, 1, ""]]),
        ((3, 1), [[4, 3, ""]]),
        ((3, 3), []),
        ((3, 1), [[4, 1, 5]]),
        ((3, 1), [[4, 1]]),
        ((3, 1), [[4, 1, "", "noop", 1]]),
        ((3, 1), [[4, 1, "", "other"]]),
        ((3, 1), [[4, 1, "x", "noop"]]),
        ((3, 1), [[4, 1, "x", "configuration"]]),
        ((3, 1), [[4, 1, "{}", "configuration"]]),
        ((3, 1), [[4, 1, "[" * 100_000, "configuration"]]),
        ((3, 1), {"4": 1}),
    ],
)
def test_entries_that_cannot_follow_are_refused(prev: tuple[int, int], entries: Json) -> None:
    document: Mapping[str, Json] = {
        "type": "append_request",
        "term": 2,
        "prev_index": prev[0],
        "prev_term": prev[1],
        "commit": 0,
        "entries": entries,
    }
    with pytest.raises(Malformed):
        decode(document, "b", "a")


@given(st.dictionaries(st.sampled_from(["type", "term", "index", "entries"]), json_values))
def test_any_object_is_a_message_or_malformed(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        decode(document, "b", "a")


def test_a_snapshot_newer_than_its_sender_is_refused() -> None:
    document = encode(_example("snapshot_chunk"))
    with pytest.raises(Malformed):
        decode({**document, "snapshot_term": 3}, "b", "a")


numbers = st.integers(0, 4)
TEXTS = tuple(
    configuration.to_text()
    for configuration in (
        Configuration(("a", "b", "c")),
        Configuration(("b", "c"), ("a", "b", "c")),
        Configuration(("b",), learners=("a",), promotable=("a",)),
        Configuration(("a",)),
    )
)


@st.composite
def entry_lists(draw: st.DrawFn, start: int) -> Json:
    entries: list[Json] = []
    for index, term in enumerate(sorted(draw(st.lists(numbers, max_size=3))), start + 1):
        kind = draw(st.sampled_from((COMMAND, COMMAND, NOOP, CONFIGURATION)))
        data = draw(st.sampled_from(TEXTS)) if kind == CONFIGURATION else ""
        entries.append([index, term, data, kind])
    return entries


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Well-formed messages that need not make sense together."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    document: dict[str, Json] = {name: draw(numbers) for name in encode(_example(kind))}
    flags = {name: draw(st.booleans()) for name in ("granted", "success", "forced")}
    texts = {"configuration": draw(st.sampled_from(TEXTS)), "data": ""}
    start = draw(numbers)
    lists = {"entries": draw(entry_lists(start)), "prev_index": start}
    for name, value in [*flags.items(), *texts.items(), *lists.items()]:
        if name in document:
            document[name] = value
    document["type"] = kind
    try:
        return decode(document, draw(st.sampled_from("bcx")), "a")
    except Malformed:
        return Heartbeat("b", "a", draw(numbers), draw(numbers), draw(numbers))


def _example(kind: str) -> Message:
    return next(message for message in EXAMPLES if type(message) is KINDS[kind])


CALLS = ("", "", "propose", "read", "transfer", "change", "compact")


@pytest.mark.parametrize("leases", [False, True])
@given(
    steps=st.lists(
        st.tuples(messages(), st.sampled_from(CALLS), st.sampled_from((10, 200)), st.booleans()),
        max_size=25,
    )
)
def test_no_sequence_of_messages_breaks_a_server(
    steps: list[tuple[Message, str, int, bool]], leases: bool
) -> None:
    """Also lies: what Raft promises is void then, but the server goes on and keeps its own rules."""
    settings = Settings(election_timeout_ns=500 * MS, heartbeat_interval_ns=50 * MS, leases=leases)
    raft = server(terms=(1, 1), term=1, settings=settings)
    now_ms = 0
    for message, call, later_ms, pumped in steps:
        term, commit = raft.term, raft.commit_index
        now_ms += later_ms
        raft.tick(now_ms * MS)
        raft.step(message)
        if isinstance(message, SnapshotChunk):
            raft.chunk_received(message, 1)
            raft.install(message)
        _use(raft, call)
        if pumped:
            take(raft)
        assert raft.term >= term
        assert commit <= raft.commit_index <= raft.log.last_index
        assert raft.log.base_index <= raft.commit_index
        assert (raft.role is Role.LEADER) == (raft.leadership is not None)
        assert not raft.has_lease(now_ms * MS) or (leases and raft.role is Role.LEADER)


def _use(raft: Raft, call: str) -> None:
    if call == "propose":
        raft.propose("x")
    elif call == "read":
        raft.read(1)
    elif call == "transfer":
        raft.transfer("b")
    elif call == "compact":
        raft.compact(raft.commit_index)
    elif call == "change":
        with suppress(NotAllowed):
            raft.change(raft.log.configuration.without("b"))


def test_every_role_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS) == set(Role)
    assert {after for changes in TRANSITIONS.values() for after in changes} == set(Role)


# Frames.

DOCUMENTS: list[dict[str, Json]] = [{"type": "a"}, {}, {"text": "\u20ac" * 100}, {"n": [1, None]}]
STREAM = b"".join(encode_frame(document) for document in DOCUMENTS)


@pytest.mark.parametrize("size", [1, 2, 7, 64, len(STREAM)])
def test_frames_are_found_however_the_stream_is_cut(size: int) -> None:
    reader = FrameReader()
    found: list[dict[str, Json]] = []
    for start in range(0, len(STREAM), size):
        found += reader.feed(STREAM[start : start + size])
    assert found == DOCUMENTS


def test_a_flipped_bit_is_noticed() -> None:
    frame = encode_frame({"type": "heartbeat", "term": 1})
    for position in range(4, len(frame)):
        damaged = bytearray(frame)
        damaged[position] ^= 1
        with pytest.raises(Malformed):
            FrameReader().feed(bytes(damaged))


def test_a_frame_that_is_too_long_is_refused_before_it_is_there() -> None:
    with pytest.raises(Malformed):
        FrameReader().feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(4))


@given(st.binary(max_size=80))
def test_any_bytes_are_frames_or_malformed(data: bytes) -> None:
    try:
        FrameReader().feed(data)
    except Malformed:
        return
