"""Who may speak, and that nobody speaks for them: handshakes and seals, without any socket."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer_lab import (
    CLUSTER,
    SECRET,
    accepting,
    opening,
    sealed,
)

from node.authentication import (
    FRAME_BYTES_MAX,
    Accepting,
    Opening,
    SealedReader,
    Sealer,
    Speaker,
)
from node.core.messages import Json, Malformed

KEY = b"k" * 32

# The handshake.


def shaken(ours: Opening, theirs: Accepting) -> tuple[bytes, bytes]:
    """A whole handshake; the key that each side came to."""
    proof = ours.proof(theirs.challenge(ours.hello()))
    theirs.check(proof)
    verdict, key = theirs.accepted()
    return ours.key(verdict), key


def test_both_sides_know_each_other_and_agree_on_a_key() -> None:
    ours, theirs = opening(incarnation=5, address="h:1"), accepting()
    keys = shaken(ours, theirs)
    assert keys[0] == keys[1]
    assert theirs.peer == Speaker("b", 5, "h:1")
    assert ours.peer == Speaker("a", 1, "127.0.0.1:8")


def test_every_conversation_has_another_key() -> None:
    keys = {
        shaken(opening(nonce=b"1" * 32), accepting())[0],
        shaken(opening(nonce=b"2" * 32), accepting())[0],
        shaken(opening(name="c"), accepting())[0],
        shaken(opening(incarnation=2), accepting())[0],
        shaken(opening(cluster="c2"), accepting(cluster="c2"))[0],
    }
    assert len(keys) == 5


def test_the_secret_and_what_is_computed_from_it_are_not_shown_to_who_merely_dials() -> None:
    ours, theirs = opening(), accepting()
    challenge = theirs.challenge(ours.hello())
    assert set(challenge) == {"type", "from", "incarnation", "address", "nonce"}
    other = accepting(secret=b"a secret of another cluster")
    assert other.challenge(ours.hello()) == challenge


@pytest.mark.parametrize("field", ["protocol", "cluster", "from", "to", "incarnation", "nonce"])
def test_a_hello_that_lacks_something_is_refused(field: str) -> None:
    hello = opening().hello()
    del hello[field]
    with pytest.raises(Malformed):
        accepting().challenge(hello)


WRONG: tuple[Json, ...] = (None, True, -1, 1.5, 2**63, "", "\n", "\u00e4", "x" * 300, [], {})


@pytest.mark.parametrize("message", ["hello", "challenge", "proof", "accepted", "refused"])
def test_any_field_of_the_wrong_kind_is_refused(message: str) -> None:
    def talk(change: Callable[[str, dict[str, Json]], dict[str, Json]]) -> None:
        ours, theirs = opening(), accepting()
        challenge = theirs.challenge(change("hello", ours.hello()))
        theirs.check(change("proof", ours.proof(change("challenge", challenge))))
        if message == "refused":
            with pytest.raises(Malformed, match="refused: not today"):
                ours.key(theirs.refused("not today"))
            ours.key(change("refused", theirs.refused("not today")))
        else:
            ours.key(change("accepted", theirs.accepted()[0]))

    fields: set[str] = set()
    if message != "refused":

        def noted(name: str, document: dict[str, Json]) -> dict[str, Json]:
            if name == message:
                fields.update(document)
            return document

        talk(noted)
    else:
        fields = {"reason", "proof", "type"}
    for field in fields:
        for wrong in WRONG:

            def spoilt(
                name: str, document: dict[str, Json], field: str = field, wrong: Json = wrong
            ) -> dict[str, Json]:
                return {**document, field: wrong} if name == message else document

            with pytest.raises(Malformed):
                talk(spoilt)


@pytest.mark.parametrize(
    "field", ["cluster", "name", "incarnation", "address", "nonce", "target", "secret"]
)
def test_a_proof_fits_no_other_conversation(field: str) -> None:
    """Everything that was said is under the proof: who changes any of it on the way is found out."""
    proof = opening().proof(accepting().challenge(opening().hello()))
    others: dict[str, Any] = {
        "cluster": "c2",
        "name": "c",
        "incarnation": 2,
        "address": "127.0.0.1:10",
        "nonce": b"m" * 32,
        "target": "d",
        "secret": b"x" * 32,
    }
    theirs = accepting(
        name="d" if field == "target" else "a",
        cluster="c2" if field == "cluster" else CLUSTER,
        secret=b"x" * 32 if field == "secret" else SECRET,
    )
    theirs.challenge(opening(**{field: others[field]}).hello())
    with pytest.raises(Malformed, match="does not know the cluster secret"):
        theirs.check(proof)


def test_a_proof_sent_back_to_where_it_came_from_proves_nothing() -> None:
    """A node that is dialled by who knows no secret cannot be made to compute its proof for it."""
    ours = opening("a", "b")
    mirrored: dict[str, Json] = {"type": "challenge", "from": "a", "incarnation": 1}
    mirrored |= {"address": "x:1", "nonce": ours.hello()["nonce"]}
    proof = ours.proof(mirrored)
    with pytest.raises(Malformed, match="does not know the cluster secret"):
        ours.key({**proof, "type": "accepted"})


def test_a_refusal_that_somebody_else_wrote_is_not_believed() -> None:
    ours, theirs = opening(), accepting()
    theirs.check(ours.proof(theirs.challenge(ours.hello())))
    forged = {**theirs.refused("one"), "reason": "two"}
    with pytest.raises(Malformed, match="nobody of this cluster wrote"):
        ours.key(forged)


def test_the_proofs_are_what_the_protocol_says() -> None:
    """Computed here from PROTOCOL.md alone, with hashlib and nothing of the node."""
    import hashlib
    import hmac

    def text(part: bytes) -> bytes:
        return len(part).to_bytes(4, "big") + part

    def derived(purpose: bytes) -> bytes:
        parts = [purpose, b"2", b"c1", b"b", b"1", b"127.0.0.1:9", b"a", b"1", b"127.0.0.1:8"]
        nonces = bytes(32) + b"n" * 32
        message = b"".join(text(part) for part in [*parts, nonces])
        return hmac.new(SECRET, message, hashlib.sha256).digest()

    ours, theirs = opening(), accepting()
    proof = ours.proof(theirs.challenge(ours.hello()))
    assert proof["proof"] == derived(b"opener").hex()
    theirs.check(proof)
    verdict, key = theirs.accepted()
    assert verdict["proof"] == derived(b"acceptor").hex()
    assert theirs.refused("no")["proof"] == derived(b"refused:no").hex()
    assert key == derived(b"frames")
    seal = hmac.new(key, (0).to_bytes(8, "big") + b"{}", hashlib.sha256).digest()[:16]
    assert Sealer(key).frame(b"{}") == b"\0\0\0\x02" + seal + b"{}"


# Sealed frames.

DOCUMENTS: list[dict[str, Json]] = [{"n": number, "text": "t" * number} for number in range(6)]


def sealed_frames() -> list[bytes]:
    sealer = Sealer(KEY)
    return [sealed(sealer, document) for document in DOCUMENTS]


@given(st.lists(st.integers(1, 60), max_size=8))
def test_sealed_frames_are_found_however_the_stream_is_cut(sizes: list[int]) -> None:
    stream = b"".join(sealed_frames())
    reader = SealedReader(KEY)
    found: list[dict[str, Json]] = []
    position = 0
    for size in [*sizes, len(stream)]:
        found += reader.feed(stream[position : position + size])
        position += size
    assert found == DOCUMENTS


@given(
    st.lists(st.sampled_from(range(6)), max_size=8),
    st.integers(0, 5),
    st.integers(4, 40),
    st.integers(1, 255),
)
def test_frames_altered_repeated_left_out_or_moved_are_not_taken(
    order: list[int], target: int, position: int, flip: int
) -> None:
    whole = sealed_frames()
    damaged = bytearray(whole[target])
    damaged[min(position, len(damaged) - 1)] ^= flip
    pieces = [whole[number] for number in order]
    # Only as far as the original order goes is anything taken, whatever follows.
    good = 0
    while good < len(order) and order[good] == good:
        good += 1
    reader = SealedReader(KEY)
    taken: list[dict[str, Json]] = []
    try:
        for piece in pieces:
            taken += reader.feed(piece)
        assert good == len(order)
    except Malformed:
        assert good < len(order)
    assert taken == DOCUMENTS[:good]
    reader = SealedReader(KEY)
    for piece in whole[:target]:
        reader.feed(piece)
    with pytest.raises(Malformed):
        reader.feed(bytes(damaged) + bytes(1))


@given(st.binary(max_size=200))
def test_any_bytes_behind_good_frames_are_refused_or_waited_for(data: bytes) -> None:
    reader = SealedReader(KEY)
    assert reader.feed(sealed_frames()[0]) == [DOCUMENTS[0]]
    try:
        assert reader.feed(data) == []
    except Malformed:
        return
    assert len(reader._buffer) == len(data)


def test_a_sealed_frame_that_is_too_long_is_refused_before_it_is_there() -> None:
    with pytest.raises(Malformed, match="a frame of"):
        SealedReader(KEY).feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(16))
    for payload in (b"[]", b"nonsense", b"[" * 100_000):
        with pytest.raises(Malformed):
            SealedReader(KEY).feed(Sealer(KEY).frame(payload))
