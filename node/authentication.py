"""Who speaks on a peer connection: frames, the handshake, and the seal on every later frame.

Rules of this file:
- Pure: no socket, no clock, no chance. Nonces are given; whoever gives one never gives it again.
- The secret never travels. The opener proves first that it knows it, so that who merely dials a
  node gets nothing out of it that was computed from the secret.
- A proof covers everything that was said before it (protocol, cluster, both names, incarnations,
  addresses and nonces) and the role of who proves, so that it fits no other conversation
  and cannot be sent back to whom it came from.
- The key of a connection is derived from the same transcript. A frame is sealed under that key and
  its place in the stream: a frame altered, repeated, left out or moved breaks the connection.
- Whatever does not fit raises `Malformed`. Nothing is decrypted: nothing is encrypted.
"""

import hmac
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

from node.core.messages import Json, Malformed, natural

PROTOCOL = 2
FRAME_BYTES_MAX = 8 * 1024 * 1024
HANDSHAKE_BYTES_MAX = 4096
NONCE_BYTES = 32
SECRET_BYTES_MIN = 16
NAME_CHARS_MAX = 64
ADDRESS_CHARS_MAX = 270
REASON_CHARS_MAX = 200
SEAL_BYTES = 16
"""HMAC-SHA256 cut to 128 bits (RFC 2104 section 5): forged by luck once in 2**128 tries, and the
first failed try ends the connection and with it the key."""

_OPEN_HEADER = struct.Struct(">II")
_LENGTH = struct.Struct(">I")
_SEALED_HEADER_BYTES = _LENGTH.size + SEAL_BYTES
_encode = json.JSONEncoder(separators=(",", ":")).encode


# Frames.


def encode_payload(document: Mapping[str, Json]) -> bytes:
    """What a frame carries: a JSON object, as ASCII."""
    return _encode(document).encode("ascii")


def encode_frame(document: Mapping[str, Json]) -> bytes:
    """A JSON object as one frame of the handshake: length, CRC-32, payload."""
    payload = encode_payload(document)
    return _OPEN_HEADER.pack(len(payload), crc32(payload)) + payload


class FrameReader:
    """Cuts the stream of a handshake into frames; raises `Malformed` at the first that is none."""

    __slots__ = ("_buffer", "bytes_max")

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self.bytes_max = bytes_max

    def feed(self, data: bytes) -> list[dict[str, Json]]:
        """The objects completed by these bytes."""
        self._buffer += data
        documents: list[dict[str, Json]] = []
        position = 0
        while len(self._buffer) - position >= _OPEN_HEADER.size:
            length, checksum = _OPEN_HEADER.unpack_from(self._buffer, position)
            if length > self.bytes_max:
                raise Malformed(f"a frame of {length} bytes")
            start = position + _OPEN_HEADER.size
            if len(self._buffer) < start + length:
                break
            payload = bytes(self._buffer[start : start + length])
            if crc32(payload) != checksum:
                raise Malformed("a frame whose checksum is wrong")
            documents.append(_decode_payload(payload))
            position = start + length
        del self._buffer[:position]
        return documents


def _decode_payload(payload: bytes) -> dict[str, Json]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        raise Malformed("a frame that is not JSON") from None
    if not isinstance(document, dict):
        raise Malformed("a frame that is not an object")
    return document


class _Seal:
    """Computes the seal of each frame of one connection, in turn."""

    __slots__ = ("_keyed", "_number")

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")
        self._number = 0

    def next(self, payload: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(self._number.to_bytes(8, "big"))
        keyed.update(payload)
        self._number += 1
        return keyed.digest()[:SEAL_BYTES]


class Sealer:
    """Makes frames: length, seal, payload. They must be sent in the order they were made in."""

    __slots__ = ("_seal",)

    def __init__(self, key: bytes) -> None:
        self._seal = _Seal(key)

    def frame(self, payload: bytes) -> bytes:
        """The next frame."""
        return _LENGTH.pack(len(payload)) + self._seal.next(payload) + payload


class SealedReader:
    """Cuts a stream into sealed frames; raises `Malformed` at the first whose seal is wrong."""

    __slots__ = ("_buffer", "_seal", "bytes_max")

    def __init__(self, key: bytes, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._seal = _Seal(key)
        self._buffer = bytearray()
        self.bytes_max = bytes_max

    def feed(self, data: bytes) -> list[dict[str, Json]]:
        """The objects completed by these bytes."""
        buffer = self._buffer
        buffer += data
        documents: list[dict[str, Json]] = []
        position = 0
        while len(buffer) - position >= _SEALED_HEADER_BYTES:
            (length,) = _LENGTH.unpack_from(buffer, position)
            if length > self.bytes_max:
                raise Malformed(f"a frame of {length} bytes")
            start = position + _SEALED_HEADER_BYTES
            if len(buffer) < start + length:
                break
            payload = bytes(buffer[start : start + length])
            seal = bytes(buffer[position + _LENGTH.size : start])
            if not hmac.compare_digest(seal, self._seal.next(payload)):
                raise Malformed("a frame whose seal is wrong")
            documents.append(_decode_payload(payload))
            position = start + length
        del buffer[:position]
        return documents


# The handshake.


@dataclass(frozen=True, slots=True)
class Speaker:
    """A node as it introduces itself. `address` is where it listens for peers, "host:port"."""

    name: str
    incarnation: int
    address: str


def check_secret(secret: bytes) -> bytes:
    """The secret, if it is long enough to resist guessing; raises `ValueError` otherwise."""
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(
            f"the cluster secret has {len(secret)} bytes; it needs at least {SECRET_BYTES_MIN}, "
            "random ones (for instance the output of: openssl rand -hex 32)"
        )
    return secret


class _Transcript:
    """All that both sides have said, as bytes that can be read in one way only."""

    __slots__ = ("_bytes", "_secret")

    def __init__(
        self, secret: bytes, cluster: str, opener: Speaker, acceptor: Speaker, nonces: bytes
    ) -> None:
        parts = [str(PROTOCOL).encode(), cluster.encode()]
        for speaker in (opener, acceptor):
            parts += [speaker.name.encode(), str(speaker.incarnation).encode()]
            parts.append(speaker.address.encode())
        parts.append(nonces)
        self._secret = secret
        self._bytes = b"".join(_LENGTH.pack(len(part)) + part for part in parts)

    def derive(self, purpose: str) -> bytes:
        """A proof or a key: different for every purpose, connection and pair of nodes."""
        label = purpose.encode()
        message = _LENGTH.pack(len(label)) + label + self._bytes
        return hmac.digest(self._secret, message, "sha256")


class Opening:
    """The side that dialled: hello, then a proof, then the proof of the other side."""

    def __init__(
        self, *, secret: bytes, cluster: str, own: Speaker, target: str, nonce: bytes
    ) -> None:
        assert len(nonce) == NONCE_BYTES
        self._secret = secret
        self._cluster = cluster
        self._own = own
        self._target = target
        self._nonce = nonce
        self._transcript: _Transcript | None = None
        self.peer: Speaker | None = None

    def hello(self) -> dict[str, Json]:
        """Who calls, whom, and for which cluster."""
        return {
            "type": "hello",
            "protocol": PROTOCOL,
            "cluster": self._cluster,
            "from": self._own.name,
            "to": self._target,
            "incarnation": self._own.incarnation,
            "address": self._own.address,
            "nonce": self._nonce.hex(),
        }

    def proof(self, challenge: Mapping[str, Json]) -> dict[str, Json]:
        """The answer to a challenge."""
        if self._transcript is not None or challenge.get("type") != "challenge":
            raise Malformed("no challenge where one was due")
        if _text(challenge, "from", NAME_CHARS_MAX) != self._target:
            raise Malformed("another node answered than was called")
        self.peer = Speaker(
            self._target,
            natural(challenge.get("incarnation")),
            _text(challenge, "address", ADDRESS_CHARS_MAX),
        )
        nonces = self._nonce + _hex(challenge, "nonce", NONCE_BYTES)
        self._transcript = _Transcript(self._secret, self._cluster, self._own, self.peer, nonces)
        return {"type": "proof", "proof": self._transcript.derive("opener").hex()}

    def key(self, verdict: Mapping[str, Json]) -> bytes:
        """The key of the connection, if the other side proves itself and accepts."""
        if self._transcript is None:
            raise Malformed("a verdict before the challenge")
        proof = _hex(verdict, "proof", 32)
        if verdict.get("type") == "refused":
            reason = _text(verdict, "reason", REASON_CHARS_MAX)
            if hmac.compare_digest(proof, self._transcript.derive(f"refused:{reason}")):
                raise Malformed(f"refused: {reason}")
            raise Malformed("a refusal that nobody of this cluster wrote")
        if verdict.get("type") != "accepted" or not hmac.compare_digest(
            proof, self._transcript.derive("acceptor")
        ):
            raise Malformed("the node that answered does not know the cluster secret")
        return self._transcript.derive("frames")


class Accepting:
    """The side that was dialled: a challenge, then a verdict."""

    def __init__(self, *, secret: bytes, cluster: str, own: Speaker, nonce: bytes) -> None:
        assert len(nonce) == NONCE_BYTES
        self._secret = secret
        self._cluster = cluster
        self._own = own
        self._nonce = nonce
        self._transcript: _Transcript | None = None
        self.peer: Speaker | None = None
        self.proven = False

    def challenge(self, hello: Mapping[str, Json]) -> dict[str, Json]:
        """The answer to a hello. It shows only what a listening node shows anyway."""
        if self._transcript is not None or hello.get("type") != "hello":
            raise Malformed("no hello where one was due")
        if hello.get("protocol") != PROTOCOL:
            spoken = repr(hello.get("protocol"))
            raise Malformed(f"it speaks protocol {spoken:.20}, this node speaks {PROTOCOL}")
        if hello.get("cluster") != self._cluster:
            raise Malformed("it belongs to another cluster")
        if hello.get("to") != self._own.name:
            raise Malformed("it called another node than this one")
        peer = Speaker(
            _text(hello, "from", NAME_CHARS_MAX),
            natural(hello.get("incarnation")),
            _text(hello, "address", ADDRESS_CHARS_MAX),
        )
        if peer.name == self._own.name:
            raise Malformed("it has the name of this node")
        nonces = _hex(hello, "nonce", NONCE_BYTES) + self._nonce
        self._transcript = _Transcript(self._secret, self._cluster, peer, self._own, nonces)
        self.peer = peer
        return {
            "type": "challenge",
            "from": self._own.name,
            "incarnation": self._own.incarnation,
            "address": self._own.address,
            "nonce": self._nonce.hex(),
        }

    def check(self, proof: Mapping[str, Json]) -> Speaker:
        """Who speaks, now that it has proven it."""
        if self._transcript is None or self.peer is None or proof.get("type") != "proof":
            raise Malformed("no proof where one was due")
        given = _hex(proof, "proof", 32)
        if not hmac.compare_digest(given, self._transcript.derive("opener")):
            raise Malformed("it does not know the cluster secret")
        self.proven = True
        return self.peer

    def accepted(self) -> tuple[dict[str, Json], bytes]:
        """The verdict that lets it in, and the key of the connection."""
        assert self.proven
        assert self._transcript is not None
        document: dict[str, Json] = {
            "type": "accepted",
            "proof": self._transcript.derive("acceptor").hex(),
        }
        return document, self._transcript.derive("frames")

    def refused(self, reason: str) -> dict[str, Json]:
        """The verdict that does not. Only who has proven itself is told why."""
        assert self.proven
        assert self._transcript is not None
        reason = reason[:REASON_CHARS_MAX]
        proof = self._transcript.derive(f"refused:{reason}").hex()
        return {"type": "refused", "reason": reason, "proof": proof}


def _text(document: Mapping[str, Json], name: str, chars_max: int) -> str:
    """A field of printable ASCII: it is shown in logs, and means one thing to everybody."""
    text = document.get(name)
    if (
        not isinstance(text, str)
        or not 0 < len(text) <= chars_max
        or not (text.isascii() and text.isprintable())
    ):
        raise Malformed(f"{name} is not a text of 1 to {chars_max} printable ASCII characters")
    return text


def _hex(document: Mapping[str, Json], name: str, size: int) -> bytes:
    text = document.get(name)
    try:  # a text that is too long was bounded by its frame
        value = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        value = b""
    if len(value) != size:
        raise Malformed(f"{name} is not {size} bytes in hexadecimal")
    return value
