"""What comes from strangers, in the middle of anything: refused, without effect, without cost.

The connections are real ones, on sockets that lead nowhere.
"""

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from peer_lab import (
    FakeSocket,
    Host,
    accepting,
    frames,
    opening,
    run,
    sealed,
)

from node.authentication import (
    HANDSHAKE_BYTES_MAX,
    PROTOCOL,
    Sealer,
    encode_frame,
    encode_payload,
)
from node.core.messages import Json
from node.peer_connection import Incoming, Outgoing


class Conversation:
    """A connection to a host that we opened; nothing leaves the process."""

    def __init__(self, host: Host) -> None:
        self.socket = FakeSocket()
        self.incoming = Incoming(host.transport)
        self.incoming.connection_made(self.socket)
        self.opening = opening()

    def say(self, data: bytes) -> None:
        """As asyncio does: nothing is delivered any more once the connection is closed."""
        if not self.socket.gone:
            self.incoming.data_received(data)

    def answer(self) -> dict[str, Json]:
        (document,) = frames(bytes(self.socket.written))
        self.socket.written.clear()
        return document

    def shake_hands(self) -> Sealer:
        self.say(encode_frame(self.opening.hello()))
        self.say(encode_frame(self.opening.proof(self.answer())))
        return Sealer(self.opening.key(self.answer()))

    def end(self) -> None:
        self.incoming.connection_lost(None)


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """Random bytes, or good ones cut, lengthened or with some changed."""
    kind = draw(st.sampled_from(["random", "cut", "changed", "inserted", "frame"]))
    if kind == "random":
        return draw(st.binary(min_size=1, max_size=6000))
    if kind == "cut":
        return good[: draw(st.integers(0, len(good) - 1))] + draw(st.binary(max_size=20))
    if kind == "frame":
        return encode_frame({"type": draw(st.sampled_from(["hello", "proof", "x"]))})
    place = draw(st.integers(0, len(good) - 1))
    if kind == "inserted":
        return good[:place] + draw(st.binary(min_size=1, max_size=9)) + good[place:]
    changed = bytearray(good)
    changed[place] ^= draw(st.integers(1, 255))
    return bytes(changed)


@given(st.data(), st.integers(0, 2), st.integers(1, 7000))
def test_rubbish_at_any_stage_of_a_connection_changes_nothing(
    data: st.DataObject, stage: int, step: int
) -> None:
    async def main() -> None:
        host = Host("a", port=9)
        talk = Conversation(host)
        expected: list[tuple[str, Any]] = []
        if stage == 0:
            good = encode_frame(talk.opening.hello())
        elif stage == 1:
            talk.say(encode_frame(talk.opening.hello()))
            good = encode_frame(talk.opening.proof(talk.answer()))
        else:
            sealer = talk.shake_hands()
            talk.say(sealed(sealer, {"type": "good"}))
            expected = [("b", {"type": "good"})]
            good = sealed(sealer, {"type": "evil"})
        rubbish = data.draw(spoilt(good))
        assume(not rubbish.startswith(good))
        for start in range(0, len(rubbish), step):
            talk.say(rubbish[start : start + step])
        assert host.received == expected
        assert all(document["type"] != "accepted" for document in frames_or_none(talk))
        assert len(talk.incoming._reader._buffer) <= max(HANDSHAKE_BYTES_MAX, len(rubbish))
        if stage < 2:
            assert host.known == {}
            assert host.transport._peers == {}
            if len(rubbish) > HANDSHAKE_BYTES_MAX:
                assert talk.socket.gone
        talk.end()
        assert host.transport._strangers == {}

    run(main)


def frames_or_none(talk: Conversation) -> list[dict[str, Json]]:
    return frames(bytes(talk.socket.written))


def test_a_frame_without_a_seal_is_not_carried_in_by_a_good_proof() -> None:
    """Somebody between the two nodes appends a frame to the segment that holds the proof."""

    async def main() -> None:
        host = Host("a", port=9)
        talk = Conversation(host)
        talk.say(encode_frame(talk.opening.hello()))
        proof = encode_frame(talk.opening.proof(talk.answer()))
        talk.say(proof + encode_frame({"type": "heartbeat", "term": 10**6}))
        assert host.received == []
        assert talk.socket.gone
        talk.end()

    run(main)


def test_an_old_conversation_said_again_is_refused() -> None:
    """Every answer has a nonce of its own."""

    async def main() -> None:
        host = Host("a", port=9)
        first = Conversation(host)
        hello = encode_frame(first.opening.hello())
        first.say(hello)
        proof = encode_frame(first.opening.proof(first.answer()))
        first.say(proof)
        message = sealed(Sealer(first.opening.key(first.answer())), {"type": "x"})
        first.say(message)
        assert len(host.received) == 1
        second = Conversation(host)
        for data in (hello, proof, message):
            second.say(data)
        assert len(host.received) == 1
        assert second.socket.gone
        for talk in (first, second):
            talk.end()
        host.transport.close()

    run(main)


def test_a_stranger_makes_the_node_remember_no_more_than_a_handshake() -> None:
    async def main() -> None:
        host = Host("a", port=9)
        talk = Conversation(host)
        talk.say((4096).to_bytes(4, "big") + bytes(4))
        for _ in range(100):
            talk.say(bytes(1000))
        assert talk.socket.gone
        assert len(talk.incoming._reader._buffer) <= HANDSHAKE_BYTES_MAX
        assert host.said("more than 4096 bytes")
        talk.end()

    run(main)


@given(st.data())
def test_rubbish_from_a_node_that_we_dialled_changes_nothing(data: st.DataObject) -> None:
    """The address may belong to somebody else by now."""

    async def main() -> None:
        host = Host("a", port=9)
        outgoing = Outgoing(host.transport, "b")
        wire = FakeSocket()
        outgoing.connection_made(wire)
        (hello,) = frames(bytes(wire.written))
        wire.written.clear()
        theirs = accepting("b")
        challenge = theirs.challenge(hello)
        stage = data.draw(st.integers(0, 2))
        answers = [encode_frame(challenge)]
        if stage > 0:
            outgoing.data_received(answers[0])
            theirs.check(frames(bytes(wire.written))[0])
            answers.append(encode_frame(theirs.accepted()[0]))
        if stage > 1:
            outgoing.data_received(answers[1])
            assert outgoing.opened.result() == ""
            answers.append(encode_frame({"type": "anything"}))
        rubbish = data.draw(spoilt(answers[-1]))
        assume(not rubbish.startswith(answers[-1]))
        outgoing.data_received(rubbish)
        assert host.received == []
        if stage < 2:
            assert not outgoing.authenticated
            assert not outgoing.write(b"{}", bulk=False)
            assert host.known == {}
        outgoing.connection_lost(None)
        assert not outgoing.write(b"{}", bulk=False)
        assert outgoing.closed.result()

    run(main)


def test_payloads_are_ascii_json() -> None:
    payload = encode_payload({"a": "\u20ac", "b": [1, None, 1.5]})
    assert payload.isascii()
    assert json.loads(payload) == {"a": "\u20ac", "b": [1, None, 1.5]}
    assert PROTOCOL == 2
